"""Results in the order of the plan, with split pairs put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final

import numpy as np

from fastcmp.engine.pieces import merge_pieces, stack
from fastcmp.kernels.sums import SUMS_DTYPE
from fastcmp.outcome import INPUT_WORDS, TaskResult
from fastcmp.plan import Plan

# The lists of a `TaskResult`, one entry per item.
_COLUMNS: Final = tuple(column.name for column in fields(TaskResult) if column.default_factory is list)


class Delivery:
    """Holds results back until all earlier tasks have theirs, and the ranges of a split pair until they are all there.

    Parameters
    ----------
    plan : Plan
    on_result : callable
        Gets results that hold whole pairs only, each with one record of sums per compared pair.
    """

    def __init__(self, plan: Plan, on_result: Callable[[TaskResult], None]) -> None:
        self._split_rows = plan.split_rows
        self._on_result = on_result
        self._waiting: dict[int, TaskResult] = {}
        self._next = 0

    @property
    def waiting_count(self) -> int:
        """Results that are held back."""
        return len(self._waiting)

    def add(self, result: TaskResult) -> None:
        """Take a result, and deliver all that can be."""
        self._waiting[result.task] = result
        while self._next < len(self._split_rows):
            group = self._group(self._next)
            if any(index not in self._waiting for index in group):
                return
            self._next = group.stop
            self._deliver(group)

    def flush(self) -> None:
        """Deliver whatever is whole, gaps or not: the run ends early."""
        for index in sorted(self._waiting):
            if index in self._waiting and self._begins_a_group(index):
                group = self._group(index)
                if all(part in self._waiting for part in group):
                    self._deliver(group)

    def _begins_a_group(self, index: int) -> bool:
        """False for all but the first range of a split pair: what follows a gap in it is not the pair."""
        row = self._split_rows[index]
        return row is None or index == 0 or self._split_rows[index - 1] != row

    def _group(self, start: int) -> range:
        """Indices of the tasks that are delivered together: one, or all ranges of a split pair."""
        row = self._split_rows[start]
        stop = start + 1
        if row is not None:
            while stop < len(self._split_rows) and self._split_rows[stop] == row:
                stop += 1
        return range(start, stop)

    def _deliver(self, group: range) -> None:
        parts = [self._waiting.pop(index) for index in group]
        if self._split_rows[group.start] is None:
            self._on_result(parts[0])
        else:
            self._on_result(join_ranges(parts))


def join_results(results: Sequence[TaskResult]) -> TaskResult:
    """Results of whole pairs, one or more, as one; it has the index of the last task."""
    if len(results) == 1:
        return results[0]
    joined = TaskResult(results[-1].task)
    for result in results:
        for name in _COLUMNS:
            getattr(joined, name).extend(getattr(result, name))
        joined.bytes_compared += result.bytes_compared
        joined.busy_s += result.busy_s
    joined.inputs = np.concatenate([_inputs(result) for result in results])
    joined.sums = stack([result.sums for result in results if result.sums is not None])
    return joined


def _inputs(result: TaskResult) -> np.ndarray:
    return np.zeros((len(result.rows), INPUT_WORDS), np.int64) if result.inputs is None else result.inputs


def join_ranges(parts: list[TaskResult]) -> TaskResult:
    """The result of one whole pair from those of its ranges of pieces, in order; the first error among them is the pair's."""
    failed = [part for part in parts if part.error_codes[0]]
    first = (failed or parts)[0]
    whole = TaskResult(
        parts[-1].task,
        rows=list(first.rows),
        golden=list(first.golden),
        target=list(first.target),
        error_codes=list(first.error_codes),
        error_sides=list(first.error_sides),
        error_details=list(first.error_details),
        notes=list(first.notes),
        metric_values=list(first.metric_values),  # of the range that begins the pair, which has the whole of it
        busy_s=sum(part.busy_s for part in parts),
    )
    if failed:
        whole.sums, whole.sums_counts = np.empty(0, SUMS_DTYPE), [0]
        return whole
    records = [part.sums[i : i + 1] for part in parts if part.sums is not None for i in range(len(part.sums))]
    whole.sums, whole.sums_counts = merge_pieces(records), [1]
    whole.inputs = first.inputs  # every range was read from the same two files, or has an error
    whole.bytes_compared = sum(part.bytes_compared for part in parts)
    return whole
