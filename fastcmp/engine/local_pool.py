"""`LocalPool`: an executor of our own worker processes that outlives their deaths.

Not `concurrent.futures.ProcessPoolExecutor`: one killed worker breaks it for good. Not `multiprocessing.Pool`: it hangs
when a worker dies. Neither works from a script without a ``__main__`` guard, because their children run it again.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from fastcmp.engine import messages
from fastcmp.engine.supervisor import Supervisor
from fastcmp.engine.worker_handle import Call

_P = ParamSpec("_P")
_T = TypeVar("_T")

_running: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class LocalPool(Executor):
    """Worker processes, forked from one warmed process, each replaced when it dies.

    A call whose worker dies gets `fastcmp.errors.WorkerDied` with the row that the worker was on; calls that had not
    begun go to another worker without anybody noticing. Workers end within moments of this process, however it ends.

    Parameters
    ----------
    max_workers : int or None
        None: one for each core this process may use. Workers are forked when there is work for them.
    stall_s : float
        A worker inside a call that neither moves its beacon nor reads a byte for so long is killed; the call gets
        `WorkerDied` with ``timed_out``.

    Raises
    ------
    UsageError
        If the system does not let us start processes; also from the futures, where that shows only later.
    """

    # A crash costs a worker, not the run: files may be mapped.
    survives_worker_death = True

    def __init__(self, max_workers: int | None = None, *, stall_s: float = 120.0) -> None:
        count = max_workers if max_workers is not None else len(os.sched_getaffinity(0))
        if count < 1:
            raise ValueError(f"max_workers must be at least 1, got {count}")
        if stall_s <= 0:
            raise ValueError(f"stall_s must be more than 0, got {stall_s}")
        self.max_workers = count
        self._supervisor = Supervisor(count, stall_s)
        self._thread = threading.Thread(target=self._supervisor.run, name="fastcmp-supervisor", daemon=True)
        self._thread.start()
        _running.add(self._supervisor)
        weakref.finalize(self, _close, self._supervisor).atexit = False

    def warm(self, function: Callable[..., object], /, *args: object) -> None:
        """Have ``function(*args)`` called once in the process that the workers are forked from; returns at once.

        Calls submitted afterwards wait for it. What it imports and compiles is there in every worker.
        """
        self._supervisor.warm_call = messages.pack((function, args))[8:]
        self._supervisor.wake()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have ``fn(*args, **kwargs)`` called in a worker; all of it must pickle."""
        future: Future[_T] = Future()
        try:
            call = Call(messages.pack((fn, args, kwargs)), future)
        except Exception as error:  # as other executors: what does not pickle is the future's error, not the caller's
            future.set_exception(error)
            return future
        with self._supervisor.lock:
            if self._supervisor.failure is not None:
                raise self._supervisor.failure
            if self._supervisor.is_closing or self._supervisor.is_killed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._supervisor.inbox.append(call)
        self._supervisor.wake()
        return future

    def bytes_in_flight(self) -> int:
        """Payload bytes that the running calls have done so far, by their beacons."""
        return self._supervisor.bytes_in_flight()

    def bytes_seen(self, bytes_finished: int) -> int:
        """As `bytes_in_flight`, with what is finished."""
        return bytes_finished + self.bytes_in_flight()

    def worker_pids(self) -> list[int]:
        """Process ids of the living workers."""
        return self._supervisor.worker_pids()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the workers when the last call is answered."""
        with self._supervisor.lock:
            self._supervisor.is_closing = True
            # A copy, made in one step: the supervisor takes calls out of it meanwhile.
            waiting = [call for call in list(self._supervisor.inbox) if not call.is_running] if cancel_futures else []
        for call in waiting:
            call.future.cancel()
        self._supervisor.wake()
        if wait:
            self._thread.join()

    def kill(self) -> None:
        """End the workers now, whatever they are doing; calls without an answer get `WorkerDied`."""
        self._supervisor.is_killed = True
        self._supervisor.wake()
        self._thread.join()


def _close(supervisor: Supervisor) -> None:
    """A pool was dropped without `shutdown`: end it when its last call is answered."""
    supervisor.is_closing = True
    supervisor.wake()


def _kill_all_at_exit() -> None:
    for supervisor in list(_running):
        supervisor.is_killed = True
        supervisor.wake()
        supervisor.has_ended.wait(5.0)


def _after_fork_in_child() -> None:
    # A forked copy of the user's process would keep our sockets open, and the nursery alive after our death.
    for supervisor in list(_running):
        supervisor.forget_in_child()
    _running.clear()


atexit.register(_kill_all_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
