"""What was read back may be anybody's: batches, rows and facts are looked at here before the rest of the program relies on them.

Nothing is allocated beyond the size of the file: bodies are never decompressed, buffers lie where the file has them.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.dtypes import DTYPES
from fastcmp.errors import OutputError, reason_and_advice
from fastcmp.results.schema import ROW_COLUMN
from fastcmp.verdict import ERROR, FAIL, PASS

# Options, rules and totals need four levels.
_MOST_DEPTH: Final = 16
_LEAST_INT: Final = -(2**63)
_MOST_INT: Final = 2**63 - 1

_NEVER_NULL: Final = ("token_id", "data_id", "rank", "pair_rule", "cmp_flag", "verdict", "verdict_reason", "cmp_fail_reason")
_VERDICTS: Final = frozenset((PASS, FAIL, ERROR))
_SHAPE: Final = re.compile(r"\((?:[0-9]{1,19},|[0-9]{1,19}(?:, [0-9]{1,19})+)?\)", re.ASCII)
# Elements, or bytes of both files, of a pair.
_MOST_NUMBER: Final = 2**52

# Places in the tables of Arrow's Message.fbs, counted from 0.
_HEADER: Final = 2
_COMPRESSION: Final = 3


def mapped(path: str, what: str, advice: str, *, follow_link: bool = True, most_bytes: int | None = None) -> mmap.mmap:
    """The bytes of a regular file: no length that they state makes anything be allocated, no FIFO is waited for.

    Raises
    ------
    OutputError
        That this is not ``what`` it should be, or cannot be read, and ``advice``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_link else os.O_NOFOLLOW))
    except OSError as error:
        raise OutputError(f"{path}: cannot read {what}: {reason_and_advice(error, advice)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(f"{path}: not {what}: no regular file; {advice}")
        if not status.st_size:
            raise OutputError(f"{path}: not {what}: it is empty; {advice}")
        if most_bytes is not None and status.st_size > most_bytes:
            raise OutputError(f"{path}: not {what}: {status.st_size} bytes, expected at most {most_bytes}; {advice}")
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # cut meanwhile, too
        raise OutputError(f"{path}: cannot read {what}: {reason_and_advice(error, advice)}") from error
    finally:
        os.close(descriptor)


class RefusedError(Exception):
    """A batch that is whole, but none that we would have written."""


class BatchReader:
    """The record batches of an Arrow IPC stream.

    Two readers go over the bytes side by side: one shows what each message says about itself before the other one makes a batch of it.

    Raises
    ------
    OSError, ValueError, pyarrow.ArrowException
        If it is no such stream.
    """

    def __init__(self, content: pa.Buffer) -> None:
        self._messages = pa.ipc.MessageReader.open_stream(content)
        self._batches = pa.ipc.open_stream(content)
        self._messages.read_next_message()  # the schema
        self.schema: pa.Schema = self._batches.schema

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Mapping[bytes, bytes]]]:
        """Each batch, seen through in full, and its metadata.

        Raises
        ------
        RefusedError
            If a message is no record batch or a compressed one, or if its buffers overlap.
        OSError, ValueError, EOFError, pyarrow.ArrowException
            If it is damaged, or cut short within a message.
        """
        while True:
            try:
                message = self._messages.read_next_message()
            except StopIteration:
                return
            # Version 4 names its compression elsewhere; nothing of ours was ever written in it.
            is_ours = message.type == "record batch" and message.metadata_version == pa.ipc.MetadataVersion.V5
            if not is_ours or message.body is None or is_compressed(message.metadata):
                raise RefusedError("a message that is no plain record batch")
            batch, metadata = self._batches.read_next_batch_with_custom_metadata()
            try:
                batch.validate(full=True)
            except (ValueError, pa.ArrowException) as error:
                raise RefusedError(str(error)) from error
            if batch.nbytes > message.body.size:  # copies of it would be larger than the file
                raise RefusedError("buffers that overlap")
            yield batch, metadata or {}


def is_compressed(metadata: pa.Buffer) -> bool:
    """True if a record batch message has a compressed body, or is none that can be read."""
    try:
        header = _field(metadata, struct.unpack_from("<I", metadata, 0)[0], _HEADER)
        if header is None:
            return True
        return _field(metadata, header + struct.unpack_from("<I", metadata, header)[0], _COMPRESSION) is not None
    except struct.error:
        return True


def _field(content: pa.Buffer, table: int, number: int) -> int | None:
    """Where a field of a FlatBuffers table lies; None where the table leaves it out."""
    names = table - struct.unpack_from("<i", content, table)[0]
    if names < 0 or table < 0:
        raise struct.error("outside")
    if 4 + 2 * number + 2 > struct.unpack_from("<H", content, names)[0]:
        return None
    offset = struct.unpack_from("<H", content, names + 4 + 2 * number)[0]
    return table + offset if offset else None


def wrong_in(rows: pa.RecordBatch | pa.Table) -> str:
    """The first cell that no run writes, of rows of a report or of a journal; "" if all of them can be used."""
    named = (ROW_COLUMN, *_NEVER_NULL) if ROW_COLUMN in rows.schema.names else _NEVER_NULL
    for name in named:
        if rows.column(name).null_count:
            return f"{name} is empty"
    if named[0] == ROW_COLUMN and pc.count_distinct(rows.column(ROW_COLUMN)).as_py() != rows.num_rows:
        return f"{ROW_COLUMN} has a number twice"
    if not _VERDICTS.issuperset(_distinct(rows, "verdict")):
        return "verdict is none of pass, fail, error"
    for name in ("golden_shape", "acl_shape"):
        if not all(text is None or _SHAPE.fullmatch(text) for text in _distinct(rows, name)):
            return f"{name} is no shape"
    return _wrong_in_compared(rows.filter(rows.column("cmp_flag")))


def _wrong_in_compared(rows: pa.RecordBatch | pa.Table) -> str:
    for name in ("golden_dtype", "acl_dtype"):
        if not DTYPES.keys() >= set(_distinct(rows, name)):
            return f"{name} is no dtype"
    for name in ("golden_shape", "acl_shape", "element_count", "bytes"):
        if rows.column(name).null_count:
            return f"{name} is empty"
    for name in ("element_count", "bytes"):
        numbers = pc.min_max(rows.column(name)).as_py()
        if rows.num_rows and not 0 <= numbers["min"] <= numbers["max"] <= _MOST_NUMBER:
            return f"{name} is no such number"
    return ""


def _distinct(rows: pa.RecordBatch | pa.Table, name: str) -> list[Any]:
    return pc.unique(rows.column(name)).to_pylist()


def parsed_facts(content: bytes) -> dict[str, Any]:
    """The object that a text of JSON is.

    Raises
    ------
    ValueError
        If it is none, is nested deeper than anything we write, or has an integer of more than 64 bits.
    """
    try:
        facts = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(facts, dict):
        raise ValueError("expected an object")
    level: list[Any] = [facts]
    for _ in range(_MOST_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict | list):
                below.extend(value.values() if isinstance(value, dict) else value)
            elif isinstance(value, int) and not _LEAST_INT <= value <= _MOST_INT:
                raise ValueError("an integer of more than 64 bits")
        level = below
    if level:
        raise ValueError("nested too deeply")
    return facts
