"""Tensors that are stored wide and hold values of a narrower dtype: a run in bfloat16 whose dump went through ``.float()``.

Looked at only where a pair differs by more than its stored dtype explains, and only at its beginning, so that it costs nothing elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.formats.decode import decode
from fastcmp.formats.encode import encode
from fastcmp.formats.tensor_info import TensorInfo

# The default limit of float32 pairs, squared.
_NOTABLE_SQUARED: Final = 1e-8
_LOOKED_AT: Final = 4096
# Of so few values it is an accident that they have no more digits.
_FEWEST: Final = 64
_WIDE: Final = ("float32", "float64")
_NARROW: Final = ("bfloat16", "float16")


def differ_notably(sums: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the finite elements of a piece differ by more than rounding to float32 explains; numbers beyond 1e150 are left out.

    Parameters
    ----------
    sums : ndarray of `fastcmp.kernels.sums.SUMS_DTYPE`, any shape
    """
    is_plain = (sums["golden_exponent"] == 0) & (sums["target_exponent"] == 0)
    return np.asarray(is_plain & (sums["sum_difference_squared"] > _NOTABLE_SQUARED * sums["sum_golden_squared"]))


def narrow_values_notes(golden: TensorInfo, golden_piece: NDArray[Any], target: TensorInfo, target_piece: NDArray[Any]) -> tuple[str, ...]:
    """What to note about a pair that differs notably, by the first of its pieces, as stored; () where neither side is narrower."""
    sides = ("golden", golden, golden_piece), ("target", target, target_piece)
    found = [(role, info.dtype, narrow_dtype(piece)) for role, info, piece in sides if info.dtype in _WIDE]
    return tuple(
        f"W_NARROW_VALUES: {role} is stored as {stored}, its values are those of {dtype}" for role, stored, dtype in found if dtype
    )


def narrow_dtype(piece: NDArray[Any]) -> str:
    """The narrow dtype that holds every one of the first values exactly; "" where none does, or they are too few or too plain to tell."""
    with np.errstate(all="ignore"):  # a signalling NaN is none of these values, and what overflows is not held exactly
        return _narrow_dtype(np.asarray(piece[:_LOOKED_AT], np.float64))


def _narrow_dtype(values: NDArray[np.float64]) -> str:
    values = values[np.isfinite(values) & (values != 0)]
    if values.size < _FEWEST or (values == np.trunc(values)).all():  # ids, masks and counts have few digits too
        return ""
    if np.unique(np.abs(np.frexp(values)[0])).size < _FEWEST // 4:
        return ""
    return next((dtype for dtype in _NARROW if (decode(encode(values, dtype), dtype) == values).all()), "")
