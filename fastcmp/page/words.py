"""The sentences of the page: how the comparison came out, and where it went wrong first. Names in them are fit to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fastcmp.errors import EXIT_DIFFERENT, EXIT_OK
from fastcmp.page.cells import Cells
from fastcmp.page.packing import shown
from fastcmp.results.findings import Finding, find_blind_spots, find_first_divergence
from fastcmp.results.totals import Totals


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


def tell_divergence(table: pa.Table, cells: Cells) -> Divergence:
    """The first divergence in sentences, and what ran before it that nothing is known about."""
    orders = cells.execution_orders()
    first = find_first_divergence(table, orders.tolist())
    spots = find_blind_spots(table, orders.tolist(), first, most=3)
    if first is None:
        return Divergence(_without_divergence(table, spots.count), None)
    sentences = [f"The first pair that fails is {shown(first.name)}: {shown(first.reason)}."]
    if first.rounding_floor:
        sentences.append(f"Rounding to {shown(first.acl_dtype or '')} would cause {first.rounding_floor:.2g} by itself.")
    sentences.append(_what_ran_before(table, cells, orders, first))
    sentences.append(_how_far(cells, orders, first))
    if spots.before_divergence:
        names = "; ".join(shown(spot.name) for spot in spots.first[: spots.before_divergence])
        names = f"such as {names}" if spots.before_divergence > len(spots.first) else names
        sentences.append(
            f"{counted(spots.before_divergence, 'tensor')} before it could not be compared ({names}): it may have begun there."
        )
    if not _is_order_known(table):
        sentences.append('"First" means by name: plain directories do not say in which order their tensors were computed.')
    return Divergence(tuple(sentence for sentence in sentences if sentence), first.row)


def _without_divergence(table: pa.Table, unknown: int) -> tuple[str, ...]:
    if not table.num_rows:
        return ("Nothing was compared yet.",)
    if unknown:
        return (
            "No compared pair diverges.",
            f"{counted(unknown, 'tensor')} could not be compared or stood alone: nothing is known about them.",
        )
    return ("No pair diverges.",)


def _what_ran_before(table: pa.Table, cells: Cells, orders: np.ndarray, first: Finding) -> str:
    before = (orders < orders[first.row]) & (table.column("cmp_flag").to_numpy())
    if not before.any():
        return "Nothing that was compared ran before it."
    worst = np.nanmax(np.where(before, cells.distance, np.nan), initial=0.0)
    beside = f", relative_euclidean_distance {worst:.2g} at most" if worst else ", all of them equal"
    return f"The {counted(int(before.sum()), 'pair')} that ran before it passed{beside}."


def _how_far(cells: Cells, orders: np.ndarray, first: Finding) -> str:
    """At which tokens and data_ids pairs fail, from the first one on."""
    failed = cells.verdict == cells.verdict[first.row]
    later = failed & (orders > orders[first.row])
    if not later.any():
        return "It is the only pair that fails." if failed.sum() == 1 else ""
    tokens, layers = len(np.unique(cells.token[failed])), len(np.unique(cells.layer[failed]))
    return (
        f"{counted(int(failed.sum()), 'pair')} {'fails' if failed.sum() == 1 else 'fail'} in all: at {grouped(tokens)} of"
        f" {counted(len(cells.tokens), 'token')}, in {grouped(layers)} of {counted(len(cells.layers), 'data_id')}."
    )


def _is_order_known(table: pa.Table) -> bool:
    """False where tensors found each other by their paths in directories."""
    return "path" not in table.column("pair_rule").unique().to_pylist()


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
