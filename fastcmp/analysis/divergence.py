"""Where it went wrong: the first operation that adds error of its own, and how far that reaches over tokens, layers and ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from fastcmp.analysis.growth import INTEGER, NONFINITE, NUMBER, SHAPE, VAST, ZEROS, Growth, numbers
from fastcmp.analysis.jumps import Jumps
from fastcmp.analysis.order import Order
from fastcmp.analysis.place import Place, place_of
from fastcmp.name_expressions import OUTPUT

# Whether an operation is wrong in other layers too, where its inputs are wrong by then: it is if it adds half of what it added first, and
# its gain is above anything that it showed while it was sound. Turning a vector, for one, never changed its error by more than 1.05.
_MORE_THAN_SOUND: Final = 1.5
_SHARE_OF_FIRST: Final = 0.5
_LEAST_SOUND: Final = 3
_MOST_NAMED: Final = 3
_ATTENTION: Final = "(?i)att"

Reach = Literal["one of one", "all", "from here on", "only here", "some"]
Nonfinite = Literal[
    "NaN on one side only", "infinity on one side only", "NaN at other positions", "another infinity", "another NaN or infinity"
]
What = Literal["error", "vast", "zeros", "integer", "non-finite", "shape"]
_WHAT: Final[dict[int, What]] = {NUMBER: "error", VAST: "vast", ZEROS: "zeros", INTEGER: "integer", NONFINITE: "non-finite", SHAPE: "shape"}


@dataclass(frozen=True)
class Jump:
    """An operation that adds error of its own.

    Attributes
    ----------
    place : Place
    error : float
        inf: see ``what``.
    came_from : float
        The largest error of its inputs, or before it; 0 where there was none.
    factor : float
        ``error`` in multiples of ``came_from``, or of one rounding where that is larger.
    what : {"error", "vast", "zeros", "integer", "non-finite", "shape"}
        What the error tells of, see `fastcmp.analysis.growth.Growth.cause`.
    knows_inputs : bool
        ``came_from`` is that of its own inputs.
    unknown_inputs : int
        Inputs of it that could not be compared.
    passes : bool
        The pair passed all the same.
    previous : Place or None
        The last output of its step before it; where no outputs were dumped, the last tensor.
    nonfinite : int
        Positions where a NaN or an infinity meets something else.
    nonfinite_kind : Nonfinite
        What these are, by how many of both each side has.
    largest_difference : float or None
        The max_absolute_error, where it was compared.
    golden_shape, target_shape : str
        As the report has them; "" where it does not.
    """

    place: Place
    error: float
    came_from: float
    factor: float
    what: What
    knows_inputs: bool
    unknown_inputs: int
    passes: bool
    previous: Place | None
    nonfinite: int
    nonfinite_kind: Nonfinite
    largest_difference: float | None
    golden_shape: str
    target_shape: str


@dataclass(frozen=True)
class Spread:
    """Where the operation of a `Jump` adds error of its own, among all tokens and ranks of its layer, and all layers there.

    Of an error that is no number, where the same is seen and its inputs are not known to have had it; of shapes that differ, wherever.

    Attributes
    ----------
    tokens, layers, ranks : Reach
    token_ids, layer_numbers, rank_names : tuple
        Where it does.
    token_count, layer_count, rank_count : int
        Where it was compared at all.
    unclear_tokens, unclear_layers, unclear_ranks : int
        How many there are where it cannot be told, because what goes in is wrong already and what comes out is, too.
    knows_inputs : bool
        What goes in is known to be wrong there; else only that something before it is.
    elsewhere_count : int
        At how many other places it does, in other layers at other tokens or on other ranks than these.
    alike_count : int
        Of an error that is no number: how many pairs of whatever operation have the same, if more than the operation itself has; else 0.
    pair_count : int
        Tensors that both sides have.
    others : tuple of str
        The first further operations that add error of their own, in the order they ran.
    other_count : int
    cached : bool
        At later tokens, and at no other, attention adds error: what it has cached is from a wrong token.
    """

    tokens: Reach
    layers: Reach
    ranks: Reach
    token_ids: tuple[str, ...]
    layer_numbers: tuple[int, ...]
    rank_names: tuple[str, ...]
    token_count: int
    layer_count: int
    rank_count: int
    unclear_tokens: int
    unclear_layers: int
    unclear_ranks: int
    knows_inputs: bool
    elsewhere_count: int
    alike_count: int
    pair_count: int
    others: tuple[str, ...]
    other_count: int
    cached: bool


def find_jump(table: pa.Table, order: Order, growth: Growth, jumps: Jumps, failed: np.ndarray) -> Jump | None:
    """The first jump that fails, or else the first of those that pass."""
    rows = np.flatnonzero(jumps.is_jump)
    if not len(rows):
        return None
    rows = rows[np.argsort(order.position[rows])]
    failing = rows[failed[rows]]
    row = int(failing[0] if len(failing) else rows[0])
    one = table.slice(row, 1)
    nonfinite, largest_difference = (numbers(one, name)[0] for name in ("nonfinite_mismatch_count", "max_absolute_error"))
    golden_shape, target_shape = (one.column(name)[0].as_py() or "" for name in ("golden_shape", "acl_shape"))
    knows_inputs = not np.isnan(growth.inherited[row]) and not jumps.is_container[row]
    came_from = growth.inherited[row] if knows_inputs else growth.before[row]
    return Jump(
        place=place_of(order, row),
        error=float(growth.error[row]),
        came_from=float(came_from),
        factor=float(jumps.gain[row]),
        what=_WHAT[int(growth.cause[row])],
        knows_inputs=knows_inputs,
        unknown_inputs=int(jumps.unknown_inputs[row]),
        passes=not failed[row],
        previous=_last_before(order, growth, row),
        nonfinite=0 if np.isnan(nonfinite) else int(nonfinite),
        nonfinite_kind=_nonfinite_kind(one),
        largest_difference=None if np.isnan(largest_difference) else float(largest_difference),
        golden_shape=golden_shape,
        target_shape=target_shape,
    )


def _nonfinite_kind(one: pa.Table) -> Nonfinite:
    nans, infinities = ([numbers(one, f"{side}_{what}_count")[0] for side in ("golden", "target")] for what in ("nan", "inf"))
    if nans[0] != nans[1]:
        return "NaN on one side only"
    if infinities[0] != infinities[1]:
        return "infinity on one side only"
    if nans[0] and infinities[0]:
        return "another NaN or infinity"
    return "NaN at other positions" if nans[0] else "another infinity"


def _last_before(order: Order, growth: Growth, row: int) -> Place | None:
    before = (order.step == order.step[row]) & (order.position < order.position[row]) & ~np.isnan(growth.error)
    rows = np.flatnonzero(before)
    if not len(rows):
        return None
    is_output = order.names.part[order.name[rows]] == OUTPUT
    rows = rows[is_output] if is_output.any() else rows
    return place_of(order, int(rows[np.argmax(order.position[rows])]))


def find_spread(order: Order, growth: Growth, jumps: Jumps, jump: Jump, pair_count: int) -> Spread:
    """How far a jump reaches."""
    row = jump.place.row
    kind, layer = order.names.kind[order.name], order.names.layer[order.name]
    same = (kind == kind[row]) & jumps.usable
    if jump.what not in ("error", "shape"):
        same &= growth.cause != SHAPE  # of which nothing else is known
    has, shows = _own(order, growth, jumps, same, row)
    at_home = same & (layer == layer[row])
    tokens, ranks = np.unique(order.token[has & at_home]), np.unique(order.rank[has & at_home])
    compared_tokens, compared_ranks = np.unique(order.token[at_home]), np.unique(order.rank[at_home])
    there = np.isin(order.token, tokens) & np.isin(order.rank, ranks)
    layers, compared_layers = np.unique(layer[has & there]), np.unique(layer[same & there])
    later = shows & (order.token >= order.token[row])
    alike_count = 0 if jump.what == "error" else int((growth.cause == growth.cause[row]).sum())
    is_other = jumps.is_jump & (kind != kind[row]) & ~jumps.is_container & (order.position > order.position[row])
    had_jumped = np.unique(kind[jumps.is_jump & (order.token <= order.token[row])])
    others, other_count, cached = _others(order, np.flatnonzero(is_other), row, had_jumped)
    return Spread(
        tokens=_reach(tokens, compared_tokens),
        layers=_reach(layers, compared_layers),
        ranks=_reach(ranks, compared_ranks),
        token_ids=tuple(order.tokens[token] for token in tokens.tolist()),
        layer_numbers=tuple(layers.tolist()),
        rank_names=tuple(order.ranks[rank] for rank in ranks.tolist()),
        token_count=len(compared_tokens),
        layer_count=len(compared_layers),
        rank_count=len(compared_ranks),
        unclear_tokens=_count_others(compared_tokens, tokens, order.token[shows & at_home & np.isin(order.rank, ranks)]),
        unclear_layers=_count_others(compared_layers, layers, layer[later & np.isin(order.rank, ranks)]),
        unclear_ranks=_count_others(compared_ranks, ranks, order.rank[later & at_home]),
        knows_inputs=not np.isnan(growth.inherited[same & ~shows]).any(),
        elsewhere_count=int((has & ~there).sum()),
        alike_count=alike_count if alike_count > has.sum() else 0,
        pair_count=pair_count,
        others=tuple(dict.fromkeys(others)),
        other_count=other_count,
        cached=cached,
    )


def _own(order: Order, growth: Growth, jumps: Jumps, same: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Among the ``same`` operations as that of ``row``: those that add error of their own, as it does, and those of which it would show."""
    cause = growth.cause[row]
    if cause == NUMBER:
        # What goes in is better than what the jump made of it, or what comes out is.
        most = _SHARE_OF_FIRST * growth.error[row]
        shows = same & ((growth.reference <= most) | (growth.error <= most))
        return same & (jumps.is_jump | _adds_as_much(order, growth, jumps, same, row)), shows
    like = same & (growth.cause == cause)
    if cause == SHAPE:
        return like, same
    went_in = growth.inherited > 0 if cause == INTEGER else np.isinf(growth.inherited)
    return like & ~went_in, same & ~(like & went_in)


def _count_others(compared: np.ndarray, found: np.ndarray, shown: np.ndarray) -> int:
    """How many of ``compared`` are in neither."""
    return len(np.setdiff1d(compared, np.union1d(found, shown)))


def _adds_as_much(order: Order, growth: Growth, jumps: Jumps, same: np.ndarray, row: int) -> np.ndarray:
    """Where the operation of ``row`` adds about what it added there, and more than it ever did before; nowhere if that was too seldom."""
    sound = same & (order.token < order.token[row]) & np.isfinite(jumps.gain)
    if sound.sum() < _LEAST_SOUND or not np.isfinite(growth.error[row]):
        return np.zeros_like(same)
    most = max(float(jumps.gain[sound].max()), 1.0)
    with np.errstate(invalid="ignore"):
        is_more = (jumps.gain >= _MORE_THAN_SOUND * most) & (growth.added >= _SHARE_OF_FIRST * growth.error[row])
    return is_more & (order.position >= order.position[row]) & ~jumps.is_container


def _others(order: Order, rows: np.ndarray, row: int, had_jumped: np.ndarray) -> tuple[list[str], int, bool]:
    """Operations that jump after ``row``: the first few, how many there are, and whether attention is among them at later tokens only.

    That attention is not counted: it shows what it has cached; unless it is of a kind that ``had_jumped`` at this token or before.
    """
    kind = order.names.kind[order.name[rows]]
    by_kind = np.lexsort((order.position[rows], kind))
    firsts = rows[by_kind][np.flatnonzero(np.diff(kind[by_kind], prepend=-1))]
    firsts = firsts[np.argsort(order.position[firsts])]
    is_cached = (order.token[firsts] > order.token[row]) & order.names.say(_ATTENTION)[order.name[firsts]]
    is_cached &= ~np.isin(order.names.kind[order.name[firsts]], had_jumped)
    counted = firsts[~is_cached]
    places = [place_of(order, one) for one in counted[:_MOST_NAMED].tolist()]
    return [place.operation or place.data_id for place in places], len(counted), bool(is_cached.any())


def _reach(found: np.ndarray, compared: np.ndarray) -> Reach:
    if len(compared) < 2:
        return "one of one"
    if len(found) == len(compared):
        return "all"
    if len(found) == 1 and found[0] != compared[-1]:
        return "only here"
    if np.array_equal(found, compared[-len(found) :]):
        return "from here on"
    return "some"
