"""The sentences of the page: how the comparison came out, and where it went wrong first. Names in them are fit to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fastcmp.analysis.story import find_story
from fastcmp.analysis.words import tell
from fastcmp.errors import EXIT_DIFFERENT, EXIT_OK
from fastcmp.page.cells import Cells
from fastcmp.page.packing import shown
from fastcmp.results.findings import Finding, find_blind_spots, find_first_divergence, judged_mask
from fastcmp.results.totals import Totals
from fastcmp.sources.dump import RunOrder


@dataclass(frozen=True)
class Divergence:
    """Where it went wrong first.

    Attributes
    ----------
    sentences : tuple of str
        The most important first.
    row : int or None
        The row of the report that they begin with.
    """

    sentences: tuple[str, ...]
    row: int | None


def exit_meaning(totals: Totals) -> str:
    """What the exit code of such a comparison says."""
    if totals.exit_code == EXIT_OK:
        return "every pair was compared and passed"
    if totals.exit_code == EXIT_DIFFERENT:
        return "everything was compared, but a pair failed or a tensor stands on one side only"
    return "something could not be compared" if totals.pairs else "there was no pair to compare"


def headline(totals: Totals, *, is_complete: bool) -> str:
    """How it came out, in half a sentence."""
    if not totals.pairs:
        words = "no pair was compared"
    elif totals.failed:
        words = f"{grouped(totals.failed)} of {counted(totals.pairs, 'pair')} failed"
    elif totals.errors:
        words = f"{grouped(totals.errors)} of {counted(totals.pairs, 'pair')} could not be compared"
    elif totals.unpaired > totals.unpaired_allowed:
        words = f"{counted(totals.unpaired - totals.unpaired_allowed, 'tensor')} stood alone, every pair passed"
    else:
        words = f"all {grouped(totals.pairs)} pairs passed" if totals.pairs > 1 else "the only pair passed"
    return words if is_complete else f"so far {words}"


def tell_divergence(table: pa.Table, cells: Cells, *, run_order: RunOrder) -> Divergence:
    """The failed pair that ran first, then the story of the whole report, then how much fails."""
    if not table.num_rows:
        return Divergence(("Nothing was compared yet.",), None)
    first = find_first_divergence(table, cells.position)
    story = find_story(table, run_order=run_order)
    sentences = [f"{line[:1].upper()}{line[1:]}." for line in tell(story, shown)]
    if first is None:
        spots = find_blind_spots(table, cells.position, None, most=0)
        return Divergence(("No compared pair diverges." if spots.count else "No pair diverges.", *sentences), None)
    said = f"The first pair that fails is {shown(first.name)}: {shown(first.reason)}."
    more = (_what_ran_before(table, cells, first, "ran" if run_order == "computed" else "stand"), _how_far(cells, first))
    return Divergence((said, *sentences, *(sentence for sentence in more if sentence)), first.row)


def _what_ran_before(table: pa.Table, cells: Cells, first: Finding, ran: str) -> str:
    before = (cells.position < cells.position[first.row]) & judged_mask(table)
    if not before.any():
        return f"Nothing that was compared {ran.replace('stand', 'stands')} before it."
    worst = np.nanmax(np.where(before, cells.distance, np.nan), initial=0.0)
    is_measured = table.column("cmp_flag").to_numpy()[before].all()
    beside = f", relative_euclidean_distance {worst:.2g} at most" if worst else ", all of them equal" if is_measured else ""
    count = int(before.sum())
    return f"The {counted(count, 'pair')} that {ran.replace('stand', 'stands') if count == 1 else ran} before it passed{beside}."


def _how_far(cells: Cells, first: Finding) -> str:
    """At how many tokens and data_ids pairs fail."""
    failed = cells.verdict == cells.verdict[first.row]
    if failed.sum() == 1:
        return "It is the only pair that fails."
    tokens, layers = len(np.unique(cells.token[failed])), len(np.unique(cells.layer[failed]))
    return (
        f"{counted(int(failed.sum()), 'pair')} fail in all: at {grouped(tokens)} of {counted(len(cells.tokens), 'token')},"
        f" in {grouped(layers)} of {counted(len(cells.layers), 'data_id')}."
    )


def options_given(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The inputs, options, versions and remarks of ``run.json`` or a journal, in pairs of name and text."""
    told: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            if name not in ("totals", "files"):
                told += [(f"{name}: {key}" if name == "versions" else key, text) for key, text in options_given(value)]
        elif isinstance(value, list):
            if value:
                told.append((name, ", ".join(map(str, value))))
        elif value is not None and value != "":
            told.append((name, str(value)))
    return told


def grouped(count: int) -> str:
    """``1234567`` as ``1 234 567``, with spaces at which no line is broken."""
    return f"{count:,}".replace(",", "\u202f")


def counted(count: int, noun: str) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{grouped(count)} {noun}{'' if count == 1 else 's'}"
