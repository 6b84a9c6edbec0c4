"""Operations that add error of their own: where the error jumps although what went in was fine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fastcmp.analysis.growth import Growth, texts_equal
from fastcmp.analysis.order import Order
from fastcmp.name_expressions import INPUT, OUTPUT
from fastcmp.verdict import FAIL

# A correct bfloat16 operation makes at most 2.1 times the error of its inputs (or of one rounding) out of it, measured over each
# operation of eight layers and six tokens; a wrong one made 70 to 170 times as much. So 8 is far from both.
JUMP: Final = 8.0
# Half of that is a jump where nothing like it is seen in the same operation elsewhere, in other layers and at other tokens. It must be of
# many roundings then: in the first layer, where nothing is inherited, a correct operation too has a gain that it has nowhere else.
_UNLIKE_OTHERS: Final = 4.0
_MANY_ROUNDINGS: Final = 16.0
_LEAST_OTHERS: Final = 8
_MOST_SPREAD: Final = 6.0


@dataclass(frozen=True)
class Jumps:
    """Arrays with an entry per row of the report.

    Attributes
    ----------
    gain : ndarray of float64
        The error in multiples of what it came from: the largest error of the operation's inputs, where they were not dumped (and for what
        holds other operations) the largest error before it; at least one rounding. NaN: not known.
    is_jump : ndarray of bool
        The gain is at least `JUMP`, or at least half of that, of many roundings, and unlike the gain of the same operation elsewhere.
    is_container : ndarray of bool
        Its operation holds others that were dumped as well: they tell more.
    unknown_inputs : ndarray of int64
        Inputs of the operation that could not be compared.
    usable : ndarray of bool
        Compared, and not excluded.
    """

    gain: np.ndarray
    is_jump: np.ndarray
    is_container: np.ndarray
    unknown_inputs: np.ndarray
    usable: np.ndarray


def find_jumps(order: Order, growth: Growth, excluded: np.ndarray) -> Jumps:
    """The jumps of every row; none where it is ``excluded``."""
    usable = ~excluded & ~np.isnan(growth.error)
    part = order.names.part[order.name]
    is_container = order.names.holds_others[order.name]
    came_from = np.where(is_container, np.fmax(growth.inherited, growth.before), growth.reference)
    came_from = np.maximum(came_from, growth.floor)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(growth.error == 0, 0.0, growth.error / came_from)  # inf / inf: NaN, nothing of its own is seen
    is_candidate = ((part == OUTPUT) | (part == INPUT)) & ~np.isnan(gain) & usable
    is_candidate &= ~growth.is_integer | _is_first_integer(order, growth)
    others = _typical(order.names.kind[order.name], np.where(is_candidate, gain, np.nan))
    is_alone = (gain >= _UNLIKE_OTHERS) & (gain >= others) & (growth.error >= _MANY_ROUNDINGS * growth.floor)
    is_jump = is_candidate & ((gain >= JUMP) | is_alone)
    return Jumps(gain, is_jump, is_container, _unknown_inputs(order, part, growth.error), usable)


def failed_rows(table: pa.Table) -> np.ndarray:
    """Where the verdict is fail."""
    return texts_equal(table, "verdict", FAIL)


def _is_first_integer(order: Order, growth: Growth) -> np.ndarray:
    """Integers that differ are a jump where nothing that they may have been chosen by had any error, or where they came from outside."""
    differs = growth.is_integer & (growth.error > 0)
    part = order.names.part[order.name]
    if not differs.any():
        return differs
    first = order.position[differs].min()
    from_outside = (part == INPUT) & (order.position == first)
    return differs & ((growth.reference == 0) | from_outside)


def _typical(kind: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """For each row, the gain from which on it is unlike its kind: far above the median, by the spread of the middle half; inf for few."""
    rows = np.flatnonzero(~np.isnan(gain))
    limit = np.full(len(gain), np.inf)
    if not len(rows):
        return limit
    values = np.log(np.maximum(gain[rows], 1e-3))
    by_kind = np.lexsort((values, kind[rows]))
    sorted_kinds, sorted_values = kind[rows][by_kind], values[by_kind]
    starts = np.flatnonzero(np.diff(sorted_kinds, prepend=-1))
    counts = np.diff(np.append(starts, len(rows)))
    middle, upper = sorted_values[starts + counts // 2], sorted_values[starts + (counts * 3) // 4]
    finite = np.isfinite(middle) & np.isfinite(upper) & (counts >= _LEAST_OTHERS)
    with np.errstate(invalid="ignore"):
        limits = middle + np.maximum(_MOST_SPREAD * (upper - middle), np.log(_UNLIKE_OTHERS))
    group = np.cumsum(np.diff(sorted_kinds, prepend=-1) != 0) - 1
    limit[rows[by_kind]] = np.where(finite, np.exp(np.where(finite, limits, 0.0)), np.inf)[group]
    return limit


def _unknown_inputs(order: Order, part: np.ndarray, error: np.ndarray) -> np.ndarray:
    owner = order.names.owner[order.name]
    calls, call = np.unique(order.step * (int(owner.max(initial=0)) + 1) + owner, return_inverse=True)
    counts = np.bincount(call[(part == INPUT) & np.isnan(error)], minlength=len(calls))
    return np.where(part == OUTPUT, counts[call], 0)
