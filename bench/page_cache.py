"""What of a file is in memory, and making it leave."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence

import numpy as np

# A system may keep a page that somebody else just looks at.
COLD_SHARE = 0.01


def make_cold(paths: Sequence[str]) -> bool:
    """Write the files out and drop them from the page cache; False where the file system keeps them all the same."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # a page that waits to be written stays
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return all(resident_share(path) <= COLD_SHARE for path in paths)


def warm_share(paths: Sequence[str]) -> float:
    """The part of files of one size that is in the page cache."""
    return sum(map(resident_share, paths)) / len(paths)


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
