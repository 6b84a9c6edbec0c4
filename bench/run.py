"""Measure what the README promises, beside what the machine could do at best. See README.md in this directory."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from also_cases import ENVIRONMENT, also_cases
from answers import WrongAnswer
from cases import SIZES
from cold_cases import cold_cases
from disk import clean, require_disk, wanted_bytes
from dump_cases import dump_cases
from executor_cases import executor_cases
from format_cases import format_cases
from instead_cases import instead_cases
from kernel_cases import kernel_cases
from large_cases import large_cases
from measure import Case, far_missed, save, table
from memory_cases import memory_cases
from one_pair_case import one_pair_cases
from preload_cases import preload_cases
from setting import CORES, Setting
from small_cases import small_cases
from start_cases import start_cases
from yardsticks import Readers

HERE = Path(__file__).resolve().parent
# In this order: what other tools do is quoted by the rows of large tensors, and cold files are warm again only for the next run.
GROUPS: dict[str, Callable[[Setting], list[Case]]] = {
    "kernel": lambda setting: kernel_cases(setting.size),
    "instead": instead_cases,
    "also": also_cases,
    "start": start_cases,
    "large": large_cases,
    "one": one_pair_cases,
    "small": small_cases,
    "formats": format_cases,
    "executors": executor_cases,
    "memory": memory_cases,
    "cold": cold_cases,
    "dump": dump_cases,
    "preload": lambda setting: preload_cases(setting.size, setting.scratch / "preload"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="normal")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="where the dumps lie, made if missing")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--also", action="store_true", help="other tools from the package index take part, in build/bench-also")
    parser.add_argument("--clean", action="store_true", help="remove the dumps of every size, and measure nothing")
    arguments = parser.parse_args()
    if arguments.clean:
        say("\n".join(f"bench: removed {path}" for path in clean(arguments.data, ENVIRONMENT)) or "bench: nothing to remove")
        return 0
    size = SIZES[arguments.size]
    begin = time.perf_counter()
    say(f"bench: size {size.name}, up to {wanted_bytes(size) / 1e9:.1f} GB below {arguments.data}")
    require_disk(size, arguments.data / size.name)
    try:
        with Readers(CORES) as readers:
            cases = measure(Setting(size, arguments.data / size.name, readers, also=arguments.also), arguments.only)
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


def measure(setting: Setting, groups: list[str]) -> list[Case]:
    """The groups asked for, in the order of `GROUPS`."""
    cases = []
    shutil.rmtree(setting.scratch, ignore_errors=True)  # of a run that was cut off
    for name, group in GROUPS.items():
        if name in groups and (name != "also" or setting.also):
            begin = time.perf_counter()
            cases += group(setting)
            say(f"bench: {name}: {time.perf_counter() - begin:.0f} s")
    shutil.rmtree(setting.scratch, ignore_errors=True)
    return cases


if __name__ == "__main__":
    sys.exit(main())
