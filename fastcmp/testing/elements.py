"""Element by element: how many are beyond a tolerance, and which are the worst; what no kernel keeps and a message needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.formats.decode import decode
from fastcmp.testing.handed import Pieces

# Widened at a time: a few buffers of this many float64 stay in L2.
_BLOCK: Final = 32768


class Tolerance(NamedTuple):
    """|target - golden| <= atol + rtol * |golden|, as `torch.isclose`."""

    rtol: float
    atol: float
    equal_nan: bool


class Element(NamedTuple):
    """One position: its number in C order, what is remarkable about it, and both values."""

    position: int
    amount: Any
    golden: Any
    target: Any


@dataclass(slots=True)
class Elements:
    """What was seen of a pair.

    Attributes
    ----------
    mismatched : int
        Positions beyond the tolerance.
    both_nan : int
    greatest_absolute, greatest_relative : Element or None
        Of the mismatched positions that are finite on both sides, the first where several are as great.
    first_nonfinite : Element or None
        The first mismatched position with a NaN or an infinity on either side.
    """

    mismatched: int = 0
    both_nan: int = 0
    greatest_absolute: Element | None = None
    greatest_relative: Element | None = None
    first_nonfinite: Element | None = None


def look_at(
    golden: Pieces, golden_dtype: str, target: Pieces, target_dtype: str, edges: Sequence[int], tolerance: Tolerance, scale: float | None
) -> Elements:
    """Go through all elements of a pair whose pieces are open; differences are formed in float64, those of integers exactly."""
    seen = Elements()
    for start, g, t in _blocks(golden, golden_dtype, target, target_dtype, edges):
        with np.errstate(all="ignore"):
            _take(seen, start, *_scaled(g, golden_dtype, t, target_dtype, scale), tolerance)
    return seen


def _blocks(
    golden: Pieces, golden_dtype: str, target: Pieces, target_dtype: str, edges: Sequence[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for start, stop in pairwise(edges):
        g, t = golden.piece(start, stop), target.piece(start, stop)
        for first in range(0, stop - start, _BLOCK):
            yield start + first, decode(g[first : first + _BLOCK], golden_dtype), decode(t[first : first + _BLOCK], target_dtype)


def _scaled(g: np.ndarray, golden_dtype: str, t: np.ndarray, target_dtype: str, scale: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Both sides in one dtype: int64 or uint64 where every value is one, else float64 or complex128."""
    kinds = [DTYPES[golden_dtype].kind, DTYPES[target_dtype].kind]
    if not set(kinds) <= {"int", "bool"}:
        sides = [
            side.astype(np.float64) * scale if kind == "int" and scale is not None else side
            for side, kind in zip((g, t), kinds, strict=True)
        ]
        wide = np.complex128 if "complex" in kinds else np.float64
        return sides[0].astype(wide, copy=False), sides[1].astype(wide, copy=False)
    if g.dtype == t.dtype == np.uint64:
        return g, t
    if np.uint64 in (g.dtype, t.dtype):
        return g.astype(object), t.astype(object)  # numpy has no integer for both; slow, exact and rare
    return g.astype(np.int64, copy=False), t.astype(np.int64, copy=False)


def _take(seen: Elements, start: int, g: np.ndarray, t: np.ndarray, tolerance: Tolerance) -> None:
    difference = _difference(g, t)
    amounts = difference.astype(np.float64)
    golden_size = np.abs(g if g.dtype.kind == "c" else g.astype(np.float64))
    finite, both_nan = np.ones(len(g), bool), np.zeros(len(g), bool)
    if g.dtype.kind in "fc":
        finite, both_nan = np.isfinite(g) & np.isfinite(t), np.isnan(g) & np.isnan(t)
    close = (g == t).astype(bool) | (finite & (amounts <= tolerance.atol + tolerance.rtol * golden_size))
    if tolerance.equal_nan:
        close |= both_nan
    beyond = ~close
    seen.mismatched += int(beyond.sum())
    seen.both_nan += int(both_nan.sum())
    odd = np.flatnonzero(beyond & ~finite)
    if len(odd) and seen.first_nonfinite is None:
        seen.first_nonfinite = _element(start, int(odd[0]), None, g, t)
    positions = np.flatnonzero(beyond & finite)
    if not len(positions):
        return
    at = int(positions[np.argmax(amounts[positions])])
    if seen.greatest_absolute is None or difference[at] > seen.greatest_absolute.amount:
        seen.greatest_absolute = _element(start, at, difference[at], g, t)
    relative = amounts[positions] / golden_size[positions]
    most = int(np.argmax(relative))
    if seen.greatest_relative is None or relative[most] > seen.greatest_relative.amount:
        seen.greatest_relative = _element(start, int(positions[most]), relative[most], g, t)


def _difference(g: np.ndarray, t: np.ndarray) -> np.ndarray:
    """|t - g|; of integers exactly."""
    if g.dtype.kind not in "iu":
        return np.abs(t - g)
    # As uint64 the smaller from the larger is right even where int64 overflows.
    one, other = g.astype(np.uint64, copy=False), t.astype(np.uint64, copy=False)
    return np.where(g > t, one - other, other - one)


def _element(start: int, at: int, amount: Any, g: np.ndarray, t: np.ndarray) -> Element:
    return Element(start + at, *(value.item() if isinstance(value, np.generic) else value for value in (amount, g[at], t[at])))
