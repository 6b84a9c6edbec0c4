"""From a directory with a report, or with the journals of a running comparison, to the page beside it."""

from __future__ import annotations

import math
import os
import time
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fastcmp.errors import EXIT_OK, OutputError
from fastcmp.page.cells import MEASURED, Cells, cells_of
from fastcmp.page.content import Content, make_content
from fastcmp.page.document import STATE_COLOURS, VERDICT_COLOURS, Text, make_document
from fastcmp.page.packing import shown
from fastcmp.page.plots import PALETTE, make_plots, require_bokeh
from fastcmp.page.words import counted, exit_meaning, grouped, headline, options_given, tell_divergence
from fastcmp.page.worst import worst_table
from fastcmp.results.output_dir import write_whole
from fastcmp.results.page_file import BESIDE, GENERATOR, PAGE_NAME, is_page
from fastcmp.results.saved import ARROW_NAME, SavedReport, load_saved
from fastcmp.results.totals import Totals, count

# With the rest of it, some 150 000, a page stays below 10 MB whatever the report holds.
_MOST_CHARACTERS: Final = 9_600_000
_MOST_OPTIONS: Final = 60
# Of a float32 sum nothing below is error rather than noise, and a scale that reaches down to it shows nothing else.
_LOWEST_DECADE: Final = -12


def write_page(directory: str, path: str | None = None) -> str:
    """Write the page of the comparison in ``directory`` and return its path.

    Parameters
    ----------
    directory : str
        Of a report; of a comparison that still runs, the page shows what it has found so far.
    path : str, optional
        Where the page goes; `PAGE_NAME` in ``directory`` if None. Nothing but a page is replaced.

    Raises
    ------
    UsageError
        If there is no report, or Bokeh is not installed.
    OutputError
        If the report is damaged, if something else than a page stands in the way, or if the page cannot be written.
    """
    require_bokeh()
    saved = load_saved(directory)
    if path is None:
        path = os.path.join(directory, PAGE_NAME)
        _refuse_foreign(path)
    elif not os.path.islink(path) and not os.path.isdir(path):  # a link is replaced, what it leads to is not
        _refuse_foreign(path)
    page = make_page(saved, is_beside=_is_in(path, directory))
    write_whole(path, page.encode("utf-8", "replace"))
    return path


def make_page(saved: SavedReport, *, is_beside: bool = False) -> str:
    """The page as one text; ``is_beside`` is whether it goes to the directory of its report."""
    table, cells = saved.table, cells_of(saved.table)
    divergence = tell_divergence(table, cells, run_order=saved.run_order)
    low, high = _decades(cells)
    style = {
        "palette": PALETTE,
        "low": low,
        "high": high,
        "states": {str(state): colour for state, (colour, _) in STATE_COLOURS.items()},
        "verdicts": [colour for colour, _ in VERDICT_COLOURS],
    }
    plots, worst = make_plots(with_tokens=len(cells.tokens) > 1), worst_table(table, cells)
    content = make_content(table, cells, style, divergence.row, _MOST_CHARACTERS - len(worst) - sum(map(len, plots.scripts)))
    totals = count(table, 0, 0.0)
    text = Text(
        headline=headline(totals, is_complete=saved.is_complete),
        tone=_tone(totals, is_complete=saved.is_complete),
        tiles=_tiles(totals),
        remarks=_remarks(saved, totals),
        divergence=divergence.sentences,
        divergence_row=divergence.row,
        legend_low=low,
        legend_high=high,
        states=set(np.unique(cells.state).tolist()),
        verdicts=set(np.unique(cells.verdict).tolist()),
        cell_note=_left_out(table, content),
        has_ranks=len(cells.ranks) > 1,
        table=worst,
        options=[(shown(name), shown(value)) for name, value in options_given(saved.facts)[:_MOST_OPTIONS]],
    )
    return make_document(text, plots, content.cells, content.columns, f"{GENERATOR}{BESIDE if is_beside else ''}")


def _is_in(path: str, directory: str) -> bool:
    try:
        return os.path.samefile(os.path.dirname(path) or ".", directory)
    except (OSError, ValueError):  # the page cannot be written there either
        return False


def _refuse_foreign(path: str) -> None:
    """A page is made again and again; nothing else of that name is ours to replace."""
    if os.path.lexists(path) and not is_page(path):
        raise OutputError(f"{path}: exists and is no page of fastcmp; move it away, or name another file with -o")


def _decades(cells: Cells) -> tuple[int, int]:
    """Powers of ten between which the colours lie."""
    measured = cells.distance[(cells.state == MEASURED) & np.isfinite(cells.distance)]
    if not len(measured):
        return -6, 0
    low = max(math.floor(math.log10(measured.min())), _LOWEST_DECADE)
    return low, max(math.ceil(math.log10(measured.max())), low + 1)


def _tone(totals: Totals, *, is_complete: bool) -> str:
    if totals.failed:
        return "bad"
    return "good" if is_complete and totals.exit_code == EXIT_OK else "unknown"


def _tiles(totals: Totals) -> list[tuple[str, str, str]]:
    alone = totals.unpaired - totals.unpaired_allowed
    return [
        (grouped(totals.passed), "passed", "good" if totals.passed else ""),
        (grouped(totals.failed), "failed", "bad" if totals.failed else ""),
        (grouped(totals.errors), "could not be compared", "unknown" if totals.errors else ""),
        (grouped(totals.unpaired), "on one side only", "unknown" if alone else ""),
    ]


def _remarks(saved: SavedReport, totals: Totals) -> list[str]:
    remarks = []
    if not saved.is_complete:
        remarks.append(
            f"This page is incomplete: the comparison was still running, or was ended, and had found {counted(totals.rows, 'row')}."
            " The same command goes on with it; make the page again then."
        )
    else:
        remarks.append(f"Exit code {totals.exit_code}: {exit_meaning(totals)}.")
    sides = [shown(str(saved.facts.get(side) or "?")) for side in ("golden", "target")]
    remarks.append(f"Golden {sides[0]}, target {sides[1]}{_when(saved)}.")
    return remarks


def _when(saved: SavedReport) -> str:
    finished = saved.facts.get("finished_at")
    if saved.is_complete and isinstance(finished, str):
        return f"; compared {shown(finished[:16].replace('T', ' '))} UTC"
    try:  # a report of an earlier version
        written = os.stat(os.path.join(saved.directory, ARROW_NAME)).st_mtime if saved.is_complete else time.time()
    except OSError:
        return ""
    return f"; {'compared' if saved.is_complete else 'as of'} {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(written))}"


def _left_out(table: pa.Table, content: Content) -> str:
    """What does not fit into a page of 10 MB."""
    rows: Any = table.num_rows
    parts = []
    if content.cell_count < rows:
        count_shown = f"{grouped(content.cell_count)} worst of {grouped(rows)}"
        parts.append(f"The pictures show the {count_shown} tensors; the others passed or have smaller errors.")
    if content.row_count < rows:
        parts.append(f"All columns are here for the {grouped(content.row_count)} worst; of the others cmp_report.csv has them.")
    return " ".join(parts)
