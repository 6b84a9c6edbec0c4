"""Files of a low-level tree that name another tensor instead of holding one: where that lies.

``data=0_1_outtensor0.bin`` is output 0 of the operation with the numbers 0 and 1, in the same execution: the directory that has only
digits in its name, above both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

_NAMED: Final = re.compile(r"((?:[0-9]{1,9}_){1,32})((in|out)tensor[0-9]{1,9})\.bin", re.ASCII)
_MOST_LEVELS: Final = 32
# Inputs are kept as they were before an operation, outputs as they were after it.
_MOMENTS: Final = {"in": ("before", "after", ""), "out": ("after", "before", "")}


def aliased_path(path: str, named: str, listings: Listings) -> str | None:
    """The file of the tensor that ``path`` names; None where there is no such file, or more than one."""
    found = _NAMED.fullmatch(named)
    execution = _execution_of(path)
    if found is None or execution is None:
        return None
    directory = execution
    for number in found[1].rstrip("_").split("_"):
        operation = _only([name for name in listings.beginning(directory, number) if name != number])
        if operation is None:
            return None
        directory = os.path.join(directory, operation)
    stem = found[2]
    for moment in _MOMENTS[found[3]]:
        place = os.path.join(directory, moment) if moment else directory
        marked = [name for name in listings.beginning(place, stem) if name.endswith(".bin")]
        name = _only([*listings.beginning(place, f"{stem}.bin"), *marked])
        if name is not None:
            return os.path.join(place, name)
    return None


class Listings:
    """What directories hold, each listed once: an execution of thousands of operations has thousands of files that name another one."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, list[str]]] = {}

    def beginning(self, directory: str, start: str) -> Sequence[str]:
        """The names in a directory that are ``start`` up to their first underscore; none where it cannot be listed."""
        known = self._known.get(directory)
        if known is None:
            known = self._known[directory] = {}
            for name in _entries(directory):
                known.setdefault(name.partition("_")[0], []).append(name)
        return known.get(start, ())


def _execution_of(path: str) -> str | None:
    directory = os.path.dirname(path)
    for _ in range(_MOST_LEVELS):
        above, name = os.path.split(directory)
        if name.isascii() and name.isdigit():
            return directory
        if above == directory:
            return None
        directory = above
    return None


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (OSError, ValueError):
        return []


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None
