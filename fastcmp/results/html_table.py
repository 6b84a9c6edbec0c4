"""What a notebook shows of a result: one small table, nothing loaded from anywhere, every name escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from typing import Final

from fastcmp.results.findings import BlindSpots, Finding
from fastcmp.results.totals import Totals
from fastcmp.sources.dump import RunOrder
from fastcmp.sources.wording import printable
from fastcmp.verdict import FAIL

WORST_SHOWN: Final = 5
_FIRST: Final[dict[RunOrder, str]] = {
    "computed": "first divergence",
    "file": "first divergence in the order of the file",
    "files": "first divergence by file",
    "name": "first divergence by name",
}
_NAME_WIDTH: Final = 100
_REASON_WIDTH: Final = 300
# Colours of its own only where they mean something: the rest is the notebook's, dark or light.
_LEFT: Final = ' style="text-align:left"'
_BAD: Final = ' style="text-align:left;color:#d1242f"'


def result_html(
    totals: Totals,
    first: Finding | None,
    spots: BlindSpots,
    worst: Sequence[Finding],
    output: str,
    *,
    is_complete: bool,
    run_order: RunOrder,
) -> str:
    """Counts by verdict, the first divergence and the worst few failed pairs as one HTML table.

    Parameters
    ----------
    totals : Totals
    first : Finding or None
        The first divergence.
    spots : BlindSpots
    worst : sequence of Finding
        Worst first; those that did not fail are left out, and all behind the first few.
    output : str
        Directory of the report.
    is_complete : bool
    run_order : {"computed", "file", "files", "name"}
        As `fastcmp.Result` has them.
    """
    rows = [_counts(totals)]
    if not is_complete:
        rows.append(_row("not complete", "the comparison still runs, or was ended: these are the rows found so far", bad=True))
    if first is not None:
        rows.append(_finding(_FIRST[run_order], first))
    if spots.count:
        before = f", {spots.before_divergence} of them before the first divergence" if first is not None and spots.before_divergence else ""
        tensors = "1 tensor" if spots.count == 1 else f"{spots.count} tensors"
        rows.append(_row("nothing is known of", f"{tensors}{before}, first {_text(spots.first[0].name, _NAME_WIDTH)}", bad=True))
    failed = [row for row in worst if row.verdict == FAIL][:WORST_SHOWN]
    rows += [_finding("worst" if not number else "", row) for number, row in enumerate(failed)]
    rows.append(_row("report", _text(os.path.join(output, "cmp_report.csv"), _REASON_WIDTH)))
    return f"<table>{''.join(rows)}</table>"


def _counts(totals: Totals) -> str:
    parts = [
        f"{totals.passed} passed",
        f"{totals.failed} failed",
        f"{totals.errors} could not be compared",
        f"{totals.unpaired} stood alone",
    ]
    return _row("pairs", f"{totals.pairs}: {', '.join(parts)}", bad=totals.exit_code != 0)


def _finding(label: str, row: Finding) -> str:
    return _row(label, f"<b>{_text(row.name, _NAME_WIDTH)}</b>: {_text(row.reason, _REASON_WIDTH)}")


def _row(label: str, content: str, *, bad: bool = False) -> str:
    """``content`` is HTML."""
    return f"<tr><th{_LEFT}>{label}</th><td{_BAD if bad else _LEFT}>{content}</td></tr>"


def _text(text: str, width: int) -> str:
    return escape(printable(text, width))
