from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fastcmp.dtypes import DTYPES
from fastcmp.formats.decode import decode

SMALL = ["float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn"]


@pytest.mark.parametrize("dtype", SMALL)
def test_every_code_of_a_small_float_has_its_value(dtype: str) -> None:
    codes = np.arange(2 ** DTYPES[dtype].bits, dtype=np.uint8)
    values = decode(codes, dtype)
    expected = codes.view(getattr(ml_dtypes, dtype)).astype(np.float64)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values[~np.isnan(values)]), np.signbit(expected[~np.isnan(values)]))


@pytest.mark.parametrize("dtype", ["float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn", "int4", "uint1"])
def test_high_bits_of_a_sub_byte_element_do_not_count(dtype: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(decode(codes, dtype), decode(codes % 2 ** DTYPES[dtype].bits, dtype))


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_every_code_of_a_16_bit_float_has_its_value(dtype: str, numpy_dtype: type) -> None:
    codes = np.arange(2**16, dtype=np.uint16)
    values = decode(codes, dtype)
    with np.errstate(invalid="ignore"):
        expected = codes.view(numpy_dtype).astype(np.float64)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values[~np.isnan(values)]), np.signbit(expected[~np.isnan(values)]))


def test_integers_keep_every_bit() -> None:
    np.testing.assert_array_equal(decode(np.arange(16, dtype=np.uint8), "int4"), [*range(8), *range(-8, 0)])
    np.testing.assert_array_equal(decode(np.arange(2, dtype=np.uint8), "uint1"), [0, 1])
    big = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    assert decode(big, "int64").tolist() == big.tolist()
    assert decode(np.array([2**64 - 1], np.uint64), "uint64").tolist() == [2**64 - 1]
    assert decode(np.array([255, 128], np.uint8), "uint8").tolist() == [255, 128]


@pytest.mark.parametrize("dtype", [name for name, row in DTYPES.items() if row.kind == "int" and 8 <= row.bits <= 16])
def test_every_code_of_a_small_integer_has_its_value(dtype: str) -> None:
    size = DTYPES[dtype].bits // 8
    codes = range(256**size)
    stored = np.frombuffer(b"".join(code.to_bytes(size, "little") for code in codes), DTYPES[dtype].view)
    assert decode(stored, dtype).tolist() == [code - (256**size if dtype[0] == "i" and code >= 256**size // 2 else 0) for code in codes]


def test_any_byte_but_zero_is_true() -> None:
    assert decode(np.arange(256, dtype=np.uint8), "bool").tolist() == [False] + [True] * 255


def test_complex_parts_are_in_order() -> None:
    halves = np.array([1.5, -2.0, 0.25, 65504.0], np.float16)
    np.testing.assert_array_equal(decode(halves.view(np.uint32), "complex32"), [1.5 - 2j, 0.25 + 65504j])
    np.testing.assert_array_equal(decode(np.array([[1 + 2j]], np.complex64), "complex64"), [[1 + 2j]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_decoded_in_its_own_shape(dtype: str) -> None:
    row = DTYPES[dtype]
    values = decode(np.zeros((2, 3), row.view), dtype)
    assert values.shape == (2, 3)
    assert values.dtype.kind in {"float": "f", "int": "iu", "bool": "b", "complex": "c"}[row.kind]
