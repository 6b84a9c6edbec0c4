"""What anybody may have written, with checksums that are right: refused in one line, and without more memory than the file has bytes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fastcmp.errors import OutputError
from fastcmp.judgement import judge_saved
from fastcmp.result import load_report
from fastcmp.results.foreign import BatchReader, RefusedError, parsed_facts, wrong_in
from fastcmp.results.journal import Journal, JournalWriter
from fastcmp.results.report_files import report_table
from fastcmp.results.saved import load_saved
from fastcmp.results.schema import ROW_COLUMN, arrow_schema

BatchOf = Callable[..., pa.RecordBatch]


def changed(rows: pa.RecordBatch, name: str, values: list[Any]) -> pa.RecordBatch:
    """Rows with other cells in one column."""
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))


def write_report_of(directory: Path, rows: pa.Table, facts: dict[str, Any] | None = None, compression: str | None = None) -> None:
    """A report that ``run.json`` vouches for."""
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(directory / "cmp_report.arrow"), "wb") as file, pa.ipc.new_file(file, rows.schema, options=options) as writer:
        writer.write_table(rows)
    content = (directory / "cmp_report.arrow").read_bytes()
    said = {"files": {"cmp_report.arrow": {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}}}
    (directory / "run.json").write_text(json.dumps({**(facts or {}), **said}))


WRONG = [
    ("golden_dtype", "foo"), ("golden_dtype", None), ("acl_dtype", "foo"), ("golden_shape", "(a,b)"), ("golden_shape", None),
    ("acl_shape", "(1, 2"), ("acl_shape", "(-1,)"), ("acl_shape", "(9" + 20 * "9" + ",)"), ("bytes", None), ("bytes", -1), ("bytes", 2**62),
    ("element_count", None), ("element_count", -1), ("verdict", None), ("verdict", "maybe"), ("cmp_flag", None), ("data_id", None),
    ("token_id", None), ("rank", None), ("pair_rule", None), ("verdict_reason", None), ("cmp_fail_reason", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_cell_that_no_run_writes_is_told(name: str, value: Any, batch_of: BatchOf, tmp_path: Path) -> None:
    rows = batch_of(["a", "b"])
    odd = changed(rows, name, [rows.column(name)[0].as_py(), value])
    assert wrong_in(rows) == "" and wrong_in(odd).startswith(f"{name} is ")
    with JournalWriter(str(tmp_path / "j"), {}) as journal:
        journal.append(0, rows)
        journal.append(1, odd)
    read = Journal(str(tmp_path / "j"))
    assert [entry.task for entry in read] == [0] and read.is_damaged
    write_report_of(tmp_path, pa.Table.from_batches([odd]).drop_columns([ROW_COLUMN]))
    for reading in (load_saved, load_report, judge_saved):
        with pytest.raises(OutputError, match=f"not a report: {name} is "):
            reading(str(tmp_path))


@pytest.mark.parametrize("shape", ["()", "(5,)", "(2, 3)", "(1, 17, 4096)", "(0,)"])
def test_shapes_as_we_write_them_are_read(shape: str, batch_of: BatchOf) -> None:
    rows = batch_of(["a"])
    assert wrong_in(changed(changed(rows, "golden_shape", [shape]), "acl_shape", [shape])) == ""
    assert wrong_in(rows.slice(0, 0)) == ""


def test_a_row_number_twice_or_without_a_value_is_told(batch_of: BatchOf) -> None:
    rows = batch_of(["a", "b"])
    assert wrong_in(changed(rows, ROW_COLUMN, [1, 1])) == "row has a number twice"
    assert wrong_in(changed(rows, ROW_COLUMN, [1, None])) == "row is empty"


def many_equal_rows(batch_of: BatchOf, count: int) -> pa.RecordBatch:
    rows = batch_of(["a"]).take(pa.array(np.zeros(count, np.int64)))
    return changed(rows, ROW_COLUMN, list(range(count)))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_body_is_refused_before_it_grows(compression: str, batch_of: BatchOf, tmp_path: Path) -> None:
    rows = many_equal_rows(batch_of, 20_000)
    with JournalWriter(str(tmp_path / "j"), {}) as journal:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        journal._buffer.seek(0)  # the schema once, by the other writer
        journal._buffer.truncate()
        journal._writer = pa.ipc.new_stream(journal._buffer, journal._schema, options=options)
        journal.append(0, rows)
    write_report_of(tmp_path, pa.Table.from_batches([rows]).drop_columns([ROW_COLUMN]), compression=compression)
    assert (tmp_path / "j").stat().st_size < rows.nbytes // 5
    code = (
        "import sys\nimport pyarrow as pa\nfrom fastcmp.errors import OutputError\n"
        "from fastcmp.results.journal import Journal\nfrom fastcmp.results.saved import load_saved\n"
        "journal = Journal(sys.argv[1] + '/j')\nassert not list(journal) and journal.is_damaged\n"
        "try:\n    load_saved(sys.argv[1])\nexcept OutputError as error:\n    print(error)\n"
        "print(pa.default_memory_pool().max_memory())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    message, memory = done.stdout.splitlines()
    assert "not a report: a message that is no plain record batch; compare again" in message
    assert int(memory) < 64 * 1024


def stream_of(rows: pa.RecordBatch, **options: Any) -> bytes:
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(rows)
    return stream.getvalue()


def test_only_plain_batches_of_our_version_are_read() -> None:
    plain = pa.record_batch({"a": pa.array(range(100)), "b": pa.array(["x"] * 100)})
    assert [batch for batch, _ in BatchReader(pa.py_buffer(stream_of(plain)))] == [plain]
    # Version 4 says in other words that it is compressed.
    for content in (stream_of(plain, compression="zstd"), stream_of(plain, metadata_version=pa.ipc.MetadataVersion.V4)):
        with pytest.raises(RefusedError, match="no plain record batch"):
            list(BatchReader(pa.py_buffer(content)))
    worded = pa.record_batch({"a": pa.array(["x", "y", "x"]).dictionary_encode()})
    with pytest.raises(RefusedError, match="no plain record batch"):
        list(BatchReader(pa.py_buffer(stream_of(worded))))


def test_buffers_that_overlap_are_refused() -> None:
    rows = pa.record_batch({name: pa.array(np.arange(1000) + at) for at, name in enumerate("abc")})
    content = bytearray(stream_of(rows))
    for place in (16000, 8000):
        at = content.rindex(place.to_bytes(8, "little") + (8000).to_bytes(8, "little"), 0, -24000)
        content[at : at + 8] = bytes(8)
    at = content.index((24000).to_bytes(8, "little"))  # the length of the body
    content[at : at + 8] = (8000).to_bytes(8, "little")
    with pytest.raises(RefusedError, match="buffers that overlap"):
        list(BatchReader(pa.py_buffer(bytes(content))))


def test_a_report_that_is_whole_comes_back_in_all_its_batches(batch_of: BatchOf, tmp_path: Path) -> None:
    table = report_table([batch_of(["a", "b"]), batch_of(["c"], first=2)], 3)
    with pa.OSFile(str(tmp_path / "cmp_report.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    content = (tmp_path / "cmp_report.arrow").read_bytes()
    files = {"cmp_report.arrow": {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}}
    (tmp_path / "run.json").write_text(json.dumps({"files": files}))
    assert load_saved(str(tmp_path)).table.combine_chunks().equals(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "expected an object"), ("", "Expecting value"), ("[" * 100_000, "nested too deeply"), ('{"a":' * 400 + "1" + "}" * 400, "nested"),
        (f'{{"a": [{10**400}]}}', "more than 64 bits"), (f'{{"a": {{"b": -{2**63 + 1}}}}}', "more than 64 bits"), ('{"a": ' + "9" * 9999, "Exceeds|Expecting"),
    ],
)  # fmt: skip
def test_facts_that_nobody_writes_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        parsed_facts(text.encode())
    (tmp_path / "cmp_report.arrow").write_bytes(b"x")
    (tmp_path / "run.json").write_text(text or " ")
    with pytest.raises(OutputError, match=r"not the run\.json of a report"):
        load_saved(str(tmp_path))


@pytest.mark.parametrize("totals", [5, {"elapsed_s": float("nan")}, {"elapsed_s": 1e999, "resumed": 2**63 - 1}, {"resumed": "x"}])
def test_numbers_of_a_run_that_are_none_count_as_nothing(totals: Any, batch_of: BatchOf, tmp_path: Path) -> None:
    write_report_of(tmp_path, report_table([batch_of(["a"])], 1), {"totals": totals, "most": [2**63 - 1, -(2**63), 1.5, True, None]})
    found = load_report(str(tmp_path)).totals
    assert (found.elapsed_s, found.resumed) == (0, 0)


@pytest.mark.parametrize("name", ["row", "inputs", "named_as", "cmp_flag", "a b", "é"])
def test_a_journal_with_metrics_by_names_of_columns_is_none(name: str, batch_of: BatchOf, tmp_path: Path) -> None:
    path = tmp_path / "journal-000.arrows"
    with JournalWriter(str(path), {"other": {name: ""}}) as journal:
        journal.append(0, batch_of(["a"]))
    schema = Journal(str(path))._reader.schema
    metadata = {**schema.metadata, b"fastcmp.run": json.dumps({"metrics": {name: ""}}).encode()}
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema.with_metadata(metadata)):
        pass
    with pytest.raises(OutputError, match="not a journal: it has metrics by names that no metric can have"):
        Journal(str(path))


def test_the_order_of_metrics_is_that_of_the_columns(batch_of: BatchOf, tmp_path: Path) -> None:
    rows = batch_of(["a"])
    names = arrow_schema(with_row=True, custom=("z", "b")).names
    both = {**{name: rows.column(name) for name in rows.schema.names}, "z": pa.array([1.0]), "b": pa.array([2.0])}
    facts = {"metrics": {"z": "1", "b": "2"}, "kl": "none"}
    with JournalWriter(str(tmp_path / "journal-000.arrows"), facts) as journal:
        journal.append(0, pa.record_batch([both[name] for name in names], schema=arrow_schema(with_row=True, custom=("z", "b"))))
    turned = {"kl": "none", "metrics": {"b": "2", "z": "1"}}
    with JournalWriter(str(tmp_path / "journal-001.arrows"), turned) as journal:
        schema = arrow_schema(with_row=True, custom=("b", "z"))
        other = {**both, "data_id": pa.array(["c"]), ROW_COLUMN: pa.array([1])}
        journal.append(0, pa.record_batch([other[name] for name in schema.names], schema=schema))
    saved = load_saved(str(tmp_path))
    assert saved.table.schema == arrow_schema(custom=("b", "z"))
    assert [saved.table.column(name).to_pylist() for name in ("data_id", "z", "b")] == [["a", "c"], [1.0, 1.0], [2.0, 2.0]]


class _Interrupting:
    """A file that is interrupted before or behind one of the calls that reach it."""

    def __init__(self, file: Any, at: int, *, behind: bool) -> None:
        self.file, self.left, self.behind, self.was_interrupted = file, at, behind, False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.file, name)
        if name not in ("write", "tell"):
            return value

        def called(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.behind:
                self.was_interrupted = True
                raise KeyboardInterrupt
            # A little at a time, as a disk that is nearly full does.
            done = value(*(part[:3000] for part in arguments)) if name == "write" else value()
            if self.left == 0:
                self.was_interrupted = True
                raise KeyboardInterrupt
            return done

        return called


@pytest.mark.parametrize("behind", [False, True])
def test_wherever_a_signal_comes_no_byte_is_written_twice_or_lost(behind: bool, batch_of: BatchOf, tmp_path: Path) -> None:
    batches = [batch_of([name], first=row) for row, name in enumerate("abc")]
    for at in range(1, 1000):
        path = tmp_path / f"{behind}-{at}"
        writer = JournalWriter(str(path), {})
        file = _Interrupting(writer._file, at, behind=behind)
        writer._file = file
        for task, batch in enumerate(batches):
            try:
                writer.append(task, batch)
            except KeyboardInterrupt:
                continue
        try:
            writer.close()
        except KeyboardInterrupt:
            writer._file.close()  # the end of the stream is all that lacks
        else:
            assert path.stat().st_size == writer.safe_bytes
        read = Journal(str(path))
        tasks = [entry.task for entry in read]
        assert not read.is_damaged
        assert len(set(tasks)) == len(tasks) and tasks == sorted(tasks) and len(tasks) >= 2, at
        if not file.was_interrupted:
            assert tasks == [0, 1, 2] and at > 10
            return
    raise AssertionError("it never ends")
