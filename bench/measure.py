"""One measurement: rounds of (measured, yardstick) taken in turn, and what they say together."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cases import SLACK, Target

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Case:
    """What was measured beside what.

    Attributes
    ----------
    rounds : list of (float, float)
        Rates (more is better) of the measured thing and of the yardstick, taken right after each other.
    seconds : list of float
        Time of the measured thing, each round.
    aside : str
        A figure for information, shown behind the row.
    """

    name: str
    unit: str
    yardstick: str
    target: Target
    rounds: list[tuple[float, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    aside: str = ""

    @property
    def ratio(self) -> float:
        """Median over the rounds: the machine drifts, a round does not."""
        return statistics.median(measured / yardstick for measured, yardstick in self.rounds)

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def shortfall(self) -> float:
        """1.0 or less if the target is met; 2.0 if half as fast as promised."""
        if self.target.at_least is not None:
            return self.target.at_least / self.ratio
        if self.target.at_most_s is not None:
            return self.median_s / self.target.at_most_s
        return 0.0


def alternate(case: Case, count: int, work: float, measured: Callable[[], float], yardstick: Callable[[], float]) -> Case:
    """Run both in turn; each returns its seconds for the same ``work``. One unrecorded round of each warms up."""
    measured()
    yardstick()
    for _ in range(count):
        seconds, floor_seconds = measured(), yardstick()
        case.seconds.append(seconds)
        case.rounds.append((work / seconds, work / floor_seconds))
    return case


def timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "numba", "pyarrow")},
    }


def commit() -> str:
    """The commit measured, marked where the tree has changes; empty outside a repository."""
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def save(cases: list[Case], size: str, directory: Path) -> Path:
    """Every round as one line of JSON; the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{time.strftime('%Y%m%dT%H%M%S')}-{size}.jsonl"
    context = {"size": size, "commit": commit(), "machine": machine()}
    with path.open("w", encoding="utf-8") as file:
        for case in cases:
            for number, ((measured, yardstick), seconds) in enumerate(zip(case.rounds, case.seconds, strict=True)):
                row = {"case": case.name, "round": number, "unit": case.unit, "measured": measured, "yardstick": yardstick}
                file.write(json.dumps({**row, "seconds": seconds, "target": case.target.text, "aside": case.aside, **context}) + "\n")
    return path


def table(cases: list[Case], size: str) -> str:
    """For a person: medians, the ratio, the target and whether it is met."""
    width = max(len(case.name) for case in cases)
    lines = [f"{'case':{width}} {'unit':10} {'measured':>10} {'yardstick':>10} {'ratio':>6} {'time s':>8}  target"]
    for case in cases:
        measured, yardstick = (statistics.median(column) for column in zip(*case.rounds, strict=True))
        lines.append(
            f"{case.name:{width}} {case.unit:10} {measured:10.4g} {yardstick:10.4g} {ratio_text(case.ratio)} {case.median_s:8.3g}  "
            f"{case.target.text}: {outcome(case, size)}{f' ({case.aside})' if case.aside else ''}"
        )
    return "\n".join(lines)


def ratio_text(ratio: float) -> str:
    """In six columns, with digits to tell by however small it is."""
    return f"{ratio:6.2f}" if ratio >= 0.1 else f"{ratio:6.2g}"


def outcome(case: Case, size: str) -> str:
    """One word for the last column."""
    if size not in case.target.sizes or (case.target.at_least is None and case.target.at_most_s is None):
        return "for information"
    return "met" if case.shortfall() <= 1 else "MISSED"


def far_missed(cases: list[Case], size: str) -> list[Case]:
    """Cases so far off that noise does not explain it."""
    return [case for case in cases if size in case.target.sizes and case.shortfall() > SLACK]


def run_command(command: list[str]) -> tuple[int, float]:
    """Exit status and wall seconds of a command; its output is shown only if it could not work."""
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode not in (0, 1):
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode, seconds
