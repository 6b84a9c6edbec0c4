"""Element by element: what the fast path cannot trust itself with.

`prepare` looks at every position of a block, counts what is not finite, keeps each side's own extrema and sum, and leaves the
positions where both sides are finite in a scratch, one row of the scratch per quantity. Which of the three bodies it becomes
depends on the carriers: floats (NaN and infinities, and float64 whose squares leave the range), 64-bit integers beside
anything (differences formed exactly), complex (moduli).
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from fastcmp.kernels.sums import slot
from fastcmp.kernels.vector import abs_bits, is_nan, is_negative, is_nonfinite, load, load_complex

from numba import njit, types  # isort: skip
from numba.extending import overload  # isort: skip

# Rows of the scratch. The first two are scaled by the exponents of the record, as are the product and the difference;
# the difference is never negative; the ratio is 0 where golden is too small. The plain ones are unscaled.
GOLDEN, TARGET, DIFFERENCE, RATIO, PRODUCT, PLAIN_GOLDEN, PLAIN_TARGET = range(7)
SCRATCH_ROWS = 7

WITHIN_FLOOR = 2.0**-23
TWO_64 = 2.0**64

SUM_GOLDEN, SUM_TARGET = slot("sum_golden"), slot("sum_target")
GOLDEN_MAX, GOLDEN_MIN, TARGET_MAX, TARGET_MIN = slot("golden_max"), slot("golden_min"), slot("target_max"), slot("target_min")
GOLDEN_EXPONENT, TARGET_EXPONENT = slot("golden_exponent"), slot("target_exponent")
GOLDEN_FINITE_COUNT, GOLDEN_NAN_COUNT, GOLDEN_INF_COUNT = slot("golden_finite_count"), slot("golden_nan_count"), slot("golden_inf_count")
TARGET_FINITE_COUNT, TARGET_NAN_COUNT, TARGET_INF_COUNT = slot("target_finite_count"), slot("target_nan_count"), slot("target_inf_count")
NONFINITE_MISMATCH, MISMATCH_COUNT, NEAR_ZERO = slot("nonfinite_mismatch_count"), slot("mismatch_count"), slot("near_zero_golden_count")
WITHIN_ONE, WITHIN_FIVE = slot("within_one_thousandth_count"), slot("within_five_thousandths_count")


def prepare(f, c, g, t, n, floor, scratch, index):
    """Fill the scratch from n elements; returns how many positions are finite on both sides. Compiled code only."""
    raise NotImplementedError


@njit(error_model="numpy", fastmath=False)
def add_side(f, c, value, factor, place_sum, place_max, place_min, place_count):
    """Count one finite value of one side."""
    scaled = value * factor
    before = f[place_sum]
    total = before + scaled
    f[place_sum] = total
    rest = total - before
    f[place_sum + 1] += (before - (total - rest)) + (scaled - rest)
    f[place_max] = max(f[place_max], value)
    f[place_min] = min(f[place_min], value)
    c[place_count] += 1


@njit(error_model="numpy", fastmath=False)
def count_nonfinite(c, bits, place_nan, place_inf):
    """Count a NaN or an infinity of one side."""
    if is_nan(bits):
        c[place_nan] += 1
    elif is_nonfinite(bits):
        c[place_inf] += 1


@njit(error_model="numpy", fastmath=False)
def relative_and_counts(c, difference, size, ratio, floor, equal):
    """Count one finite position; returns the ratio that takes part in the relative errors, or 0.0."""
    c[MISMATCH_COUNT] += 0 if equal else 1
    reference = max(size, WITHIN_FLOOR)
    c[WITHIN_ONE] += 1 if difference < 0.001 * reference else 0
    c[WITHIN_FIVE] += 1 if difference < 0.005 * reference else 0
    if size > floor:
        return ratio
    c[NEAR_ZERO] += 1
    return 0.0


@njit(error_model="numpy", fastmath=False)
def prepare_floats(f, c, g, t, n, floor, scratch, index):
    """Floats of any carrier. NaN equals NaN, an infinity its like; any other pair with one of them is a mismatch."""
    golden_factor = math.ldexp(1.0, -c[GOLDEN_EXPONENT])
    target_factor = math.ldexp(1.0, -c[TARGET_EXPONENT])
    common = max(c[GOLDEN_EXPONENT], c[TARGET_EXPONENT])
    factor = math.ldexp(1.0, -common)
    m = 0
    for i in range(n):
        x, y = load(g, i), load(t, i)
        x_bits, y_bits = abs_bits(x), abs_bits(y)
        x_bad, y_bad = is_nonfinite(x_bits), is_nonfinite(y_bits)
        a, b = np.float64(x), np.float64(y)
        if x_bad:
            count_nonfinite(c, x_bits, GOLDEN_NAN_COUNT, GOLDEN_INF_COUNT)
        else:
            add_side(f, c, a, golden_factor, SUM_GOLDEN, GOLDEN_MAX, GOLDEN_MIN, GOLDEN_FINITE_COUNT)
        if y_bad:
            count_nonfinite(c, y_bits, TARGET_NAN_COUNT, TARGET_INF_COUNT)
        else:
            add_side(f, c, b, target_factor, SUM_TARGET, TARGET_MAX, TARGET_MIN, TARGET_FINITE_COUNT)
        if x_bad or y_bad:
            both_nan = is_nan(x_bits) and is_nan(y_bits)
            same_infinity = x_bad and y_bad and not is_nan(x_bits) and not is_nan(y_bits) and is_negative(x) == is_negative(y)
            if not (both_nan or same_infinity):
                c[NONFINITE_MISMATCH] += 1
                c[MISMATCH_COUNT] += 1
            continue
        size, difference = abs(a), abs(b - a)
        if difference == np.inf:
            # Quarters of values near the largest do not overflow, and lose nothing.
            ratio = abs(0.25 * b - 0.25 * a) / (0.25 * size)
        else:
            ratio = difference / size
        scratch[GOLDEN, m] = a * golden_factor
        scratch[TARGET, m] = b * target_factor
        scratch[DIFFERENCE, m] = abs(b * factor - a * factor) if common > 0 else difference * factor
        scratch[RATIO, m] = relative_and_counts(c, difference, size, ratio, floor, a == b)
        scratch[PRODUCT, m] = scratch[GOLDEN, m] * scratch[TARGET, m]
        scratch[PLAIN_GOLDEN, m] = a
        scratch[PLAIN_TARGET, m] = b
        index[m] = i
        m += 1
    return m


@njit(error_model="numpy", fastmath=False)
def sum_of_magnitudes(a, b):
    """``a + b`` of two uint64 as the nearest float64, though the sum may need 65 bits."""
    total = a + b
    if total >= a:
        return np.float64(total)
    # Half of it, with the bit that falls off kept sticky so that the rounding stays right.
    half = (total >> np.uint64(1)) | (total & np.uint64(1)) | (np.uint64(1) << np.uint64(63))
    return 2.0 * np.float64(half)


@njit(error_model="numpy", fastmath=False)
def magnitude(value):
    """``|value|`` of an int64 or uint64 as uint64."""
    if value < 0:
        return ~np.uint64(value) + np.uint64(1)
    return np.uint64(value)


@njit(error_model="numpy", fastmath=False)
def integer_difference(x, y):
    """``|y - x|`` of two 64-bit integers, signed or not, as the nearest float64."""
    x_negative, y_negative = x < 0, y < 0
    p, q = magnitude(x), magnitude(y)
    if x_negative != y_negative:
        return sum_of_magnitudes(p, q)
    return np.float64(p - q) if p > q else np.float64(q - p)


@njit(error_model="numpy", fastmath=False)
def is_same_integer(integer, real):
    """True if a finite float64 is exactly that 64-bit integer."""
    nearest = np.float64(integer)
    if nearest != real:
        return False
    # Then real is an integer, and in range unless it is the rounded-up end of it.
    if integer < 0:
        return magnitude(integer) == np.uint64(-real)
    return real < TWO_64 and magnitude(integer) == np.uint64(real)


@njit(error_model="numpy", fastmath=False)
def prepare_integers(f, c, g, t, n, floor, scratch, index):
    """Two sides of 64-bit integers: differences and equality exact, values to the nearest float64."""
    for i in range(n):
        x, y = load(g, i), load(t, i)
        a, b = np.float64(x), np.float64(y)
        add_side(f, c, a, 1.0, SUM_GOLDEN, GOLDEN_MAX, GOLDEN_MIN, GOLDEN_FINITE_COUNT)
        add_side(f, c, b, 1.0, SUM_TARGET, TARGET_MAX, TARGET_MIN, TARGET_FINITE_COUNT)
        difference = integer_difference(x, y)
        scratch[GOLDEN, i] = scratch[PLAIN_GOLDEN, i] = a
        scratch[TARGET, i] = scratch[PLAIN_TARGET, i] = b
        scratch[DIFFERENCE, i] = difference
        scratch[RATIO, i] = relative_and_counts(c, difference, abs(a), difference / abs(a), floor, difference == 0.0)
        scratch[PRODUCT, i] = a * b
        index[i] = i
    return n


@njit(error_model="numpy", fastmath=False)
def lost_in_float(integer):
    """What a 64-bit integer has more than its nearest float64; exact, for it is 1024 at most."""
    whole = magnitude(integer)
    nearest = np.float64(whole)
    if nearest >= TWO_64:
        lost = -np.float64(~whole + np.uint64(1))
    else:
        kept = np.uint64(nearest)
        lost = np.float64(whole - kept) if whole > kept else -np.float64(kept - whole)
    return -lost if integer < 0 else lost


@njit(error_model="numpy", fastmath=False)
def difference_from_integer(integer, real):
    """``|real - integer|`` of a 64-bit integer and a finite float64, within the last digit of the exact one."""
    nearest = np.float64(integer)
    total = real - nearest
    rest = total - real
    error = (real - (total - rest)) - (nearest + rest)
    return abs(total + (error - lost_in_float(integer)))


@njit(error_model="numpy", fastmath=False)
def prepare_integer_and_float(f, c, integers, reals, n, floor, scratch, index, integer_is_golden):
    """64-bit integers beside float64: differences and equality exact, values to the nearest float64."""
    m = 0
    for i in range(n):
        whole, real = load(integers, i), load(reals, i)
        value, bits = np.float64(whole), abs_bits(real)
        bad = is_nonfinite(bits)
        if integer_is_golden:
            add_side(f, c, value, 1.0, SUM_GOLDEN, GOLDEN_MAX, GOLDEN_MIN, GOLDEN_FINITE_COUNT)
        else:
            add_side(f, c, value, 1.0, SUM_TARGET, TARGET_MAX, TARGET_MIN, TARGET_FINITE_COUNT)
        if bad:
            if integer_is_golden:
                count_nonfinite(c, bits, TARGET_NAN_COUNT, TARGET_INF_COUNT)
            else:
                count_nonfinite(c, bits, GOLDEN_NAN_COUNT, GOLDEN_INF_COUNT)
            c[NONFINITE_MISMATCH] += 1
            c[MISMATCH_COUNT] += 1
            continue
        if integer_is_golden:
            add_side(f, c, real, 1.0, SUM_TARGET, TARGET_MAX, TARGET_MIN, TARGET_FINITE_COUNT)
            a, b = value, real
        else:
            add_side(f, c, real, 1.0, SUM_GOLDEN, GOLDEN_MAX, GOLDEN_MIN, GOLDEN_FINITE_COUNT)
            a, b = real, value
        difference = difference_from_integer(whole, real)
        scratch[GOLDEN, m] = scratch[PLAIN_GOLDEN, m] = a
        scratch[TARGET, m] = scratch[PLAIN_TARGET, m] = b
        scratch[DIFFERENCE, m] = difference
        scratch[RATIO, m] = relative_and_counts(c, difference, abs(a), difference / abs(a), floor, is_same_integer(whole, real))
        scratch[PRODUCT, m] = a * b
        index[m] = i
        m += 1
    return m


@njit(error_model="numpy", fastmath=False)
def side_of_complex(f, c, bits, modulus, factor, place_sum, place_max, place_min, place_count, place_nan, place_inf):
    """Count one complex number of one side; True if it is finite. A NaN part makes it a NaN."""
    if is_nonfinite(bits):
        count_nonfinite(c, bits, place_nan, place_inf)
        return False
    add_side(f, c, modulus, factor, place_sum, place_max, place_min, place_count)
    return True


@njit(error_model="numpy", fastmath=False)
def same_part(x, y):
    """NaN equals NaN; else plain equality."""
    return x == y or (x != x and y != y)


@njit(error_model="numpy", fastmath=False)
def prepare_complex(f, c, g, t, n, floor, scratch, index):
    """Complex numbers: modulus of the difference; values and extrema of a side are moduli."""
    golden_factor = math.ldexp(1.0, -c[GOLDEN_EXPONENT])
    target_factor = math.ldexp(1.0, -c[TARGET_EXPONENT])
    common = max(c[GOLDEN_EXPONENT], c[TARGET_EXPONENT])
    factor = math.ldexp(1.0, -common)
    m = 0
    for i in range(n):
        (p, q), (r, s) = load_complex(g, i), load_complex(t, i)
        x_bits, y_bits = max(abs_bits(p), abs_bits(q)), max(abs_bits(r), abs_bits(s))
        size = math.hypot(p, q)
        x_good = side_of_complex(
            f, c, x_bits, size, golden_factor, SUM_GOLDEN, GOLDEN_MAX, GOLDEN_MIN, GOLDEN_FINITE_COUNT, GOLDEN_NAN_COUNT, GOLDEN_INF_COUNT
        )
        other = math.hypot(r, s)
        y_good = side_of_complex(
            f, c, y_bits, other, target_factor, SUM_TARGET, TARGET_MAX, TARGET_MIN, TARGET_FINITE_COUNT, TARGET_NAN_COUNT, TARGET_INF_COUNT
        )
        if not (x_good and y_good):
            both_nan = is_nan(x_bits) and is_nan(y_bits)
            if not (both_nan or (same_part(p, r) and same_part(q, s))):
                c[NONFINITE_MISMATCH] += 1
                c[MISMATCH_COUNT] += 1
            continue
        difference = math.hypot(r - p, s - q)
        ratio = difference / size
        if difference == np.inf:
            ratio = math.hypot(0.25 * r - 0.25 * p, 0.25 * s - 0.25 * q) / math.hypot(0.25 * p, 0.25 * q)
        scratch[GOLDEN, m] = math.hypot(p * golden_factor, q * golden_factor)
        scratch[TARGET, m] = math.hypot(r * target_factor, s * target_factor)
        if common > 0:
            scratch[DIFFERENCE, m] = math.hypot(r * factor - p * factor, s * factor - q * factor)
        else:
            scratch[DIFFERENCE, m] = math.hypot((r - p) * factor, (s - q) * factor)
        scratch[RATIO, m] = relative_and_counts(c, difference, size, ratio, floor, p == r and q == s)
        scratch[PRODUCT, m] = (p * golden_factor) * (r * target_factor) + (q * golden_factor) * (s * target_factor)
        scratch[PLAIN_GOLDEN, m] = size
        scratch[PLAIN_TARGET, m] = other
        index[m] = i
        m += 1
    return m


@overload(prepare)
def _choose_prepare(f, c, g, t, n, floor, scratch, index):
    golden, target = g.dtype, t.dtype
    if isinstance(golden, types.Complex):
        return lambda f, c, g, t, n, floor, scratch, index: prepare_complex(f, c, g, t, n, floor, scratch, index)
    wide = (types.int64, types.uint64)
    if golden in wide and target in wide:
        return lambda f, c, g, t, n, floor, scratch, index: prepare_integers(f, c, g, t, n, floor, scratch, index)
    if golden in wide:
        return lambda f, c, g, t, n, floor, scratch, index: prepare_integer_and_float(f, c, g, t, n, floor, scratch, index, True)
    if target in wide:
        return lambda f, c, g, t, n, floor, scratch, index: prepare_integer_and_float(f, c, t, g, n, floor, scratch, index, False)
    return lambda f, c, g, t, n, floor, scratch, index: prepare_floats(f, c, g, t, n, floor, scratch, index)
