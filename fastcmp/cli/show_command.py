"""``fastcmp show``: what a finished comparison found; of one pair, everything that can be said."""

from __future__ import annotations

import json as json_module
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fastcmp.cli.endings import complain, say
from fastcmp.cli.shown import counted, grouped, one_line, visible
from fastcmp.errors import EXIT_ERROR, EXIT_OK, UsageError

if TYPE_CHECKING:
    from fastcmp.results.findings import Finding
    from fastcmp.results.saved import SavedReport

_WORST_ROWS = 10
_MOST_WORST = 10_000


def show(
    directory: str,
    data_id: str | None = None,
    token_id: str | None = None,
    /,
    *,
    rank: str | None = None,
    worst: int = 10,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show what a comparison found, from its report; with a DATA_ID one pair in depth, for which its two tensors are read again.

    Of one pair: both files, which pattern the error has, where it lies, the worst elements, how large the errors are, all metrics.
    Exit code: 0; 2 wrong arguments, or the tensors of a compared pair can no longer be read.

    Parameters
    ----------
    directory
        The directory that fastcmp compare wrote its report to.
    data_id
        Name of the pair.
    token_id
        Token of the pair; may be left out where there is only one.
    rank
        Rank of the pair, where a name stands for several.
    worst
        How many of the worst elements to show.
    json
        One JSON object with the same facts.
    """
    if not 1 <= worst <= _MOST_WORST:
        raise UsageError(f"--worst {worst}: expected a number of elements, 1 to {_MOST_WORST}")
    from fastcmp.results.saved import load_saved  # pyarrow takes a tenth of a second, which a typing error need not wait for

    report = load_saved(directory)
    if not report.is_complete:
        complain("fastcmp", f"{directory}: the comparison has not come to its end; this is what it has found so far")
    if data_id is None:
        return _show_directory(report, as_json=json)
    return _show_pair(report, data_id, token_id, rank, worst, as_json=json)


def _show_pair(report: SavedReport, data_id: str, token_id: str | None, rank: str | None, worst: int, *, as_json: bool) -> int:
    from fastcmp.cli.closeup_text import print_closeup
    from fastcmp.closeup.look import look
    from fastcmp.results.rows import find_row

    closeup = look(report, find_row(report.table, data_id, token_id, rank), worst=worst)
    if as_json:
        say(json_module.dumps(closeup.as_json(), allow_nan=False))
    else:
        print_closeup(closeup)
    return EXIT_ERROR if closeup.row["cmp_flag"] and closeup.facts is None else EXIT_OK


# --- the whole report ------------------------------------------------------------------------------------------------------------------


def _show_directory(report: SavedReport, *, as_json: bool) -> int:
    from fastcmp.cli.summary import finite
    from fastcmp.results.findings import find_worst
    from fastcmp.results.totals import count

    known = report.facts.get("totals")
    given: dict[str, Any] = known if isinstance(known, dict) else {}
    totals = count(report.table, int(given.get("bytes", 0)), float(given.get("elapsed_s", 0.0)))
    rows = [row for row in find_worst(report.table, _WORST_ROWS) if row.verdict == "fail"]
    if as_json:
        facts = {"totals": finite(asdict(totals)), "worst": [finite(asdict(row)) for row in rows]}
        say(json_module.dumps(facts, allow_nan=False))
        return EXIT_OK
    counts = f"{grouped(totals.passed)} passed, {grouped(totals.failed)} failed, {grouped(totals.errors)} could not be compared"
    lines = [f"{counted(totals.pairs, 'pair')}: {counts}; {grouped(totals.unpaired)} stood alone"]
    if rows:
        lines += ["worst:", *(f"  {one_line(str(row))}" for row in rows), f"one of them in depth: {_command(report, rows[0])}"]
    say("\n".join(lines))
    return EXIT_OK


def _command(report: SavedReport, row: Finding) -> str:
    from shlex import quote

    rank = f" --rank {quote(row.rank)}" if row.rank else ""
    words = [os.fspath(report.directory), row.data_id, *([row.token_id] if row.token_id else [])]
    return visible(f"fastcmp show {' '.join(map(quote, words))}{rank}")
