"""Exact values of stored elements, for people, tests and unusual dtypes. Kernels widen on their own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES


def decode(piece: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The values of stored elements, widened without rounding.

    Parameters
    ----------
    piece : ndarray of any shape
        In the ``view`` dtype of `fastcmp.dtypes`, sub-byte dtypes one to a byte in the low bits (high bits are ignored).
    dtype : str
        A key of `fastcmp.dtypes.DTYPES`.

    Returns
    -------
    ndarray of the same shape
        float64 for floats, int64 for integers (uint64 for uint64), bool, complex128. NaN stays NaN.
    """
    row = DTYPES[dtype]
    with np.errstate(invalid="ignore"):  # widening a signalling NaN
        if row.kind == "bool":
            return np.asarray(piece != 0)
        if dtype == "complex32":
            halves = np.ascontiguousarray(piece).view(np.float16).astype(np.float64)
            return halves.view(np.complex128).reshape(piece.shape)
        if row.kind == "complex":
            return piece.astype(np.complex128)
        if row.kind == "int":
            return _decode_integers(piece, dtype)
        if dtype == "bfloat16":
            return (piece.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        if dtype == "float16":
            return np.ascontiguousarray(piece).view(np.float16).astype(np.float64).reshape(piece.shape)
        if row.bits >= 32:
            return piece.astype(np.float64)
    return small_float_table(dtype)[piece]


def _decode_integers(piece: NDArray[Any], dtype: str) -> NDArray[Any]:
    if dtype == "uint64":
        return piece.astype(np.uint64)
    values = piece.astype(np.int64)
    if dtype == "int4":
        return ((values & 15) ^ 8) - 8
    return values & 1 if dtype == "uint1" else values


@lru_cache(maxsize=8)
def small_float_table(dtype: str) -> NDArray[np.float64]:
    """The value of each of the 256 bytes in an 8, 6 or 4 bit float dtype, shape (256,), float64, read-only."""
    table = np.array([_small_float(byte, dtype) for byte in range(256)])
    table.flags.writeable = False
    return table


def _small_float(byte: int, dtype: str) -> float:
    row = DTYPES[dtype]
    code = byte & ((1 << row.bits) - 1)
    if dtype == "float8_e8m0fnu":  # no sign, no zero, no fraction
        return float("nan") if code == 255 else 2.0 ** (code - 127)
    fraction_bits = row.significand_bits - 1
    fraction = code & ((1 << fraction_bits) - 1)
    exponent_mask = (1 << (row.bits - 1 - fraction_bits)) - 1
    exponent = (code >> fraction_bits) & exponent_mask
    sign = -1.0 if code >> (row.bits - 1) else 1.0
    if dtype == "float8_e5m2" and exponent == exponent_mask:
        return float("nan") if fraction else sign * float("inf")
    if dtype == "float8_e4m3fn" and code & 0x7F == 0x7F:
        return float("nan")
    if exponent == 0:
        return sign * fraction * 2.0 ** (row.min_exponent - fraction_bits)
    return sign * (1 + fraction / (1 << fraction_bits)) * 2.0 ** (exponent - 1 + row.min_exponent)
