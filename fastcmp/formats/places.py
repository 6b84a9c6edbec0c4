"""Where one tensor lies: a file, or a tensor inside a file that holds several. A text, so that it travels like a path."""

from __future__ import annotations

from typing import Final

# No path can hold it.
_MARK: Final = "\0"


def member_place(path: str, member: str) -> str:
    """The place of one tensor of a file; "" is the only one of a file that holds just one."""
    return f"{path}{_MARK}{member}" if member else path


def split_place(place: str) -> tuple[str, str]:
    """The file, and the name of the tensor inside it ("" if none is named)."""
    path, _, member = place.partition(_MARK)
    return path, member


def shown_place(place: str) -> str:
    """The place for people: ``file:member``."""
    return place.replace(_MARK, ":", 1)
