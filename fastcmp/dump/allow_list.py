"""The list of low-level tensors that the preload library is asked to save.

It lies in a private directory of the dump directory and only grows, by one appended line at a time, so a reader may follow it while the
program runs: tensors that are registered after the first one was saved count as well.
"""

from __future__ import annotations

import errno
import os
import stat

from fastcmp.dump.directory import DumpDirectory, open_directory
from fastcmp.dump_layout import ALLOW_LIST_DIRECTORY, ALLOW_LIST_NAME


class AllowList:
    """The list of one process, made when it is first needed. The caller serialises `append`.

    Raises
    ------
    OSError
        Also where the list is a link, no regular file, another user's, or others may write it.
    """

    def __init__(self, dump: DumpDirectory) -> None:
        self.path = f"{dump.base}/{dump.name}/{ALLOW_LIST_DIRECTORY}/{ALLOW_LIST_NAME}"
        directory = open_directory(ALLOW_LIST_DIRECTORY, dump.descriptor, 0o700)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            self.descriptor = os.open(ALLOW_LIST_NAME, flags, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            os.close(self.descriptor)
            raise PermissionError(errno.EPERM, "found a file that others may write, expected a private one", ALLOW_LIST_NAME)
        self._identity = status.st_dev, status.st_ino

    def append(self, line: str) -> int:
        """Append one line by one write; bytes written.

        Raises
        ------
        OSError
            Also where the disk had room for a part of the line only, which is taken back, and where the program closed the descriptor.
        """
        status = os.fstat(self.descriptor)
        if (status.st_dev, status.st_ino) != self._identity:
            raise OSError(errno.EBADF, "found another file behind the allow-list's descriptor; the program closed it")
        data = os.fsencode(line) + b"\n"
        done = os.write(self.descriptor, data)
        if done != len(data):
            os.ftruncate(self.descriptor, os.fstat(self.descriptor).st_size - done)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ALLOW_LIST_NAME)
        return done
