"""Two nests of mappings and sequences, side by side: the pairs of values in them, each with the way to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Item(NamedTuple):
    """One pair of values; ``place`` is such as ``['attn'][1]``, "" where nothing is nested."""

    place: str
    golden: Any
    target: Any


class Mismatch(Exception):
    """The nests are not alike; the text is for a person."""


def items_of(golden: Any, target: Any, place: str = "") -> Iterator[Item]:
    """The pairs of values of two nests, mappings in the order of golden's keys.

    Raises
    ------
    Mismatch
        Where the nests differ: keys, lengths, or a value against a nest.
    """
    if isinstance(golden, Mapping) and isinstance(target, Mapping):
        missing, more = [key for key in golden if key not in target], [key for key in target if key not in golden]
        if missing or more:
            raise Mismatch(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the target mapping: {missing}\nAdditional keys in the target mapping: {more}{_at(place)}"
            )
        for key in golden:
            yield from items_of(golden[key], target[key], f"{place}[{key!r}]")
    elif _is_sequence(golden) and _is_sequence(target):
        if len(golden) != len(target):
            raise Mismatch(f"The length of the sequences mismatch: golden {len(golden)} != target {len(target)}{_at(place)}")
        for number, (one, other) in enumerate(zip(golden, target, strict=True)):
            yield from items_of(one, other, f"{place}[{number}]")
    elif (golden is None or target is None) and golden is not target:
        raise Mismatch(f"None mismatch: golden is {_kind(golden)}, target is {_kind(target)}{_at(place)}")
    elif _is_nest(golden) or _is_nest(target):
        raise Mismatch(f"The structures do not match: golden is {_kind(golden)}, target is {_kind(target)}{_at(place)}")
    elif golden is not None:
        yield Item(place, golden, target)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def _is_nest(value: Any) -> bool:
    return isinstance(value, Mapping) or _is_sequence(value)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _at(place: str) -> str:
    return f"\n\nThe failure occurred for item {place}" if place else ""
