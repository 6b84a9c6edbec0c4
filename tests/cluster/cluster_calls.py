"""Calls for the workers of nodes to make."""

from __future__ import annotations

import os
import signal
import time

from fastcmp.engine.beacon import present_beacon
from fastcmp.outcome import TaskResult
from fastcmp.plan import Task


def double(number: int) -> int:
    return 2 * number


def compare_but_not_on_n1(task: Task, mapped: bool) -> TaskResult:
    """On the node n1 it takes for ever."""
    from fastcmp.engine.compare_items import run_task

    if os.environ["PRETEND_NODE"] == "n1":
        time.sleep(600)
    return run_task(task, mapped=mapped)


def compare_unless(task: Task, mapped: bool, row: int, action: str, path: str) -> TaskResult:
    """Compare; but at the row, die, each time (``kill``) or once (``once``, noted in the file at ``path``)."""
    from fastcmp.engine.compare_items import run_task

    class Deadly:
        def on_row(self, present: int) -> None:
            inner.on_row(present)
            if present != row or (action == "once" and os.path.exists(path)):
                return
            if action == "once":
                with open(path, "x"):
                    pass
            os.kill(os.getpid(), signal.SIGKILL)

        def on_bytes(self, nbytes: int) -> None:
            inner.on_bytes(nbytes)

    inner = present_beacon()
    return run_task(task, mapped=mapped, beacon=Deadly())
