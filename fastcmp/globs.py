"""Globs on many names at once."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import numpy as np


def glob_mask(glob: str, names: Sequence[str]) -> np.ndarray:
    """Which of ``names`` a glob matches, as `fnmatch.fnmatchcase` would: ``*``, ``?``, ``[seq]``, ``[!seq]``, the whole name.

    A glob without ``?`` and ``[`` is a matter of comparing texts, several times as fast as the regular expression that it stands for.
    """
    found = np.zeros(len(names), dtype=bool)
    if "?" in glob or "[" in glob:
        match = re.compile(fnmatch.translate(glob)).match
        found[:] = [match(name) is not None for name in names]
        return found
    first, *rest = glob.split("*")
    if not rest:
        found[:] = [name == first for name in names]
        return found
    *middle, last = rest
    middle = [part for part in middle if part]
    # The end first: names of one model begin alike, and so it leaves the fewest.
    places = np.flatnonzero([name.endswith(last) for name in names]) if last else np.arange(len(names))
    least = len(first) + len(last)
    found[[place for place in places.tolist() if _begins_and_holds(names[place], first, middle, least, len(last))]] = True
    return found


def _begins_and_holds(name: str, first: str, middle: Sequence[str], least: int, last_length: int) -> bool:
    """True if the middle parts stand in their order between the beginning and the end, which do not overlap."""
    if len(name) < least or not name.startswith(first):
        return False
    at, stop = len(first), len(name) - last_length
    for part in middle:
        at = name.find(part, at, stop)
        if at < 0:
            return False
        at += len(part)
    return True


def any_glob_mask(globs: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Which of ``names`` one of the globs matches; all of them where there is no glob."""
    if not globs:
        return np.ones(len(names), dtype=bool)
    found = np.zeros(len(names), dtype=bool)
    for glob in globs:
        found |= glob_mask(glob, names)
    return found
