"""What the name of a tensor says about its place: layer, operation, input or output. A name that says nothing has none of them.

A dump has many names and few patterns of names: expressions look at the patterns, in which every number is a 0, and numbers are taken from
the names by numpy. So a hundred thousand names take a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.name_expressions import INPUT, INSIDE, MOST_DIGITS, NUMBER_FIRST, NUMBER_LAST, OUTPUT, PART, SAVED_WHEN, SEPARATORS, STALE

# All of these run in RE2, in time linear to the name, however hostile that is.
_INDEX: Final = r"\[[^\[\]]*\]$"

# What `dump_model` calls the model itself, which holds all that its name is no part of.
_ROOTS: Final = ("", "root")
_BELOW_ALL: Final = {ord("/"): "\0", ord("."): "\0"}


@dataclass(frozen=True)
class Names:
    """What each of some names says; arrays with an entry per name.

    Attributes
    ----------
    texts : pyarrow.StringArray
    patterns : pyarrow.StringArray
        What the names look like with every number a 0, each once.
    pattern : ndarray of int64
        Which of them a name is.
    layer : ndarray of int64
        -1 where the name has none.
    part : ndarray of int8
        `OUTPUT` (also where the name does not say), `INPUT`, `INSIDE` or `STALE`.
    owner : ndarray of int64
        Number of the operation: equal for its inputs and outputs.
    depth : ndarray of int64
        How many names of operations stand before that of its own: 1 for ``layers.3``.
    holds_others : ndarray of bool
        The operation holds others, as ``layers.3`` holds ``layers.3.mlp``; seen by the patterns.
    kind : ndarray of int64
        Equal for names that differ in the layer only.
    """

    texts: pa.StringArray
    patterns: pa.StringArray
    pattern: np.ndarray
    layer: np.ndarray
    part: np.ndarray
    owner: np.ndarray
    depth: np.ndarray
    holds_others: np.ndarray
    kind: np.ndarray

    def say(self, expression: str) -> np.ndarray:
        """Which names match an expression that makes no difference between numbers."""
        return _as_bool(pc.match_substring_regex(self.patterns, expression))[self.pattern]


def parse_names(texts: pa.StringArray) -> Names:
    """Read names, all at once."""
    encoded = pc.replace_substring_regex(texts, r"[0-9]+", "0").dictionary_encode()
    patterns, pattern = encoded.dictionary, _as_int(encoded.indices)
    before_number = [pc.struct_field(pc.extract_regex(patterns, expression), "before") for expression in (NUMBER_FIRST, NUMBER_LAST)]
    before = pc.coalesce(*before_number)
    layer_run = _as_int(pc.fill_null(pc.count_substring(before, "0"), -1))[pattern]
    owners, part = _split(patterns)
    runs = _find_runs(texts)
    owner_codes = owners.dictionary_encode()
    owned_runs = _as_int(pc.count_substring(owners, "0"))[pattern]
    of_owner = runs.number < owned_runs[runs.name]
    of_layer = runs.number == layer_run[runs.name]
    return Names(
        texts=texts,
        patterns=patterns,
        pattern=pattern,
        layer=_layers(runs, of_layer, len(texts)),
        part=part[pattern],
        owner=_distinct(_as_int(owner_codes.indices)[pattern], runs, of_owner),
        depth=_as_int(pc.count_substring_regex(owners, "[./]"))[pattern],
        holds_others=_holding(owner_codes.dictionary.to_pylist())[_as_int(owner_codes.indices)][pattern],
        kind=_distinct(pattern, runs, ~of_layer),
    )


def owner_of(name: str) -> str:
    """The operation that a tensor of this name belongs to."""
    owner: str = _split(pa.array([name], pa.string()))[0][0].as_py()
    return owner


def _split(texts: pa.StringArray) -> tuple[pa.StringArray, np.ndarray]:
    """The operation in each name, and which part of it the tensor is."""
    split = pc.extract_regex(texts, PART)
    word, owner = pc.utf8_lower(pc.struct_field(split, "word")), pc.struct_field(split, "owner")
    saved = pc.extract_regex(owner, SAVED_WHEN)
    when = pc.utf8_lower(pc.struct_field(saved, "when"))
    owner = pc.coalesce(pc.struct_field(saved, "owner"), owner, pc.replace_substring_regex(texts, _INDEX, ""))
    return pc.replace_substring_regex(owner, SEPARATORS, ""), _parts(word, when)


def _parts(word: pa.StringArray, when: pa.StringArray) -> np.ndarray:
    def equals(column: pa.StringArray, text: str) -> np.ndarray:
        return _as_bool(pc.fill_null(pc.equal(column, text), False))

    is_input, is_output, before, after = equals(word, "in"), equals(word, "out"), equals(when, "before"), equals(when, "after")
    is_inside = _as_bool(pc.is_valid(word)) & ~is_input & ~is_output
    parts = np.select([is_inside | (is_input & after), is_input, is_output & before], [INSIDE, INPUT, STALE], OUTPUT)
    return parts.astype(np.int8)


def _holding(owners: list[str]) -> np.ndarray:
    # Sorted so that what an operation holds follows it at once: the separator is below every other character.
    keys = sorted((text.translate(_BELOW_ALL), number) for number, text in enumerate(owners))
    holds = np.zeros(len(owners), dtype=bool)
    for (text, number), (following, _) in pairwise(keys):
        holds[number] = following.startswith(f"{text}\0")
    for number, text in enumerate(owners):
        holds[number] |= text in _ROOTS and len(owners) > 1
    return holds


@dataclass(frozen=True)
class _Runs:
    """Every run of digits in some names: in which name, the how manyth there, its first digits as a number, its length and a hash of it."""

    name: np.ndarray
    number: np.ndarray
    value: np.ndarray
    length: np.ndarray
    hashed: np.ndarray


def _find_runs(texts: pa.StringArray) -> _Runs:
    _, offset_buffer, data = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(texts) + 1, 4 * texts.offset) if len(texts) else np.zeros(1, np.int32)
    characters = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    characters = characters[offsets[0] : offsets[-1]]
    starts_of_names = offsets[:-1] - offsets[0]
    is_digit = (characters >= ord("0")) & (characters <= ord("9"))
    begins = is_digit.copy()
    begins[1:] &= ~is_digit[:-1]
    first_of_name = starts_of_names[starts_of_names < len(characters)]
    begins[first_of_name] = is_digit[first_of_name]  # a digit that ends one name and one that begins the next are two runs
    positions, digits = np.flatnonzero(begins), np.flatnonzero(is_digit)
    run = np.cumsum(begins)[digits] - 1
    place = digits - positions[run]
    values = characters[digits].astype(np.uint64) - np.uint64(ord("0"))
    length = np.bincount(run, minlength=len(positions))
    name = np.searchsorted(starts_of_names, positions, side="right") - 1
    number = np.arange(len(positions)) - np.searchsorted(name, name)
    value = np.zeros(len(positions), dtype=np.int64)
    for at in range(MOST_DIGITS):
        here = place == at
        value[run[here]] = value[run[here]] * 10 + values[here].astype(np.int64)
    hashed = np.zeros(len(positions), dtype=np.uint64)
    np.add.at(hashed, run, (values + np.uint64(1)) * _scrambled(place))
    return _Runs(name, number, value, length, hashed)


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Odd 64-bit numbers that have nothing to do with each other (the finalizer of splitmix64)."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


def _layers(runs: _Runs, of_layer: np.ndarray, count: int) -> np.ndarray:
    layer = np.full(count, -1, dtype=np.int64)
    fits = of_layer & (runs.length <= MOST_DIGITS)
    layer[runs.name[fits]] = runs.value[fits]
    return layer


def _distinct(codes: np.ndarray, runs: _Runs, counted: np.ndarray) -> np.ndarray:
    """Equal numbers for names of one code that have equal runs of digits, among those that are counted."""
    hashed = _scrambled(codes)
    np.add.at(hashed, runs.name[counted], runs.hashed[counted] * _scrambled(runs.number[counted] + 1000))
    return np.unique(hashed, return_inverse=True)[1].astype(np.int64)


def _as_int(array: Any) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False).astype(np.int64)


def _as_bool(array: Any) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False).astype(bool)
