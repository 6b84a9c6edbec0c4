"""The journal: what a run has found so far, one record batch for one or more finished tasks, safe to read after any kind of death.

An Arrow IPC *stream* (an IPC file cut anywhere yields nothing), with a CRC-32 per batch because Arrow notices few of the bits that flip on
a disk. What is read back is treated as foreign: schema equality, no extension types, checksum, full validation, in that order.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Any, BinaryIO, Final

import pyarrow as pa

from fastcmp.errors import OutputError
from fastcmp.results.output_dir import create, write_error
from fastcmp.results.schema import arrow_schema

JOURNAL_NAME: Final = "journal-000.arrows"
_VERSION: Final = b"1"
_VERSION_KEY: Final = b"fastcmp.journal"
_FINGERPRINT_KEY: Final = b"fastcmp.fingerprint"

# A killed process loses nothing of what was written; only a power cut loses what was not synced.
_SYNC_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One whole, valid batch of a journal."""

    task: int
    batch: pa.RecordBatch


def fingerprint(facts: Mapping[str, Any]) -> str:
    """A digest of inputs and options: another one means that a journal belongs to another run. ``facts`` is plain JSON data."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=list)
    return sha256(text.encode("ascii")).hexdigest()


def _checksum(batch: pa.RecordBatch, task: int, run: bytes) -> int:
    """CRC-32 over the run, the task and the batch as Arrow lays it out, which is the same after a round trip."""
    return zlib.crc32(batch.serialize(), zlib.crc32(struct.pack("<q", task), zlib.crc32(run)))


class JournalWriter:
    """Appends the batches of one run to a new journal file.

    Parameters
    ----------
    path : str
        Replaced if it exists.
    run_fingerprint : str
        See `fingerprint`.

    Raises
    ------
    OutputError
        From every method, if the disk is full or fails; names the path and the bytes that are safely in it.
    """

    def __init__(self, path: str, run_fingerprint: str) -> None:
        self.path = path
        self.safe_bytes = 0
        self._run = run_fingerprint.encode("ascii")
        self._synced_at = time.monotonic()
        try:
            self._file: BinaryIO = create(path, buffering=0)
        except OSError as error:
            raise write_error(path, 0, error) from error
        self._buffer = io.BytesIO()
        self._writer = pa.ipc.new_stream(
            self._buffer, arrow_schema(with_row=True, metadata={_VERSION_KEY: _VERSION, _FINGERPRINT_KEY: self._run})
        )

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            with contextlib.suppress(OSError):
                self._file.close()

    def append(self, task: int, batch: pa.RecordBatch) -> None:
        """Write the rows of finished tasks, ``task`` the last of them; after the return they survive the death of this process."""
        checksum = _checksum(batch, task, self._run)
        self._writer.write_batch(batch, custom_metadata={b"task": str(task).encode(), b"crc32": f"{checksum:08x}".encode()})
        self._flush()

    def close(self) -> None:
        """End the stream and make it durable."""
        if self._file.closed:
            return
        self._writer.close()
        self._flush(sync=True)
        with contextlib.suppress(OSError):  # all of it is on the disk
            self._file.close()

    def _flush(self, sync: bool = False) -> None:
        try:
            remaining = self._buffer.getbuffer()
            try:
                written = 0
                while written < len(remaining):
                    written += self._file.write(remaining[written:])
            finally:
                remaining.release()
            self.safe_bytes += written
            self._buffer.seek(0)
            self._buffer.truncate()
            now = time.monotonic()
            if sync or now - self._synced_at > _SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced_at = now
        except OSError as error:
            raise write_error(self.path, self.safe_bytes, error) from error


def read_fingerprint(path: str) -> str:
    """The fingerprint of the run that wrote a journal.

    Raises
    ------
    OutputError
        If this is no journal of this version.
    """
    with _opened(path) as reader:
        return (reader.schema.metadata or {}).get(_FINGERPRINT_KEY, b"").decode("ascii", "replace")


def read_journal(path: str) -> Iterator[JournalEntry]:
    """Every whole, valid batch in the order written, up to the first that is torn or damaged.

    What a batch says is trusted only after its schema, its checksum and its buffers are found right; whatever follows the first bad one is
    dropped, because its place in the stream cannot be trusted either.

    Raises
    ------
    OutputError
        If the file is no journal of this version: another schema, extension types, no header.
    """
    with _opened(path) as reader:
        run = (reader.schema.metadata or {}).get(_FINGERPRINT_KEY, b"")
        while True:
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
                entry = _valid_entry(batch, metadata or {}, run)
            except (StopIteration, EOFError, OSError, ValueError, KeyError, pa.ArrowException):
                return
            if entry is None:
                return
            yield entry


def _valid_entry(batch: pa.RecordBatch, metadata: Mapping[bytes, bytes], run: bytes) -> JournalEntry | None:
    batch.validate(full=True)
    task = int(metadata[b"task"])
    if int(metadata[b"crc32"], 16) != _checksum(batch, task, run):
        return None
    return JournalEntry(task, batch)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[pa.RecordBatchStreamReader]:
    try:
        source = pa.OSFile(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot read the journal: {error.strerror or error}; start over without it") from error
    with source:
        try:
            reader = pa.ipc.open_stream(source)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise OutputError(f"{path}: not a journal: {error}; start over without it") from error
        if (reader.schema.metadata or {}).get(_VERSION_KEY) != _VERSION:
            raise OutputError(f"{path}: not a journal of version {_VERSION.decode()}; start over without it")
        expected = arrow_schema(with_row=True)
        if not reader.schema.equals(expected) or any(field.metadata for field in reader.schema):
            raise OutputError(f"{path}: the journal has other columns than this version of fastcmp writes; start over without it")
        yield reader
