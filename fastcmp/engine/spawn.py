"""Starting the nursery process, and the three channels to it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import fastcmp
from fastcmp.engine.beacon import SLOT_BYTES, BeaconPage
from fastcmp.engine.messages import TERMINAL_SIGNALS
from fastcmp.errors import UsageError, open_files_hint

_HOME = os.path.dirname(os.path.abspath(fastcmp.__file__))


@dataclass(slots=True)
class Nursery:
    """The parent's ends. ``lifeline`` is only held: that it closes when we die tells the nursery so."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    lifeline: int

    def close(self) -> None:
        """Let the nursery know that it is no longer wanted; it then kills its workers and ends."""
        self.control.close()
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def reap(self, patience_s: float) -> int:
        """Wait for the nursery to end, by force in the end; its exit status."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def make_page(slot_count: int) -> tuple[int, BeaconPage]:
    """An anonymous file for the beacons (nothing in /dev/shm), and our map of it."""
    try:
        fd = _above_stdio(os.memfd_create("fastcmp-beacons", os.MFD_CLOEXEC))
        os.ftruncate(fd, slot_count * SLOT_BYTES)
        return fd, BeaconPage(fd, slot_count)
    except (AttributeError, OSError) as error:
        raise cannot_start(f"no shared memory: {error}{open_files_hint(error)}") from error


def start_nursery(page_fd: int, slot_count: int) -> Nursery:
    """Start the process that warms the kernels once and forks the workers.

    Raises
    ------
    UsageError
        If this system does not let us start it; the message names another executor.
    """
    if not sys.executable:
        raise cannot_start("sys.executable is not set, so there is no interpreter to start")
    ours, theirs = (_socket_above_stdio(end) for end in socket.socketpair())
    lifeline_read, lifeline_write = (_above_stdio(fd) for fd in os.pipe2(os.O_CLOEXEC))
    arguments = {
        "path": _search_path(),
        "home": _HOME,
        "control": theirs.fileno(),
        "lifeline": lifeline_read,
        "page": page_fd,
        "slots": slot_count,
        "parent": os.getpid(),
    }
    # -I: no PYTHON* variables, no working directory on sys.path; what is needed of them is in `arguments`. Where
    # PYTHONHOME is set the interpreter may not find its own library without it.
    isolation = [] if "PYTHONHOME" in os.environ else ["-I"]
    command = [sys.executable, *isolation, os.path.join(_HOME, "engine", "boot.py"), json.dumps(arguments)]
    try:
        with _signals_blocked():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if _is_open(2) else subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                pass_fds=(theirs.fileno(), lifeline_read, page_fd),
            )
    except (OSError, ValueError) as error:
        ours.close()
        os.close(lifeline_write)
        raise cannot_start(f"{sys.executable}: {error}{open_files_hint(error)}") from error
    finally:
        theirs.close()
        os.close(lifeline_read)
    return Nursery(process, ours, lifeline_write)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """What is started meanwhile begins with the signals of a terminal blocked: a Ctrl-C would interrupt its imports with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cannot_start(reason: str) -> UsageError:
    """The error for a system on which the local pool does not work."""
    return UsageError(f"the local worker pool cannot start: {reason}; use --executor threads")


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, neither of them in the place of a closed stdin, stdout or stderr."""
    first, second = socket.socketpair()
    return _socket_above_stdio(first), _socket_above_stdio(second)


def _search_path() -> list[str]:
    """Our sys.path for the children, absolute, with the directory of the user's script moved to the end.

    In front it would let a ``queue.py`` beside somebody's script replace the module that our children need.
    """
    try:
        here = os.getcwd()
    except OSError:  # it was removed: what was found there cannot be found again
        here = ""
    entries = [os.path.normpath(os.path.join(here, entry)) for entry in sys.path if here or os.path.isabs(entry)]
    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    own = {here} if "" in sys.path else set()
    if main_file:
        own.add(os.path.dirname(os.path.normpath(os.path.join(here, main_file))))
    front = [entry for entry in entries if entry not in own]
    return list(dict.fromkeys([*front, *(entry for entry in entries if entry in own)]))


def _above_stdio(fd: int) -> int:
    """The same file under a number above 2: with stdin closed, the next file opened would be taken for it in the child."""
    if fd > 2:
        return fd
    higher = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return higher


def _socket_above_stdio(sock: socket.socket) -> socket.socket:
    if sock.fileno() > 2:
        return sock
    return socket.socket(fileno=_above_stdio(sock.detach()))


def _is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(fd)
        return True
    return False
