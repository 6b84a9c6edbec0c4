"""Files that others may have put there: what may be opened, and whom to believe."""

from __future__ import annotations

import os
import stat
from io import BufferedReader


class NotRegularError(OSError):
    """There is something, and it is no regular file."""


def open_regular(path: str, follow_links: bool = True) -> BufferedReader:
    """Open a regular file for reading, and nothing else: already the opening of a device or a FIFO can have an effect.

    Raises
    ------
    NotRegularError
        If it is anything else; with ``follow_links`` false also if it is a link.
    OSError
        If it cannot be opened.
    ValueError
        If the path holds a NUL byte.
    """
    _expect_regular(os.stat(path, follow_symlinks=follow_links))
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        _expect_regular(os.fstat(descriptor))  # it may have been replaced meanwhile
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _expect_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError("found no regular file")


def is_trusted(status: os.stat_result) -> bool:
    """True where a file is of this user or of root: what others wrote may be made up."""
    return status.st_uid in (0, os.geteuid())
