"""Where the files of a comparison are looked at before any worker reads them: on this machine, or on the nodes of a cluster."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from typing import Final

from fastcmp.engine.abilities import ReadsElsewhere
from fastcmp.errors import TensorError
from fastcmp.formats import file_and_member, identity_now, place_sizes, scan_batch
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions
from fastcmp.pairing import Pair

FileWords = tuple[int, int, int]
"""Inode, size and mtime_ns of a file; `MISSING` where there is none."""

MISSING: Final[FileWords] = (-1, -1, -1)


class Disks:
    """The disks of this machine, which all its workers read."""

    def sizes(self, places: Sequence[str], options: ScanOptions) -> array[int]:
        """Bytes of each place; 0 where it is missing or is no regular file."""
        return array("q", place_sizes(list(places), options))

    def scan(self, places: Sequence[str], options: ScanOptions) -> list[TensorInfo | TensorError]:
        """What each header says."""
        return scan_batch(places, options)

    def inputs(self, places: Sequence[str], options: ScanOptions) -> list[FileWords]:
        """Words of the file that each place is read from, which a file may only name; `MISSING` where there is none."""
        return [_input_of(place, options) for place in places]

    def home(self, pair: Pair) -> int:
        """See `fastcmp.plan.PairSize`."""
        return 0

    def is_apart(self, pair: Pair) -> bool:
        """True where both files exist, but no worker can read both."""
        return False


HERE: Final = Disks()


def disks_of(executor: object) -> Disks:
    """Where an executor's workers find the files."""
    return executor.disks if isinstance(executor, ReadsElsewhere) else HERE


def _input_of(place: str, options: ScanOptions) -> FileWords:
    try:
        found = identity_now(place, options)
    except (OSError, ValueError):
        return MISSING
    return found.inode, found.size, found.mtime_ns


def words_of(path: str) -> FileWords:
    """Of one file or directory, as it is now on the machine that this is called on."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return MISSING
    return found.st_ino, found.st_size, found.st_mtime_ns


def words_of_argument(path: str, options: ScanOptions) -> FileWords:
    """Of what a user named, which may be one tensor of a file."""
    return words_of(file_and_member(path, options)[0])


def words_of_all(paths: Sequence[str]) -> array[int]:
    """Three words for each file, one after the other."""
    words = array("q")
    for path in paths:
        words.extend(words_of(path))
    return words


def in_threes(words: array[int]) -> list[FileWords]:
    """What `words_of_all` gave, one tuple for each file."""
    return list(zip(words[0::3], words[1::3], words[2::3], strict=True))
