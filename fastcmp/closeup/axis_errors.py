"""How the error is spread along each axis: which indices carry it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.closeup.boxes import Box

# Indices that are told apart on one axis; of longer axes, so many runs of equal length are.
MOST_RUNS: Final = 4096
ROWS: Final = -1
_CARRIED: Final = 0.9


@dataclass(frozen=True, slots=True)
class AxisError:
    """The error by the index of one axis.

    Attributes
    ----------
    axis : int
        -1: the rows, counted through all axes but the last.
    extent, run_length : int
        So many neighbouring indices are taken together; 1 unless the axis is long.
    distances : tuple of float
        Relative distance of each run of indices: sqrt(sum (t-g)^2 / sum g^2) over its finite positions; inf where golden is all zero.
    shares : tuple of float
        Of the squared error of all, what lies in each run.
    mismatches : tuple of int
        Positions of each run where a NaN or an infinity meets something else.
    carrying : tuple of (int, int) or None
        The shortest half-open range of indices that carries 90 % of the squared error; None where there is no error.
    worst : tuple of int
        The first index of the five runs that carry most, those that carry any.
    """

    axis: int
    extent: int
    run_length: int
    distances: tuple[float, ...]
    shares: tuple[float, ...]
    mismatches: tuple[int, ...]
    carrying: tuple[int, int] | None
    worst: tuple[int, ...]


def axis_sums_of(shape: tuple[int, ...]) -> list[AxisSums]:
    """Empty sums of each axis longer than 1, and of the rows where these are no axis."""
    axes = [AxisSums(axis, extent) for axis, extent in enumerate(shape) if extent > 1]
    leading = shape[:-1]
    if len([extent for extent in leading if extent > 1]) > 1 and 0 not in shape:
        axes.append(AxisSums(ROWS, prod(leading), shape[-1]))
    return axes


class AxisSums:
    """Sums of squares by the index of one axis: at most `MOST_RUNS` of each. ``row_length`` matters to the rows only."""

    def __init__(self, axis: int, extent: int, row_length: int = 1) -> None:
        self._axis, self._extent, self._row_length = axis, extent, row_length
        self._run = -(-extent // MOST_RUNS)
        count = -(-extent // self._run)
        self._error, self._size = np.zeros(count), np.zeros(count)
        self._mismatches = np.zeros(count, np.int64)

    def add(self, box: Box, error: NDArray[np.float64], size: NDArray[np.float64], mismatch: NDArray[np.bool_]) -> None:
        """Add one box: arrays of its shape, 0 where a position takes no part."""
        first, length = self._range(box)
        indices = (first + np.arange(length)) // self._run
        with np.errstate(over="ignore"):
            for sums, values in ((self._error, np.square(error)), (self._size, np.square(size)), (self._mismatches, mismatch)):
                np.add.at(sums, indices, self._along(values, length))

    def _range(self, box: Box) -> tuple[int, int]:
        if self._axis != ROWS:
            return box.origin[self._axis], box.extents[self._axis]
        # A box holds whole rows, or a part of one.
        return box.start // self._row_length, max(1, (box.stop - box.start) // self._row_length)

    def _along(self, values: NDArray, length: int) -> NDArray:
        if self._axis == ROWS:
            return values.reshape(length, -1).sum(axis=1)
        return values.sum(axis=tuple(axis for axis in range(values.ndim) if axis != self._axis))

    def axis_error(self) -> AxisError:
        """What was added."""
        with np.errstate(over="ignore"):
            total = float(self._error.sum())
        total = total if np.isfinite(total) else 0.0  # squares beyond float64: no share can be told
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = np.where(self._error == 0.0, 0.0, np.sqrt(self._error / self._size))
            shares = self._error / total if total else np.zeros_like(self._error)
        order = np.argsort(-shares, kind="stable")[:5]
        return AxisError(
            self._axis,
            self._extent,
            self._run,
            tuple(distances.tolist()),
            tuple(shares.tolist()),
            tuple(self._mismatches.tolist()),
            self._carrying(shares) if total else None,
            tuple(int(one) * self._run for one in order if shares[one] > 0.0),
        )

    def _carrying(self, shares: NDArray[np.float64]) -> tuple[int, int]:
        """The shortest run that holds nine tenths of all; the first one of its length."""
        sums = np.concatenate([[0.0], np.cumsum(shares)])
        stops = np.searchsorted(sums, sums[:-1] + _CARRIED * sums[-1] * (1 - 1e-12))
        lengths = np.where(stops < len(sums), stops - np.arange(len(stops)), len(sums))
        first = int(np.argmin(lengths))
        return first * self._run, min(int(stops[first]) * self._run, self._extent)
