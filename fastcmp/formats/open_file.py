"""Files that nobody vouches for: opened once, regular only, inside the allowed roots, and the same from the first byte to the last.

The system calls and the meaning of their errors are in the C++ reader (`cpp/src/file.cpp`), so that every format has the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastcmp import _native
from fastcmp.errors import TensorError
from fastcmp.formats.kept_files import SMALL_BYTES, KeptFiles
from fastcmp.formats.tensor_info import FileIdentity

Failure = tuple[str, int, str]


def tensor_error(path: str, failure: Failure) -> TensorError:
    """The error of one file from the reader's (code, byte offset or -1, reason)."""
    code, offset, reason = failure
    return TensorError(code, path, reason if offset < 0 else f"byte {offset}: {reason}")


@lru_cache(maxsize=16)
def _resolved(roots: tuple[str, ...], working_directory: str) -> list[str]:
    return [os.path.realpath(os.path.join(working_directory, root)) for root in roots]


def real_roots(roots: tuple[str, ...]) -> list[str]:
    """The allowed directories without symbolic links; empty means anywhere."""
    return _resolved(roots, _working_directory()) if roots else []


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed; no relative root leads anywhere then
        return "/nonexistent"


def unencodable(path: str) -> TensorError | None:
    """E_PATH if no file can have this name (a lone surrogate), else None."""
    if path.isascii():
        return None
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        return TensorError("E_PATH", path.encode("utf-8", "backslashreplace").decode(), f"character {error.start} cannot be part of a path")
    return None


def read_heads(
    paths: Sequence[str], limit: int, roots: tuple[str, ...], kept: KeptFiles | None = None
) -> list[tuple[bytes, FileIdentity] | TensorError]:
    """The first bytes of each file, at most ``limit``, and which file it was; or why it cannot be opened (E_MISSING ... E_EMPTY_FILE)."""
    heads: list[tuple[bytes, FileIdentity] | TensorError] = []
    for path, result in zip(paths, _native.read_heads(list(paths), limit, real_roots(roots), *_memory_of(kept)), strict=True):
        if isinstance(result[0], str):
            heads.append(tensor_error(path, result))
            continue
        head, identity, place = result
        heads.append((head, FileIdentity._make(identity)))
        if kept is not None:
            kept.note(path, place, identity[2])
    return heads


def scan_bin(paths: Sequence[str], multi_record: str, roots: tuple[str, ...], kept: KeptFiles | None = None) -> list[Any]:
    """What the headers of `.bin` files say, as the C++ reader has it (see ``_native.pyi``)."""
    found: list[Any] = list(_native.scan_bin(list(paths), multi_record, real_roots(roots), *_memory_of(kept)))
    if kept is not None:
        for path, entry in zip(paths, found, strict=True):
            if len(entry) == 9:
                kept.note(path, place=entry[8], size=entry[7][2])
    return found


def _memory_of(kept: KeptFiles | None) -> tuple[np.ndarray | None, int, int]:
    return (None, 0, 0) if kept is None else (kept.memory, kept.used, SMALL_BYTES)


def open_unchanged(path: str, identity: FileIdentity, roots: tuple[str, ...] = ()) -> int:
    """A descriptor of the file that was scanned; the caller closes it.

    Raises
    ------
    TensorError
        From opening it, or E_CHANGED or E_SHRUNK if it is no longer the file of ``identity``.
    """
    result = _native.open_regular(path, real_roots(roots))
    if len(result) == 3:
        raise tensor_error(path, result)
    descriptor = result[0]
    try:
        check_unchanged(descriptor, path, identity)
    except TensorError:
        os.close(descriptor)
        raise
    return descriptor


def check_unchanged(descriptor: int, path: str, identity: FileIdentity) -> None:
    """Raise TensorError E_CHANGED or E_SHRUNK if the open file is no longer the one that was scanned."""
    failure = _native.check_unchanged(descriptor, identity)
    if failure is not None:
        raise tensor_error(path, failure)


def read_unchanged(path: str, identity: FileIdentity, offset: int, count: int) -> bytes:
    """Bytes of the file that was scanned, by one read; TensorError as `open_unchanged`."""
    result = _native.read_range(path, identity, offset, count)
    if isinstance(result, tuple):
        raise tensor_error(path, result)
    return result
