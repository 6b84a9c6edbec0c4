"""Kernels are made by a process that makes nothing else, and loaded from the cache by whoever runs them.

What numba runs in the process that compiled it is not what it puts into the cache: a function that was not inlined is found
there in the library that it was first compiled for, optimised once, and in the cached kernel as a copy, optimised again. The
additions of the two may be in another order, so that the last digits of a sum would tell which process compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastcmp.kernels.cache_dir import COMPILER_PATIENCE_S, cache_lock, use_cache_dir

# The kernel and what its two sides are widened to.
Specialisation = tuple[str, str, str]

_PROGRAM: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fastcmp.kernels.fold import make_here
make_here(*sys.argv[2:])
"""

_made: set[Specialisation] = set()
_is_maker = False


def has_kernels() -> bool:
    """True if some kernel was made on this machine for this version: a comparison will hardly wait for a compiler then."""
    return any(Path(use_cache_dir()).glob(".made-*"))


def become_maker() -> None:
    """This process is the one that compiles. It ends when whoever started it does, whose end of our standard input closes then."""
    global _is_maker
    _is_maker = True

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def made(specialisation: Specialisation) -> Iterator[None]:
    """Around a call of a kernel: before the first one it is made, unless it is in the cache, and the call then loads it.

    Where no process can be started for that, the call compiles the kernel itself.
    """
    if _is_maker or specialisation in _made:
        yield
        return
    with cache_lock():
        _made.add(specialisation)
        _have_made(specialisation)
        yield


def _have_made(specialisation: Specialisation) -> None:
    marker = _marker(specialisation)
    if marker is None or marker.exists() or not sys.executable:
        return
    command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), *specialisation]
    quiet = subprocess.DEVNULL
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, cwd="/") as maker:
            try:
                status = maker.wait(COMPILER_PATIENCE_S)
            finally:
                maker.kill()
        if status == 0:
            marker.touch(0o600)


def _marker(specialisation: Specialisation) -> Path | None:
    """A file that says that the kernel is in the cache; named by all that numba looks at before it takes it from there."""
    directory = os.environ.get("NUMBA_CACHE_DIR")
    source = Path(__file__).with_name("pairs.py")
    try:
        status = source.stat()
    except OSError:  # in an archive
        return None
    if not directory:
        return None
    stamp = hashlib.sha256(f"{source}\0{status.st_mtime_ns}\0{status.st_size}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Path(directory) / f".made-{'-'.join(specialisation)}-{stamp}"
