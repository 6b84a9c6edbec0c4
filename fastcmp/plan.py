"""Pairs to tasks: pure; piece edges depend on the tensors, never on how many workers there are.

Two kinds of edges must not be mixed up. *Piece* edges decide how sums are rounded, so they follow from the element
count, the dtypes and the row length of a pair and from nothing else. *Task* edges only decide who does what: they may
follow the number of workers, the sizes of all the other pairs, anything.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

from fastcmp.formats.tensor_info import FileIdentity
from fastcmp.kernels.sums import BLOCK_ELEMENTS, row_group
from fastcmp.metric_functions import MetricSpec, parse_metrics
from fastcmp.options import CompareOptions, FoldOptions, ScanOptions
from fastcmp.pairing import Pair

# Fixed, not settings: a piece edge decides the rounding of a sum.
PIECE_BYTES: Final = 64 * 1024 * 1024

# Free to tune: they only decide who does what.
SPLIT_BYTES: Final = 256 * 1024 * 1024
BATCH_BYTES: Final = 16 * 1024 * 1024
BATCH_MIN_BYTES: Final = 1024 * 1024
BATCH_COUNT: Final = 256
BATCH_MIN_COUNT: Final = 16
TASKS_PER_WORKER: Final = 4
PIECES_PER_TASK: Final = 4

KL_WORDS: Final = ("logits", "probs", "softmax", "lm_head")


class WorkItem(NamedTuple):
    """One pair, or a range of the pieces of one large pair.

    ``golden_dtype`` and ``target_dtype`` are the true storage dtypes where the dump side stored a wider one, else "".
    ``first_piece``/``stop_piece`` are None for a whole pair; else the half-open range of piece numbers, and the two
    identities say which files the ranges of one pair must all have been read from.

    A named tuple: it is made three times faster than a frozen dataclass, and a task holds hundreds.
    """

    row: int
    golden_path: str
    target_path: str
    fold: FoldOptions
    golden_dtype: str = ""
    target_dtype: str = ""
    first_piece: int | None = None
    stop_piece: int | None = None
    golden_identity: FileIdentity | None = None
    target_identity: FileIdentity | None = None


class TaskMetrics(NamedTuple):
    """Metrics of the user's own, and the bytes that both arrays of a pair may take together."""

    specs: tuple[MetricSpec, ...]
    max_bytes: int


NO_METRICS: Final = TaskMetrics((), 0)


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker is sent: picklable, self-contained. ``home`` is that of all its pairs, see `PairSize`."""

    index: int
    items: tuple[WorkItem, ...]
    scan: ScanOptions
    metrics: TaskMetrics = NO_METRICS
    home: int = 0

    def __reduce__(self) -> tuple[Callable[..., Task], tuple[Any, ...]]:
        # By columns: a third of the cost of items that are pickled one by one, in the thread that keeps the workers busy.
        return _task, (self.index, self.scan, self.metrics, self.home, *zip(*self.items, strict=True))


def _task(index: int, scan: ScanOptions, metrics: TaskMetrics, home: int, *columns: tuple[Any, ...]) -> Task:
    return Task(index, tuple(map(WorkItem, *columns)) if columns else (), scan, metrics, home)


class PairSize(NamedTuple):
    """How large a pair is, as far as that is known before any worker looks at it.

    Attributes
    ----------
    golden_bytes, target_bytes : int
        Of the files; 0 where there is none.
    home : int
        The disks that hold both files, one bit each; 0 where every worker can read them.
    piece_count : int
        1, or what `piece_edges` gives where both headers were read.
    golden_identity, target_identity : FileIdentity or None
        Of the headers that ``piece_count`` was made from.
    """

    golden_bytes: int
    target_bytes: int
    piece_count: int = 1
    golden_identity: FileIdentity | None = None
    target_identity: FileIdentity | None = None
    home: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of both sides."""
        return self.golden_bytes + self.target_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """All the work of a run, in the order in which it is done and delivered.

    Attributes
    ----------
    tasks : sequence of Task
        ``tasks[i].index == i``. The tasks of one split pair stand together, in the order of their pieces.
    task_bytes : tuple of int
        Estimated bytes of both sides, for progress.
    split_rows : tuple of (int or None)
        The row of the split pair that a task is a part of; None for a task of whole pairs.
    pair_count : int
        Pairs in all tasks; each is in exactly one task, or in the tasks of its pieces.
    """

    tasks: Sequence[Task]
    task_bytes: tuple[int, ...]
    split_rows: tuple[int | None, ...]
    pair_count: int

    @property
    def total_bytes(self) -> int:
        """Estimated bytes of both sides of all pairs."""
        return sum(self.task_bytes)


def piece_edges(element_count: int, golden_bits: int, target_bits: int, row_length: int) -> list[int]:
    """Element numbers at which a pair is cut into pieces of at most 64 MiB of its wider side.

    Parameters
    ----------
    element_count : int
    golden_bits, target_bits : int
        Bits of one element as the dtype table has them; less than 8 counts as 8, for such elements are unpacked.
    row_length : int
        Length of the last logical axis of golden.

    Returns
    -------
    list of int
        ``[0, ..., element_count]``, strictly increasing; ``[0, 0]`` for an empty tensor, which is one empty piece.
        Inner edges are multiples of 4096, and of whole rows (or groups of short ones) wherever such a piece fits.
    """
    if element_count <= 0:
        return [0, 0]
    itemsize = (max(golden_bits, target_bits, 8) + 7) // 8
    most = PIECE_BYTES // itemsize
    grain = math.lcm(row_group(row_length), BLOCK_ELEMENTS)
    if grain > most:
        grain = BLOCK_ELEMENTS
    step = most // grain * grain
    return [*range(0, element_count, step), element_count]


def wants_kl(pair: Pair, kl: str) -> bool:
    """True if this pair gets kl_divergence: always, never, or by the words in its name or paths (``auto``)."""
    if kl != "auto":
        return kl == "all"
    golden, target = pair.golden, pair.target
    # No word has a line feed in it, so the names need not be searched one by one.
    names = f"{pair.key.data_id}\n{golden.written_path if golden else ''}\n{target.written_path if target else ''}".lower()
    for word in KL_WORDS:  # noqa: SIM110 - any() takes twice as long, once a pair
        if word in names:
            return True
    return False


class _Part(NamedTuple):
    """What a task is made of: places in the list of pairs, and of a split pair the range of pieces and where its files were looked at."""

    nbytes: int
    places: array[int]
    pieces: tuple[int, int] | None = None
    size: PairSize | None = None
    home: int = 0


class _Tasks(Sequence[Task]):
    """The tasks of a plan, each made when it is asked for: the items of a million pairs are 130 MB."""

    def __init__(self, pairs: Sequence[Pair], parts: list[_Part], options: CompareOptions) -> None:
        self._pairs, self._parts, self._kl, self._scan = pairs, parts, options.kl, options.scan
        self._metrics = TaskMetrics(parse_metrics(options.metrics), options.metric_max_bytes)
        self._folds = [
            FoldOptions(kl=kl, relative_floor=options.relative_floor, scale=options.scale, mask_fill=options.mask_fill)
            for kl in (False, True)
        ]

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        part = self._parts[index]
        items = tuple([self._item(self._pairs[place]) for place in part.places])
        if part.pieces is not None and part.size is not None:
            first, stop = part.pieces
            golden_identity, target_identity = part.size.golden_identity, part.size.target_identity
            (item,) = items
            items = (item._replace(first_piece=first, stop_piece=stop, golden_identity=golden_identity, target_identity=target_identity),)
        return Task(range(len(self))[index], items, self._scan, self._metrics, part.home)

    def _item(self, pair: Pair) -> WorkItem:
        golden, target = pair.golden, pair.target
        assert golden is not None and target is not None
        return WorkItem(pair.row, golden.path, target.path, self._folds[wants_kl(pair, self._kl)], golden.dtype, target.dtype)


def plan(
    pairs: Sequence[Pair], sizes: Sequence[PairSize], options: CompareOptions, *, worker_count: int = 1, batch_bytes: int = BATCH_BYTES
) -> Plan:
    """All pairs that have both sides, as tasks; the largest first, so that no worker is left alone with one at the end.

    Parameters
    ----------
    pairs : sequence of Pair
        Those with one side only are no work. A pair is looked at again when one of its tasks is asked for; afterwards it may be gone.
    sizes : sequence of PairSize
        One for each of ``pairs``, in the same order.
    options : CompareOptions
    worker_count : int
        How many workers will share the work; changes task edges only, never a result.
    batch_bytes : int
        What several pairs of one task may have together; likewise.
    """
    places = array("q", [place for place, pair in enumerate(pairs) if pair.golden is not None and pair.target is not None])
    nbytes = array("q", [sizes[place].nbytes for place in places])
    share = sum(nbytes) // (worker_count * TASKS_PER_WORKER)
    # Parts that stand together: one batch of small pairs, one large pair, or the ranges of a split pair.
    units: list[list[_Part]] = []
    # By home: what lies on the disks of different machines cannot be sent to one.
    small: dict[int, tuple[array[int], array[int]]] = {}
    for place, number in zip(places, nbytes, strict=True):
        size = sizes[place]
        if size.piece_count > 1 and (max(size.golden_bytes, size.target_bytes) > SPLIT_BYTES or number > share):
            units.append(_split(place, size, worker_count))
        else:
            of_home = small.get(size.home)
            if of_home is None:
                of_home = small[size.home] = array("q"), array("q")
            of_home[0].append(place)
            of_home[1].append(number)
    for home, (home_places, home_bytes) in small.items():
        units += _batches(home_places, home_bytes, worker_count, batch_bytes, home)
    units.sort(key=lambda unit: -sum(part.nbytes for part in unit))
    units = _in_turn(units)
    parts = [part for unit in units for part in unit]
    split_rows = tuple(None if part.pieces is None else pairs[part.places[0]].row for part in parts)
    return Plan(_Tasks(pairs, parts, options), tuple(part.nbytes for part in parts), split_rows, len(places))


def _split(place: int, size: PairSize, worker_count: int) -> list[_Part]:
    """A large pair as ranges of its pieces."""
    fair = -(-size.piece_count // (worker_count * TASKS_PER_WORKER))
    width = min(PIECES_PER_TASK, max(1, fair))
    parts: list[_Part] = []
    for first in range(0, size.piece_count, width):
        stop = min(first + width, size.piece_count)
        nbytes = size.nbytes * stop // size.piece_count - size.nbytes * first // size.piece_count
        parts.append(_Part(nbytes, array("q", [place]), (first, stop), size, size.home))
    return parts


def _in_turn(units: list[list[_Part]]) -> list[list[_Part]]:
    """Units so that those of every home are begun at the same pace: else the machines that hold the last ones would wait for the first."""
    homes = {unit[0].home for unit in units}
    if len(homes) < 2:
        return units
    totals, done = dict.fromkeys(homes, 1), dict.fromkeys(homes, 0)
    for unit in units:
        totals[unit[0].home] += sum(part.nbytes for part in unit)
    shares = []
    for unit in units:
        home = unit[0].home
        shares.append(done[home] / totals[home])
        done[home] += sum(part.nbytes for part in unit)
    return [units[place] for place in sorted(range(len(units)), key=shares.__getitem__)]


def _batches(small: array[int], small_bytes: array[int], worker_count: int, batch_bytes: int, home: int) -> list[list[_Part]]:
    """Whole pairs of one home in the order given, batched by bytes and by count."""
    shares = worker_count * TASKS_PER_WORKER
    most_bytes = min(batch_bytes, max(BATCH_MIN_BYTES, sum(small_bytes) // shares))
    most_items = min(BATCH_COUNT, max(BATCH_MIN_COUNT, -(-len(small) // shares)))
    units: list[list[_Part]] = []
    start = held = 0

    def close(stop: int) -> None:
        nonlocal start, held
        if stop > start:
            units.append([_Part(held, small[start:stop], home=home)])
        start, held = stop, 0

    for number, nbytes in enumerate(small_bytes):
        if held + nbytes > most_bytes or number - start >= most_items:
            close(number)
        held += nbytes
    close(len(small))
    return units
