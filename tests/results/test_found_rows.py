"""Rows on their way to the report: none is lost, whatever they are copied together with; and what is said of all of them at the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.results import found_rows
from fastcmp.results.findings import count_error_reasons, find_blind_spots, find_first_divergence
from fastcmp.results.found_rows import FoundRows
from fastcmp.results.report_files import report_table
from fastcmp.results.schema import arrow_schema
from fastcmp.verdict import ERROR, FAIL

BatchOf = Callable[..., pa.RecordBatch]
ALONE = "acl_data_path is not exist. only golden has it [E_UNPAIRED]"


@pytest.mark.parametrize("rows_at_once", [1, 3, 4, 100])
def test_rows_stay_in_the_order_in_which_they_came(rows_at_once: int, batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_rows, "_ROWS_AT_ONCE", rows_at_once)
    found = FoundRows()
    names = ["ab", "c", "def", "g", "hi"]
    for group in names:
        found.add(batch_of(list(group), first="abcdefghi".index(group[0])))
    drained = list(found.drain())
    assert [name for batch in drained for name in batch.column("data_id").to_pylist()] == list("abcdefghi")
    assert [row for batch in drained for row in batch.column("row").to_pylist()] == list(range(9))
    assert not list(found.drain())
    assert report_table(drained, 9).column("data_id").to_pylist() == list("abcdefghi")


def table_of(verdicts: list[str], alone: list[bool]) -> pa.Table:
    """A report of which only the verdicts matter."""
    table = arrow_schema().empty_table()
    columns = {name: pa.nulls(len(verdicts), table.schema.field(name).type) for name in table.schema.names}
    columns["verdict"] = pa.array(verdicts, pa.string())
    columns["verdict_reason"] = pa.array([f"not compared [E_{verdict}]" for verdict in verdicts], pa.string())
    columns["cmp_fail_reason"] = pa.array([ALONE if one else None for one in alone], pa.string())
    return pa.table(columns, schema=table.schema)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["pass", FAIL, ERROR]), st.booleans()), max_size=30), st.randoms(use_true_random=False))
def test_what_is_found_is_what_looking_at_each_row_finds(drawn: list[tuple[str, bool]], random: object) -> None:
    rows = [(verdict, alone and verdict != ERROR) for verdict, alone in drawn]
    orders = list(range(len(rows)))
    random.shuffle(orders)
    table = table_of([verdict for verdict, _ in rows], [alone for _, alone in rows])
    failed = [row for row, (verdict, alone) in enumerate(rows) if verdict == FAIL and not alone]
    blind = [row for row, (verdict, alone) in enumerate(rows) if verdict == ERROR or (verdict == FAIL and alone)]
    blind.sort(key=orders.__getitem__)
    first = find_first_divergence(table, np.array(orders, np.int64))
    assert (None if first is None else first.row) == min(failed, key=orders.__getitem__, default=None)
    spots = find_blind_spots(table, np.array(orders, np.int64), first, most=4)
    assert [one.row for one in spots.first] == blind[:4] and spots.count == len(blind)
    assert spots.before_divergence == sum(first is None or orders[row] < orders[first.row] for row in blind)
    errors = sum(verdict == ERROR for verdict, _ in rows)
    assert count_error_reasons(table) == ({"not compared [E_error]": errors} if errors else {})
