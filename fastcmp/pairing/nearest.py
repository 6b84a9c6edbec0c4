"""Of a name that stands alone, the names of the other side that look most like it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import islice
from typing import Final

from fastcmp.sources.wording import printable

# Names of one model are few patterns with many numbers in them: patterns are compared, numbers are filled in.
MOST_PATTERNS: Final = 2000
"""Patterns that are looked up; those beyond have no neighbours."""
MOST_NAMES: Final = 200_000
"""Names of an index; those beyond are nobody's neighbours."""
SHOWN: Final = 2
_MOST_NUMBERS: Final = 4
_MOST_COMPARED: Final = 8
_MOST_POSTINGS: Final = 256
_LONGEST: Final = 200
_LEAST_LIKE: Final = 0.4
_DIGITS: Final = re.compile(r"[0-9]+")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+|0")

Numbers = tuple[str, ...]


class Nearest:
    """An index of the names of one side. What is looked up costs about the same, however many they are."""

    def __init__(self, names: Iterable[str]) -> None:
        by_pattern: dict[str, dict[str, Numbers]] = {}
        for name in islice(names, MOST_NAMES):
            pattern, numbers = _read(name)
            by_pattern.setdefault(pattern, {})[name] = numbers
        self._varying = {pattern: _varying(list(found.values())) for pattern, found in by_pattern.items()}
        # Of each pattern its first name, and the first that has these numbers, and these, ...
        self._names: dict[tuple[str, Numbers], str] = {}
        for pattern, found in by_pattern.items():
            for name in found:
                numbers = self.numbers(name)
                for count in range(len(numbers) + 1):
                    self._names.setdefault((pattern, numbers[:count]), name)
        self._postings: dict[str, list[str]] = {}
        for pattern in by_pattern:
            for word in sorted(_words(pattern)):
                self._postings.setdefault(word, []).append(pattern)
        self._known: dict[str, list[str]] = {}

    def numbers(self, name: str) -> Numbers:
        """Those numbers of a name that tell it from the others of its pattern here."""
        pattern, numbers = _read(name)
        places = self._varying.get(pattern)
        return numbers if places is None else tuple(numbers[place] for place in places)

    def of(self, name: str, numbers: Numbers | None = None) -> list[str]:
        """At most `SHOWN` names, the nearest first; of one pattern the one with most of the ``numbers``, those of the name if not given."""
        pattern, own = _read(name)
        if pattern not in self._known:
            if len(self._known) >= MOST_PATTERNS:
                return []
            self._known[pattern] = self._patterns_like(pattern)
        return [self._name_of(found, own if numbers is None else numbers) for found in self._known[pattern]]

    def _patterns_like(self, pattern: str) -> list[str]:
        shared: dict[str, float] = {}
        words = sorted((word for word in _words(pattern) if word in self._postings), key=lambda word: (len(self._postings[word]), word))
        for word in words:
            postings = self._postings[word]
            for other in postings[:_MOST_POSTINGS]:
                shared[other] = shared.get(other, 0.0) + 1 / len(postings)
        likely = sorted(shared, key=lambda other: (-shared[other], other))[:_MOST_COMPARED]
        matcher = SequenceMatcher(b=pattern.lower(), autojunk=False)
        likeness = []
        for other in likely:
            matcher.set_seq1(other.lower())
            if (ratio := matcher.ratio()) >= _LEAST_LIKE:
                likeness.append((-ratio, other))
        return [other for _, other in sorted(likeness)[:SHOWN]]

    def _name_of(self, pattern: str, numbers: Numbers) -> str:
        return next(name for count in range(len(numbers), -1, -1) if (name := self._names.get((pattern, numbers[:count]))) is not None)


def nearest_text(index: Nearest, name: str, numbers: Numbers | None = None) -> str:
    """As a message ends with it; "" where nothing is near."""
    near = index.of(name, numbers)
    return f"; nearest on the other side: {', '.join(printable(one, 80) for one in near)}" if near else ""


def _read(name: str) -> tuple[str, Numbers]:
    if len(name) > _LONGEST:
        name = name[-_LONGEST:]
    return _DIGITS.sub("0", name), tuple(_DIGITS.findall(name))


def _varying(numbers: list[Numbers]) -> list[int]:
    """The places of the numbers that are not the same in all names of a pattern, the first few."""
    first = numbers[0]
    return [place for place, number in enumerate(first) if any(other[place] != number for other in numbers)][:_MOST_NUMBERS]


def _words(pattern: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(pattern)}
