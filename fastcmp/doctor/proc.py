"""Processes that are alive, as /proc has them."""

from __future__ import annotations

import os


def process_start(pid: int) -> float | None:
    """When a live process began, in seconds since 1970, right to a second; None where there is none, or nobody can say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
        if fields[0] in (b"Z", b"X"):
            return None
        return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, LookupError, StopIteration):
        return None


def is_running(pid: int, since: float) -> bool:
    """True where a process has this pid and had it at ``since`` (seconds since 1970): pids are given again."""
    start = process_start(pid)
    return start is not None and start <= since + 1
