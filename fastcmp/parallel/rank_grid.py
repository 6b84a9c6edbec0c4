"""Which number a rank has in each way to divide the work: ``"dp=2 tp=4"`` are eight ranks, the last way counting fastest."""

from __future__ import annotations

import re
from math import prod
from typing import Final

from fastcmp.errors import UsageError

MOST_RANKS: Final = 2**20
_WAY: Final = re.compile(r"([A-Za-z]\w{0,30})=([1-9][0-9]{0,6})", re.ASCII)

Ways = tuple[tuple[str, int], ...]


def parse_ranks(text: str, option: str) -> Ways:
    """The ways to divide and how many ranks each has, in the order in which rank numbers count.

    Raises
    ------
    UsageError
        With the word that is wrong.
    """
    ways = []
    for word in text.split():
        found = _WAY.fullmatch(word)
        if found is None:
            raise UsageError(f"{option}: {word!r}: expected a way to divide and its ranks, such as tp=4")
        ways.append((found[1], int(found[2])))
    names = [name for name, _ in ways]
    if not ways or len(set(names)) < len(names):
        raise UsageError(f"{option}: {text!r}: expected ways to divide, each once, such as 'dp=2 tp=4'")
    if prod(count for _, count in ways) > MOST_RANKS:
        raise UsageError(f"{option}: {text!r}: more than {MOST_RANKS} ranks")
    return tuple(ways)


def numbers_of(rank: int, ways: Ways) -> tuple[int, ...]:
    """The number of a rank in each way; the last way counts fastest."""
    numbers = []
    for _, count in reversed(ways):
        rank, number = divmod(rank, count)
        numbers.append(number)
    return tuple(reversed(numbers))


def rank_count(ways: Ways) -> int:
    """Ranks in all."""
    return prod(count for _, count in ways)
