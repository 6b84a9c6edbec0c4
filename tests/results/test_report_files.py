"""The report files: exact CSV bytes, harmless cells, complete or absent."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.errors import OutputError
from fastcmp.options import CompareOptions
from fastcmp.results.csv_text import write_csv
from fastcmp.results.findings import find_first_divergence, find_worst, worst_order
from fastcmp.results.journal import JournalWriter
from fastcmp.results.output_dir import OutputDirectory, complete_or_absent, prepare
from fastcmp.results.report_files import report_table, run_facts, write_report
from fastcmp.results.schema import BY_NAME, NAMES, arrow_schema
from fastcmp.results.text import csv_cells, without_formulas
from fastcmp.results.totals import count

BatchOf = Callable[..., pa.RecordBatch]


def csv_bytes(table: pa.Table, *, raw: bool = False) -> bytes:
    file = io.BytesIO()
    write_csv(table, file, raw=raw)
    return file.getvalue()


def text_table(cells: list[str | None], column: str = "data_id") -> pa.Table:
    schema = arrow_schema()
    return pa.table(
        {name: pa.array(cells, pa.string()) if name == column else pa.nulls(len(cells), schema.field(name).type) for name in NAMES}
    )


def test_header_and_one_row_byte_for_byte(batch_of: BatchOf) -> None:
    table = report_table([batch_of(["x"], relative_euclidean_distance=np.array([np.nan]), kl_divergence=[None])], 1)
    header, row, end = csv_bytes(table).split(b"\n")
    assert header == ",".join(NAMES).encode()
    assert end == b""
    assert row == (
        b'0,x,/g/0.npy,float32,"(2, 3)",0,0,0,/a/0.npy,float32,"(2, 3)",0,0,0,True,1,0,0,nan,0,0,,0,0,0,0,0,"(0, 1)",0,0,0,0,0,0,0,0,0,0,0,0,0,'
        b'6,48,,data_id,,fail,"relative_euclidean_distance is empty, expected <= 0.0001 (rule: default float32)",'
    )


def test_rows_stand_in_report_order_whatever_order_tasks_ended_in(batch_of: BatchOf) -> None:
    parts = [batch_of(["c", "d"], first=2), batch_of(["a", "b"]), batch_of(["e"], first=4)]
    assert report_table(parts, 5).column("data_id").to_pylist() == ["a", "b", "c", "d", "e"]
    assert csv_bytes(report_table(parts, 5)) == csv_bytes(report_table(parts[::-1], 5))


@pytest.mark.parametrize(("first", "row_count"), [(1, 3), (3, 4), (2, 5)])
def test_a_lost_or_doubled_row_is_never_written(batch_of: BatchOf, first: int, row_count: int) -> None:
    with pytest.raises(ValueError, match=f"expected rows 0 to {row_count - 1} once each"):
        report_table([batch_of(["a", "b"]), batch_of(["c"], first=first)], row_count)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a\0b", '=cmd|"/c calc"!A1', "-a,b"])
def test_formulas_become_text_unless_asked_otherwise(cell: str) -> None:
    assert f"'{cell}".replace('"', '""').encode() in csv_bytes(text_table([cell]))
    raw = csv_bytes(text_table([cell]), raw=True)
    assert b"'" not in raw and cell.replace('"', '""').encode() in raw


def test_numbers_are_never_made_text(batch_of: BatchOf) -> None:
    table = report_table([batch_of(["x"], golden_min_value=np.array([-1.5]), golden_mean_value=np.array([-np.inf]))], 1)
    row = next(csv.DictReader(io.StringIO(csv_bytes(table).decode())))
    assert (row["golden_min_value"], row["golden_mean_value"]) == ("-1.5", "-inf")


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["=1", "-", '"', ",", "\r\n", "\n"]
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=5))
def test_text_survives_the_csv_module(cells: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(csv_bytes(text_table([f"x{cell}" for cell in cells])).decode(), newline=""), strict=True))
    assert [row[NAMES.index("data_id")] for row in rows[1:]] == [f"x{cell}" for cell in cells]
    shown = list(csv.reader(io.StringIO(csv_bytes(text_table(list(cells))).decode(), newline=""), strict=True))
    expected = [f"'{cell}" if cell[:1] in tuple("=+-@\t\r") and cell else cell for cell in cells]
    assert [row[NAMES.index("data_id")] for row in shown[1:]] == expected
    assert all(len(row) == len(NAMES) for row in shown)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(CELLS | st.none() | st.just("a\0b"), max_size=5), st.integers(1, 3), st.integers(0, 2))
def test_cells_are_those_that_the_expressions_alone_give(cells: list[str | None], times: int, skipped: int) -> None:
    column = pa.array(["=cut off", *cells * times, "cut off,"], pa.string()).slice(skipped)
    column = column.slice(0, max(len(column) - skipped, 0))
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(column, '"', '""'), '"', "")
    assert csv_cells(column).equals(pc.fill_null(pc.if_else(pc.match_substring_regex(column, r"[\",\r\n]"), quoted, column), ""))
    marked = pc.binary_join_element_wise("'", column, "")
    assert without_formulas(column).equals(pc.if_else(pc.match_substring_regex(column, r"^[=+\-@\t\r]|\x00"), marked, column))


def test_many_rows_cross_the_slices_of_the_writer() -> None:
    cells: list[str | None] = [str(number) for number in range(40_000)]
    lines = csv_bytes(text_table(cells)).decode().splitlines()
    assert len(lines) == 40_001
    assert [line.split(",")[1] for line in lines[1:]] == cells


def test_all_report_files_agree(batch_of: BatchOf, tmp_path: Path) -> None:
    table = report_table([batch_of(["a", "b"], relative_euclidean_distance=np.array([0.0, 0.25]))], 2)
    totals = count(table, 96, 0.5)
    facts = run_facts("g", "a\udcff", CompareOptions(), totals)
    with prepare(str(tmp_path)) as output:
        names = write_report(output, table, facts, parquet=True)
    assert sorted(os.listdir(tmp_path)) == sorted(names) == ["cmp_report.arrow", "cmp_report.csv", "cmp_report.parquet", "run.json"]
    with pa.ipc.open_file(tmp_path / "cmp_report.arrow") as reader:
        assert reader.read_all().equals(table)
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "cmp_report.parquet").column("data_id").to_pylist() == ["a", "b"]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["totals"]["failed"] == 1 and run["target"] == "a\\xff" and run["gigabytes_per_s"] == 96 / 0.5 / 1e9
    assert run["working_directory"] == os.getcwd() and datetime.fromisoformat(run["finished_at"]).tzinfo is not None
    assert run["options"]["kl"] == "auto" and set(run["versions"]) >= {"fastcmp", "python", "pyarrow"}


def test_totals_and_findings_of_a_mixed_table(batch_of: BatchOf) -> None:
    distances = np.array([0.0, 0.25, 0.5, np.inf])
    table = report_table([batch_of(["a", "b", "c", "d"], relative_euclidean_distance=distances)], 4)
    totals = count(table, 10, 2.0)
    assert (totals.rows, totals.pairs, totals.passed, totals.failed, totals.errors, totals.unpaired) == (4, 4, 1, 3, 0, 0)
    assert totals.exit_code == 1
    first = find_first_divergence(table, np.array([3, 2, 0, 1]))
    assert first is not None and first.data_id == "c"
    assert first.reason == "relative_euclidean_distance 0.5 > 0.0001 (float32)"
    assert [row.data_id for row in find_worst(table, 3)] == ["d", "c", "b"]


def test_the_worst_with_metrics_come_first_then_those_whose_statistics_are_furthest_apart() -> None:
    stated = {"cmp_flag": False, "verdict": "fail", "golden_max_value": 2.0, "golden_min_value": -1.0, "golden_mean_value": 0.0}
    same = {"acl_max_value": 2.0, "acl_min_value": -1.0, "acl_mean_value": 0.0}
    statistics = "only statistics are known [E_STATS_ONLY]"
    rows = [
        {"data_id": "stated passes", **stated, **same, "verdict": "pass", "cmp_fail_reason": statistics},
        {"data_id": "measured passes", "cmp_flag": True, "verdict": "pass", "relative_euclidean_distance": 1e-3},
        {"data_id": "another shape", "cmp_flag": False, "verdict": "fail", "cmp_fail_reason": "data shape doesn't match. [E_SHAPE]"},
        {"data_id": "near", **stated, **same, "acl_max_value": 3.0, "cmp_fail_reason": statistics},
        {"data_id": "far", **stated, **same, "acl_min_value": 4.0, "cmp_fail_reason": statistics},
        {"data_id": "NaN", **stated, **same, "acl_mean_value": math.nan, "cmp_fail_reason": statistics},
        {"data_id": "checksum", "cmp_flag": False, "verdict": "fail", "cmp_fail_reason": "only checksums are known [E_CHECKSUM]"},
        {"data_id": "unreadable", "cmp_flag": False, "verdict": "error", "cmp_fail_reason": "[E_TRUNCATED]"},
        {"data_id": "alone", "cmp_flag": False, "verdict": "fail", "cmp_fail_reason": "[E_UNPAIRED]"},
        {"data_id": "measured fails", "cmp_flag": True, "verdict": "fail", "relative_euclidean_distance": 1e-2},
    ]
    table = pa.Table.from_pylist([{"token_id": "", "rank": "", "verdict_reason": "", **row} for row in rows], schema=arrow_schema())
    expected = ["measured fails", "NaN", "far", "near", "another shape", "checksum", "measured passes", "stated passes"]
    assert [row.data_id for row in find_worst(table, 20)] == expected
    assert [rows[row]["data_id"] for row in worst_order(table, np.arange(len(rows)))] == [*expected, "alone", "unreadable"]


def test_a_failure_on_the_way_leaves_the_old_report(tmp_path: Path) -> None:
    (tmp_path / "cmp_report.csv").write_text("old")
    with prepare(str(tmp_path)) as output:
        with pytest.raises(RuntimeError, match="half way"), complete_or_absent(output, ("cmp_report.csv", "run.json")) as files:
            files["cmp_report.csv"].write(b"new")
            raise RuntimeError("half way")
        assert (tmp_path / "cmp_report.csv").read_text() == "old"
    assert os.listdir(tmp_path) == ["cmp_report.csv"]


def test_death_between_two_writes_leaves_the_old_report(tmp_path: Path) -> None:
    (tmp_path / "cmp_report.csv").write_text("old")
    code = (
        "import os, signal, sys\nfrom fastcmp.results.output_dir import prepare, complete_or_absent\n"
        "output = prepare(sys.argv[1])\n"
        "with complete_or_absent(output, ('cmp_report.csv', 'run.json')) as files:\n"
        "    files['cmp_report.csv'].write(b'new'); files['cmp_report.csv'].flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / "cmp_report.csv").read_text() == "old"
    assert not (tmp_path / "run.json").exists()
    with prepare(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == [".fastcmp.lock", "cmp_report.csv"]


@pytest.mark.parametrize("limit", [1000, 5000, 20_000, 60_000])
def test_a_full_disk_is_one_line_with_path_and_bytes(tmp_path: Path, limit: int) -> None:
    code = (
        "import resource, signal, sys\nimport pyarrow as pa\n"
        "from fastcmp.errors import OutputError\nfrom fastcmp.results.output_dir import prepare\n"
        "from fastcmp.results.report_files import write_report\nfrom fastcmp.results.schema import arrow_schema\n"
        "schema = arrow_schema()\n"
        "table = pa.table([pa.array(['x' * 40] * 2000) if f.name == 'data_id' else pa.nulls(2000, f.type) for f in schema], schema=schema)\n"
        "output = prepare(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))\n"
        "try:\n    write_report(output, table, {})\n"
        "except OutputError as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(limit)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path}/cmp_report." in done.stdout and "bytes: File too large; free some space" in done.stdout
    assert not [name for name in os.listdir(tmp_path) if name != ".fastcmp.lock"]


def test_too_many_open_files_are_not_answered_with_another_directory(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom fastcmp.errors import OutputError\n"
        "from fastcmp.results.output_dir import complete_or_absent, prepare\nfrom fastcmp.results.saved import load_saved\n"
        "def write():\n    with complete_or_absent(output, ('cmp_report.arrow',)):\n        pass\n"
        "output = prepare(sys.argv[1])\n"
        "write()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "for act in (write, lambda: prepare(sys.argv[1]), lambda: load_saved(sys.argv[1])):\n"
        "    try:\n        act()\n    except OutputError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    hint = "Too many open files (ulimit -n raises the limit)"
    assert done.stdout.splitlines() == [
        f"{tmp_path}/cmp_report.arrow: could not be written after 0 bytes: {hint}",
        f"{tmp_path}: cannot write in the output directory: {hint}",
        f"{tmp_path}/run.json: cannot read the run.json of a report: {hint}",
    ], done.stderr


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="out: the output must be a directory, this is a file; choose another -o"):
        prepare(str(tmp_path / "out"))
    with pytest.raises(OutputError, match="out/deeper: cannot make the output directory: Not a directory"):
        prepare(str(tmp_path / "out" / "deeper"))


def test_a_directory_in_place_of_a_report_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cmp_report.csv").mkdir()
    with pytest.raises(OutputError, match=r"cmp_report\.csv: this is a directory, a report file must go here"):
        prepare(str(tmp_path))
    assert os.listdir(tmp_path) == ["cmp_report.csv"]


def test_two_runs_on_one_output_are_told_apart(tmp_path: Path) -> None:
    with prepare(str(tmp_path)):
        with pytest.raises(OutputError, match=f"locked by pid {os.getpid()}, which is writing its report here"):
            prepare(str(tmp_path))
    prepare(str(tmp_path)).release()
    assert os.listdir(tmp_path) == []


def test_every_text_column_is_made_harmless() -> None:
    for name, column in BY_NAME.items():
        if column.is_text:
            assert b"'=1" in csv_bytes(text_table(["=1"], name)), name


NAMES_WRITTEN = ("journal-000.arrows", "cmp_report.csv", "cmp_report.csv.fastcmp-tmp", "run.json.fastcmp-tmp", ".probe.fastcmp-tmp")


def write_everything(directory: Path, batch: pa.RecordBatch) -> None:
    table = report_table([batch], 1)
    with prepare(str(directory)) as output, JournalWriter(output.join("journal-000.arrows"), {}) as journal:
        journal.append(0, batch)
        write_report(output, table, run_facts("g", "t", CompareOptions(), count(table, 0, 1.0)))


@pytest.mark.parametrize("name", NAMES_WRITTEN)
def test_nothing_is_written_through_a_link_in_the_output_directory(tmp_path: Path, batch_of: BatchOf, name: str) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
    write_everything(tmp_path / "out", batch_of(["a"]))
    assert (tmp_path / "precious").read_text() == "mine"
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", NAMES_WRITTEN)
def test_a_fifo_in_the_output_directory_is_not_waited_for(tmp_path: Path, batch_of: BatchOf, name: str) -> None:
    os.mkfifo(tmp_path / name)
    write_everything(tmp_path, batch_of(["a"]))
    assert all(path.is_file() for path in tmp_path.iterdir())


def test_a_directory_in_the_place_of_a_temporary_file_is_one_line(tmp_path: Path, batch_of: BatchOf) -> None:
    (tmp_path / "cmp_report.csv.fastcmp-tmp").mkdir()
    with pytest.raises(OutputError, match=r"cmp_report\.csv: could not be written after 0 bytes"):
        write_everything(tmp_path, batch_of(["a"]))


def write_small_report(output: OutputDirectory, batch_of: BatchOf, mean: float = 0.0) -> None:
    table = report_table([batch_of(["a", "b"], golden_mean_value=np.array([mean, mean]))], 2)
    write_report(output, table, {"golden": "g"}, parquet=True)


def test_run_json_knows_the_bytes_of_the_other_files(tmp_path: Path, batch_of: BatchOf) -> None:
    with prepare(str(tmp_path)) as output:
        write_small_report(output, batch_of)
    files = json.loads((tmp_path / "run.json").read_text())["files"]
    assert set(files) == {"cmp_report.arrow", "cmp_report.csv", "cmp_report.parquet"}
    for name, said in files.items():
        content = (tmp_path / name).read_bytes()
        assert said == {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}


@pytest.mark.parametrize("failing", range(4))
def test_a_file_that_cannot_take_its_name_is_told_with_what_stands_there_now(
    tmp_path: Path, batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    names = ["cmp_report.arrow", "cmp_report.csv", "cmp_report.parquet", "run.json"]
    with prepare(str(tmp_path)) as output:
        write_small_report(output, batch_of)
        earlier = {name: (tmp_path / name).read_bytes() for name in names}
        rename = os.rename

        def fails(before: str, after: str) -> None:
            if after.endswith(names[failing]):
                raise OSError(errno.EIO, "Input/output error")
            rename(before, after)

        monkeypatch.setattr(os, "rename", fails)
        with pytest.raises(OutputError) as error:
            write_small_report(output, batch_of, 1.0)
    mixture = f"; {', '.join(names[:failing])} are new, {', '.join(names[failing:])} the earlier ones or none" if failing else ""
    message = f"{tmp_path}/{names[failing]}: could not take its name: Input/output error{mixture}; run the same command again"
    assert str(error.value) == message
    assert [name for name in names if (tmp_path / name).read_bytes() != earlier[name]] == names[:failing]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_directory_that_cannot_be_synced_is_told_as_that(tmp_path: Path, batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fastcmp.results.output_dir.sync_directory", fails)
    with prepare(str(tmp_path)) as output, pytest.raises(OutputError) as error:
        write_small_report(output, batch_of)
    assert str(error.value).startswith(
        f"{tmp_path}: the report is complete, but whether its names are on the disk is not known: Input/output"
    )
    assert (tmp_path / "run.json").exists()


def test_a_parquet_file_of_an_earlier_run_does_not_stay(tmp_path: Path, batch_of: BatchOf) -> None:
    with prepare(str(tmp_path)) as output:
        write_small_report(output, batch_of)
        write_report(output, report_table([batch_of(["a"])], 1), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cmp_report.arrow", "cmp_report.csv", "run.json"]
