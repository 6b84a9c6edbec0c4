"""Tensors that are equal where they should not be: a dump compared with itself, a layer or a token that repeats another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.analysis.growth import Growth, numbers
from fastcmp.analysis.order import Order

# Two equal tensors may be chance: a mask, a constant. A layer that repeats has at least so many, and most of what it has.
_LEAST_EQUAL: Final = 3
_SHARE_EQUAL: Final = 0.5


@dataclass(frozen=True)
class Repeat:
    """On one side only, what ``second`` computed is what ``first`` did: a graph that was replayed with inputs of before, or an index slip.

    ``what`` is layer (then both are layers, at ``token_id``) or token; ``count`` of ``comparable`` tensors repeat.
    """

    side: str
    what: str
    token_id: str
    rank: str
    first: str
    second: str
    count: int
    comparable: int


@dataclass(frozen=True)
class Identical:
    """What is equal.

    Attributes
    ----------
    compared, equal : int
        Pairs that were compared, and those of them without a single difference.
    same_file : int
        Pairs whose both sides are one path.
    exact_layers : tuple of (str, int)
        Token and layer of the layers that are bit-identical on both sides although what ran before them is not.
    repeats : tuple of Repeat
        In the order of execution.
    """

    compared: int
    equal: int
    same_file: int
    exact_layers: tuple[tuple[str, int], ...]
    repeats: tuple[Repeat, ...]


def find_identical(table: pa.Table, order: Order, growth: Growth) -> Identical:
    """Everything of a report that is suspiciously equal."""
    compared = table.column("cmp_flag").to_numpy(zero_copy_only=False).astype(bool)
    mismatches = numbers(table, "mismatch_count")
    equal = compared & (mismatches == 0)
    same_path = pc.fill_null(pc.equal(table.column("golden_data_path"), table.column("acl_data_path")), False)
    absolute = pc.fill_null(pc.starts_with(table.column("golden_data_path"), "/"), False)
    same_file = pc.and_(same_path, absolute).to_numpy(zero_copy_only=False).astype(bool) & compared
    return Identical(
        compared=int(compared.sum()),
        equal=int(equal.sum()),
        same_file=int(same_file.sum()),
        exact_layers=_exact_layers(order, growth, equal),
        repeats=tuple(_repeats(table, order, compared)),
    )


def _exact_layers(order: Order, growth: Growth, equal: np.ndarray) -> tuple[tuple[str, int], ...]:
    layer = order.names.layer[order.name]
    rows = order.rows[(layer[order.rows] >= 0) & ~growth.is_integer[order.rows] & ~np.isnan(growth.error[order.rows])]
    if not len(rows):
        return ()
    _, first, group = np.unique(order.step[rows] * (int(layer.max()) + 1) + layer[rows], return_index=True, return_inverse=True)
    sizes, equals = np.bincount(group), np.bincount(group, weights=equal[rows])
    first_rows = rows[first]
    is_exact = (sizes >= _LEAST_EQUAL) & (equals == sizes) & (growth.before[first_rows] > 0)
    found = first_rows[is_exact]
    found = found[np.argsort(order.position[found])]
    return tuple((order.tokens[order.token[row]], int(layer[row])) for row in found.tolist())


def _repeats(table: pa.Table, order: Order, compared: np.ndarray) -> list[Repeat]:
    layer = order.names.layer[order.name]
    kind = order.names.kind[order.name]
    statistics = {side: _statistics(table, prefix) for side, prefix in (("golden", "golden"), ("target", "acl"))}
    rows = np.flatnonzero(compared & (layer >= 0))
    by_layer = rows[np.lexsort((layer[rows], order.step[rows], kind[rows]))]
    before, after = by_layer[:-1], by_layer[1:]
    is_next = (kind[before] == kind[after]) & (order.step[before] == order.step[after]) & (layer[before] + 1 == layer[after])
    found = _most_equal(order, statistics, before[is_next], after[is_next], "layer", layer)
    rows = np.flatnonzero(compared)
    by_token = rows[np.lexsort((order.token[rows], order.name[rows], order.rank[rows]))]
    before, after = by_token[:-1], by_token[1:]
    is_next = (order.name[before] == order.name[after]) & (order.rank[before] == order.rank[after])
    return found + _most_equal(order, statistics, before[is_next], after[is_next], "token", np.zeros_like(layer))


def _statistics(table: pa.Table, prefix: str) -> np.ndarray:
    return np.stack([numbers(table, f"{prefix}_{name}_value") for name in ("max", "min", "mean")])


def _most_equal(
    order: Order, statistics: dict[str, np.ndarray], before: np.ndarray, after: np.ndarray, what: str, layer: np.ndarray
) -> list[Repeat]:
    """Neighbours, grouped by where the later one is: groups most of which are equal on one side and not on the other."""
    if not len(after):
        return []
    same = {side: (values[:, before] == values[:, after]).all(axis=0) for side, values in statistics.items()}
    varies = {side: values[0, after] > values[1, after] for side, values in statistics.items()}
    group_key = order.step[after] * (int(layer.max(initial=0)) + 1) + np.maximum(layer[after], 0)
    _, first, group = np.unique(group_key, return_index=True, return_inverse=True)
    found = []
    for side, other in (("target", "golden"), ("golden", "target")):
        sizes = np.bincount(group, weights=varies[side] & varies[other], minlength=len(first))
        repeated = np.bincount(group, weights=same[side] & varies[side] & ~same[other], minlength=len(first))
        for number in np.flatnonzero((repeated >= _LEAST_EQUAL) & (repeated >= _SHARE_EQUAL * sizes)).tolist():
            one, two = int(before[first[number]]), int(after[first[number]])
            token = order.tokens[order.token[two]]
            repeat = Repeat(
                side=side,
                what=what,
                token_id=token,
                rank=order.ranks[order.rank[two]],
                first=str(layer[one]) if what == "layer" else order.tokens[order.token[one]],
                second=str(layer[two]) if what == "layer" else token,
                count=int(repeated[number]),
                comparable=int(sizes[number]),
            )
            found.append((int(order.position[two]), repeat))
    return [repeat for _, repeat in sorted(found, key=lambda pair: pair[0])]
