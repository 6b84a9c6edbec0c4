"""Rounding to stored elements, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from fastcmp.dtypes import DTYPES
from fastcmp.formats.decode import decode
from fastcmp.formats.encode import encode


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_code_comes_back(dtype: str) -> None:
    codes = np.arange(65536, dtype=np.uint16)
    values = decode(codes, dtype)
    back = encode(values, dtype)
    assert np.array_equal(back[~np.isnan(values)], codes[~np.isnan(values)])
    assert np.isnan(decode(back[np.isnan(values)], dtype)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_ties_and_their_neighbours_go_to_the_nearest_even(dtype: str) -> None:
    """Half way between two codes, and the float64 right below and above that: a rounding by way of float32 gets these wrong."""
    stop = 0x7BFF if dtype == "float16" else 0x7F7F
    codes = np.unique(np.concatenate([np.arange(0, 600), np.random.default_rng(0).integers(0, stop, 5000)])).astype(np.uint16)
    low, high = decode(codes, dtype), decode(codes + np.uint16(1), dtype)
    middle = (low + high) / 2
    for values in (middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)):
        expected = [
            low_code if _nearer(Fraction(value), Fraction(a), Fraction(b), int(low_code)) else low_code + 1
            for value, a, b, low_code in zip(values.tolist(), low.tolist(), high.tolist(), codes.astype(int), strict=True)
        ]
        assert encode(values, dtype).tolist() == expected
        assert (encode(-values, dtype) ^ 0x8000).tolist() == expected


def _nearer(value: Fraction, low: Fraction, high: Fraction, code: int) -> bool:
    below, above = value - low, high - value
    return below < above or (below == above and code % 2 == 0)


def test_overflow_and_odd_values_of_bfloat16() -> None:
    largest = float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    step = 2.0**120
    values = np.array([largest, largest + step / 2 - 2.0**90, largest + step / 2, 1e300, -1e300, np.inf, np.nan, 0.0, -0.0, 1e-320])
    got = decode(encode(values, "bfloat16"), "bfloat16")
    assert got[:2].tolist() == [largest, largest] and got[2:6].tolist() == [np.inf, np.inf, -np.inf, np.inf]
    assert np.isnan(got[6]) and got[7:].tolist() == [0, 0, 0] and np.signbit(got[8])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int32", "int64", "uint64", "complex64", "complex128", "complex32"])
def test_other_dtypes_come_back(dtype: str) -> None:
    stored = np.random.default_rng(1).integers(0, 255, 64 * 16).astype(np.uint8).view(DTYPES[dtype].view)
    values = decode(stored, dtype)
    again = encode(values, dtype)
    assert again.dtype == np.dtype(DTYPES[dtype].view)
    np.testing.assert_array_equal(decode(again, dtype), values)


@pytest.mark.parametrize("dtype", ["bool", "float8_e5m2", "int4"])
def test_what_nothing_is_rounded_to(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"{dtype}: nothing is rounded to it"):
        encode(np.zeros(2), dtype)
