"""A report that is read again, whatever became of its files, and its rows by their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.results.output_dir import prepare
from fastcmp.results.report_files import report_table, run_facts, write_report
from fastcmp.results.saved_report import find_row, open_report, row_of, rows_like
from fastcmp.results.totals import count

BatchOf = Callable[..., pa.RecordBatch]


@pytest.fixture
def saved(batch_of: BatchOf, tmp_path: Path) -> str:
    table = report_table([batch_of(["a", "b"], relative_euclidean_distance=np.array([0.0, 0.25]))], 2)
    with prepare(str(tmp_path / "r")) as output:
        write_report(output, table, run_facts("g", "t", CompareOptions(), count(table, 96, 0.5)))
    return str(tmp_path / "r")


def test_what_was_written_is_read(saved: str) -> None:
    before = datetime.now(timezone.utc)
    report = open_report(saved)
    assert report.table.num_rows == 2 and report.run["golden"] == "g" and report.run["working_directory"] == str(Path.cwd())
    assert report.finished_at is not None and 0 <= (before - report.finished_at).total_seconds() < 600
    assert row_of(report.table, 1)["relative_euclidean_distance"] == 0.25 and row_of(report.table, 0)["data_id"] == "a"


def test_a_report_without_run_json_is_its_table(saved: str) -> None:
    (Path(saved) / "run.json").unlink()
    report = open_report(saved)
    assert report.run == {} and report.finished_at is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def without_a_column(path: Path) -> None:
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all().drop_columns(["verdict"])
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def of_other_types(path: Path) -> None:
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all()
    table = table.set_column(table.column_names.index("cosine_similarity"), "cosine_similarity", pa.array(["x"] * table.num_rows))
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


DAMAGES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "cut": ("cmp_report.arrow", cut, "cmp_report.arrow: cannot be read: .*; run the comparison again"),
    "empty": ("cmp_report.arrow", lambda path: path.write_bytes(b""), "cmp_report.arrow: cannot be read: "),
    "no column": ("cmp_report.arrow", without_a_column, "lacks the columns verdict; it was made by another version"),
    "other types": ("cmp_report.arrow", of_other_types, "its columns have other types than this version writes"),
    "gone": ("cmp_report.arrow", Path.unlink, "r: holds no cmp_report.arrow; name the directory that"),
    "run.json": ("run.json", cut, "run.json: cannot be read: "),
    "binary run.json": ("run.json", lambda path: path.write_bytes(b"\xff\x00"), "run.json: cannot be read: "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_report_is_one_line(damage: str, saved: str) -> None:
    name, spoil, message = DAMAGES[damage]
    spoil(Path(saved) / name)
    with pytest.raises(UsageError, match=message) as caught:
        open_report(saved)
    assert "\n" not in str(caught.value)


def test_a_running_comparison_is_told_from_no_report(saved: str) -> None:
    (Path(saved) / "cmp_report.arrow").unlink()
    (Path(saved) / "journal-000.arrows").write_bytes(b"")
    with pytest.raises(UsageError, match="the comparison has not finished"):
        open_report(saved)
    with pytest.raises(UsageError, match="is no directory"):
        open_report(saved + "/nope\0")


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


def test_facts_of_a_run_are_plain_json(saved: str) -> None:
    run = json.loads((Path(saved) / "run.json").read_text())
    assert datetime.fromisoformat(run["finished_at"]).tzinfo is not None
