"""How names are sorted: numbers inside a name by value, tokens numeric then textual."""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = re.compile(r"([0-9]+)")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)

NaturalKey = tuple[tuple[int, str, str], ...]
TokenKey = tuple[int, int, NaturalKey, str]


def _number(digits: str) -> tuple[int, str, str]:
    # Compared by length and text, never by int(): a name may hold more digits than int() accepts.
    significant = digits.lstrip("0")
    return (len(significant), significant, digits)


def natural_key(name: str) -> NaturalKey:
    """Sort key under which ``layer_2`` comes before ``layer_10``; equal only for equal names."""
    parts = _DIGITS.split(name)
    if len(parts) == 1:
        return ((-1, name, ""),)
    return tuple(_number(part) if index % 2 else (-1, part, "") for index, part in enumerate(parts))


def token_key(token_id: str) -> TokenKey:
    """Sort key of a token: integers by value first, then every other text in natural order."""
    if _INTEGER.fullmatch(token_id):
        return (0, int(token_id), (), token_id)
    return (1, 0, natural_key(token_id), token_id)
