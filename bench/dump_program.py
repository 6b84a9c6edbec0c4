"""A program that dumps numpy arrays, by `dump_data` and by `np.save`, call by call in turn. It times both by itself.

``python dump_program.py DIRECTORY BYTES ROUNDS CALLS`` prints one JSON object: seconds of each round, both ways.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from fastcmp import dump_counters, dump_data

IDS_PER_TOKEN = 200
# Larger files are cut short between the rounds: nobody waits for the disk here.
KEPT_BYTES = 64 * 1024


class Writer:
    """Both ways to the disk, into trees of the same kind, and where each leaves its files."""

    def __init__(self, directory: Path, values: np.ndarray) -> None:
        self.values = values
        self.dumped = directory / f"{os.getpid()}_cmp_dump_data" / "golden_tensor"
        self.saved = directory / "saved" / "golden_tensor"

    def dump(self, number: int) -> float:
        begin = time.perf_counter()
        dump_data("golden", f"layer.{number % IDS_PER_TOKEN}", self.values, token_id=number // IDS_PER_TOKEN)
        return time.perf_counter() - begin

    def save(self, number: int) -> float:
        begin = time.perf_counter()
        if number % IDS_PER_TOKEN == 0:
            (self.saved / str(number // IDS_PER_TOKEN)).mkdir(parents=True)
        np.save(self.saved / self.name(number), self.values)
        return time.perf_counter() - begin

    def name(self, number: int) -> str:
        return f"{number // IDS_PER_TOKEN}/layer.{number % IDS_PER_TOKEN}_tensor.npy"

    def check(self, number: int) -> None:
        """Both files hold what they should."""
        for tree in (self.dumped, self.saved):
            if not np.array_equal(np.load(tree / self.name(number)), self.values):
                raise SystemExit(f"{tree / self.name(number)}: not what was dumped")

    def cut_short(self, number: int) -> None:
        for tree in (self.dumped, self.saved):
            os.truncate(tree / self.name(number), 0)


def main() -> None:
    directory, nbytes, rounds, calls = Path(sys.argv[1]), *map(int, sys.argv[2:])
    writer = Writer(directory, np.random.default_rng(0).standard_normal(nbytes // 4, dtype=np.float32))
    timing: dict[str, list[float]] = {"dumped_s": [], "saved_s": []}
    for turn in range(-1, rounds):
        numbers = range((turn + 1) * calls, (turn + 2) * calls)
        seconds = [(writer.dump(number), writer.save(number)) for number in numbers]
        writer.check(numbers[-1])
        if nbytes > KEPT_BYTES:
            for number in numbers:
                writer.cut_short(number)
        if turn >= 0:  # the first round warms up
            for times, column in zip(timing.values(), zip(*seconds, strict=True), strict=True):
                times.append(sum(column))
    print(json.dumps({**timing, "counters": dump_counters()}))


if __name__ == "__main__":
    main()
