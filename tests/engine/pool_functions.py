"""Calls for the pool to make in its workers."""

from __future__ import annotations

import os
import signal
import time

from fastcmp.engine.beacon import present_beacon


class NeedsTwo(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


def double(number: int) -> int:
    return 2 * number


def pid() -> int:
    return os.getpid()


def on_row_then(row: int, action: str) -> str:
    present_beacon().on_row(row)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif action == "exit":
        os._exit(3)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "raise":
        raise NeedsTwo("a", "b")
    elif action == "system-exit":
        raise SystemExit(5)
    return action


def creep(seconds: float) -> str:
    """Slow, but getting on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        present_beacon().on_bytes(1)
        time.sleep(0.02)
    return "crept"


def loaded(names: list[str]) -> list[str]:
    import sys

    return [name for name in names if name in sys.modules]


def environment() -> dict[str, str]:
    return dict(os.environ)


def set_mark(name: str) -> None:
    globals()["MARK"] = (name, os.getpid())


def mark() -> tuple[str, int]:
    return globals()["MARK"]
