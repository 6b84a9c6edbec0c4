"""The command that is timed, each time started anew and its answer checked."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from answers import WrongAnswer, check_report
from dumps import BenchDump
from measure import run_command

FASTCMP = [sys.executable, "-m", "fastcmp"]
NUMPY_ONLY = [sys.executable, "-c", "import numpy"]


def command_of(dump: BenchDump, report: Path, jobs: int = 0) -> list[str]:
    return [*FASTCMP, "compare", str(dump.golden), str(dump.target), "-o", str(report), "-q", "-j", str(jobs)]


def compare(dump: BenchDump, report: Path, jobs: int = 0) -> float:
    """Seconds of the whole command, started anew and without an earlier report to resume from."""
    shutil.rmtree(report, ignore_errors=True)
    status, seconds = run_command(command_of(dump, report, jobs))
    check_answer(dump, report, status)
    return seconds


def check_answer(dump: BenchDump, report: Path, status: int) -> None:
    """The exit status that the planted differences make, and the report."""
    expected = 1 if dump.planted else 0
    if status != expected:
        raise WrongAnswer(f"{report}: exit status {status}, expected {expected} for {len(dump.planted)} planted differences")
    check_report(report, dump)
