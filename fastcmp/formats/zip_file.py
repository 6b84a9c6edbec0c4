"""Zip archives as `torch.save` and `np.savez` write them: where each stored member lies. Nothing is decompressed.

Narrower than zip allows: no comment, nothing before the first member or behind the end record, one disk, no encryption, no two members
with one name, no two that share a byte, names of at most 1024 bytes, at most 131072 of them. CRCs are not looked at: torch can be told to
write none, and checking them would read every byte a second time.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from fastcmp.formats.file_parts import FileParts
from fastcmp.formats.malformed import Malformed, shortened

MAGIC: Final = b"PK\x03\x04"
MOST_MEMBERS: Final = 2**17
LONGEST_NAME: Final = 1024
MOST_DIRECTORY_BYTES: Final = 64 * 2**20

_END: Final = struct.Struct("<4s4H2LH")
_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
# Without versions, time, checksum and attributes.
_ENTRY: Final = struct.Struct("<4s4x2H8x2L4H6xL")
_ENTRY_BYTES: Final = _ENTRY.size
_LOCAL: Final = struct.Struct("<4s2x2H8x2L2H")
_LOCAL_BYTES: Final = _LOCAL.size
_EXTRA: Final = struct.Struct("<2H")
_FULL16: Final = 0xFFFF
_FULL32: Final = 0xFFFFFFFF

_STORED: Final = 0
_PACK_AGAIN: Final = "pack the archive again without compression (zip -0)"
_METHODS: Final = {
    8: "deflated",
    9: "deflated (64)",
    12: "compressed by bzip2",
    14: "compressed by LZMA",
    93: "compressed by zstd",
    95: "compressed by xz",
}
# Encrypted, patched, strongly encrypted, header values masked.
_REFUSED_FLAGS: Final = 0x0001 | 0x0020 | 0x0040 | 0x2000
_SIZES_BEHIND: Final = 0x0008
IS_UTF8: Final = 0x0800
# A local header with its name, the padding that torch aligns data with, and the header of a .npy member: one read for all of them.
_LOCAL_READ: Final = 512


class Member(NamedTuple):
    """One entry of the directory.

    Attributes
    ----------
    name : bytes
    offset : int
        Of its local header.
    size : int
        Of its content as it lies in the file, in bytes.
    limit : int
        Where whatever follows it begins: its content ends there or earlier.
    method, flags : int
        As the directory has them.
    """

    name: bytes
    offset: int
    size: int
    limit: int
    method: int
    flags: int


_Entry = tuple[int, bytes, int, int, int]
"""Of the directory: where the local header begins, name, size, method, flags."""


class _End(NamedTuple):
    """How many members the end records count, the size and place of their directory, and where the first of the records stands."""

    members: int
    size: int
    offset: int
    at: int


def read_directory(parts: FileParts) -> dict[bytes, Member]:
    """All members by name, in the order in which they lie.

    Raises
    ------
    Malformed
        E_ZIP, or E_TRUNCATED if the file has no end record.
    TensorError
        From reading the file.
    """
    if parts.size < _END.size or parts.read(0, 4) not in (MAGIC, b"PK\x05\x06"):
        raise Malformed(
            "E_ZIP", f"byte 0: expected {MAGIC!r}, the beginning of a zip archive, got {bytes(parts.read(0, min(4, parts.size)))!r}"
        )
    end = _read_end(parts)
    by_name = {member.name: member for member in _apart(_read_entries(parts.read(end.offset, end.size), end), end.offset)}
    if len(by_name) < end.members:
        raise Malformed("E_ZIP", f"byte {end.offset}: the directory has a name twice, expected {end.members} names")
    return by_name


def _read_end(parts: FileParts) -> _End:
    start, content = parts.read_end()
    at = parts.size - _END.size
    signature, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(content, at - start)
    if signature != b"PK\x05\x06" or comment:
        raise Malformed("E_TRUNCATED", f"byte {at}: expected the end record of a zip archive, got {shortened(signature)}")
    locator = at - _LOCATOR.size
    if locator >= start and content[locator - start : locator - start + 4] == b"PK\x06\x07":
        end = _read_end64(parts, content, start, locator)
        if count not in (end.members, _FULL16) or size not in (end.size, _FULL32) or offset not in (end.offset, _FULL32):
            raise Malformed("E_ZIP", f"byte {at}: the two end records contradict each other")
    else:
        end = _End(count, size, offset, at)
    if disk not in (0, _FULL16) or first_disk not in (0, _FULL16) or here != count:
        raise Malformed("E_ZIP", f"byte {at}: expected an archive of one part, got part {disk} with {here} of {count} members")
    if end.members > MOST_MEMBERS or end.size > MOST_DIRECTORY_BYTES:
        raise Malformed(
            "E_ZIP", f"byte {end.at}: {end.members} members in a directory of {end.size} bytes, expected at most {MOST_MEMBERS}"
        )
    if end.offset + end.size != end.at or end.size < end.members * _ENTRY_BYTES:
        raise Malformed(
            "E_ZIP",
            f"byte {end.at}: expected the directory in the bytes before, got {end.members} members in {end.size} bytes at {end.offset}",
        )
    return end


def _read_end64(parts: FileParts, content: bytes | memoryview, start: int, locator: int) -> _End:
    _, disk, at, disks = _LOCATOR.unpack_from(content, locator - start)
    if disk or disks > 1 or at + _END64.size != locator:
        raise Malformed(
            "E_ZIP", f"byte {locator}: expected the 64-bit end record of one part in the {_END64.size} bytes before, got byte {at}"
        )
    signature, length, _, _, disk, first_disk, here, count, size, offset = _END64.unpack_from(parts.read(at, _END64.size))
    if signature != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != count:
        raise Malformed("E_ZIP", f"byte {at}: expected the 64-bit end record of an archive of one part, got {bytes(signature)!r}")
    return _End(count, size, offset, at)


def _read_entries(content: bytes | memoryview, end: _End) -> list[_Entry]:
    entries: list[_Entry] = []
    at, stop = 0, end.size
    for _ in range(end.members):
        if at + _ENTRY_BYTES > stop:
            raise Malformed("E_ZIP", f"byte {end.offset + at}: the directory ends after {len(entries)} of {end.members} members")
        signature, flags, method, packed, size, name_length, extra_length, comment_length, disk, offset = _ENTRY.unpack_from(content, at)
        extra_at = at + _ENTRY_BYTES + name_length
        next_at = extra_at + extra_length + comment_length
        if signature != b"PK\x01\x02" or next_at > stop:
            raise Malformed("E_ZIP", f"byte {end.offset + at}: expected an entry of the directory, got {bytes(signature)!r}")
        if not 0 < name_length <= LONGEST_NAME:
            raise Malformed("E_ZIP", f"byte {end.offset + at}: a name of {name_length} bytes, expected 1 to {LONGEST_NAME}")
        if flags & _REFUSED_FLAGS or (disk and disk != _FULL16):
            raise Malformed("E_ZIP", f"byte {end.offset + at}: the member is encrypted, patched or in another part, expected a plain one")
        if packed == _FULL32 or size == _FULL32 or offset == _FULL32 or disk:
            extra = bytes(content[extra_at : extra_at + extra_length])
            packed, size, offset = _long_numbers(extra, packed, size, offset, end.offset + at)
        if packed != size and method == _STORED:
            raise Malformed("E_ZIP", f"byte {end.offset + at}: a stored member of {size} bytes takes {packed}")
        entries.append((offset, bytes(content[at + _ENTRY_BYTES : extra_at]), packed, method, flags))
        at = next_at
    if at != stop:
        raise Malformed("E_ZIP", f"byte {end.offset + at}: {stop - at} bytes follow the last of {end.members} members in the directory")
    return entries


def _long_numbers(extra: bytes, packed: int, size: int, offset: int, where: int) -> tuple[int, int, int]:
    """The three numbers, those that do not fit in 32 bits from the field of the 64-bit extension."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - at) // 8}Q", extra, at))
            found = [next(numbers, -1) if number == _FULL32 else number for number in (size, packed, offset)]
            if min(found) >= 0:
                return found[1], found[0], found[2]
            break
        at += length
    raise Malformed("E_ZIP", f"byte {where}: a size or an offset is beyond 32 bits, and the 64-bit field does not have it")


def _apart(entries: list[_Entry], directory: int) -> list[Member]:
    """As they lie one behind the other, each with the offset of what follows it, which it must end before."""
    entries.sort()
    members: list[Member] = []
    limits = [*(entry[0] for entry in entries), directory][1:]
    for (offset, name, size, method, flags), limit in zip(entries, limits, strict=True):
        if offset + _LOCAL_BYTES + len(name) + size > limit:
            raise Malformed("E_ZIP", f"byte {offset}: member {shortened(name)} of {size} bytes reaches into what begins at byte {limit}")
        members.append(Member(name, offset, size, limit, method, flags))
    return members


def content_offset(parts: FileParts, member: Member, advice: str = _PACK_AGAIN) -> int:
    """Where the bytes of a stored member begin: behind its local header, which may be longer than the directory says.

    ``advice`` is what to do about a member that is not stored.

    Raises
    ------
    Malformed
        E_COMPRESSED, or E_ZIP if the local header is not that of the member.
    TensorError
        From reading the file.
    """
    if member.method != _STORED:
        how = _METHODS.get(member.method, f"stored by method {member.method}")
        raise Malformed("E_COMPRESSED", f"member {shortened(member.name)} is {how}, expected its bytes as they are; {advice}")
    at = member.offset
    length = _LOCAL_BYTES + len(member.name)
    header = parts.read(at, length, _LOCAL_READ)
    signature, flags, method, packed, size, name_length, extra_length = _LOCAL.unpack_from(header)
    is_same = signature == MAGIC and method == _STORED and name_length == len(member.name) and header[_LOCAL_BYTES:length] == member.name
    if not is_same or flags & _REFUSED_FLAGS:
        raise Malformed(
            "E_ZIP", f"byte {at}: expected the local header of member {shortened(member.name)}, got {shortened(bytes(header[:4]))}"
        )
    allowed = (member.size, _FULL32, 0) if flags & _SIZES_BEHIND else (member.size, _FULL32)
    if packed not in allowed or size not in allowed:
        raise Malformed("E_ZIP", f"byte {at}: member {shortened(member.name)} has {size} bytes here and {member.size} in the directory")
    start = at + length + extra_length
    if start + member.size > member.limit:
        raise Malformed(
            "E_ZIP", f"byte {start}: member {shortened(member.name)} of {member.size} bytes reaches into what begins at byte {member.limit}"
        )
    return start


def content(parts: FileParts, member: Member, most: int) -> bytes:
    """The bytes of a stored member; Malformed E_ZIP if there are more than ``most``, and as `content_offset`."""
    if member.size > most:
        raise Malformed("E_ZIP", f"member {shortened(member.name)} has {member.size} bytes, expected at most {most}")
    return bytes(parts.read(content_offset(parts, member), member.size))
