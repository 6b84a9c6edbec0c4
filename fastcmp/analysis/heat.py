"""The error of a report by layer and token: the worst of each, in a grid that fits where it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.analysis.order import Order, find_order
from fastcmp.results.totals import unpaired_mask
from fastcmp.verdict import ERROR, FAIL

NO_LAYER: Final = -1


@dataclass(frozen=True)
class Heat:
    """A grid; rows are layers (or tensors, or runs of them) as they ran, columns are tokens (or runs of them).

    Attributes
    ----------
    row_labels, column_labels : list of str
    distance : ndarray of float64, shape (rows, columns)
        The largest relative_euclidean_distance of a cell; NaN where nothing was measured.
    has_failed, has_unknown : ndarray of bool, shape (rows, columns)
        A pair of the cell failed, with metrics or without; a tensor of it could not be compared, or stands alone though it may not.
    rows_are_layers : bool
    rows_per_cell, tokens_per_cell : int
        More than 1 where there are more than fit.
    """

    row_labels: list[str]
    column_labels: list[str]
    distance: np.ndarray
    has_failed: np.ndarray
    has_unknown: np.ndarray
    rows_are_layers: bool
    rows_per_cell: int
    tokens_per_cell: int


def find_heat(table: pa.Table, *, most_rows: int, most_columns: int) -> Heat:
    """The grid of a report, with at most so many rows and columns."""
    order = find_order(table)
    place, labels, are_layers = _places(order)
    rows_per_cell = max(1, -(-len(labels) // most_rows))
    tokens_per_cell = max(1, -(-len(order.tokens) // most_columns))
    row, column = place // rows_per_cell, order.token // tokens_per_cell
    shape = -(-len(labels) // rows_per_cell), -(-len(order.tokens) // tokens_per_cell)
    distance = _cells(table, "relative_euclidean_distance")
    grid = np.full(shape, -1.0)
    known = ~np.isnan(distance)
    np.maximum.at(grid, (row[known], column[known]), distance[known])
    failed, unknown = np.zeros(shape, bool), np.zeros(shape, bool)
    is_alone = pc.fill_null(unpaired_mask(table), False).to_numpy().astype(bool)
    is_bad = pc.equal(table.column("verdict"), FAIL).to_numpy().astype(bool)
    is_error = pc.equal(table.column("verdict"), ERROR).to_numpy().astype(bool)
    failed[row[is_bad & ~is_alone], column[is_bad & ~is_alone]] = True
    blind = is_error | (is_bad & is_alone)
    unknown[row[blind], column[blind]] = True
    return Heat(
        _runs(labels, rows_per_cell), _runs(order.tokens, tokens_per_cell), np.where(grid < 0, np.nan, grid), failed, unknown, are_layers,
        rows_per_cell, tokens_per_cell,
    )  # fmt: skip


def _places(order: Order) -> tuple[np.ndarray, list[str], bool]:
    """For each row of the report its row of the grid, the labels of those, and whether they are layers.

    What stands in no layer is a row of its own before and behind the layers, by name where there are few of them.
    """
    layer = order.names.layer[order.name]
    by_name = order.name
    if (layer == NO_LAYER).all():
        return _as_they_ran(order, by_name, [text or "?" for text in order.names.texts.to_pylist()], False)
    first_name = int(order.names.layer.max()) + 1
    group = np.where(layer == NO_LAYER, first_name + by_name, layer)
    labels = [f"layer {number}" for number in range(first_name)] + [text or "?" for text in order.names.texts.to_pylist()]
    return _as_they_ran(order, group, labels, True)


def _as_they_ran(order: Order, group: np.ndarray, labels: list[str], are_layers: bool) -> tuple[np.ndarray, list[str], bool]:
    """Groups numbered by when the first of their names appears, which is the order in which a token runs."""
    never = len(order.names.texts)
    first = np.full(len(labels), never, np.int64)
    np.minimum.at(first, group, order.name)
    present = np.flatnonzero(first < never)
    ran = present[np.argsort(first[present], kind="stable")]
    number = np.full(len(labels), -1, np.int64)
    number[ran] = np.arange(len(ran))
    return number[group], [labels[one] for one in ran], are_layers


def _runs(labels: list[str], width: int) -> list[str]:
    if width == 1:
        return labels
    return [f"{labels[at]} .. {labels[min(at + width, len(labels)) - 1]}" for at in range(0, len(labels), width)]


def _cells(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).cast(pa.float64()).to_numpy().astype(np.float64)
