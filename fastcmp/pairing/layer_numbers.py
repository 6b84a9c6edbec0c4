"""Which layer of golden is which layer of target."""

from __future__ import annotations

from collections.abc import Iterable

from fastcmp.pairing.links import Matching, Name
from fastcmp.pairing.name_parts import NameParts, parts_of

Parsed = dict[Name, NameParts]


def read_names(names: Iterable[Name]) -> Parsed:
    """What each name says."""
    return {name: parts_of(name[1]) for name in names}


def target_layers(matching: Matching, golden: Parsed, target: Parsed) -> dict[int, int]:
    """Of each layer of golden its layer of target, -1 (outside of all layers) too.

    Equal numbers belong together. Where the numbers of an op tree begin elsewhere, because the embedding is number 0 in it, say, both sides
    have equally many layers without a gap, and not the same: then they belong together in their order, with a warning.
    """
    sides = [sorted({parts.layer for parts in side.values()} - {-1}) for side in (golden, target)]
    one, other = sides
    are_runs = all(side and side[-1] - side[0] == len(side) - 1 for side in sides)
    if are_runs and one != other and len(one) == len(other):
        matching.warn(
            [f"layers {one[0]} to {one[-1]} of golden are taken for layers {other[0]} to {other[-1]} of target, as many and in order"]
        )
        return {-1: -1, **dict(zip(one, other, strict=True))}
    return {layer: layer for layer in (-1, *one)}
