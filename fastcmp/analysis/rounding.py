"""Whether the errors are no more than rounding, by how much each layer adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fastcmp.analysis.growth import Growth, narrow_bits
from fastcmp.analysis.order import Order
from fastcmp.dtypes import DTYPES, narrower
from fastcmp.name_expressions import OUTPUT

# A correct bfloat16 layer adds one to five roundings to what comes in; so does a float16 one.
MOST_PER_LAYER: Final = 16.0


@dataclass(frozen=True)
class Rounding:
    """The error along the model, at the median of all tokens.

    Attributes
    ----------
    dtype : str
        The narrower storage dtype of most pairs.
    first, last : float
        Error of the first compared tensor that has any, and behind the last layer (or of the last tensor, where no name has a layer).
    largest : float
        Of these two and the errors behind each layer (of all tensors, where no name has a layer).
    layer_count : int
        0 where names have no layers.
    most_per_layer : float
        The most that one layer adds, in roundings of ``dtype``; 0 where names have no layers.
    is_all : bool
        Nothing fails or jumps, and no layer adds more than a few roundings.
    """

    dtype: str
    first: float
    last: float
    largest: float
    layer_count: int
    most_per_layer: float
    is_all: bool


def find_rounding(table: pa.Table, order: Order, growth: Growth, *, is_clean: bool, cut: int) -> Rounding | None:
    """The growth along the model at the tokens before ``cut``; None where no float pair was compared.

    ``is_clean`` says that nothing fails or jumps there.
    """
    part = order.names.part[order.name]
    usable = np.isfinite(growth.error) & ~growth.is_integer & (part == OUTPUT) & (order.token < cut)
    rows = order.rows[usable[order.rows]]
    if not len(rows):
        return None
    errors, floors = growth.error[rows], growth.floor[rows]
    erring = np.flatnonzero(errors > 0)
    first = float(errors[erring[0]]) if len(erring) else 0.0
    behind = _behind_each_layer(order, rows, errors)
    floor = float(np.median(floors))
    steps = np.diff(behind, prepend=0.0) / floor
    most = float(steps.max()) if len(behind) else 0.0
    last = float(behind[-1]) if len(behind) else float(errors[-1])
    return Rounding(
        dtype=_common_dtype(table, rows, np.median(narrow_bits(table)[rows])),
        first=first,
        last=last,
        largest=max(first, last, float((behind if len(behind) else errors).max())),
        layer_count=len(behind),
        most_per_layer=most,
        is_all=is_clean and most <= MOST_PER_LAYER,
    )


def _behind_each_layer(order: Order, rows: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """For each layer, the error of what it computed last: the median over tokens and ranks. ``rows`` in execution order."""
    layer = order.names.layer[order.name[rows]]
    inside = layer >= 0
    if not inside.any():
        return np.zeros(0)
    layers, step = layer[inside], order.step[rows[inside]]
    # The last of each (step, layer): the first in the reversed order.
    _, last = np.unique((step * (int(layers.max()) + 1) + layers)[::-1], return_index=True)
    at = len(layers) - 1 - last
    return np.array([np.median(errors[inside][at][layers[at] == number]) for number in np.unique(layers)])


def _common_dtype(table: pa.Table, rows: np.ndarray, narrow: float) -> str:
    """``narrow``: significand bits of the values of most pairs, where they are stored wider than that; else inf."""
    held = next((dtype for dtype in ("bfloat16", "float16") if DTYPES[dtype].significand_bits == narrow), None)
    if held is not None:
        return held
    taken = pa.table({name: table.column(name).take(pa.array(rows)) for name in ("golden_dtype", "acl_dtype")})
    counts = taken.group_by(["golden_dtype", "acl_dtype"]).aggregate([([], "count_all")]).to_pylist()
    most = max(counts, key=lambda row: (row["count_all"], row["golden_dtype"], row["acl_dtype"]))
    return narrower(most["golden_dtype"], most["acl_dtype"])
