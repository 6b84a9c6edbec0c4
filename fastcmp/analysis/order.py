"""The rows of a report as they ran, with their names taken apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fastcmp.analysis.names import Names, parse_names
from fastcmp.results.execution_order import find_execution_order


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
