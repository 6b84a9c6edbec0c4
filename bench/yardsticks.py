"""What the machine can do at best with the same bytes, in the same run: reading them once.

``python yardsticks.py`` is the worker: it obeys one line of JSON at a time and answers with one.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fastcmp.kernels.scan import scan, warm

SMALL_READ_BYTES = 1 << 20
SEQUENTIAL_READ_BYTES = 1 << 20


def scan_mapped(path: str) -> int:
    """XOR-scan one file through a fresh map, page faults included; its size."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        scan(np.frombuffer(mapped, np.uint8))
        return len(mapped)


def read_whole(path: str) -> int:
    """open, pread, close: what a small file costs at least; the bytes read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return len(os.pread(descriptor, SMALL_READ_BYTES, 0))
    finally:
        os.close(descriptor)


def read_sequentially(path: str) -> int:
    """All of a file by reads of 1 MiB into one buffer, as dd does; the bytes read."""
    total = 0
    buffer = memoryview(bytearray(SEQUENTIAL_READ_BYTES))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def single_core_scan(arrays: Sequence[np.ndarray]) -> float:
    """Seconds that one core takes to scan resident arrays."""
    begin = time.perf_counter()
    for array in arrays:
        scan(array)
    return time.perf_counter() - begin


class Readers:
    """One warmed process per core, each given every n-th file."""

    def __init__(self, count: int) -> None:
        command = [sys.executable, str(Path(__file__).resolve())]
        self.processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        for process in self.processes:
            self._answer(process)

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes:
            process.communicate()

    def seconds(self, action: str, paths: Sequence[str], *, cores: int | None = None) -> float:
        """Wall time from the first word sent to the last answer, by so many processes; lists are parsed before the clock starts."""
        working = self.processes[:cores]
        for index, process in enumerate(working):
            self._send(process, {"action": "take", "paths": list(paths[index :: len(working)])})
        for process in working:
            self._answer(process)
        begin = time.perf_counter()
        for process in working:
            self._send(process, {"action": action})
        for process in working:
            self._answer(process)
        return time.perf_counter() - begin

    @staticmethod
    def _send(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a yardstick process ended with status {process.wait()}")
        return int(line)


ACTIONS = {"scan": scan_mapped, "read": read_whole, "sequential": read_sequentially}


def serve() -> None:
    """Warm up, say so, then obey."""
    warm()
    paths: list[str] = []
    print(0, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if message["action"] == "take":
            paths = message["paths"]
            print(0, flush=True)
        else:
            print(sum(map(ACTIONS[message["action"]], paths)), flush=True)


if __name__ == "__main__":
    serve()
