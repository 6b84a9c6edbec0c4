"""A report comes back as it was written, a run that goes on as far as it is, and nothing else comes back at all."""

from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fastcmp.errors import OutputError, UsageError
from fastcmp.results.journal import JournalWriter, next_journal_path, remove_journals
from fastcmp.results.output_dir import prepare
from fastcmp.results.report_files import report_table, write_report
from fastcmp.results.saved import load_saved

BatchOf = Callable[..., pa.RecordBatch]


@pytest.fixture
def directory(tmp_path: Path, batch_of: BatchOf) -> Path:
    write(tmp_path, batch_of)
    return tmp_path


def write(directory: Path, batch_of: BatchOf, mean: float = 0.0) -> pa.Table:
    table = report_table([batch_of(["a", "b", "c"], golden_mean_value=np.full(3, mean))], 3)
    with prepare(str(directory)) as output:
        write_report(output, table, {"golden": "g"})
    return table


def test_a_report_comes_back(directory: Path, batch_of: BatchOf) -> None:
    saved = load_saved(str(directory))
    assert saved.is_complete and saved.facts["golden"] == "g" and saved.directory == str(directory)
    assert saved.table.equals(report_table([batch_of(["a", "b", "c"])], 3))


@pytest.mark.parametrize(
    ("facts", "run_order"),
    [
        ({"run_order": "files", "order_is_known": True}, "files"),
        ({"order_is_known": True, "golden": "g.npz"}, "computed"),
        ({"order_is_known": False}, "name"),
        ({"order_is_known": False, "golden": "dumps/g.NPZ"}, "file"),
        ({"order_is_known": False, "golden": "g.safetensors"}, "name"),
        ({"order_is_known": "no"}, "name"),
        ({}, "name"),
    ],
)
def test_nothing_is_computed_in_the_order_it_stands_in_unless_its_run_said_so(
    facts: dict[str, Any], run_order: str, tmp_path: Path, batch_of: BatchOf
) -> None:
    facts = {"golden": "g", **facts}
    with JournalWriter(next_journal_path(str(tmp_path)), facts) as journal:
        journal.append(0, batch_of(["a", "b"]))
    assert load_saved(str(tmp_path)).run_order == run_order
    remove_journals(str(tmp_path))
    with prepare(str(tmp_path)) as output:
        write_report(output, report_table([batch_of(["a", "b"])], 2), facts)
    assert load_saved(str(tmp_path)).run_order == run_order


@pytest.mark.parametrize("generation", ["cmp_report.arrow", "run.json"])
def test_files_of_two_runs_are_not_one_report(directory: Path, batch_of: BatchOf, generation: str) -> None:
    earlier = (directory / generation).read_bytes()
    write(directory, batch_of, 1.0)
    (directory / generation).write_bytes(earlier)
    with pytest.raises(OutputError, match="left by different runs"):
        load_saved(str(directory))


def test_damage_is_told(directory: Path) -> None:
    chance = random.Random(5)
    for name in ("cmp_report.arrow", "run.json"):
        whole = (directory / name).read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            (directory / name).write_bytes(damaged)
            try:
                saved = load_saved(str(directory))
            except OutputError:
                continue
            assert name == "run.json" and saved.table.num_rows == 3  # a letter in a text of run.json
        (directory / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", None, "cannot read the run.json of a report: No such file"), ("run.json", b"", "it is empty"), ("run.json", b"[]", "expected an object"),
        ("run.json", b"[" * 100000, "not the run.json of a report"), ("run.json", b'{"files": 3}', "different runs"),
        ("run.json", b"{}", "different runs"), ("cmp_report.arrow", b"", "it is empty"), ("cmp_report.arrow", b"ARROW1", "different runs"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_one_line(directory: Path, name: str, content: bytes | None, message: str) -> None:
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    with pytest.raises(OutputError, match=message):
        load_saved(str(directory))


def test_another_schema_is_refused(directory: Path) -> None:
    with pa.OSFile(str(directory / "cmp_report.arrow"), "wb") as file, pa.ipc.new_file(file, pa.schema([("a", pa.int64())])):
        pass
    content = (directory / "cmp_report.arrow").read_bytes()
    facts = {"files": {"cmp_report.arrow": {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}}}
    (directory / "run.json").write_text(json.dumps(facts))
    with pytest.raises(OutputError, match="has other columns"):
        load_saved(str(directory))


def test_a_directory_without_a_report_is_a_slip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no cmp_report\.arrow in it"):
        load_saved(str(tmp_path))
    with pytest.raises(UsageError, match="no such directory"):
        load_saved(str(tmp_path / "nowhere"))
    os.mkfifo(tmp_path / "cmp_report.arrow")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OutputError, match="no regular file"):
        load_saved(str(tmp_path))


def test_of_a_run_that_goes_on_there_is_what_it_has_found(directory: Path, batch_of: BatchOf) -> None:
    facts = {"golden": "g", "target": "t"}
    with JournalWriter(next_journal_path(str(directory)), facts) as journal:
        journal.append(0, batch_of(["c", "d"], first=2, golden_mean_value=np.zeros(2)))
    with JournalWriter(next_journal_path(str(directory)), {"golden": "another"}) as journal:
        journal.append(0, batch_of(["x"], first=0))
    with JournalWriter(next_journal_path(str(directory)), facts) as journal:
        journal.append(0, batch_of(["d"], first=3, golden_mean_value=np.ones(1)))
        journal.append(1, batch_of(["a"], first=0))
        saved = load_saved(str(directory))  # still open
    assert not saved.is_complete and saved.facts == facts
    assert saved.table.column("data_id").to_pylist() == ["a", "c", "d"]
    assert saved.table.column("golden_mean_value").to_pylist() == [0, 0, 1]
    (directory / "journal-009.arrows").write_bytes(b"not one of ours")
    assert load_saved(str(directory)).table.equals(saved.table)


def test_journals_of_a_run_whose_order_turned_out_to_be_another_are_read_together(tmp_path: Path, batch_of: BatchOf) -> None:
    for row, facts in enumerate(({"golden": "g"}, {"golden": "g", "run_order": "computed"}, {"golden": "g", "run_order": "name"})):
        with JournalWriter(next_journal_path(str(tmp_path)), facts) as journal:
            journal.append(0, batch_of([f"{row}"], first=row))
    saved = load_saved(str(tmp_path))
    assert saved.table.num_rows == 3 and saved.run_order == "name"


def test_a_dump_that_grows_loses_and_doubles_no_key(tmp_path: Path, batch_of: BatchOf) -> None:
    facts = {"golden": "g"}
    with JournalWriter(next_journal_path(str(tmp_path)), facts) as journal:
        journal.append(0, batch_of(["b", "d"], first=0))  # all there was: b is row 0, d row 1
        journal.append(1, batch_of(["a"], first=0))  # now a, b, c, d
        journal.append(2, batch_of(["c"], first=2))
    with JournalWriter(next_journal_path(str(tmp_path)), facts) as journal:
        journal.append(0, batch_of(["d"], first=3, golden_mean_value=np.full(1, 7.0)))
        saved = load_saved(str(tmp_path))
    assert saved.table.column("data_id").to_pylist() == ["a", "b", "c", "d"]
    assert saved.table.column("golden_mean_value").to_pylist() == [0, 0, 0, 7]


def test_whatever_order_rows_come_in_the_last_of_each_key_is_shown(tmp_path: Path, batch_of: BatchOf) -> None:
    chance = random.Random(3)
    expected: dict[str, float] = {}
    numbers = {name: row for row, name in enumerate("abcdefgh")}
    for _ in range(4):
        with JournalWriter(next_journal_path(str(tmp_path)), {}) as journal:
            for task in range(5):
                names = sorted(chance.sample("abcdefgh", 3))
                value = chance.random()
                rows = [batch_of([name], first=numbers[name], golden_mean_value=np.full(1, value)) for name in names]
                journal.append(task, pa.Table.from_batches(rows).combine_chunks().to_batches()[0])
                expected |= dict.fromkeys(names, value)
    table = load_saved(str(tmp_path)).table
    found = dict(zip(table.column("data_id").to_pylist(), table.column("golden_mean_value").to_pylist(), strict=True))
    assert found == expected and table.column("data_id").to_pylist() == sorted(expected)
