"""Fuzz targets, each for its share of a given time: ``fuzz_run.py SECONDS [TARGET ...]``, as `make fuzz` calls it. All of them unless some are named.

Two targets run at a time where there are two cores. A finding ends the search of its target only; the table at the end has all. Exit code
1 if anything was found, 2 if a target could not run.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SEARCH: Final = ROOT / "tests" / "fuzz" / "fuzz_search.py"
BUILT: Final = ROOT / "build" / "fuzz" / "fuzz"
CORPUS: Final = ROOT / "build" / "fuzz-corpus"
FINDINGS: Final = ROOT / "build" / "fuzz-findings"

# One input may take so long, and all of them so much memory; a file of 4 KiB is worth neither.
LIMITS: Final = ("-timeout=25", "-rss_limit_mb=2560", "-malloc_limit_mb=256", "-report_slow_units=60")
_OVERHEAD_S: Final = 60
_KINDS: Final = ("crash", "leak", "oom", "timeout")


@dataclass(frozen=True)
class Target:
    """What is searched, and where its committed seeds lie. ``command`` takes libFuzzer's options and directories behind it."""

    language: str
    name: str
    command: tuple[str, ...]
    seeds: Path

    @property
    def label(self) -> str:
        return f"{self.language}-{self.name}"


@dataclass
class Result:
    """What a search came to. ``edges`` is "" where coverage did not guide it."""

    target: Target
    executions: int
    seconds: float
    edges: str
    exit_code: int
    findings: list[Path] = field(default_factory=list)
    log: str = ""


def cpp_targets() -> list[Target]:
    """Those that were built with clang."""
    return [
        Target("cpp", name, (str(BUILT / f"fuzz_{name}"), "-max_len=8192"), seeds)
        for seeds in sorted((ROOT / "cpp" / "fuzz" / "seeds").iterdir())
        for name in [seeds.name]
    ]


def python_targets() -> list[Target]:
    """Those of `fuzz_targets`, each of which has a directory of seeds."""
    return [
        Target("python", seeds.name, (sys.executable, str(SEARCH), seeds.name, "-max_len=4096"), seeds)
        for seeds in sorted((ROOT / "tests" / "fuzz" / "seeds").iterdir())
    ]


def chosen(labels: Sequence[str]) -> list[Target]:
    """The targets of these labels, or all for none."""
    targets = {target.label: target for target in (*cpp_targets(), *python_targets())}
    unknown = [label for label in labels if label not in targets]
    if unknown:
        raise ValueError(f"found no target {', '.join(unknown)}, expected some of {' '.join(targets)}")
    return [target for label, target in targets.items() if not labels or label in labels]


def search(target: Target, seconds: int, corpus: Path, findings: Path) -> Result:
    """Search one target for a time; what it found lies below ``findings``."""
    grown = corpus / target.label
    grown.mkdir(parents=True, exist_ok=True)
    artifacts = findings / target.label
    artifacts.mkdir(parents=True, exist_ok=True)
    before = set(artifacts.iterdir())
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None, prefix="fuzzing_") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as stream:
            code = _end_of(
                [*target.command, f"-max_total_time={seconds}", "-print_final_stats=1", *LIMITS, f"-artifact_prefix={artifacts}/", str(grown), str(target.seeds)],
                stream.fileno(), seconds + _OVERHEAD_S, os.environ | {"TMPDIR": scratch},
            )  # fmt: skip
        text = log.read_text(encoding="utf-8", errors="replace")
    found = sorted(path for path in set(artifacts.iterdir()) - before if path.name.startswith(_KINDS))
    return Result(target, _executions(text), time.monotonic() - begun, _edges(text), code, found, text)


def _end_of(command: Sequence[str], log: int, seconds: float, environment: dict[str, str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=ROOT)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        process.kill()
        process.wait()


def _executions(log: str) -> int:
    counted = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log) or re.findall(r"^#(\d+)\s", log, re.MULTILINE)
    return int(counted[-1]) if counted else 0


def _edges(log: str) -> str:
    covered = re.findall(r"\bcov: (\d+)", log)
    in_all = re.search(r"Loaded \d+ modules\s+\((\d+) (?:inline 8-bit counters|guards)\)", log)
    return f"{covered[-1]}{f' of {in_all[1]}' if in_all else ''}" if covered else ""


def table(results: Sequence[Result]) -> str:
    """One line for each target, and their sum."""
    rows = [("target", "executions", "a second", "covered edges", "findings")]
    rows += [
        (one.target.label, f"{one.executions}", f"{one.executions / one.seconds:.0f}", one.edges or "not guided", f"{len(one.findings)}")
        for one in results
    ]
    rows.append(("all", str(sum(one.executions for one in results)), "", "", str(sum(len(one.findings) for one in results))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def advice(finding: Path, target: Target) -> str:
    """How a finding is seen again, and kept."""
    replay = f"{target.command[0]} {finding}" if target.language == "cpp" else f"{sys.executable} {SEARCH} {target.name} {finding}"
    return f"finding: {finding}\n  again: {replay}\n  keep:  cp {finding} {target.seeds}/found_<what_it_was>"


def main(arguments: Sequence[str]) -> int:
    """Search the targets that are named, or all; exit code."""
    total = int(arguments[0])
    try:
        targets = chosen(arguments[1:])
    except ValueError as error:
        print(f"fuzz: {error}")
        return 2
    at_once = min(len(os.sched_getaffinity(0)), len(targets))
    share = max(1, total // math.ceil(len(targets) / at_once))
    print(f"fuzz: {len(targets)} targets, {share} s each, {at_once} at a time", flush=True)
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: no atheris for this Python: those in Python try random mutations, not guided by coverage", flush=True)
    with ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda target: search(target, share, CORPUS, FINDINGS), targets))
    print(table(results))
    return report(results)


def report(results: Sequence[Result]) -> int:
    """Say what was found and what did not run; exit code."""
    for one in results:
        for finding in one.findings:
            print(advice(finding, one.target))
    broken = [one for one in results if one.exit_code and not one.findings]
    for one in broken:
        print(f"{one.target.label} ended with {one.exit_code} and left no finding; its last lines:\n{one.log[-2000:]}")
    return 1 if any(one.findings for one in results) else 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
