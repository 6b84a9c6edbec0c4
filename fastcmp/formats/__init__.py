"""Files to `TensorInfo`: one reader per format, one row of the table below per reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os.path import splitext
from typing import Final, NamedTuple

from fastcmp.errors import TensorError
from fastcmp.formats import bin as bin_reader
from fastcmp.formats import npy as npy_reader
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.open_file import read_heads, unencodable
from fastcmp.formats.suffixes import SUFFIXES
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import ScanOptions

__all__ = ["FileIdentity", "KeptFiles", "TensorInfo", "scan", "scan_batch"]


class _Reader(NamedTuple):
    suffixes: tuple[str, ...]
    magics: tuple[bytes, ...]
    scan_batch: Callable[[Sequence[str], ScanOptions, KeptFiles | None], list[TensorInfo | TensorError]]


_READERS: Final = (
    _Reader(bin_reader.SUFFIXES, bin_reader.MAGICS, bin_reader.scan_batch),
    _Reader(npy_reader.SUFFIXES, npy_reader.MAGICS, npy_reader.scan_batch),
)
_BY_SUFFIX: Final = {suffix: reader for reader in _READERS for suffix in reader.suffixes}


def scan(path: str, options: ScanOptions) -> TensorInfo:
    """What the header of one tensor file says.

    Raises
    ------
    TensorError
        With the code, the byte and the reason, if the file cannot be used.
    """
    found = scan_batch((path,), options)[0]
    if isinstance(found, TensorError):
        raise found
    return found


def scan_batch(paths: Sequence[str], options: ScanOptions, kept: KeptFiles | None = None) -> list[TensorInfo | TensorError]:
    """What each header says, or why the file cannot be used, in the order of ``paths``.

    Many paths at once are cheaper than one at a time. Never raises for a file. Small files are kept, if there is a place for them.
    """
    found: list[TensorInfo | TensorError | None] = [None] * len(paths)
    groups: dict[_Reader, list[int]] = {}
    for index, path in enumerate(paths):
        reader = unencodable(path) or _BY_SUFFIX.get(splitext(path)[1].lower()) or _reader_by_content(path, options)
        if isinstance(reader, TensorError):
            found[index] = reader
        else:
            groups.setdefault(reader, []).append(index)
    for reader, indices in groups.items():
        for index, entry in zip(indices, reader.scan_batch([paths[index] for index in indices], options, kept), strict=True):
            found[index] = entry
    return [entry for entry in found if entry is not None]


def _reader_by_content(path: str, options: ScanOptions) -> _Reader | TensorError:
    opened = read_heads((path,), 16, options.roots)[0]
    if isinstance(opened, TensorError):
        return opened
    head = opened[0]
    for reader in _READERS:
        if head.startswith(reader.magics):
            return reader
    return TensorError("E_UNKNOWN_FORMAT", path, f"byte 0: expected the beginning of a {' or '.join(SUFFIXES)} file, got {head!r}")
