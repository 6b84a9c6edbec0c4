"""Tokens that one side counts from another number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from fastcmp.options import ROLES
from fastcmp.sources.named_tensor import NamedTensor, TensorKey

# As `str` writes an integer: two texts for one number would become one token.
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)


def number_of(token_id: str) -> int | None:
    """The number that a token is; None for any other text, ``07`` and ``-0`` too."""
    return int(token_id) if _INTEGER.fullmatch(token_id) else None


def shifted(token_id: str, offset: int) -> str:
    """A token that is a number, and ``offset`` more; any other text as it is, and a number that would have more than 18 digits."""
    if not offset or not _INTEGER.fullmatch(token_id):
        return token_id
    moved = str(int(token_id) + offset)
    return moved if _INTEGER.fullmatch(moved) else token_id


def idle_offset(left: Iterable[TensorKey], right: Iterable[TensorKey], offset: int) -> list[str]:
    """A warning where an offset that was given moves nothing, because a side has no token that is a number."""
    without = [role for role, keys in zip(ROLES, (left, right), strict=True) if not _has_numbers(keys)]
    if not offset or not without:
        return []
    who = "neither side has" if len(without) == 2 else f"{without[0]} does not have"
    return [f"--token-offset {offset} is without effect: {who} a token_id that is a number"]


def _has_numbers(keys: Iterable[TensorKey]) -> bool:
    return any(_INTEGER.fullmatch(key.token_id) for key in keys)


class Shift(NamedTuple):
    """An offset by which more tokens pair: all that can."""

    offset: int
    pairs_now: int
    pairs_then: int


def better_shift(left: Mapping[TensorKey, NamedTensor], right: Mapping[TensorKey, NamedTensor]) -> Shift | None:
    """The one offset under which every name that both sides have pairs as many tokens as its shorter side has; None if there is none.

    ``right`` by golden's names. Only for keys that are left alone on both sides: where each has some, and no other name loses a pair.
    """
    only_left = {key[:2] for key in left if key not in right}
    names = {key[:2] for key in right if key[:2] in only_left and key not in left}
    if not names:
        return None
    sides = _numbers(left, names), _numbers(right, names)
    pairs = [(sides[0][name], sides[1][name]) for name in names if sides[0].get(name) and sides[1].get(name)]
    if not pairs:
        return None
    now = sum(len(one & other) for one, other in pairs)
    if now != sum(key in right for key in left if _INTEGER.fullmatch(key.token_id)):
        return None
    most = sum(min(len(one), len(other)) for one, other in pairs)
    one, other = min(pairs, key=lambda both: (sorted(both[0]), sorted(both[1])))
    for offset in (min(other) - min(one), max(other) - max(one)):
        then = sum(len({number + offset for number in one} & other) for one, other in pairs)
        if offset and then == most > now:
            return Shift(offset, now, then)
    return None


def _numbers(keys: Iterable[TensorKey], names: AbstractSet[tuple[str, str]]) -> dict[tuple[str, str], set[int]]:
    found: dict[tuple[str, str], set[int]] = {}
    for key in keys:
        if key[:2] in names and _INTEGER.fullmatch(key.token_id):
            found.setdefault(key[:2], set()).add(int(key.token_id))
    return found
