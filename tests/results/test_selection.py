"""Rows that are asked for: as a slow look at each cell finds them."""

from __future__ import annotations

import fnmatch
import math
import operator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.errors import UsageError
from fastcmp.results.schema import arrow_schema
from fastcmp.results.selection import matching_rows, parse_condition, sorted_rows

NUMBERS = st.sampled_from([None, 0.0, 1e-9, 1e-3, 0.5, 1.0, 7.0, math.inf, math.nan])
TEXTS = st.sampled_from(["", "a", "b.mlp", "layers.3.mlp", "layers.30.mlp", "é"])
ROW = st.fixed_dictionaries(
    {
        "data_id": TEXTS, "token_id": st.sampled_from(["0", "1", "10"]), "rank": st.just(""), "verdict": st.sampled_from(["pass", "fail", "error"]),
        "cmp_flag": st.booleans(), "relative_euclidean_distance": NUMBERS, "cosine_similarity": NUMBERS,
        "mismatch_count": st.sampled_from([None, 0, 1, 5]), "acl_dtype": st.sampled_from([None, "float16"]),
    }
)  # fmt: skip
OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema())


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(ROW, max_size=8), st.sampled_from(sorted(OPERATORS)), st.sampled_from(["relative_euclidean_distance", "mismatch_count"]),
       st.sampled_from(["0", "1e-3", "0.5", "1", "inf", "nan", "-7", ".5"]))  # fmt: skip
def test_numbers_are_compared_as_python_would(rows: list[dict[str, Any]], symbol: str, column: str, value: str) -> None:
    found = matching_rows(table_of(rows), [parse_condition(f"{column} {symbol} {value}")])
    empty = symbol == "!="
    wanted = [n for n, row in enumerate(rows) if (empty if row[column] is None else OPERATORS[symbol](row[column], float(value)))]
    assert found.tolist() == wanted


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(ROW, max_size=8), st.sampled_from(["==", "!=", "~"]), st.sampled_from(["data_id", "acl_dtype"]),
       st.sampled_from(["a", "", "layers.?.mlp", "*mlp", "float16", "[ab]*", "é", "A"]))  # fmt: skip
def test_texts_are_compared_as_python_would(rows: list[dict[str, Any]], symbol: str, column: str, value: str) -> None:
    def passes(cell: str | None) -> bool:
        if symbol == "~":
            return cell is not None and fnmatch.fnmatchcase(cell, value)
        return (cell == value) == (symbol == "==")

    found = matching_rows(table_of(rows), [parse_condition(f"{column}{symbol}{value}")])
    assert found.tolist() == [n for n, row in enumerate(rows) if passes(row[column])]


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(ROW, max_size=8))
def test_all_conditions_must_hold_and_truth_is_a_word(rows: list[dict[str, Any]]) -> None:
    conditions = [parse_condition(text) for text in ("verdict == fail", "cmp_flag == true", "mismatch_count >= 1")]
    wanted = [n for n, row in enumerate(rows) if row["verdict"] == "fail" and row["cmp_flag"] and (row["mismatch_count"] or 0) >= 1]
    assert matching_rows(table_of(rows), conditions).tolist() == wanted


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(ROW, max_size=9), st.sampled_from(["relative_euclidean_distance", "cosine_similarity", "mismatch_count", "data_id"]))
def test_the_worst_of_a_column_stands_first_and_empty_cells_last(rows: list[dict[str, Any]], column: str) -> None:
    table = table_of(rows)
    found = sorted_rows(table, np.arange(len(rows)), column).tolist()
    assert sorted(found) == list(range(len(rows)))

    def badness(row: int) -> tuple[Any, ...]:
        cell = rows[row][column]
        if cell is None:
            return (2, 0, row)
        if isinstance(cell, str):
            return (1, cell, row)
        if math.isnan(cell):
            return (0, 0, row)
        return (1, cell if column == "cosine_similarity" else -cell, row)

    assert found == sorted(found, key=badness)


def test_other_orders() -> None:
    names = [("b", "1"), ("a", "1"), ("b", "0"), ("a", "0")]
    rows = [{"data_id": name, "token_id": token, "rank": "", "verdict": "pass", "cmp_flag": True} for name, token in names]
    rows[1] |= {"verdict": "fail", "relative_euclidean_distance": 0.5}
    rows[3] |= {"verdict": "error", "cmp_flag": False}
    table = table_of(rows)
    assert sorted_rows(table, np.arange(4), "ran").tolist() == [2, 3, 0, 1]
    assert sorted_rows(table, np.arange(4), "worst").tolist() == [1, 0, 2, 3]
    assert sorted_rows(table, np.array([3, 0]), "worst").tolist() == [0, 3]
    assert sorted_rows(table, np.array([], np.int64), "worst").tolist() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected 'column op value'"), ("verdict", "expected 'column op value'"), ("verdict = fail", "expected 'column op value'"),
        ("__import__('os') == 1", "expected 'column op value'"), ("verdct == fail", "did you mean verdict"), ("xyzzy == 1", "the columns are token_id"),
        ("verdict > fail", "is text, expected == or !="), ("mismatch_count ~ 3", "is a number"), ("mismatch_count > many", "is a number"),
        ("mismatch_count == 1_0", "is a number"), ("cmp_flag > 1", "is True or False"), ("cmp_flag == yes", "is True or False"),
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        matching_rows(table_of([]), [parse_condition(text)])


def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="--sort 'wurst': no column is called so; did you mean worst"):
        sorted_rows(table_of([]), np.arange(0), "wurst")
