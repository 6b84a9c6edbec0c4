"""Executors by name. Any `concurrent.futures.Executor` will do; the local pool is the one that survives crashes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from fastcmp.engine.abilities import Ends
from fastcmp.engine.beacon import CountingBeacon, use_beacon
from fastcmp.engine.local_pool import LocalPool
from fastcmp.engine.spawn import cannot_start
from fastcmp.errors import UsageError, open_files_hint
from fastcmp.executor_choice import parse_executor
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

    def bytes_seen(self, bytes_finished: int) -> int:
        """All that the beacon has counted."""
        return max(bytes_finished, self.beacon.nbytes)


def worker_count(options: CompareOptions) -> int:
    """How many workers to use: as told, or one for each core that this process may run on."""
    if options.executor == "serial":
        return 1
    return options.workers or len(os.sched_getaffinity(0))


@contextlib.contextmanager
def open_executor(options: CompareOptions) -> Iterator[Executor]:
    """The executor that the options name, closed at the end without waiting for what nobody wants any more.

    The local pool begins at once to start the process that its workers are forked from, and to import the kernels there.

    Raises
    ------
    UsageError
        If there is none of that name, the local pool cannot start here, or the cluster cannot be used.
    """
    executor = _make_executor(options)
    try:
        yield executor
    finally:
        if isinstance(executor, Ends):
            executor.kill()
        else:
            executor.shutdown(wait=True, cancel_futures=True)


def _make_executor(options: CompareOptions) -> Executor:
    count = worker_count(options)
    if count < 1:
        raise UsageError(f"-j: expected a positive number, or 0 for one per core; got {options.workers}")
    choice = parse_executor(options.executor)
    if choice.kind == "local":
        try:
            pool = LocalPool(count, stall_s=options.stall_s)
        except OSError as error:
            raise cannot_start(f"{error}{open_files_hint(error)}") from error
        from fastcmp.engine import calls  # behind the start of the pool, for it brings numpy

        pool.warm(calls.prepare, [])
        return pool
    if choice.kind == "threads":
        return ThreadsExecutor(count)
    if choice.kind == "serial":
        return SerialExecutor()
    if choice.kind == "ray":
        from fastcmp.engine.ray_executor import open_ray

        return open_ray(choice, options)
    from fastcmp.engine.dask_executor import open_dask

    return open_dask(choice, options)
