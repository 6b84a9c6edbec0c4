"""Calls for the pool to make in its workers."""

from __future__ import annotations

import os
import signal
import time

from fastcmp.engine.beacon import present_beacon
from fastcmp.outcome import TaskResult
from fastcmp.plan import Task


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


class DeadlyBeacon:
    """Acts when work on a certain row begins; passes all else on."""

    def __init__(self, row: int, action: str, path: str) -> None:
        self.row, self.action, self.path = row, action, path
        self.inner = present_beacon()

    def on_row(self, row: int) -> None:
        self.inner.on_row(row)
        if row == self.row:
            if self.action == "once":
                if os.path.exists(self.path):
                    return
                with open(self.path, "x"):
                    pass
            os.kill(os.getpid(), signal.SIGSTOP if self.action == "stop" else signal.SIGKILL)

    def on_bytes(self, nbytes: int) -> None:
        self.inner.on_bytes(nbytes)


def compare_or_die(task: Task, mapped: bool, row: int, action: str, path: str) -> TaskResult:
    from fastcmp.engine.compare_items import run_task

    if action == "unseen" and any(item.row == row for item in task.items):
        os.kill(os.getpid(), signal.SIGKILL)
    return run_task(task, mapped=mapped, beacon=DeadlyBeacon(row if action != "unseen" else -2, action, path))


def compare_while_shrinking(task: Task, mapped: bool, row: int, action: str, path: str) -> TaskResult:
    """The file at ``path`` is cut just before a kernel touches the map of it."""
    from fastcmp.engine import compare_items

    original = compare_items.fold.fold_piece

    def cut_first(*args: object, **kwargs: object) -> object:
        os.truncate(path, 4096)
        return original(*args, **kwargs)

    compare_items.fold.fold_piece = cut_first if any(item.row == row for item in task.items) and len(task.items) == 1 else original
    try:
        return compare_items.run_task(task, mapped=mapped)
    finally:
        compare_items.fold.fold_piece = original


def compare_slowly(task: Task, mapped: bool, row: int, action: str, path: str) -> TaskResult:
    from fastcmp.engine.compare_items import run_task

    time.sleep(0.2 if action == "slow" else 60)
    return run_task(task, mapped=mapped)
