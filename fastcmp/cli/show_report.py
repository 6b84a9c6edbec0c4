"""``fastcmp show DIR``: a whole report, or the rows of it that are asked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from fastcmp.cli.endings import say
from fastcmp.cli.shown import counted, fitted, grouped, measured, one_line, visible
from fastcmp.errors import EXIT_OK, UsageError
from fastcmp.results.json_text import plain_json

if TYPE_CHECKING:
    import pyarrow as pa

    from fastcmp.cli.summary import Line
    from fastcmp.results.findings import Finding
    from fastcmp.results.saved import SavedReport

_WORST_ROWS: Final = 10
_LINE_WIDTH: Final = 300
_COLUMNS: Final = (
    "rank", "token_id", "data_id", "verdict", "relative_euclidean_distance", "cosine_similarity", "max_absolute_error", "verdict_reason",
)  # fmt: skip


def show_report(report: SavedReport, *, as_json: bool) -> int:
    """Counts, the heat map, what fails worst, and how to look at it."""
    from fastcmp.analysis.story import find_story
    from fastcmp.analysis.words import tell
    from fastcmp.cli.heat_map import heat_lines
    from fastcmp.cli.summary import print_lines, rule_lines
    from fastcmp.result import totals_of_saved
    from fastcmp.results.execution_order import execution_orders
    from fastcmp.results.findings import find_first_divergence, find_worst

    totals = totals_of_saved(report.table, report.facts)
    rows = [row for row in find_worst(report.table, _WORST_ROWS) if row.verdict == "fail"]
    words = list(tell(find_story(report.table, run_order=report.run_order)))
    if as_json:
        facts = {"is_complete": report.is_complete, "totals": plain_json(asdict(totals)), "words": words}
        say(json.dumps({**facts, "worst": [plain_json(asdict(row)) for row in rows]}, allow_nan=False))
        return EXIT_OK
    counts = f"{grouped(totals.passed)} passed, {grouped(totals.failed)} failed, {grouped(totals.errors)} could not be compared"
    lines: list[Line] = [[(f"{counted(totals.pairs, 'pair')}: {counts}; {grouped(totals.unpaired)} stood alone", "")]]
    lines += rule_lines(report.table)
    lines += [[(f"  {one_line(sentence)}", "")] for sentence in words]
    lines += heat_lines(report.table)
    if rows:
        lines.append([("worst:", "")])
        lines += [[(f"  {fitted(one_line(str(row)), _LINE_WIDTH)}", "")] for row in rows]
        first = find_first_divergence(report.table, execution_orders(report.table)) or rows[0]
        lines.append([(f"the first of them in depth: {_command(report, first)}", "")])
    print_lines(lines)
    return EXIT_OK


def _command(report: SavedReport, row: Finding) -> str:
    from shlex import quote

    rank = f" --rank {quote(row.rank)}" if row.rank else ""
    words = [os.fspath(report.directory), row.data_id, *([row.token_id] if row.token_id else [])]
    return visible(f"fastcmp show {' '.join(map(quote, words))}{rank}")


def show_rows(report: SavedReport, where: Sequence[str], sort: str, top: int, columns: Sequence[str], *, as_json: bool) -> int:
    """The rows that pass all conditions, as a table."""
    from fastcmp.results.selection import matching_rows, parse_condition, sorted_rows

    if top < 0:
        raise UsageError(f"--top {top}: expected a number of rows, 0 or more")
    names = _column_names(report.table, columns)
    found = sorted_rows(report.table, matching_rows(report.table, [parse_condition(text) for text in where]), sort)
    chosen = found[:top]
    if as_json:
        rows = plain_json(_taken(report.table, report.table.column_names, chosen))
        say(json.dumps({"count": len(found), "rows": rows}, allow_nan=False))
        return EXIT_OK
    _print_table(_taken(report.table, names, chosen), [name for name in names if not _is_empty(report.table, name, chosen)])
    say(f"{counted(len(found), 'row')}{f', {grouped(len(chosen))} shown (--top)' if len(chosen) < len(found) else ''}")
    return EXIT_OK


def _column_names(table: pa.Table, columns: Sequence[str]) -> list[str]:
    from difflib import get_close_matches

    for name in columns:
        if name not in table.column_names:
            close = get_close_matches(name, table.column_names, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(close)}?" if close else f"the columns are {', '.join(table.column_names)}"
            raise UsageError(f"--column {name!r}: no column is called so; {hint}")
    return list(columns) or list(_COLUMNS)


def _is_empty(table: pa.Table, name: str, rows: Any) -> bool:
    """True for a column that says nothing about these rows, as the rank of a dump without ranks; unless there is none to show."""
    return len(rows) > 0 and not any(table.column(name).take(rows).to_pylist())


def _taken(table: pa.Table, names: Sequence[str], rows: Any) -> list[dict[str, Any]]:
    taken: list[dict[str, Any]] = table.select(list(names)).take(rows).to_pylist()
    return taken


def _print_table(rows: list[dict[str, Any]], names: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in names:
        is_number = bool(rows) and all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in names))
    # Where nobody looks, a program reads: no cell is folded then.
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as written:
        console.print(table)
    say("\n".join(line.rstrip() for line in written.get().splitlines()))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return measured(value, 4) if isinstance(value, float) else one_line(str(value))
