"""Fewer digits: rounded or cut to a narrower dtype, steps of a quantizer, values that stopped at a limit, and plain rounding of a dtype."""

from __future__ import annotations

from typing import Final

import numpy as np

from fastcmp.closeup.pattern import (
    LEAST_ELEMENTS,
    ROUNDING_RMS,
    Couple,
    Floats,
    Pattern,
    no,
    norms_along,
    sample_positions,
)
from fastcmp.closeup.patterns.places import affected_slices
from fastcmp.dtypes import DTYPES, DType

# Of float32 and narrower; what rounding to float64 leaves, nobody asks about.
_FLOATS: Final = ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
# Correct layers grow from one rounding to seven over eight layers.
_MOST_ROUNDINGS: Final = 16.0
# Of the squared error, what a shift or a factor may account for.
_STRUCTURED: Final = 0.1
# Rows and channels of plain rounding are this alike.
_UNEVEN: Final = 5.0
_LEAST_IN_SLICE: Final = 16
_FEWEST_BITS: Final = DTYPES["bfloat16"].significand_bits
_MOST_LEVELS: Final = 256
_GAP: Final = 8.0


def narrower_dtype(couple: Couple) -> Pattern:
    """One side is the other one, rounded to nearest or cut to a narrower dtype, element by element."""
    sides = (couple.golden, couple.target, "target is golden"), (couple.target, couple.golden, "golden is target")
    sample = sample_positions(couple.golden.size)
    for name in _FLOATS if couple.has_enough else ():
        for one, other, whose in sides:
            for how, change in (("rounded to nearest", rounded), ("cut, not rounded,", cut)):
                few = change(one.ravel()[sample], DTYPES[name])
                if not ((few == other.ravel()[sample]) | ~couple.finite.ravel()[sample]).all():
                    continue
                if ((change(one, DTYPES[name]) == other) | ~couple.finite).all():
                    distance = couple.distance / couple.size
                    return Pattern(
                        f"rounding of {name}", True, f"{whose} {how} to {name}, at every position; relative distance {distance:.2g}"
                    )
    return no("rounding of a narrower dtype")


def rounded(values: Floats, dtype: DType) -> Floats:
    """Values rounded to nearest, ties to even, to the precision and the smallest exponent of a dtype; its largest value is no limit."""
    return _on_grid(values, dtype, np.rint)


def cut(values: Floats, dtype: DType) -> Floats:
    """Values with the digits that a dtype does not have left out, towards zero."""
    return _on_grid(values, dtype, np.trunc)


def _on_grid(values: Floats, dtype: DType, to_whole: np.ufunc) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        _, exponent = np.frexp(values)
        step = np.maximum(exponent - 1, dtype.min_exponent) - (dtype.significand_bits - 1)
        return np.ldexp(to_whole(np.ldexp(values, -step)), step)


def plain_rounding(couple: Couple) -> Pattern:
    """Differences no larger than some roundings of the coarser dtype, of either sign, and alike in every row and channel."""
    name = "rounding of a dtype"
    if not couple.has_enough or couple.distance == 0.0:
        return no(name)
    bits = couple.bits
    dtype = next((one for one in ("bfloat16", "float16", "float32") if bits == DTYPES[one].significand_bits), None)
    if dtype is None or not _uses_all_bits(couple, bits):
        return no(name)
    times = couple.distance / couple.size / (ROUNDING_RMS * 2.0**-bits)
    if times > _MOST_ROUNDINGS or not _is_even(couple) or affected_slices(couple):
        return no(name)
    much = f"{times:.2g} times what one rounding to {dtype} makes" if times >= 1.5 else f"no more than one rounding to {dtype} makes"
    distance = couple.distance / couple.size
    return Pattern(
        f"rounding of {dtype}", True, f"relative distance {distance:.2g}, {much}; of both signs, and alike in all rows and channels"
    )


def _uses_all_bits(couple: Couple, bits: int) -> bool:
    """True if the coarser side holds values of a dtype rather than a few levels: most of them have different significands."""
    coarse = couple.golden if couple.golden_bits == bits else couple.target
    values = coarse[np.isfinite(coarse) & (coarse != 0.0)][:4096]
    return len(np.unique(np.abs(np.frexp(values)[0]))) >= min(len(values) // 2, 2 ** (bits - 1) // 3)


def _is_even(couple: Couple) -> bool:
    """No shift, no factor, no row or channel that has much more of the error than others."""
    golden = np.where(couple.finite, couple.golden, 0.0)
    difference, total = couple.difference, couple.distance**2
    count = max(1, int(couple.finite.sum()))
    shift = float(np.sum(difference)) ** 2 / count
    factor = float(np.sum(golden * difference)) ** 2 / max(couple.size**2, 1e-300)
    if max(shift, factor) > max(_STRUCTURED, 30.0 / count) * total:
        return False
    for axis, extent in enumerate(couple.shape):
        if extent < 2 or difference.size // extent < _LEAST_IN_SLICE:
            continue
        size = norms_along(golden, axis)
        relative = norms_along(difference, axis)[size > 0.0] / size[size > 0.0]
        if relative.size and relative.max() > _UNEVEN * np.median(relative) and relative.max() > _UNEVEN * couple.rounding:
            return False
    return True


def quantized(couple: Couple) -> Pattern:
    """The target holds at most 256 evenly spaced values, and each is the one nearest to golden: int8, int4 or uint8 with a scale."""
    name = "steps of int8"
    if not couple.has_enough or couple.golden.size < 4 * LEAST_ELEMENTS:
        return no(name)
    levels = _levels(couple.target)
    if levels is None or len(np.unique(couple.golden[couple.finite][:65536])) <= 2 * len(levels):
        return no(name)
    step = _step(levels)
    whole = np.rint(levels / step)
    lowest, highest = int(whole[0]), int(whole[-1])
    rounding = 2.0**-couple.bits
    if highest - lowest >= _MOST_LEVELS or np.any(np.abs(levels / step - whole) > 0.01 + 1.5 * np.abs(whole) * rounding):
        return no(name)
    clipped = np.clip(couple.golden, levels[0], levels[-1])
    away = np.where(couple.finite, couple.target - clipped, 0.0)
    target = np.where(couple.finite, couple.target, 0.0)
    # Few values with a round step use fewer bits than the dtype that rounded them has; a still coarser dtype shows by values off the grid.
    noise = 4.0 * 2.0 ** -max(couple.bits, _FEWEST_BITS) * np.abs(target) if couple.bits < 24 else 0.0
    noise += np.abs(target - np.rint(target / step) * step)
    if np.all(np.abs(away) <= 0.51 * step + noise):
        how = "the nearest to golden"
    elif np.all((np.abs(away) <= 1.01 * step + noise) & (away * clipped <= 0.0)):
        how = "the next towards zero"
    else:
        return no(name)
    stopped = int(np.count_nonzero(couple.finite & (np.abs(couple.golden - clipped) > 0.51 * step + noise)))
    ends = f"; {stopped} values beyond them stopped there" if stopped else ""
    kind = "int4" if lowest >= -8 and highest <= 7 else "int8" if lowest >= -128 and highest <= 127 else "uint8"
    text = f"target holds {len(levels)} values, all multiples of {step:.6g} from {lowest} to {highest}, each {how}{ends}"
    return Pattern(f"steps of {kind}", True, text)


def _levels(values: Floats) -> Floats | None:
    """The distinct finite values, ascending; None where there are too many or too few."""
    flat = values.ravel()
    # Soon told: nearly every float tensor has more of them in its first thousands.
    if len(np.unique(flat[:4096])) > _MOST_LEVELS:
        return None
    found = np.unique(flat)
    found = found[np.isfinite(found)]
    return found if 3 <= len(found) <= _MOST_LEVELS else None


def _step(levels: Floats) -> float:
    """The spacing of which all levels are multiples: the one nearest to zero, made exact by those farther and farther away."""
    step = float(np.abs(levels[levels != 0.0]).min())
    for reach in (8.5, 32.5, np.inf):
        near = levels[np.abs(levels) < reach * step]
        whole = np.rint(near / step)
        step = float(np.dot(near, whole) / np.dot(whole, whole))
    return step


def saturation(couple: Couple) -> Pattern:
    """Target is golden, clipped: what lies beyond a limit is at the limit, everything else agrees."""
    name = "saturation"
    if not couple.finite.any() or couple.differing < 2:
        return no(name)
    target = couple.target[couple.finite]
    lowest, highest = float(target.min()), float(target.max())
    if lowest == highest:
        return no(name)
    at_high = couple.finite & (couple.target == highest) & (couple.golden > highest)
    at_low = couple.finite & (couple.target == lowest) & (couple.golden < lowest)
    clipped = at_high | at_low
    high_count, low_count = int(np.count_nonzero(at_high)), int(np.count_nonzero(at_low))
    # The largest value of any two tensors differs; what is clipped is so in several places, and by far more than all else differs.
    if max(high_count, low_count) < 2 or not np.isfinite(couple.distance):
        return no(name)
    left = float(np.abs(couple.difference[couple.finite & ~clipped]).max(initial=0.0))
    if _GAP * left > np.abs(couple.difference[clipped]).max():
        return no(name)
    parts = [
        f"{count} values {side} {limit:.6g}"
        for count, side, limit in ((high_count, "above", highest), (low_count, "below", lowest))
        if count
    ]
    others = "all others are equal" if left == 0.0 else f"no other differs by more than {left:.2g}"
    return Pattern(name, True, f"{' and '.join(parts)} stand at that limit{_limit_words(lowest, highest, parts)}; {others}")


def _limit_words(lowest: float, highest: float, parts: list[str]) -> str:
    known = {
        127.0: "int8",
        -128.0: "int8",
        448.0: "float8_e4m3fn",
        57344.0: "float8_e5m2",
        65504.0: "float16",
        32767.0: "int16",
        7.0: "int4",
    }
    names = [known[limit] for limit in (highest, lowest, -lowest) if limit in known]
    return f", the largest value of {names[0]}" if names and parts else ""
