"""Executors by name. Any `concurrent.futures.Executor` will do; the local pool is the one that survives crashes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from fastcmp.engine.beacon import CountingBeacon, use_beacon
from fastcmp.engine.local_pool import LocalPool
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SerialExecutor(Executor):
    """Makes each call at once, in the caller's thread: for debuggers and profilers."""

    max_workers = 1

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call, and return a future that is done. Ctrl-C goes through to the caller."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class ThreadsExecutor(ThreadPoolExecutor):
    """Threads of this process. Files are read by ``pread``: a SIGBUS would take the process and its caller."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self.beacon = CountingBeacon()
        super().__init__(max_workers, thread_name_prefix="fastcmp", initializer=use_beacon, initargs=(self.beacon,))


def worker_count(options: CompareOptions) -> int:
    """How many workers to use: as told, or one for each core that this process may run on."""
    if options.executor == "serial":
        return 1
    return options.workers or len(os.sched_getaffinity(0))


def make_executor(options: CompareOptions) -> Executor:
    """The executor that the options name.

    Raises
    ------
    UsageError
        If there is none of that name, or the local pool cannot start here.
    """
    count = worker_count(options)
    if count < 1:
        raise UsageError(f"--workers: expected a positive number, or 0 for one per core; got {options.workers}")
    if options.executor == "local":
        return LocalPool(count, stall_s=options.stall_s)
    if options.executor == "threads":
        return ThreadsExecutor(count)
    if options.executor == "serial":
        return SerialExecutor()
    raise UsageError(f"--executor: expected local, threads or serial, got {options.executor!r}")
