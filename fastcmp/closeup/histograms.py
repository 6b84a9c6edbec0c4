"""Errors by decade, and their quantiles, from counts: the errors themselves are not kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)
# Bits of a float64 below the sign that tell counts apart: the exponent and 8 of the significand, so that a bin is 1/256 wide at most.
_KEPT_BITS: Final = 19
_SHIFT: Final = 63 - _KEPT_BITS


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many errors there are of each size.

    Attributes
    ----------
    count : int
    zero_count : int
        Errors of exactly 0.
    decades : tuple of (int, int)
        (e, how many are from 10^e to below 10^(e+1)), ascending, without gaps.
    quantiles : tuple of (float, float)
        (share, the smallest error that this share of all errors does not exceed), to 0.4 % of its size.
    largest : float
    """

    count: int
    zero_count: int
    decades: tuple[tuple[int, int], ...]
    quantiles: tuple[tuple[float, float], ...]
    largest: float


class Spread:
    """Counts of non-negative, finite errors so far: 4 MiB, whatever is added."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0.0
        self._bins: NDArray[np.int64] = np.zeros(2**_KEPT_BITS, np.int64)
        self._decades: dict[int, int] = {}
        self._zeros = 0

    def add(self, errors: NDArray[Any]) -> None:
        """Count the errors of one piece."""
        if not errors.size:
            return
        self.count += errors.size
        self.largest = max(self.largest, float(errors.max()))
        some = errors[errors > 0.0]
        self._zeros += errors.size - some.size
        if not some.size:
            return
        self._bins += np.bincount(some.view(np.int64) >> _SHIFT, minlength=len(self._bins))
        with np.errstate(divide="ignore"):
            exponents = np.floor(np.log10(some))
        for exponent, count in zip(*np.unique(exponents[np.isfinite(exponents)], return_counts=True), strict=True):
            self._decades[int(exponent)] = self._decades.get(int(exponent), 0) + int(count)

    def histogram(self) -> Histogram:
        """What was counted."""
        known = self._decades
        decades = tuple((exponent, known.get(exponent, 0)) for exponent in range(min(known), max(known) + 1)) if known else ()
        return Histogram(self.count, self._zeros, decades, tuple((share, self._quantile(share)) for share in QUANTILES), self.largest)

    def _quantile(self, share: float) -> float:
        rank = int(np.ceil(share * self.count)) - self._zeros
        if rank <= 0:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._bins), rank))
        # The upper edge of the bin, so that the share is not exceeded.
        edge = float(np.array([min((place + 1) << _SHIFT, 0x7FEFFFFFFFFFFFFF)], np.int64).view(np.float64)[0])
        return min(edge, self.largest)
