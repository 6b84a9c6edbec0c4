"""Large tensors that are not in the page cache: the disk's pace."""

from __future__ import annotations

import ctypes
import mmap
import os
import statistics
from collections.abc import Iterable

import dumps
import numpy as np
from cases import Target
from compare_command import compare
from measure import Case, further, slope
from setting import Setting

# A system may keep a page that somebody else just looks at.
COLD_SHARE = 0.01
PACE_OF_READING = Target("ratio >= 0.9", at_least=0.9)
ROUNDS = 3


def cold_cases(setting: Setting) -> list[Case]:
    """The command less the warm start of a tiny dump, beside one process per core that reads the same files by and by."""
    large, tiny = setting.large(), setting.tiny()
    files = large.files()
    gigabytes = sum(dumps.payload_bytes(files)) / 1e9
    case = Case(f"compare {gigabytes:.2g} GB, cold, without start", "GB/s", "sequential read", PACE_OF_READING, "P9")
    compare(tiny, setting.report)  # warms up
    rounds = []
    for _ in range(1 if setting.size.name == "short" else ROUNDS):
        start_s = compare(tiny, setting.report)
        if not make_cold(files):
            case.not_here = "not cold here"
            return [case]
        compared_s = compare(large, setting.report)
        make_cold(files)
        rounds.append((start_s, compared_s, setting.readers.seconds("sequential", files)))
    start_s, compared_s, floor_s = zip(*rounds, strict=True)
    work = further(compared_s, start_s)
    case.aside = f"with start {gigabytes / statistics.median(compared_s):.2g} GB/s"
    return [slope(case, work, [gigabytes / seconds for seconds in work], [gigabytes / seconds for seconds in floor_s])]


def make_cold(files: Iterable[str]) -> bool:
    """Write the files out and drop them from the page cache; False where the file system keeps them all the same."""
    paths = list(files)
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # a page that waits to be written stays
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return all(resident_share(path) <= COLD_SHARE for path in paths)


def resident_share(path: str) -> float:
    """The part of a file's pages that is in the page cache."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
        view = np.frombuffer(mapped, np.uint8)
        status = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(len(mapped)), ctypes.c_void_p(pages.ctypes.data)
        )
        del view
    if status != 0:
        raise OSError(ctypes.get_errno(), "mincore", path)
    return float((pages & 1).mean())
