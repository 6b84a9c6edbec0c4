"""The reader of zip archives: it agrees with `zipfile`, and archives that lie are refused with their byte."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.errors import TensorError
from fastcmp.formats import zip_file
from fastcmp.formats.file_parts import EDGE_BYTES, FileParts, open_parts
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.malformed import Malformed
from fastcmp.formats.zip_file import content, content_offset, read_directory
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()


def archive(members: dict[str, bytes], *, method: int = zipfile.ZIP_STORED, comment: bytes = b"", is_long: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members.items():
            with made.open(zipfile.ZipInfo(name), "w", force_zip64=is_long) as member:
                member.write(data)
        made.comment = comment
    return file.getvalue()


def compressed(members: dict[str, bytes], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return file.getvalue()


def opened(path: Path, data: bytes, kept: KeptFiles | None = None) -> FileParts:
    path.write_bytes(data)
    found = next(open_parts([str(path)], OPTIONS, kept))
    assert not isinstance(found, TensorError), found
    return found


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, st.binary(max_size=3000), max_size=8), st.booleans())
def test_archives_are_read_as_zipfile_reads_them(tmp_path: Path, members: dict[str, bytes], is_long: bool) -> None:
    data = archive(members, is_long=is_long)
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        expected = {info.filename.encode(): theirs.read(info) for info in theirs.infolist()}
    for kept in (None, KEPT):
        KEPT.clear()
        parts = opened(tmp_path / "a.zip", data, kept)
        found = read_directory(parts)
        assert {name: content(parts, member, 3000) for name, member in found.items()} == expected
        assert all(data[content_offset(parts, member) :][: member.size] == expected[name] for name, member in found.items())


KEPT = KeptFiles()


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    found = bytearray(data)
    struct.pack_into(form, found, at, *values)
    return bytes(found)


PLAIN = archive({"a": b"12345678", "b": b"abcd"})
DIRECTORY = PLAIN.index(b"PK\x01\x02")
SECOND = PLAIN.index(b"PK\x01\x02", DIRECTORY + 1)
END = PLAIN.index(b"PK\x05\x06")
SECOND_LOCAL = PLAIN.index(b"PK\x03\x04", 1)
# As torch writes it, the long end record in front of the short one.
LONG_END = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, END - DIRECTORY, DIRECTORY)
LOCATOR = struct.pack("<4sLQL", b"PK\x06\x07", 0, END, 1)
LONG = PLAIN[:END] + LONG_END + LOCATOR + PLAIN[END:]
FULL = patched(LONG, len(LONG) - 22 + 8, "<2H2L", 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def with_extra(extra: bytes) -> bytes:
    """The offset of the second member in the field of the 64-bit extension."""
    data = patched(PLAIN, SECOND + 30, "<H", len(extra))
    data = patched(data, SECOND + 42, "<L", 0xFFFFFFFF)
    data = data[: SECOND + 47] + extra + data[SECOND + 47 :]
    return patched(data, len(data) - 22 + 12, "<L", END - DIRECTORY + len(extra))


@pytest.mark.parametrize("data", [PLAIN, LONG, FULL, with_extra(struct.pack("<2HQ", 1, 8, SECOND_LOCAL)), with_extra(b"\x99\x99\x02\0xx" + struct.pack("<2HQ", 1, 8, SECOND_LOCAL))],
                         ids=["short", "long", "long only", "long offset", "long offset behind another field"])  # fmt: skip
def test_numbers_of_64_bits_are_read_where_they_stand(tmp_path: Path, data: bytes) -> None:
    parts = opened(tmp_path / "a.zip", data)
    assert {name: content(parts, member, 8) for name, member in read_directory(parts).items()} == {b"a": b"12345678", b"b": b"abcd"}


def test_an_empty_archive_has_no_members(tmp_path: Path) -> None:
    assert read_directory(opened(tmp_path / "a.zip", archive({}))) == {}


REFUSED = [
    ("no archive", b"\x80\x02N." * 10, "E_ZIP", r"byte 0: expected b'PK\x03\x04', the beginning of a zip archive, got b'\x80\x02N.'"),
    ("something before it", b"x" + PLAIN, "E_ZIP", "byte 0: expected b'PK"),
    ("two bytes", b"PK", "E_ZIP", "got b'PK'"),
    ("cut", PLAIN[:-1], "E_TRUNCATED", "expected the end record of a zip archive"),
    ("cut early", PLAIN[:50], "E_TRUNCATED", "byte 28: expected the end record of a zip archive"),
    ("a comment", archive({"a": b"1"}, comment=b"hello"), "E_TRUNCATED", "expected the end record of a zip archive"),
    ("more behind it", PLAIN + b"x", "E_TRUNCATED", "expected the end record of a zip archive"),
    ("a second part", patched(PLAIN, END + 4, "<H", 1), "E_ZIP", f"byte {END}: expected an archive of one part, got part 1 with 2 of 2 members"),
    ("members elsewhere", patched(PLAIN, END + 8, "<H", 1), "E_ZIP", "expected an archive of one part, got part 0 with 1 of 2 members"),
    ("three of two members", patched(PLAIN, END + 8, "<2H", 3, 3), "E_ZIP", f"byte {END}: expected the directory in the bytes before, got 3 members"),
    ("one of two members", patched(PLAIN, END + 8, "<2H", 1, 1), "E_ZIP", f"byte {SECOND}: {END - SECOND} bytes follow the last of 1 members in the directory"),
    ("directory elsewhere", patched(PLAIN, END + 16, "<L", 0), "E_ZIP", f"byte {END}: expected the directory in the bytes before, got 2 members in {END - DIRECTORY} bytes at 0"),
    ("directory of 4 GiB", patched(PLAIN, END + 12, "<L", 0xFFFFFFFF), "E_ZIP", "members in a directory of 4294967295 bytes, expected at most"),
    ("a million members", patched(LONG, len(LONG) - 42 - 56 + 24, "<2Q", 10**6, 10**6), "E_ZIP", "the two end records contradict each other"),
    ("too many members", patched(FULL, END + 24, "<2Q", 2**20, 2**20), "E_ZIP", "1048576 members in a directory of 94 bytes, expected at most 131072"),
    ("end records that differ", patched(LONG, END + 48, "<Q", 5), "E_ZIP", "the two end records contradict each other"),
    ("long end record elsewhere", patched(LONG, END + 56 + 8, "<Q", 0), "E_ZIP", "expected the 64-bit end record of one part in the 56 bytes before, got byte 0"),
    ("long end record of 2 parts", patched(LONG, END + 56 + 16, "<L", 2), "E_ZIP", "expected the 64-bit end record of one part"),
    ("long end record of another length", patched(LONG, END + 4, "<Q", 45), "E_ZIP", f"byte {END}: expected the 64-bit end record of an archive of one part, got b'PK"),
    ("entry is none", patched(PLAIN, SECOND, "<L", 0), "E_ZIP", f"byte {SECOND}: expected an entry of the directory, got"),
    ("entry beyond the directory", patched(PLAIN, SECOND + 28, "<H", 5), "E_ZIP", f"byte {SECOND}: expected an entry of the directory"),
    ("extra beyond the directory", patched(PLAIN, SECOND + 30, "<H", 0xFFFF), "E_ZIP", f"byte {SECOND}: expected an entry of the directory"),
    ("entry swallows the next", patched(PLAIN, DIRECTORY + 32, "<H", SECOND - DIRECTORY), "E_ZIP", "the directory ends after 1 of 2 members"),
    ("no name", archive({"": b"1"}), "E_ZIP", "a name of 0 bytes, expected 1 to 1024"),
    ("a long name", archive({"x" * 1025: b"1"}), "E_ZIP", "a name of 1025 bytes, expected 1 to 1024"),
    ("encrypted", patched(PLAIN, DIRECTORY + 8, "<H", 1), "E_ZIP", f"byte {DIRECTORY}: the member is encrypted, patched or in another part, expected a plain one"),
    ("masked", patched(PLAIN, DIRECTORY + 8, "<H", 0x2000), "E_ZIP", "the member is encrypted"),
    ("member in another part", patched(PLAIN, DIRECTORY + 34, "<H", 1), "E_ZIP", "the member is encrypted, patched or in another part"),
    ("stored and yet smaller", patched(PLAIN, DIRECTORY + 20, "<L", 7), "E_ZIP", f"byte {DIRECTORY}: a stored member of 8 bytes takes 7"),
    ("reaches into the next", patched(PLAIN, DIRECTORY + 20, "<2L", 9, 9), "E_ZIP", f"byte 0: member b'a' of 9 bytes reaches into what begins at byte {SECOND_LOCAL}"),
    ("reaches into the directory", patched(PLAIN, SECOND + 20, "<2L", 5, 5), "E_ZIP", f"member b'b' of 5 bytes reaches into what begins at byte {DIRECTORY}"),
    ("of 4 GiB", patched(PLAIN, SECOND + 20, "<2L", 0xFFFFFFF0, 0xFFFFFFF0), "E_ZIP", "member b'b' of 4294967280 bytes reaches into"),
    ("begins in the directory", patched(PLAIN, SECOND + 42, "<L", DIRECTORY), "E_ZIP", "reaches into what begins at byte"),
    ("begins beyond the file", patched(PLAIN, SECOND + 42, "<L", 0xFFFFFFF0), "E_ZIP", "reaches into what begins at byte"),
    ("one place for two", patched(PLAIN, SECOND + 42, "<L", 0), "E_ZIP", "reaches into what begins at byte 0"),
    ("one name for two", patched(PLAIN, SECOND + 46, "<B", ord("a")), "E_ZIP", f"byte {DIRECTORY}: the directory has a name twice, expected 2 names"),
    ("64 bits that are not there", patched(PLAIN, SECOND + 42, "<L", 0xFFFFFFFF), "E_ZIP", f"byte {SECOND}: a size or an offset is beyond 32 bits, and the 64-bit field does not have it"),
    ("64 bits that are cut", with_extra(struct.pack("<2HL", 1, 8, 0)), "E_ZIP", "a size or an offset is beyond 32 bits, and the 64-bit field does not have it"),
    ("64 bits of nothing", with_extra(struct.pack("<2H", 1, 0)), "E_ZIP", "the 64-bit field does not have it"),
    ("64 bits beyond the file", with_extra(struct.pack("<2HQ", 1, 8, 2**64 - 1)), "E_ZIP", "reaches into what begins at byte"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_an_archive_that_lies_is_refused_with_its_byte(tmp_path: Path, data: bytes, code: str, message: str) -> None:
    with pytest.raises(Malformed, match=re.escape(message)) as error:
        read_directory(opened(tmp_path / "a.zip", data))
    assert error.value.code == code


REFUSED_MEMBERS = [
    ("no local header", patched(PLAIN, SECOND_LOCAL, "<L", 0), "E_ZIP", f"byte {SECOND_LOCAL}: expected the local header of member b'b', got"),
    ("another name", patched(PLAIN, SECOND_LOCAL + 30, "<B", ord("c")), "E_ZIP", "expected the local header of member b'b'"),
    ("a longer name", patched(PLAIN, SECOND_LOCAL + 26, "<H", 2), "E_ZIP", "expected the local header of member b'b'"),
    ("compressed here only", patched(PLAIN, SECOND_LOCAL + 8, "<H", 8), "E_ZIP", "expected the local header of member b'b'"),
    ("encrypted here only", patched(PLAIN, SECOND_LOCAL + 6, "<H", 1), "E_ZIP", "expected the local header of member b'b'"),
    ("another size", patched(PLAIN, SECOND_LOCAL + 18, "<2L", 3, 3), "E_ZIP", "member b'b' has 3 bytes here and 4 in the directory"),
    ("size behind it", patched(PLAIN, SECOND_LOCAL + 18, "<2L", 0, 0), "E_ZIP", "member b'b' has 0 bytes here and 4 in the directory"),
    ("long padding", patched(PLAIN, SECOND_LOCAL + 28, "<H", 1), "E_ZIP", f"byte {SECOND_LOCAL + 32}: member b'b' of 4 bytes reaches into what begins at byte {DIRECTORY}"),
    ("deflated", compressed({"b": b"1" * 100}, zipfile.ZIP_DEFLATED), "E_COMPRESSED", "member b'b' is deflated, expected its bytes as they are; pack the archive again"),
    ("bzip2", compressed({"b": b"1" * 100}, zipfile.ZIP_BZIP2), "E_COMPRESSED", "member b'b' is compressed by bzip2, expected its bytes as they are"),
    ("method 77", patched(patched(PLAIN, SECOND + 10, "<H", 77), SECOND_LOCAL + 8, "<H", 77), "E_COMPRESSED", "member b'b' is stored by method 77"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED_MEMBERS])
def test_a_member_that_is_not_as_the_directory_says_is_refused(tmp_path: Path, data: bytes, code: str, message: str) -> None:
    parts = opened(tmp_path / "a.zip", data)
    with pytest.raises(Malformed, match=re.escape(message)) as error:
        content_offset(parts, read_directory(parts)[b"b"])
    assert error.value.code == code


def test_padding_of_a_local_header_is_stepped_over(tmp_path: Path) -> None:
    """As torch pads it, so that the bytes behind it begin at a multiple of 64."""
    padded = PLAIN[: SECOND_LOCAL + 31] + bytes(40) + PLAIN[SECOND_LOCAL + 31 :]
    padded = patched(padded, SECOND_LOCAL + 28, "<H", 40)
    padded = patched(padded, len(padded) - 22 + 16, "<L", DIRECTORY + 40)
    parts = opened(tmp_path / "a.zip", padded)
    assert content(parts, read_directory(parts)[b"b"], 4) == b"abcd"


def test_a_member_larger_than_is_asked_for_is_not_read(tmp_path: Path) -> None:
    parts = opened(tmp_path / "a.zip", PLAIN)
    with pytest.raises(Malformed, match="member b'a' has 8 bytes, expected at most 7"):
        content(parts, read_directory(parts)[b"a"], 7)


def test_large_archives_are_read_here_and_there(tmp_path: Path) -> None:
    members = {f"{number:05}": bytes((number % 256,)) * 700 for number in range(1000)}
    parts = opened(tmp_path / "a.zip", archive(members, is_long=True))
    assert parts.size > 10 * EDGE_BYTES
    found = read_directory(parts)
    assert {name.decode(): content(parts, member, 700) for name, member in found.items()} == members


def test_what_lies_beyond_a_file_is_not_read(tmp_path: Path) -> None:
    parts = opened(tmp_path / "a.zip", PLAIN)
    with pytest.raises(Malformed, match=f"byte {len(PLAIN) - 2}: expected 5 more bytes, the file has 2 left"):
        parts.read(len(PLAIN) - 2, 5)


def test_every_prefix_is_refused(tmp_path: Path) -> None:
    for size in range(1, len(LONG)):
        with pytest.raises(Malformed, match=r"end record|beginning of a zip archive"):
            read_directory(opened(tmp_path / "a.zip", LONG[:size]))


@pytest.mark.parametrize("data", [PLAIN, FULL], ids=["short", "long"])
def test_no_changed_byte_brings_anything_but_members_or_an_error(tmp_path: Path, data: bytes) -> None:
    for at in range(len(data)):
        for value in (0, 0xFF, data[at] ^ 1):
            parts = opened(tmp_path / "a.zip", patched(data, at, "<B", value))
            try:
                for member in read_directory(parts).values():
                    start = content_offset(parts, member)
                    assert start > 0 and start + member.size <= member.limit <= parts.size
            except Malformed as error:
                assert error.code in ("E_ZIP", "E_TRUNCATED", "E_COMPRESSED")


def test_the_bounds_are_those_that_are_documented() -> None:
    assert f"{zip_file.LONGEST_NAME} bytes" in (zip_file.__doc__ or "") and f"{zip_file.MOST_MEMBERS} of them" in (zip_file.__doc__ or "")
