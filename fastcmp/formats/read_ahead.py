"""Have the disk busy with all of a piece while its beginning is worked on, where the piece is not in memory yet."""

from __future__ import annotations

import contextlib
import os


def read_ahead(descriptor: int, at: int, count: int) -> None:
    """Ask for ``count`` bytes from byte ``at`` of an open file; nothing waits for them, and nothing depends on it.

    A mapped file is fetched by page faults, one small window after the other, and each waits for the disk. Where the
    bytes are in the page cache already, which is asked first, this costs two system calls.
    """
    with contextlib.suppress(OSError, AttributeError):
        if not (_is_cached(descriptor, at) and _is_cached(descriptor, at + count - 1)):
            os.posix_fadvise(descriptor, at, count, os.POSIX_FADV_WILLNEED)


def _is_cached(descriptor: int, at: int) -> bool:
    """True if the byte could be read without waiting, or if the file system cannot say."""
    try:
        return os.preadv(descriptor, [bytearray(1)], at, os.RWF_NOWAIT) >= 0
    except BlockingIOError:
        return False
