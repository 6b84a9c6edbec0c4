"""What the parent knows of one worker process."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from fastcmp.engine import messages


@dataclass(eq=False, slots=True)
class Call:
    """One submitted call: the packed function and arguments, and the future that waits for it."""

    frame: bytes
    future: Future[Any]
    is_running: bool = False


@dataclass(eq=False, slots=True)
class WorkerHandle:
    """Our end of one worker.

    Attributes
    ----------
    calls : deque of Call
        Sent and not answered, oldest first; the worker answers in this order.
    answered : int
        How many calls it has answered; more begun than answered means that it is inside one.
    exit_code : int or None
        As the nursery saw it end; negative for a signal.
    stalled_s : float
        For how long it has held calls without getting on.
    """

    slot: int
    sock: socket.socket
    pid: int = 0
    calls: deque[Call] = field(default_factory=deque)
    answered: int = 0
    exit_code: int | None = None
    hung_up: bool = False
    dead_for_s: float = 0.0
    timed_out: bool = False
    stalled_s: float = 0.0
    activity: tuple[int, ...] = ()
    _frames: messages.FrameBuffer = field(default_factory=messages.FrameBuffer)
    _unsent: deque[memoryview] = field(default_factory=deque)
    # One for all that comes: a new one of this size is new memory from the system each time.
    _chunk: memoryview = field(default_factory=lambda: memoryview(bytearray(messages.CHUNK_BYTES)))

    def give(self, call: Call) -> None:
        """Send a call, as far as the socket takes it now; `flush` sends the rest."""
        self.calls.append(call)
        self._unsent.append(memoryview(call.frame))
        self.flush()

    def flush(self) -> bool:
        """Send what is left; True if nothing is."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                try:
                    sent = self.sock.send(self._unsent[0])
                except ConnectionError:
                    self._unsent.clear()  # its end shows when we read
                    break
                if sent == len(self._unsent[0]):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = self._unsent[0][sent:]
        return not self._unsent

    def take_replies(self) -> list[bytes]:
        """Bodies of all replies that have arrived whole."""
        bodies: list[bytes] = []
        while not self.hung_up:
            try:
                count = self.sock.recv_into(self._chunk)
            except BlockingIOError:
                break
            except ConnectionError:
                count = 0
            if not count:
                self.hung_up = True
                break
            bodies += self._frames.feed(self._chunk[:count])
        return bodies

    def io_marks(self) -> tuple[int, ...]:
        """Bytes read and major page faults so far: a slow disk moves these long before a piece is done."""
        try:
            with open(f"/proc/{self.pid}/io", "rb") as file:
                read = sum(int(line.split()[1]) for line in file if line.startswith((b"rchar", b"read_bytes")))
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                faults = int(file.read().rpartition(b")")[2].split()[9])
        except (OSError, ValueError, IndexError):
            return ()
        return read, faults

    def close(self) -> None:
        """Close our end; a living worker then ends."""
        self._unsent.clear()
        with contextlib.suppress(OSError):
            self.sock.close()
