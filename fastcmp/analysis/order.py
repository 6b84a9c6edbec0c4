"""The rows of a report as they ran, with their names taken apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from fastcmp.analysis.names import Names, parse_names
from fastcmp.name_expressions import OUTPUT
from fastcmp.results.execution_order import find_execution_order

# Operations within each other beyond this are not told apart: a name may be hostile.
_DEEPEST: Final = 32


@dataclass(frozen=True)
class Order:
    """The rows of a report in execution order; arrays with an entry per row, but for ``rows``.

    Attributes
    ----------
    position, rows, token, rank, name, tokens, ranks
        See `fastcmp.results.execution_order.ExecutionOrder`.
    step : ndarray of int64
        Number of the (token, rank): what one process computed in one forward pass.
    names : Names
    """

    position: np.ndarray
    rows: np.ndarray
    token: np.ndarray
    rank: np.ndarray
    name: np.ndarray
    step: np.ndarray
    tokens: list[str]
    ranks: list[str]
    names: Names


def find_order(table: pa.Table) -> Order:
    """The execution order of a report table in its row order."""
    found = find_execution_order(table)
    step = found.token * max(len(found.ranks), 1) + found.rank
    return Order(found.position, found.rows, found.token, found.rank, found.name, step, found.tokens, found.ranks, parse_names(found.names))


def parts_before_wholes(order: Order) -> Order:
    """An order by name, with what an operation made behind all that it holds.

    By name ``layers.3`` stands before ``layers.3.mlp``, of which it was made.
    """
    place = _places(order.names)[order.name]
    rows = np.lexsort((order.rank, -order.names.depth[order.name], place, order.token))
    position = np.empty_like(rows)
    position[rows] = np.arange(len(rows))
    return replace(order, position=position, rows=rows)


def _places(names: Names) -> np.ndarray:
    """For each name its number; for the output of an operation that holds others one between the last of these and what follows."""
    count = len(names.owner)
    places = np.arange(count, dtype=np.float64)
    owners, first, owner_of = np.unique(names.owner, return_index=True, return_inverse=True)
    depth = np.minimum(names.depth[first], _DEEPEST)
    ends = np.full(len(owners), count)
    for level in np.unique(depth).tolist():
        here = np.flatnonzero(depth == level)
        borders = np.append(np.sort(first[depth <= level]), count)
        ends[here] = borders[np.searchsorted(borders[:-1], first[here], side="right")]
    moved = names.holds_others & (names.part == OUTPUT)
    places[moved] = ends[owner_of.reshape(-1)[moved]] - 0.5
    return places
