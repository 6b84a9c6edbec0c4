"""Shift, scale and sign: target is golden with a few numbers applied to it."""

from __future__ import annotations

import numpy as np

from fastcmp.closeup.pattern import LEAST_ELEMENTS, Couple, Explained, Floats, Pattern, no

# One number for so many elements at least: with fewer, noise fits by itself.
_LEAST_IN_SLICE = 8


def constant_shift(couple: Couple) -> Pattern:
    """The same number was added everywhere."""
    name = "constant shift"
    if not couple.has_enough or _is_constant(couple):
        return no(name)
    shift = float(np.median(couple.difference[couple.finite]))
    explained = couple.explain(couple.golden + shift)
    if not explained.fits:
        return no(name)
    return Pattern(name, True, f"target is golden {_signed(shift)}; {explained}")


def shift_by_channel(couple: Couple) -> Pattern:
    """Each index of the last axis has a number of its own added, as a bias that is missing or stands twice."""
    name = "constant shift per channel"
    if len(couple.shape) < 2 or not couple.has_enough or np.prod(couple.shape[:-1]) < _LEAST_IN_SLICE or _is_constant(couple):
        return no(name)
    others = tuple(range(couple.golden.ndim - 1))
    shifts = np.median(couple.difference, axis=others)
    explained = couple.explain(couple.golden + shifts)
    if not explained.fits:
        return no(name)
    span = f"{shifts.min():.4g} to {shifts.max():.4g}"
    return Pattern(
        name, True, f"every channel of the last axis has its own constant added, {span}, as a bias that is missing or doubled; {explained}"
    )


def mirrored(couple: Couple) -> Pattern:
    """A constant minus golden: a mask with 0 and 1 exchanged."""
    name = "mirrored"
    if not couple.has_enough or _is_constant(couple):
        return no(name)
    middle = float(np.median((couple.golden + couple.target)[couple.finite]))
    explained = couple.explain(middle - couple.golden)
    if not explained.fits or middle == 0.0:
        return no(name)
    return Pattern(name, True, f"target is {middle:.6g} minus golden, as a mask that is inverted; {explained}")


def sign_flip(couple: Couple) -> Pattern:
    """Equal magnitudes, other signs."""
    name = "sign flip"
    flipped = couple.finite & (np.sign(couple.golden) * np.sign(couple.target) < 0.0)
    count = int(np.count_nonzero(flipped))
    if count < LEAST_ELEMENTS or not couple.has_enough or len(np.unique(np.abs(couple.golden[flipped][:4096]))) < 4:
        return no(name)
    explained = couple.explain(np.where(flipped, -couple.golden, couple.golden))
    if not explained.fits:
        return no(name)
    nonzero = int(np.count_nonzero(couple.finite & (couple.golden != 0.0)))
    where = "everywhere" if count == nonzero else f"at {count} of {nonzero} positions"
    return Pattern(name, True, f"target is -golden {where}; {explained}")


def scale_factor(couple: Couple) -> Pattern:
    """Everything was multiplied by one number."""
    name = "scale factor"
    if not couple.has_enough or _is_constant(couple):
        return no(name)
    golden = np.where(couple.finite, couple.golden, 0.0)
    factor = float(_factors(golden, np.where(couple.finite, couple.target, 0.0), tuple(range(golden.ndim))).item())
    explained = couple.explain(golden * factor)
    if not explained.fits or factor == 0.0 or _is_better_by_row(couple, explained):
        return no(name)
    return Pattern(name, True, f"target is golden times {factor:.6g}{_known_factor(factor)}{_rows_text(couple)}; {explained}")


def _rows_text(couple: Couple) -> str:
    """The factors that rows would have of their own, where they are long enough to tell."""
    if couple.shape[-1] < 4 * _LEAST_IN_SLICE or couple.golden.size == couple.shape[-1]:
        return ""
    golden, target = (np.where(couple.finite, side, 0.0) for side in (couple.golden, couple.target))
    factors = _factors(golden, target, (-1,))[np.any(golden != 0.0, axis=-1, keepdims=True)]
    span = f"{factors.min():.4g}", f"{factors.max():.4g}"
    return "" if span[0] == span[1] else f", from {span[0]} to {span[1]} in single rows"


def _is_better_by_row(couple: Couple, explained: Explained) -> bool:
    """True where rows with factors of their own leave less than half: noise would be made smaller by a share of itself only.

    Where what is left is one rounding they would not tell: the largest element of a row may outweigh all others,
    and the row's factor then takes up its rounding.
    """
    if couple.shape[-1] < _LEAST_IN_SLICE or couple.golden.size == couple.shape[-1] or explained.left <= couple.largest_rounding:
        return False
    golden, target = (np.where(couple.finite, side, 0.0) for side in (couple.golden, couple.target))
    by_row = couple.explain(golden * _factors(golden, target, (-1,)))
    return by_row.fits and by_row.left < 0.5 * explained.left


def scale_by_row(couple: Couple) -> Pattern:
    """Every row of the last axis has a factor of its own, as a norm with another epsilon or another statistic gives it."""
    name = "scale factor per row"
    if not couple.shape or couple.shape[-1] < _LEAST_IN_SLICE:
        return no(name)
    return _scale_by_slice(couple, name, (-1,), "row of the last axis", ", as a norm with another epsilon or statistic gives it")


def scale_by_channel(couple: Couple) -> Pattern:
    """Every index of the last axis has a factor of its own, as another norm weight or another quantization scale gives it."""
    name = "scale factor per channel"
    if len(couple.shape) < 2 or np.prod(couple.shape[:-1]) < _LEAST_IN_SLICE:
        return no(name)
    others = tuple(range(couple.golden.ndim - 1))
    return _scale_by_slice(
        couple, name, others, "channel of the last axis", ", as other weights of a norm or scales of a quantizer give it"
    )


def _scale_by_slice(couple: Couple, name: str, axes: tuple[int, ...], what: str, cause: str) -> Pattern:
    if not couple.has_enough or _is_constant(couple):
        return no(name)
    golden, target = (np.where(couple.finite, side, 0.0) for side in (couple.golden, couple.target))
    factors = _factors(golden, target, axes)
    explained = couple.explain(golden * factors)
    used = factors[np.any((golden != 0.0) & (target != 0.0), axis=axes, keepdims=True)]
    if not explained.fits or not used.size:
        return no(name)
    span = f"{used.min():.4g} to {used.max():.4g}"
    return Pattern(name, True, f"every {what} has its own factor, {span}{cause}; {explained}")


def _factors(golden: Floats, target: Floats, axes: tuple[int, ...]) -> Floats:
    """The factor that brings golden nearest to target; 1 where golden is zero."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        factors = np.sum(golden * target, axis=axes, keepdims=True) / np.sum(golden * golden, axis=axes, keepdims=True)
    return np.where(np.isfinite(factors), factors, 1.0)


def _is_constant(couple: Couple) -> bool:
    """True where golden cannot tell a shift from a factor."""
    finite = couple.golden[couple.finite]
    return bool(not finite.size or finite.min() == finite.max())


def _signed(shift: float) -> str:
    return f"plus {shift:.6g}" if shift >= 0.0 else f"minus {-shift:.6g}"


def _known_factor(factor: float) -> str:
    """What a factor is near to, where that says more than its digits."""
    for text, value in (("1/2", 0.5), ("2", 2.0), ("1/sqrt(2)", 0.5**0.5), ("sqrt(2)", 2.0**0.5), ("-1", -1.0)):
        if abs(factor / value - 1.0) < 1e-3:
            return f" ({text})"
    for root in (32, 64, 80, 96, 128, 256):
        for text, value in (
            (f"1/sqrt({root})", root**-0.5),
            (f"sqrt({root})", root**0.5),
            (f"1/{root}", 1 / root),
            (f"{root}", float(root)),
        ):
            if abs(factor / value - 1.0) < 1e-3:
                return f" ({text}: is an attention scale missing or applied twice?)" if "sqrt" in text else f" ({text})"
    return ""
