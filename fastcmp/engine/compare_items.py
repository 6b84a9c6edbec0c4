"""A task to its result: scan the headers, check each pair, fold it piece by piece.

Nothing that is wrong with one pair leaves this module as an exception: it becomes that pair's error row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.engine.beacon import NO_ROW, Beacon, present_beacon
from fastcmp.engine.custom_metrics import custom_values
from fastcmp.engine.item_errors import ItemError, as_item_error, both_sides
from fastcmp.engine.measured import Measured, measured_beside, stated_record
from fastcmp.engine.narrow_values import differ_notably, narrow_values_notes
from fastcmp.engine.pieces import edges_of, merge_pieces, row_length, stack
from fastcmp.errors import STATED_CODES, NoDataError
from fastcmp.formats import KeptFiles, scan_batch
from fastcmp.formats.composed_payload import ComposedPayload
from fastcmp.formats.layout import reconcile
from fastcmp.formats.payload import Payload, open_payload
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.kernels import fold, masks
from fastcmp.options import FormatPolicy, ScanOptions
from fastcmp.outcome import INPUT_WORDS, NOTHING_READ, InputRecord, TaskResult, TensorFacts, input_record
from fastcmp.plan import Task, TaskMetrics, WorkItem


class _Opening(NamedTuple):
    """How payloads are opened in this task."""

    mapped: bool
    roots: tuple[str, ...]
    format_policy: FormatPolicy

    def of(self, info: TensorInfo) -> Payload | ComposedPayload:
        return open_payload(info, mapped=self.mapped, roots=self.roots)


class _Entry:
    """One item on its way to its entry in the result."""

    __slots__ = ("failure", "golden", "item", "measured", "metric_values", "notes", "sums", "target")

    def __init__(self, item: WorkItem, golden: TensorInfo | Exception, target: TensorInfo | Exception) -> None:
        self.item, self.golden, self.target = item, golden, target
        self.notes: tuple[str, ...] = ()
        self.sums: list[np.ndarray] = []
        self.metric_values: tuple[float | None, ...] = ()
        self.failure: ItemError | None = None
        # What is stated of the one side, of the data of the other.
        self.measured: Measured | None = None


def prepare(dtype_pairs: Iterable[tuple[str, str]]) -> None:
    """Have everything imported and compiled that tasks over these (golden, target) dtypes will need."""
    fold.warm(list(dtype_pairs))


def run_task(task: Task, *, mapped: bool = True, beacon: Beacon | None = None) -> TaskResult:
    """Compare all items of a task.

    Parameters
    ----------
    task : Task
    mapped : bool
        Large payloads are mapped; else everything is read by ``pread``, where a file that shrinks is an error row
        instead of the death of this process.
    beacon : Beacon or None
        None: that of the thread.

    Returns
    -------
    TaskResult
        One entry per item, whatever happened. Notes hold what the readers and `reconcile` warned of; that shapes
        or dtypes differ is seen from the facts of both sides.
    """
    began = time.perf_counter()
    beacon = beacon if beacon is not None else present_beacon()
    result = TaskResult(task.index)
    kept = _kept_files()
    scanned = _scan(task, kept)
    entries = [_Entry(item, scanned[2 * number], scanned[2 * number + 1]) for number, item in enumerate(task.items)]
    opening = _Opening(mapped, task.scan.roots, task.scan.format_policy)
    jobs: list[tuple[_Entry, fold.Job]] = []
    for entry in entries:
        beacon.on_row(entry.item.row)
        job = _compare(entry, kept, opening, beacon, result)
        if job is not None:
            jobs.append((entry, job))
    beacon.on_row(NO_ROW)
    _fold_kept(jobs, kept, beacon, result)
    if task.metrics.specs:
        _add_metrics(entries, task.metrics, opening, beacon)
    for entry in entries:
        _append(entry, result)
    result.sums = stack([record for entry in entries for record in entry.sums])
    result.inputs = np.array([_input_record(entry) for entry in entries], np.int64).reshape(-1, INPUT_WORDS)
    result.busy_s = time.perf_counter() - began
    return result


_local = threading.local()


def _kept_files() -> KeptFiles:
    """Empty memory for small files, the same one for every task of a thread."""
    kept: KeptFiles | None = getattr(_local, "kept", None)
    if kept is None:
        kept = _local.kept = KeptFiles()
    kept.clear()
    return kept


def _scan(task: Task, kept: KeptFiles) -> list[TensorInfo | Exception]:
    """Headers of golden, target, golden, ...; one call for the batch, for crossing into the reader costs more than a header."""
    paths = [path for item in task.items for path in (item.golden_path, item.target_path)]
    try:
        return list(scan_batch(paths, task.scan, kept))
    except Exception:
        kept.clear()
        return [_scan_alone(path, task.scan) for path in paths]


def _scan_alone(path: str, options: ScanOptions) -> TensorInfo | Exception:
    try:
        return scan_batch([path], options)[0]
    except Exception as error:
        return error


def _compare(entry: _Entry, kept: KeptFiles, opening: _Opening, beacon: Beacon, result: TaskResult) -> fold.Job | None:
    """Compare one item, or say how to, where both its files are kept; what is wrong with it becomes its failure."""
    item = entry.item
    try:
        if isinstance(entry.golden, Exception) or isinstance(entry.target, Exception):
            entry.measured = measured_beside(entry.golden, entry.target, opening.of, beacon.on_bytes)
            if entry.measured is not None:
                result.bytes_compared += sum(info.nbytes for info in (entry.golden, entry.target) if isinstance(info, TensorInfo))
            raise _scan_failure(item, entry.golden, entry.target)
        if entry.golden.composed is not None or entry.target.composed is not None:  # for an error too: it shows what was put together
            entry.notes = (*entry.golden.warnings, *entry.target.warnings)
        golden, target, format_notes = _comparable(entry.golden, entry.target, opening.format_policy)
        entry.golden, entry.target = golden, target
        entry.notes = (*golden.warnings, *target.warnings, *format_notes)
        places = kept.payload_place(golden), kept.payload_place(target)
        if item.first_piece is None and min(places) >= 0 and golden.is_direct and target.is_direct:
            return _job(item, golden, places[0], target, places[1])
        _compare_pieces(entry, golden, target, opening, beacon, result)
    except Exception as error:
        entry.failure, entry.sums = as_item_error(error, item), []
    return None


def _job(item: WorkItem, golden: TensorInfo, golden_at: int, target: TensorInfo, target_at: int) -> fold.Job:
    """A small pair as one piece, as `edges_of` would have it."""
    count = golden.element_count
    return fold.Job(
        golden_at, golden.dtype, target_at, target.dtype, 0, count, count, row_length(golden), item.fold, _rounding(item, golden, target)
    )


def _fold_kept(jobs: list[tuple[_Entry, fold.Job]], kept: KeptFiles, beacon: Beacon, result: TaskResult) -> None:
    """All pairs of kept files in one call."""
    sums = fold.fold_arena(kept.memory, [job for _, job in jobs])
    done = 0
    for number, (entry, _) in enumerate(jobs):
        entry.sums = [sums[number : number + 1]]
        assert not isinstance(entry.golden, Exception) and not isinstance(entry.target, Exception)
        if entry.item.fold.mask_fill:
            golden, target = fold.sides_of(kept.memory, jobs[number][1])
            masks.settle_masks(
                entry.sums[0],
                golden,
                _dtypes(entry.golden, entry.item.golden_dtype),
                target,
                _dtypes(entry.target, entry.item.target_dtype),
            )
        done += entry.golden.nbytes + entry.target.nbytes
    for number in np.flatnonzero(differ_notably(sums)).tolist():
        entry, job = jobs[number]
        assert not isinstance(entry.golden, Exception) and not isinstance(entry.target, Exception)
        golden, target = fold.sides_of(kept.memory, job)
        entry.notes += narrow_values_notes(entry.golden, golden, entry.target, target)
    result.bytes_compared += done
    beacon.on_bytes(done)


def _compare_pieces(entry: _Entry, golden: TensorInfo, target: TensorInfo, opening: _Opening, beacon: Beacon, result: TaskResult) -> None:
    item = entry.item
    edges = edges_of(golden, target)
    first, stop = _piece_range(item, golden, target, len(edges) - 1)
    sums = _fold_pieces(entry, golden, target, edges[first : stop + 1], opening, beacon)
    result.bytes_compared += sum(_bytes_between(info, edges[first], edges[stop]) for info in (golden, target))
    entry.sums = [merge_pieces(sums)] if item.first_piece is None else sums


def _add_metrics(entries: list[_Entry], metrics: TaskMetrics, opening: _Opening, beacon: Beacon) -> None:
    """The user's own metrics of what could be compared; of a pair in ranges, with the range that begins it."""
    for entry in entries:
        item, golden, target = entry.item, entry.golden, entry.target
        if entry.failure is not None or item.first_piece or isinstance(golden, Exception) or isinstance(target, Exception):
            continue
        beacon.on_row(item.row)
        try:
            found = custom_values(metrics, golden, target, opening.of, item.fold)
        except Exception as error:
            entry.failure, entry.sums = as_item_error(error, item), []
        else:
            entry.metric_values, notes = found
            entry.notes = (*entry.notes, *notes)
    beacon.on_row(NO_ROW)


def _append(entry: _Entry, result: TaskResult) -> None:
    """Append one item's entry to every column but ``sums``."""
    failure = entry.failure
    result.rows.append(entry.item.row)
    result.golden.append(_facts(entry.golden, entry.item.golden_dtype, entry.measured))
    result.target.append(_facts(entry.target, entry.item.target_dtype, entry.measured))
    result.error_codes.append(failure.code if failure else "")
    result.error_sides.append(failure.side if failure else "")
    result.error_details.append(failure.detail if failure else "")
    result.notes.append(entry.notes)
    result.metric_values.append(entry.metric_values)
    result.sums_counts.append(len(entry.sums))


def _input_record(entry: _Entry) -> InputRecord:
    golden, target = entry.golden, entry.target
    if entry.failure is not None or isinstance(golden, Exception) or isinstance(target, Exception):
        return stated_record(golden, target) if entry.failure is not None and entry.failure.code in STATED_CODES else NOTHING_READ
    return input_record(golden.identity, target.identity)


def _facts(info: TensorInfo | Exception, true_dtype: str, measured: Measured | None) -> TensorFacts:
    if isinstance(info, NoDataError):
        return TensorFacts(info.dtype, info.shape, statistics=info.statistics, decimals=info.decimals, checksum=info.checksum)
    if isinstance(info, Exception):
        return TensorFacts()
    dtype = _true_dtype(info, true_dtype)
    if measured is None:
        return TensorFacts(dtype, info.shape, info.nbytes, info.format_code)
    return TensorFacts(dtype, info.shape, info.nbytes, info.format_code, measured.statistics, None, measured.checksum)


def _true_dtype(info: TensorInfo, true_dtype: str) -> str:
    """What the dump side says the dtype was before it stored a wider one; else what the file has."""
    return true_dtype if true_dtype in DTYPES else info.dtype


def _dtypes(info: TensorInfo, true_dtype: str) -> tuple[str, str]:
    """As what a tensor is stored, and what it was before it was dumped."""
    return info.dtype, _true_dtype(info, true_dtype)


def _comparable(golden: TensorInfo, target: TensorInfo, policy: FormatPolicy) -> tuple[TensorInfo, TensorInfo, tuple[str, ...]]:
    """Both sides in an order in which they can be compared, and what is odd about that; an error for a pair without one."""
    golden, target, notes = reconcile(golden, target, policy)
    if golden.element_count != target.element_count:
        raise ItemError("E_SHAPE", "", f"golden has shape {golden.shape} but target has shape {target.shape}")
    return golden, target, notes


def _piece_range(item: WorkItem, golden: TensorInfo, target: TensorInfo, piece_count: int) -> tuple[int, int]:
    """The half-open range of pieces to fold; `ItemError` if the planned range was that of another file."""
    if item.first_piece is None or item.stop_piece is None:
        return 0, piece_count
    for info, planned, side in ((golden, item.golden_identity, "golden"), (target, item.target_identity, "target")):
        if item.stop_piece > piece_count or (planned is not None and info.identity != planned):
            raise ItemError("E_CHANGED", side, f"{info.path}: the file is not as it was when the run was planned")
    return item.first_piece, item.stop_piece


def _fold_pieces(
    entry: _Entry, golden: TensorInfo, target: TensorInfo, edges: list[int], opening: _Opening, beacon: Beacon
) -> list[np.ndarray]:
    """Sums of each piece between neighbouring ``edges``; what the first piece of the pair shows becomes a note."""
    item = entry.item
    records: list[np.ndarray] = []
    rounding = _rounding(item, golden, target)
    count, row = golden.element_count, row_length(golden)
    with opening.of(golden) as golden_payload, opening.of(target) as target_payload:
        for start, stop in pairwise(edges):
            golden_piece, target_piece = golden_payload.piece(start, stop), target_payload.piece(start, stop)
            record = fold.fold_piece(
                golden_piece,
                golden.dtype,
                target_piece,
                target.dtype,
                start=start,
                element_count=count,
                row_length=row,
                options=item.fold,
                rounding_dtype=rounding,
            )
            if item.fold.mask_fill:
                masks.settle_masks(
                    record, golden_piece, _dtypes(golden, item.golden_dtype), target_piece, _dtypes(target, item.target_dtype)
                )
            records.append(record.reshape(1))
            if start == 0 and differ_notably(record):
                entry.notes += narrow_values_notes(golden, golden_piece, target, target_piece)
            beacon.on_bytes(_bytes_between(golden, start, stop) + _bytes_between(target, start, stop))
    return records


def _rounding(item: WorkItem, golden: TensorInfo, target: TensorInfo) -> str:
    return fold.rounding_dtype(_true_dtype(golden, item.golden_dtype), _true_dtype(target, item.target_dtype))


def _bytes_between(info: TensorInfo, start: int, stop: int) -> int:
    """Payload bytes of a run of elements; they add up to ``nbytes``, packed or not."""
    count = info.element_count
    return info.nbytes * stop // count - info.nbytes * start // count if count else 0


def _scan_failure(item: WorkItem, golden: TensorInfo | Exception, target: TensorInfo | Exception) -> ItemError:
    """The error row of a pair of which one or both headers could not be read."""
    if not isinstance(golden, Exception):
        assert isinstance(target, Exception)
        return as_item_error(target, item, "target")
    failure = as_item_error(golden, item, "golden")
    return both_sides(failure, as_item_error(target, item, "target")) if isinstance(target, Exception) else failure
