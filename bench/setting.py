"""What a group of cases is given: the size, the dumps, the yardstick's processes, and what an earlier group found out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import dumps
from cases import Size
from dumps import BenchDump
from yardsticks import Readers

CORES = len(os.sched_getaffinity(0))


@dataclass
class Setting:
    """Dumps are made when they are first asked for.

    Attributes
    ----------
    data : Path
        Everything of this size lies below it.
    original_gb_s : float or None
        What the original's algorithm reached in this run, of the metrics that a comparison forms by default.
    also : bool
        Other tools from the package index take part.
    """

    size: Size
    data: Path
    readers: Readers
    also: bool = False
    original_gb_s: float | None = None

    @property
    def report(self) -> Path:
        return self.data / "report"

    @property
    def scratch(self) -> Path:
        """For files that are written to be timed. Removed when all is done: ext4 looks at each freed inode before it makes a directory."""
        return self.data / "scratch"

    def large(self) -> BenchDump:
        return dumps.large(self.data / "large", self.size)

    def one(self) -> BenchDump:
        return dumps.one(self.data / "one", self.size)

    def small(self) -> BenchDump:
        return dumps.small(self.data / "small", self.size.small_pairs)

    def tiny(self) -> BenchDump:
        return dumps.tiny(self.data / "tiny")
