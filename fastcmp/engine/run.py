"""A plan to results: a bounded window of tasks in flight, retries after a death, results in the order of the plan."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from types import FrameType
from typing import Final

from fastcmp.engine import calls
from fastcmp.engine.abilities import SeesBytes, Warms
from fastcmp.engine.attempts import Attempts
from fastcmp.engine.delivery import Delivery
from fastcmp.engine.disks import disks_of
from fastcmp.engine.executors import open_executor, worker_count
from fastcmp.engine.measure import dtype_pairs, measure
from fastcmp.errors import FastcmpError, WorkerDied
from fastcmp.options import CompareOptions
from fastcmp.outcome import TaskResult
from fastcmp.pairing import Pair
from fastcmp.plan import BATCH_BYTES, Plan, Task, plan

OnResult = Callable[[TaskResult], None]
OnProgress = Callable[[int], None]

# Enough that no worker waits for the parent, few enough that a stop is quick.
_TASKS_PER_WORKER: Final = 3
# Results that wait for an earlier task; a few hundred KB each. More, and a huge first pair would not hold anyone up.
_MOST_WAITING: Final = 256
_PROGRESS_S: Final = 0.2
_STOP_PATIENCE_S: Final = 5.0


def compare_pairs(
    pairs: Sequence[Pair],
    options: CompareOptions,
    executor: Executor,
    *,
    on_result: OnResult,
    on_plan: Callable[[int], None] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Measure, plan and run: all pairs that have both sides.

    Parameters
    ----------
    pairs : sequence of Pair
    options : CompareOptions
    executor : Executor
        See `fastcmp.engine.executors.open_executor`; left open.
    on_result, on_progress, stop
        See `run`.
    on_plan : callable, optional
        Called once, before the first result, with the bytes of both sides that there are to compare.

    Raises
    ------
    UsageError
        If the executor cannot start.
    KeyboardInterrupt
        See `run`.
    """
    disks = disks_of(executor)
    if isinstance(executor, Warms):
        executor.warm(calls.prepare, dtype_pairs(pairs, options.scan, disks))
    workers = getattr(executor, "max_workers", 0) or worker_count(options)
    batch_bytes = getattr(executor, "batch_bytes", BATCH_BYTES)
    planned = plan(pairs, measure(pairs, options.scan, disks), options, worker_count=workers, batch_bytes=batch_bytes)
    if on_plan is not None:
        on_plan(planned.total_bytes)
    run(planned, options, on_result, on_progress, executor=executor, stop=stop)


def run(
    plan: Plan,
    options: CompareOptions,
    on_result: OnResult,
    on_progress: OnProgress | None = None,
    *,
    executor: Executor | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Run all tasks of a plan.

    Parameters
    ----------
    plan : Plan
    options : CompareOptions
    on_result : callable
        Gets a `TaskResult` of whole pairs, in this thread, in the order of the plan: the same sequence for any number
        of workers and any executor. One record of sums for each compared pair.
    on_progress : callable, optional
        Gets the bytes done so far, of ``plan.total_bytes``, a few times a second.
    executor : Executor, optional
        Runs the tasks and is left open; else one is made as the options say, and closed.
    stop : threading.Event, optional
        Set it to stop as Ctrl-C does.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C or ``stop``, when the tasks in flight have ended or five seconds have passed; what was finished has
        been delivered, with gaps. At once on a second Ctrl-C.
    UsageError
        If the executor cannot start.
    """
    stop = stop or threading.Event()
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(open_executor(options)) if executor is None else executor
        stack.enter_context(_first_interrupt_sets(stop))
        _Run(plan, own, on_result, on_progress, stop).go()


@contextlib.contextmanager
def _first_interrupt_sets(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C only ask to stop: an exception out of the blue could cut a record in half that is being written."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def ask_then_insist(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    signal.signal(signal.SIGINT, ask_then_insist)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Run:
    """State of one run; all of it belongs to the calling thread but ``done``, which futures append to."""

    def __init__(self, plan: Plan, executor: Executor, on_result: OnResult, on_progress: OnProgress | None, stop: threading.Event) -> None:
        self.plan, self.executor, self.on_progress, self.stop = plan, executor, on_progress, stop
        self.delivery = Delivery(plan, on_result)
        self.window = _TASKS_PER_WORKER * getattr(executor, "max_workers", 1)
        # Where a crash takes the whole process, nothing is mapped.
        self.may_map = getattr(executor, "survives_worker_death", False)
        self.next = 0
        self.retries: deque[tuple[Task, bool]] = deque()
        self.attempts: dict[int, Attempts] = {}
        self.in_flight: dict[Future[TaskResult], Task] = {}
        self.done: queue.SimpleQueue[Future[TaskResult]] = queue.SimpleQueue()
        self.bytes_done = self.bytes_shown = 0
        self.shown_at = time.monotonic()

    def go(self) -> None:
        try:
            self._submit()
            while self.in_flight:
                if self.stop.is_set():
                    raise KeyboardInterrupt
                self._take(_PROGRESS_S)
                self._submit()
                self._show()
        except KeyboardInterrupt:
            self._wind_down()
            raise
        self._show(is_last=True)

    def _submit(self) -> None:
        """Fill the window: first what is tried again, then the plan."""
        while len(self.in_flight) < self.window:
            if self.retries:
                task, mapped = self.retries.popleft()
            elif self.next < len(self.plan.tasks) and self.delivery.waiting_count < _MOST_WAITING:
                task, mapped = self.plan.tasks[self.next], True
                self.attempts[task.index] = Attempts(task)
                self.next += 1
            else:
                return
            future = self.executor.submit(calls.compare, task, mapped and self.may_map)
            self.in_flight[future] = task
            future.add_done_callback(self.done.put)

    def _take(self, patience_s: float) -> None:
        """Handle the futures that are done; wait for one if there is none."""
        try:
            self._settle(self.done.get(timeout=patience_s))
            while True:
                self._settle(self.done.get_nowait())
        except queue.Empty:
            return

    def _settle(self, future: Future[TaskResult]) -> None:
        task = self.in_flight.pop(future)
        attempts = self.attempts[task.index]
        try:
            result = attempts.succeeded(future.result())
        except FastcmpError as error:
            if not isinstance(error, WorkerDied):
                raise  # the pool cannot work at all
            again, result = attempts.failed(task, error)
            self.retries.extend(again)
        except Exception as error:
            again, result = attempts.failed(task, error)
            self.retries.extend(again)
        if result is not None:
            del self.attempts[task.index]
            self.bytes_done += self.plan.task_bytes[task.index]
            self.delivery.add(result)

    def _show(self, is_last: bool = False) -> None:
        """Report progress: finished tasks, and of those in flight what the beacons say."""
        now = time.monotonic()
        if self.on_progress is None or (now - self.shown_at < _PROGRESS_S and not is_last):
            return
        self.shown_at = now
        seen = self.bytes_done
        if isinstance(self.executor, SeesBytes) and not is_last:
            seen = self.executor.bytes_seen(self.bytes_done)
        # A retry begins anew and headers are bytes too: never backwards, never beyond the end.
        self.bytes_shown = max(self.bytes_shown, min(seen, self.plan.total_bytes))
        self.on_progress(self.bytes_shown)

    def _wind_down(self) -> None:
        """Begin nothing more; give what runs a little time, and deliver all that is whole."""
        for future in list(self.in_flight):
            if future.cancel():
                del self.in_flight[future]
        deadline = time.monotonic() + _STOP_PATIENCE_S
        while self.in_flight and (left := deadline - time.monotonic()) > 0:
            try:
                future = self.done.get(timeout=left)
            except queue.Empty:
                break
            task = self.in_flight.pop(future, None)
            if task is None:
                continue
            try:
                result = self.attempts[task.index].succeeded(future.result())
            except (Exception, CancelledError):
                continue  # the next run tries it
            if result is not None:
                self.delivery.add(result)
        self.delivery.flush()
