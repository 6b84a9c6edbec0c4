"""Task outcomes to record batches: which cells are filled, and the exact sentences of rows without metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastcmp.results.table import compared_positions, record_batch, unpaired_result
from fastcmp.verdict import Rules

Parts = dict[str, Callable[..., Any]]


def one_error(parts: Parts, code: str, side: str, detail: str) -> dict[str, Any]:
    result = parts["result"]([0])
    result.error_codes, result.error_sides, result.error_details, result.sums_counts = [code], [side], [detail], [0]
    return record_batch(result, [parts["pair"](0, "x")], {}, Rules()).to_pylist()[0]


@pytest.mark.parametrize(
    ("code", "side", "detail", "reason"),
    [
        (
            "E_MISSING", "target", "/d/7.bin: no such file",
            "acl_data_path is not exist. /d/7.bin: no such file; check that the dump finished and was moved as a whole [E_MISSING]",
        ),
        (
            "E_MISSING", "golden", "/d/7.bin: no such file",
            "golden_data_path is not exist. /d/7.bin: no such file; check that the dump finished and was moved as a whole [E_MISSING]",
        ),
        (
            "E_SHAPE", "", "golden has shape (2, 3) but target has shape (7,)",
            "data shape doesn't match. golden has shape (2, 3) but target has shape (7,); check which tensor was dumped [E_SHAPE]",
        ),
        (
            "E_TRUNCATED", "target", "/d/7.bin: byte 49: needs 24 bytes, 3 are left",
            "/d/7.bin: byte 49: needs 24 bytes, 3 are left; the dump was cut short; dump this tensor again [E_TRUNCATED]",
        ),
        (
            "E_INTERNAL", "", "",
            "fastcmp itself failed on this pair; please report it, with --debug output [E_INTERNAL]",
        ),
    ],
)  # fmt: skip
def test_a_row_without_metrics_says_why(parts: Parts, code: str, side: str, detail: str, reason: str) -> None:
    row = one_error(parts, code, side, detail)
    assert row["cmp_fail_reason"] == reason
    assert row["cmp_flag"] is False
    assert row["cosine_similarity"] is None and row["mismatch_count"] is None and row["max_absolute_error_index"] is None
    assert row["golden_dtype"] == "float32" and row["golden_shape"] == "(2, 3)"
    assert row["verdict"] == ("fail" if code == "E_SHAPE" else "error")


@pytest.mark.parametrize(("golden", "target", "sentence"), [(True, False, "acl_data_path"), (False, True, "golden_data_path")])
def test_an_unpaired_row_names_the_side_that_is_absent(parts: Parts, golden: bool, target: bool, sentence: str) -> None:
    pairs = [parts["pair"](0, "x", "3", golden=golden, target=target)]
    row = record_batch(unpaired_result(pairs, 0), pairs, {}, Rules()).to_pylist()[0]
    present = "golden" if golden else "target"
    assert row["cmp_fail_reason"] == (
        f"{sentence} is not exist. only {present} has data_id x, token_id 3; dump it on the other side, pair it by --map, or --allow-unpaired [E_UNPAIRED]"
    )
    assert row["verdict"] == "fail"
    assert row[f"{sentence}"] is None
    assert record_batch(unpaired_result(pairs, 0), pairs, {}, Rules(allow_unpaired=present)).to_pylist()[0]["verdict"] == "pass"


def test_metrics_land_on_their_rows_around_an_error(parts: Parts) -> None:
    result = parts["result"]([4, 5, 6])
    result.error_codes[1], result.error_sides[1], result.error_details[1] = "E_MISSING", "target", "/a: no such file"
    pairs = {row: parts["pair"](row, str(row)) for row in (4, 5, 6)}
    metrics = parts["metrics"](2, relative_euclidean_distance=np.array([0.5, 0.0]), kl_divergence=[None, 0.25], worst_row=[1, None])
    assert compared_positions(result) == [0, 2]
    rows = record_batch(result, pairs, metrics, Rules()).to_pylist()
    assert [row["row"] for row in rows] == [4, 5, 6]
    assert [row["relative_euclidean_distance"] for row in rows] == [0.5, None, 0.0]
    assert [row["kl_divergence"] for row in rows] == [None, None, 0.25]
    assert [row["worst_row"] for row in rows] == [1, None, None]
    assert [row["verdict"] for row in rows] == ["fail", "error", "pass"]
    assert [row["cmp_flag"] for row in rows] == [True, False, True]
    assert [row["max_absolute_error_index"] for row in rows] == ["(0, 1)", None, "(0, 1)"]
    assert rows[0]["bytes"] == 48 and rows[0]["cmp_fail_reason"] == ""


def test_nan_is_a_value_of_a_metric_and_emptiness_of_a_count(parts: Parts) -> None:
    metrics = parts["metrics"](1, max_relative_error=np.array([np.nan]), mismatch_count=np.array([np.nan]))
    row = record_batch(parts["result"]([0]), [parts["pair"](0, "x")], metrics, Rules()).to_pylist()[0]
    assert np.isnan(row["max_relative_error"])
    assert row["mismatch_count"] is None


def test_a_masked_metric_is_empty(parts: Parts) -> None:
    metrics = parts["metrics"](1, kl_divergence=np.ma.masked_all(1))
    assert record_batch(parts["result"]([0]), [parts["pair"](0, "x")], metrics, Rules()).to_pylist()[0]["kl_divergence"] is None


def test_differing_dtypes_and_shapes_are_noted(parts: Parts) -> None:
    result = parts["result"]([0], target_dtype="int8")
    result.target[0].shape = (3, 2)
    row = record_batch(result, [parts["pair"](0, "x")], parts["metrics"](1), Rules()).to_pylist()[0]
    assert row["notes"] == (
        "dtypes differ: float32 against int8, compared after widening; integer against float and no scale is known; "
        "shapes differ: (2, 3) against (3, 2), compared in the order the elements lie"
    )
    assert row["verdict"] == "fail"


def test_undecodable_names_become_visible(parts: Parts) -> None:
    pair = parts["pair"](0, "a\udcffb\ud800", path="/d/\udc80.npy")
    row = record_batch(parts["result"]([0]), [pair], parts["metrics"](1), Rules()).to_pylist()[0]
    assert row["data_id"] == "a\\xffb\\ud800"
    assert row["golden_data_path"] == "/d/\\x80.npy"


def test_a_metric_of_the_wrong_length_is_refused(parts: Parts) -> None:
    with pytest.raises(ValueError, match="metric mismatch_count: 2 values for 1 compared pairs"):
        record_batch(parts["result"]([0]), [parts["pair"](0, "x")], parts["metrics"](1, mismatch_count=np.zeros(2)), Rules())
