"""The journal: every whole batch comes back, nothing else does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from fastcmp.errors import OutputError
from fastcmp.results.journal import JournalWriter, fingerprint, read_fingerprint, read_journal
from fastcmp.results.schema import arrow_schema

BatchOf = Callable[..., pa.RecordBatch]


@pytest.fixture
def batches(batch_of: BatchOf) -> list[pa.RecordBatch]:
    return [batch_of(["a", "b"]), batch_of(["c"], first=2), batch_of(["d", "é"], first=3)]


@pytest.fixture
def journal(tmp_path: Path, batches: list[pa.RecordBatch]) -> Path:
    path = tmp_path / "journal-000.arrows"
    with JournalWriter(str(path), fingerprint({"golden": "g"})) as writer:
        for task, batch in enumerate(batches):
            writer.append(task, batch)
        assert writer.safe_bytes == path.stat().st_size
    return path


def read_back(path: Path) -> list[pa.RecordBatch]:
    entries = list(read_journal(str(path)))
    assert [entry.task for entry in entries] == list(range(len(entries)))
    return [entry.batch for entry in entries]


def test_what_was_appended_comes_back(journal: Path, batches: list[pa.RecordBatch]) -> None:
    assert read_back(journal) == batches
    assert read_fingerprint(str(journal)) == fingerprint({"golden": "g"}) != fingerprint({"golden": "h"})


def test_a_batch_is_safe_as_soon_as_append_returns(tmp_path: Path, batches: list[pa.RecordBatch]) -> None:
    writer = JournalWriter(str(tmp_path / "j"), "f")
    writer.append(0, batches[0])
    assert read_back(tmp_path / "j") == batches[:1]
    writer.close()


def test_a_torn_tail_costs_only_what_was_not_whole(journal: Path, batches: list[pa.RecordBatch]) -> None:
    whole = journal.read_bytes()
    counts = []
    for end in (*range(0, len(whole), 97), len(whole)):
        journal.write_bytes(whole[:end])
        try:
            found = read_back(journal)
        except OutputError:
            found = []
        assert found == batches[: len(found)]
        counts.append(len(found))
    assert counts == sorted(counts) and set(counts) == {0, 1, 2, 3}


def test_a_flipped_bit_is_noticed_or_harmless(journal: Path, batches: list[pa.RecordBatch]) -> None:
    whole = journal.read_bytes()
    chance = random.Random(7)
    noticed = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        journal.write_bytes(damaged)
        try:
            found = read_back(journal)
        except OutputError:
            found = []
        assert found == batches[: len(found)]
        noticed += len(found) < len(batches)
    assert noticed > 200


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    schema = arrow_schema(metadata={b"fastcmp.journal": b"1"})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema):
        pass
    with pytest.raises(OutputError, match="the journal has other columns than this version of fastcmp writes"):
        list(read_journal(str(path)))


def test_extension_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    fields = [
        field.with_metadata({b"ARROW:extension:name": b"evil", b"ARROW:extension:metadata": b"x"}) if field.name == "data_id" else field
        for field in arrow_schema(with_row=True)
    ]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.schema(fields, {b"fastcmp.journal": b"1"})):
        pass
    with pytest.raises(OutputError, match="the journal has other columns"):
        list(read_journal(str(path)))


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xff\xff\xff\x10\x00\x00\x00", b"ARROW1\0\0"])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(OutputError, match="not a journal"):
        list(read_journal(str(tmp_path / "j")))


def test_a_full_disk_is_one_line_with_path_and_bytes(tmp_path: Path, batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fastcmp.results.journal.create", lambda path, buffering: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering)
    )
    message = f"{tmp_path}/j: could not be written after 0 bytes: No space left on device; free some space and run again"
    with pytest.raises(OutputError, match=message), JournalWriter(str(tmp_path / "j"), "f") as writer:
        writer.append(0, batch_of(["a"]))


def test_a_disk_that_fills_up_keeps_the_batches_before(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\nimport pyarrow as pa\nfrom fastcmp.errors import OutputError\n"
        "from fastcmp.results.journal import JournalWriter\nfrom fastcmp.results.schema import arrow_schema\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "schema = arrow_schema(with_row=True)\nbatch = pa.record_batch([pa.nulls(9, f.type) for f in schema], schema=schema)\n"
        "writer = JournalWriter(sys.argv[1], 'f')\n"
        "try:\n    for task in range(1000): writer.append(task, batch)\n"
        "except OutputError as error:\n    print(task, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "j")], capture_output=True, text=True, check=True)
    task, _, message = done.stdout.partition(" ")
    assert message.startswith(f"{tmp_path}/j: could not be written after ") and "File too large" in message
    assert len(read_back(tmp_path / "j")) == int(task) > 0
