"""Measure what the README promises, beside what the machine could do at best. See README.md in this directory."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import dumps
from answers import WrongAnswer, check_report
from cases import LARGE_REPEATS, SIZES, Size, Target
from kernel_cases import kernel_cases
from measure import Case, alternate, far_missed, run_command, save, table, timed
from preload_cases import preload_cases
from yardsticks import Readers

HERE = Path(__file__).resolve().parent
COMMAND = [sys.executable, "-m", "fastcmp"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="normal")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="where the dumps lie, made if missing")
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    begin = time.perf_counter()
    say(f"bench: size {size.name}, {size.disk_bytes / 1e9:.1f} GB below {arguments.data}")
    try:
        cases = measure_all(size, arguments.data / size.name)
    except WrongAnswer as error:
        say(f"bench: WRONG ANSWER: {error}")
        return 1
    print(table(cases, size.name))
    say(f"bench: answers checked; every round in {save(cases, size.name, HERE / 'results')}; {time.perf_counter() - begin:.0f} s")
    missed = far_missed(cases, size.name)
    for case in missed:
        say(f"bench: {case.name} misses its target by a factor of {case.shortfall():.1f}")
    return 1 if missed else 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_all(size: Size, data: Path) -> list[Case]:
    require_disk(size, data)
    say("bench: dumps (made once)")
    large, small = dumps.large(data / "large", size), dumps.small(data / "small", size)
    tiny = dumps.tiny(data / "tiny")
    say("bench: kernels in memory")
    cases = kernel_cases(size)
    say("bench: comparisons from files")
    with Readers(len(os.sched_getaffinity(0))) as readers:
        cases += [start_case(tiny, size, data), *large_cases(large, readers, size, data), small_case(small, readers, size, data)]
    cases.append(help_case(size))
    say("bench: the preload library")
    return [*cases, *preload_cases(size, data / "preload")]


def require_disk(size: Size, data: Path) -> None:
    """Refuse before the disk is full, not after."""
    if (data / "small" / "made.json").exists():
        return
    data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(data).free
    if free < 1.2 * size.disk_bytes:
        raise SystemExit(
            f"bench: {data}: {free / 1e9:.1f} GB free, {1.2 * size.disk_bytes / 1e9:.1f} GB needed; --data names another place"
        )


def compare(dump: dumps.BenchDump, report: Path) -> float:
    """Seconds of the whole command, started anew and without an earlier report to resume from."""
    shutil.rmtree(report, ignore_errors=True)
    status, seconds = run_command([*COMMAND, "compare", str(dump.golden), str(dump.target), "-o", str(report), "-q"])
    if status != 1:
        raise WrongAnswer(f"{report}: exit status {status}, expected 1 for the planted differences")
    check_report(report, dump)
    return seconds


def start_case(tiny: dumps.BenchDump, size: Size, data: Path) -> Case:
    """What a comparison costs before the first large tensor: Python, kernels from the cache, workers, one pair per dtype."""
    case = Case("compare one small pair per dtype", "runs/s", "import numpy", Target("<= 0.8 s", at_most_s=0.8, sizes=()))
    report = data / "report-tiny"
    return alternate(case, size.rounds, 1, lambda: compare(tiny, report), lambda: timed(lambda: run_command(numpy_only())))


def large_cases(large: dumps.BenchDump, readers: Readers, size: Size, data: Path) -> list[Case]:
    """The whole command; and what each further GB costs, from the same files compared once and several times over."""
    files = large.files()
    once = sum(dumps.payload_bytes(files)) / 1e9
    more = dumps.repeated(large, LARGE_REPEATS)
    whole = Case(f"compare {once:.2g} GB of large tensors", "GB/s", "mapped scan", Target("for the record"))
    slope = Case("compare, each further GB", "GB/s", "mapped scan", Target("ratio >= 0.3", at_least=0.3))
    for number in range(size.rounds + 1):
        once_s = compare(large, data / "report-large")
        more_s = compare(more, data / "report-large")
        floor = once / readers.seconds("scan", files)
        if number == 0:
            continue  # warms up
        whole.seconds.append(once_s)
        whole.rounds.append((once / once_s, floor))
        slope.seconds.append(more_s - once_s)
        slope.rounds.append((once * (LARGE_REPEATS - 1) / max(more_s - once_s, 1e-3), floor))
    # In the short form the difference of two runs is smaller than their noise: no number is better than that one.
    return [whole] if size.name == "short" else [whole, slope]


def small_case(small: dumps.BenchDump, readers: Readers, size: Size, data: Path) -> Case:
    """Many 8 KB pairs beside open, pread and close of the same files."""
    files = small.files()
    case = Case(f"compare {small.pairs} pairs of 8 KB", "pairs/s", "open+pread", Target("<= 4 s", at_most_s=4.0, sizes=("normal",)))
    return alternate(case, size.rounds, small.pairs, lambda: compare(small, data / "report-small"), lambda: readers.seconds("read", files))


def help_case(size: Size) -> Case:
    """What a person waits for who only asks."""
    case = Case("fastcmp --help", "runs/s", "import numpy", Target("<= 0.15 s", at_most_s=0.15))
    return alternate(
        case, size.rounds, 1, lambda: timed(lambda: run_command([*COMMAND, "--help"])), lambda: timed(lambda: run_command(numpy_only()))
    )


def numpy_only() -> list[str]:
    return [sys.executable, "-c", "import numpy"]


if __name__ == "__main__":
    sys.exit(main())
