"""Files that are cut, grown and replaced while a comparison reads them: an error row or one version of them, never a mixture."""

from __future__ import annotations

import csv
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reliability_runs import TENSORS, Sides, compare, write_document
from tries import tries

from fastcmp.cli.main import main

# Of each tensor all elements are equal, so that a mixture of two versions has a maximum that is not its minimum.
SHAPES = ((40, 50), (700, 400), (700, 400), (1200, 600))
CODES = {"E_SHRUNK", "E_CHANGED", "E_TRUNCATED", "E_SIZE_SHORT", "E_EMPTY_FILE", "E_MISSING", "E_NPY_HEADER", "E_BAD_MAGIC", "E_SIZE_LONG"}
# The kernel stamps a file with the time of its last tick, of 1 to 10 ms: two changes within one look like none.
TICK_S = 0.015
HEADER_BYTES = 128


def version(shape: tuple[int, ...], number: int) -> np.ndarray:
    values = np.full(shape, float(number % 1000 + 1), np.float32)
    return np.asfortranarray(values) if number % 3 == 0 else values


def write_sides(root: Path) -> Sides:
    documents = []
    for role in ("golden", "acl"):
        (root / role / TENSORS).mkdir(parents=True)
        names = []
        for number in range(12):
            names.append(f"{number}.npy")
            np.save(root / role / TENSORS / names[-1], np.full(SHAPES[number % len(SHAPES)], 1.0, np.float32))
        documents.append(write_document(root / role, names))
    return documents[0], documents[1]


class Changer(threading.Thread):
    """Changes one golden file after the other until it is told to stop."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.chance, self.stop, self.changes = folder, random.Random(seed), threading.Event(), 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            last: dict[int, float] = {}
            while not self.stop.is_set():
                number = self.chance.randrange(12)
                if time.monotonic() - last.get(number, 0) < TICK_S:
                    time.sleep(0.0005)
                    continue
                self.change(number)
                last[number] = time.monotonic()
                self.changes += 1
                time.sleep(self.chance.choice([0, 0.0005, 0.002]))
        except Exception as error:
            self.failure = error

    def change(self, number: int) -> None:
        path = self.folder / f"{number}.npy"
        kind = self.chance.choice(["cut", "empty", "grow", "replace", "replace", "replace", "remove"])
        shape = SHAPES[number % len(SHAPES)]
        if kind == "grow" and (not path.exists() or path.stat().st_size < HEADER_BYTES + 4 * shape[0] * shape[1]):
            kind = "replace"  # a cut file that grows again would be a mixture by itself
        if kind == "remove":
            path.unlink(missing_ok=True)
        elif kind == "replace" or not path.exists():
            beside = path.with_suffix(".new")
            with open(beside, "wb") as file:
                np.save(file, version(shape, self.changes))
            beside.rename(path)
        elif kind == "grow":
            with open(path, "ab") as file:
                file.write(b"\0" * 5000)
        else:
            size = path.stat().st_size
            with open(path, "r+b") as file:
                file.truncate(0 if kind == "empty" else self.chance.randrange(size + 1))

    def end(self) -> int:
        self.stop.set()
        self.join(30)
        assert self.failure is None and not self.is_alive(), self.failure
        return self.changes


def assert_no_mixture(output: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    with open(output / "cmp_report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["data_id"] for row in rows] == [str(number) for number in range(12)]
    for row in rows:
        if row["cmp_flag"] == "True":
            assert row["golden_max_value"] == row["golden_min_value"] == row["golden_mean_value"], row
            assert row["acl_max_value"] == row["acl_min_value"] == "1", row
            found["compared"] += 1
            continue
        (code,) = re.findall(r"\[(E_\w+)\]$", row["cmp_fail_reason"])
        assert code in CODES, row
        found[code] += 1
    return found


def compare_while_they_change(tmp_path: Path, seconds: float, executor: str, seed: int) -> tuple[Counter[str], int, int]:
    sides = write_sides(tmp_path)
    changer = Changer(sides[0].parent / TENSORS, seed)
    changer.start()
    found: Counter[str] = Counter()
    runs = 0
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            output = tmp_path / f"r{runs}"
            if executor == "local":
                done = compare(sides, output, "-j2")
                assert done.returncode in (0, 1, 2) and "internal error" not in done.stderr, done.stderr
            else:
                assert main(["compare", *map(str, sides), "-o", str(output), "-q", "--executor", executor, "-j", "2"]) in (0, 1, 2)
            found += assert_no_mixture(output)
            runs += 1
    finally:
        changes = changer.end()
    return found, runs, changes


@pytest.mark.parametrize(("executor", "seconds"), [("serial", 1.2), ("threads", 0.8), ("local", 1)])
def test_a_file_that_changes_is_an_error_or_one_version(tmp_path: Path, executor: str, seconds: float) -> None:
    found, runs, changes = compare_while_they_change(tmp_path, seconds, executor, 1)
    assert changes > 20 and runs >= 1 and found["compared"] > 0 and len(found) > 1, found


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "threads", "local"])
def test_files_that_change_for_long_are_errors_or_one_version(tmp_path: Path, executor: str) -> None:
    found, runs, changes = compare_while_they_change(tmp_path, tries("CHANGING_S", 20), executor, 2)
    print(f"{executor}: {runs} comparisons, {changes} changes, {dict(found)}")
    # Both happened often, however busy the machine is.
    assert found["compared"] > 30 and sum(found.values()) - found["compared"] > 30, found
