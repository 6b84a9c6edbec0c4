"""What of a file is in memory, and making it leave."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence

import numpy as np
from cases import MiB

# A system may keep a page that somebody else just looks at.
COLD_SHARE = 0.01
BLOCK_BYTES = 64 * MiB


def write_anew(paths: Sequence[str]) -> None:
    """Leave files in the page cache as a program does that has just dumped them, whatever was read or dropped since.

    The kernel keeps what is written by large writes in large units, what it reads ahead in small ones: a mapped scan by two cores of the
    same 2 GB takes 44, 22 or 15 GB/s: written, read in turn after it was cold, or mapped when it was cold.
    """
    for path in paths:
        with open(path, "rb", buffering=0) as old, open(f"{path}.new", "wb", buffering=0) as new:
            while block := old.read(BLOCK_BYTES):
                new.write(block)
            os.fsync(new.fileno())  # nothing is to be written while something is measured
        os.replace(f"{path}.new", path)


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
