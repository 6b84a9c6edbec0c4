"""Every measurement in turn with its floor: a machine drifts from minute to minute, a round of both does not."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fastcmp.benchmark import work
from fastcmp.benchmark.data import LARGE_DTYPES, Dump, Size, large_dump, repeated, small_dump
from fastcmp.engine import calls
from fastcmp.engine.local_pool import LocalPool
from fastcmp.options import CompareOptions, FoldOptions, ScanOptions
from fastcmp.plan import BATCH_COUNT, Task, WorkItem

_CHUNKS_PER_WORKER: Final = 4
# No call of ours moves a beacon, and a machine may be slow.
_PATIENCE_S: Final = 600.0
# The difference of two runs below this share of the longer one is noise.
_LEAST_DIFFERENCE: Final = 0.2


@dataclass
class Row:
    """One rate beside its floor.

    Attributes
    ----------
    name, unit, floor : str
        What was measured, in what, beside what.
    rounds : list of (float, float)
        Rates (more is better) of both, taken right after each other.
    """

    name: str
    unit: str
    floor: str
    rounds: list[tuple[float, float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(rate for rate, _ in self.rounds)

    @property
    def floor_rate(self) -> float:
        return statistics.median(floor for _, floor in self.rounds)

    @property
    def ratio(self) -> float:
        """Median of the ratios, not ratio of the medians."""
        return statistics.median(rate / floor for rate, floor in self.rounds)


def measure(directory: Path, size: Size, tell: Callable[[str], None]) -> Iterator[Row]:
    """The rows, as they are ready; ``tell`` hears what is done meanwhile. Files are mapped and warm, all of them were just written."""
    count = len(os.sched_getaffinity(0))
    with _pool(count) as pool:
        tell("compiling the kernels, where this machine has none yet, and writing the files")
        large, small = large_dump(directory / "large", size), small_dump(directory / "small", size)
        pool.submit(os.getpid).result()
        yield _scan_row(pool, large, size)
        tell("kernels in memory")
        for dtype in LARGE_DTYPES:
            for kl in (False, True):
                yield _kernel_row(pool, dtype, kl, size)
        tell("small pairs")
        yield _small_row(pool, small, size)
        tell("whole comparisons")
        yield from _compare_rows(pool, large, directory, size)


@contextmanager
def _pool(count: int) -> Iterator[LocalPool]:
    with LocalPool(count, stall_s=_PATIENCE_S) as pool:
        pool.warm(work.prepare)
        try:
            yield pool
        finally:
            pool.kill()  # without waiting for what nobody wants any more


def cores_text(count: int) -> str:
    """``1 core``, ``2 cores``."""
    return f"{count} core{'' if count == 1 else 's'}"


def _span(pool: LocalPool, function: Callable[[Sequence[str]], tuple[float, float]], files: Sequence[str]) -> float:
    """Seconds from the first beginning to the last end, the files shared out among all workers; their clock is one."""
    chunks = min(len(files), pool.max_workers * _CHUNKS_PER_WORKER)
    spans = [future.result() for future in [pool.submit(function, files[number::chunks]) for number in range(chunks)]]
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def _scan_row(pool: LocalPool, large: Dump, size: Size) -> Row:
    row = Row(f"scan of files, {cores_text(pool.max_workers)}", "GB/s", "the same, 1 core")
    work_gb = large.nbytes / 1e9
    for number in range(size.rounds + 1):
        all_s = _span(pool, work.scan_mapped, large.files)
        begin, end = pool.submit(work.scan_mapped, large.files).result()
        if number:
            row.rounds.append((work_gb / all_s, work_gb / (end - begin)))
    return row


def _kernel_row(pool: LocalPool, dtype: str, kl: bool, size: Size) -> Row:
    row = Row(f"kernel {dtype}{', KL' if kl else ''}", "GB/s", "memory scan, 1 core")
    work_gb = 2 * size.kernel_bytes / 1e9
    seconds = pool.submit(work.fold_and_scan, dtype, kl, size.kernel_bytes, size.rounds).result()
    row.rounds = [(work_gb / fold_s, work_gb / scan_s) for fold_s, scan_s in seconds]
    return row


def _small_row(pool: LocalPool, small: Dump, size: Size) -> Row:
    row = Row(f"pairs of 8 KB, {cores_text(pool.max_workers)}", "pairs/s", "open, pread, close")
    tasks = _tasks(small)
    count = len(small.pairs)
    for number in range(size.rounds + 1):
        begin = time.perf_counter()
        futures: list[Future] = [pool.submit(calls.compare, task, True) for task in tasks]
        codes = [code for future in futures for code in future.result().error_codes]
        seconds = time.perf_counter() - begin
        _expect(codes == [""] * count, "a small pair could not be compared")
        floor_s = _span(pool, work.read_small, small.files)
        if number:
            row.rounds.append((count / seconds, count / floor_s))
    return row


def _tasks(dump: Dump) -> list[Task]:
    items = [WorkItem(row, golden, target, FoldOptions()) for row, (golden, target) in enumerate(dump.pairs)]
    return [
        Task(index, tuple(items[first : first + BATCH_COUNT]), ScanOptions())
        for index, first in enumerate(range(0, len(items), BATCH_COUNT))
    ]


def _compare_rows(pool: LocalPool, large: Dump, directory: Path, size: Size) -> Iterator[Row]:
    """A whole comparison; and what each further GB costs, from the same files compared once and several times over."""
    once_gb = large.nbytes / 1e9
    more = repeated(large, size.repeats)
    more_gb = once_gb * size.repeats
    floor = f"file scan, {cores_text(pool.max_workers)}"
    whole = Row(f"start and compare {more_gb:.2g} GB", "GB/s", floor)
    further = Row("compare, each further GB", "GB/s", floor)
    for number in range(min(size.rounds, 3) + 1):
        once_s = _compare(large, len(large.pairs), directory)
        more_s = _compare(more, len(large.pairs) * size.repeats, directory)
        floor_rate = once_gb / _span(pool, work.scan_mapped, large.files)
        if not number:
            continue
        whole.rounds.append((more_gb / more_s, floor_rate))
        if more_s - once_s > _LEAST_DIFFERENCE * more_s:
            further.rounds.append(((more_gb - once_gb) / (more_s - once_s), floor_rate))
    yield whole
    if further.rounds:
        yield further


def _compare(dump: Dump, pairs: int, directory: Path) -> float:
    """Seconds of the whole comparison, without an earlier report to go on from."""
    from fastcmp.api import compare

    report = directory / "report"
    shutil.rmtree(report, ignore_errors=True)
    begin = time.perf_counter()
    totals = compare(dump.golden, dump.target, options=CompareOptions(output=str(report))).totals
    seconds = time.perf_counter() - begin
    _expect(totals.passed == totals.rows == pairs, f"{totals.passed} of {pairs} pairs passed, all should")
    return seconds


def _expect(is_so: bool, otherwise: str) -> None:
    """A speed of wrong answers is worth nothing."""
    if not is_so:
        raise RuntimeError(otherwise)
