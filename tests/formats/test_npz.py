"""`.npz`: against numpy, and archives whose members are not what they should be."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fastcmp.errors import TensorError
from fastcmp.formats import list_members, scan, scan_batch
from fastcmp.formats.kept_files import SMALL_BYTES, KeptFiles
from fastcmp.formats.places import member_place
from fastcmp.formats.whole import read_tensor
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()
KINDS = ["?", "i1", "<i2", ">i4", "<i8", "u1", ">u2", "<u4", "<u8", "<f2", ">f4", "<f8", "<c8", ">c16"]


@pytest.mark.parametrize("layout", ["C", "F"])
def test_arrays_are_what_numpy_loads(tmp_path: Path, layout: str) -> None:
    arrays = {f"kind {kind}": np.asarray(np.arange(24).reshape(2, 3, 4), dtype=kind, order=layout) for kind in KINDS}
    arrays |= {
        "scalar": np.float32(3),
        "empty": np.zeros((0, 3)),
        "ümläut/deep": np.arange(3),
        "large": np.arange(100_000.0),
        "last": np.arange(5),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    path = str(tmp_path / "a.npz")
    assert list_members([path], OPTIONS) == [tuple(arrays)]
    with np.load(path) as theirs:
        for name in arrays:
            found = read_tensor(path, member=name)
            np.testing.assert_array_equal(found, theirs[name])
            assert found.dtype == theirs[name].dtype.newbyteorder("=")


def test_bfloat16_of_ml_dtypes_is_bfloat16(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(3, ml_dtypes.bfloat16))
    assert scan(str(tmp_path / "a.npz"), OPTIONS).dtype == "bfloat16"


def test_one_array_needs_no_name_and_no_suffix(tmp_path: Path) -> None:
    with (tmp_path / "dumped").open("wb") as file:
        np.savez(file, np.arange(3))
    assert list_members([str(tmp_path / "dumped")], OPTIONS) == [("arr_0",)]
    assert read_tensor(tmp_path / "dumped").tolist() == [0, 1, 2]


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"statedX[1]": np.arange(3)})
    content = (tmp_path / "a.npz").read_bytes().replace(b"statedX", b"stated\0")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(TensorError, match=r"member b'stated.x00\[1\]\.npy': expected a name without a NUL.*E_ZIP"):
        scan(str(tmp_path / "a.npz"), OPTIONS)


def test_a_file_that_is_no_longer_kept_is_not_found_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npz")
    np.savez(path, a=np.zeros(3))
    kept = KeptFiles()
    assert kept.payload_place(scan_batch([path], OPTIONS, kept)[0]) >= 0
    np.savez(path, a=np.ones(3), b=np.ones(SMALL_BYTES))
    assert kept.payload_place(scan_batch([member_place(path, "a")], OPTIONS, kept)[0]) == -1


def test_small_archives_are_kept_as_a_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.arange(4))
    kept = KeptFiles()
    for info in scan_batch([member_place(str(tmp_path / "a.npz"), name) for name in "ab"], OPTIONS, kept):
        assert not isinstance(info, TensorError)
        at = kept.payload_place(info)
        assert kept.memory[at : at + info.nbytes].view(np.int64).tolist() == list(range(info.shape[0]))


@pytest.mark.parametrize(("member", "wanted"), [("", "the name of one tensor, the file holds 2 ('a', 'b' ...)"), ("c", "a tensor 'c'")])
def test_an_array_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, member: str, wanted: str) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.arange(4))
    with pytest.raises(TensorError, match=re.escape(f"expected {wanted}")) as error:
        scan(member_place(str(tmp_path / "a.npz"), member), OPTIONS)
    assert error.value.code == "E_MEMBER"


def array(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in members:
            made.writestr(name, content)
    return file.getvalue()


PLAIN = array(np.arange(3.0))
LIES = [
    ("other kind", PLAIN, "E_ZIP", r"byte 0: expected b'PK\x03\x04', the beginning of a zip archive, got b'\x93NUM'"),
    ("no array", archive(("a.txt", b"1")), "E_ZIP", "member b'a.txt': expected the name of a .npy file, as np.savez writes it"),
    ("two of one name", archive(("a.npy", PLAIN), ("b.npy", PLAIN)).replace(b"b.npy", b"a.npy"), "E_ZIP", "the directory has a name twice"),
    ("a name that is none", archive(("\xfca.npy", PLAIN)).replace("\xfca".encode(), b"\xff\xfea"), "E_ZIP", "expected a name in UTF-8"),
    ("cut", archive(("a.npy", PLAIN))[:-5], "E_TRUNCATED", "expected the end record of a zip archive"),
    ("deflated", archive(("a.npy", PLAIN), method=zipfile.ZIP_DEFLATED), "E_COMPRESSED", "is deflated, expected its bytes as they are; save it by np.savez instead of np.savez_compressed"),
    ("empty member", archive(("a.npy", b"")), "E_TRUNCATED", "member b'a.npy': byte 0: it ends inside its header, expected 8 bytes"),
    ("cut header", archive(("a.npy", PLAIN[:60])), "E_TRUNCATED", "member b'a.npy': byte 60: it ends inside its header, expected 128 bytes"),
    ("cut payload", archive(("a.npy", PLAIN[:-1]), ("b.npy", PLAIN)), "E_TRUNCATED", "shape (3,) in float64 needs 24 bytes, the file has 23 left"),
    ("pickled objects", archive(("a.npy", array(np.array([{}, 1])))), "E_NPY_PICKLE", "member b'a.npy': descr: expected a number, got '|O', pickled objects"),
    ("text", archive(("a.npy", array(np.array(["a"])))), "E_NPY_KIND", "expected a plain number such as '<f4', got '<U1'"),
    ("no header", archive(("a.npy", b"x" * 200)), "E_BAD_MAGIC", r"member b'a.npy': byte 0: expected b'\x93NUMPY', got b'xxxxxx'"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in LIES])
def test_a_file_that_lies_is_refused_with_what_was_found(tmp_path: Path, content: bytes, code: str, message: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    (found,) = scan_batch([member_place(str(path), "a")], OPTIONS)
    assert isinstance(found, TensorError) and found.code == code and message in found.detail, found


def test_one_text_in_two_encodings_is_one_name_for_two_arrays(tmp_path: Path) -> None:
    """In UTF-8 as is said in the directory, and in the code page that names without a word are in."""
    content = archive(("\xfc.npy", PLAIN), ("x.npy", PLAIN)).replace(b"x.npy", b"\x81.npy")
    (tmp_path / "a.npz").write_bytes(content)
    (found,) = list_members([str(tmp_path / "a.npz")], OPTIONS)
    assert isinstance(found, TensorError) and (found.code, found.detail) == ("E_ZIP", "two arrays have the name 'ü'")


def test_bytes_behind_an_array_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(archive(("a.npy", PLAIN + b"tail")))
    assert scan(str(tmp_path / "a.npz"), OPTIONS).warnings == ("W_TRAILING: 4 bytes follow the payload",)


def test_a_long_header_is_read_as_a_whole(tmp_path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".ljust(5000) + "\n"
    member = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode() + np.arange(6, dtype="<f4").tobytes()
    (tmp_path / "a.npz").write_bytes(archive(("a.npy", member), ("b.npy", array(np.zeros(20_000)))))
    assert read_tensor(tmp_path / "a.npz", member="a").ravel().tolist() == [0, 1, 2, 3, 4, 5]
