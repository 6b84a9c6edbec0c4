"""Where the error is: blocks of zeros or NaN, one head or channel only, from an index on, growing along an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.closeup.pattern import LEAST_ELEMENTS, Couple, Floats, Mask, Pattern, indices_text, no, norms_along

# Slices of fewer elements are unlike each other by chance.
_LEAST_IN_SLICE: Final = 16
# The affected slices are at least so many times worse than all others.
_GAP: Final = 8.0
_GROWTH: Final = 3.0
_LEAST_INDICES: Final = 8
# How probable it may be that the zeros of whole slices are there by chance.
_BY_CHANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Affected:
    """The indices of one axis at which a tensor is far worse than at all others.

    ``times``: how many times worse, inf where the others are equal.
    """

    axis: int
    indices: NDArray[np.intp]
    extent: int
    times: float

    @property
    def is_run(self) -> bool:
        """True if they follow one another."""
        return bool(self.indices[-1] - self.indices[0] + 1 == len(self.indices))


def zero_block(couple: Couple) -> Pattern:
    """The target is zero over whole slices or in a box in which golden is not."""
    name = "block of zeros"
    blank = couple.target == 0.0
    found = _block(blank, blank & (couple.golden != 0.0))
    return no(name) if found is None else Pattern(name, True, f"target is zero {found}")


def nan_block(couple: Couple) -> Pattern:
    """The target is NaN where golden is not: over whole slices, in a box, or at some positions."""
    name = "block of NaN"
    blank = np.isnan(couple.target)
    wrong = blank & ~np.isnan(couple.golden)
    count = int(np.count_nonzero(wrong))
    if not count:
        return no(name)
    found = _block(blank, wrong, least=1)
    if found is None:
        few = count < LEAST_ELEMENTS
        return Pattern("few NaN" if few else "scattered NaN", True, f"target is NaN where golden is not, {_in_no_block(wrong, count)}")
    return Pattern(name, True, f"target is NaN {found}")


def inf_block(couple: Couple) -> Pattern:
    """The target is infinite where golden is finite."""
    name = "infinities"
    blank = np.isinf(couple.target)
    wrong = blank & np.isfinite(couple.golden)
    count = int(np.count_nonzero(wrong))
    if not count:
        return no(name)
    found = _block(blank, wrong, least=1) or _in_no_block(wrong, count)
    largest = float(np.max(np.abs(couple.golden[wrong])))
    return Pattern(name, True, f"target is infinite {found}; golden is {largest:.3g} there at most")


def golden_nan(couple: Couple) -> Pattern:
    """Golden is NaN where the target is a number: the reference itself is wrong there."""
    name = "NaN in golden"
    blank = np.isnan(couple.golden)
    wrong = blank & ~np.isnan(couple.target)
    count = int(np.count_nonzero(wrong))
    if not count:
        return no(name)
    found = _block(blank, wrong, least=1) or _in_no_block(wrong, count)
    return Pattern(name, True, f"golden is NaN {found}, where target is a number: the reference itself is wrong there")


def filled_infinities(couple: Couple) -> Pattern:
    """What is infinite in golden is one finite number in target: a mask that is filled with the lowest number of a dtype."""
    name = "filled infinities"
    infinite = np.isinf(couple.golden)
    count = int(np.count_nonzero(infinite))
    if not count:
        return no(name)
    values = np.unique(couple.target[infinite])
    if len(values) != 1 or not np.isfinite(values[0]):
        return no(name)
    return Pattern(name, True, f"all {count} infinities of golden are {values[0]:.6g} in target, as a mask filled with a finite number is")


def _block(blank: Mask, wrong: Mask, least: int = LEAST_ELEMENTS) -> str | None:
    """Where the wrong positions are, if they fill everything, slices of an axis, or a box; None where they are scattered.

    ``blank``: positions of target that are zero (NaN, infinite), of which those are wrong where golden is not so. A block is blank
    all over, wrong or not.
    """
    count = int(np.count_nonzero(wrong))
    if count < least:
        return None
    if blank.all():
        return "everywhere"
    slices = [found for axis in range(wrong.ndim) if (found := _whole_slices(blank, wrong, axis, least))]
    if slices:
        return min(slices)[1]
    return _box_text(blank, wrong, count)


def _in_no_block(wrong: Mask, count: int) -> str:
    doubt = "too few to tell a pattern" if count < LEAST_ELEMENTS else "in no block"
    return f"at {count} of {wrong.size} positions, {doubt}"


def _whole_slices(blank: Mask, wrong: Mask, axis: int, least: int) -> tuple[int, str] | None:
    others = tuple(other for other in range(wrong.ndim) if other != axis)
    if not others:
        return None
    wrong_counts = np.count_nonzero(wrong, axis=others)
    is_whole = blank.all(axis=others) & (wrong_counts > 0)
    indices = np.flatnonzero(is_whole)
    inside, outside = int(wrong_counts[is_whole].sum()), int(wrong_counts[~is_whole].sum())
    if not len(indices) or inside < least or outside > inside:
        return None
    # Blank by chance, as an activation makes zeros: so many positions of a slice would have to be so together.
    share = np.count_nonzero(blank) / blank.size - len(indices) / len(is_whole)
    if share > 0.0 and len(is_whole) * share ** (blank.size // len(is_whole)) > _BY_CHANCE:
        return None
    rest = f", and at {outside} more positions" if outside else ", and nowhere else"
    head = _as_head(indices, wrong.shape[axis]) if axis == wrong.ndim - 1 else ""
    text = f"at {_index_words(indices)} of axis {axis} ({len(indices)} of {wrong.shape[axis]}{head}){rest}"
    return outside, text


def _as_head(indices: NDArray[np.intp], extent: int) -> str:
    """A run of channels that begins and ends where a head would."""
    count = len(indices)
    is_run = indices[-1] - indices[0] + 1 == count
    if not is_run or count < 2 or extent % count or indices[0] % count or count == extent:
        return ""
    return f", as head {indices[0] // count} of {extent // count}"


def _index_words(indices: NDArray[np.intp]) -> str:
    return f"{'index' if len(indices) == 1 else 'indices'} {indices_text(indices)}"


def _box_text(blank: Mask, wrong: Mask, count: int) -> str | None:
    hull = [np.flatnonzero(wrong.any(axis=tuple(other for other in range(wrong.ndim) if other != axis))) for axis in range(wrong.ndim)]
    box = tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in hull)
    if count == 1:  # a single position fills its hull
        return f"at one position, {place_text(box, wrong.shape)}"
    # Few that are wrong say nothing about a box that is blank on both sides between them.
    if not (wrong if count < LEAST_ELEMENTS else blank)[box].all():
        return None
    return f"in the box {place_text(box, wrong.shape)}, {count} positions, and nowhere else"


def place_text(box: tuple[slice, ...], shape: tuple[int, ...]) -> str:
    """A box as numpy would index it: ``[3:8, :, 64]``."""
    parts = []
    for one, extent in zip(box, shape, strict=True):
        first, stop = one.start or 0, extent if one.stop is None else one.stop
        parts.append(":" if (first, stop) == (0, extent) else str(first) if stop == first + 1 else f"{first}:{stop}")
    return f"[{', '.join(parts)}]"


def affected_slices(couple: Couple) -> list[Affected]:
    """Of each axis, the indices at which the error is by far the largest, if there are such: at most half of them."""
    found = []
    for axis, extent in enumerate(couple.shape):
        if extent < 2 or couple.golden.size // extent < _LEAST_IN_SLICE or not couple.has_enough:
            continue
        error = norms_along(couple.difference, axis)
        size = norms_along(np.where(couple.finite, couple.golden, 0.0), axis)
        relative = error / np.where(size > 0.0, size, couple.size / couple.golden.size**0.5 or 1.0)
        # What is worse by the values alone, or relative to the values alone, is large or small and not wrong.
        one = _outliers(error, couple.rounding * couple.size / couple.golden.size**0.5)
        other = _outliers(relative, couple.rounding)
        if one is None or other is None or not np.array_equal(one[0], other[0]):
            continue
        found.append(Affected(axis, one[0], extent, min(one[1], other[1])))
    return found


def _outliers(errors: Floats, background: float) -> tuple[NDArray[np.intp], float] | None:
    """The largest errors above the widest gap, and how many times larger than the next they are."""
    order = np.argsort(errors)[::-1]
    sorted_errors = errors[order]
    least = len(errors) - len(errors) // 2
    next_ones = sorted_errors[1 : len(errors) - least + 1]
    ratios = sorted_errors[: len(next_ones)] / np.maximum(next_ones, background)
    widest = int(np.argmax(ratios))
    if ratios[widest] < _GAP:
        return None
    times = float("inf") if sorted_errors[widest + 1] == 0.0 else float(sorted_errors[widest] / sorted_errors[widest + 1])
    return np.sort(order[: widest + 1]), times


def only_some_slices(couple: Couple) -> Pattern:
    """One head, one channel, one expert, or the tokens from one on; the others are as they should be."""
    name = "only some indices differ"
    found = affected_slices(couple)
    if not found:
        return no(name)
    texts = [_affected_text(affected) for affected in found]
    return Pattern(name, True, "; ".join(texts))


def _affected_text(affected: Affected) -> str:
    indices, extent = affected.indices, affected.extent
    others = "all others are equal" if affected.times == float("inf") else f"{affected.times:.3g} times the error of any other"
    head = _as_head(indices, extent)
    if affected.is_run and indices[-1] == extent - 1 and len(indices) > 1:
        where = f"from index {indices[0]} on, to the end at {extent - 1}"
    else:
        where = _index_words(indices)
    return f"{where} of axis {affected.axis} ({len(indices)} of {extent}{head}): {others}"


def grows_along(couple: Couple) -> Pattern:
    """The relative error rises with the index of an axis: with the position, say."""
    name = "grows along an axis"
    if not couple.has_enough:
        return no(name)
    best: tuple[float, str] | None = None
    for axis, extent in enumerate(couple.shape):
        if extent < _LEAST_INDICES or couple.golden.size // extent < _LEAST_IN_SLICE:
            continue
        size = norms_along(np.where(couple.finite, couple.golden, 0.0), axis)
        error = norms_along(couple.difference, axis)
        errors = error / np.where(size > 0.0, size, np.inf)
        order = _rank_correlation(errors)
        quarter = max(2, extent // 4)
        first, last = float(np.mean(errors[:quarter])), float(np.mean(errors[-quarter:]))
        rises = (
            order >= _least_order(extent) and last >= _GROWTH * first and np.mean(error[-quarter:]) >= _GROWTH * np.mean(error[:quarter])
        )
        if rises and (best is None or order > best[0]):
            text = f"relative distance {first:.2g} over the first {quarter} indices of axis {axis}, {last:.2g} over the last"
            best = order, f"{text} (rank correlation with the index {order:.2f})"
    return no(name) if best is None else Pattern(name, True, best[1])


def _least_order(extent: int) -> float:
    """A rank correlation that unrelated numbers do not reach: r^2 of n of them is above 1 - x in about x^(n/2 - 1) of all cases."""
    return min(0.98, max(0.7, (1.0 - _BY_CHANCE ** (2.0 / (extent - 2))) ** 0.5))


def _rank_correlation(values: Floats) -> float:
    """Spearman's, of values with their index; 0 where all are equal."""
    ranks = np.empty(len(values))
    order = np.argsort(values, kind="stable")
    ranks[order] = np.arange(len(values))
    same = np.unique(values, return_inverse=True)[1]
    means = np.bincount(same, ranks) / np.bincount(same)
    ranks = means[same]
    spread = ranks.std() * np.arange(len(values)).std()
    return float(np.mean((ranks - ranks.mean()) * (np.arange(len(values)) - (len(values) - 1) / 2)) / spread) if spread else 0.0
