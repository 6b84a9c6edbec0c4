"""The rows of a report as cells of a picture: which layer, token and rank, and what is to be seen of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fastcmp.analysis.order import find_order
from fastcmp.results.findings import worst_order
from fastcmp.results.totals import unpaired_mask
from fastcmp.verdict import ERROR, FAIL, PASS

# What a cell shows of its pair's error, the least conspicuous first; page.js knows them by these numbers.
EQUAL: Final = 0
NOTHING: Final = 1
ALONE: Final = 2
MEASURED: Final = 3
NOT_COMPARED: Final = 4
UNMEASURED: Final = 5
NONFINITE: Final = 6

# What a cell shows of its verdict.
PASSED: Final = 0
ALONE_ALLOWED: Final = 1
ALONE_REFUSED: Final = 2
UNKNOWN: Final = 3
FAILED: Final = 4


@dataclass(frozen=True)
class Cells:
    """The rows of a report, in its order; arrays with an entry per row.

    Attributes
    ----------
    layers : list of str
        The data_ids in the order in which they ran, as far as the report knows it: by first appearance.
    tokens, ranks : list of str
        Numbers by value, then text.
    layer, token, rank : ndarray of int64
        Position of the row's data_id, token_id and rank in those lists.
    position : ndarray of int64
        0 for the row that ran first.
    state : ndarray of uint8
        `EQUAL` to `NONFINITE`.
    verdict : ndarray of uint8
        `PASSED` to `FAILED`.
    distance, floor : ndarray of float64
        relative_euclidean_distance and rounding_floor; NaN where a row has none.
    worst : ndarray of int64
        Row numbers as `fastcmp.results.findings.worst_order` has them.
    """

    layers: list[str]
    tokens: list[str]
    ranks: list[str]
    layer: np.ndarray
    token: np.ndarray
    rank: np.ndarray
    position: np.ndarray
    state: np.ndarray
    verdict: np.ndarray
    distance: np.ndarray
    floor: np.ndarray
    worst: np.ndarray

    def worst_first(self) -> np.ndarray:
        """Row numbers: what failed, what could not be compared, what stands alone, what passed; each in the order of ``worst``."""
        return self.worst[np.argsort(-self.verdict[self.worst].astype(int), kind="stable")]


def cells_of(table: pa.Table) -> Cells:
    """The cells of a report table."""
    order = find_order(table)
    unpaired = _boolean(unpaired_mask(table))
    distance = numbers(table, "relative_euclidean_distance")
    state = np.full(table.num_rows, MEASURED, dtype=np.uint8)
    state[distance == 0] = EQUAL
    state[np.isnan(distance)] = NOTHING
    state[numbers(table, "nonfinite_mismatch_count") > 0] = NONFINITE
    unmeasured = ~_boolean(table.column("cmp_flag"))
    verdict = _verdicts(table, unpaired)
    state[unmeasured] = NOT_COMPARED
    state[unmeasured & (verdict == PASSED)] = NOTHING
    state[unmeasured & (verdict == FAILED)] = UNMEASURED
    state[unpaired] = ALONE
    return Cells(
        layers=order.names.texts.to_pylist(),
        tokens=order.tokens,
        ranks=order.ranks,
        layer=order.name,
        token=order.token,
        rank=order.rank,
        position=order.position,
        state=state,
        verdict=verdict,
        distance=distance,
        floor=numbers(table, "rounding_floor"),
        worst=worst_order(table, np.arange(table.num_rows)),
    )


def _verdicts(table: pa.Table, unpaired: np.ndarray) -> np.ndarray:
    words = np.array(table.column("verdict").to_pylist(), dtype=object)
    conditions = [unpaired & (words == PASS), unpaired, words == ERROR, words == FAIL]
    return np.select(conditions, [ALONE_ALLOWED, ALONE_REFUSED, UNKNOWN, FAILED], PASSED).astype(np.uint8)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A numeric column as float64; NaN where it is empty."""
    values: np.ndarray = table.column(name).cast(pa.float64()).to_numpy()
    return values


def _boolean(column: Any) -> np.ndarray:
    filled: np.ndarray = column.fill_null(False).to_numpy().astype(bool)
    return filled
