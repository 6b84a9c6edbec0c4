from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.errors import TensorError
from fastcmp.formats import TensorInfo, scan
from fastcmp.formats import npy as npy_reader
from fastcmp.options import ScanOptions

STRICT = ScanOptions()


def saved(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def framed(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = text.encode("latin-1")
    return b"\x93NUMPY" + version + len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little") + header + data


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def scan_bytes(folder: Path, content: bytes) -> TensorInfo:
    path = folder / "tensor.npy"
    path.write_bytes(content)
    return scan(str(path), STRICT)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "b1"])
def test_what_numpy_saves_is_read(tmp_path: Path, kind: str, order: str) -> None:
    array = np.zeros((2, 3), order + kind)
    info = scan_bytes(tmp_path, saved(array))
    assert info.dtype == array.dtype.newbyteorder("=").name
    assert (info.shape, info.data_offset, info.nbytes, info.strides) == ((2, 3), 128, array.nbytes, None)
    assert info.big_endian == (array.itemsize > 1 and order == ">")


def test_bfloat16_of_ml_dtypes_is_bfloat16(tmp_path: Path) -> None:
    assert scan_bytes(tmp_path, saved(np.zeros(3, ml_dtypes.bfloat16))).dtype == "bfloat16"


def test_fortran_order_is_strides_only_where_it_matters(tmp_path: Path) -> None:
    assert scan_bytes(tmp_path, saved(np.zeros((2, 3, 4), order="F"))).strides == (1, 2, 6)
    for shape in ("(5,)", "()", "(1, 5)", "(5, 1, 1)", "(0, 3)"):
        size = 0 if "0" in shape else 4 if shape == "()" else 20
        assert scan_bytes(tmp_path, framed(described(order="True", shape=shape), b"\0" * size)).strides is None


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_three_versions_and_long_headers_are_read(tmp_path: Path, version: bytes) -> None:
    info = scan_bytes(tmp_path, framed(described()[:-1] + " " * 5000 + "\n", b"\0" * 24, version))
    assert (info.shape, info.nbytes) == ((2, 3), 24)


def test_trailing_bytes_are_a_warning(tmp_path: Path) -> None:
    assert scan_bytes(tmp_path, saved(np.zeros(3)) + b"tail").warnings == ("W_TRAILING: 4 bytes follow the payload",)


def zip_bytes() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", b"")
    return file.getvalue()


BAD = [
    ("empty", b"", "E_EMPTY_FILE", "the file is empty"),
    ("zip", zip_bytes(), "E_BAD_MAGIC", r"byte 0: expected b'\x93NUMPY', got b'PK"),
    ("version 9.9", framed(described(), version=b"\x09\x09"), "E_NPY_VERSION", "byte 6: expected version 1.0, 2.0 or 3.0, got 9.9"),
    ("long", framed(described()[:-1] + " " * 9990), "E_NPY_HEADER", "expected a header of at most 10000 bytes"),
    ("huge length", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "E_NPY_HEADER", "got 4294967295"),
    ("objects", framed(described("'|O'")), "E_NPY_PICKLE", "got '|O', pickled objects"),
    ("structured", framed(described("[('a', '<f4')]")), "E_NPY_KIND", "got a structured dtype"),
    *((f"kind {descr}", framed(described(f"'{descr}'")), "E_NPY_KIND", f"got '{descr}'")
      for descr in ("|V1", "|V2", "<V4", "<U8", "|S3", "<M8[s]", "<f16", "<f1", "f4", "|f4", "=f4", ">V2", "")),
    ("deep", framed(described(shape="(" * 4000 + ")" * 4000)), "E_NPY_HEADER", "expected an integer, got '('"),
    ("duplicate", framed("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': ()}"), "E_NPY_HEADER", "byte 27: expected descr, fortran_order and shape, each once"),
    ("extra key", framed("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}"), "E_NPY_HEADER", "each once, got \"'x'\""),
    ("missing key", framed("{'descr': '<f4', 'shape': ()}"), "E_NPY_HEADER", "got descr, shape"),
    ("nothing", framed(""), "E_NPY_HEADER", "expected '{', got the end of the header"),
    ("call", framed(described(shape="__import__('os').system('true')")), "E_NPY_HEADER", "got '_'"),
    ("product", framed(described(shape="(2*3,)")), "E_NPY_HEADER", "got '*'"),
    ("no tuple", framed(described(shape="(3)")), "E_NPY_HEADER", "a tuple of one"),
    ("number", framed(described(shape="3")), "E_NPY_HEADER", "a tuple of integers, got '3'"),
    ("underscore", framed(described(shape="(1_0,)")), "E_NPY_HEADER", "expected ',' or ')', got '_'"),
    ("escape", framed(described("'<f\\x34'")), "E_NPY_HEADER", "expected a string"),
    ("order", framed(described(order="1")), "E_NPY_HEADER", "True, False or a tuple of integers, got '1'"),
    ("order is text", framed(described(order="'True'")), "E_NPY_HEADER", "True or False as fortran_order"),
    ("after", framed(described() + "x"), "E_NPY_HEADER", "got 'x'"),
    *((f"blank {blank!a}", framed(described().replace(", ", f",{blank}")), "E_NPY_HEADER", f"got {blank!r}") for blank in "\t\r\f\x1d\xa0"),
    ("blanks before", framed("\n " + described()), "E_NPY_HEADER", "expected a header that begins with '{' and ends in a line feed"),
    ("blanks behind", framed(described() + " "), "E_NPY_HEADER", "expected a header that begins with '{' and ends in a line feed"),
    ("negative", framed(described(shape="(-1,)")), "E_BAD_DIMS", "expected at most 64 axes of 0 or more, got (-1,)"),
    ("65 axes", framed(described(shape=f"({'1,' * 65})")), "E_BAD_DIMS", "at most 64 axes"),
    ("overflow", framed(described(shape="(4294967296, 4294967296)")), "E_BAD_DIMS", "exceeds 2^63-1 bytes"),
    ("20 digits", framed(described(shape="(18446744073709551616,)")), "E_BAD_DIMS", "below 2^63"),
    ("cut", saved(np.zeros(3, "f4"))[:-1], "E_TRUNCATED", "byte 128: shape (3,) in float32 needs 12 bytes, the file has 11 left"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_file_has_its_code_and_says_what_was_found(tmp_path: Path, content: bytes, code: str, message: str) -> None:
    with pytest.raises(TensorError, match=re.escape(message)) as caught:
        scan_bytes(tmp_path, content)
    assert caught.value.code == code


class _Bomb:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def test_a_pickle_bomb_is_refused_and_does_not_go_off(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    content = saved(np.array([_Bomb(str(marker))], dtype=object), allow_pickle=True)
    pickle.loads(content[128:])  # the bomb is a real one
    marker.rmdir()
    with pytest.raises(TensorError, match="E_NPY_PICKLE"):
        scan_bytes(tmp_path, content)
    assert not marker.exists()


@pytest.mark.parametrize("whole", [saved(np.zeros((2, 3))), saved(np.zeros((0, 3))), framed(described(), b"\0" * 24, b"\x02\x00")])
def test_every_prefix_is_an_error_and_never_a_tensor(tmp_path: Path, whole: bytes) -> None:
    for size in range(len(whole)):
        with pytest.raises(TensorError, match="E_TRUNCATED" if size else "E_EMPTY_FILE"):
            scan_bytes(tmp_path, whole[:size])


HEADER_PIECES = st.sampled_from(
    ["{", "}", "(", ")", ",", ":", " ", "\n", "'descr'", '"shape"', "'shape'", "'fortran_order'", "'<f4'", "'>i8'", "'|u1'", "True", "False",
     "0", "1", "2", "3", "12", "-1", "007", "2L", "#", "[", "]", "\\", "'", "None"]
)  # fmt: skip


def edited(edits: list[tuple[int, str]], base: str) -> str:
    tokens = re.findall(r"'[^']*'|\w+|.|\n", base)
    for position, token in edits:
        tokens[position % len(tokens)] = token
    return "".join(tokens)


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.one_of(
        st.lists(HEADER_PIECES, max_size=24).map("".join),
        st.builds(
            edited,
            st.lists(st.tuples(st.integers(0, 40), HEADER_PIECES), max_size=3),
            st.sampled_from([described(), described("'>i8'", "True", "(3,)")]),
        ),
    ),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
@example(text=described(), version=(1, 0))
@example(text="{'shape':(2,3),'fortran_order':True,\"descr\":'>i8'}", version=(2, 0))
def test_what_is_accepted_means_the_same_to_numpy(tmp_path: Path, text: str, version: tuple[int, int]) -> None:
    content = framed(text, b"\0" * 512, bytes(version))
    try:
        info = scan_bytes(tmp_path, content)
    except TensorError:
        return
    file = io.BytesIO(content if version < (3, 0) else content.replace(b"Y\x03", b"Y\x02", 1))  # the text is ASCII in all three
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = read[np.lib.format.read_magic(file)](file)
    assert info.shape == shape
    assert info.dtype == dtype.newbyteorder("=").name
    assert info.big_endian == (dtype.byteorder == ">")
    assert info.data_offset == file.tell()
    assert info.nbytes == dtype.itemsize * int(np.prod(shape, dtype=object))
    assert (info.strides is not None) == (fortran and sum(extent > 1 for extent in shape) > 1 and 0 not in shape)


def test_what_numpy_saves_is_never_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for _ in range(60):
        shape = tuple(int(extent) for extent in random.integers(0, 4, random.integers(0, 6)))
        array = np.asarray(random.integers(0, 2, shape), random.choice(["<f4", ">f8", "<i2", "|b1"]))
        info = scan_bytes(tmp_path, saved(np.asarray(array, order="F" if random.integers(2) else "C")))
        assert (info.shape, info.nbytes) == (shape, array.nbytes)


def test_remembered_headers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_reader, "_KNOWN_LIMIT", 5)
    monkeypatch.setattr(npy_reader, "_known", {})
    for length in range(20):
        assert scan_bytes(tmp_path, saved(np.zeros(length))).shape == (length,)
    assert 1 <= len(npy_reader._known) <= 5
