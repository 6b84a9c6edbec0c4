"""Storage views to exact float64, int64, uint64 or complex128, a bounded buffer at a time (numpy only).

For the dtypes and pairs that have no fused kernel: fp8 and narrower, integers, bool, complex, float64 beside anything else.
"""

from __future__ import annotations

import functools

import numpy as np

from fastcmp.dtypes import DTYPES


@functools.cache
def float_table(dtype: str) -> np.ndarray:
    """Value of each of the 256 codes of a float of at most 8 bits, float64. Bits above the dtype's own are ignored."""
    info = DTYPES[dtype]
    codes = np.arange(256) & ((1 << info.bits) - 1)
    if dtype == "float8_e8m0fnu":
        values = np.ldexp(1.0, codes - 127)
        values[codes == 255] = np.nan
        return values
    mantissa_bits = info.significand_bits - 1
    exponent_bits = info.bits - 1 - mantissa_bits
    mantissa = codes & ((1 << mantissa_bits) - 1)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = np.where(exponent == 0, mantissa, mantissa + (1 << mantissa_bits))
    values = np.ldexp(fraction.astype(np.float64), np.maximum(exponent, 1) - 1 + info.min_exponent - mantissa_bits)
    top = (1 << exponent_bits) - 1
    if dtype == "float8_e5m2":
        values[exponent == top] = np.where(mantissa[exponent == top] == 0, np.inf, np.nan)
    elif dtype == "float8_e4m3fn":
        values[(exponent == top) & (mantissa == 7)] = np.nan
    return np.where(codes >> (info.bits - 1), -values, values)


@functools.cache
def integer_table(dtype: str) -> np.ndarray:
    """Value of each of the 256 codes of bool or of an integer of at most 8 bits, int64. Any byte but zero is true."""
    codes = np.arange(256, dtype=np.int64)
    if DTYPES[dtype].bits == 8 and dtype != "bool":
        return codes.astype(np.uint8).view(DTYPES[dtype].view).astype(np.int64)
    if dtype == "bool":
        return (codes != 0).astype(np.int64)
    if dtype == "uint1":
        return codes & 1
    low = codes & 15
    return np.where(low >= 8, low - 16, low)


def largest_finite(dtype: str) -> float:
    """The largest finite value of a float dtype."""
    info = DTYPES[dtype]
    if info.bits <= 8:
        return float(np.nanmax(np.where(np.isfinite(float_table(dtype)), float_table(dtype), np.nan)))
    return (2.0 - 2.0 ** (1 - info.significand_bits)) * 2.0**info.max_exponent


def widen(piece: np.ndarray, dtype: str, out: np.ndarray) -> None:
    """Write the exact values of a storage view into ``out`` (float64, int64, uint64 or complex128), equal in length.

    Only 64-bit integers into float64 are rounded, to the nearest. A signalling NaN becomes a quiet one, without a warning.
    """
    with np.errstate(invalid="ignore"):
        if dtype == "float16":
            out[...] = piece.view(np.float16)
        elif dtype == "bfloat16":
            out[...] = (piece.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif dtype == "complex32":
            parts = piece.view(np.float16).astype(np.float64)
            out.real, out.imag = parts[0::2], parts[1::2]
        elif dtype in ("bool", "int4", "uint1"):
            out[...] = integer_table(dtype)[piece]
        elif piece.dtype == np.uint8 and DTYPES[dtype].kind == "float":
            out[...] = float_table(dtype)[piece]
        else:
            out[...] = piece
