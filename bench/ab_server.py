"""One side of `ab.py`: loads the package of one revision, then runs the case it is told, as often as it is told.

Takes the directory that the package has to come from, and where the data lies. Obeys one line of JSON at a time and answers with one.
Uses of fastcmp only what a revision some way back had, too, and says so where it had not.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

KERNEL_BYTES = 8 * 2**20
TASK_PAIRS = 256
SCANNED_HEADERS = 1000


class Cases:
    """What each name means, made ready when it is first asked for."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.ready: dict[str, Callable[[], object]] = {}

    def call(self, name: str) -> Callable[[], object]:
        if name not in self.ready:
            kind, *words = name.split()
            self.ready[name] = getattr(self, kind)(*words)
            self.ready[name]()
        return self.ready[name]

    def kernel(self, dtype: str, *kl: str) -> Callable[[], object]:
        """One piece in memory, with or without KL."""
        from dumps import base_values, itemsize

        from fastcmp.kernels.fold import fold_piece
        from fastcmp.options import FoldOptions

        count = KERNEL_BYTES // itemsize(dtype)
        golden, target = (values.view("u2") if itemsize(dtype) == 2 else values for values in base_values(count, dtype))
        options = FoldOptions(kl=bool(kl))
        return lambda: fold_piece(
            golden, dtype, target, dtype, start=0, element_count=count, row_length=4096, options=options, rounding_dtype=""
        )

    def scan(self) -> Callable[[], object]:
        """Headers of small .bin files."""
        from fastcmp.formats import scan_batch
        from fastcmp.options import ScanOptions

        paths = [path for path in self.data["files"] if path.endswith(".bin")][:SCANNED_HEADERS]
        return lambda: scan_batch(paths, ScanOptions())

    def task(self) -> Callable[[], object]:
        """A full batch of small pairs, as a worker gets it."""
        from fastcmp.engine.compare_items import run_task
        from fastcmp.options import FoldOptions, ScanOptions
        from fastcmp.plan import Task, WorkItem

        files = self.data["files"]
        pairs = zip(files[: 2 * TASK_PAIRS : 2], files[1 : 2 * TASK_PAIRS : 2], strict=True)
        task = Task(0, tuple(WorkItem(row, *pair, FoldOptions()) for row, pair in enumerate(pairs)), ScanOptions())
        if any(run_task(task).error_codes):
            raise RuntimeError("a pair could not be compared")
        return lambda: run_task(task)

    def compare(self) -> Callable[[], object]:
        """The whole of a comparison: workers started, report written."""
        import fastcmp

        report = os.path.join(self.data["reports"], str(os.getpid()))
        options = fastcmp.CompareOptions(output=report)

        def run() -> None:
            shutil.rmtree(report, ignore_errors=True)  # or it would resume from it
            result = fastcmp.compare(self.data["golden"], self.data["target"], options=options)
            if result.totals.pairs != self.data["pairs"]:
                raise RuntimeError(f"{result.totals.pairs} pairs instead of {self.data['pairs']}")

        return run


def strangers(home: str) -> list[str]:
    """Modules of the package that came from elsewhere."""
    loaded = [getattr(module, "__file__", None) or "" for name, module in sys.modules.items() if name.split(".")[0] == "fastcmp"]
    return [path for path in loaded if not path.startswith(os.path.join(home, "fastcmp"))]


def turn(cases: Cases, home: str, name: str, times: int) -> dict[str, Any]:
    """Seconds of one turn, or the reason why there is none."""
    try:
        call = cases.call(name)
        begin = time.perf_counter()
        for _ in range(times):
            call()
        seconds = time.perf_counter() - begin
    except Exception as error:
        return {"reason": f"{type(error).__name__}: {error}"}
    found = strangers(home)
    return {"reason": f"code of another revision: {found[0]}"} if found else {"seconds": seconds}


def main() -> None:
    home, data = sys.argv[1], json.loads(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that is printed meanwhile is taken for an answer
    cases = Cases(data)
    for line in sys.stdin:
        message = json.loads(line)
        print(json.dumps(turn(cases, home, message["case"], message["times"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
