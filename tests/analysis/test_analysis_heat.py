"""The grid by layer and token: each cell the worst of what stands in it, whatever is put together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.analysis.heat import find_heat
from fastcmp.cli.heat_map import heat_lines
from fastcmp.results.schema import arrow_schema


def row(
    data_id: str, token: str, distance: float | None = 1e-3, verdict: str = "pass", failure: str = "", rank: str = ""
) -> dict[str, Any]:
    return {
        "data_id": data_id,
        "token_id": token,
        "rank": rank,
        "verdict": verdict,
        "cmp_flag": not failure,
        "cmp_fail_reason": failure,
        "relative_euclidean_distance": distance,
    }


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema())


ROWS = st.lists(
    st.builds(
        row, st.sampled_from(["embed", "layers.0.a", "layers.0.b", "layers.1.a", "layers.10.a", "head"]), st.sampled_from("0123"),
        st.sampled_from([None, 0.0, 1e-6, 1e-3, 0.2, math.inf]), st.sampled_from(["pass", "fail", "error"]), st.sampled_from(["", "[E_STATS_ONLY]", "[E_UNPAIRED]"]), st.sampled_from(["", "1"]),
    ),
    min_size=1, max_size=25, unique_by=lambda one: (one["rank"], one["data_id"], one["token_id"]),
)  # fmt: skip


@settings(max_examples=examples(150), deadline=None)
@given(ROWS, st.integers(1, 9), st.integers(1, 5))
def test_each_cell_is_the_worst_of_its_rows(rows: list[dict[str, Any]], most_rows: int, most_columns: int) -> None:
    heat = find_heat(table_of(rows), most_rows=most_rows, most_columns=most_columns)
    shape = len(heat.row_labels), len(heat.column_labels)
    assert heat.distance.shape == shape and shape[0] <= most_rows and shape[1] <= most_columns
    fine = find_heat(table_of(rows), most_rows=99, most_columns=99)
    for number, label in enumerate(fine.row_labels):
        for column, token in enumerate(fine.column_labels):
            inside = [one for one in rows if one["token_id"] == token and label_of(one["data_id"], fine.rows_are_layers) == label]
            known = [one["relative_euclidean_distance"] for one in inside if one["relative_euclidean_distance"] is not None]
            cell = fine.distance[number, column]
            assert (math.isnan(cell) and not known) or cell == max(known)
            assert fine.has_failed[number, column] == any(one["verdict"] == "fail" and not is_alone(one) for one in inside)
            unknown = any(one["verdict"] == "error" or (one["verdict"] == "fail" and is_alone(one)) for one in inside)
            assert fine.has_unknown[number, column] == unknown
    tall, wide = heat.rows_per_cell, heat.tokens_per_cell
    for number in range(shape[0]):
        for column in range(shape[1]):
            block = fine.distance[number * tall : (number + 1) * tall, column * wide : (column + 1) * wide]
            worst = np.nan if np.isnan(block).all() else np.nanmax(block)
            assert np.array_equal(heat.distance[number, column], worst, equal_nan=True)


def is_alone(one: dict[str, Any]) -> bool:
    return one["cmp_fail_reason"] == "[E_UNPAIRED]"


def label_of(data_id: str, are_layers: bool) -> str:
    return f"layer {data_id.split('.')[1]}" if are_layers and data_id.startswith("layers") else data_id


def test_rows_stand_as_they_ran_also_those_that_only_a_later_token_has() -> None:
    names = ("embed", "layers.0.a", "late", "layers.1.a", "norm")
    rows = [row(name, token) for name in names for token in ("0", "1") if (name, token) != ("late", "0")]
    assert find_heat(table_of(rows), most_rows=99, most_columns=99).row_labels == ["embed", "layer 0", "late", "layer 1", "norm"]


def test_what_it_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = [
        row("embed", "0", 0.0),
        row("layers.0.a", "0", 3e-3),
        row("layers.1.a", "0", 0.5, "fail"),
        row("layers.1.b", "1", None, "error", "[E_TRUNCATED]"),
    ]
    rows += [row("embed", "1", 1e-7), row("layers.0.a", "1", None, "fail"), row("layers.2.\x1b[31m", "1", 1e30, "fail")]
    text = ["".join(part for part, _ in line) for line in heat_lines(table_of(rows))]
    assert text[:6] == ["error by layer and token:", "token    0  1", "embed    =  7", "layer 0  3  !", "layer 1  1! ?", "layer 2  .  0!"]
    assert text[6].startswith("  n: ") and text[7].startswith("  .: no tensor there") and len(text) == 8
    assert heat_lines(table_of([row("a", "0")])) == [] and heat_lines(table_of([])) == []


def test_what_failed_without_metrics_has_failed_and_what_stands_alone_is_not_compared() -> None:
    rows = [
        row("a", "0", None, "fail", "only statistics are known: max 1 against 2 [E_STATS_ONLY]"),
        row("a", "1", None, "fail", "data shape doesn't match. [E_SHAPE]"),
        row("a", "2", None, "pass", "only checksums are known [E_CHECKSUM]"),
        row("a", "3", None, "fail", "acl_data_path is not exist. [E_UNPAIRED]"),
    ]
    text = ["".join(part for part, _ in line) for line in heat_lines(table_of(rows))]
    assert text[2] == "a  !  !  .  ?"
    assert text[4:] == ["  .: no tensor there, or all that are there pass without that number, as by statistics"]
    del rows[2]
    assert not any(line[0][0].startswith("  .:") for line in heat_lines(table_of(rows)))


def test_a_large_report_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [row(f"layers.{layer}.{'x' * 60}", str(token)) for layer in range(100) for token in range(50)]
    lines = ["".join(part for part, _ in line) for line in heat_lines(table_of(rows))]
    assert len(lines) <= 45 and max(map(len, lines[:-2])) <= 80
    assert lines[-1] == "  each cell is the worst of 3 rows and 4 tokens"
