"""From the batches of a run to the files that it leaves: cmp_report.arrow, cmp_report.csv, run.json, Parquet on request."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from platform import machine, python_version
from typing import Any, BinaryIO, Final
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.options import CompareOptions
from fastcmp.results.csv_text import write_csv
from fastcmp.results.msprobe_columns import MSPROBE_COLUMNS, MSPROBE_NAME, as_msprobe
from fastcmp.results.output_dir import OutputDirectory, complete_or_absent
from fastcmp.results.schema import arrow_schema
from fastcmp.results.text import valid_unicode
from fastcmp.results.totals import Totals
from fastcmp.surroundings import package_version

RUN_NAME: Final = "run.json"
PARQUET_NAME: Final = "cmp_report.parquet"


def report_table(batches: Iterable[pa.RecordBatch], row_count: int, custom: Sequence[str] = ()) -> pa.Table:
    """All rows in report order, without the ``row`` column.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        With the ``row`` column, in any order. Where nobody else holds them, their columns are freed one by one.
    row_count : int
        How many rows the run has.
    custom : sequence of str
        Names of the user's own metrics.

    Raises
    ------
    ValueError
        If a row is missing or stands twice: a report that lost a key must not be written.
    """
    columns = pa.Table.from_batches(batches, schema=arrow_schema(with_row=True, custom=custom)).columns
    order = _report_order(columns[0].combine_chunks(), row_count)
    report = arrow_schema(custom=custom)
    # One column at a time, from the last to the first, and the batches let go of each: else all of the report would be in memory twice.
    ready: list[pa.ChunkedArray] = []
    for field in reversed(report):
        pa.default_memory_pool().release_unused()  # it waits before it gives memory back, and each column asks for new
        table = pa.table([columns.pop()], schema=pa.schema([field]))
        ready.append((table if order is None else table.take(order)).combine_chunks().column(0))
        del table
    return pa.table(ready[::-1], schema=report)


def _report_order(rows: pa.Array, row_count: int) -> pa.Array | None:
    """Where each row of the report stands among ``rows``; None where tasks ended in report order, as with pairs of one size."""
    expected = pa.array(np.arange(row_count))
    if rows.equals(expected):
        return None
    order = pc.sort_indices(rows)
    if len(rows) != row_count or not rows.take(order).equals(expected):
        distinct = pc.count_distinct(rows).as_py()
        raise ValueError(f"the results hold {len(rows)} rows, {distinct} distinct, expected rows 0 to {row_count - 1} once each")
    return order


def run_facts(golden: str, target: str, options: CompareOptions, totals: Totals, **more: Any) -> dict[str, Any]:
    """What ``run.json`` says: inputs, where relative ones begin, options, versions, totals, the throughput reached, and when it was."""
    return {
        "golden": golden,
        "target": target,
        "working_directory": _working_directory(),
        "finished_at": datetime.now(timezone.utc).isoformat(),
        "options": dataclasses.asdict(options),
        "versions": _versions(),
        "totals": dataclasses.asdict(totals),
        "gigabytes_per_s": totals.gigabytes_per_s,
        **more,
    }


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _versions() -> dict[str, str]:
    packages = ("fastcmp", "numpy", "numba", "pyarrow")
    return {"python": python_version(), "machine": machine(), **{package: package_version(package) for package in packages}}


def write_report(
    output: OutputDirectory, table: pa.Table, facts: Mapping[str, Any], *, csv_raw: bool = False, parquet: bool = False, columns: str = ""
) -> tuple[str, ...]:
    """Write the report files, all of them or none, and return their names.

    Parameters
    ----------
    output : OutputDirectory
    table : pyarrow.Table
        See `report_table`.
    facts : mapping
        See `run_facts`.
    csv_raw : bool
        Do not make text cells harmless to spreadsheets.
    parquet : bool
        Write ``cmp_report.parquet`` too.
    columns : {"", "msprobe"}
        Write ``compare_result_msprobe.csv`` too.

    Raises
    ------
    OutputError
        If the disk is full or fails; what stood there before is untouched.
    """
    wanted = {PARQUET_NAME: parquet, MSPROBE_NAME: columns == "msprobe"}
    names = ("cmp_report.arrow", "cmp_report.csv", *(name for name, is_wanted in wanted.items() if is_wanted), RUN_NAME)
    with complete_or_absent(output, names) as files:
        sums = {name: _Checksummed(files[name]) for name in names if name != RUN_NAME}
        _write_arrow(table, sums["cmp_report.arrow"])
        write_csv(table, sums["cmp_report.csv"], raw=csv_raw)
        if parquet:
            _write_parquet(table, sums[PARQUET_NAME])
        if wanted[MSPROBE_NAME]:
            write_csv(as_msprobe(table), sums[MSPROBE_NAME], raw=csv_raw, columns=MSPROBE_COLUMNS)
        contents = {name: {"bytes": file.size, "crc32": f"{file.crc:08x}"} for name, file in sums.items()}
        files[RUN_NAME].write(_json_bytes({**facts, "files": contents}))
    for name, is_wanted in wanted.items():
        if not is_wanted:  # one of an earlier run would be taken for this one's
            with contextlib.suppress(OSError):
                os.unlink(output.join(name))
    return names


class _Checksummed(io.RawIOBase):
    """Passes bytes on to a file and knows how many they were, and their CRC-32: a report of two generations can be told by it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = self.crc = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes so far."""
        return self.size

    def write(self, content: Any) -> int:
        """All of it."""
        self.crc = crc32(content, self.crc)
        count = self._file.write(content)
        self.size += count
        return count


def _write_arrow(table: pa.Table, file: Any) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=65536)


def _write_parquet(table: pa.Table, file: io.RawIOBase) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, file)


def _json_bytes(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(_valid(facts), indent=2, ensure_ascii=False).encode() + b"\n"


def _valid(value: Any) -> Any:
    """Plain JSON data without lone surrogates."""
    if isinstance(value, str):
        return valid_unicode(value)
    if isinstance(value, Mapping):
        return {_valid(name): _valid(item) for name, item in value.items()}
    return [_valid(item) for item in value] if isinstance(value, list | tuple) else value
