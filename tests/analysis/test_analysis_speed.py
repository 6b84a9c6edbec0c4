"""A story of a hundred thousand rows is instant: no Python for a row or a name, and a fraction of what writing the same report takes."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from report_tables import row, table_of

from fastcmp.analysis.story import find_story
from fastcmp.analysis.words import tell
from fastcmp.results.csv_text import write_csv

TOKENS = 4


def many_rows(operations: int, *, unique_names: bool = True) -> pa.Table:
    """Inputs and outputs of ``operations`` at each of `TOKENS`; as the tree of an acceleration library has them where names are unique."""
    count = operations * 2 * TOKENS
    one = table_of(row("a", error=0.002))
    table = one.take(pa.array(np.zeros(count, dtype=np.int64)))
    name = "{0}/{1}_DecoderLayer/{2}_Linear/{3}" if unique_names else "layers.{1}.op{0}_{2}.{3}"
    parts = ("before/intensor0", "after/outtensor0") if unique_names else ("input", "output")
    names = [name.format(at // 640, at // 16 % 40, at % 16, part) for at in range(operations) for part in parts]
    columns: dict[str, Any] = {
        "data_id": pa.array([text for text in names for _ in range(TOKENS)]),
        "token_id": pa.array([str(token) for token in range(TOKENS)] * len(names)),
        "golden_max_value": np.arange(count) + 1.0,
        "acl_max_value": np.arange(count) + 1.5,
        "signal_to_noise_db": np.where(np.arange(count) == count // 2, 3.0, 54.0),
    }
    for column, values in columns.items():
        table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
    return table


def python_calls(work: Callable[[], object]) -> int:
    """Calls of and from Python that ``work`` makes."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("unique_names", [True, False], ids=["op-tree", "model"])
def test_no_python_runs_for_a_row_or_a_name(unique_names: bool) -> None:
    few, many = many_rows(1280, unique_names=unique_names), many_rows(12_800, unique_names=unique_names)
    tell(find_story(few))  # whatever is imported at the first call
    expected, found = (python_calls(lambda table=table: tell(find_story(table))) for table in (few, many))
    assert found < 1.2 * expected, f"{expected} calls for {few.num_rows} rows, {found} for {many.num_rows}"


def test_a_planted_loop_over_the_names_is_seen() -> None:
    few, many = many_rows(128), many_rows(1280)
    expected, found = (
        python_calls(lambda table=table: [name.lower() for name in table.column("data_id").to_pylist()]) for table in (few, many)
    )
    assert found > 5 * expected


def test_a_story_takes_less_than_twice_the_writing_of_its_report() -> None:
    table = many_rows(12_800)
    assert table.num_rows == 102_400
    story, report = (
        min(seconds(lambda work=work: work(table)) for _ in range(3)) for work in (find_story, lambda table: write_csv(table, io.BytesIO()))
    )
    assert story < 2 * report, f"the story took {story:.2f} s, the CSV {report:.2f} s"


def seconds(work: Callable[[], object]) -> float:
    """Of the processor: a busy machine takes no part."""
    begin = time.process_time()
    work()
    return time.process_time() - begin
