"""The list of low-level tensors that the preload library is asked to save.

It lies in a private directory of the dump directory and only grows, by one appended line at a time, so a reader may follow it while the
program runs: tensors that are registered after the first one was saved count as well.
"""

from __future__ import annotations

import errno
import os
import stat

from fastcmp.dump.directory import open_directory
from fastcmp.dump_layout import ALLOW_LIST_DIRECTORY, ALLOW_LIST_NAME


def open_allow_list(dump_directory: int) -> int:
    """Open the allow-list of an open dump directory for appending; makes it if need be.

    Raises
    ------
    OSError
        Also where it is a link, no regular file, another user's, or others may write it.
    """
    directory = open_directory(ALLOW_LIST_DIRECTORY, dump_directory, 0o700)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(ALLOW_LIST_NAME, flags, 0o600, dir_fd=directory)
    finally:
        os.close(directory)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(file)
        raise PermissionError(errno.EPERM, "found a file that others may write, expected a private one", ALLOW_LIST_NAME)
    return file


def append_line(file: int, line: str) -> int:
    """Append one line by one write; bytes written.

    Raises
    ------
    OSError
        Also where the disk had room for a part of the line only; the part is taken back.
    """
    data = os.fsencode(line) + b"\n"
    done = os.write(file, data)
    if done != len(data):
        os.ftruncate(file, os.fstat(file).st_size - done)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ALLOW_LIST_NAME)
    return done
