"""`.safetensors`: against the library that writes them, and against headers that lie."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tries import examples

from fastcmp.errors import TensorError
from fastcmp.formats import list_members, place_sizes, scan, scan_batch
from fastcmp.formats.payload import open_payload
from fastcmp.formats.places import member_place, shown_place, split_place
from fastcmp.formats.whole import read_tensor
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()
DTYPES = {
    "bool": torch.bool, "uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64,
    "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2, "uint16": torch.uint16, "uint32": torch.uint32,
    "uint64": torch.uint64, "complex64": torch.complex64, "float8_e8m0fnu": torch.float8_e8m0fnu,
}  # fmt: skip


def written(path: Path, header: object, payload: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + payload)
    return path


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_every_dtype_of_the_writer_is_read_to_the_bit(tmp_path: Path) -> None:
    bits = torch.randint(0, 255, (64,), dtype=torch.uint8)
    bits[::8] &= 1
    tensors = {name: bits.clone().view(dtype).reshape(2, -1) if name != "bool" else bits.bool() for name, dtype in DTYPES.items()}
    save_file(tensors, tmp_path / "all.safetensors")
    infos = scan_batch([member_place(str(tmp_path / "all.safetensors"), name) for name in tensors], OPTIONS)
    for (name, tensor), info in zip(tensors.items(), infos, strict=True):
        assert not isinstance(info, TensorError), info
        assert (info.dtype, info.shape) == (name, tuple(tensor.shape))
        with open_payload(info) as payload:
            got = payload.piece(0, info.element_count).tobytes()
        assert got == tensor.contiguous().view(torch.uint8).numpy().tobytes()


def test_scalars_empty_tensors_and_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        'a "quoted" {name}\\ ü': torch.arange(3),
        "layers[0].w": torch.ones(1),
    }
    save_file(tensors, path, metadata={"format": "pt {}", 'odd "key"': "}{\\"})
    (names,) = list_members([str(path)], OPTIONS)
    assert not isinstance(names, TensorError) and set(names) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read_tensor(path, member=name), tensor.numpy())
    assert place_sizes([str(path), *(member_place(str(path), name) for name in tensors)], OPTIONS) == [path.stat().st_size, 4, 0, 24, 4]


def test_a_file_of_one_tensor_needs_no_name(tmp_path: Path) -> None:
    save_file({"only": torch.arange(4.0)}, tmp_path / "one.safetensors")
    np.testing.assert_array_equal(read_tensor(tmp_path / "one.safetensors"), np.arange(4.0, dtype=np.float32))


@pytest.mark.parametrize(
    ("member", "detail"),
    [
        ("", "expected the name of one tensor, the file holds 2 ('a', 'b' ...)"),
        ("c", "expected a tensor 'c', the file holds 2 ('a', 'b' ...)"),
    ],
)
def test_a_tensor_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, member: str, detail: str) -> None:
    path = written(tmp_path / "a.safetensors", {"a": entry(), "b": entry(offsets=[8, 16])}, bytes(16))
    with pytest.raises(TensorError) as error:
        scan(member_place(str(path), member), OPTIONS)
    assert (error.value.code, error.value.detail) == ("E_MEMBER", detail)


MALFORMED = {
    "no length": (b"", None, "E_EMPTY_FILE", None),
    "length cut": (b"\x01\0\0", None, "E_TRUNCATED", "byte 3: the file ends inside the length of its header, expected 8 bytes"),
    "length beyond the file": ({}, 3, "E_TRUNCATED", "byte 8: the header takes 3 bytes, the file has 2 left"),
    "length of 2^63": ({}, 2**63, "E_SAFETENSORS", "byte 0: expected a header of at most 100000000 bytes, got 9223372036854775808"),
    "not UTF-8": (b'{"\xff":', None, "E_SAFETENSORS", None),
    "no object": (b"[1]", 3, "E_SAFETENSORS", "byte 8: expected '{', before '[1]'"),
    "empty header": (b"   ", 3, "E_SAFETENSORS", "byte 11: expected '{', before the end"),
    "cut": (b'{"a":{"dtype":"F32"', 19, "E_SAFETENSORS", 'byte 13: expected {dtype, shape, data_offsets}, before \'{"dtype":"F32"\''),
    "no end": (
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}',
        None,
        "E_SAFETENSORS",
        "byte 61: expected ',' or '}', before the end",
    ),
    "more behind it": (b"{}x", 3, "E_SAFETENSORS", "byte 10: expected the end of the header, before 'x'"),
    "comma at the end": (b"{},", 3, "E_SAFETENSORS", "byte 10: expected the end of the header, before ','"),
    "name is a number": (b"{1:{}}", 6, "E_SAFETENSORS", "byte 9: expected a text in quotes, before '1:{}}'"),
    "name without end": (b'{"a', 3, "E_SAFETENSORS", "byte 9: expected a text in quotes, before '\"a'"),
    "name is half a character": (b'{"\\ud800":{}}', 13, "E_SAFETENSORS", "byte 9: expected a text in quotes, before '\"\\\\ud800\":{}}'"),
    "tensor is a list": ({"a": [1]}, None, "E_SAFETENSORS", "byte 14: expected {dtype, shape, data_offsets}, before '[1]}'"),
    "objects inside": (
        {"a": {"dtype": {}}},
        None,
        "E_SAFETENSORS",
        "byte 14: expected {dtype, shape, data_offsets}, before '{\"dtype\": {}}}'",
    ),
    "a body without end": (b'{"a":{' + b" " * 5000 + b"}}", 5008, "E_SAFETENSORS", None),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, None, "E_SAFETENSORS", "byte 31: expected a text in quotes, before '1}}'"),
    "a name twice": (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{}}', None, "E_SAFETENSORS", None),
    "a field twice": (
        b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        68,
        "E_SAFETENSORS",
        "tensor 'a': expected dtype, shape, data_offsets, each once, got 'dtype, shape, data_offsets'",
    ),
    "a field less": (
        {"a": {"dtype": "F32", "shape": [2]}},
        None,
        "E_SAFETENSORS",
        "tensor 'a': expected dtype, shape, data_offsets, each once, got 'dtype, shape'",
    ),
    "a name of 5000 bytes": ({"n" * 5000: entry()}, None, "E_SAFETENSORS", None),
    "negative axis": ({"a": entry(shape=[-2])}, None, "E_BAD_DIMS", "tensor 'a': expected at most 64 axes of 0 or more, got [-2]"),
    "an axis that is no integer": (
        {"a": entry(shape=[2.0])},
        None,
        "E_BAD_DIMS",
        "tensor 'a': expected at most 64 axes of 0 or more, got [2.0]",
    ),
    "an axis that is true": (
        {"a": entry(shape=[True, 2])},
        None,
        "E_BAD_DIMS",
        "tensor 'a': expected at most 64 axes of 0 or more, got [True, 2]",
    ),
    "65 axes": ({"a": entry(shape=[1] * 65)}, None, "E_BAD_DIMS", None),
    "2^64 elements": (
        {"a": entry(shape=[2**32, 2**32])},
        None,
        "E_BAD_DIMS",
        "tensor 'a': shape [4294967296, 4294967296] in F32 exceeds 2^63-1 bytes",
    ),
    "offsets backwards": (
        {"a": entry(offsets=[8, 0])},
        None,
        "E_OBJ_RANGE",
        "tensor 'a': expected [begin, end] in data_offsets, got [8, 0]",
    ),
    "three offsets": (
        {"a": entry(offsets=[0, 8, 8])},
        None,
        "E_OBJ_RANGE",
        "tensor 'a': expected [begin, end] in data_offsets, got [0, 8, 8]",
    ),
    "payload cut": (
        {"a": entry(offsets=[16, 24])},
        None,
        "E_TRUNCATED",
        "tensor 'a': expected bytes up to 24 of the payload, the file has 16",
    ),
    "too few bytes": (
        {"a": entry(offsets=[0, 4])},
        None,
        "E_SIZE_SHORT",
        "tensor 'a': shape (2,) in F32 needs 8 bytes, data_offsets give 4",
    ),
    "too many bytes": (
        {"a": entry(offsets=[0, 12])},
        None,
        "E_SIZE_LONG",
        "tensor 'a': shape (2,) in F32 needs 8 bytes, data_offsets give 12",
    ),
    "overlap": (
        {"a": entry(), "b": entry(offsets=[4, 12])},
        None,
        "E_OBJ_RANGE",
        "tensor 'b': begins at byte 4, inside 'a', which ends at 8",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_header_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    header, length, code, detail = MALFORMED[case]
    path = tmp_path / "a.safetensors"
    if case in ("no length", "length cut"):
        path.write_bytes(header)
    else:
        written(path, header, bytes(16) if length is None else b"", length=length)
    for found in (scan_batch([member_place(str(path), "a")], OPTIONS)[0], list_members([str(path)], OPTIONS)[0]):
        assert isinstance(found, TensorError)
        assert found.code == code and (detail is None or found.detail == detail), found


def test_fields_in_any_order_and_blanks_anywhere(tmp_path: Path) -> None:
    header = b' { "__metadata__" : { } , "a" : { "data_offsets" : [ 0 , 8 ] , "shape" : [ 2 ] , "dtype" : "F32" } } \n '
    path = written(tmp_path / "a.safetensors", header, np.float32([1, 2]).tobytes())
    np.testing.assert_array_equal(read_tensor(path), np.float32([1, 2]))


def test_no_tensor_at_all_is_no_error(tmp_path: Path) -> None:
    assert list_members([str(written(tmp_path / "a.safetensors", b"{ }"))], OPTIONS) == [()]


def test_a_header_longer_than_one_read_is_read_once_a_file(tmp_path: Path) -> None:
    path = tmp_path / "many.safetensors"
    save_file({f"layers.{number}.weight": torch.full((2,), number) for number in range(2000)}, path)
    infos = scan_batch([member_place(str(path), f"layers.{number}.weight") for number in range(2000)], OPTIONS)
    assert [info.shape for info in infos if not isinstance(info, TensorError)] == [(2,)] * 2000
    np.testing.assert_array_equal(read_tensor(path, member="layers.1999.weight"), [1999, 1999])


def test_packed_dtypes_take_what_they_take(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", {"a": entry("F4", [4], [0, 2])}, b"\x21\x43")
    info = scan(str(path), OPTIONS)
    assert info.packed and info.nbytes == 2 and info.warnings == ("W_PACKING_ASSUMED: float4_e2m1fn, low bits first",)
    with open_payload(info) as payload:
        assert payload.piece(0, 4).tolist() == [1, 2, 3, 4]


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=60), st.integers(0, 120))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    base = json.dumps({"a": entry(), "b": entry(offsets=[8, 16])}).encode()
    text = base[:at] + junk + base[at + len(junk) :]
    path = written(tmp_path_factory.getbasetemp() / "junk.safetensors", text, bytes(16))
    (found,) = list_members([str(path)], OPTIONS)
    assert isinstance(found, TensorError | tuple)


def test_a_place_is_a_path_or_a_tensor_inside_it() -> None:
    assert member_place("/d/a.pt", "") == "/d/a.pt" and split_place("/d/a.pt") == ("/d/a.pt", "")
    assert split_place(member_place("/d/a.pt", "x\0y")) == ("/d/a.pt", "x\0y")
    assert shown_place(member_place("/d/a.pt", "x")) == "/d/a.pt:x"


@pytest.mark.parametrize("dtype", ["F7", ["F32"], None])
def test_an_unknown_dtype_costs_that_tensor_only(tmp_path: Path, dtype: object) -> None:
    path = written(tmp_path / "a.safetensors", {"a": entry(dtype), "b": entry(offsets=[8, 16])}, bytes(16))
    assert list_members([str(path)], OPTIONS) == [("a", "b")]
    bad, good = scan_batch([member_place(str(path), name) for name in "ab"], OPTIONS)
    assert isinstance(bad, TensorError) and bad.code == "E_DTYPE" and bad.detail.startswith("tensor 'a': expected one of BOOL, U8")
    assert not isinstance(good, TensorError)


def test_metadata_of_any_length_is_passed_over_in_little_memory(tmp_path: Path) -> None:
    text = json.dumps({"__metadata__": {"tags": "ü" * 2_000_000}, "a": entry()}, ensure_ascii=False).encode()
    path = written(tmp_path / "a.safetensors", text, bytes(8))
    tracemalloc.start()
    try:
        assert list_members([str(path)], OPTIONS) == [("a",)]
        assert tracemalloc.get_traced_memory()[1] < 6 * len(text)
    finally:
        tracemalloc.stop()
