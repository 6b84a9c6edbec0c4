"""The environment variables of the dump side, read once per process at its first `dump_data`.

================================ ========================================================================================================
``FASTCMP_DUMP=0``               switches `dump_data` off (also ``off``, ``no``, ``false``)
``FASTCMP_DUMP_DIR``             where ``{pid}_cmp_dump_data`` is made; the working directory otherwise
``FASTCMP_DUMP_TOKENS=0,3-5``    only these token ids are dumped
``FASTCMP_DUMP_LIMIT=50G``       as many tensor bytes a process saves; suffixes K M G T (powers of 1000), Ki Mi Gi Ti (of 1024)
``FASTCMP_STRICT=1``             what could not be saved raises `DumpError`
``FASTCMP_MAX_STALL_S=30``       how long a stalled disk may hold a call up (`fastcmp.dump.stall`); 0: as long as it takes
``RANK``                         recorded, so that the processes of one run are told apart
``ACLTRANSFORMER_HOME_PATH``     where the acceleration library writes; read at each call with a ``tensor_path``, or only at the first one
                                 where the preload library is told of it
================================ ========================================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DEFAULT_MAX_STALL_S: Final = 30.0
_OFF: Final = frozenset({"0", "off", "no", "false"})
_BYTES = re.compile(r"([0-9]{1,18})\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


@dataclass(frozen=True)
class TokenFilter:
    """Which token ids are dumped: the texts in ``names``, and the whole numbers in ``ranges`` (ends included). Both empty: all."""

    names: frozenset[str] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()

    def admits(self, token_id: str) -> bool:
        """True if this token is to be dumped."""
        if not self.names and not self.ranges:
            return True
        if token_id in self.names:
            return True
        if not (token_id.isascii() and token_id.isdigit() and len(token_id) <= 18):
            return False
        number = int(token_id)
        return any(first <= number <= last for first, last in self.ranges)


@dataclass(frozen=True)
class Settings:
    """The environment, read. ``problems`` are sentences about what could not be understood; the default stands there."""

    is_on: bool = True
    is_strict: bool = False
    dump_directory: str = ""
    tokens: TokenFilter = TokenFilter()
    max_stall_s: float = DEFAULT_MAX_STALL_S
    limit_bytes: int | None = None
    rank: str = ""
    problems: tuple[str, ...] = field(default=())


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; never raises."""
    problems: list[str] = []
    return Settings(
        is_on=environment.get("FASTCMP_DUMP", "").strip().lower() not in _OFF,
        is_strict=environment.get("FASTCMP_STRICT", "").strip().lower() not in _OFF | {""},
        dump_directory=environment.get("FASTCMP_DUMP_DIR", ""),
        tokens=_token_filter(environment.get("FASTCMP_DUMP_TOKENS", ""), problems),
        max_stall_s=_max_stall(environment.get("FASTCMP_MAX_STALL_S", ""), problems),
        limit_bytes=_limit_bytes(environment.get("FASTCMP_DUMP_LIMIT", ""), problems),
        rank=environment.get("RANK", ""),
        problems=tuple(problems),
    )


def _token_filter(text: str, problems: list[str]) -> TokenFilter:
    names: set[str] = set()
    ranges: list[tuple[int, int]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _RANGE.fullmatch(part)
        if match is None:
            names.add(part)
        elif int(match[1]) <= int(match[2]):
            ranges.append((int(match[1]), int(match[2])))
        else:
            problems.append(f"FASTCMP_DUMP_TOKENS: found {part!r}, expected a range that ascends; this part admits no token")
            names.add(part)
    return TokenFilter(frozenset(names), tuple(ranges))


def _max_stall(text: str, problems: list[str]) -> float:
    if not text.strip():
        return DEFAULT_MAX_STALL_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        problems.append(f"FASTCMP_MAX_STALL_S: found {text!r}, expected seconds, 0 or more; {DEFAULT_MAX_STALL_S:g} is used")
        return DEFAULT_MAX_STALL_S
    return seconds or math.inf


def _limit_bytes(text: str, problems: list[str]) -> int | None:
    if not text.strip():
        return None
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        problems.append(f"FASTCMP_DUMP_LIMIT: found {text!r}, expected bytes such as 500M or 2GiB; there is no limit")
        return None
    number, letter, binary = match.groups()
    power = "kmgt".index(letter.lower()) + 1 if letter else 0
    return int(number) * (1024 if binary else 1000) ** power
