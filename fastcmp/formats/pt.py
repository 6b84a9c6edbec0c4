"""`.pt` and `.pth` files of `torch.save`: a zip archive with a pickle that says what the tensors are, and their bytes as they are.

    <name>/data.pkl      containers, tensors as views of storages, storages by number
    <name>/byteorder     little or big; not in files of torch before 2.1, which are little
    <name>/data/<n>      the bytes of storage n, at a multiple of 64 in the file

The pickle goes through `pt_machine`, which makes descriptions and nothing else. Files of torch before 1.6 are streams: see `pt_stream`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from fastcmp.dtypes import DTYPES
from fastcmp.formats.file_parts import Container, FileParts
from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.pt_machine import load
from fastcmp.formats.pt_names import named_tensors
from fastcmp.formats.pt_stream import STREAM_MAGICS, is_tar, read_stream
from fastcmp.formats.pt_values import Refused, Tensor
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.formats.zip_file import MAGIC, Member, content, content_offset, read_directory

SUFFIXES = (".pt", ".pth")
# A local header as torch writes it (version 0, sizes behind, UTF-8, stored), or the first pickle of a stream.
MAGICS = (MAGIC + b"\0\0\x08\x08\0\0", *STREAM_MAGICS)

_LONGEST_MAGIC: Final = max(map(len, (MAGIC, *STREAM_MAGICS)))
# A state_dict of 100 000 tensors takes 20 MB.
MOST_PICKLE_BYTES: Final = 64 * 2**20

Tensors = dict[str, Tensor | Refused]
_Locate = Callable[[FileParts, Tensor], int]
"""From a file and a tensor of it to where its storage begins in the file; Malformed if it is not there."""


class _Opened(NamedTuple):
    """What one file says: its tensors in the order of its containers, "" for one that was saved as it is; and where their storages lie."""

    tensors: Tensors
    locate: _Locate
    is_big_endian: bool


def _open(parts: FileParts) -> _Opened:
    return _open_archive(parts) if _is_archive(parts) else _open_stream(parts)


def _is_archive(parts: FileParts) -> bool:
    """Else it is a stream; Malformed if it is neither."""
    head = bytes(parts.read(0, min(_LONGEST_MAGIC, parts.size)))
    if head.startswith(MAGIC):
        return True
    if head.startswith(STREAM_MAGICS):
        return False
    if is_tar(parts):
        raise Malformed(
            "E_BAD_MAGIC", "byte 0: a tar archive, as torch wrote until 2017, expected a zip archive: load it and save it again"
        )
    raise Malformed("E_BAD_MAGIC", f"byte 0: expected the zip archive that torch.save writes, got {head[:4]!r}")


# --- archives ----------------------------------------------------------------------------------------------------------------------------


def _open_archive(parts: FileParts) -> _Opened:
    archive = read_directory(parts)
    pickle = _pickle_of(archive)
    tensors = _tensors_of(content(parts, pickle, MOST_PICKLE_BYTES))
    prefix = pickle.name[: -len(b"data.pkl")]

    def locate(parts: FileParts, tensor: Tensor) -> int:
        storage = tensor.storage
        name = prefix + b"data/" + storage.key.encode("utf-8", "surrogatepass")
        member = archive.get(name)
        if member is None:
            raise Malformed("E_ZIP", f"the archive has no member {shortened(name)}, which holds the elements")
        _check_bytes(f"member {shortened(name)}", member.size, storage.numel * (DTYPES[storage.dtype].bits // 8))
        return content_offset(parts, member)

    return _Opened(tensors, locate, _is_big_endian(parts, archive.get(prefix + b"byteorder")))


def _pickle_of(archive: dict[bytes, Member]) -> Member:
    """The member that says what the others are; it lies in the one directory of the archive, whatever that is called."""
    first = next(iter(archive), b"")
    directory = first[: first.find(b"/") + 1]
    pickle = archive.get(directory + b"data.pkl")
    if not directory or pickle is None:
        found = ", ".join(shortened(name) for name in list(archive)[:3])
        raise Malformed("E_PICKLE", f"expected a member data.pkl, as torch.save writes it, the archive has {found or 'none'}")
    if directory + b"constants.pkl" in archive:
        raise Malformed("E_PICKLE", "a program of torch.jit.save or torch.export, expected tensors of torch.save")
    return pickle


def _is_big_endian(parts: FileParts, marker: Member | None) -> bool:
    if marker is None:
        return False
    order = content(parts, marker, 64)
    if order not in (b"little", b"big"):
        raise Malformed("E_ZIP", f"member {shortened(marker.name)}: expected little or big, got {shortened(order)}")
    return order == b"big"


# A dump repeats a handful of pickles ten thousand times: 60 us to run one, 0.3 us to look it up.
_KNOWN_BYTES: Final = 32 * 2**20
# What a tensor takes beside its name.
_TENSOR_BYTES: Final = 400
_known: dict[bytes, Tensors | Malformed] = {}
_known_bytes = [0]


def _tensors_of(pickle: bytes) -> Tensors:
    found = _known.get(pickle)
    if found is None:
        try:
            found = named_tensors(_load(pickle))
        except Malformed as error:
            found = error
        size = _kept_bytes(pickle, found)
        if size <= _KNOWN_BYTES:
            if _known_bytes[0] + size > _KNOWN_BYTES:
                _known.clear()
                _known_bytes[0] = 0
            _known[pickle] = found
            _known_bytes[0] += size
    if isinstance(found, Malformed):
        raise Malformed(found.code, found.detail)
    return found


def _kept_bytes(pickle: bytes, found: Tensors | Malformed) -> int:
    return len(pickle) + (0 if isinstance(found, Malformed) else sum(map(len, found)) + _TENSOR_BYTES * len(found))


def _load(pickle: bytes) -> object:
    try:
        root, end = load(pickle)
    except Malformed as error:
        raise Malformed("E_PICKLE", f"data.pkl: {error.detail}") from None
    if end != len(pickle):
        raise Malformed("E_PICKLE", f"data.pkl: byte {end}: {len(pickle) - end} bytes follow the pickle")
    return root


# --- streams -----------------------------------------------------------------------------------------------------------------------------


def _open_stream(parts: FileParts) -> _Opened:
    stream = read_stream(parts, MOST_PICKLE_BYTES)
    # Whatever machine wrote it: streams are little endian.
    return _Opened(named_tensors(stream.root), lambda parts, tensor: stream.offset_of(parts, tensor.storage), False)


# --- one tensor --------------------------------------------------------------------------------------------------------------------------


def _check_bytes(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise Malformed("E_SIZE_SHORT" if found < expected else "E_SIZE_LONG", f"{what} has {found} bytes, its storage needs {expected}")


def _describe(parts: FileParts, opened: _Opened, member: str) -> TensorInfo:
    tensor = opened.tensors[member]
    if isinstance(tensor, Refused):
        raise Malformed(tensor.code, f"tensor {shortened(member)}: {tensor.detail}" if member else tensor.detail)
    if opened.is_big_endian and tensor.dtype == "complex32":
        raise Malformed("E_DTYPE", "complex32 of a big-endian machine, whose halves are not told apart here")
    offset = opened.locate(parts, tensor) + tensor.first_byte
    is_swapped = opened.is_big_endian and DTYPES[tensor.dtype].bits > 8
    return TensorInfo(parts.path, offset, tensor.nbytes, tensor.dtype, tensor.shape, parts.identity, tensor.strides, is_swapped)


PT: Final = Container(_open, lambda opened: opened.tensors, _describe)
