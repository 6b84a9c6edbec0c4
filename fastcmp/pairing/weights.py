"""Names by the MD5 of a weight: in the metadata of the automatic mode a name itself, in a tree of the acceleration library a file beside.

That library, told to save MD5 sums of inputs, left an empty file (or a header alone) named by the sum for every input of an operation, and
the outputs as they are: whichever operation read the weight of a torch module is that module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import islice
from typing import Final

from fastcmp.name_expressions import OUTPUT
from fastcmp.pairing.links import Link, Matching, Name, Side, shown
from fastcmp.pairing.name_parts import parts_of
from fastcmp.sources.natural_order import natural_key, token_key
from fastcmp.sources.wording import listing

RULE_WEIGHT: Final = "md5"
MOST_DIRECTORIES: Final = 200_000
_MOST_ENTRIES: Final = 10_000
_NAME: Final = re.compile(r"([0-9a-fA-F]{32})(?:#([1-9][0-9]{0,8}))?")
_MARKER: Final = re.compile(r"([0-9a-fA-F]{32})(?:\.[^.]*)?")
_WHEN: Final = ("before", "after")


def is_weight_name(data_id: str) -> bool:
    """True for the MD5 of a weight, as the automatic mode names tensors; ``#1`` is a second tensor of that weight."""
    return len(data_id) >= 32 and _NAME.fullmatch(data_id) is not None


def weight_links(matching: Matching) -> list[Link]:
    """A link for each name that is an MD5: to the same name, or to the first output of the operation whose inputs have that sum."""
    links = [Link(name, name, RULE_WEIGHT) for name in matching.golden.free if name in matching.target.free and is_weight_name(name[1])]
    known = {link.golden for link in links}
    for hashed, marked, swapped in ((matching.golden, matching.target, False), (matching.target, matching.golden, True)):
        sums = _by_sum([name for name in hashed.free if name not in known])
        if not sums:
            continue
        for one, other in _marked(sums, marked, matching):
            links.append(Link(other, one, RULE_WEIGHT) if swapped else Link(one, other, RULE_WEIGHT))
    return links


def _by_sum(names: list[Name]) -> dict[tuple[str, str], list[Name]]:
    """By rank and sum, the names that are it: the first, ``#1``, ``#2``."""
    numbered: dict[tuple[str, str], list[tuple[int, Name]]] = {}
    for name in names:
        found = _NAME.fullmatch(name[1])
        if found:
            numbered.setdefault((name[0], found[1].lower()), []).append((int(found[2] or 0), name))
    return {key: [name for _, name in sorted(found)] for key, found in numbered.items()}


def _marked(sums: Mapping[tuple[str, str], list[Name]], marked: Side, matching: Matching) -> list[tuple[Name, Name]]:
    """Names that are sums, each with the output of the operation that has a file of that name, and of no other such name."""
    operations = _operations(marked)
    if len(operations) > MOST_DIRECTORIES:
        matching.warn([f"--pair-by md5: more than {MOST_DIRECTORIES} directories; none of them is searched for files named by an MD5"])
        return []
    holders: dict[tuple[str, str], list[Name]] = {}
    of_several: set[Name] = set()
    for directory, name in operations.items():
        held = [one for one in sorted(_sums_in(directory)) if (name[0], one) in sums]
        if len(held) > 1:
            of_several.add(name)
        for one in held:
            holders.setdefault((name[0], one), []).append(name)
    found: list[tuple[Name, Name]] = []
    uneven = []
    for key, names in sums.items():
        outputs = sorted(holders.get(key, ()), key=lambda name: natural_key(name[1]))
        if not of_several.isdisjoint(outputs):
            fused = next(name for name in outputs if name in of_several)
            uneven.append(f"{shown(names[0])} is read by {shown(fused)} together with another of these weights")
        elif len(outputs) == len(names):
            found += zip(names, outputs, strict=True)
        elif outputs:
            uneven.append(f"{shown(names[0])} is read by {len(outputs)} operations ({listing(map(shown, outputs))}), expected {len(names)}")
    matching.warn([f"--pair-by md5: {text}; left alone" for text in uneven])
    return found


def _operations(side: Side) -> dict[str, Name]:
    """The directory of each operation, without ``before`` and ``after``, and the first output that lies there."""
    found: dict[str, tuple[tuple[int, object], Name]] = {}
    for name in side.free:
        parts = parts_of(name[1])
        if not parts.words or parts.part != OUTPUT:
            continue
        tokens = side.by_name[name]
        directory = os.path.dirname(tokens[min(tokens, key=token_key)].files[0])
        if os.path.basename(directory).lower() in _WHEN:
            directory = os.path.dirname(directory)
        order = parts.number, natural_key(name[1])
        if directory not in found or order < found[directory][0]:
            found[directory] = order, name
    return {directory: name for directory, (_, name) in found.items()}


def _sums_in(directory: str) -> set[str]:
    """The sums that files of an operation are named by."""
    found: set[str] = set()
    for place in (directory, *(os.path.join(directory, when) for when in _WHEN)):
        try:
            with os.scandir(place) as entries:
                names = [entry.name for entry in islice(entries, _MOST_ENTRIES)]
        except OSError:
            continue
        found.update(match[1].lower() for name in names if (match := _MARKER.fullmatch(name)))
    return found
