"""Values back to stored elements, each rounded once to the nearest, ties to even. The other way is `decode`, which is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES


def encode(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Stored elements of a float of 16 bits or more, an integer of whole bytes, or a complex dtype.

    Parameters
    ----------
    values : ndarray of any shape
        As `decode` gives them for this dtype.
    dtype : str
        A key of `fastcmp.dtypes.DTYPES`.

    Returns
    -------
    ndarray of the same shape
        In the ``view`` dtype. Integers that do not fit wrap around, as they do where they are added.

    Raises
    ------
    ValueError
        For a dtype that nothing is rounded to here.
    """
    row = DTYPES[dtype]
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            return _bfloat16(values)
        if dtype == "float16":
            return values.astype(np.float16).view(np.uint16)
        if dtype == "complex32":
            halves = np.ascontiguousarray(values).view(np.float64).astype(np.float16)
            return halves.view(np.uint32).reshape(values.shape)
        if (row.kind in ("float", "complex") and row.bits >= 32) or (row.kind == "int" and not row.is_sub_byte):
            return values.astype(row.view)
    raise ValueError(f"{dtype}: nothing is rounded to it")


def _bfloat16(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    """From float64 at once: by way of float32 a value half way between two would be rounded twice."""
    single = values.astype(np.float32)
    bits = single.view(np.uint32)
    # Where float32 lost something, its last bit is made odd: then the tie of the second rounding is none.
    lost = single.astype(np.float64) != values
    toward = np.abs(single.astype(np.float64)) > np.abs(values)
    odd = np.where(lost & ~np.isnan(single) & np.isfinite(single), (bits - toward) | 1, bits)
    rounded = ((odd + np.uint32(0x7FFF) + ((odd >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(single), ((bits >> 16) | 0x40).astype(np.uint16), rounded)
