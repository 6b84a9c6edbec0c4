"""The C++ reader. Failures come back as (code, byte offset or -1, reason); whoever calls knows the path."""

import numpy as np

_Identity = tuple[int, int, int, int]
"""device, inode, size, mtime_ns"""
_Failure = tuple[str, int, str]
_Described = tuple[str, int, str, int, tuple[int, ...], str, _Identity]
"""A failure, and what the header says all the same: dtype code, dims, statistics as written; and which file it was"""
_Tensor = tuple[int, int, tuple[int, ...], int, int, bool, tuple[str, ...], _Identity, int]
"""dtype code, format code, dims, data_offset, nbytes, packed, warnings, identity, where the file is kept or -1"""

def scan_bin(
    paths: list[str], multi_record: str, roots: list[str], memory: np.ndarray | None, used: int, largest: int
) -> list[_Tensor | _Failure | _Described]:
    """One description or failure per path, in order; ValueError for an unknown ``multi_record``.

    Files of up to ``largest`` bytes are kept as a whole in ``memory``, uint8 and writable, behind its first ``used`` bytes, one
    behind the other as long as they fit.
    """

def open_regular(path: str, roots: list[str]) -> tuple[int, _Identity] | _Failure:
    """A descriptor that the caller closes."""

def read_heads(
    paths: list[str], limit: int, roots: list[str], memory: np.ndarray | None, used: int, largest: int
) -> list[tuple[bytes, _Identity, int] | _Failure]:
    """The first bytes of each file, at most ``limit``, its identity, and where it is kept (as `scan_bin`) or -1; or a failure, in order."""

def read_range(path: str, identity: _Identity, offset: int, count: int) -> bytes | _Failure:
    """Bytes of a file that is still the one of ``identity``, before and after."""

def check_unchanged(descriptor: int, identity: _Identity) -> _Failure | None:
    """E_SHRUNK or E_CHANGED if the open file is no longer the one of ``identity``."""

def file_sizes(paths: list[str]) -> list[int]:
    """Bytes of each regular file, in order; 0 for whatever is none. Links are followed."""

def dtype_codes() -> list[tuple[int, int, str]]:
    """Code, bits and name of every dtype that `.bin` headers may have."""
