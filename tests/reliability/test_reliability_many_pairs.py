"""A hundred thousand pairs and more: every one of them a row, in memory and descriptors that do not grow without bound."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from reliability_runs import PATIENCE_S, ROOT, many_pairs, report_lines, words
from tries import tries


def run_and_weigh(root: Path, count: int) -> tuple[int, int, float]:
    """Rows, the largest resident set of the main process in bytes, seconds; and the most descriptors that it had are within bounds."""
    sides = many_pairs(root, count, elements=200)
    began = time.monotonic()
    process = subprocess.Popen(words(sides, root / "r", "-q", "-j2"), cwd=ROOT)
    most, peak = [0], [0]

    def watch() -> None:
        # The peak of this program: ru_maxrss begins with that of whoever started it.
        while process.returncode is None:
            try:
                most[0] = max(most[0], len(os.listdir(f"/proc/{process.pid}/fd")))
                status = Path(f"/proc/{process.pid}/status").read_text()
                if "compare" in command_of(process.pid):
                    peak[0] = max(peak[0], int(status.partition("VmHWM:")[2].split()[0]) << 10)
            except (OSError, IndexError):
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join(PATIENCE_S)
    assert process.returncode == 0
    assert 0 < most[0] <= 64 + 8 * 2
    assert peak[0] > 0
    return len(report_lines(root / "r")), peak[0], time.monotonic() - began


def command_of(pid: int) -> str:
    """What a process runs; between fork and exec it is still this one."""
    return Path(f"/proc/{pid}/cmdline").read_text() if os.path.exists(f"/proc/{pid}/cmdline") else ""


@pytest.mark.slow
def test_many_pairs_take_memory_in_proportion_and_few_descriptors(tmp_path: Path) -> None:
    count = tries("PAIRS", 100_000)
    (tmp_path / "half").mkdir()
    (tmp_path / "whole").mkdir()
    half_rows, half_bytes, _ = run_and_weigh(tmp_path / "half", count // 2)
    rows, peak_bytes, seconds = run_and_weigh(tmp_path / "whole", count)
    print(f"{count} pairs: {peak_bytes >> 20} MiB in the main process, {seconds:.1f} s; {count // 2}: {half_bytes >> 20} MiB")
    assert (half_rows, rows) == (count // 2, count)
    assert peak_bytes <= max(500 << 20, 1500 * count) and peak_bytes <= 2.2 * half_bytes
