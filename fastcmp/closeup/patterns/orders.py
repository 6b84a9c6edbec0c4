"""The right values in the wrong place: transposed, reversed, shifted along an axis, slices in another order, any other order."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from fastcmp.closeup.pattern import LEAST_ELEMENTS, Couple, Explained, Floats, Pattern, indices_text, no, sample_positions

# All orders of more axes than these are more than a person would look at.
_MOST_AXES = 5
# A matrix of so many squared correlations is made at once.
_MOST_SLICES = 2048
_SLICE_SAMPLE = 1024
_ALIKE = 0.99
# Lines of this length at most are searched for a shift: the transform of a longer one takes seconds.
_LONGEST_LINE = 2**22


def transposed(golden: Floats, target: Floats) -> Pattern:
    """Two or more axes changed places: the target has them so, or its memory has and its shape does not say so.

    The only pattern for sides of different shapes, as long as they hold the same number of elements.
    """
    name = "transposed"
    if golden.ndim < 2 or golden.size < LEAST_ELEMENTS or golden.size != target.size:
        return no(name)
    if golden.shape != target.shape:
        for order in _orders(golden.shape):
            moved = golden.transpose(order)
            if moved.shape == target.shape and (explained := _explain_moved(golden, moved, target)).fits:
                return Pattern(name, True, f"target is golden with the axes {order}; {explained}")
    shape = golden.shape
    for one, other in combinations([axis for axis in range(len(shape)) if shape[axis] > 1], 2):
        moved = golden.swapaxes(one, other)
        if (explained := _explain_moved(golden, moved, target)).fits:
            how = "" if shape[one] == shape[other] else " in memory, its shape is not"
            return Pattern(name, True, f"axes {one} and {other} are swapped{how}; {explained}")
        swapped = list(shape)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        if shape[one] != shape[other]:
            moved = golden.reshape(swapped).swapaxes(one, other)
            if (explained := _explain_moved(golden, moved, target)).fits:
                return Pattern(name, True, f"axes {one} and {other} are swapped back, though golden's are not swapped; {explained}")
    return no(name)


def _orders(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    long = [axis for axis in range(len(shape)) if shape[axis] > 1]
    if len(long) > _MOST_AXES or len(shape) > _MOST_AXES:
        return []
    return [order for order in permutations(range(len(shape))) if order != tuple(range(len(shape)))]


def _explain_moved(golden: Floats, moved: Floats, target: Floats) -> Explained:
    """Whether target holds ``moved``, a view of golden, read in C order; asked at a sample first, for a copy of all takes longest."""
    positions = sample_positions(moved.size)
    at_sample = moved[np.unravel_index(positions, moved.shape)]
    there = target.reshape(-1)[positions]
    nothing = Explained(False, np.nan, np.nan)
    if not _is_near(at_sample, there):
        return nothing
    # The distance before is that of the elements as they lie.
    return Couple(golden.reshape(target.shape), target).explain(np.ascontiguousarray(moved).reshape(target.shape))


def _is_near(supposed: Floats, target: Floats) -> bool:
    finite = np.isfinite(supposed) & np.isfinite(target)
    with np.errstate(over="ignore", invalid="ignore"):
        left, size = np.linalg.norm((supposed - target)[finite]), np.linalg.norm(target[finite])
    return bool(left <= 0.1 * size)


def reversed_along(couple: Couple) -> Pattern:
    """The indices of an axis run backwards."""
    name = "reversed"
    for axis in range(couple.golden.ndim):
        if couple.shape[axis] > 1 and (explained := couple.explain(np.flip(couple.golden, axis))).fits:
            return Pattern(name, True, f"axis {axis} runs backwards; {explained}")
    return no(name)


def rolled(couple: Couple) -> Pattern:
    """Everything moved by some indices along an axis, or by some elements in memory; what came in at the edge may be anything."""
    name = "shifted along an axis"
    if not couple.has_enough:
        return no(name)
    golden, target = couple.golden, couple.target
    axes = [axis for axis in range(golden.ndim) if couple.shape[axis] >= 4]
    shifts = {
        axis: _likely_shift(*(np.moveaxis(side, axis, 0).reshape(couple.shape[axis], -1) for side in (golden, target))) for axis in axes
    }
    for axis, shift in shifts.items():
        if shift and (explained := couple.explain(np.roll(golden, shift, axis))).fits:
            return Pattern(name, True, f"{_along(axis, shift)}{_around(couple, axis, shift)}; {explained}")
    in_memory = Couple(golden.reshape(-1), target.reshape(-1))
    shift = _likely_shift(golden.reshape(-1, 1), target.reshape(-1, 1)) if len(couple.shape) > 1 else 0
    if shift and (explained := in_memory.explain(np.roll(in_memory.golden, shift))).fits:
        return Pattern(name, True, f"{_in_memory(shift)}, all around; {explained}")
    for axis, along in shifts.items():
        if along and (explained := _explain_inner(couple, axis, along)).fits:
            return Pattern(name, True, f"{_along(axis, along)}; {explained}")
    if shift and (explained := _explain_inner(in_memory, 0, shift)).fits:
        return Pattern(name, True, f"{_in_memory(shift)}; {explained}")
    return no(name)


def _along(axis: int, shift: int) -> str:
    return f"index i of axis {axis} holds what belongs to i {_signed(-shift)}"


def _around(couple: Couple, axis: int, shift: int) -> str:
    edge = slice(None, shift) if shift > 0 else slice(shift, None)
    return ", all around" if np.moveaxis(couple.finite, axis, 0)[edge].any() else ""


def _in_memory(shift: int) -> str:
    return f"in memory, every element stands {abs(shift)} positions {'later' if shift > 0 else 'earlier'}"


def _explain_inner(couple: Couple, axis: int, shift: int) -> Explained:
    """Whether golden, shifted, is what target holds where both have it."""
    if abs(shift) > couple.shape[axis] // 2:
        return Explained(False, np.nan, np.nan)
    kept: list[slice] = [slice(None)] * len(couple.shape)
    source: list[slice] = [slice(None)] * len(couple.shape)
    kept[axis], source[axis] = (slice(shift, None), slice(None, -shift)) if shift > 0 else (slice(None, shift), slice(-shift, None))
    return Couple(couple.golden[tuple(kept)], couple.target[tuple(kept)]).explain(couple.golden[tuple(source)])


def _likely_shift(golden: Floats, target: Floats) -> int:
    """By how many indices of axis 0 the target is most like golden, from -n/2 to n/2; of a few lines along the axis together."""
    length = golden.shape[0]
    if length > _LONGEST_LINE:
        return 0
    columns = sample_positions(golden.shape[1], max(1, min(16, 2**20 // length)))
    one, other = (np.nan_to_num(side[:, columns], nan=0.0, posinf=0.0, neginf=0.0) for side in (golden, target))
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        alike = np.fft.irfft(np.conj(np.fft.rfft(one, axis=0)) * np.fft.rfft(other, axis=0), n=length, axis=0).sum(axis=1)
    if not np.isfinite(alike).all():
        return 0
    shift = int(np.argmax(alike))
    return shift if shift <= length // 2 else shift - length


def slices_permuted(couple: Couple) -> Pattern:
    """The indices of an axis stand in another order, or some stand several times: rows, heads, experts."""
    name = "slices in another order"
    if not couple.has_enough or couple.golden.ndim < 2:
        return no(name)
    for axis, length in enumerate(couple.shape):
        if not 2 <= length <= _MOST_SLICES or couple.golden.size // length < 2 * LEAST_ELEMENTS:
            continue
        source = _sources(couple, axis)
        if source is None:
            continue
        explained = couple.explain(np.take(couple.golden, source, axis=axis))
        if explained.fits:
            return Pattern(name, True, f"axis {axis} holds golden's indices {_order_text(source)}; {explained}")
    return no(name)


def _sources(couple: Couple, axis: int) -> NDArray[np.intp] | None:
    """Of each slice of target, golden's slice that it equals in direction; None unless all have one, and not all their own."""
    length = couple.shape[axis]
    golden, target = (np.moveaxis(side, axis, 0).reshape(length, -1) for side in (couple.golden, couple.target))
    columns = sample_positions(golden.shape[1], _SLICE_SAMPLE)
    one, other = (_normalized(side[:, columns]) for side in (golden, target))
    alike = other @ one.T
    source = np.argmax(alike, axis=1)
    at_best = alike[np.arange(length), source]
    is_zero = ~other.any(axis=1)
    source = np.where(is_zero | (alike.diagonal() >= at_best), np.arange(length), source)
    moved = source != np.arange(length)
    return source if moved.any() and (at_best[moved] >= _ALIKE).all() else None


def _normalized(rows: Floats) -> Floats:
    rows = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.nan_to_num(rows, nan=0.0)


def _order_text(source: NDArray[np.intp], most: int = 12) -> str:
    shown = ", ".join(map(str, source[:most].tolist()))
    if len(source) > most:
        return f"{shown}, ... ({indices_text(np.flatnonzero(source != np.arange(len(source))))} moved)"
    return shown


def same_values(couple: Couple) -> Pattern:
    """The same values, bit for bit, in some other order."""
    name = "same values in another order"
    golden, target = couple.golden.ravel(), couple.target.ravel()
    if couple.differing < LEAST_ELEMENTS or _fingerprint(golden) != _fingerprint(target):
        return no(name)
    distinct = len(np.unique(golden[:65536]))
    if distinct < LEAST_ELEMENTS:
        return no(name)
    return Pattern(
        name, True, f"sorted, both sides are equal; {couple.differing} of {couple.golden.size} positions hold another one's value"
    )


def _fingerprint(values: Floats) -> tuple[int, int]:
    """The same for any order, another one for other values but once in 2^64: a sum of mixed bits."""
    bits = (values + 0.0).view(np.uint64).copy()
    bits ^= bits >> np.uint64(31)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits ^= bits >> np.uint64(29)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(32)
    return int(np.add.reduce(bits)), int(np.bitwise_xor.reduce(bits))


def _signed(shift: int) -> str:
    return f"+ {shift}" if shift > 0 else f"- {-shift}"
