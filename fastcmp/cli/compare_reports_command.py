"""``fastcmp compare-reports``: two reports side by side."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fastcmp.cli.endings import complain, say
from fastcmp.cli.shown import counted, fitted, grouped, measured, one_line
from fastcmp.errors import EXIT_DIFFERENT, EXIT_ERROR, EXIT_OK, UsageError
from fastcmp.results.json_text import plain_json

if TYPE_CHECKING:
    from fastcmp.results.changes import Change, Changes
    from fastcmp.results.saved import SavedReport


def compare_reports(
    old: str,
    new: str,
    /,
    *,
    metric: str = "relative_euclidean_distance",
    factor: float = 1.1,
    top: int = 5,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say which pairs got worse, which better, which came and which went between two reports: for finding the change that broke a model.

    Exit code: 0 nothing got worse; 1 a pair fails that did not, is further off than it was, or is gone;
    2 a report cannot be read or is not complete. So it can drive git bisect.

    Parameters
    ----------
    old
        Directory of the earlier report.
    new
        Directory of the later one.
    metric
        What is looked at beside the verdict.
    factor
        How many times as far off a pair must be to count as changed.
    top
        How many pairs of each kind to show; with --json all are given.
    json
        One JSON object on stdout.
    """
    if top < 0:
        raise UsageError(f"--top {top}: expected a number of pairs, 0 or more")
    from fastcmp.results.changes import find_changes
    from fastcmp.results.saved import load_saved

    reports = load_saved(old), load_saved(new)
    changes = find_changes(reports[0].table, reports[1].table, metric=metric, factor=factor)
    if json:
        say(json_module.dumps(_json_facts(reports, changes), allow_nan=False))
    else:
        say("\n".join(_lines(reports, changes, top)))
    unfinished = [report for report in reports if not report.is_complete]
    for report in unfinished:
        complain(
            "fastcmp",
            f"{report.directory}: not complete, the comparison runs or was ended; what it has not found yet counts as gone or new",
        )
    if unfinished:
        return EXIT_ERROR
    return EXIT_DIFFERENT if changes.is_worse else EXIT_OK


def _lines(reports: tuple[SavedReport, SavedReport], changes: Changes, top: int) -> list[str]:
    from fastcmp.results.changes import KINDS, differing_facts

    rows = reports[0].table.num_rows, reports[1].table.num_rows
    lines = [f"{counted(rows[0], 'row')} before, {grouped(rows[1])} after; {grouped(changes.unchanged)} as they were"]
    for kind in KINDS:
        lines.append(f"  {kind:<22}{grouped(changes.counts[kind]):>10}")
    for kind in KINDS:
        found = changes.first(kind, top)
        if not found:
            continue
        lines.append(f"{kind}:")
        lines += [f"  {_described(change, changes.metric)}" for change in found]
        if changes.counts[kind] > len(found):
            lines.append(f"  ... and {grouped(changes.counts[kind] - len(found))} more")
    others = differing_facts(reports[0].facts, reports[1].facts)
    if others:
        lines.append(f"the runs also differ in: {one_line('; '.join(others))}")
    return lines


def _described(change: Change, metric: str) -> str:
    rank = f"rank {fitted(change.rank, 12)}, " if change.rank else ""
    token = f"token {fitted(change.token_id, 20)}, " if change.token_id else ""
    name = f"{rank}{token}data_id {fitted(change.data_id, 40)}"
    if change.kind in ("gone", "new"):
        return name
    words = f"{name}: {metric} {_value(change.before)} -> {_value(change.after)}"
    return f"{words}; {one_line(change.reason_after)}" if change.kind == "newly failing" and change.reason_after else words


def _value(value: float | None) -> str:
    return "empty" if value is None else measured(value, 3)


def _json_facts(reports: tuple[SavedReport, SavedReport], changes: Changes) -> dict[str, Any]:
    from fastcmp.results.changes import KINDS, differing_facts

    return {
        "metric": changes.metric,
        "is_complete": all(report.is_complete for report in reports),
        "is_worse": changes.is_worse,
        "unchanged": changes.unchanged,
        "counts": changes.counts,
        "changes": [plain_json(asdict(change)) for kind in KINDS for change in changes.first(kind)],
        "runs_differ_in": differing_facts(reports[0].facts, reports[1].facts),
    }
