"""Where and how large the error is: one pass over all elements of a pair, in memory that does not grow with the tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcmp.closeup.axis_errors import AxisError, AxisSums, axis_sums_of
from fastcmp.closeup.histograms import Histogram, Spread
from fastcmp.closeup.numbers import differences, nonfinite_mismatch, unequal
from fastcmp.closeup.pair_reader import Sides


@dataclass(frozen=True, slots=True)
class Element:
    """One element of both sides. ``absolute_error`` is None where one of them is not finite."""

    index: tuple[int, ...]
    golden: Any
    target: Any
    absolute_error: float | None
    relative_error: float | None


class Statistics(NamedTuple):
    """Smallest, largest and mean value."""

    lowest: float
    highest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the error of one pair.

    Attributes
    ----------
    element_count, differing_count : int
        NaN equals NaN, -0 equals 0.
    nonfinite_mismatch_count : int
        Positions where a NaN or an infinity meets something else.
    near_zero_count : int
        Finite positions without a relative error: golden at or below the floor.
    max_absolute_error : float or None
        None where nothing is finite on both sides.
    golden, target, difference : Statistics or None
        Of the finite values of a side, and of target - golden; None where there are none, and where values are complex.
    worst : tuple of Element
        Those where a NaN or an infinity meets something else first, then by absolute error, then by index.
    absolute, relative : Histogram
    axes : tuple of AxisError
        One an axis; the rows, each an index of all axes but the last, are the axis -1 where there are several leading axes.
    """

    element_count: int
    differing_count: int
    nonfinite_mismatch_count: int
    near_zero_count: int
    max_absolute_error: float | None
    golden: Statistics | None
    target: Statistics | None
    difference: Statistics | None
    worst: tuple[Element, ...]
    absolute: Histogram
    relative: Histogram
    axes: tuple[AxisError, ...]


def gather_facts(pieces: Iterable[Sides], shape: tuple[int, ...], *, worst: int, relative_floor: float) -> Facts:
    """Go through all pieces once.

    Parameters
    ----------
    pieces : iterable of Sides
        All elements, each once, in order.
    shape : tuple of int
        Golden's.
    worst : int
        How many elements to keep.
    relative_floor : float
        Golden values at or below it have no relative error.
    """
    gathering = _Gathering(shape, worst, relative_floor)
    for sides in pieces:
        gathering.add(sides)
    return gathering.facts()


class _Gathering:
    """The facts of the pieces so far."""

    def __init__(self, shape: tuple[int, ...], worst: int, relative_floor: float) -> None:
        self._shape, self._most, self._floor = shape, worst, relative_floor
        self._differing = self._nonfinite = self._near_zero = 0
        self._absolute, self._relative = Spread(), Spread()
        self._axes: list[AxisSums] = axis_sums_of(shape)
        self._statistics = [_RunningStatistics() for _ in range(3)]
        # Sorted keys of the worst so far: (is finite, -absolute error, position).
        self._worst: list[tuple[bool, float, int, Any, Any, float]] = []

    def add(self, sides: Sides) -> None:
        golden, target = sides.golden, sides.target
        mismatch = nonfinite_mismatch(golden, target)
        finite = np.isfinite(golden) & np.isfinite(target)
        signed = differences(golden, target)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.where(finite, np.abs(signed), 0.0)
            size = np.where(finite, np.abs(golden.astype(np.complex128 if golden.dtype.kind == "c" else np.float64)), 0.0)
        self._differing += int(np.count_nonzero(unequal(golden, target)))
        self._nonfinite += int(np.count_nonzero(mismatch))
        has_relative = finite & (size > self._floor)
        self._near_zero += int(np.count_nonzero(finite & ~has_relative))
        self._absolute.add(error[finite])
        with np.errstate(over="ignore"):
            relative = np.divide(error, size, out=np.zeros_like(error), where=has_relative)
        self._relative.add(relative[has_relative])
        for sums in self._axes:
            sums.add(sides.box, error, size, mismatch)
        for statistics, values in zip(self._statistics, (golden, target, signed), strict=True):
            statistics.add(values)
        self._keep_worst(sides, error, relative, has_relative, mismatch)

    def _keep_worst(
        self, sides: Sides, error: NDArray[Any], relative: NDArray[Any], has_relative: NDArray[Any], mismatch: NDArray[Any]
    ) -> None:
        flat, wrong = error.ravel(), mismatch.ravel()
        ranked = np.where(wrong, np.inf, flat)
        candidates = np.flatnonzero(ranked > 0.0)
        if len(candidates) > self._most:
            least = -np.partition(-ranked[candidates], self._most - 1)[self._most - 1]
            above = candidates[ranked[candidates] > least]
            candidates = np.concatenate([above, candidates[ranked[candidates] == least][: self._most - len(above)]])
        golden, target = sides.golden.ravel(), sides.target.ravel()
        for at in candidates.tolist():
            own = float(relative.ravel()[at]) if has_relative.ravel()[at] else np.nan
            key = (not wrong[at], -float(flat[at]), sides.box.start + at)
            self._worst.append((*key, golden[at].item(), target[at].item(), own))
        self._worst = sorted(self._worst, key=lambda one: one[:3])[: self._most]

    def facts(self) -> Facts:
        return Facts(
            element_count=prod(self._shape),
            differing_count=self._differing,
            nonfinite_mismatch_count=self._nonfinite,
            near_zero_count=self._near_zero,
            max_absolute_error=self._absolute.largest if self._absolute.count else None,
            golden=self._statistics[0].found(),
            target=self._statistics[1].found(),
            difference=self._statistics[2].found(),
            worst=tuple(self._element(*one) for one in self._worst),
            absolute=self._absolute.histogram(),
            relative=self._relative.histogram(),
            axes=tuple(sums.axis_error() for sums in self._axes),
        )

    def _element(self, is_finite: bool, negative: float, position: int, golden: Any, target: Any, relative: float) -> Element:
        index = tuple(int(one) for one in np.unravel_index(position, self._shape)) if self._shape else ()
        return Element(index, golden, target, -negative if is_finite else None, None if np.isnan(relative) or not is_finite else relative)


class _RunningStatistics:
    """`Statistics` of the values so far."""

    def __init__(self) -> None:
        self._count, self._sum, self._lowest, self._highest = 0, 0.0, np.inf, -np.inf

    def add(self, values: NDArray[Any]) -> None:
        if values.dtype.kind == "c":
            return
        finite = values[np.isfinite(values)]
        if not finite.size:
            return
        self._count += finite.size
        with np.errstate(over="ignore"):
            self._sum += float(np.sum(finite, dtype=np.float64))
        self._lowest, self._highest = min(self._lowest, float(finite.min())), max(self._highest, float(finite.max()))

    def found(self) -> Statistics | None:
        return Statistics(self._lowest, self._highest, self._sum / self._count) if self._count else None
