"""What a task gives back: columns, one buffer a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np

from fastcmp.formats.tensor_info import FileIdentity


@dataclass(slots=True)
class TensorFacts:
    """What the report says about one side; empty dtype where nothing could be read.

    ``statistics`` are max, min, mean and l2norm: as a file stated them that has no data, rounded to ``decimals`` if that is not None, or of
    the data where only the other side's are stated. ``checksum`` likewise.
    """

    dtype: str = ""
    shape: tuple[int, ...] | None = None
    nbytes: int = 0
    format_code: int = 2
    statistics: dict[str, float] | None = None
    decimals: int | None = None
    checksum: str = ""

    def __reduce__(self) -> tuple[type[TensorFacts], tuple[Any, ...]]:
        # By constructor: half the cost of the state that a slotted dataclass pickles by default.
        return TensorFacts, (self.dtype, self.shape, self.nbytes, self.format_code, self.statistics, self.decimals, self.checksum)


INPUT_WORDS: Final = 6
NOTHING_READ: Final = (0,) * INPUT_WORDS

InputRecord = tuple[int, int, int, int, int, int]


def input_record(golden: FileIdentity, target: FileIdentity) -> InputRecord:
    """Inode, size and mtime_ns of golden's and of target's file: while they stay, a result stays.

    Without the device, whose number may be another one after the next mount.
    """
    return golden.inode, golden.size, golden.mtime_ns, target.inode, target.size, target.mtime_ns


_Kinds = tuple[list[TensorFacts], list[int]]


@dataclass(slots=True)
class TaskResult:
    """Outcome of a `fastcmp.plan.Task`, one entry per item in every list, in the order of the items.

    What comes from a worker has one object for all facts of one kind.

    Attributes
    ----------
    task : int
        Index of the task.
    rows : list of int
    golden, target : list of TensorFacts
    error_codes, error_sides, error_details : list of str
        "" where the pair was compared. side is "golden", "target" or "" (both, or the pair). The detail is
        ``path: what was found, what was expected``.
    notes : list of tuple of str
        Each starts with a warning code or a plain sentence.
    sums : ndarray of `fastcmp.kernels.sums.SUMS_DTYPE`
        One entry per *compared* whole pair, in order; for an item that is a range of pieces, one entry per piece.
    sums_counts : list of int
        How many entries of ``sums`` belong to each item (0 for an error row).
    inputs : ndarray of int64, shape (items, 6), or None
        Which files each item was read from, see `input_record`; None where there was nothing to read.
    bytes_compared : int
        Payload bytes of both sides.
    busy_s : float
    metric_values : list of tuple of (float or None)
        Numbers of the user's own metrics, in their order; () where the pair was not compared, or there are no such metrics.
    """

    task: int
    rows: list[int] = field(default_factory=list)
    golden: list[TensorFacts] = field(default_factory=list)
    target: list[TensorFacts] = field(default_factory=list)
    error_codes: list[str] = field(default_factory=list)
    error_sides: list[str] = field(default_factory=list)
    error_details: list[str] = field(default_factory=list)
    notes: list[tuple[str, ...]] = field(default_factory=list)
    sums: np.ndarray | None = None
    sums_counts: list[int] = field(default_factory=list)
    inputs: np.ndarray | None = None
    bytes_compared: int = 0
    busy_s: float = 0.0
    metric_values: list[tuple[float | None, ...]] = field(default_factory=list)

    def __reduce__(self) -> tuple[Callable[..., TaskResult], tuple[Any, ...]]:
        # The thread that unpickles is the parent's: facts of one kind, of which a batch has few, travel once.
        task, rows, golden, target, *more = (getattr(self, column.name) for column in fields(self))
        return _task_result, (task, rows, _by_kind(golden), _by_kind(target), *more)


def _task_result(task: int, rows: list[int], golden: _Kinds, target: _Kinds, *more: Any) -> TaskResult:
    return TaskResult(task, rows, _facts(*golden), _facts(*target), *more)


def _facts(kinds: list[TensorFacts], places: list[int]) -> list[TensorFacts]:
    return [kinds[place] for place in places]


def _by_kind(facts: list[TensorFacts]) -> _Kinds:
    """The distinct ones among facts, and for each of them which it is."""
    kinds: list[TensorFacts] = []
    places: list[int] = []
    known: dict[tuple[Any, ...], int] = {}
    for one in facts:
        own = None if one.statistics is None and not one.checksum else id(one)
        place = known.setdefault((one.dtype, one.shape, one.nbytes, one.format_code, own), len(kinds))
        if place == len(kinds):
            kinds.append(one)
        places.append(place)
    return kinds, places
