"""Whether both runs read, and chose, the same tokens: where they did not, everything after it differs anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fastcmp.analysis.growth import Growth, numbers
from fastcmp.analysis.jumps import JUMP
from fastcmp.analysis.order import Order
from fastcmp.analysis.place import Place, place_of
from fastcmp.name_expressions import INPUT

_READ: Final = r"(?i)(?:^|[./_])(?:input_?ids?|input_?tokens?)(?:$|[./_\[#])"
_CHOSEN: Final = (
    r"(?i)(?:^|[./_])(?:(?:next|new|output|sampled|chosen|generated)_?(?:tokens?|ids?)(?:_?ids?)?"
    r"|sampler|sampled|sampling|argmax)(?:$|[./_\[#])"
)
_EITHER: Final = r"(?i)(?:^|[./_])(?:token_?ids?|tokens|ids)(?:$|[./_\[#])"
_EMBEDDING: Final = r"(?i)(?:embed|(?:^|[./])wte(?:[./]|$))"
_POSITIONS: Final = r"(?i)(?:rot|rope|pos)"
# What another token's embedding is away: two random vectors of one length are 1.4 apart.
_OTHER_EMBEDDING: Final = 0.5


@dataclass(frozen=True)
class Choices:
    """The tokens of both runs.

    Attributes
    ----------
    read : Place or None
        The first tensor of token ids read by the model that differs between the runs.
    chosen : Place or None
        The first chosen token that differs.
    golden, target : int or None
        Which ids were chosen there, where it is one each.
    was_fed : bool
        The runs chose differently, but the target was given golden's tokens: what comes after can be compared.
    looks_other : Place or None
        Where no ids were dumped: the first embedding that is of another token, by how far it is away.
    cut : int
        Position among the tokens from which on nothing can be compared; the number of tokens where everything can.
    """

    read: Place | None
    chosen: Place | None
    golden: int | None
    target: int | None
    was_fed: bool
    looks_other: Place | None
    cut: int

    @property
    def is_cut(self) -> bool:
        """True if there is a token from which on nothing can be compared."""
        return self.read is not None or self.looks_other is not None or (self.chosen is not None and not self.was_fed)


def find_choices(table: pa.Table, order: Order, growth: Growth) -> Choices:
    """What a report says about the tokens of both runs."""
    is_read, is_chosen = _id_rows(order, growth)
    differs = growth.error > 0
    read, chosen = (_first(order, differs & mask) for mask in (is_read, is_chosen))
    token_count = len(order.tokens)
    cut, was_fed, looks_other = token_count, False, None
    if read is not None:
        cut = int(order.token[read])
    elif chosen is not None:
        following = int(order.token[chosen]) + 1
        was_fed = bool(following < token_count and (is_read.any() or _begins_equal(order, growth, following)))
        cut = token_count if was_fed else following
    else:
        other = _other_embedding(order, growth)
        if other is not None:
            cut, looks_other = int(order.token[other]), place_of(order, other)
    return Choices(
        read=None if read is None else place_of(order, read),
        chosen=None if chosen is None else place_of(order, chosen),
        golden=_single(table, chosen, "max_absolute_error_golden"),
        target=_single(table, chosen, "max_absolute_error_target"),
        was_fed=was_fed,
        looks_other=looks_other,
        cut=cut,
    )


def is_choice(order: Order, growth: Growth) -> np.ndarray:
    """Rows of token ids, read or chosen: that these differ is no error of the operation that wrote them."""
    is_read, is_chosen = _id_rows(order, growth)
    return is_read | is_chosen


def _id_rows(order: Order, growth: Growth) -> tuple[np.ndarray, np.ndarray]:
    names = order.names

    if not growth.is_integer.any():
        none = np.zeros(len(order.name), dtype=bool)
        return none, none
    is_input = names.part == INPUT
    reads = names.say(_READ) | (is_input & names.say(_EMBEDDING) & ~names.say(_POSITIONS))
    chooses = names.say(_CHOSEN) & ~reads & ~is_input
    either = names.say(_EITHER) & ~reads & ~chooses
    # Ids that only say that they are ids were read if nothing had been computed before them.
    computed = np.where(growth.is_integer, np.inf, order.position)
    first = np.full(int(order.step.max(initial=0)) + 1, np.inf)
    np.minimum.at(first, order.step, computed)
    is_early = order.position < first[order.step]
    rows_either = either[order.name] & growth.is_integer
    is_read = (reads[order.name] & growth.is_integer) | (rows_either & is_early)
    return is_read, (chooses[order.name] & growth.is_integer) | (rows_either & ~is_early)


def _first(order: Order, mask: np.ndarray) -> int | None:
    rows = np.flatnonzero(mask)
    return int(rows[np.argmin(order.position[rows])]) if len(rows) else None


def _begins_equal(order: Order, growth: Growth, token: int) -> bool:
    """True if what a token computes first has no more error than rounding: it is the same token on both sides."""
    row = _first(order, (order.token == token) & ~growth.is_integer & ~np.isnan(growth.error))
    return row is not None and bool(growth.error[row] <= JUMP * growth.floor[row])


def _other_embedding(order: Order, growth: Growth) -> int | None:
    """The first embedding, at a later token than the first, that is too far away for any error of its own."""
    is_embedding = order.names.say(_EMBEDDING) & ~order.names.say(_POSITIONS)
    far = (growth.error >= _OTHER_EMBEDDING) & np.isfinite(growth.error)
    row = _first(order, far & is_embedding[order.name] & ~growth.is_integer & (order.token > 0))
    if row is None:
        return None
    same_name_before = (order.name == order.name[row]) & (order.rank == order.rank[row]) & (order.token < order.token[row])
    return row if (growth.error[same_name_before] < _OTHER_EMBEDDING).any() else None


def _single(table: pa.Table, row: int | None, column: str) -> int | None:
    if row is None or numbers(table.slice(row, 1), "element_count")[0] != 1:
        return None
    value: Any = table.column(column)[row].as_py()
    return None if value is None or not np.isfinite(value) else int(value)
