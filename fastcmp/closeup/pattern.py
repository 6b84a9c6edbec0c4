"""What a pattern says about a pair, and when a supposed target counts as the real one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Fewer differing elements than these fit anything.
LEAST_ELEMENTS: Final = 8
# A supposition explains a difference if it leaves so little of it ...
_LEFT: Final = 0.02
# ... or no more than so many roundings, and at most this share.
_ROUNDINGS: Final = 8.0
_LEFT_OF_ROUNDED: Final = 0.1
# Root mean square of one rounding to n significand bits, relative to the values and in units of 2^-n: 0.00166 for bfloat16.
ROUNDING_RMS: Final = 0.425
# Coarser values are steps of a quantizer rather than rounded: what a supposition leaves of them is no rounding.
_COARSEST_ROUNDED: Final = 8


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, and whether a pair has it.

    Attributes
    ----------
    name : str
        A few words: ``scale factor per row``.
    fits : bool
    evidence : str
        The numbers that speak for it, in one sentence; "" where it does not fit.
    place : str
        Where in the tensor, if not everywhere: ``[3:8, :]``.
    """

    name: str
    fits: bool
    evidence: str = ""
    place: str = ""


def no(name: str) -> Pattern:
    """The pattern does not fit."""
    return Pattern(name, False)


@dataclass(frozen=True, slots=True)
class Explained:
    """How much of a difference a supposed target leaves. ``left`` and ``before`` are relative to golden's norm."""

    fits: bool
    left: float
    before: float

    def __str__(self) -> str:
        if not self.left:
            return f"nothing is left of a relative distance of {self.before:.2g}"
        return f"{self.left:.1g} is left of a relative distance of {self.before:.2g}"


class Couple:
    """Golden and target as float64 arrays of one shape, and what several patterns ask about them."""

    def __init__(self, golden: Floats, target: Floats) -> None:
        assert golden.shape == target.shape
        self.golden, self.target = golden, target

    @property
    def shape(self) -> tuple[int, ...]:
        return self.golden.shape

    @cached_property
    def finite(self) -> Mask:
        """Where both sides are finite."""
        return np.isfinite(self.golden) & np.isfinite(self.target)

    @cached_property
    def difference(self) -> Floats:
        """target - golden, 0 where a side is not finite."""
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(self.finite, self.target - self.golden, 0.0)

    @cached_property
    def differing(self) -> int:
        """How many finite positions differ."""
        return int(np.count_nonzero(self.difference))

    @cached_property
    def has_enough(self) -> bool:
        """True if so many finite positions differ that a pattern among them means something, and none is out of bounds for squares."""
        return self.differing >= LEAST_ELEMENTS and np.isfinite(self.distance) and np.isfinite(self.size)

    @cached_property
    def distance(self) -> float:
        """Norm of the difference."""
        return norm(self.difference)

    @cached_property
    def size(self) -> float:
        """Norm of golden, of target where golden is zero; over the finite positions."""
        return norm(np.where(self.finite, self.golden, 0.0)) or norm(np.where(self.finite, self.target, 0.0))

    @cached_property
    def golden_bits(self) -> int:
        """Significand bits that golden makes use of."""
        return significand_bits(self.golden)

    @cached_property
    def bits(self) -> int:
        """Significand bits of the coarser side."""
        return min(self.golden_bits, significand_bits(self.target))

    @cached_property
    def rounding(self) -> float:
        """Norm of the difference that one rounding to `bits` makes, relative to `size`."""
        return ROUNDING_RMS * 2.0 ** -max(self.bits, _COARSEST_ROUNDED)

    @cached_property
    def largest_rounding(self) -> float:
        """The most that one rounding of target to `bits` changes, relative to `size`: half a unit in the last place of powers of two."""
        return 2.0 ** -max(self.bits, _COARSEST_ROUNDED) * norm(np.where(self.finite, self.target, 0.0)) / self.size

    def explain(self, supposed: Floats) -> Explained:
        """Whether ``supposed`` is what target holds: it leaves 2 % of the difference, or only roundings of the coarser side."""
        if not self.has_enough or self._is_far(supposed):
            return Explained(False, np.nan, np.nan)
        finite = self.finite & np.isfinite(supposed)
        with np.errstate(invalid="ignore", over="ignore"):
            remainder = np.where(finite, self.target - supposed, 0.0)
        left = norm(remainder)
        is_rounding = left <= _ROUNDINGS * self.rounding * self.size and left <= _LEFT_OF_ROUNDED * self.distance
        fits = np.isfinite(left) and (left <= _LEFT * self.distance or is_rounding) and bool(finite.sum() >= self.finite.sum() // 2)
        return Explained(bool(fits) and self._explains_most(remainder), left / self.size, self.distance / self.size)

    @cached_property
    def _outweighing(self) -> NDArray[np.intp]:
        """Flat positions of the few elements that have half of the squared difference between them; empty where no few have."""
        apart = np.abs(self.difference).reshape(-1)
        few = LEAST_ELEMENTS - 1
        if few * (float(apart.max(initial=0.0)) / self.distance) ** 2 < 0.5:
            return np.empty(0, np.intp)
        largest = np.argpartition(apart, -few)[-few:]
        return largest if norm(apart[largest]) >= 0.5**0.5 * self.distance else np.empty(0, np.intp)

    def _explains_most(self, remainder: Floats) -> bool:
        """False where so few elements as fit anything outweigh all others, and of those others half of the difference is left."""
        if not self._outweighing.size:
            return True
        before, left = (np.delete(side, self._outweighing) for side in (self.difference, remainder))
        return norm(left) <= 0.5 * norm(before)

    def _is_far(self, supposed: Floats) -> bool:
        """True where a sample that has its share of the difference keeps half of it: most suppositions are told off in no time."""
        positions = sample_positions(self.golden.size, 4096)
        if len(positions) == self.golden.size:
            return False
        before = self.difference.reshape(-1)[positions]
        if norm(before) < 0.5 * self.distance * (len(positions) / self.golden.size) ** 0.5:
            return False
        with np.errstate(invalid="ignore", over="ignore"):
            left = self.target.reshape(-1)[positions] - supposed[np.unravel_index(positions, self.shape)]
        return norm(np.where(np.isfinite(left), left, 0.0)) > 0.5 * norm(before)


def norm(values: Floats) -> float:
    """Euclidean norm without overflow; inf or NaN only where a value is."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    flat = values.ravel()
    if 1e-140 < largest < 1e140:
        return float(np.sqrt(np.dot(flat, flat)))
    scaled = flat / largest
    return float(np.sqrt(np.dot(scaled, scaled))) * largest


def norms_along(values: Floats, axis: int) -> Floats:
    """Root mean square of each slice at one index of ``axis``, shape (extent,)."""
    others = tuple(other for other in range(values.ndim) if other != axis)
    with np.errstate(over="ignore"):
        return np.sqrt(np.mean(np.square(values), axis=others)) if others else np.abs(values)


def significand_bits(values: Floats) -> int:
    """Significand bits that the finite values make use of, 1 to 53: 8 for bfloat16 widened, 24 for float32."""
    bits = np.where(np.isfinite(values), values, 0.0).reshape(-1).view(np.int64)
    used = int(np.bitwise_or.reduce(bits)) & (2**52 - 1)
    return 53 - ((used & -used).bit_length() - 1) if used else 1


def sample_positions(count: int, most: int = 512) -> NDArray[np.intp]:
    """Up to ``most`` positions of a flat array, spread over it without a period."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.random.default_rng(count).integers(0, count, most))


def indices_text(indices: NDArray[np.intp] | list[int], most: int = 4) -> str:
    """Ascending indices as runs: ``3``, ``64..127``, ``0, 2, 5..7``; cut after ``most`` runs."""
    found = np.asarray(indices)
    edges = np.flatnonzero(np.diff(found) != 1) + 1
    runs = [(int(run[0]), int(run[-1])) for run in np.split(found, edges) if len(run)]
    shown = ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in runs[:most])
    return f"{shown} and {len(runs) - most} more runs" if len(runs) > most else shown
