"""Of a name that stands alone, the names of the other side that look most like it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

from fastcmp.sources.wording import printable

# Names of one model are few patterns with many numbers in them: patterns are compared, numbers are filled in.
MOST_PATTERNS: Final = 2000
"""Patterns that are looked up; those beyond have no neighbours."""
SHOWN: Final = 2
_MOST_COMPARED: Final = 8
_MOST_POSTINGS: Final = 256
_LONGEST: Final = 200
_LEAST_LIKE: Final = 0.4
_DIGITS: Final = re.compile(r"[0-9]+")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+|0")


class Nearest:
    """An index of the names of one side. What is looked up costs about the same, however many they are."""

    def __init__(self, names: Iterable[str]) -> None:
        self._first: dict[str, str] = {}
        self._by_numbers: dict[tuple[str, tuple[str, ...]], str] = {}
        self._by_number: dict[tuple[str, str], str] = {}
        for name in names:
            pattern, numbers = _read(name)
            self._first.setdefault(pattern, name)
            self._by_numbers.setdefault((pattern, tuple(sorted(numbers))), name)
            for number in numbers:
                self._by_number.setdefault((pattern, number), name)
        self._postings: dict[str, list[str]] = {}
        for pattern in self._first:
            for word in sorted(_words(pattern)):
                self._postings.setdefault(word, []).append(pattern)
        self._known: dict[str, list[str]] = {}

    def of(self, name: str) -> list[str]:
        """At most `SHOWN` names, the nearest first."""
        pattern, numbers = _read(name)
        if pattern not in self._known:
            if len(self._known) >= MOST_PATTERNS:
                return []
            self._known[pattern] = self._patterns_like(pattern)
        return [self._name_of(found, numbers) for found in self._known[pattern]]

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

    def _name_of(self, pattern: str, numbers: tuple[str, ...]) -> str:
        """The name of this pattern whose numbers are those asked for, or one of them, or the first."""
        found = self._by_numbers.get((pattern, tuple(sorted(numbers))))
        for number in sorted(set(numbers), key=lambda number: (-len(number), number)):
            found = found or self._by_number.get((pattern, number))
        return found or self._first[pattern]


def nearest_text(index: Nearest, name: str) -> str:
    """As a message ends with it; "" where nothing is near."""
    near = index.of(name)
    return f"; nearest on the other side: {', '.join(printable(one, 80) for one in near)}" if near else ""


def _read(name: str) -> tuple[str, tuple[str, ...]]:
    if len(name) > _LONGEST:
        name = name[-_LONGEST:]
    return _DIGITS.sub("0", name), tuple(_DIGITS.findall(name)[:16])


def _words(pattern: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(pattern)}
