"""Where this installation has its preload library, and how its path gets into LD_PRELOAD."""

from __future__ import annotations

import filecmp
import os
import re
from typing import Final

import fastcmp
from fastcmp.errors import FastcmpError

LIBRARY_NAME: Final = "libfastcmp_preload.so"
# What the dynamic linker takes for the end of a path; it knows no way to quote them.
_SEPARATORS = re.compile("[ :]")


class PreloadLibraryError(FastcmpError, OSError):
    """This installation has no preload library, or has it where LD_PRELOAD cannot name it. One line, exit 2."""


def library_path() -> str:
    """Absolute path of the installed preload library.

    Raises
    ------
    PreloadLibraryError
        If the installation lacks it, or its path holds a space or a colon.
    """
    # Two directories where the package is installed editable: the built files and the sources.
    places = [os.path.join(os.path.abspath(directory), LIBRARY_NAME) for directory in fastcmp.__path__]
    path = next(filter(os.path.isfile, places), None)
    if path is None:
        raise PreloadLibraryError(f"{places[0]}: this installation has no preload library; install fastcmp again, on Linux")
    if _SEPARATORS.search(path):
        raise PreloadLibraryError(
            f"{path}: LD_PRELOAD cannot name a path with a space or a colon; install fastcmp into a directory without them"
        )
    return path


def preload_entries(value: str) -> list[str]:
    """The libraries that a value of LD_PRELOAD names, in order."""
    return [entry for entry in _SEPARATORS.split(value) if entry]


def with_library_first(value: str, library: str) -> str:
    """``value`` of LD_PRELOAD with ``library`` at its head; another copy of it (libtensorutil.so) is left out, all else stays."""
    return ":".join([library, *(entry for entry in preload_entries(value) if not is_same_library(entry, library))])


def is_same_library(path: str, library: str) -> bool:
    """True if ``path`` is ``library`` under whatever name, or a copy of it."""
    try:
        return os.path.samefile(path, library) or filecmp.cmp(path, library, shallow=False)
    except OSError:
        return False
