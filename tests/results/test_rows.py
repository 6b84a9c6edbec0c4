"""Rows of a report by their names and by what they hold."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from fastcmp.errors import UsageError
from fastcmp.results.report_files import report_table
from fastcmp.results.rows import find_row, row_of, rows_like

BatchOf = Callable[..., pa.RecordBatch]


def names_table(batch_of: BatchOf, names: list[tuple[str, str, str]]) -> pa.Table:
    table = report_table([batch_of([f"x{number}" for number in range(len(names))])], len(names))
    for column, position in (("rank", 0), ("data_id", 1), ("token_id", 2)):
        table = table.set_column(table.column_names.index(column), column, pa.array([name[position] for name in names], pa.string()))
    return table


def test_rows_are_found_by_as_much_of_a_name_as_it_takes(batch_of: BatchOf) -> None:
    names = [("0", "a", "1"), ("0", "a", "2"), ("1", "a", "1"), ("0", "b", ""), ("", "'; drop", "\u202e")]
    table = names_table(batch_of, names)
    assert [find_row(table, data_id, token_id, rank) for rank, data_id, token_id in names] == [0, 1, 2, 3, 4]
    assert find_row(table, "b") == 3 and find_row(table, "a", "2") == 1 and find_row(table, "a", rank="1") == 2
    for arguments, message in (
        (("a",), "3 rows with data_id a: name a TOKEN_ID: 1, 2"),
        (("a", "1"), "2 rows with data_id a and token_id 1: add --rank: 0, 1"),
        (("a", "3"), "no token_id '3' with data_id a in the report; it has 1, 2"),
        (("c",), "no data_id 'c' in the report; it has "),
    ):
        with pytest.raises(UsageError, match=message):
            find_row(table, *arguments)
    with pytest.raises(UsageError, match="the report names one tensor twice"):
        find_row(names_table(batch_of, [("", "a", "1"), ("", "a", "1")]), "a", "1")


def test_rows_of_like_statistics_come_nearest_first(batch_of: BatchOf) -> None:
    table = names_table(batch_of, [("", name, "") for name in "abcd"])
    for name, values in (("min", [0.0, 0.1, -5.0, None]), ("max", [1.0, 1.0, 1.0, 1.0]), ("mean", [0.5, 0.5, 0.5, 0.5])):
        column = f"golden_{name}_value"
        table = table.set_column(table.column_names.index(column), column, pa.array(values, pa.float64()))
    shape = row_of(table, 0)["golden_shape"]
    assert list(rows_like(table, "golden", shape, 0.1, 1.0, 0.5, tolerance=0.2)) == [1, 0]
    assert list(rows_like(table, "golden", "(9, 9)", 0.1, 1.0, 0.5, tolerance=9.0)) == []
