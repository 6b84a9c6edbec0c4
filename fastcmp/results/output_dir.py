"""The output directory: usable before anything is compared, ours alone while we write, and every file in it complete or absent."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Final

from fastcmp.errors import OutputError, open_files_hint, reason_and_advice

REPORT_NAMES: Final = ("cmp_report.arrow", "cmp_report.csv", "cmp_report.parquet", "run.json")
_ANOTHER: Final = "choose another -o"
_LOCK_NAME: Final = ".fastcmp.lock"
_TEMPORARY_SUFFIX: Final = ".fastcmp-tmp"
_REPLACEABLE: Final = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)


class OutputDirectory:
    """A directory that this process may write and that it has locked. Use `prepare`; it is a context manager.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: str, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    def __enter__(self) -> OutputDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def join(self, name: str) -> str:
        """The path of the file ``name`` in this directory."""
        return os.path.join(self.path, name)

    def release(self) -> None:
        """Give the lock back. Twice does no harm."""
        if self._lock_fd < 0:
            return
        descriptor, self._lock_fd = self._lock_fd, -1
        with contextlib.suppress(OSError):
            os.unlink(self.join(_LOCK_NAME))
        with contextlib.suppress(OSError):
            os.close(descriptor)


def prepare(path: str) -> OutputDirectory:
    """Make the output directory, lock it and try that it can be written, before any tensor is read.

    Raises
    ------
    OutputError
        If it cannot be made or written, if another comparison holds it, or if a directory stands where a report file must go.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path}: the output must be a directory, this is a file; choose another -o") from error
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot make the output directory: {reason_and_advice(error, _ANOTHER)}") from error
    lock_fd = _lock(path)
    try:
        _refuse_directories(path)
        _remove_leftovers(path)
        _probe(path)
    except BaseException:
        OutputDirectory(path, lock_fd).release()
        raise
    return OutputDirectory(path, lock_fd)


def _lock(path: str) -> int:
    """An open, locked lock file that says who we are. The kernel frees it however we end."""
    name = os.path.join(path, _LOCK_NAME)
    while True:
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise OutputError(f"{path}: cannot write in the output directory: {reason_and_advice(error, _ANOTHER)}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "another process"
            os.close(fd)
            raise OutputError(
                f"{path}: locked by pid {holder}, which is writing its report here; wait for it, or choose another -o"
            ) from error
        except OSError as error:
            os.close(fd)
            raise OutputError(f"{path}: cannot lock the output directory: {reason_and_advice(error, _ANOTHER)}") from error
        try:
            is_current = _is_current(fd, name)
        except OSError as error:
            os.close(fd)
            raise OutputError(f"{path}: cannot lock the output directory: {reason_and_advice(error, _ANOTHER)}") from error
        if is_current:
            break
        os.close(fd)  # its owner removed it between our open and our lock
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        os.close(fd)
        raise OutputError(f"{path}: cannot write in the output directory: {reason_and_advice(error, _ANOTHER)}") from error
    return fd


def _is_current(fd: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _refuse_directories(path: str) -> None:
    for name in REPORT_NAMES:
        report = os.path.join(path, name)
        if os.path.isdir(report):
            raise OutputError(f"{report}: this is a directory, a report file must go here; remove it, or choose another -o")


def _remove_leftovers(path: str) -> None:
    """Temporary files of a run that was killed; nobody else writes here, we hold the lock."""
    try:
        leftovers = [name for name in os.listdir(path) if name.endswith(_TEMPORARY_SUFFIX)]
    except OSError as error:
        raise OutputError(f"{path}: cannot list the output directory: {reason_and_advice(error, _ANOTHER)}") from error
    for name in leftovers:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(path, name))


def create(path: str, buffering: int = -1) -> BinaryIO:
    """A new file for writing. A file of that name is removed first: no link is followed out of the directory, no FIFO waited for.

    Raises
    ------
    OSError
        If it cannot be made; also if a directory or a device has the name.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_IFMT(os.lstat(path).st_mode) in _REPLACEABLE:
            os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    file: BinaryIO = open(descriptor, "wb", buffering=buffering)  # noqa: SIM115 - the caller closes it
    return file


def _probe(path: str) -> None:
    name = os.path.join(path, f".probe{_TEMPORARY_SUFFIX}")
    try:
        with create(name) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path}: cannot write in the output directory: {reason_and_advice(error, _ANOTHER)}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


@contextlib.contextmanager
def complete_or_absent(output: OutputDirectory, names: tuple[str, ...]) -> Iterator[dict[str, BinaryIO]]:
    """Open files for writing that take their names only when all of them are written and on disk.

    A failure before that leaves what stood under these names as it was. They are renamed one after another, in the order of ``names``: a
    process killed between two renames leaves some files of the new report and some of the old one, each of them whole.

    Raises
    ------
    OutputError
        If the disk is full or fails; names the file and the bytes written so far.
    """
    files: dict[str, BinaryIO] = {}
    current = output.path
    try:
        try:
            for name in names:
                current = output.join(name)
                files[name] = create(f"{current}{_TEMPORARY_SUFFIX}")
            yield files
            for name, file in files.items():
                current = output.join(name)
                file.flush()
                os.fsync(file.fileno())
                file.close()
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise write_error(*_where(files, output, current), error) from error
        _take_names(output, names)
    finally:
        for name, file in files.items():
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                os.unlink(f"{output.join(name)}{_TEMPORARY_SUFFIX}")


def write_whole(path: str, content: bytes) -> None:
    """Write one file anywhere, complete or not at all; what had its name, a link too, is replaced.

    Raises
    ------
    OutputError
        If a directory or a device has the name, or if the disk is full or fails; what stood there before is untouched.
    """
    directory = os.path.dirname(path) or "."
    # Ends like a leftover: where this is the directory of a report, the next comparison removes what a killed process left.
    temporary = f"{path}.{os.getpid()}{_TEMPORARY_SUFFIX}"
    written = 0
    try:
        if os.path.lexists(path) and stat.S_IFMT(os.lstat(path).st_mode) not in _REPLACEABLE:
            raise OutputError(f"{path}: not a file; name the file that is to be written")
        with create(temporary, buffering=0) as file:
            rest = memoryview(content)
            while rest:
                count = file.write(rest)
                written, rest = written + count, rest[count:]
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_directory(directory)
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        raise (write_error(path, written, error) if isinstance(error, OSError) else OutputError(f"{path!r}: {error}")) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(temporary)


def _take_names(output: OutputDirectory, names: tuple[str, ...]) -> None:
    """Whole files get their names. What was compared is in the journal until then, so that the same command has little to do again."""
    for number, name in enumerate(names):
        path = output.join(name)
        try:
            os.rename(f"{path}{_TEMPORARY_SUFFIX}", path)
        except OSError as error:
            new, earlier = ", ".join(names[:number]), ", ".join(names[number:])
            mixture = f"; {new} are new, {earlier} the earlier ones or none" if number else ""
            raise OutputError(f"{path}: could not take its name: {_why(error)}{mixture}; run the same command again") from error
    try:
        sync_directory(output.path)
    except OSError as error:
        raise OutputError(
            f"{output.path}: the report is complete, but whether its names are on the disk is not known: {_why(error)}; "
            "run the same command again"
        ) from error


def _where(files: dict[str, BinaryIO], output: OutputDirectory, current: str) -> tuple[str, int]:
    """The file being written when it failed, and how far it came: the last one that has bytes."""
    for name, file in reversed(files.items()):
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(file.fileno()).st_size
            if size:
                return output.join(name), size
    return current, 0


def write_error(path: str, written: int, error: OSError) -> OutputError:
    """The one line for a failed write: path, bytes written before it, reason, what to do."""
    advice = "free some space and run again" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else _ANOTHER
    return OutputError(f"{path}: could not be written after {written} bytes: {reason_and_advice(error, advice)}")


def sync_directory(path: str) -> None:
    """Make the names in a directory durable, where the file system can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def _why(error: Exception) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)) + open_files_hint(error)
