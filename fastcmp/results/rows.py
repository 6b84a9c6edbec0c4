"""Rows of a report table by name and by what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.errors import UsageError
from fastcmp.sources.natural_order import token_key
from fastcmp.sources.wording import listing, printable

_CLOSE_NAMES: Final = 3
_MOST_NAMES: Final = 100_000


def find_row(table: pa.Table, data_id: str, token_id: str | None = None, rank: str | None = None) -> int:
    """The number of the one row with this name.

    Parameters
    ----------
    table : pyarrow.Table
    data_id : str
    token_id, rank : str, optional
        May be left out where only one row is left without them.

    Raises
    ------
    UsageError
        In one line, with the names that are nearest, if there is no such row or several.
    """
    asked = [("data_id", data_id)] + [(name, value) for name, value in (("token_id", token_id), ("rank", rank)) if value is not None]
    rows = np.arange(table.num_rows)
    so_far = ""
    for column, value in asked:
        values = table.column(column).take(pa.array(rows)) if so_far else table.column(column)
        chosen = rows[np.asarray(pc.fill_null(pc.equal(values, value), False))]
        if not len(chosen):
            raise UsageError(f"no {column} {printable(value)!r}{so_far} in the report; {_nearest(values, value)}")
        rows, so_far = chosen, f"{so_far}{' with' if not so_far else ' and'} {column} {printable(value)}"
    if len(rows) == 1:
        return int(rows[0])
    for column, how in (("token_id", "name a TOKEN_ID"), ("rank", "add --rank")):
        values = _distinct(table.column(column).take(pa.array(rows)))
        if len(values) > 1 and (column, how) not in asked:
            raise UsageError(f"{len(rows)} rows{so_far}: {how}: {listing(values, 8)}")
    raise UsageError(f"{len(rows)} rows{so_far}: the report names one tensor twice; compare the dumps again")


def _nearest(values: Any, asked: str) -> str:
    known = _distinct(values)
    close = get_close_matches(asked, known[:_MOST_NAMES], n=_CLOSE_NAMES, cutoff=0.5) if len(asked) <= 1000 else []
    # Parts of names count too: layers.3 for model.layers.3.mlp.
    close += [name for name in known if asked and asked in name and name not in close][: _CLOSE_NAMES - len(close)]
    if close:
        return f"did you mean {', '.join(map(printable, close))}?"
    return f"it has {listing(known)}" if any(known) else "it has none"


def _distinct(values: Any) -> list[str]:
    return sorted((value or "" for value in pc.unique(values).to_pylist()), key=token_key)


def row_of(table: pa.Table, row: int) -> dict[str, Any]:
    """One row as a plain dict, in the order of the columns, metrics of the user's own among them; None where a cell is empty."""
    return {name: table.column(name)[row].as_py() for name in table.schema.names}


def rows_like(
    table: pa.Table, side: str, shape: str | None, lowest: float, highest: float, mean: float, *, tolerance: float
) -> Sequence[int]:
    """Rows of which a side has this shape, and smallest, largest and mean values within ``tolerance`` of these; the nearest first.

    ``side`` is the prefix of the columns: ``golden`` or ``acl``.
    """
    has_shape = np.asarray(pc.fill_null(pc.equal(table.column(f"{side}_shape"), shape or ""), False))
    rows = np.flatnonzero(has_shape)
    if not len(rows):
        return []
    apart = np.zeros(len(rows))
    for name, value in (("min", lowest), ("max", highest), ("mean", mean)):
        column = table.column(f"{side}_{name}_value").to_numpy(zero_copy_only=False)[rows]
        apart = np.maximum(apart, np.abs(np.where(np.isnan(column), np.inf, column) - value))
    order = np.argsort(apart, kind="stable")
    return [int(rows[one]) for one in order if apart[one] <= tolerance]
