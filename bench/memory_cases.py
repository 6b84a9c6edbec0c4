"""Memory that processes have for themselves (RssAnon: pages of mapped files belong to the system), watched from outside."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from answers import WrongAnswer
from cases import Target
from compare_command import check_answer, command_of
from dumps import BenchDump
from measure import Case
from setting import CORES, Setting

LOOK_EVERY_S = 0.02
WORKER = Target("<= 200 MB", at_most_measured=200)
MAIN = Target("<= 500 MB", at_most_measured=500)
YARDSTICK = "tiny dump"


@dataclass
class Peak:
    """The most of the command's first process, and of any other one that it started; in MB."""

    main: float
    other: float
    seconds: float


def memory_cases(setting: Setting) -> list[Case]:
    """Each kind of dump, beside one that fits into a page or two."""
    kinds = {"large tensors": setting.large(), "one big pair": setting.one(), "small pairs": setting.small()}
    workers = {name: Case(f"memory of a worker, {name}", "MB", YARDSTICK, WORKER, "P8") for name in kinds}
    main = Case("memory of the main process, small pairs", "MB", YARDSTICK, MAIN, "P8")
    tiny = watched(setting.tiny(), setting.report)
    peaks = {name: watched(dump, setting.report) for name, dump in kinds.items()}  # once: memory is not noisy
    for name, peak in peaks.items():
        workers[name].add(peak.other, tiny.other, peak.seconds)
    main.add(peaks["small pairs"].main, tiny.main, peaks["small pairs"].seconds)
    return [*workers.values(), main]


def watched(dump: BenchDump, report: Path) -> Peak:
    """One comparison; its answer is checked too."""
    shutil.rmtree(report, ignore_errors=True)
    begin = time.perf_counter()
    process = subprocess.Popen(command_of(dump, report), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for pid in tree(process.pid):
            peaks[pid] = max(peaks.get(pid, 0.0), anonymous_mb(pid))
        time.sleep(LOOK_EVERY_S)
    seconds = time.perf_counter() - begin
    check_answer(dump, report, process.returncode)
    others = [peak for pid, peak in peaks.items() if pid != process.pid]
    if len(others) < CORES:
        raise WrongAnswer(f"{report}: memory of {len(others)} processes was seen, expected a worker on each of {CORES} cores")
    return Peak(peaks[process.pid], max(others), seconds)


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        children = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(descendant for child in children for descendant in tree(child))]


def anonymous_mb(pid: int) -> float:
    """RssAnon; 0 of a process that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon:")), 0.0)
