"""Values of two sides and their differences, as design has them: widened exactly, subtracted in float64, integers exactly first."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]
"""bool, int64, uint64, float64 or complex128, as `fastcmp.formats.decode` makes them."""


def differences(golden: Values, target: Values) -> Values:
    """target - golden, float64 (complex128 where a side is complex); of two integers the float64 nearest to the exact difference.

    What is not finite on a side is NaN.
    """
    if golden.dtype.kind in "iub" and target.dtype.kind in "iub":
        return _integer_differences(golden, target)
    wide = np.complex128 if "c" in (golden.dtype.kind, target.dtype.kind) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.isfinite(golden) & np.isfinite(target), target.astype(wide) - golden.astype(wide), np.nan)


def _integer_differences(golden: Values, target: Values) -> NDArray[np.float64]:
    is_greater = target >= golden
    # Two's complement: the distance of two 64-bit integers of either sign is right modulo 2^64, and below it where one is the larger.
    one, other = (side.astype(np.int64).view(np.uint64) if side.dtype.kind != "u" else side for side in (golden, target))
    if golden.dtype.kind != target.dtype.kind and "u" in (golden.dtype.kind, target.dtype.kind):
        return np.asarray(target.astype(np.longdouble) - golden.astype(np.longdouble)).astype(np.float64)
    up, down = other - one, one - other
    return np.where(is_greater, up.astype(np.float64), -down.astype(np.float64))


def unequal(golden: Values, target: Values) -> NDArray[np.bool_]:
    """Where two sides differ: NaN equals NaN, -0 equals 0."""
    both_nan = np.isnan(golden) & np.isnan(target) if "f" in _kinds(golden, target) or "c" in _kinds(golden, target) else False
    return np.asarray((golden != target) & ~np.asarray(both_nan))


def nonfinite_mismatch(golden: Values, target: Values) -> NDArray[np.bool_]:
    """Where a NaN or an infinity meets something else."""
    return unequal(golden, target) & ~(np.isfinite(golden) & np.isfinite(target))


def as_floats(values: Values) -> NDArray[np.float64]:
    """float64 of any values; complex ones get a last axis of two, the real and the imaginary part."""
    if values.dtype.kind == "c":
        wide = np.ascontiguousarray(values, np.complex128)
        return wide.view(np.float64).reshape(*values.shape, 2)
    return values.astype(np.float64, copy=False)


def _kinds(golden: Values, target: Values) -> str:
    return golden.dtype.kind + target.dtype.kind
