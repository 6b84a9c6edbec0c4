"""Widening of whatever bits a file holds: no warning, which `-W error` would make an error row of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from fastcmp.dtypes import DTYPES
from fastcmp.kernels.fold import fold_piece
from fastcmp.kernels.widen import widen
from fastcmp.options import FoldOptions


def random_bits(dtype: str, count: int) -> np.ndarray:
    view = np.dtype(DTYPES[dtype].view)
    return np.frombuffer(np.random.default_rng(5).bytes(count * view.itemsize), view)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_bit_pattern_warns(dtype: str) -> None:
    out = np.empty(70_000, np.complex128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        widen(random_bits(dtype, out.size), dtype, out)


def test_a_signalling_nan_is_a_nan() -> None:
    out = np.empty(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        widen(np.array([0x7F81, 0xFF81], np.uint16), "bfloat16", out)
    assert np.isnan(out).all()


def test_a_scale_that_overflows_counts_infinities() -> None:
    integers, floats = np.array([1, 2, 10**9], np.int32), np.array([1e308, 1e308, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sums = fold_piece(
            integers,
            "int32",
            floats,
            "float64",
            start=0,
            element_count=3,
            row_length=3,
            options=FoldOptions(scale=1e308),
            rounding_dtype="",
        )
    assert sums["golden_inf_count"] == 2
