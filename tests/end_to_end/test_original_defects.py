"""Where the numbers are the original tool's, and where they differ on purpose because its were wrong."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensor_files import Tensor, tensor, write_dumps

import fastcmp
from fastcmp import CompareOptions

NAN = math.nan


def row_of(golden: Tensor, target: Tensor, **changes: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        documents = write_dumps(Path(root), [(golden, target)])
        options = CompareOptions(output=f"{root}/report", executor="serial", **changes)
        return fastcmp.compare(*documents, options=options).to_arrow().to_pylist()[0]


def original_metrics(golden: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The formulas that the original documents, in float32 as it used; the distance without a square root."""
    g, t = golden.astype(np.float32).ravel(), target.astype(np.float32).ravel()
    relative = np.abs(np.where(g == 0, 0, (t - g) / np.where(g == 0, 1, g)))
    return {
        "cosine_similarity": float(g @ t / (np.linalg.norm(g) * np.linalg.norm(t))),
        "max_relative_error": float(relative.max()),
        "mean_relative_error": float(relative.mean()),
        "relative_euclidean_distance": float(((t - g) ** 2).sum() / (g**2).sum()),
        "golden_max_value": float(g.max()),
        "acl_mean_value": float(t.mean()),
    }


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_tensors_have_the_numbers_of_the_original(seed):
    random = np.random.default_rng(seed)
    golden = (random.standard_normal((16, 128)) + 3).astype(np.float32)
    target = (golden * (1 + 0.01 * random.standard_normal(golden.shape))).astype(np.float32)
    row = row_of(tensor("float32", golden), tensor("float32", target), compat_euclid="legacy")
    for name, number in original_metrics(golden, target).items():
        assert row[name] == pytest.approx(number, rel=2e-6), name


def test_the_cosine_is_a_number_that_neither_overflows_nor_loses_its_digits():
    values = np.random.default_rng(1).standard_normal(5000)
    row = row_of(tensor("float32", values * 2e19), tensor("float32", values * 2e19))
    assert type(row["cosine_similarity"]) is float and row["cosine_similarity"] == 1.0


def test_the_distance_is_the_square_root_unless_the_old_one_is_asked_for():
    pair = tensor("float32", np.full(64, 2.0)), tensor("float32", np.full(64, 2.5))
    assert row_of(*pair)["relative_euclidean_distance"] == 0.25
    legacy = row_of(*pair, compat_euclid="legacy")
    assert legacy["relative_euclidean_distance"] == 0.0625 and legacy["verdict"] == "fail"
    close = tensor("float32", np.full(64, 1.0)), tensor("float32", np.full(64, 1 + 2.0**-12))
    assert row_of(*close)["verdict"] == row_of(*close, compat_euclid="legacy")["verdict"] == "fail", "the limit is squared too"


def test_an_error_where_golden_is_zero_is_exposed():
    golden, target = np.ones(1000), np.ones(1000)
    golden[500:], target[500:] = 0.0, 0.75
    row = row_of(tensor("float32", golden), tensor("float32", target))
    assert row["max_relative_error"] == row["mean_relative_error"] == 0.0, "as the original's, and blind"
    assert row["near_zero_golden_count"] == 500
    assert row["max_absolute_error"] == 0.75 and row["mean_absolute_error"] == 0.375
    assert row["within_one_thousandth_ratio"] == row["within_five_thousandths_ratio"] == 0.5
    assert row["verdict"] == "fail"


def test_a_golden_nan_is_no_zero_error():
    golden, target = np.ones(10), np.full(10, 1.5)
    golden[3] = NAN
    row = row_of(tensor("float32", golden), tensor("float32", target))
    assert row["cmp_flag"] and row["mean_relative_error"] == 0.5, "the mean is over the nine finite positions"
    assert row["golden_nan_count"] == row["nonfinite_mismatch_count"] == 1 and row["verdict"] == "fail"


def test_a_golden_of_zeros_does_not_hide_its_target():
    row = row_of(tensor("float32", np.zeros(10)), tensor("float32", np.full(10, 1e-9)))
    assert row["relative_euclidean_distance"] == math.inf and row["cosine_similarity"] == 0.0 and row["verdict"] == "fail"


@pytest.mark.parametrize("base", [2**24, 2**53, 2**62, 2**63 - 2])
def test_ids_that_differ_by_one_are_not_equal(base):
    row = row_of(tensor("int64", np.array([7, base])), tensor("int64", np.array([7, base + 1])))
    assert row["mismatch_count"] == 1 and row["max_absolute_error"] == 1.0 and row["max_absolute_error_index"] == "(1,)"
    assert row["verdict"] == "fail"


def test_an_empty_tensor_is_a_row_that_passes():
    row = row_of(tensor("float32", np.zeros((0, 4))), tensor("float32", np.zeros((0, 4))))
    assert (row["cmp_flag"], row["verdict"], row["element_count"], row["cmp_fail_reason"]) == (True, "pass", 0, "")
    assert row["golden_max_value"] is None and row["max_absolute_error_index"] is None
