"""A comparison reads each payload byte of either side once, and hands the kernels what it read without a copy."""

from __future__ import annotations

import mmap
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gate_files
import numpy as np
import pytest

from fastcmp.dtypes import DTYPES
from fastcmp.engine import compare_items
from fastcmp.formats import scan_batch
from fastcmp.formats.file_parts import EDGE_BYTES
from fastcmp.formats.kept_files import SMALL_BYTES
from fastcmp.formats.payload import Payload
from fastcmp.kernels import fold
from fastcmp.plan import Task

FUSED = tuple(dtype for dtype, row in DTYPES.items() if fold._route(dtype, dtype, False).is_floats and not row.is_sub_byte)
SMALL = 4096
LARGE = 4 * 2**20
# The header of a large .bin file is read as one block of this size, whatever the file holds: that, and nothing that grows with it.
HEADER_READ = 4096
SMALL_HEADER = 160
# What an archive of one tensor has beside its payload.
SMALL_ARCHIVE = 1800
# Counters are read through a file, too; and so are module caches now and then.
SLACK = 1024
# Buffers that a comparison may have: blocks and records, never a piece.
BUFFERS = 2**20
IO = Path("/proc/thread-self/io")

needs_counters = pytest.mark.skipif(not IO.exists(), reason="no /proc/thread-self/io: the kernel does not count what a thread reads")


@dataclass
class Reading:
    """What one run of a task read.

    Attributes
    ----------
    by_calls : int
        Bytes that came by read calls, headers included.
    taken : int
        Bytes taken out of payloads, mapped or read.
    folded : int
        Bytes of the arrays that the kernels got.
    allocated : int
        Most bytes of new arrays that were alive at once.
    origins : list
        What the memory of each of those arrays belongs to.
    """

    by_calls: int = 0
    taken: int = 0
    folded: int = 0
    allocated: int = 0
    origins: list[object] = field(default_factory=list)


def read_by_calls() -> int:
    return int(dict(line.split(": ") for line in IO.read_text().splitlines())["rchar"])


def origin(array: object) -> object:
    """The object at the end of the chain of bases."""
    while isinstance(array, np.ndarray | memoryview):
        base = array.base if isinstance(array, np.ndarray) else array.obj
        if base is None:
            return array
        array = base
    return array


def reading_of(task: Task, mapped: bool = True) -> Reading:
    """Run a task twice, once to have everything loaded, and count the second time."""
    assert compare_items.run_task(task, mapped=mapped).error_codes == [""] * len(task.items)
    found = Reading()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "fold_piece", counting_pieces(fold.fold_piece, found))
        patch.setattr(fold, "fold_arena", counting_jobs(fold.fold_arena, found))
        patch.setattr(Payload, "stored_bytes", counting_bytes(Payload.stored_bytes, found))
        tracemalloc.start()
        try:
            before = read_by_calls()
            compare_items.run_task(task, mapped=mapped)
            found.by_calls = read_by_calls() - before
            found.allocated = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    return found


def counting_pieces(original: Callable[..., np.ndarray], found: Reading) -> Callable[..., np.ndarray]:
    def fold_piece(golden: np.ndarray, golden_dtype: str, target: np.ndarray, target_dtype: str, **rest: Any) -> np.ndarray:
        found.folded += golden.nbytes + target.nbytes
        found.origins += [origin(golden), origin(target)]
        return original(golden, golden_dtype, target, target_dtype, **rest)

    return fold_piece


def counting_jobs(original: Callable[..., np.ndarray], found: Reading) -> Callable[..., np.ndarray]:
    def fold_arena(arena: np.ndarray, jobs: list[fold.Job]) -> np.ndarray:
        for job in jobs:
            found.folded += job.length * sum(np.dtype(DTYPES[dtype].view).itemsize for dtype in (job.golden_dtype, job.target_dtype))
        return original(arena, jobs)

    return fold_arena


def counting_bytes(original: Callable[..., np.ndarray], found: Reading) -> Callable[..., np.ndarray]:
    def stored_bytes(self: Payload, offset: int, count: int) -> np.ndarray:
        found.taken += count
        return original(self, offset, count)

    return stored_bytes


def payload_bytes(dtype: str, count: int, pairs: int = 1) -> int:
    return 2 * pairs * count * DTYPES[dtype].bits // 8


@needs_counters
@pytest.mark.parametrize("dtype", [*FUSED, "int64"])
def test_small_files_are_read_once_and_never_copied(dtype: str, tmp_path: Path) -> None:
    """Whole files with their headers, straight to where the kernels read them."""
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path / str(number), dtype, SMALL) for number in range(8)]))
    wanted = payload_bytes(dtype, SMALL, 8)
    assert found.taken == 0 and found.folded == wanted
    assert wanted <= found.by_calls <= wanted + 16 * SMALL_HEADER + SLACK
    assert found.allocated < BUFFERS


@needs_counters
@pytest.mark.parametrize("dtype", FUSED)
def test_mapped_files_are_read_once_and_never_copied(dtype: str, tmp_path: Path) -> None:
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path, dtype, LARGE)]))
    assert found.taken == found.folded == payload_bytes(dtype, LARGE)
    assert found.by_calls <= 2 * HEADER_READ + SLACK
    assert all(isinstance(owner, mmap.mmap) for owner in found.origins)
    assert found.allocated < BUFFERS


@needs_counters
@pytest.mark.parametrize("dtype", FUSED)
def test_large_files_that_are_not_mapped_are_read_once(dtype: str, tmp_path: Path) -> None:
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path, dtype, LARGE)]), mapped=False)
    wanted = payload_bytes(dtype, LARGE)
    assert found.taken == found.folded == wanted
    assert wanted <= found.by_calls <= wanted + 2 * HEADER_READ + SLACK
    assert found.allocated < wanted + BUFFERS


@needs_counters
def test_a_header_costs_the_same_whatever_the_payload(tmp_path: Path) -> None:
    few, many = (
        reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path / str(size), "float32", size)])) for size in (LARGE, 4 * LARGE)
    )
    assert abs(many.by_calls - few.by_calls) < SLACK


@needs_counters
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "read"])
@pytest.mark.parametrize("make_pair", [gate_files.pt_pair, gate_files.safetensors_pair], ids=["pt", "safetensors"])
def test_large_tensors_inside_files_are_read_once_and_never_copied(
    make_pair: Callable[[Path, str, int], tuple[str, str]], dtype: str, mapped: bool, tmp_path: Path
) -> None:
    found = reading_of(gate_files.task_over([make_pair(tmp_path, dtype, LARGE)]), mapped)
    wanted = payload_bytes(dtype, LARGE)
    assert found.taken == found.folded == wanted
    assert found.by_calls <= (0 if mapped else wanted) + 4 * EDGE_BYTES + SLACK
    assert not mapped or all(isinstance(owner, mmap.mmap) for owner in found.origins)
    assert found.allocated < BUFFERS + (0 if mapped else wanted)


@needs_counters
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_small_archives_of_torch_are_read_once_and_never_copied(dtype: str, tmp_path: Path) -> None:
    pairs = [gate_files.pt_pair(tmp_path / str(number), dtype, SMALL) for number in range(8)]
    found = reading_of(gate_files.task_over(pairs))
    files = sum(Path(path).stat().st_size for pair in pairs for path in pair)
    assert found.taken == 0 and found.folded == payload_bytes(dtype, SMALL, 8)
    assert files <= found.by_calls <= files + SLACK and files < found.folded + 16 * SMALL_ARCHIVE
    assert found.allocated < BUFFERS


def test_sizes_stand_on_both_sides_of_the_crossing() -> None:
    assert {"float32", "float16", "bfloat16"} <= set(FUSED)
    assert payload_bytes("float64", SMALL) <= 2 * SMALL_BYTES < payload_bytes("float16", LARGE)


# What each gate is there to catch, planted.


@needs_counters
def test_a_second_look_at_the_payload_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Payload.piece

    def piece(self: Payload, start: int, stop: int) -> np.ndarray:
        original(self, start, stop)
        return original(self, start, stop)

    monkeypatch.setattr(Payload, "piece", piece)
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path, "float32", LARGE)]))
    assert found.taken == 2 * payload_bytes("float32", LARGE)


@needs_counters
def test_a_second_read_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was when files were opened for their headers first, and for their payloads later."""
    monkeypatch.setattr(compare_items, "scan_batch", lambda paths, options, kept: scan_batch(paths, options))
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path, "float32", SMALL)]))
    assert found.taken == payload_bytes("float32", SMALL)
    assert found.by_calls > payload_bytes("float32", SMALL) + 2 * SMALL_HEADER + SLACK


@needs_counters
def test_a_copied_payload_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Payload.piece
    monkeypatch.setattr(Payload, "piece", lambda self, start, stop: np.array(original(self, start, stop)))
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path, "float16", LARGE)]))
    assert not any(isinstance(owner, mmap.mmap) for owner in found.origins)
    assert found.allocated > BUFFERS


@needs_counters
def test_a_copy_on_the_way_into_the_kernel_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = fold.fold_piece

    def fold_piece(golden: np.ndarray, golden_dtype: str, target: np.ndarray, target_dtype: str, **rest: Any) -> np.ndarray:
        return original(np.array(golden), golden_dtype, target, target_dtype, **rest)

    monkeypatch.setattr(fold, "fold_piece", fold_piece)
    found = reading_of(gate_files.task_over([gate_files.bin_pair(tmp_path, "float16", LARGE)]))
    assert found.allocated > BUFFERS
