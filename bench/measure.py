"""One measurement: rounds of (measured, yardstick) taken in turn, and what they say together."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cases import GATED_SIZES, SLACK, Target

LEAST_WORK_S = 0.03
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Case:
    """What was measured beside what.

    Attributes
    ----------
    promise : str
        "P4", the number under which the project promises it; empty where it has none.
    rounds : list of (float, float)
        The measured thing and the yardstick, taken right after each other. Rates (more is better), or what `unit` says: a factor, MB.
    seconds : list of float
        Time of the measured thing, each round.
    aside : str
        A figure for information, shown behind the row.
    """

    name: str
    unit: str
    yardstick: str
    target: Target
    promise: str = ""
    rounds: list[tuple[float, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    aside: str = ""
    not_here: str = ""
    group: str = ""

    @property
    def ratio(self) -> float:
        """Median over the rounds: the machine drifts, a round does not."""
        return statistics.median(measured / yardstick for measured, yardstick in self.rounds)

    @property
    def measured(self) -> float:
        return statistics.median(measured for measured, _ in self.rounds)

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def shortfall(self) -> float:
        """1.0 or less if the target is met; 2.0 if half as fast as promised."""
        if not self.rounds:
            return 0.0
        target = self.target
        at_least = ((target.at_least, self.ratio), (target.at_least_measured, self.measured))
        at_most = ((target.at_most, self.ratio), (target.at_most_measured, self.measured), (target.at_most_s, self.median_s))
        falls = [limit / found for limit, found in at_least if limit is not None]
        return max(falls + [found / limit for limit, found in at_most if limit is not None], default=0.0)

    def add(self, measured: float, yardstick: float, seconds: float) -> None:
        """One round."""
        self.rounds.append((measured, yardstick))
        self.seconds.append(seconds)


def further(longer: Sequence[float], shorter: Sequence[float]) -> list[float]:
    """What each of the longer runs took more than a shorter one does: work without start."""
    return [seconds - statistics.median(shorter) for seconds in longer]


def slope(case: Case, seconds: Sequence[float], measured: Sequence[float], yardstick: Sequence[float]) -> Case:
    """A case of rounds that took so many seconds of work; those in which the noise of two starts outweighs the work are left out."""
    for row in zip(measured, yardstick, seconds, strict=True):
        if row[2] >= LEAST_WORK_S:
            case.add(*row)
    if not case.rounds:
        case.not_here = "lost in noise"
    return case


def alternate(case: Case, count: int, work: float, measured: Callable[[], float], yardstick: Callable[[], float]) -> Case:
    """Run both in turn; each returns its seconds for the same ``work``. One unrecorded round of each warms up."""
    measured()
    yardstick()
    for _ in range(count):
        seconds, floor_seconds = measured(), yardstick()
        case.add(work / seconds, work / floor_seconds, seconds)
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
            for row in rows_of(case, size):
                file.write(json.dumps({**row, **context}) + "\n")
    return path


def rows_of(case: Case, size: str) -> list[dict[str, Any]]:
    """One for each round; one without figures where there was none."""
    about = {
        "case": case.name,
        "promise": case.promise,
        "group": case.group,
        "unit": case.unit,
        "yardstick_name": case.yardstick,
        "target": case.target.text,
        "verdict": outcome(case, size),
        "aside": case.aside,
    }
    if not case.rounds:
        return [{**about, "round": None, "measured": None, "yardstick": None, "seconds": None}]
    return [
        {**about, "round": number, "measured": measured, "yardstick": yardstick, "seconds": seconds}
        for number, ((measured, yardstick), seconds) in enumerate(zip(case.rounds, case.seconds, strict=True))
    ]


def table(cases: list[Case], size: str) -> str:
    """For a person: medians, the ratio, the target and whether it is met."""
    width = max(len(case.name) for case in cases)
    unit = max(len(case.unit) for case in cases)
    yardstick = max(len(case.yardstick) for case in cases)
    lines = [f"    {'case':{width}} {'unit':{unit}} {'measured':>10} {'yardstick':>10} {'':{yardstick}} {'ratio':>6} {'time s':>8}  target"]
    for case in cases:
        lines.append(
            f"{case.promise:3} {case.name:{width}} {case.unit:{unit}} {figures(case, yardstick)}  "
            f"{case.target.text}: {outcome(case, size)}{f' ({case.aside})' if case.aside else ''}"
        )
    return "\n".join(lines)


def figures(case: Case, width: int) -> str:
    """The numbers of a row, the yardstick with its name."""
    if not case.rounds:
        return f"{'-':>10} {'-':>10} {case.yardstick:{width}} {'-':>6} {'-':>8}"
    measured, yardstick = (statistics.median(column) for column in zip(*case.rounds, strict=True))
    return f"{measured:10.4g} {yardstick:10.4g} {case.yardstick:{width}} {ratio_text(case.ratio)} {case.median_s:8.3g}"


def ratio_text(ratio: float) -> str:
    """In six columns, with digits to tell by however small it is."""
    return f"{ratio:6.2f}" if ratio >= 0.1 else f"{ratio:6.2g}"


def outcome(case: Case, size: str) -> str:
    """The word for the last column."""
    if case.not_here:
        return case.not_here
    return ("met" if case.shortfall() <= 1 else "MISSED") if is_promised(case, size) else "for information"


def is_promised(case: Case, size: str) -> bool:
    """True if there is a limit that holds at this size."""
    target = case.target
    limits = (target.at_least, target.at_most, target.at_least_measured, target.at_most_measured, target.at_most_s)
    return size in target.sizes and any(limit is not None for limit in limits)


def far_missed(cases: list[Case], size: str) -> list[Case]:
    """Cases so far off that noise does not explain it."""
    return [case for case in cases if size in GATED_SIZES and is_promised(case, size) and case.shortfall() > SLACK]


def run_command(command: list[str]) -> tuple[int, float]:
    """Exit status and wall seconds of a command; its output is shown only if it could not work."""
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode not in (0, 1):
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode, seconds
