"""Minus infinity against the most negative number of a dtype is a mask; nothing else is."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcmp.dtypes import DTYPES
from fastcmp.kernels import masks
from fastcmp.kernels.fold import fold_piece
from fastcmp.options import FoldOptions

# What numpy, or ml_dtypes, calls each; independent of our tables.
TYPES = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
}


def least(dtype: str) -> float:
    return float(ml_dtypes.finfo(TYPES[dtype]).min)


def stored(values: list[float], dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(TYPES[dtype]).view(DTYPES[dtype].view)


VALUES = st.sampled_from((-math.inf, math.inf, math.nan, 0.0, 1.0, "least", "greatest", "other's least"))


@settings(deadline=None)  # the kernels are compiled on the way
@given(st.sampled_from(sorted(TYPES)), st.sampled_from(sorted(TYPES)), st.lists(st.tuples(VALUES, VALUES), max_size=9), st.integers(1, 4))
def test_masks_are_counted_as_one_by_one(golden: str, target: str, drawn: list[tuple[float | str, float | str]], step: int) -> None:
    def value(one: float | str, own: str, other: str) -> float:
        named = {"least": least(own), "greatest": -least(own), "other's least": max(least(own), least(other))}
        return named[one] if isinstance(one, str) else one

    g = stored([value(one, golden, target) for one, _ in drawn], golden)
    t = stored([value(other, target, golden) for _, other in drawn], target)
    wide = [side.view(TYPES[dtype]).astype(np.float64).tolist() for side, dtype in ((g, golden), (t, target))]
    expected = sum((a == -math.inf and b == least(target)) or (b == -math.inf and a == least(golden)) for a, b in zip(*wide, strict=True))
    record = fold_piece(g, golden, t, target, start=0, element_count=g.size, row_length=3, options=FoldOptions())
    mismatches, unequal = int(record["nonfinite_mismatch_count"][0]), int(record["mismatch_count"][0])
    before = masks._STEP
    masks._STEP = step
    try:
        masks.settle_masks(record, g, (golden, golden), t, (target, target))
    finally:
        masks._STEP = before
    assert record["mask_fill_count"][0] == expected
    assert record["nonfinite_mismatch_count"][0] == mismatches - expected
    assert record["mismatch_count"][0] == unequal  # they are not equal


def test_a_dtype_that_was_dumped_as_a_wider_one_has_its_own_least() -> None:
    g = np.array([-np.inf, -np.inf, -np.inf], np.float32)
    t = np.array([least("bfloat16"), least("float32"), least("float16")], np.float32)
    for true_dtype, count in (("bfloat16", 2), ("float32", 1), ("float16", 2)):
        record = fold_piece(g, "float32", t, "float32", start=0, element_count=3, row_length=3, options=FoldOptions())
        masks.settle_masks(record, g, ("float32", "float32"), t, ("float32", true_dtype))
        assert (record["mask_fill_count"][0], record["nonfinite_mismatch_count"][0]) == (count, 3 - count)


@pytest.mark.parametrize("other", ["int8", "complex64", "bool"])
def test_only_floats_are_masked(other: str) -> None:
    g, t = np.array([-np.inf], np.float32), np.array([-128 if other == "int8" else 1], DTYPES[other].view)
    record = fold_piece(g, "float32", t, other, start=0, element_count=1, row_length=1, options=FoldOptions())
    masks.settle_masks(record, g, ("float32", "float32"), t, (other, other))
    assert (record["mask_fill_count"][0], record["nonfinite_mismatch_count"][0]) == (0, 1)
