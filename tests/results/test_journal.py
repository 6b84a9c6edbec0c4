"""The journal: every whole batch comes back, nothing else does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fastcmp.errors import OutputError
from fastcmp.results.journal import Journal, JournalWriter, journal_paths, next_journal_path
from fastcmp.results.schema import arrow_schema

BatchOf = Callable[..., pa.RecordBatch]


@pytest.fixture
def batches(batch_of: BatchOf) -> list[pa.RecordBatch]:
    return [batch_of(["a", "b"]), batch_of(["c"], first=2), batch_of(["d", "é"], first=3)]


FACTS = {"golden": "/g", "scale": None}


@pytest.fixture
def journal(tmp_path: Path, batches: list[pa.RecordBatch]) -> Path:
    path = tmp_path / "journal-000.arrows"
    with JournalWriter(str(path), FACTS) as writer:
        for task, batch in enumerate(batches):
            words = np.arange(6 * batch.num_rows).reshape(-1, 6) + task
            writer.append(task, batch, words, [f"{task}é"] * batch.num_rows)
        assert writer.safe_bytes == path.stat().st_size
        assert writer.rows == sum(batch.num_rows for batch in batches)
    return path


def read_back(path: Path) -> list[pa.RecordBatch]:
    entries = list(Journal(str(path)))
    assert [entry.task for entry in entries] == list(range(len(entries)))
    return [entry.batch for entry in entries]


def test_what_was_appended_comes_back(journal: Path, batches: list[pa.RecordBatch]) -> None:
    assert read_back(journal) == batches
    read = Journal(str(journal))
    assert read.facts == FACTS
    for task, entry in enumerate(read):
        assert entry.inputs.tolist() == (np.arange(entry.inputs.size).reshape(-1, 6) + task).tolist()
        assert entry.named_as == [f"{task}é"] * entry.batch.num_rows
    assert not read.is_damaged


def test_a_journal_in_which_nothing_stands_does_not_stay_behind_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), JournalWriter(str(tmp_path / "j"), FACTS):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_journals_are_numbered_and_only_ours_are_found(tmp_path: Path) -> None:
    assert next_journal_path(str(tmp_path)) == str(tmp_path / "journal-000.arrows")
    for name in ("journal-000.arrows", "journal-002.arrows", "journal-1000.arrows", "journal-3.arrows", "journal-003.arrows.fastcmp-tmp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "journal-004.arrows").symlink_to("journal-000.arrows")
    (tmp_path / "journal-005.arrows").mkdir()
    assert [Path(path).name for path in journal_paths(str(tmp_path))] == ["journal-000.arrows", "journal-002.arrows", "journal-1000.arrows"]
    assert next_journal_path(str(tmp_path)) == str(tmp_path / "journal-1001.arrows")
    assert journal_paths(str(tmp_path / "nothing")) == []


def test_a_batch_is_safe_as_soon_as_append_returns(tmp_path: Path, batches: list[pa.RecordBatch]) -> None:
    writer = JournalWriter(str(tmp_path / "j"), FACTS)
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


@pytest.mark.slow
def test_every_bit_that_flips_and_every_end_is_noticed_or_harmless(tmp_path: Path, batch_of: BatchOf) -> None:
    path, batch = tmp_path / "j", batch_of(["a"])
    with JournalWriter(str(path), FACTS) as writer:
        writer.append(0, batch, np.arange(6).reshape(1, 6), ["x"])
    whole = path.read_bytes()
    [entry] = Journal(str(path))

    def is_harmless(content: bytes) -> bool:
        """Nothing comes back, or exactly what was written."""
        path.write_bytes(content)
        try:
            journal = Journal(str(path))
            found = list(journal)
        except OutputError:
            return True
        return not found or (
            journal.facts == FACTS and found[0].batch == batch and found[0].named_as == ["x"] and (found[0].inputs == entry.inputs).all()
        )

    for end in range(len(whole)):
        assert is_harmless(whole[:end]), end
    for place in range(len(whole)):
        for bit in range(8):
            assert is_harmless(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]), (place, bit)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    schema = arrow_schema(metadata={b"fastcmp.journal": b"2", b"fastcmp.run": b"{}"})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema):
        pass
    with pytest.raises(OutputError, match="the journal has other columns than this version of fastcmp writes"):
        Journal(str(path))


def test_extension_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    fields = [
        field.with_metadata({b"ARROW:extension:name": b"evil", b"ARROW:extension:metadata": b"x"}) if field.name == "data_id" else field
        for field in arrow_schema(with_row=True)
    ]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.schema(fields, {b"fastcmp.journal": b"2", b"fastcmp.run": b"{}"})):
        pass
    with pytest.raises(OutputError, match="the journal has other columns"):
        Journal(str(path))


@pytest.mark.parametrize("facts", [b"", b"[]", b"{", b"[" * 100000])
def test_facts_that_cannot_be_read_are_refused(journal: Path, tmp_path: Path, facts: bytes) -> None:
    schema = Journal(str(journal))._reader.schema
    with (
        pa.OSFile(str(tmp_path / "j"), "wb") as file,
        pa.ipc.new_stream(file, schema.with_metadata({**schema.metadata, b"fastcmp.run": facts})),
    ):
        pass
    with pytest.raises(OutputError, match="does not say what it was made from"):
        Journal(str(tmp_path / "j"))


def test_a_link_or_a_fifo_is_no_journal(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(journal)
    os.mkfifo(tmp_path / "fifo")
    for name, message in (
        ("link", "cannot read a journal"),
        ("fifo", "no regular file"),
        ("none", "No such file"),
        (".", "not a journal"),
    ):
        with pytest.raises(OutputError, match=message):
            Journal(str(tmp_path / name))


def test_a_length_that_lies_takes_no_memory(journal: Path) -> None:
    whole = bytearray(journal.read_bytes())
    at = whole.index(b"\xff\xff\xff\xff")
    whole[at + 4 : at + 8] = b"\xf0\xff\xff\x7f"
    journal.write_bytes(whole)
    with pytest.raises(OutputError, match="not a journal"):
        Journal(str(journal))


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xff\xff\xff\x10\x00\x00\x00", b"ARROW1\0\0"])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(OutputError, match="not a journal"):
        Journal(str(tmp_path / "j"))


def test_a_full_disk_is_one_line_with_path_and_bytes(tmp_path: Path, batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fastcmp.results.journal.create", lambda path, buffering: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering)
    )
    message = f"{tmp_path}/j: could not be written after 0 bytes: No space left on device; free some space and run again"
    with pytest.raises(OutputError, match=message), JournalWriter(str(tmp_path / "j"), FACTS) as writer:
        writer.append(0, batch_of(["a"]))


def test_a_disk_that_fills_up_keeps_the_batches_before(tmp_path: Path, batch_of: BatchOf) -> None:
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, arrow_schema(with_row=True)) as rows:
        rows.write_batch(batch_of(list("abcdefghi")))
    code = (
        "import resource, signal, sys\nimport pyarrow as pa\nfrom fastcmp.errors import OutputError\n"
        "from fastcmp.results.journal import JournalWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "batch = pa.ipc.open_stream(sys.stdin.buffer).read_next_batch()\n"
        "writer = JournalWriter(sys.argv[1], {})\n"
        "try:\n    for task in range(1000): writer.append(task, batch)\n"
        "except OutputError as error:\n    print(task, error)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "j")]
    done = subprocess.run(words, input=stream.getvalue().to_pybytes(), capture_output=True, check=True)
    task, _, message = done.stdout.decode().partition(" ")
    assert message.startswith(f"{tmp_path}/j: could not be written after ") and "File too large" in message
    assert len(read_back(tmp_path / "j")) == int(task) > 0
