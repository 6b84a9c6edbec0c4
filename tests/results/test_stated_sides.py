"""What pairs without data were judged by, written to a journal and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from fastcmp.outcome import TensorFacts
from fastcmp.results.journal import Journal, JournalWriter
from fastcmp.results.stated_sides import Sides, kept_texts

STATISTICS = TensorFacts("float32", (2, 3), 0, 2, {"max": 1.5, "min": float("-inf"), "mean": 0.1, "l2norm": 3.0}, 6)
CHECKSUM = TensorFacts("", (), 0, 2, {}, None, "29dd1225")
EMPTY = TensorFacts("bfloat16", (0,), 0, 2, {})


@pytest.fixture
def batch(batch_of: Callable[..., pa.RecordBatch]) -> pa.RecordBatch:
    """Three rows, of which the second and third have no data."""
    rows = batch_of(["a", "b", "c"])
    changed = {"cmp_flag": pa.array([True, False, False]), "cmp_fail_reason": pa.array(["", "1 [E_STATS_ONLY]", "2 [E_CHECKSUM]"])}
    return pa.RecordBatch.from_arrays([changed.get(name, rows.column(name)) for name in rows.schema.names], schema=rows.schema)


def written(path: Path, batch: pa.RecordBatch, stated: dict[int, Sides]) -> Journal:
    with JournalWriter(str(path), {}) as writer:
        writer.append(0, batch, None, None, stated)
    return Journal(str(path))


def test_both_sides_come_back(tmp_path: Path, batch: pa.RecordBatch) -> None:
    stated = {1: (STATISTICS, STATISTICS), 2: (CHECKSUM, CHECKSUM)}
    [entry] = written(tmp_path / "j", batch, stated)
    assert entry.stated == [None, stated[1], stated[2]]
    [entry] = written(tmp_path / "k", batch, {2: (EMPTY, EMPTY)})
    assert entry.stated == [None, None, (EMPTY, EMPTY)]


@pytest.mark.parametrize(
    ("position", "sides"),
    [(0, (STATISTICS, STATISTICS)), (1, (STATISTICS, CHECKSUM)), (1, (TensorFacts("float33", (), 0, 2, {"max": 1.0}),) * 2)],
    ids=["of a row with metrics", "nothing that both have", "no dtype"],
)
def test_what_no_run_writes_is_damage(tmp_path: Path, batch: pa.RecordBatch, position: int, sides: Sides) -> None:
    journal = written(tmp_path / "j", batch, {position: sides})
    assert list(journal) == [] and journal.is_damaged


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_text_of_two_lines_is_asked_for(tmp_path: Path, batch: pa.RecordBatch, monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    (line, _) = kept_texts({0: (STATISTICS, STATISTICS)}, 1)[0].split("\n")
    monkeypatch.setattr("fastcmp.results.journal.kept_texts", lambda stated, count: ["", "\n".join([line] * lines) or "[]", ""])
    journal = written(tmp_path / "j", batch, {})
    assert list(journal) == [] and journal.is_damaged


def test_rows_for_another_reason_are_not_judged_by_it(tmp_path: Path, batch: pa.RecordBatch) -> None:
    reasons = pa.array(["", "1 [E_MISSING]", ""])
    batch = batch.set_column(batch.schema.get_field_index("cmp_fail_reason"), batch.schema.field("cmp_fail_reason"), reasons)
    journal = written(tmp_path / "j", batch, {1: (STATISTICS, STATISTICS)})
    assert list(journal) == [] and journal.is_damaged
