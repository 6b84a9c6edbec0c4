"""The loops over the elements of one block: sums, extrema and counts, vectorised.

They may reorder additions, and trust every element to be finite; `block_stats` says where that trust was wrong.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import numpy as np

from fastcmp.kernels.vector import (
    abs_bits,
    choose,
    count_if,
    is_nonfinite,
    larger,
    load_value,
    plain_add,
    plain_subtract,
    power_of_two_below,
    smaller,
    smaller_index,
    store,
)

from numba import njit  # isort: skip

FAST = {"reassoc", "nsz", "contract"}
WITHIN_FLOOR = 2.0**-23
NARROW_WITHIN_FLOOR = np.float32(WITHIN_FLOOR)
NARROW_ONE, NARROW_FIVE = np.float32(0.001 * (1 - 2.0**-22)), np.float32(0.005 * (1 - 2.0**-22))
# A count of up to BLOCK_ELEMENTS takes 13 bits.
MISMATCH_UNIT, WITHIN_ONE_UNIT, WITHIN_FIVE_UNIT, COUNT_MASK = 1 << 13, 1 << 26, 1 << 39, (1 << 13) - 1


@njit(error_model="numpy", fastmath=FAST)
def block_stats(g, t, n, floor):
    """Sums, extrema and counts of n >= 1 elements, trusted only where ``bad`` comes back False.

    ``bad``: an element is not finite, or (float64 only) so large that its square is not.
    """
    golden_max = golden_min = load_value(g, 0)
    target_max = target_min = load_value(t, 0)
    near_zero = counts = 0
    golden_sum = target_sum = golden_squared = target_squared = product = 0.0
    difference_squared = absolute = relative = max_absolute = max_relative = 0.0
    for i in range(n):
        x = load_value(g, i)
        y = load_value(t, i)
        golden_max = larger(x, golden_max)
        golden_min = smaller(x, golden_min)
        target_max = larger(y, target_max)
        target_min = smaller(y, target_min)
        a = np.float64(x)
        b = np.float64(y)
        difference = abs(b - a)
        size = abs(a)
        golden_sum += a
        target_sum += b
        golden_squared += a * a
        target_squared += b * b
        product += a * b
        difference_squared += difference * difference
        absolute += difference
        max_absolute = larger(difference, max_absolute)
        # An infinite divisor where golden is too small: choosing the quotient instead keeps the loop scalar.
        ratio = difference / choose(size > floor, size, np.inf)
        relative += ratio
        max_relative = larger(ratio, max_relative)
        reference = larger(size, WITHIN_FLOOR)
        near_zero += choose(size > floor, 0, 1)
        # Three counts of at most BLOCK_ELEMENTS share one integer: a masked addition each, and a register less.
        counts += choose(difference == 0.0, 0, MISMATCH_UNIT)
        counts += choose(difference < 0.001 * reference, WITHIN_ONE_UNIT, 0)
        counts += choose(difference < 0.005 * reference, WITHIN_FIVE_UNIT, 0)
    # NaN and infinity survive in sums of squares, and neither nnan nor ninf is among the flags that could forget them.
    bad = is_nonfinite(abs_bits(golden_squared)) or is_nonfinite(abs_bits(target_squared))
    return (
        golden_sum,
        target_sum,
        golden_squared,
        target_squared,
        product,
        difference_squared,
        absolute,
        relative,
        np.float64(golden_max),
        np.float64(golden_min),
        np.float64(target_max),
        np.float64(target_min),
        max_absolute,
        max_relative,
        near_zero,
        (counts // MISMATCH_UNIT) & COUNT_MASK,
        (counts // WITHIN_ONE_UNIT) & COUNT_MASK,
        counts // WITHIN_FIVE_UNIT,
        bad,
    )


@njit(error_model="numpy", fastmath=FAST)
def narrow_counts(g, t, n, floor, golden_room, target_room):
    """Extrema and counts of n >= 1 elements of 16 bits on both sides, and the elements widened into the rooms.

    All in float32, twice as many to a register, and yet exact: a difference near 1 or 5 thousandths of a float16 or bfloat16 is
    a handful of its last digits, so it has no rounding and stays clear of the limit by far more than float32 rounds; the
    limits are a little lower so that what equals one is not below it. ``floor`` is a float32.
    """
    golden_max = golden_min = load_value(g, 0)
    target_max = target_min = load_value(t, 0)
    near_zero = mismatch = within_one = within_five = np.int32(0)
    for i in range(n):
        x = load_value(g, i)
        y = load_value(t, i)
        store(golden_room, i, x)
        store(target_room, i, y)
        golden_max = larger(x, golden_max)
        golden_min = smaller(x, golden_min)
        target_max = larger(y, target_max)
        target_min = smaller(y, target_min)
        size = abs(x)
        difference = abs(y - x)
        reference = larger(size, NARROW_WITHIN_FLOOR)
        near_zero = count_if(near_zero, not (size > floor))
        mismatch = count_if(mismatch, x != y)
        within_one = count_if(within_one, difference < NARROW_ONE * reference)
        within_five = count_if(within_five, difference < NARROW_FIVE * reference)
    return golden_max, golden_min, target_max, target_min, near_zero, mismatch, within_one, within_five


@njit(error_model="numpy", fastmath=FAST)
def narrow_sums(g, t, n, floor):
    """The sums of `block_stats`, and its two largest errors, of n elements."""
    golden_sum = target_sum = golden_squared = target_squared = product = 0.0
    difference_squared = absolute = relative = max_absolute = max_relative = 0.0
    for i in range(n):
        a = np.float64(load_value(g, i))
        b = np.float64(load_value(t, i))
        difference = abs(b - a)
        size = abs(a)
        golden_sum += a
        target_sum += b
        golden_squared += a * a
        target_squared += b * b
        product += a * b
        difference_squared += difference * difference
        absolute += difference
        max_absolute = larger(difference, max_absolute)
        ratio = difference / choose(size > floor, size, np.inf)
        relative += ratio
        max_relative = larger(ratio, max_relative)
    sums = golden_sum, target_sum, golden_squared, target_squared, product, difference_squared, absolute, relative
    return sums, max_absolute, max_relative


@njit(error_model="numpy", fastmath=False)
def narrow_stats(g, t, n, floor, golden_room, target_room):
    """`block_stats` of elements of 16 bits on both sides, in two passes; the rooms then hold them as float32.

    The pass that takes longer comes first: it is the one that waits for the memory. Where the rooms are not wanted,
    `block_stats` is quicker all the same, for the memory has nothing to do in the second one (2.3 to 2.05 G elements/s).
    """
    sums, max_absolute, max_relative = narrow_sums(g, t, n, floor)
    high, low, other_high, other_low, near_zero, mismatch, within_one, within_five = narrow_counts(
        g, t, n, float32_below(floor), golden_room, target_room
    )
    bad = is_nonfinite(abs_bits(sums[2])) or is_nonfinite(abs_bits(sums[3]))
    extrema = np.float64(high), np.float64(low), np.float64(other_high), np.float64(other_low)
    counts = np.int64(near_zero), np.int64(mismatch), np.int64(within_one), np.int64(within_five)
    return (*sums, *extrema, max_absolute, max_relative, *counts, bad)


@njit(error_model="numpy", fastmath=False)
def float32_below(value):
    """The largest float32 that is not above a float64: no float32 tells the two apart."""
    nearest = np.float32(value)
    return np.nextafter(nearest, np.float32(-np.inf)) if np.float64(nearest) > value else nearest


@njit(error_model="numpy", fastmath=FAST)
def same_stats(g, n, floor):
    """`block_stats` of n >= 1 elements beside the very same ones."""
    largest = smallest = load_value(g, 0)
    near_zero = 0
    total = squared = 0.0
    for i in range(n):
        x = load_value(g, i)
        largest = larger(x, largest)
        smallest = smaller(x, smallest)
        a = np.float64(x)
        total += a
        squared += a * a
        near_zero += choose(abs(a) > floor, 0, 1)
    high, low = np.float64(largest), np.float64(smallest)
    bad = is_nonfinite(abs_bits(squared))
    return total, total, squared, squared, squared, 0.0, 0.0, 0.0, high, low, high, low, 0.0, 0.0, near_zero, 0, n, n, bad


@njit(error_model="numpy", fastmath=FAST)
def first_position(g, t, n, value):
    """Index of the first element whose absolute difference is ``value``; n if there is none."""
    position = np.int64(n)
    for i in range(n):
        difference = abs(np.float64(load_value(t, i)) - np.float64(load_value(g, i)))
        position = smaller_index(choose(difference == value, np.int64(i), np.int64(n)), position)
    return position


@njit(error_model="numpy", fastmath=FAST)
def row_sums(g, t, n):
    """Sum of squared differences and sum of squared golden values of n finite elements."""
    difference_squared = golden_squared = 0.0
    for i in range(n):
        a = np.float64(load_value(g, i))
        difference = np.float64(load_value(t, i)) - a
        difference_squared += difference * difference
        golden_squared += a * a
    return difference_squared, golden_squared


@njit(error_model="numpy", fastmath=FAST)
def rounding_squared(g, n, grid, smallest, largest, factor):
    """Sum of the squared errors that rounding n finite values to a narrower float would make, times factor squared.

    ``grid`` is ``1.5 * 2**(53 - significand bits)``, ``smallest`` the smallest normal value. Adding and subtracting grid times
    the value's power of two rounds half to even. Values that would leave the range (above ``largest``) add nothing.
    """
    total = 0.0
    for i in range(n):
        a = np.float64(load_value(g, i))
        magic = grid * larger(power_of_two_below(a), smallest)
        rounded = plain_subtract(plain_add(a, magic), magic)
        error = choose(abs(rounded) <= largest, plain_subtract(rounded, a), 0.0) * factor
        total += error * error
    return total
