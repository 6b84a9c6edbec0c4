"""What the workers do: the kernels in memory, and the floors under the comparisons from files."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from fastcmp.benchmark.data import LARGE_DTYPES, values_of
from fastcmp.kernels import fold, scan
from fastcmp.options import FoldOptions

_SMALL_READ: Final = 2**20


def prepare() -> None:
    """Have everything compiled that is measured."""
    fold.warm([(dtype, dtype) for dtype in (*LARGE_DTYPES, "float16")])
    scan.warm()


def fold_and_scan(dtype: str, kl: bool, nbytes: int, rounds: int) -> list[tuple[float, float]]:
    """Seconds of the kernel and of a scan over the same two arrays, in turn, the first round left out."""
    golden, target = values_of(dtype, nbytes)
    found = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        _fold(golden, target, dtype, kl)
        between = time.perf_counter()
        scan.scan(golden)
        scan.scan(target)
        found.append((between - begin, time.perf_counter() - between))
    return found[1:]


def _fold(golden: np.ndarray, target: np.ndarray, dtype: str, kl: bool) -> None:
    count = golden.size
    fold.fold_piece(golden, dtype, target, dtype, start=0, element_count=count, row_length=4096, options=FoldOptions(kl=kl))


def scan_mapped(paths: Sequence[str]) -> tuple[float, float]:
    """Look at every byte of the files through fresh maps, page faults included; when that began and ended."""
    begin = time.perf_counter()
    for path in paths:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            memory = np.frombuffer(mapped, np.uint8)
            scan.scan(memory)
            del memory
    return begin, time.perf_counter()


def read_small(paths: Sequence[str]) -> tuple[float, float]:
    """Open, read and close each file: what a small one costs at least; when that began and ended."""
    begin = time.perf_counter()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.pread(descriptor, _SMALL_READ, 0)
        finally:
            os.close(descriptor)
    return begin, time.perf_counter()
