"""One row of a report by where it stands in the model."""

from __future__ import annotations

from dataclasses import dataclass

from fastcmp.analysis.names import owner_of
from fastcmp.analysis.order import Order
from fastcmp.name_expressions import INPUT, operation


@dataclass(frozen=True)
class Place:
    """Where a tensor stands. ``row`` is its number in the report, ``layer`` -1 where its name has none.

    ``operation`` is the data_id without layer, and without what says that it is an input.
    """

    row: int
    rank: str
    token_id: str
    data_id: str
    layer: int
    operation: str
    is_input: bool


def place_of(order: Order, row: int) -> Place:
    """The place of one row."""
    names, name = order.names, int(order.name[row])
    data_id = names.texts[name].as_py()
    return Place(
        row=row,
        rank=order.ranks[order.rank[row]],
        token_id=order.tokens[order.token[row]],
        data_id=data_id,
        layer=int(names.layer[name]),
        operation=operation(owner_of(data_id)),
        is_input=bool(names.part[name] == INPUT),
    )
