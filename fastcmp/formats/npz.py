"""`.npz` files of `np.savez`: a zip archive of `.npy` files. Members stored as they are can be mapped; compressed ones are refused."""

from __future__ import annotations

import codecs
from typing import Final

from fastcmp.formats.file_parts import Container, FileParts
from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.npy import check_size, header_end, parse_header
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.formats.zip_file import IS_UTF8, MAGIC, Member, content_offset, read_directory

SUFFIXES = (".npz",)
# Local headers as numpy writes them: version 4.5 or 2.0, no flags, stored.
MAGICS = (MAGIC + b"\x2d\0\0\0\0\0", MAGIC + b"\x14\0\0\0\0\0")

_SUFFIX: Final = b".npy"
# What names are in that are not said to be UTF-8. Looked up here, so that no file makes a module be loaded.
_OLD_NAMES: Final = codecs.lookup("cp437")
# np.save pads the header of any plain array to 128 bytes.
_FIRST_READ: Final = 128

_Archive = dict[str, Member]


def _open(parts: FileParts) -> _Archive:
    """The arrays in the order in which they lie, named without ``.npy``."""
    arrays: _Archive = {}
    for member in read_directory(parts).values():
        if not member.name.endswith(_SUFFIX):
            raise Malformed("E_ZIP", f"member {shortened(member.name)}: expected the name of a .npy file, as np.savez writes it")
        name = _text(member)
        if name in arrays:
            raise Malformed("E_ZIP", f"two arrays have the name {shortened(name)}")
        arrays[name] = member
    return arrays


def _text(member: Member) -> str:
    name = member.name[: -len(_SUFFIX)]
    try:
        text = name.decode("utf-8") if member.flags & IS_UTF8 else _OLD_NAMES.decode(name)[0]
    except UnicodeDecodeError:
        raise Malformed("E_ZIP", f"member {shortened(member.name)}: expected a name in UTF-8") from None
    if "\0" in text:
        raise Malformed("E_ZIP", f"member {shortened(member.name)}: expected a name without a NUL")
    return text


def _describe(parts: FileParts, arrays: _Archive, name: str) -> TensorInfo:
    member = arrays[name]
    start = content_offset(parts, member, "save it by np.savez instead of np.savez_compressed")
    try:
        return _described(parts, member, start)
    except Malformed as error:
        raise Malformed(error.code, f"member {shortened(member.name)}: {error.detail}") from None


def _described(parts: FileParts, member: Member, start: int) -> TensorInfo:
    """What stands at ``start``; bytes in messages count from there."""
    count = min(_FIRST_READ, member.size)
    head = bytes(parts.read(start, count))
    end = header_end(head)
    while end > len(head):
        if end > member.size:
            raise Malformed("E_TRUNCATED", f"byte {member.size}: it ends inside its header, expected {end} bytes")
        head = bytes(parts.read(start, end))
        end = header_end(head)
    header = parse_header(head[:end])
    warnings = check_size(header, member.size)
    return TensorInfo(
        parts.path,
        start + header.data_offset,
        header.nbytes,
        header.dtype,
        header.shape,
        parts.identity,
        header.strides,
        header.big_endian,
        warnings=warnings,
    )


NPZ: Final = Container(_open, lambda arrays: arrays, _describe)
