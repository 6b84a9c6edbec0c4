"""The nursery: a process that imports and compiles once, then forks workers that start with everything warm.

It is single-threaded and small, and never saw torch or the user's ``__main__``, so forking it is safe where forking
the user's process would not be. A worker costs about a millisecond instead of the half second of a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Final

from fastcmp.engine import messages, worker
from fastcmp.engine.beacon import BeaconPage

_PR_SET_PDEATHSIG: Final = 1
_POLL_MS: Final = 1000
_LAST_WAIT_S: Final = 1.0


def main(control_fd: int, lifeline_fd: int, page_fd: int, slot_count: int, parent: int) -> None:
    """Serve the parent's requests until it closes the control socket or dies.

    Requests: ``("fork", slot)`` with a socket attached, ``("kill", slot)``, ``("warm", packed call)``.
    Events sent back: ``("ready",)``, ``("warmed", error text)``, ``("born", slot, pid)``, ``("exit", slot, status)``.
    """
    # Blocked until here (see spawn.py), ignored from now on: we live on to be told what they mean.
    for number in messages.TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, messages.TERMINAL_SIGNALS)
    control = socket.socket(fileno=control_fd)
    try:
        nursery = _Nursery(control, lifeline_fd, BeaconPage(page_fd, slot_count), parent)
        os.close(page_fd)
        nursery.serve()
    finally:
        control.close()


class _Nursery:
    """State of the nursery's loop: which children live, and what has not been read yet."""

    def __init__(self, control: socket.socket, lifeline: int, page: BeaconPage, parent: int) -> None:
        self._control = control
        self._lifeline = lifeline
        self._page = page
        self._parent = parent
        self._slots: dict[int, int] = {}  # pid → slot
        self._sockets: list[socket.socket] = []
        self._frames = messages.FrameBuffer()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        try:
            self._tell("ready")
            # The parent id is a second lifeline: somebody may have forked the parent and so hold our sockets open.
            while os.getppid() == self._parent:
                ready = [fd for fd, _ in poll.poll(_POLL_MS)]
                self._reap()
                if self._control.fileno() in ready and not self._requests():
                    break
        except ConnectionError:
            pass  # the parent is gone; so are we
        finally:
            self._end_all()

    def _tell(self, *event: object) -> None:
        messages.send(self._control, event)

    def _requests(self) -> bool:
        """Do what the parent asks for; False when it is gone."""
        data, fds, _, _ = socket.recv_fds(self._control, messages.CHUNK_BYTES, 64)
        self._sockets += [socket.socket(fileno=fd) for fd in fds]
        if not data:
            return False
        for body in self._frames.feed(data):
            request = messages.unpack(body)
            getattr(self, f"_do_{request[0]}")(*request[1:])
        return True

    def _do_warm(self, call: bytes) -> None:
        failure = ""
        with _dying_with(self._lifeline):
            try:
                function, args = messages.unpack(call)  # imports the module, numba and all
                function(*args)
            except Exception:
                failure = traceback.format_exc()
        self._tell("warmed", failure)

    def _do_kill(self, slot: int) -> None:
        for pid, held in self._slots.items():
            if held == slot:
                os.kill(pid, signal.SIGKILL)

    def _do_fork(self, slot: int) -> None:
        sock = self._sockets.pop(0)
        gc.freeze()  # a collection in a worker would otherwise touch, and so copy, every inherited page
        pid = os.fork()
        if pid == 0:
            self._live(sock, slot)
        sock.close()
        self._slots[pid] = slot
        self._tell("born", slot, pid)

    def _live(self, sock: socket.socket, slot: int) -> None:
        """The whole life of a forked worker; never returns."""
        status = 1
        try:
            nursery = os.getppid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._control, *self._sockets):
                other.close()
            for fd in (self._lifeline, self._wake_read, self._wake_write):
                os.close(fd)
            _die_with_parent()
            # A worker that crashes on a file is an expected event, not one that should fill the disk.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
            if os.getppid() == nursery:
                worker.serve(sock, self._page.beacon(slot))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Collect the children that ended, and tell the parent how."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        while self._slots:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self._slots:
                self._tell("exit", self._slots.pop(pid), os.waitstatus_to_exitcode(status))

    def _end_all(self) -> None:
        """Kill what still lives and collect it: in a container nobody else may be there to."""
        for pid in self._slots:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _LAST_WAIT_S
        while self._slots and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid:
                    self._slots.pop(pid, None)
                    continue
            time.sleep(0.005)


@contextlib.contextmanager
def _dying_with(lifeline: int) -> Iterator[None]:
    """While we compile and cannot poll, let the kernel end us when the parent's end of the lifeline closes.

    A signal on the pipe rather than PR_SET_PDEATHSIG: that one fires when the parent's *thread* ends.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        if select.select([lifeline], [], [], 0)[0]:
            os._exit(1)
        yield
    finally:
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that forked it ends; the nursery has only one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
