"""Names by their position: the n-th tensor of one shape among the inputs, or the outputs, of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastcmp.name_expressions import INPUT, OUTPUT
from fastcmp.pairing.candidates import Candidate, ShapeClass, find_candidates
from fastcmp.pairing.layer_numbers import Parsed, read_names, target_layers
from fastcmp.pairing.links import Link, Matching, Name, Side, shown
from fastcmp.sources.natural_order import natural_key

RULE: Final = "position"

_Place = tuple[str, int, int, ShapeClass]
"""rank, layer of target, part, shape."""


def position_links(matching: Matching) -> list[Link]:
    """A link for each name of a group that has equally many on both sides, in the order of the run.

    A group is what shares rank, layer, INPUT or OUTPUT, and shape. Where a dump has no order of its own, only a group of one on each side
    is linked. Where one name of a layer and part cannot be read, or is not there at the token that decides, nobody knows which is the n-th.
    """
    golden, target = (read_names(side.by_name) for side in (matching.golden, matching.target))
    layers = target_layers(matching, golden, target)
    ones, others = find_candidates(matching, golden, target, RULE)
    of_golden, of_target = _groups(ones.readable, layers), _groups(others.readable, None)
    unknown = _places(ones.others, golden, layers, "golden") | _places(others.others, target, None, "target")
    links: list[Link] = []
    undecided: dict[str, None] = {}
    for place, mine in of_golden.items():
        theirs = of_target.get(place, [])
        if theirs and place[:3] in unknown:
            undecided[unknown[place[:3]]] = None
            continue
        left, right = _in_order(mine, matching.golden), _in_order(theirs, matching.target)
        if left is not None and right is not None and len(left) == len(right):
            links += [Link(one.name, other.name, RULE) for one, other in zip(left, right, strict=True)]
    matching.warn([f"--pair-by position: {text}" for text in undecided])
    return links


def _places(names: Sequence[Name], parsed: Parsed, layers: dict[int, int] | None, role: str) -> dict[tuple[str, int, int], str]:
    """Where the names without a readable tensor stand: rank, layer of target and part; and what to say of it."""
    found: dict[tuple[str, int, int], str] = {}
    for name in names:
        parts = parsed[name]
        if parts.part in (INPUT, OUTPUT):
            layer = parts.layer if layers is None else layers.get(parts.layer, parts.layer)
            of_layer = f"of layer {parts.layer}" if parts.layer >= 0 else "outside of layers"
            what = f"{'inputs' if parts.part == INPUT else 'outputs'} {of_layer}"
            text = f"{what} are left alone, because {shown(name)} of {role} cannot be read at the token that decides, or is not there"
            found.setdefault((name[0], layer, parts.part), text)
    return found


def _groups(candidates: Sequence[Candidate], layers: dict[int, int] | None) -> dict[_Place, list[Candidate]]:
    found: dict[_Place, list[Candidate]] = {}
    for one in candidates:
        layer = one.parts.layer if layers is None else layers.get(one.parts.layer, one.parts.layer)
        if one.parts.part in (INPUT, OUTPUT):
            found.setdefault((one.name[0], layer, one.parts.part, one.shape_class), []).append(one)
    return found


def _in_order(candidates: list[Candidate], side: Side) -> list[Candidate] | None:
    """In the order in which they were computed; None where nobody knows it."""
    if len(candidates) < 2 or side.dump.is_in_execution_order:
        return candidates
    if all(one.parts.words for one in candidates):  # numbers of an op tree
        return sorted(candidates, key=lambda one: natural_key(one.name[1]))
    return None
