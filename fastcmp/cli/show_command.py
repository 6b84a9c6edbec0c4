"""``fastcmp show``: what a finished comparison found; of one pair, everything that can be said."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fastcmp.cli.endings import complain, say
from fastcmp.errors import EXIT_ERROR, EXIT_OK, UsageError

if TYPE_CHECKING:
    from fastcmp.results.saved import SavedReport

_MOST_WORST = 10_000


def show(
    directory: str,
    data_id: str | None = None,
    token_id: str | None = None,
    /,
    *,
    rank: str | None = None,
    worst: int = 10,
    where: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    sort: str = "",
    top: int | None = None,
    column: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show what a comparison found, from its report; with a DATA_ID one pair in depth, for which its two tensors are read again.

    Of a report: counts, where it went wrong in words, the error by layer and token, what fails worst; or the rows that are asked for.
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
    where
        Rows that pass this, such as 'verdict == fail', 'relative_euclidean_distance > 1e-3' or 'data_id ~ *.mlp.*'. Repeatable.
    sort
        worst (the default), ran (in the order they ran), or a column, its worst values first.
    top
        How many rows (20).
    column
        A column to show, instead of the usual ones. Repeatable.
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
        from fastcmp.cli.show_report import show_report, show_rows

        if where or sort or column or top is not None:
            return show_rows(report, where, sort or "worst", 20 if top is None else top, column, as_json=json)
        return show_report(report, as_json=json)
    if where or sort or column or top is not None:
        raise UsageError("--where, --sort, --top and --column choose rows of a report; a DATA_ID shows one pair")
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
