"""Tensors that are stored wide and hold values of a narrower dtype: a run in bfloat16 whose dump went through ``.float()``.

Looked at only where a pair differs by more than its stored dtype explains. The first elements nearly always say that it is not so; where
they do not, all of the piece is looked at.
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
_AT_ONCE: Final = 2**18
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
    notes = []
    for role, info, piece in (("golden", golden, golden_piece), ("target", target, target_piece)):
        dtype = narrow_dtype(piece) if info.dtype in _WIDE else ""
        if dtype:
            values = "its values are" if piece.size == info.element_count else f"the first {piece.size} of its values are"
            notes.append(f"W_NARROW_VALUES: {role} is stored as {info.dtype}, {values} those of {dtype}")
    return tuple(notes)


def narrow_dtype(piece: NDArray[Any]) -> str:
    """The narrow dtype that holds every value exactly; "" where none does, or the first ones are too few or too plain to tell."""
    with np.errstate(all="ignore"):  # a signalling NaN is none of these values, and what overflows is not held exactly
        dtype = _of_first(np.asarray(piece[:_LOOKED_AT], np.float64))
        rest = range(_LOOKED_AT, piece.size, _AT_ONCE) if dtype else ()
        return dtype if all(_holds(dtype, np.asarray(piece[at : at + _AT_ONCE], np.float64)) for at in rest) else ""


def _holds(dtype: str, values: NDArray[np.float64]) -> bool:
    return bool(((decode(encode(values, dtype), dtype) == values) | ~np.isfinite(values)).all())


def _of_first(values: NDArray[np.float64]) -> str:
    values = values[np.isfinite(values) & (values != 0)]
    if values.size < _FEWEST or (values == np.trunc(values)).all():  # ids, masks and counts have few digits too
        return ""
    if np.unique(np.abs(np.frexp(values)[0])).size < _FEWEST // 4:
        return ""
    return next((dtype for dtype in _NARROW if _holds(dtype, values)), "")
