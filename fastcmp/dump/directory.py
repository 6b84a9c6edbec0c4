"""Claims ``{pid}_cmp_dump_data`` for this process.

The directory appears under its name already locked and never empty, so two processes that share a file system and a pid (containers do)
cannot take each other's. A lock dies with its process; a directory whose lock is free belongs to an earlier run and is set aside.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from typing import Final, NamedTuple

from fastcmp.dump_layout import LOCK_NAME, dump_directory_name, is_lock_held

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_LOCK: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
MAX_COPIES: Final = 1000


class DumpDirectory(NamedTuple):
    """A claimed directory: its name, the place that holds it, and two descriptors. The lock is held until ``lock`` is closed."""

    base: str
    name: str
    descriptor: int
    lock: int


def claim(base: str, pid: int) -> DumpDirectory:
    """Make this process's own, empty dump directory below ``base``.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    os.makedirs(base, exist_ok=True)
    base_descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        temporary = f".{pid}-{secrets.token_hex(8)}.tmp"
        os.mkdir(temporary, 0o755, dir_fd=base_descriptor)
        try:
            descriptor, lock = _open_and_lock(temporary, base_descriptor)
            name = _take_name(temporary, pid, base_descriptor)
        except BaseException:
            _remove_temporary(temporary, base_descriptor)
            raise
    finally:
        os.close(base_descriptor)
    return DumpDirectory(base, name, descriptor, lock)


def open_directory(name: str, parent: int, mode: int = 0o755) -> int:
    """Make a directory if need be and open it; refuses links and what belongs to somebody else."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
    descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, f"found a directory of user {owner}, expected one of this user", name)
    return descriptor


def _open_and_lock(name: str, parent: int) -> tuple[int, int]:
    descriptor = open_directory(name, parent)
    try:
        lock = os.open(LOCK_NAME, _OPEN_LOCK | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    # A file system without locks: the directory works, only a second process of the same pid could set it aside.
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor, lock


def _take_name(temporary: str, pid: int, base: int) -> str:
    """Give the locked directory the first name that no live process has."""
    for copy in range(MAX_COPIES):
        name = dump_directory_name(pid, copy)
        for _ in range(2):
            try:
                os.rename(temporary, name, src_dir_fd=base, dst_dir_fd=base)
                return name
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            if not _set_aside(name, base):
                break
    raise FileExistsError(errno.EEXIST, f"{MAX_COPIES} live processes have this name", dump_directory_name(pid))


def _set_aside(name: str, base: int) -> bool:
    """Rename what a dead process left; False if a live one holds it, or it is not ours to rename."""
    try:
        status = os.lstat(name, dir_fd=base)
        if status.st_uid != os.geteuid():
            return False
        if stat.S_ISDIR(status.st_mode) and _is_locked(name, base):
            return False
        for number in range(1, MAX_COPIES + 1):
            aside = f"{name}.earlier-{number}"
            if not _exists(aside, base):
                os.rename(name, aside, src_dir_fd=base, dst_dir_fd=base)
                return True
    except OSError:
        pass
    return False


def _is_locked(name: str, base: int) -> bool:
    descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=base)
    try:
        try:
            lock = os.open(LOCK_NAME, _OPEN_LOCK, dir_fd=descriptor)
        except FileNotFoundError:
            return False
        try:
            return is_lock_held(lock)
        finally:
            os.close(lock)
    finally:
        os.close(descriptor)


def _exists(name: str, base: int) -> bool:
    try:
        os.lstat(name, dir_fd=base)
    except FileNotFoundError:
        return False
    return True


def _remove_temporary(name: str, base: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(f"{name}/{LOCK_NAME}", dir_fd=base)
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=base)
