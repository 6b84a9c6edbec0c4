"""What a fuzzed function may not do meanwhile, and a file in memory for what it reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

BOMB_MARKER: Final = "fastcmp_pickle_bomb_went_off"
LONGEST_MESSAGE: Final = 2000

_RUNS_CODE: Final = {"compile", "exec", "pickle.find_class", "marshal.loads", "ctypes.dlopen", "os.system", "os.exec", "os.fork", "os.posix_spawn",
                     "subprocess.Popen", "os.mkdir", "os.remove", "os.rename", "os.symlink", "os.truncate", "socket.connect"}  # fmt: skip
_watched: list[tuple[str, str]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None:
        if event in _RUNS_CODE:
            _watched.append((event, repr(arguments)[:200]))
        elif event == "open" and not isinstance(arguments[0], int):  # a number was opened before
            _watched.append((event, os.fsdecode(arguments[0])))


@lru_cache(maxsize=1)
def _start_watching() -> None:
    sys.addaudithook(_watch)


@contextmanager
def only_these_are_opened(*paths: str) -> Iterator[None]:
    """While it lasts, nothing is evaluated, unpickled, started, made or removed, and no file is opened by Python but these."""
    global _watched
    _start_watching()
    _watched = []
    try:
        yield
    finally:
        seen, _watched = _watched, None
    odd = [one for one in seen if one[0] != "open" or one[1] not in paths]
    assert not odd, f"a file made this happen: {odd[:3]}"


class MemoryFile:
    """A file that no disk is needed for, with a path like any other."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("fuzz")
        self.path = f"/proc/self/fd/{self._descriptor}"

    def fill(self, content: bytes) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)


@lru_cache(maxsize=1)
def memory_file() -> MemoryFile:
    return MemoryFile()
