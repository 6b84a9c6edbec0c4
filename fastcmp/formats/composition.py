"""How tensors of several ranks make up one, as a text that travels like a path; their files are looked at in `fastcmp.formats.composed`."""

from __future__ import annotations

import json
from typing import NamedTuple

from fastcmp.formats.places import COMPOSED_MARK


class Part(NamedTuple):
    """What one rank holds: its rank as the dump has it, its number in each way to divide, and where the tensor is."""

    rank: str
    numbers: tuple[int, ...]
    place: str


class Composition(NamedTuple):
    """How the parts make up the whole.

    Attributes
    ----------
    dims : str or None
        See `fastcmp.formats.dims`; "" is a scalar of one rank, None where nothing says how.
    ways : tuple of (str, int)
        The ways in which the ranks divide the work, and how many ranks each has.
    order : tuple of str
        The names of the axes as the other side has them, to which this side's are moved; () where they stay.
    parts : tuple of Part
    reason : str
        Why ``dims`` is None.
    is_inferred : bool
        ``dims`` is what the shapes say.
    """

    dims: str | None
    ways: tuple[tuple[str, int], ...]
    order: tuple[str, ...]
    parts: tuple[Part, ...]
    reason: str = ""
    is_inferred: bool = False


def composed_place(composition: Composition) -> str:
    """The place of a tensor that several ranks hold."""
    return COMPOSED_MARK + json.dumps(composition)


def composition_of(place: str) -> Composition:
    """What `composed_place` was given."""
    dims, ways, order, parts, reason, is_inferred = json.loads(place[len(COMPOSED_MARK) :])
    listed = tuple(Part(rank, tuple(numbers), where) for rank, numbers, where in parts)
    return Composition(dims, tuple((name, count) for name, count in ways), tuple(order), listed, reason, is_inferred)
