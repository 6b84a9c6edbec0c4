"""What `dump_data` costs a program that runs a model, beside `np.save`; and whether that grows with the calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from answers import WrongAnswer
from cases import MiB, Target
from measure import Case
from setting import Setting

PROGRAM = Path(__file__).resolve().parent / "dump_program.py"
KEPT = Target("ratio >= 0.77", at_least=1 / 1.3)
LINEAR = Target("ratio <= 1.3", at_most=1.3)
# The calls of a program that dumps small tensors are timed in so many parts.
TENTHS = 10
LARGER_BYTES = (MiB, 128 * MiB)


def dump_cases(setting: Setting) -> list[Case]:
    """8 KB: a program of many calls, one part of them a round. Larger arrays: a few calls a round."""
    directory = setting.scratch / "dump_data"
    sizes = LARGER_BYTES[:1] if setting.size.name == "short" else LARGER_BYTES
    return [*small_cases(setting, directory), *(larger_case(setting, directory, nbytes) for nbytes in sizes)]


def small_cases(setting: Setting, directory: Path) -> list[Case]:
    """Each part of the calls beside `np.save`; and the last part beside the first."""
    count = setting.size.dump_calls // TENTHS
    case = Case("dump_data 8 KB", "calls/s", "np.save", KEPT, "P10")
    growth = Case(f"dump_data 8 KB, calls {9 * count}-{10 * count} / 0-{count}", "times", "np.save", LINEAR, "P10")
    for number in range(setting.size.dump_programs):
        timing = run_program(directory / f"small-{number}", 8192, TENTHS, count)
        dumped, saved = timing["dumped_s"], timing["saved_s"]
        for dumped_s, saved_s in zip(dumped, saved, strict=True):
            case.add(count / dumped_s, count / saved_s, dumped_s / count)
        growth.add(dumped[-1] / dumped[0], saved[-1] / saved[0], dumped[-1] / count)
    return [case, growth]


def larger_case(setting: Setting, directory: Path, nbytes: int) -> Case:
    """So few calls a round that they stay in memory."""
    calls = max(64 * MiB // nbytes, 1)
    case = Case(f"dump_data {nbytes // MiB} MiB", "GB/s", "np.save", KEPT, "P10")
    timing = run_program(directory / f"larger-{nbytes}", nbytes, 2 * setting.size.rounds, calls)
    for dumped_s, saved_s in zip(timing["dumped_s"], timing["saved_s"], strict=True):
        case.add(calls * nbytes / 1e9 / dumped_s, calls * nbytes / 1e9 / saved_s, dumped_s / calls)
    return case


def run_program(directory: Path, nbytes: int, rounds: int, calls: int) -> dict[str, Any]:
    """Start the program in a directory of its own; what it timed. It must have saved every tensor."""
    directory.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FASTCMP_", "RANK"))}
    command = [sys.executable, str(PROGRAM), str(directory), str(nbytes), str(rounds), str(calls)]
    done = subprocess.run(command, env=environment | {"FASTCMP_DUMP_DIR": str(directory)}, capture_output=True, text=True)
    if done.returncode != 0:
        raise WrongAnswer(f"{PROGRAM.name}: {done.stderr.strip()}")
    timing: dict[str, Any] = json.loads(done.stdout)
    expected = (rounds + 1) * calls
    if timing["counters"]["saved"] != expected:
        raise WrongAnswer(f"{PROGRAM.name}: counted {timing['counters']}, expected {expected} saved")
    check_names(directory, expected)
    return timing


def check_names(directory: Path, expected: int) -> None:
    """After the program has ended, metadata.json names every tensor."""
    (path,) = directory.glob("*_cmp_dump_data/golden_tensor/metadata.json")
    named = sum(len(tokens) for tokens in json.loads(path.read_text(encoding="utf-8")).values())
    if named != expected:
        raise WrongAnswer(f"{path}: {named} tensors, expected {expected}")
