"""Small pairs cost calls, not bytes: how many functions Python enters for each of a batch."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import gate_files
import numpy as np
import pytest

from fastcmp.engine import compare_items
from fastcmp.formats import KeptFiles, scan_batch
from fastcmp.options import ScanOptions
from fastcmp.plan import BATCH_COUNT

ELEMENTS = 4096
# Measured with Python 3.11: 53 functions of Python and 65 built-in ones for a pair of .bin files, 55 and 81 for .npy. A header that is
# parsed in Python takes 20 more at the least. Lower the bounds when the counts get lower.
PYTHON_CALLS_PER_PAIR = {"bin": 57, "npy": 59}
BUILTIN_CALLS_PER_PAIR = {"bin": 70, "npy": 88}


class Calls(NamedTuple):
    """Calls for each pair of a batch."""

    python: float
    builtin: float


def calls_per_pair(pairs: list[tuple[str, str]]) -> Calls:
    """What a whole batch takes above half a batch, for each pair: the start of a task is left out."""
    whole, half = events(pairs), events(pairs[: len(pairs) // 2])
    count = len(pairs) - len(pairs) // 2
    return Calls((whole["call"] - half["call"]) / count, (whole["c_call"] - half["c_call"]) / count)


def events(pairs: list[tuple[str, str]]) -> Counter[str]:
    task = gate_files.task_over(pairs)
    assert compare_items.run_task(task).error_codes == [""] * len(pairs)
    counts: Counter[str] = Counter()

    def count(frame: object, event: str, argument: object) -> None:
        counts[event] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        compare_items.run_task(task)
    finally:
        sys.setprofile(before)
    return counts


def batch(directory: Path, kind: str) -> list[tuple[str, str]]:
    """A full batch over the same two files: opening them again and again costs the same calls."""
    if kind == "bin":
        pair = gate_files.bin_pair(directory, "float16", ELEMENTS)
    else:
        values = np.zeros((1, ELEMENTS), np.float16)
        pair = gate_files.write_npy(directory / "golden.npy", values), gate_files.write_npy(directory / "target.npy", values)
    return [pair] * BATCH_COUNT


@pytest.mark.parametrize("kind", ["bin", "npy"])
def test_a_small_pair_takes_a_known_number_of_calls(kind: str, tmp_path: Path) -> None:
    found = calls_per_pair(batch(tmp_path, kind))
    assert found.python <= PYTHON_CALLS_PER_PAIR[kind], found
    assert found.builtin <= BUILTIN_CALLS_PER_PAIR[kind], found


def parse_in_python(path: str) -> dict[str, str]:
    """A header, line by line."""
    attributes = {}
    with open(path, "rb") as file:
        for line in file:
            name, _, value = line.decode("ascii").strip().partition("=")
            attributes[name] = value
            if name == "$End":
                break
    return attributes


def test_a_header_parsed_in_python_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan_in_python(paths: list[str], options: ScanOptions, kept: KeptFiles) -> list[Any]:
        for path in paths:
            parse_in_python(path)
        return scan_batch(paths, options, kept)

    monkeypatch.setattr(compare_items, "scan_batch", scan_in_python)
    assert calls_per_pair(batch(tmp_path, "bin")).builtin > BUILTIN_CALLS_PER_PAIR["bin"]


def test_a_file_scanned_by_itself_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_items, "scan_batch", lambda paths, options, kept: [scan_batch([path], options, kept)[0] for path in paths])
    assert calls_per_pair(batch(tmp_path, "bin")).python > PYTHON_CALLS_PER_PAIR["bin"]
