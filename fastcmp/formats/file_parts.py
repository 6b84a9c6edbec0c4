"""Bytes of one file, here and there: most were read when it was opened, any others cost one read each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from fastcmp.errors import TensorError
from fastcmp.formats.kept_files import SMALL_BYTES, KeptFiles
from fastcmp.formats.malformed import Malformed, no_such_member
from fastcmp.formats.open_file import read_heads, read_unchanged
from fastcmp.formats.places import split_place
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import ScanOptions

# What is read of the beginning, and again of the end, of a file that is not kept as a whole: a page each. That holds the pickle, the
# byte order, the first local header and the directory of an archive with a few tensors.
EDGE_BYTES: Final = 4096
# So many beginnings are in memory together, however many files there are.
_FILES_AT_ONCE: Final = 256

_Opened = TypeVar("_Opened")
_Answer = TypeVar("_Answer")
_Version = tuple[FileIdentity, object, bytes]
"""Which file was opened, by which container, and how it began: one that is written in its place may keep its size and time."""


class FileParts:
    """A file as it was when it was opened; a read of one that has changed is a TensorError.

    Attributes
    ----------
    path : str
    identity : FileIdentity
    size : int
        In bytes.
    """

    __slots__ = ("_end", "_start", "_window", "identity", "path", "size")

    def __init__(self, path: str, identity: FileIdentity, start: bytes | memoryview) -> None:
        self.path, self.identity, self.size = path, identity, identity.size
        self._start = start
        self._end: tuple[int, bytes | memoryview] = (0, b"")
        self._window: tuple[int, bytes | memoryview] = (0, b"")

    def head(self) -> bytes:
        """How the file begins, as it was read when it was opened: at most a page."""
        return bytes(self._start[:EDGE_BYTES])

    def read(self, offset: int, count: int, most: int = 0) -> bytes | memoryview:
        """``count`` bytes from byte ``offset``; where they must be read, as many as ``most``, for questions about the bytes behind them.

        Raises
        ------
        Malformed
            E_TRUNCATED if the file ends before them.
        TensorError
            From reading.
        """
        end = offset + count
        if offset >= 0 and end <= len(self._start):  # of a file that is kept, all of it
            return self._start[offset:end]
        for start, content in (self._end, self._window):
            if start <= offset and end - start <= len(content):
                return content[offset - start : end - start]
        if end > self.size:
            raise Malformed("E_TRUNCATED", f"byte {offset}: expected {count} more bytes, the file has {max(0, self.size - offset)} left")
        read = read_unchanged(self.path, self.identity, offset, min(max(count, most), self.size - offset))
        self._window = (offset, read)
        return read[:count]

    def read_end(self) -> tuple[int, bytes | memoryview]:
        """Where the last bytes begin, and these; they are remembered."""
        at = max(0, self.size - EDGE_BYTES)
        self._end = at, self.read(at, self.size - at)
        return self._end


def open_parts(paths: Sequence[str], options: ScanOptions, kept: KeptFiles | None) -> Iterator[FileParts | TensorError]:
    """Each file, opened once; small ones are kept as a whole where there is a place for them."""
    for begin in range(0, len(paths), _FILES_AT_ONCE):
        some = paths[begin : begin + _FILES_AT_ONCE]
        for path, found in zip(some, read_heads(some, EDGE_BYTES, options.roots, kept), strict=True):
            if isinstance(found, TensorError):
                yield found
                continue
            head, identity = found
            whole = None if kept is None else kept.content(path, identity.size)
            yield FileParts(path, identity, head if whole is None else whole)


@dataclass(frozen=True, slots=True)
class Container(Generic[_Opened]):
    """A format of several tensors a file. Each of its functions may raise Malformed or TensorError, which becomes the answer.

    Attributes
    ----------
    open_file : callable
        From a file to all that ``describe`` needs.
    names : callable
        The names of its tensors, from that.
    describe : callable
        One tensor of it, by one of its names.
    """

    open_file: Callable[[FileParts], _Opened]
    names: Callable[[_Opened], Collection[str]]
    describe: Callable[[FileParts, _Opened, str], TensorInfo]

    def scan_batch(self, places: Sequence[str], options: ScanOptions, kept: KeptFiles | None = None) -> list[TensorInfo | TensorError]:
        """What each tensor is and where it lies, or why it cannot be used; each file is opened once."""
        asked: dict[str, list[tuple[int, str]]] = {}
        for index, place in enumerate(places):
            path, member = split_place(place)
            asked.setdefault(path, []).append((index, member))
        found: list[TensorInfo | TensorError | None] = [None] * len(places)
        for (path, wanted), parts in zip(asked.items(), open_parts(list(asked), options, kept), strict=True):
            opened = _answer(parts, path, _opened, self)
            for index, member in wanted:
                found[index] = opened if isinstance(opened, TensorError) else _answer(parts, path, self._described, opened, member)
        return [entry for entry in found if entry is not None]

    def members(self, paths: Sequence[str], options: ScanOptions) -> list[tuple[str, ...] | TensorError]:
        """The names of the tensors of each file, in its own order, or why they cannot be known."""
        listed: list[tuple[str, ...] | TensorError] = []
        for path, parts in zip(paths, open_parts(paths, options, None), strict=True):
            opened = _answer(parts, path, _opened, self)
            listed.append(opened if isinstance(opened, TensorError) else tuple(self.names(opened)))
        return listed

    def _described(self, parts: FileParts, opened: _Opened, member: str) -> TensorInfo:
        """``member`` is "" where no tensor is named: the only one is meant."""
        names = self.names(opened)
        if member not in names:
            if member or len(names) != 1:
                raise no_such_member(parts.path, member, names)
            (member,) = names
        return self.describe(parts, opened, member)


# What the last files said that are too large to be kept, or have many tensors: these are asked for in many batches. A pair has two files,
# and a batch of a checkpoint in several files more; the tensors are counted, for a file may have a million.
_MOST_LAST: Final = 8
_MANY_TENSORS: Final = 64
_MOST_LAST_TENSORS: Final = 200_000
_last: dict[str, tuple[_Version, Any, int]] = {}


def _opened(parts: FileParts, container: Container[_Opened]) -> _Opened:
    version: _Version = (parts.identity, container, parts.head())
    known = _last.pop(parts.path, None)
    if known is not None and known[0] == version:
        _last[parts.path] = known
        found: _Opened = known[1]
        return found
    opened = container.open_file(parts)
    count = len(container.names(opened))
    if parts.size <= SMALL_BYTES and count < _MANY_TENSORS:
        return opened
    for path in list(_last):  # the oldest first; threads may be here too
        if len(_last) < _MOST_LAST and count + sum(one[2] for one in list(_last.values())) <= _MOST_LAST_TENSORS:
            break
        _last.pop(path, None)
    _last[parts.path] = version, opened, count
    return opened


def _answer(parts: FileParts | TensorError, path: str, ask: Callable[..., _Answer], *arguments: Any) -> _Answer | TensorError:
    if isinstance(parts, TensorError):
        return parts
    try:
        return ask(parts, *arguments)
    except Malformed as error:
        return error.of(path)
    except TensorError as error:
        return error
