"""One compilation for all pairs of the common dtypes, however the payloads lie; each further one is seconds of every user's first comparison."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gate_files
import ml_dtypes
import numpy as np
import pytest
from numba import njit

from fastcmp.engine import compare_items
from fastcmp.kernels import fold

DTYPES = ("float32", "float16", "bfloat16")
VIEWS = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
SMALL, LARGE = (6, 1024), (260, 2048)


def variants(directory: Path, dtype: str) -> list[tuple[str, str]]:
    """Pairs of one dtype that lie in memory in every way there is: aligned or not, read or mapped, in C or in Fortran order."""
    files = []
    for shape in (SMALL, LARGE):
        values = np.ones(shape, VIEWS[dtype])
        stem = directory / f"{dtype}-{shape[0]}"
        files.append(gate_files.write_npy(stem.with_suffix(".npy"), values))
        files.append(gate_files.write_npy(stem.with_name(f"{stem.name}-fortran.npy"), np.asfortranarray(values)))
        if dtype != "bfloat16":
            files.append(gate_files.write_npy(stem.with_name(f"{stem.name}-swapped.npy"), values.astype(values.dtype.newbyteorder(">"))))
        for odd in ("x", "xy"):
            path = Path(gate_files.write_bin(stem.with_name(f"{stem.name}-{odd}.bin"), dtype, values.size))
            header = path.read_bytes()[: path.stat().st_size - values.nbytes]
            # A header of another length moves the payload to another alignment.
            path.write_bytes(header.replace(b"$End=1", f"name={odd}\n$End=1".encode()) + values.tobytes())
            files.append(str(path))
    half = len(files) // 2
    return [(golden, target) for group in (files[:half], files[half:]) for golden in group for target in group]


def compare_variants(directory: Path) -> None:
    for dtype in DTYPES:
        task = gate_files.task_over(variants(directory, dtype))
        for mapped in (True, False):
            assert set(compare_items.run_task(task, mapped=mapped).error_codes) == {""}


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_gate_compilations
from fastcmp.kernels import pairs
test_gate_compilations.compare_variants(Path(sys.argv[2]))
print(len(pairs.fold_many.signatures), len(pairs.fold_prepared.signatures))
"""


def test_a_comparison_compiles_one_kernel(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "0"]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A kernel that does nothing, in the place of the real one: compiled at once, and told apart by numba just the same."""

    @njit
    def fold_nothing(floats, counts, golden, target, tag, jobs, numbers, tables, scratch, index, rooms):
        counts[0, 0] = counts[0, 0]

    monkeypatch.setattr(fold, "fold_many", fold_nothing)
    fold._route.cache_clear()
    yield fold_nothing
    fold._route.cache_clear()


def test_the_stand_in_is_compiled_as_often_as_the_kernel(tmp_path: Path, stand_in: object) -> None:
    compare_variants(tmp_path)
    assert len(stand_in.signatures) == 1


def test_payloads_of_two_types_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: object) -> None:
    """Kept ones as writable copies, large ones read-only as they are mapped."""
    original = fold._as_bytes
    monkeypatch.setattr(fold, "_as_bytes", lambda piece: original(piece).copy() if piece.size > 2**24 else original(piece))
    compare_variants(tmp_path)
    assert len(stand_in.signatures) == 2
