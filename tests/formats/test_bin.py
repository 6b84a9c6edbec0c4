from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import numpy as np
import pytest
from bin_files import F6, OK_2X3, OK_EMPTY, OK_SCALAR, OK_UPPER, OK_WITHOUT_OBJECTS, header, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from little_memory import little_memory
from tries import examples

from fastcmp.dtypes import BY_ACL_CODE, DTYPES
from fastcmp.errors import CODES, TensorError
from fastcmp.formats import TensorInfo, scan, scan_batch
from fastcmp.options import ScanOptions

STRICT = ScanOptions()
DATA = "$Object.data=0,24\n"


def scan_bytes(folder: Path, content: bytes, options: ScanOptions = STRICT) -> TensorInfo:
    path = folder / "tensor.bin"
    path.write_bytes(content)
    return scan(str(path), options)


def test_the_example_has_the_size_that_the_shipped_writer_gives_it() -> None:
    assert len(OK_2X3) == 122


@pytest.mark.parametrize(
    ("content", "shape", "offset", "nbytes"),
    [
        pytest.param(OK_2X3, (2, 3), 98, 24, id="plain"),
        pytest.param(OK_SCALAR, (), len(OK_SCALAR) - 4, 4, id="scalar"),
        pytest.param(OK_EMPTY, (0, 3), len(OK_EMPTY), 0, id="no elements"),
        pytest.param(OK_UPPER, (2, 3), 98, 24, id="upper case END"),
        pytest.param(OK_WITHOUT_OBJECTS, (2, 3), 24, 24, id="no objects"),
        pytest.param(OK_2X3.replace(b"format=2\n", b"format=2\nname=a=b\n"), (2, 3), 107, 24, id="value with ="),
        pytest.param(OK_2X3.replace(b"format=2\n", b"format=2\n\xff\x00=\xc3\n"), (2, 3), 103, 24, id="unknown key, not UTF-8"),
        pytest.param(OK_2X3.replace(b"format=2\n", b""), (2, 3), 89, 24, id="no format"),
        pytest.param(OK_2X3.replace(b"format=2\n", b"data=other.bin\nformat=2\n"), (2, 3), 113, 24, id="data= beside an object"),
        pytest.param(OK_2X3.replace(b"$Object.data", b"$Object.else"), (2, 3), 98, 24, id="one object of another name"),
        pytest.param(
            OK_2X3.replace(b"Count=1", b"Count=2").replace(b"Length=24", b"Length=32").replace(b"0,24\n", b"8,24\n$Object.b=0,8\n") + b"8" * 8,
            (2, 3), 120, 24, id="several objects",
        ),
    ],
)  # fmt: skip
def test_dialects_are_read(tmp_path: Path, content: bytes, shape: tuple[int, ...], offset: int, nbytes: int) -> None:
    info = scan_bytes(tmp_path, content)
    assert (info.shape, info.data_offset, info.nbytes, info.dtype, info.warnings) == (shape, offset, nbytes, "float32", ())
    assert info.is_direct
    assert info.identity.size == len(content)


LONG = b"pad=" + b"x" * 4096 + b"\n"
BAD = [
    ("empty", b"", "E_EMPTY_FILE", "byte 0: the file is empty, expected a header"),
    ("tiling data", b"\x01\0\0\0" * 9, "E_BAD_MAGIC", r"byte 0: expected a header line such as '$Version=1.0', got '\x01"),
    ("zip", b"PK\x03\x04", "E_BAD_MAGIC", "byte 0: expected a header line"),
    ("text", b"hello world\n", "E_BAD_MAGIC", "got 'hello world'"),
    ("line without =", OK_2X3.replace(b"format=2", b"format 2"), "E_BAD_MAGIC", "byte 47: expected key=value, got 'format 2'"),
    ("no end", OK_2X3.replace(b"$End=1", b"$Fin=1"), "E_NO_END", "expected a header that ends in '$End=1'"),
    ("carriage returns", OK_2X3.replace(b"\n", b"\r\n"), "E_NO_END", "ends in '$End=1'"),
    ("long line", OK_2X3.replace(b"format=2\n", LONG), "E_NO_END", "byte 47: expected a header"),
    ("many lines", OK_2X3.replace(b"format=2\n", b"".join(b"k%d=\n" % i for i in range(256))), "E_NO_END", "ends in"),
    ("duplicate", OK_2X3.replace(b"format=2", b"dtype=0"), "E_DUP_KEY", "byte 55: key 'dtype' stands here and at byte 47"),
    ("duplicate object", OK_2X3.replace(b"0,24\n", b"0,24\n$Object.data=0,24\n"), "E_DUP_KEY", "key '$Object.data'"),
    ("version", OK_2X3.replace(b"=1.0", b"=1.1"), "E_VERSION", "byte 9: expected version '1.0', got '1.1'"),
    ("dtype word", OK_2X3.replace(b"dtype=0", b"dtype=bf16"), "E_DTYPE", "byte 62: dtype: expected an integer, got 'bf16'"),
    ("dtype gap", OK_2X3.replace(b"dtype=0", b"dtype=28"), "E_DTYPE", "expected the code of a numeric dtype, got 28"),
    ("dtype undefined", OK_2X3.replace(b"dtype=0", b"dtype=-1"), "E_DTYPE", "got -1"),
    ("dtype string", OK_2X3.replace(b"dtype=0", b"dtype=13"), "E_DTYPE", "got 13"),
    ("dtype hifloat8", OK_2X3.replace(b"dtype=0", b"dtype=34"), "E_DTYPE", "got 34"),
    ("no dtype", OK_2X3.replace(b"dtype=0\n", b""), "E_DTYPE", "the header has no dtype"),
    ("no dims", OK_2X3.replace(b"dims=2,3\n", b""), "E_BAD_DIMS", "the header has no dims"),
    ("overflow", header(24, 2, 0, "4294967296,4294967296", DATA) + F6, "E_BAD_DIMS", "in float32 exceed 2^63-1 bytes"),
    ("just too big", header(24, 2, 0, "2305843009213693952", DATA) + F6, "E_BAD_DIMS", "exceed 2^63-1 bytes"),
    ("negative", header(24, 2, 0, "-2,-3", DATA) + F6, "E_BAD_DIMS", "byte 69: dims: expected a length of 0 or more, got -2"),
    ("beyond int64", header(24, 2, 0, "9223372036854775808", DATA) + F6, "E_BAD_DIMS", "below 2^63"),
    ("65 axes", header(24, 2, 0, ",".join("1" * 65), DATA) + F6, "E_BAD_DIMS", "expected at most 64 axes"),
    *((f"dims {dims!r}", header(24, 2, 0, dims, DATA) + F6, "E_BAD_DIMS", "dims: expected an integer")
      for dims in ("2x3", "+2,3", " 2,3", "2, 3", "2,3,", ",", "1_0", "२,३", "2,\0", "0x2", "1e1", "--2", "-", "00000000000000000006")),
    ("offset", header(24, 2, 0, "2,3", "$Object.data=9223372036854775800,24\n") + F6, "E_OBJ_RANGE", "offset 9223372036854775800 and length 24 lie outside $Object.Length 24"),
    ("object beyond int64", header(24, 2, 0, "2,3", "$Object.data=0,18446744073709551616\n") + F6, "E_OBJ_RANGE", "expected an integer from 0 to 2^63-1"),
    ("object without comma", header(24, 2, 0, "2,3", "$Object.data=24\n") + F6, "E_OBJ_RANGE", "expected offset,length, got '24'"),
    ("sum", header(24, 2, 0, "2,3", "$Object.data=0,20\n") + F6, "E_OBJ_RANGE", "the objects hold 20 bytes, $Object.Length says 24"),
    ("overlap", header(24, 2, 0, "2,3", "$Object.data=0,14\n$Object.b=10,10\n") + F6, "E_OBJ_RANGE", "begins at 10, inside an object that ends at 14"),
    ("no length", OK_2X3.replace(b"$Object.Length=24\n", b""), "E_OBJ_RANGE", "the header has no $Object.Length"),
    ("no data object", header(24, 2, 0, "2,3", "$Object.a=0,12\n$Object.b=12,12\n") + F6, "E_OBJ_RANGE", "expected one of them to be $Object.data"),
    ("cut", OK_2X3[:-1], "E_TRUNCATED", "byte 98: the header promises 24 bytes, the file has 23 left"),
    ("twice", OK_2X3 * 2, "E_MULTI_RECORD", "byte 122: 2 records in one file, expected one"),
    ("eight times", OK_2X3 * 8, "E_MULTI_RECORD", "8 records in one file"),
    ("described, then saved", header(0, 2, 0, "2,3", "") + OK_2X3, "E_MULTI_RECORD", "2 records in one file"),
    ("short", record(F6[:20], 0, "2,3"), "E_SIZE_SHORT", "dims (2, 3) in float32 need 24 bytes, the payload has 20"),
    ("long", record(F6 + F6, 0, "2,3"), "E_SIZE_LONG", "dims (2, 3) in float32 need 24 bytes, the payload has 48"),
    ("fractal lie", record(b"\0" * 8, 27, "1,1,16,16", 29), "E_SIZE_SHORT", "dims (1, 1, 16, 16) in bfloat16 need 512 bytes, the payload has 8"),
    ("int4", record(b"\0" * 4, 29, "5"), "E_SIZE", "dims (5) in int4 need 5 bytes, or 3 packed, the payload has 4"),
    ("description", header(0, 2, 0, "2,3", ""), "E_NO_DATA", "dims (2, 3) in float32 are described, expected data and found none"),
    ("statistics", header(0, 2, 0, "2,3", "max=6.000000\nmin=-4.000000\nmean=2.166667\nl2norm=9.539392\n"), "E_STATS_ONLY",
     "max=6.000000, min=-4.000000, mean=2.166667, l2norm=9.539392"),
    ("alias", header(0, 2, 0, "2,3", "data=0_1_intensor0.bin\n"), "E_ALIAS", "the header names '0_1_intensor0.bin' and holds no data itself"),
    ("format word", OK_2X3.replace(b"format=2", b"format=ND"), "E_FORMAT", "format: expected an integer, got 'ND'"),
    ("format unknown", OK_2X3.replace(b"format=2", b"format=99"), "E_FORMAT", "expected a known memory format, got code 99"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_file_has_its_code_and_points_at_the_byte(tmp_path: Path, content: bytes, code: str, message: str) -> None:
    with pytest.raises(TensorError, match=re.escape(message)) as caught:
        scan_bytes(tmp_path, content)
    assert caught.value.code == code
    assert caught.value.path == str(tmp_path / "tensor.bin")


# The rules about what is in a file, in their order; those before are about the file as such, and whoever breaks one of them breaks no other.
PRECEDENCE = [
    ("E_BAD_MAGIC", b"$Version=", b"hello world\n$Version="),
    ("E_NO_END", b"$End=1", b"$Fin=1"),
    ("E_DUP_KEY", b"dtype=", b"q=1\nq=1\ndtype="),
    ("E_VERSION", b"$Version=1.0", b"$Version=9.9"),
    ("E_DTYPE", b"dtype=0", b"dtype=99"),
    ("E_BAD_DIMS", b"dims=", b"dims=-"),
    ("E_OBJ_RANGE", b"$Object.data=0,", b"$Object.data=-1,"),
    ("E_TRUNCATED", F6, F6[:-1]),
    ("E_MULTI_RECORD", F6, F6 + OK_2X3),
    ("E_SIZE_SHORT", b"2,3\n", b"2,4\n"),
    ("E_FORMAT", b"format=2", b"format=99"),
]
TOGETHER = [
    pair
    for pair in itertools.combinations(range(len(PRECEDENCE)), 2)
    if [PRECEDENCE[one][0] for one in pair] != ["E_TRUNCATED", "E_MULTI_RECORD"]  # what follows a record is not missing from it
]


@pytest.mark.parametrize(("first", "second"), TOGETHER, ids=[f"{PRECEDENCE[one][0]}-{PRECEDENCE[other][0]}" for one, other in TOGETHER])
def test_the_earlier_rule_gives_the_code(tmp_path: Path, first: int, second: int) -> None:
    content = OK_2X3
    for code, old, new in (PRECEDENCE[second], PRECEDENCE[first]):
        assert old in content
        content = content.replace(old, new)
        with pytest.raises(TensorError, match=code):  # the later rule alone, then both
            scan_bytes(tmp_path, content)


@pytest.mark.parametrize("whole", [OK_2X3, OK_SCALAR, OK_EMPTY, OK_UPPER], ids=["plain", "scalar", "empty", "upper"])
def test_every_prefix_is_an_error_and_never_a_tensor(tmp_path: Path, whole: bytes) -> None:
    header_bytes = whole.index(b"=1\n", whole.upper().index(b"$END")) + 3
    for size in range(len(whole)):
        code = "E_EMPTY_FILE" if size == 0 else "E_NO_END" if size < header_bytes else "E_TRUNCATED"
        with pytest.raises(TensorError, match=code):
            scan_bytes(tmp_path, whole[:size])


def test_every_prefix_of_the_dialect_without_objects_is_an_error(tmp_path: Path) -> None:
    for size in range(1, len(OK_WITHOUT_OBJECTS)):
        with pytest.raises(TensorError, match="E_NO_END" if size < 24 else "E_SIZE_SHORT"):
            scan_bytes(tmp_path, OK_WITHOUT_OBJECTS[:size])


BOUNDARIES = (0, 1, -1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1, 2**64 - 1, 24)


def test_objects_and_lengths_at_every_integer_boundary(tmp_path: Path) -> None:
    paths, expected = [], []
    for index, (total, offset, length) in enumerate(itertools.product(BOUNDARIES, repeat=3)):
        path = tmp_path / f"{index}.bin"
        path.write_bytes(header(total, 2, 0, "2,3", f"$Object.data={offset},{length}\n") + F6)
        paths.append(str(path))
        fits = offset >= 0 and 0 <= length <= total < 2**63 and offset + length <= total and length == total
        expected.append("E_OBJ_RANGE" if not fits else "E_TRUNCATED" if total > 24 else "ok" if total == 24 else "E_SIZE_SHORT")
    found = [entry.code if isinstance(entry, TensorError) else "ok" for entry in scan_batch(paths, STRICT)]
    assert found == expected
    assert found.count("ok") == 1


def test_foreign_bytes_in_a_message_are_escaped(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match=re.escape(r"'$Object.d\xff\x00': expected offset,length, got '\xc3'")):
        scan_bytes(tmp_path, OK_2X3.replace(b"$Object.data=0,24", b"$Object.d\xff\0=\xc3"))


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, len(OK_2X3) - 1), st.binary(max_size=6)), max_size=4))
def test_any_damage_is_a_description_inside_the_file_or_a_known_code(tmp_path: Path, edits: list[tuple[int, bytes]]) -> None:
    content = OK_2X3
    for position, replacement in edits:
        content = content[:position] + replacement + content[position + len(replacement) :]
    try:
        info = scan_bytes(tmp_path, content)
    except TensorError as error:
        assert error.code in CODES
    else:
        assert info.data_offset + info.nbytes <= len(content)


def test_lying_dims_allocate_nothing(tmp_path: Path) -> None:
    with little_memory():
        with pytest.raises(MemoryError):
            np.empty(1 << 30, np.uint8)  # so that it is known to be felt, touched or not
        with pytest.raises(TensorError, match="E_SIZE_SHORT"):
            scan_bytes(tmp_path, record(F6, 0, "1152921504606846975"))
        with pytest.raises(TensorError, match="E_TRUNCATED"):
            scan_bytes(tmp_path, header(2**62, 2, 0, "1152921504606846976", f"$Object.data=0,{2**62}\n") + F6)


def test_one_capped_write_is_named_in_the_reason(tmp_path: Path) -> None:
    size = 3 * 2**30
    path = tmp_path / "capped.bin"
    head = header(size, 2, 2, str(size), f"$Object.data=0,{size}\n")
    path.write_bytes(head)
    os.truncate(path, len(head) + 2147479552)
    with pytest.raises(TensorError, match=r"E_TRUNCATED") as caught:
        scan(str(path), STRICT)
    assert "2147479552, what one write call can take" in caught.value.detail


@pytest.mark.parametrize(("policy", "shape", "offset"), [("first", (2, 3), 98), ("last", (3, 2), 122 + 98)])
def test_multi_record_policy_chooses_and_says_so(tmp_path: Path, policy: str, shape: tuple[int, ...], offset: int) -> None:
    info = scan_bytes(tmp_path, OK_2X3 + record(F6, 0, "3,2"), ScanOptions(multi_record=policy))
    assert (info.shape, info.data_offset) == (shape, offset)
    assert info.warnings == (f"W_MULTI_RECORD: 2 records in one file, the {policy} was taken",)


def test_last_record_that_is_cut_is_an_error_at_its_own_byte(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match=f"byte {122 + 98}: the header promises 24 bytes, the file has 10 left"):
        scan_bytes(tmp_path, OK_2X3 + OK_2X3[:108], ScanOptions(multi_record="last"))


def test_trailing_bytes_and_a_wrong_count_are_warnings(tmp_path: Path) -> None:
    assert scan_bytes(tmp_path, OK_2X3 + b"tail").warnings == ("W_TRAILING: 4 bytes follow the payload",)
    assert scan_bytes(tmp_path, OK_2X3.replace(b"Count=1", b"Count=3")).warnings == ("W_COUNT: $Object.Count is 3, the header lists 1",)


@pytest.mark.parametrize("dtype", BY_ACL_CODE.values(), ids=lambda dtype: dtype.name)
def test_every_dtype_code_is_read_packed_or_not(tmp_path: Path, dtype: object) -> None:
    row = DTYPES[dtype.name]
    info = scan_bytes(tmp_path, record(b"\0" * row.payload_bytes(11), row.acl_code or 0, "11"))
    assert (info.dtype, info.nbytes, info.packed) == (row.name, row.payload_bytes(11), False)
    if row.is_sub_byte:
        info = scan_bytes(tmp_path, record(b"\0" * row.payload_bytes(11, packed=True), row.acl_code or 0, "11"))
        assert info.packed
        assert info.warnings[0].startswith("W_PACKING_ASSUMED")


def test_flat_policy_reads_any_format_as_it_lies(tmp_path: Path) -> None:
    info = scan_bytes(tmp_path, OK_2X3.replace(b"format=2", b"format=29"), ScanOptions(format_policy="flat"))
    assert (info.shape, info.layout, info.format_code) == ((2, 3), "plain", 29)


def test_paths_of_any_bytes_are_opened(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"a\xff\n\xc3.bin")
    with open(path, "wb") as file:
        file.write(OK_2X3)
    assert scan(os.fsdecode(path), STRICT).shape == (2, 3)


def test_a_bad_file_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    for name, content in (("a.bin", OK_2X3), ("b.bin", b"junk"), ("d.bin", OK_SCALAR)):
        (tmp_path / name).write_bytes(content)
    names = ["a.bin", "b.bin", "missing.bin", "d.bin", "\ud800.bin", "nul\0.bin"]
    found = scan_batch([str(tmp_path / name) for name in names], STRICT)
    assert [entry.code if isinstance(entry, TensorError) else entry.shape for entry in found] == [
        (2, 3), "E_NO_END", "E_MISSING", (), "E_PATH", "E_PATH"
    ]  # fmt: skip
