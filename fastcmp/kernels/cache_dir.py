"""Where compiled kernels are kept: a private directory of ours, chosen before numba is imported."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

# Ten to twenty seconds are usual for all kernels of a pair of dtypes; a machine may be slow and busy.
COMPILER_PATIENCE_S: Final = 600.0
_LOOK_AGAIN_S: Final = 0.02


def cache_key() -> str:
    """Names a set of kernels: our source, numba, numpy and Python.

    numba's own key sees edits of the file that a kernel stands in, but not of the files that it takes
    constants and other kernels from; hence the digest over all of them.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    for package in ("numba", "llvmlite", "numpy"):
        digest.update(f"{package}={metadata.version(package)};".encode())
    digest.update(sys.version.encode())
    return f"numba-{metadata.version('numba')}-{digest.hexdigest()[:16]}"


def _private(path: Path) -> bool:
    """Make ``path`` a 0700 directory that this user owns and can write; False if it cannot be one."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            return False
        if status.st_mode & 0o077:
            path.chmod(0o700)
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def choose_cache_dir() -> str:
    """Directory for compiled kernels; created, private to this user, writable.

    Below ``XDG_CACHE_HOME`` or ``~/.cache``; where neither can be written, a directory of this user below the
    temporary one, and at last a fresh temporary one that only this process uses.
    """
    key = cache_key()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for base in (Path(home) / "fastcmp", Path(tempfile.gettempdir()) / f"fastcmp-{os.getuid()}"):
        if base.is_absolute() and _private(base) and _private(base / key):
            return str(base / key)
    return tempfile.mkdtemp(prefix="fastcmp-kernels-")


def _keep_coverage_out_of_a_removed_directory() -> None:
    """numba imports coverage where that is installed, which fails for want of a working directory, and numba with it."""
    try:
        os.getcwd()
    except OSError:
        # None stands for "cannot be imported", which the types of sys.modules do not know.
        sys.modules.setdefault("coverage", None)  # type: ignore[arg-type]


def use_cache_dir() -> str:
    """Point numba at our cache unless the user named one. Must run before numba is imported, or it is told directly."""
    _keep_coverage_out_of_a_removed_directory()
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return named
    chosen = choose_cache_dir()
    os.environ["NUMBA_CACHE_DIR"] = chosen
    if "numba" in sys.modules:
        from numba.core import config

        config.CACHE_DIR = chosen
    return chosen


@contextlib.contextmanager
def cache_lock() -> Iterator[None]:
    """Held while kernels of this installation are compiled or loaded, by one process of this user at a time.

    Several processes that fill one cache at the same moment have crashed (numba #4807, #10128); the nursery compiles what a
    sample of the pairs needs, a dtype that only shows later is compiled in the worker that meets it. Where nothing can be
    locked, or whoever holds the lock keeps it longer than any compiler takes, as a process that was stopped, the work goes on without.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, KeyError):
            lock = os.open(lock_path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, lock)
            _lock(lock, time.monotonic() + COMPILER_PATIENCE_S)
        yield


def lock_path() -> str:
    """Of this installation: numba keeps the kernels of each under its path, so that two of them have nothing to wait for."""
    place = hashlib.sha256(os.fsencode(os.path.dirname(os.path.abspath(__file__)))).hexdigest()[:16]
    return os.path.join(os.environ["NUMBA_CACHE_DIR"], f".compiling-{place}")


def _lock(lock: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOOK_AGAIN_S)
