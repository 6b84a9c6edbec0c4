"""What the scripts of the page read: the cells of every row, and all columns of as many rows as fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fastcmp.page.cells import Cells
from fastcmp.page.packing import Packer, codes, pack_columns, shown
from fastcmp.results.schema import custom_names, report_columns

# Of the characters that there are for both. Cells come first: without them a tensor is not in the pictures at all.
_CELL_SHARE: Final = 0.3
# More than this is never tried: packing takes 2 s for each 100 000 rows.
_MOST_CELLS: Final = 400_000
_MOST_ROWS: Final = 100_000

# What the cells know of a row stands there only.
_IN_CELLS: Final = frozenset({"data_id", "token_id", "rank", "relative_euclidean_distance", "rounding_floor"})
# What a reader looks for; the other columns follow in the order of the report.
_FIRST: Final = (
    "relative_euclidean_distance", "rounding_floor", "cosine_similarity", "max_absolute_error", "max_absolute_error_index",
    "max_absolute_error_golden", "max_absolute_error_target", "mean_absolute_error", "max_relative_error", "mean_relative_error",
    "mismatch_count", "nonfinite_mismatch_count", "element_count", "golden_dtype", "acl_dtype", "golden_shape", "acl_shape", "notes",
)  # fmt: skip


@dataclass(frozen=True)
class Content:
    """Packed text for page.js.

    Attributes
    ----------
    cells, columns : str
        See `fastcmp.page.packing`.
    cell_count, row_count : int
        Rows that have a cell, and rows that have all their columns: the worst, where not all of them fit.
    """

    cells: str
    columns: str
    cell_count: int
    row_count: int


def make_content(table: pa.Table, cells: Cells, style: dict[str, Any], first: int | None, characters: int) -> Content:
    """The content of a page.

    Parameters
    ----------
    table : pyarrow.Table
    cells : Cells
    style : dict
        Goes to page.js as it is.
    first : int or None
        The row of the first divergence.
    characters : int
        How long both texts may be together.
    """
    columns_there = report_columns(custom_names(table.column_names))
    names = tuple(column.name for column in columns_there if column.name not in _IN_CELLS)
    meanings = {column.name: column.meaning for column in columns_there}
    header = {**style, "first": first, "meanings": {name: meanings[name] for name in dict.fromkeys((*_FIRST, *meanings))}}
    worst = cells.worst_first()
    if first is not None:  # whatever else is left out, it is there
        worst = np.concatenate(([first], worst[worst != first]))

    def pack_cells(count: int) -> str:
        return _pack_cells(cells, np.sort(worst[:count]), header)

    def pack_rows(count: int) -> str:
        rows = np.sort(worst[:count])
        return pack_columns(table.take(pa.array(rows)), rows, names)

    packed, cell_count = _most_that_fit(pack_cells, min(len(worst), _MOST_CELLS), int(_CELL_SHARE * characters))
    columns, row_count = _most_that_fit(pack_rows, min(cell_count, _MOST_ROWS), characters - len(packed))
    return Content(packed, columns, cell_count, row_count)


def _most_that_fit(pack: Callable[[int], str], count: int, characters: int) -> tuple[str, int]:
    """What ``pack`` makes of as many rows as give at most so many characters."""
    while True:
        packed = pack(count)
        if len(packed) <= characters or not count:
            return packed, count
        count = min(count - 1, int(0.95 * count * characters / len(packed)))


def _pack_cells(cells: Cells, rows: np.ndarray, header: dict[str, Any]) -> str:
    packer = Packer()
    names, layer = np.unique(cells.layer[rows], return_inverse=True)
    tokens, token = np.unique(cells.token[rows], return_inverse=True)
    ranks, rank = np.unique(cells.rank[rows], return_inverse=True)
    with np.errstate(over="ignore"):
        distance, floor = (values[rows].astype(np.float32) for values in (cells.distance, cells.floor))
    # Empty is told from not a number, which no distance is: by its sign.
    arrays = {
        "row": codes(rows),
        "layer": codes(layer),
        "token": codes(token),
        "rank": codes(rank),
        "state": cells.state[rows],
        "verdict": cells.verdict[rows],
        "distance": np.where(np.isnan(distance), np.float32(-1), distance),
        "floor": np.where(np.isnan(floor), np.float32(-1), floor),
    }
    return packer.packed(
        {
            **header,
            "layers": [shown(cells.layers[code]) for code in names.tolist()],
            "tokens": [shown(cells.tokens[code]) for code in tokens.tolist()],
            "ranks": [shown(cells.ranks[code]) for code in ranks.tolist()],
            "arrays": {name: packer.array(values) for name, values in arrays.items()},
        }
    )
