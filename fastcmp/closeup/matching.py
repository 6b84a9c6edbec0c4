"""Which patterns a pair has: the table of them, and the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from fastcmp.closeup.numbers import Values, as_floats, unequal
from fastcmp.closeup.pattern import LEAST_ELEMENTS, Couple, Pattern, indices_text, no
from fastcmp.closeup.patterns.affine import (
    constant_shift,
    mirrored,
    scale_by_channel,
    scale_by_row,
    scale_factor,
    shift_by_channel,
    sign_flip,
)
from fastcmp.closeup.patterns.orders import reversed_along, rolled, same_values, slices_permuted, transposed
from fastcmp.closeup.patterns.places import (
    affected_slices,
    filled_infinities,
    golden_nan,
    grows_along,
    inf_block,
    nan_block,
    only_some_slices,
    zero_block,
)
from fastcmp.closeup.patterns.rotation import rotated
from fastcmp.closeup.patterns.rounding import narrower_dtype, plain_rounding, quantized, saturation
from fastcmp.closeup.patterns.unrelated import unrelated

_Asked = Callable[[Couple], Pattern]


def _transposed(couple: Couple) -> Pattern:
    return transposed(couple.golden, couple.target) if couple.has_enough else no("transposed")


# To add a pattern: a function of a `Couple` in one of the modules of `patterns`, and its name in one of these rows.
BLOCKS: Final[tuple[_Asked, ...]] = (nan_block, inf_block, golden_nan, filled_infinities, zero_block)
"""Asked first, all of them; what they find takes no part in what follows."""
CAUSES: Final[tuple[_Asked, ...]] = (
    _transposed, reversed_along, rolled, slices_permuted, same_values,
    sign_flip, constant_shift, mirrored, scale_factor, rotated, narrower_dtype, quantized, saturation,
    shift_by_channel, scale_by_row, scale_by_channel, plain_rounding,
)  # fmt: skip
"""The first that fits is the answer: those with fewer numbers of their own stand first."""
PLACES: Final[tuple[_Asked, ...]] = (only_some_slices, grows_along)
"""Where the error is, whatever it is."""


def match(golden: Values, target: Values) -> list[Pattern]:
    """The patterns that a pair has, the most telling first; empty where none fits.

    Parameters
    ----------
    golden, target : ndarray
        Of one element count, as `fastcmp.formats.decode` makes them; the shapes may differ.

    Returns
    -------
    list of Pattern
        Those that fit. "equal" stands alone.
    """
    if golden.size != target.size:
        raise ValueError(f"golden has {golden.size} elements but target has {target.size}")
    wrong = int(np.count_nonzero(unequal(golden, target.reshape(golden.shape))))
    if not wrong:
        return [Pattern("equal", True, f"all {golden.size} elements are equal" if golden.size else "both are empty")]
    one, other = as_floats(golden), as_floats(target)
    with np.errstate(all="ignore"):  # a supposition that leaves the range of float64 is wrong
        if np.squeeze(golden).shape != np.squeeze(target).shape:
            moved = transposed(one, other)
            if moved.fits:
                return [moved]
        if one.size != other.size:  # a complex side and a real one
            return []
        return _matches(Couple(one, other.reshape(one.shape)))


def _matches(couple: Couple) -> list[Pattern]:
    found = [pattern for ask in BLOCKS if (pattern := ask(couple)).fits]
    if any(pattern.name == "block of zeros" for pattern in found):
        couple = Couple(couple.golden, np.where((couple.golden != 0.0) & (couple.target == 0.0), np.nan, couple.target))
    if couple.differing < LEAST_ELEMENTS:
        limited = saturation(couple)
        return [*found, limited] if limited.fits else found
    cause = _first(CAUSES, couple)
    places = [pattern for ask in PLACES if (pattern := ask(couple)).fits]
    if cause is None or cause.name == "rounding of a dtype":
        cause = _cause_within(couple) or cause
    if cause is not None:
        return [*found, cause, *places]
    apart = unrelated(couple)
    return [*found, *places, *([apart] if apart.fits else [])]


def _first(asked: Sequence[_Asked], couple: Couple) -> Pattern | None:
    return next((pattern for ask in asked if (pattern := ask(couple)).fits), None)


def _cause_within(couple: Couple) -> Pattern | None:
    """The cause in the part of a tensor that is far worse than the rest, if there is such a part."""
    affected = {one.axis: one.indices for one in affected_slices(couple)}
    if not affected:
        return None
    golden, target = couple.golden, couple.target
    for axis, indices in affected.items():
        golden, target = np.take(golden, indices, axis=axis), np.take(target, indices, axis=axis)
    part = Couple(golden, target)
    cause = _first((*CAUSES, unrelated), part)
    if cause is None:
        return None
    place = ", ".join(indices_text(affected[axis]).replace("..", ":") if axis in affected else ":" for axis in range(len(couple.shape)))
    return Pattern(cause.name, True, cause.evidence, f"[{place}]")


def too_few(golden: Values, target: Values) -> bool:
    """True if so few elements differ that anything would fit them."""
    return int(np.count_nonzero(unequal(golden, target.reshape(golden.shape)))) < LEAST_ELEMENTS
