"""Names out of foreign files, made fit for one line of a message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

MAX_SHOWN: Final = 200
LOW_LEVEL_ADVICE: Final = "the acceleration library writes it under `fastcmp run`, and `fastcmp doctor` says why it did not"
"""What to do about a low-level tensor that has no file."""
NOT_LISTED: Final = "the tensors in a file are not known: "
"""How a warning begins about a file whose tensors cannot be listed; why stands behind it."""


def printable(text: str, limit: int = MAX_SHOWN) -> str:
    """``text`` on one line, without control characters and lone surrogates, cut in the middle when longer than ``limit``."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}...{text[-(limit // 2) :]}"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def counted(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listing(names: Iterable[str], limit: int = 5, width: int = 80) -> str:
    """The first ``limit`` names, each cut to ``width``, comma separated, and how many more there are (only if ``names`` has a length)."""
    shown = ", ".join(printable(name, width) for name in islice(names, limit))
    more = len(names) - limit if isinstance(names, Sequence) else 0
    return f"{shown} and {more} more" if more > 0 else shown
