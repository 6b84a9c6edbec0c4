"""A worker's own memory does not grow with the tensors it compares: they are mapped, not read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gate_files
import pytest

MiB = 2**20
FEW, MANY = 8 * MiB, 256 * MiB
# Blocks, records, what the allocator keeps.
MAY_GROW = 4 * MiB
STATUS = Path("/proc/self/status")

pytestmark = pytest.mark.skipif(
    "RssAnon" not in STATUS.read_text() if STATUS.exists() else True, reason="the kernel does not report RssAnon"
)

# What a worker does with its first task, told how much of its memory is its own while a kernel runs and at the end.
WORKER = """
import sys
import numpy as np
sys.path.insert(0, {here!r})
import gate_files
from fastcmp.engine import compare_items
from fastcmp.formats.payload import Payload

def own_memory():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))

original = compare_items.fold.fold_piece
most = 0

def fold_piece(*args, **rest):
    global most
    sums = original(*args, **rest)
    most = max(most, own_memory())
    return sums

compare_items.fold.fold_piece = fold_piece
{planted}
for pair in {pairs!r}:
    most = 0
    result = compare_items.run_task(gate_files.task_over([pair]))
    assert result.error_codes == [""], result.error_details
    print(max(most, own_memory()))
"""

COPIES = """
piece = Payload.piece
Payload.piece = lambda self, start, stop: np.array(piece(self, start, stop))
"""
KEEPS = """
read, kept = Payload.piece, []
Payload.piece = lambda self, start, stop: kept.append(np.array(read(self, start, stop)[: (stop - start) // 8])) or read(self, start, stop)
"""


def growth(directory: Path, dtype: str, planted: str = "") -> int:
    """Bytes of its own that a fresh worker has more after a large pair than after a small one."""
    itemsize = 4 if dtype == "float32" else 2
    pairs = [gate_files.bin_pair(directory / str(size), dtype, size // itemsize) for size in (FEW, MANY)]
    program = WORKER.format(here=str(Path(__file__).parent), planted=planted, pairs=pairs)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    return many - few


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_large_pair_takes_no_more_memory_than_a_small_one(dtype: str, tmp_path: Path) -> None:
    assert growth(tmp_path, dtype) < MAY_GROW


@pytest.mark.parametrize("planted", [COPIES, KEEPS], ids=["copies each piece", "keeps a part of each"])
def test_a_worker_that_copies_is_caught(planted: str, tmp_path: Path) -> None:
    assert growth(tmp_path, "float32", planted) > MAY_GROW
