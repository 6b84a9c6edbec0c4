"""Files to `TensorInfo`: one reader per format, one row of the table below per reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from os.path import splitext
from typing import Final, NamedTuple

from fastcmp._native import file_sizes
from fastcmp.errors import TensorError
from fastcmp.formats import bin as bin_reader
from fastcmp.formats import npy as npy_reader
from fastcmp.formats import npz as npz_reader
from fastcmp.formats import pt as pt_reader
from fastcmp.formats import safetensors as safetensors_reader
from fastcmp.formats import stated
from fastcmp.formats.composed import combined_identity, compose
from fastcmp.formats.composition import composition_of
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.npz import NPZ
from fastcmp.formats.open_file import read_heads, unencodable
from fastcmp.formats.places import NUL_IN_PATH, REFUSED_MARK, is_composed, split_place
from fastcmp.formats.pt import PT
from fastcmp.formats.safetensors import SAFETENSORS
from fastcmp.formats.suffixes import MEMBER_SUFFIXES, SUFFIXES
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import ScanOptions

__all__ = [
    "FileIdentity",
    "KeptFiles",
    "TensorInfo",
    "file_and_member",
    "identity_now",
    "list_members",
    "may_be_alias",
    "place_sizes",
    "scan",
    "scan_batch",
]

Members = tuple[str, ...]


class _Reader(NamedTuple):
    """``members`` is None where a file is one tensor; ``scan_batch`` gets paths then, else places."""

    suffixes: tuple[str, ...]
    magics: tuple[bytes, ...]
    scan_batch: Callable[[Sequence[str], ScanOptions, KeptFiles | None], list[TensorInfo | TensorError]]
    members: Callable[[Sequence[str], ScanOptions], list[Members | TensorError]] | None = None


_READERS: Final = (
    _Reader(bin_reader.SUFFIXES, bin_reader.MAGICS, bin_reader.scan_batch),
    _Reader(npy_reader.SUFFIXES, npy_reader.MAGICS, npy_reader.scan_batch),
    _Reader(safetensors_reader.SUFFIXES, safetensors_reader.MAGICS, SAFETENSORS.scan_batch, SAFETENSORS.members),
    _Reader(pt_reader.SUFFIXES, pt_reader.MAGICS, PT.scan_batch, PT.members),
    _Reader(npz_reader.SUFFIXES, npz_reader.MAGICS, NPZ.scan_batch, NPZ.members),
)
# Such a file is a header alone.
_MOST_OF_AN_ALIAS: Final = 4096
# Not by suffix or content: what it reads stands in the place itself.
_STATED: Final = _Reader((), (), stated.scan_batch)
_BY_SUFFIX: Final = {suffix: reader for reader in _READERS for suffix in reader.suffixes}


def scan(place: str, options: ScanOptions) -> TensorInfo:
    """What the header of one tensor says.

    Raises
    ------
    TensorError
        With the code, the byte and the reason, if the file cannot be used.
    """
    found = scan_batch((place,), options)[0]
    if isinstance(found, TensorError):
        raise found
    return found


def scan_batch(places: Sequence[str], options: ScanOptions, kept: KeptFiles | None = None) -> list[TensorInfo | TensorError]:
    """What each header says, or why the tensor cannot be used, in the order of ``places``.

    Many at once are cheaper than one at a time. Never raises for a file. Small files are kept, if there is a place for them.
    """
    found: list[TensorInfo | TensorError | None] = [None] * len(places)
    groups: dict[_Reader, list[int]] = {}
    for index, place in enumerate(places):
        if "\0" in place:
            if is_composed(place):
                found[index] = _scan_composed(place, options)
                continue
            reader = _reader_of_member(*split_place(place), options)
        else:  # as `_reader_of`, without a call more: this is passed twice a pair
            reader = unencodable(place) or _BY_SUFFIX.get(splitext(place)[1].lower()) or _reader_by_content(place, options)
        if isinstance(reader, TensorError):
            found[index] = reader
        else:
            groups.setdefault(reader, []).append(index)
    for reader, indices in groups.items():
        for index, entry in zip(indices, reader.scan_batch([places[index] for index in indices], options, kept), strict=True):
            found[index] = entry
    return [entry for entry in found if entry is not None]


def list_members(paths: Sequence[str], options: ScanOptions) -> list[Members | TensorError]:
    """The names of the tensors of each file, ("",) where the file is one tensor, or why they cannot be known.

    A file of a format that holds one tensor is not opened for it, unless only its first bytes say of which format it is.
    """
    found: list[Members | TensorError] = [("",)] * len(paths)
    groups: dict[_Reader, list[int]] = {}
    for index, path in enumerate(paths):
        reader = _reader_of(path, options)
        if isinstance(reader, TensorError):
            found[index] = reader
        elif reader.members is not None:
            groups.setdefault(reader, []).append(index)
    for reader, indices in groups.items():
        assert reader.members is not None
        for index, names in zip(indices, reader.members([paths[index] for index in indices], options), strict=True):
            # No name may say what a source would, see `fastcmp.formats.places`.
            is_odd = not isinstance(names, TensorError) and "\0" in "".join(names)
            found[index] = TensorError("E_MEMBER", paths[index], "the name of a tensor has a NUL byte, expected none") if is_odd else names
    return found


def file_and_member(path: str, options: ScanOptions) -> tuple[str, str]:
    """What a path names that people give, as `shown_place` shows it: where there is no such path, ``FILE:MEMBER`` is one tensor of a file.

    "" is no member: then the path is meant as it is. Of several files that there are, the one with the longest name is meant; those that
    have the suffix of a file of several tensors come before those of which only their first bytes say so.
    """
    if os.path.lexists(path):
        return path, ""
    ways = [(path[:at], path[at + 1 :]) for at in range(len(path) - 2, 0, -1) if path[at] == ":" and os.path.isfile(path[:at])]
    by_suffix = [way for way in ways if way[0].lower().endswith(MEMBER_SUFFIXES)]
    return next(iter(by_suffix), None) or next((way for way in ways if _holds_several(way[0], options)), (path, ""))


def _holds_several(path: str, options: ScanOptions) -> bool:
    reader = _reader_of(path, options)
    return not isinstance(reader, TensorError) and reader.members is not None


def place_sizes(places: Sequence[str], options: ScanOptions) -> list[int]:
    """Bytes of each place: of a file all of it, of a tensor inside a file its payload; 0 for whatever is none."""
    sizes = file_sizes(list(places))
    inside = [index for index, place in enumerate(places) if "\0" in place]
    for index, info in zip(inside, scan_batch([places[index] for index in inside], options), strict=True):
        sizes[index] = info.nbytes if isinstance(info, TensorInfo) else 0
    return sizes


def identity_now(place: str, options: ScanOptions | None = None) -> FileIdentity:
    """What a scan of the place would say as ``identity``, without one; only what may name another file, see `aliases`, is opened.

    Raises
    ------
    OSError, ValueError
        If one of its files cannot be looked at.
    """
    if is_composed(place):
        return combined_identity(identity_now(part.place, options) for part in composition_of(place).parts)
    path = split_place(place)[0]
    found = os.stat(path)
    if may_be_alias(path, found.st_size):
        info = bin_reader.scan_batch((path,), options or ScanOptions())[0]
        if isinstance(info, TensorInfo):
            return info.identity
    return FileIdentity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def may_be_alias(path: str, size: int) -> bool:
    """True for a file that may name another one instead of holding a tensor, by its name and bytes."""
    return 0 < size <= _MOST_OF_AN_ALIAS and splitext(path)[1].lower() in bin_reader.SUFFIXES


def _scan_composed(place: str, options: ScanOptions) -> TensorInfo | TensorError:
    composition = composition_of(place)
    return compose(composition, scan_batch([part.place for part in composition.parts], options), options.format_policy)


def _reader_of(path: str, options: ScanOptions) -> _Reader | TensorError:
    return unencodable(path) or _BY_SUFFIX.get(splitext(path)[1].lower()) or _reader_by_content(path, options)


def _reader_of_member(path: str, member: str, options: ScanOptions) -> _Reader | TensorError:
    if stated.is_stated(member):
        return _STATED
    if member.startswith(REFUSED_MARK):
        return TensorError("E_PATH", path, NUL_IN_PATH)
    reader = _reader_of(path, options)
    if isinstance(reader, TensorError) or reader.members is None:
        return TensorError("E_PATH", path, NUL_IN_PATH)  # a metadata.json may say anything
    return reader


def _reader_by_content(path: str, options: ScanOptions) -> _Reader | TensorError:
    opened = read_heads((path,), 16, options.roots)[0]
    if isinstance(opened, TensorError):
        return opened
    head = opened[0]
    for reader in _READERS:
        if head.startswith(reader.magics):
            return reader
    known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    return TensorError("E_UNKNOWN_FORMAT", path, f"byte 0: expected the beginning of a {known} file, got {head!r}")
