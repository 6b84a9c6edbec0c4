"""The journal: what a run has found so far, one record batch for one or more finished tasks, safe to read after any kind of death.

An Arrow IPC *stream* (an IPC file cut anywhere yields nothing), with a CRC-32 per batch because Arrow notices few of the bits that flip on
a disk. What is read back is treated as foreign: schema equality, no extension types, nothing compressed, full validation, checksum, cells
that a run can have written, in that order.

Every run writes a journal of its own, ``journal-NNN.arrows`` with the next free number; one that goes on where others stopped reads theirs.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa

from fastcmp.errors import OutputError
from fastcmp.outcome import INPUT_WORDS
from fastcmp.results.foreign import BatchReader, RefusedError, mapped, parsed_facts, wrong_in
from fastcmp.results.output_dir import create, write_error
from fastcmp.results.schema import arrow_schema, custom_names_of
from fastcmp.results.stated_sides import Sides, kept_sides, kept_texts
from fastcmp.results.text import string_array

_VERSION: Final = b"2"
_VERSION_KEY: Final = b"fastcmp.journal"
_FACTS_KEY: Final = b"fastcmp.run"
_NAME: Final = re.compile(r"journal-([0-9]{3,9})\.arrows")

# A killed process loses nothing of what was written; only a power cut loses what was not synced.
_SYNC_EVERY_S: Final = 5.0

_INPUT_BYTES: Final = 8 * INPUT_WORDS
_ADVICE: Final = "start over without it (--fresh)"


def _schema(custom: Sequence[str], metadata: Mapping[bytes, bytes] | None = None) -> pa.Schema:
    """The report's columns, the row number, and what the row was made from."""
    return (
        arrow_schema(with_row=True, custom=custom)
        .append(pa.field("inputs", pa.binary(_INPUT_BYTES)))
        .append(pa.field("named_as", pa.string()))
        .append(pa.field("stated", pa.string()))
        .with_metadata(dict(metadata or {}))
    )


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One whole, valid batch of a journal.

    Attributes
    ----------
    task : int
    batch : pyarrow.RecordBatch
        In the report's schema with the ``row`` column.
    inputs : ndarray of int64, shape (rows, 6)
        See `fastcmp.outcome.input_record`; zeros where nothing was compared.
    named_as : list of str
        What the dumps said about each pair that no other column holds.
    stated : list of (tuple or None)
        What a pair without data was judged by, golden and target; None for the others.
    """

    task: int
    batch: pa.RecordBatch
    inputs: np.ndarray
    named_as: list[str]
    stated: list[Sides | None]


def journal_paths(directory: str) -> list[str]:
    """The journals in an output directory, the oldest first; links and whatever else is no regular file are left out."""
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found.append((int(match[1]), entry.path))
    return [path for _, path in sorted(found)]


def remove_journals(directory: str) -> None:
    """Nothing that an earlier run found is gone on with. A report is complete with or without a journal that stays."""
    for path in journal_paths(directory):
        with contextlib.suppress(OSError):
            os.unlink(path)


def next_journal_path(directory: str) -> str:
    """Where the next run writes: behind the last number that is taken, by whatever it is."""
    numbers = [int(match[1]) for match in map(_NAME.fullmatch, os.listdir(directory)) if match]
    return os.path.join(directory, f"journal-{max(numbers, default=-1) + 1:03d}.arrows")


def _checksum(batch: pa.RecordBatch, task: int, run: bytes) -> int:
    """CRC-32 over the run, the task and the batch as Arrow lays it out, which is the same after a round trip."""
    return zlib.crc32(batch.serialize(), zlib.crc32(struct.pack("<q", task), zlib.crc32(run)))


class JournalWriter:
    """Appends the batches of one run to a new journal file.

    Parameters
    ----------
    path : str
        Replaced if it exists.
    facts : mapping
        What decides the numbers of this run; plain JSON data. A run with other facts takes nothing from this journal.

    Raises
    ------
    OutputError
        From every method, if the disk is full or fails; names the path and the bytes that are safely in it.
    """

    def __init__(self, path: str, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.safe_bytes = 0
        self.rows = 0
        self._run = json.dumps(facts).encode("ascii")  # the columns of the metrics are in the order in which they stand here
        self._synced_at = time.monotonic()
        try:
            self._file: BinaryIO = create(path, buffering=0)
        except OSError as error:
            raise write_error(path, 0, error) from error
        self._buffer = io.BytesIO()
        self._buffer_at = 0
        self._schema = _schema(custom_names_of(facts), {_VERSION_KEY: _VERSION, _FACTS_KEY: self._run})
        self._writer = pa.ipc.new_stream(self._buffer, self._schema)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.rows:
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def append(
        self,
        task: int,
        batch: pa.RecordBatch,
        inputs: np.ndarray | None = None,
        named_as: list[str] | None = None,
        stated: Mapping[int, Sides] | None = None,
    ) -> None:
        """Write the rows of finished tasks, ``task`` the last of them; after the return they survive the death of this process.

        Parameters
        ----------
        task : int
        batch : pyarrow.RecordBatch
        inputs, named_as
            See `JournalEntry`; nothing is known about them where they are left out.
        stated : mapping, optional
            By position in the batch, see `fastcmp.results.stated_sides.stated_sides`.
        """
        count = batch.num_rows
        words = np.zeros((count, INPUT_WORDS), np.int64) if inputs is None else np.ascontiguousarray(inputs, np.int64)
        if words.shape != (count, INPUT_WORDS):
            raise ValueError(f"inputs: shape {words.shape}, expected ({count}, {INPUT_WORDS})")
        columns = [
            *batch.columns,
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(_INPUT_BYTES), count, [None, pa.py_buffer(words)]),
            string_array(named_as if named_as is not None else [""] * count),
            string_array(kept_texts(stated or {}, count)),
        ]
        whole = pa.record_batch(columns, schema=self._schema)
        checksum = _checksum(whole, task, self._run)
        self._begin()
        self._writer.write_batch(whole, custom_metadata={b"task": str(task).encode(), b"crc32": f"{checksum:08x}".encode()})
        self._flush()
        self.rows += count

    def close(self) -> None:
        """End the stream and make it durable."""
        if self._file.closed:
            return
        self._begin()
        self._writer.close()
        self._flush(sync=True)
        with contextlib.suppress(OSError):  # all of it is on the disk
            self._file.close()

    def _begin(self) -> None:
        """An empty buffer, and where in the file its next byte lands: what an interrupted `_flush` has left in it is written first."""
        self._flush()
        self._buffer.seek(0)
        self._buffer_at = self._file.tell()

    def _flush(self, sync: bool = False) -> None:
        """The buffer to the file. A signal may end this between any two steps; how far it came, the file's own position says."""
        try:
            with self._buffer.getbuffer() as content:
                while (written := self._file.tell() - self._buffer_at) < len(content):
                    self._file.write(content[written:])
                if len(content):
                    self.safe_bytes = self._buffer_at + len(content)
            self._buffer.truncate(0)  # one step; an empty buffer is one that is written
            now = time.monotonic()
            if sync or now - self._synced_at > _SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced_at = now
        except OSError as error:
            raise write_error(self.path, self.safe_bytes, error) from error


class Journal:
    """A journal that is read back; iterating gives every whole, valid batch in the order written.

    What a batch says is trusted only after its schema, its checksum and its buffers are found right; whatever follows the first bad one is
    dropped, because its place in the stream cannot be trusted either.

    Attributes
    ----------
    facts : dict
        What decided the numbers of the run that wrote it.
    is_damaged : bool
        Known after iterating: it did not end by being cut short, which a killed run does, but by bytes that are wrong.

    Raises
    ------
    OutputError
        If the file is no journal of this version: another schema, extension types, no header.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_damaged = False
        try:
            self._reader = BatchReader(pa.py_buffer(mapped(path, "a journal", _ADVICE, follow_link=False)))
        except (OSError, ValueError, EOFError, StopIteration, pa.ArrowException) as error:
            raise OutputError(f"{path}: not a journal: {error}; {_ADVICE}") from error
        metadata = self._reader.schema.metadata or {}
        if metadata.get(_VERSION_KEY) != _VERSION:
            raise OutputError(f"{path}: not a journal of version {_VERSION.decode()}; {_ADVICE}")
        self._run: bytes = metadata.get(_FACTS_KEY, b"")
        self.facts = _facts(self._run, path)
        self._custom = custom_names_of(self.facts)
        if not self._reader.schema.equals(_schema(self._custom)) or any(field.metadata for field in self._reader.schema):
            raise OutputError(f"{path}: the journal has other columns than this version of fastcmp writes; {_ADVICE}")

    def __iter__(self) -> Iterator[JournalEntry]:
        batches = iter(self._reader)
        while True:
            try:
                batch, metadata = next(batches)
                entry = self._valid_entry(batch, metadata)
            except RefusedError:
                self.is_damaged = True
                return
            except (StopIteration, EOFError, OSError, ValueError, pa.ArrowException):
                return
            yield entry

    def _valid_entry(self, batch: pa.RecordBatch, metadata: Mapping[bytes, bytes]) -> JournalEntry:
        try:
            task = int(metadata[b"task"])
            if int(metadata[b"crc32"], 16) != _checksum(batch, task, self._run):
                raise RefusedError("another checksum")
        except (ValueError, KeyError, struct.error, pa.ArrowException) as error:
            raise RefusedError("no checksum") from error
        wrong = wrong_in(batch)
        inputs, named_as, stated = batch.columns[-3:]
        if wrong or inputs.null_count or named_as.null_count or stated.null_count:
            raise RefusedError(wrong or "inputs, named_as or stated is empty")
        words = np.frombuffer(inputs.buffers()[1], np.int64, INPUT_WORDS * len(inputs), _INPUT_BYTES * inputs.offset)
        rows = pa.record_batch(batch.columns[:-3], schema=arrow_schema(with_row=True, custom=self._custom))
        return JournalEntry(task, rows, words.reshape(-1, INPUT_WORDS), named_as.to_pylist(), kept_sides(rows, stated.to_pylist()))


def _facts(run: bytes, path: str) -> dict[str, Any]:
    try:
        facts = parsed_facts(run)
    except ValueError as error:
        raise OutputError(f"{path}: not a journal: it does not say what it was made from: {error}; {_ADVICE}") from error
    said = facts.get("metrics")
    if isinstance(said, dict) and len(custom_names_of(facts)) != len(said):
        raise OutputError(f"{path}: not a journal: it has metrics by names that no metric can have; {_ADVICE}")
    return facts
