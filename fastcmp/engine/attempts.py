"""What becomes of a task whose worker died: which rows are tried again, how, and when a row is given up.

Pure bookkeeping: no processes, no futures. A row that its worker was on when it died is tried once more, alone and
without maps (a file that shrinks is then an error row, not a SIGBUS); the other rows of the batch go on without it. A task that was
lost with a machine is tried again as it was, for none of its rows is to blame; but not for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from fastcmp.engine.item_errors import ItemError
from fastcmp.engine.pieces import stack
from fastcmp.errors import WorkerDied
from fastcmp.formats.places import shown_place
from fastcmp.kernels.sums import SUMS_DTYPE
from fastcmp.outcome import INPUT_WORDS, NOTHING_READ, InputRecord, TaskResult, TensorFacts
from fastcmp.plan import Task, WorkItem

# Machines that are lost under one task. More of them, and it may be the task after all, or there is nowhere left to go.
LOSSES_ALLOWED: Final = 4


class Attempts:
    """One task on its way, from the first attempt to a result with an entry for each of its items."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._deaths: dict[int, list[str]] = {}
        self._losses = 0
        self._parts: list[TaskResult] = []

    def succeeded(self, part: TaskResult) -> TaskResult | None:
        """Take the result of some of the items; returns that of the task once every item has one."""
        self._parts.append(part)
        if sum(len(known.rows) for known in self._parts) < len(self._task.items):
            return None
        return self._parts[0] if len(self._parts) == 1 else _in_order(self._task, self._parts)

    def failed(self, attempt: Task, error: BaseException) -> tuple[list[tuple[Task, bool]], TaskResult | None]:
        """The worker of ``attempt`` died, or the call failed as a whole.

        Returns
        -------
        list of (Task, bool)
            What to try next, and whether it may be mapped.
        TaskResult or None
            As `succeeded`, where a row was given up and nothing is left to try.
        """
        if isinstance(error, WorkerDied) and error.node_lost:
            return self._lost(attempt, error)
        row = error.row if isinstance(error, WorkerDied) else -1
        blamed = [item for item in attempt.items if item.row == row] or list(attempt.items)
        others = tuple(item for item in attempt.items if item not in blamed)
        again: list[tuple[Task, bool]] = [(replace(attempt, items=others), True)] if others else []
        result = None
        for item in blamed:
            deaths = self._deaths.setdefault(item.row, [])
            deaths.append(error.cause if isinstance(error, WorkerDied) else f"{type(error).__name__}: {error}")
            if len(deaths) == 1:
                again.append((replace(attempt, items=(item,)), False))
            else:
                result = self.succeeded(error_row(attempt.index, item, _given_up(item, error, deaths)))
        return again, result

    def _lost(self, attempt: Task, error: WorkerDied) -> tuple[list[tuple[Task, bool]], TaskResult | None]:
        """The machine is gone: the whole attempt again, elsewhere; a row that was alone for its death stays without maps."""
        self._losses += 1
        if self._losses <= LOSSES_ALLOWED:
            return [(attempt, not any(item.row in self._deaths for item in attempt.items))], None
        result = None
        for item in attempt.items:
            said = f"{shown_place(item.golden_path)}: {error.cause}; given up after {self._losses} losses"
            result = self.succeeded(error_row(attempt.index, item, ItemError("E_NODE_LOST", "", said)))
        return [], result


def _given_up(item: WorkItem, error: BaseException, deaths: Sequence[str]) -> ItemError:
    """The error row of an item that failed twice."""
    where = shown_place(item.golden_path)
    if isinstance(error, WorkerDied):
        causes = deaths[-1] if deaths[0] == deaths[-1] else f"{deaths[0]}, then {deaths[-1]}"
        if error.timed_out:
            return ItemError("E_TIMEOUT", "", f"{where}: {causes}, twice")
        return ItemError("E_WORKER_DIED", "", f"{where}: the worker process died twice: {causes}")
    if isinstance(error, MemoryError):
        return ItemError("E_MEMORY", "", f"{where}: no memory for this pair")
    return ItemError("E_INTERNAL", "", f"{where}: {type(error).__name__}: {error}")


def error_row(task: int, item: WorkItem, error: ItemError) -> TaskResult:
    """A result of one item that was not compared."""
    return TaskResult(
        task,
        rows=[item.row],
        golden=[TensorFacts()],
        target=[TensorFacts()],
        error_codes=[error.code],
        error_sides=[error.side],
        error_details=[error.detail],
        notes=[()],
        metric_values=[()],
        sums=np.empty(0, SUMS_DTYPE),
        sums_counts=[0],
    )


def _in_order(task: Task, parts: Sequence[TaskResult]) -> TaskResult:
    """One result from those of the task's items, in the task's order: as if nothing had happened."""
    entries: dict[int, tuple[TaskResult, int, int]] = {}
    for part in parts:
        at = 0
        for position, row in enumerate(part.rows):
            entries[row] = part, position, at
            at += part.sums_counts[position]
    whole = TaskResult(
        task.index,
        bytes_compared=sum(part.bytes_compared for part in parts),
        busy_s=sum(part.busy_s for part in parts),
    )
    records: list[np.ndarray] = []
    inputs: list[np.ndarray | InputRecord] = []
    for item in task.items:
        part, position, at = entries[item.row]
        for name in ("rows", "golden", "target", "error_codes", "error_sides", "error_details", "notes", "sums_counts", "metric_values"):
            getattr(whole, name).append(getattr(part, name)[position])
        if part.sums is not None:
            records.append(part.sums[at : at + part.sums_counts[position]])
        inputs.append(NOTHING_READ if part.inputs is None else part.inputs[position])
    whole.sums = stack(records)
    whole.inputs = np.array(inputs, np.int64).reshape(-1, INPUT_WORDS)
    return whole
