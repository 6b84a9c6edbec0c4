"""Files of a low-level tree that name another tensor instead of holding one: where that lies.

``data=0_1_outtensor0.bin`` is output 0 of the operation with the numbers 0 and 1, in the same execution: the directory that has only
digits in its name, above both.
"""

from __future__ import annotations

import os
import re
from typing import Final

_NAMED: Final = re.compile(r"((?:[0-9]{1,9}_){1,32})((in|out)tensor[0-9]{1,9})\.bin", re.ASCII)
_MOST_LEVELS: Final = 32
# Inputs are kept as they were before an operation, outputs as they were after it.
_MOMENTS: Final = {"in": ("before", "after", ""), "out": ("after", "before", "")}


def aliased_path(path: str, named: str) -> str | None:
    """The file of the tensor that ``path`` names; None where there is no such file, or more than one."""
    found = _NAMED.fullmatch(named)
    execution = _execution_of(path)
    if found is None or execution is None:
        return None
    directory = execution
    for number in found[1].rstrip("_").split("_"):
        operation = _only([name for name in _entries(directory) if name.startswith(f"{number}_")])
        if operation is None:
            return None
        directory = os.path.join(directory, operation)
    stem = found[2]
    for moment in _MOMENTS[found[3]]:
        place = os.path.join(directory, moment) if moment else directory
        name = _only([one for one in _entries(place) if one == f"{stem}.bin" or (one.startswith(f"{stem}_") and one.endswith(".bin"))])
        if name is not None:
            return os.path.join(place, name)
    return None


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
