"""The life of one worker process: receive a call, make it, send back what came of it."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from typing import Any

from fastcmp.engine import messages
from fastcmp.engine.beacon import NO_ROW, SharedBeacon, use_beacon


class RemoteTraceback(Exception):
    """The traceback of an exception as the worker saw it; the cause of the exception that arrives."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def serve(sock: socket.socket, beacon: SharedBeacon) -> None:
    """Answer calls until the other end of ``sock`` is closed."""
    use_beacon(beacon)
    while True:
        try:
            body = messages.receive_body(sock)
        except EOFError:
            return
        beacon.begin_task()
        reply = answer(body)
        beacon.on_row(NO_ROW)
        try:
            sock.sendall(reply)
        except ConnectionError:
            return


def _make(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return function(*args, **kwargs)


def answer(body: bytes, make: Callable[..., object] = _make) -> bytes:
    """The packed reply ``(True, value, "")`` or ``(False, exception, traceback text)``; ``make`` gets what was packed into ``body``."""
    try:
        return messages.pack((True, make(*messages.unpack(body)), ""))
    except BaseException as error:  # all of it travels, SystemExit too: a worker ends only when it is told to
        return _pack_failure(error)


def _pack_failure(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    plain: Any = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
    try:
        packed = messages.pack((False, plain, text))
        # Some exceptions pickle but do not unpickle (their __init__ wants other arguments).
        messages.unpack(packed[8:])
        return packed
    except Exception:
        return messages.pack((False, RuntimeError(f"{type(error).__name__}: {error}"), text))
