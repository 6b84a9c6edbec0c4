"""The thread behind `LocalPool`: gives calls to workers, collects replies, and buries and replaces the dead.

All state of nursery and workers belongs to this thread; others only append to ``inbox`` and wake it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from typing import Final

from fastcmp.engine import messages, spawn
from fastcmp.engine.beacon import NO_ROW
from fastcmp.engine.worker import RemoteTraceback
from fastcmp.engine.worker_handle import Call, WorkerHandle
from fastcmp.errors import UsageError, WorkerDied, open_files_hint

# One call runs and one waits in the worker's socket: replies are handled in a thread that shares the interpreter with
# its caller, and without a second call a worker would sit idle through every such delay (up to 5 ms a task).
CALLS_PER_WORKER: Final = 2
_TICK_S: Final = 1.0
# A worker that was killed inside the kernel (a dead NFS server) may not end; after this it is given up.
_LONGEST_DEATH_S: Final = 5.0
_IDLE_DEATHS_ALLOWED: Final = 5
_NURSERIES_ALLOWED: Final = 5


class Supervisor:
    """State and loop of the supervising thread.

    Parameters
    ----------
    worker_count : int
    stall_s : float
        A worker that holds calls and makes no progress for so long is killed.
    """

    def __init__(self, worker_count: int, stall_s: float) -> None:
        self.inbox: deque[Call] = deque()
        self.warm_call: bytes | None = None
        self.is_closing = False
        self.is_killed = False
        self.failure: UsageError | None = None
        self.has_ended = threading.Event()
        self._worker_count = worker_count
        self._stall_s = stall_s
        self._slot_count = 2 * worker_count + 16
        self._page_fd, self.page = spawn.make_page(self._slot_count)
        self._free_slots = list(reversed(range(self._slot_count)))
        self._workers: dict[int, WorkerHandle] = {}
        self._nursery = spawn.start_nursery(self._page_fd, self._slot_count)
        self._nursery_frames = messages.FrameBuffer()
        self._nurseries = 1
        self._is_ready = False
        self._sent_warm: bytes | None = None
        self._is_warming = False
        self._idle_deaths = 0
        self._wake_ours, self._wake_theirs = spawn.socket_pair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_ours, selectors.EVENT_READ, None)
        self._watch_nursery()
        self.lock = threading.Lock()

    # -- called from other threads

    def wake(self) -> None:
        """Make the loop look at the inbox and the flags now."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_theirs.send(b"w", socket.MSG_DONTWAIT)

    def bytes_in_flight(self) -> int:
        """Payload bytes done within the calls that run now."""
        workers = list(self._workers.values())
        return sum(self.page.nbytes(w.slot) for w in workers if w.calls and self.page.started(w.slot) > w.answered)

    def worker_pids(self) -> list[int]:
        """Process ids of the living workers."""
        return [worker.pid for worker in list(self._workers.values()) if worker.pid]

    def forget_in_child(self) -> None:
        """After a fork of the user's process: let go of all channels, which are the parent's."""
        for sock in (self._nursery.control, self._wake_ours, self._wake_theirs, *(w.sock for w in self._workers.values())):
            with contextlib.suppress(OSError):
                sock.close()
        self._nursery.close()
        self._nursery.process.returncode = 0  # not our child: no warning, no wait

    # -- the loop

    def run(self) -> None:
        """Until all calls are answered after ``is_closing``, or at once after ``is_killed``."""
        try:
            last = time.monotonic()
            while not self._is_done():
                self._assign()
                for key, mask in self._selector.select(self._tick_s()):
                    self._on_event(key.data, mask)
                now = time.monotonic()
                # Not after each reply: what a worker has read stands in two files of /proc, 60 us to look at.
                if now - last < self._tick_s() / 4:
                    continue
                # Bounded, so that time for which we ourselves were stopped (Ctrl-Z) is not held against a worker.
                self._on_tick(min(now - last, 2 * _TICK_S))
                last = now
        except UsageError as error:
            self.failure = error
        except Exception as error:
            self.failure = spawn.cannot_start(f"its supervisor failed: {type(error).__name__}: {error}{open_files_hint(error)}")
        finally:
            self._end()

    def _tick_s(self) -> float:
        return min(_TICK_S, max(self._stall_s / 4, 0.02))

    def _is_done(self) -> bool:
        if self.is_killed:
            return True
        return self.is_closing and not self.inbox and not any(worker.calls for worker in self._workers.values())

    def _assign(self) -> None:
        """Give waiting calls to the least loaded workers, and ask for a new worker where all are busy."""
        if self.warm_call is not self._sent_warm and self._is_ready and not self._is_warming:
            self._is_warming, self._sent_warm = True, self.warm_call
            self._ask("warm", self.warm_call)
        if not self._is_ready or self._is_warming or self._sent_warm is not self.warm_call:
            return
        while self.inbox:
            worker = self._freest()
            if worker is None:
                return
            call = self.inbox.popleft()
            if not call.is_running and not call.future.set_running_or_notify_cancel():
                continue
            call.is_running = True
            if not worker.calls:
                worker.stalled_s = 0.0
            worker.give(call)
            self._watch(worker)

    def _freest(self) -> WorkerHandle | None:
        living = [w for w in self._workers.values() if not w.hung_up and w.exit_code is None and not w.timed_out]
        best = min(living, key=lambda worker: len(worker.calls), default=None)
        if (best is None or best.calls) and len(self._workers) < self._worker_count and self._free_slots:
            return self._fork()
        return best if best is not None and len(best.calls) < CALLS_PER_WORKER else None

    def _fork(self) -> WorkerHandle:
        ours, theirs = spawn.socket_pair()
        ours.setblocking(False)
        slot = self._free_slots.pop()
        self.page.reset(slot)
        with theirs, contextlib.suppress(ConnectionError):
            socket.send_fds(self._nursery.control, [messages.pack(("fork", slot))], [theirs.fileno()])
        worker = WorkerHandle(slot, ours)
        self._workers[slot] = worker
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def _ask(self, *request: object) -> None:
        with contextlib.suppress(ConnectionError):
            messages.send(self._nursery.control, request)

    def _watch(self, worker: WorkerHandle) -> None:
        wanted = selectors.EVENT_READ if worker.flush() else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._selector.get_key(worker.sock).events != wanted:
            self._selector.modify(worker.sock, wanted, worker)

    def _watch_nursery(self) -> None:
        self._selector.register(self._nursery.control, selectors.EVENT_READ, self._nursery)

    def _on_event(self, source: object, mask: int) -> None:
        if source is None:
            self._wake_ours.recv(4096)
        elif isinstance(source, WorkerHandle):
            if self._workers.get(source.slot) is source:
                self._on_worker(source)
        elif source is self._nursery:
            self._on_nursery()

    # -- workers

    def _on_worker(self, worker: WorkerHandle) -> None:
        for body in worker.take_replies():
            self._settle(worker, body)
        if worker.hung_up and worker.exit_code is not None:
            self._bury(worker)
        elif worker.hung_up:
            self._selector.unregister(worker.sock)  # how it ended, the nursery will tell
        else:
            self._watch(worker)

    def _settle(self, worker: WorkerHandle, body: bytes) -> None:
        call = worker.calls.popleft()
        worker.answered += 1
        worker.stalled_s = 0.0
        self._idle_deaths = 0
        try:
            succeeded, value, text = messages.unpack(body)
        except Exception as error:
            call.future.set_exception(error)
            return
        if succeeded:
            call.future.set_result(value)
        else:
            value.__cause__ = RemoteTraceback(text)
            call.future.set_exception(value)

    def _bury(self, worker: WorkerHandle) -> None:
        """A worker has ended: fail the call that it was inside, give its other calls to others."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(worker.sock)
        worker.close()
        del self._workers[worker.slot]
        if worker.exit_code is not None:  # a process that will not die may still write to its slot
            self._free_slots.append(worker.slot)
        was_inside = self.page.started(worker.slot) > worker.answered
        if was_inside and worker.calls:
            cause = f"no progress for {self._stall_s:g} s" if worker.timed_out else _cause(worker.exit_code)
            worker.calls.popleft().future.set_exception(WorkerDied(self.page.row(worker.slot), cause, worker.timed_out))
        elif worker.calls and worker.answered == 0:
            self._idle_deaths += 1
        self.inbox.extendleft(reversed(worker.calls))
        if self._idle_deaths > _IDLE_DEATHS_ALLOWED + self._worker_count:
            raise spawn.cannot_start(f"its workers die before they begin: {_cause(worker.exit_code)}")

    def _on_tick(self, elapsed_s: float) -> None:
        for worker in list(self._workers.values()):
            if worker.hung_up or worker.timed_out:
                worker.dead_for_s += elapsed_s
                if worker.dead_for_s > _LONGEST_DEATH_S:
                    self._bury(worker)
                elif worker.hung_up and not worker.timed_out and worker.dead_for_s > _TICK_S:
                    self._ask("kill", worker.slot)
            elif worker.calls and worker.pid:
                self._check_progress(worker, elapsed_s)

    def _check_progress(self, worker: WorkerHandle, elapsed_s: float) -> None:
        activity = (worker.answered, self.page.marks(worker.slot), *worker.io_marks())
        if activity != worker.activity:
            worker.activity = activity
            worker.stalled_s = 0.0
            return
        worker.stalled_s += elapsed_s
        if worker.stalled_s >= self._stall_s:
            worker.timed_out = True
            self._ask("kill", worker.slot)

    # -- the nursery

    def _on_nursery(self) -> None:
        try:
            data = self._nursery.control.recv(messages.CHUNK_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._replace_nursery()
            return
        for body in self._nursery_frames.feed(data):
            event = messages.unpack(body)
            getattr(self, f"_on_{event[0]}")(*event[1:])

    def _on_ready(self) -> None:
        self._is_ready = True

    def _on_warmed(self, failure: str) -> None:
        self._is_warming = False
        if failure:
            raise spawn.cannot_start(f"its kernels could not be prepared: {failure.strip().splitlines()[-1]}")

    def _on_born(self, slot: int, pid: int) -> None:
        if slot in self._workers:
            self._workers[slot].pid = pid

    def _on_exit(self, slot: int, exit_code: int) -> None:
        worker = self._workers.get(slot)
        if worker is None:
            self._free_slots.append(slot)  # given up earlier, ended at last
            return
        for body in worker.take_replies():
            self._settle(worker, body)
        worker.exit_code = exit_code
        self._bury(worker)

    def _replace_nursery(self) -> None:
        """The nursery is gone, and with it (by the kernel's hand) all workers."""
        self._selector.unregister(self._nursery.control)
        self._nursery.close()
        exit_code = self._nursery.reap(1.0)
        if not self._is_ready or self._is_warming or self._nurseries >= _NURSERIES_ALLOWED:
            raise spawn.cannot_start(f"its first process ended with {_cause(exit_code)}")
        for worker in list(self._workers.values()):
            for body in worker.take_replies():
                self._settle(worker, body)
            worker.exit_code = exit_code
            self._bury(worker)
        self._nurseries += 1
        self._is_ready, self._sent_warm, self._is_warming = False, None, False
        self._nursery_frames = messages.FrameBuffer()
        self._nursery = spawn.start_nursery(self._page_fd, self._slot_count)
        self._watch_nursery()

    def _end(self) -> None:
        """Close everything, and leave no future without an answer."""
        for worker in self._workers.values():
            worker.close()
        self._nursery.close()
        self._nursery.reap(3.0)
        self._selector.close()
        error: Exception = self.failure or WorkerDied(NO_ROW, "the pool was stopped")
        calls = [call for worker in self._workers.values() for call in worker.calls]
        self._workers = {}
        with self.lock:
            self.is_closing = True
            calls += self.inbox
            self.inbox.clear()
        for call in calls:
            if call.is_running or call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
        for end in (self._wake_ours, self._wake_theirs):
            end.close()
        with contextlib.suppress(OSError):
            os.close(self._page_fd)
        self.has_ended.set()


def _cause(exit_code: int | None) -> str:
    """An exit status in words."""
    if exit_code is None:
        return "it did not end when killed"
    if exit_code >= 0:
        return f"exit status {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"
