"""`.pt` and `.pth` as files: every protocol and byte order, large and small, of NPUs, and those that lie."""

from __future__ import annotations

import io
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
import torch
from saved_by_torch import BOTH_FORMATS, KEPT, OPTIONS, names, save

from fastcmp.errors import TensorError
from fastcmp.formats import file_parts, place_sizes, scan, scan_batch
from fastcmp.formats import pt as pt_reader
from fastcmp.formats.file_parts import open_parts
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.malformed import Malformed
from fastcmp.formats.places import member_place
from fastcmp.formats.pt_stream import STREAM_MAGICS, read_stream
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.formats.whole import read_tensor
from fastcmp.options import ScanOptions

# --- files -------------------------------------------------------------------------------------------------------------------------------


@BOTH_FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_protocol_is_read(tmp_path: Path, protocol: int, is_zip: bool) -> None:
    value = {"a": torch.arange(3), "b": [torch.nn.Parameter(torch.ones(2)), {1: (torch.zeros(1),)}], "c": {1, 2}, "d": b"x", "e": 2**40}
    torch.save(value, tmp_path / "a.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    assert names(str(tmp_path / "a.pt")) == ("a", "b.0", "b.1.1.0")
    assert read_tensor(tmp_path / "a.pt", member="a").tolist() == [0, 1, 2]


def test_without_a_suffix_a_file_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    for number, is_zip in enumerate((True, False)):
        path = save(tmp_path / f"dumped{number}", torch.arange(3), is_zip)
        assert read_tensor(path).tolist() == [0, 1, 2]


def test_files_are_kept_as_a_whole_and_found_again(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.pt", {"a": torch.full((3,), number), "b": torch.ones(2)}) for number in range(4)]
    kept = KeptFiles()
    infos = scan_batch([member_place(path, "a") for path in paths], OPTIONS, kept)
    for number, info in enumerate(infos):
        assert isinstance(info, TensorInfo)
        at = kept.payload_place(info)
        assert kept.memory[at : at + info.nbytes].view(np.int64).tolist() == [number] * 3


def test_large_archives_are_read_here_and_there(tmp_path: Path) -> None:
    """Whose directory, pickle and local headers are in none of the pages that are read first."""
    tensors = {f"layers.{number}.weight": torch.full((300,), float(number)) for number in range(900)}
    path = save(tmp_path / "a.pt", tensors)
    for name in ("layers.0.weight", "layers.450.weight", "layers.899.weight"):
        np.testing.assert_array_equal(read_tensor(path, member=name), tensors[name].numpy())
    assert set(place_sizes([member_place(path, name) for name in tensors], OPTIONS)) == {1200}


def test_large_streams_are_read_here_and_there(tmp_path: Path) -> None:
    tensors = {f"layers.{number}.weight": torch.full((30,), float(number)) for number in range(1500)}
    path = save(tmp_path / "a.pt", tensors, is_zip=False)
    for name in ("layers.0.weight", "layers.1499.weight"):
        np.testing.assert_array_equal(read_tensor(path, member=name), tensors[name].numpy())


def test_a_big_endian_archive_is_read_swapped(tmp_path: Path) -> None:
    values = np.arange(6, dtype=">f4")
    path = pt_files.written(
        tmp_path / "a.pt", pt_files.archive(pt_files.pickled(pt_files.tensor()), {"0": values.tobytes()}, byteorder=b"big")
    )
    assert scan(path, OPTIONS).big_endian
    np.testing.assert_array_equal(read_tensor(path).ravel(), values.astype("<f4"))
    np.testing.assert_array_equal(torch.load(path, weights_only=True).ravel().numpy(), values.astype("<f4"))


def test_an_archive_without_byte_order_is_little(tmp_path: Path) -> None:
    path = pt_files.written(
        tmp_path / "a.pt", pt_files.archive(pt_files.pickled(pt_files.tensor()), {"0": np.arange(6, dtype="<f4").tobytes()}, byteorder=None)
    )
    assert read_tensor(path).ravel().tolist() == [0, 1, 2, 3, 4, 5]


# --- tensors of NPUs ---------------------------------------------------------------------------------------------------------------------

STREAM_STORAGE = pt_files.tuple_of(
    pt_files.text("storage"), pt_files.named("torch.FloatStorage"), pt_files.text("7"), pt_files.text("cpu"), pt_files.integer(6), b"N"
)

NPU_FORMATS = {
    "a bool": pt_files.TRUE,
    "ND": pt_files.integer(2),
    "NCHW": pt_files.integer(0),
    "Format.ND": pt_files.call("torch_npu.npu._format.Format", pt_files.integer(2)),
}


@pytest.mark.parametrize("kind", NPU_FORMATS)
def test_what_torch_npu_saved_is_read_without_it(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torch, with a stand-in for torch_npu that does what its function does where there is no NPU."""
    pickle = pt_files.pickled(pt_files.npu_tensor(NPU_FORMATS[kind], shape=(2, 2), strides=(1, 3), first=1))
    path = pt_files.written(tmp_path / "a.pt", pt_files.archive(pickle, {"0": np.arange(6, dtype="<f4").tobytes()}))

    def rebuild(storage: Any, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any, npu_format: Any) -> torch.Tensor:
        return torch.tensor([], dtype=storage.dtype).set_(storage._untyped_storage, offset, size, stride)

    for name in ("torch_npu", "torch_npu.utils", "torch_npu.utils.storage", "torch_npu.npu", "torch_npu.npu._format"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["torch_npu.utils.storage"], "_rebuild_npu_tensor", rebuild, raising=False)
    monkeypatch.setattr(sys.modules["torch_npu.npu._format"], "Format", int, raising=False)
    expected = torch.load(path, weights_only=False, map_location="cpu")
    np.testing.assert_array_equal(read_tensor(path), expected.numpy())
    assert expected.tolist() == [[1, 4], [2, 5]]


def test_what_torch_npu_saved_as_a_stream_is_read(tmp_path: Path) -> None:
    """As its own `save` did for a long time, with whole storages or views of them."""
    for view in (b"N", pt_files.tuple_of(pt_files.text("8"), pt_files.integer(0), pt_files.integer(6))):
        of = STREAM_STORAGE[:-2] + view + b"tQ"
        value = pt_files.tensor(of=of, function="torch_npu.utils.storage._rebuild_npu_tensor", more=(pt_files.integer(2),))
        storages = (6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()
        path = pt_files.written(tmp_path / "a.pt", pt_files.stream(pt_files.pickled(value), pt_files.list_of(pt_files.text("7")), storages))
        assert read_tensor(path).tolist() == [[0, 1, 2], [3, 4, 5]]


NPU_METADATA = {
    "origin_format_/NCHW": True, "npu_format_/NCHW": True, "base_sizes_/2/3/": True, "base_strides_/3/1/": True, "storage_sizes_/2/3/": True,
}  # fmt: skip


def with_metadata(metadata: dict[str, bool]) -> bytes:
    pairs = [(pt_files.text(key), pt_files.TRUE if value else pt_files.FALSE) for key, value in metadata.items()]
    return pt_files.archive(pt_files.pickled(pt_files.tensor(more=(pt_files.dict_of(*pairs),))), {"0": np.arange(6, dtype="<f4").tobytes()})


def test_the_description_of_an_npu_storage_in_the_metadata_is_understood(tmp_path: Path) -> None:
    path = pt_files.written(tmp_path / "a.pt", with_metadata(NPU_METADATA))
    assert read_tensor(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    pt_files.written(tmp_path / "a.pt", with_metadata({"origin_format_/NHWC": True, "npu_format_/NHWC": True, "conj": False}))
    assert read_tensor(path).tolist() == [[0, 1, 2], [3, 4, 5]]


PRIVATE = {
    "FRACTAL_NZ by number": (
        pt_files.archive(pt_files.pickled(pt_files.npu_tensor(pt_files.integer(29)))),
        "in the memory format 'FRACTAL_NZ'",
    ),
    "NC1HWC0 by enum": (
        pt_files.archive(pt_files.pickled(pt_files.npu_tensor(pt_files.call("torch_npu.npu._format.Format", pt_files.integer(3))))),
        "in the memory format 'NC1HWC0'",
    ),
    "a number of no format": (
        pt_files.archive(pt_files.pickled(pt_files.npu_tensor(pt_files.integer(999)))),
        "in the memory format 'code 999'",
    ),
    "FRACTAL_NZ in the metadata": (with_metadata(NPU_METADATA | {"npu_format_/FRACTAL_NZ": True}), "in the memory format 'FRACTAL_NZ'"),
    "NHWC that was NCHW": (with_metadata({"origin_format_/NCHW": True, "npu_format_/NHWC": True}), "in the memory format 'NHWC'"),
    "metadata of another device": (with_metadata({"swizzled": True}), "metadata 'swizzled' of a tensor, whose meaning is not known"),
}


@pytest.mark.parametrize("case", PRIVATE)
def test_private_formats_are_refused_and_never_misread(tmp_path: Path, case: str) -> None:
    content, reason = PRIVATE[case]
    with pytest.raises(TensorError, match=re.escape(reason)) as error:
        scan(pt_files.written(tmp_path / "a.pt", content), OPTIONS)
    assert error.value.code == "E_TENSOR_KIND" and str(error.value).endswith("; save what .cpu() gives [E_TENSOR_KIND]")


# --- files that lie ----------------------------------------------------------------------------------------------------------------------


def made_of(value: bytes, **rest: Any) -> bytes:
    return pt_files.archive(pt_files.pickled(value), **rest)


def saved(value: object, is_zip: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


def stream(*, version: int = 1001, keys: bytes | None = None, count: int = 6) -> bytes:
    keys = pt_files.list_of(pt_files.text("7")) if keys is None else keys
    pickle = pt_files.pickled(pt_files.tensor(of=STREAM_STORAGE + b"Q"))
    return pt_files.stream(pickle, keys, count.to_bytes(8, "little") + bytes(24), version)


VERSION_BOMB = b"\x80\x02" + STREAM_MAGICS[0][2:] + b"\x80\x02K\x01\x85" + b"2\x86" * 31 + b"." + b"\x80\x02}.\x80\x02N.\x80\x02]."
METADATA = pt_files.dict_of(*[(pt_files.text("conj"), pt_files.FALSE)] * 64)
METADATA_BOMB = made_of(
    pt_files.named("torch._utils._rebuild_tensor_v2") + b"q\x000" + pt_files.tuple_of(pt_files.storage(), *[pt_files.integer(0)], b"))\x89N" + METADATA)
    + b"q\x010(" + b"h\x00h\x01R0" * 100_000 + b"t"
)  # fmt: skip
KEY_BOMB = made_of(pt_files.dict_of((b"(" + pt_files.text("x" * 100_000) + b"q\x01" + b"h\x01" * 63 + b"t", pt_files.tensor())))

LIES = [
    ("empty", b"", "E_EMPTY_FILE", "the file is empty"),
    ("other kind", b"\x93NUMPY\x01\0", "E_BAD_MAGIC", r"byte 0: expected the zip archive that torch.save writes, got b'\x93NUM'"),
    ("one byte", b"P", "E_BAD_MAGIC", "got b'P'"),
    ("a plain pickle", b"\x80\x04K\x01.", "E_BAD_MAGIC", r"got b'\x80\x04K\x01'"),
    ("tar", b"storages".ljust(257, b"\0") + b"ustar\x0000" + bytes(300), "E_BAD_MAGIC", "byte 0: a tar archive, as torch wrote until 2017"),
    ("no pickle", pt_files.archive(b"", directory="x").replace(b"data.pkl", b"data.pkx"), "E_PICKLE", "expected a member data.pkl, as torch.save writes it, the archive has b'x/data.pkx'"),
    ("empty pickle", pt_files.archive(b""), "E_PICKLE", "data.pkl: byte 0: the pickle does not end here"),
    ("bytes behind it", pt_files.archive(pt_files.pickled(pt_files.tensor()) + b"x"), "E_PICKLE", "1 bytes follow the pickle"),
    ("no storage", made_of(pt_files.tensor(), storages={}), "E_ZIP", "the archive has no member b'made/data/0', which holds the elements"),
    ("storage too short", made_of(pt_files.tensor(), storages={"0": bytes(20)}), "E_SIZE_SHORT", "member b'made/data/0' has 20 bytes, its storage needs 24"),
    ("storage too long", made_of(pt_files.tensor(), storages={"0": bytes(28)}), "E_SIZE_LONG", "member b'made/data/0' has 28 bytes, its storage needs 24"),
    ("byte order", made_of(pt_files.tensor(), byteorder=b"middle"), "E_ZIP", "member b'made/byteorder': expected little or big, got b'middle'"),
    ("byte order of a megabyte", made_of(pt_files.tensor(), byteorder=bytes(2**20)), "E_ZIP", "has 1048576 bytes, expected at most 64"),
    ("last element outside", made_of(pt_files.tensor((2, 3), (4, 1))), "E_OBJ_RANGE", "shape (2, 3) with strides (4, 1) from element 0 in float32 ends at byte 28 of a storage of 24"),
    ("offset outside", made_of(pt_files.tensor(first=1)), "E_OBJ_RANGE", "from element 1 in float32 ends at byte 28 of a storage of 24"),
    ("offset of 2^63", made_of(pt_files.tensor(first=2**63)), "E_BAD_DIMS", "exceeds 2^63-1 bytes"),
    ("negative axis", made_of(pt_files.tensor((-1, 3))), "E_BAD_DIMS", "expected numbers of 0 or more as shape of a tensor, got (-1, 3)"),
    ("negative stride", made_of(pt_files.tensor((2, 3), (-3, 1))), "E_BAD_DIMS", "expected numbers of 0 or more as strides of a tensor, got (-3, 1)"),
    ("65 axes", made_of(pt_files.tensor((1,) * 65, (1,) * 65)), "E_BAD_DIMS", "expected at most 64 numbers as shape of a tensor, got 65"),
    ("axes without strides", made_of(pt_files.tensor((2, 3), (1,))), "E_BAD_DIMS", "shape (2, 3) has another number of axes than strides (1,)"),
    ("2^80 elements", made_of(pt_files.tensor((2**40, 2**40), (0, 0))), "E_BAD_DIMS", "shape (1099511627776, 1099511627776) with strides (0, 0) in float32 exceeds 2^63-1 bytes"),
    ("no element of 2^71", made_of(pt_files.tensor((2**31, 2**40, 0), (0, 0, 0))), "E_BAD_DIMS", "exceeds 2^63-1 bytes"),
    ("expanded without end", made_of(pt_files.tensor((2**30,), (0,))), "E_BAD_DIMS", "1 stored elements are expanded to shape (1073741824,), more than 65536 times as many"),
    ("bare list of no tensors", made_of(pt_files.list_of()), "E_MEMBER", "expected the name of one tensor, the file holds 0"),
    ("complex32 swapped", made_of(pt_files.tensor(of=pt_files.storage(kind="torch.storage.UntypedStorage", numel=24), function="torch._utils._rebuild_tensor_v3", more=(pt_files.named("torch.complex32"),)), byteorder=b"big"), "E_DTYPE", "complex32 of a big-endian machine"),
    ("stream cut in a pickle", saved(torch.ones(3), False)[:100], "E_TRUNCATED", "the pickle ends"),
    ("stream cut in a storage", saved(torch.ones(3), False)[:-1], "E_TRUNCATED", "the file ends 1 bytes before its last storage does"),
    ("stream of another version", stream(version=1002), "E_PICKLE", "expected version 1001 of the format of torch.save, got 1002"),
    ("stream whose version is a bomb", VERSION_BOMB, "E_PICKLE", "expected version 1001 of the format of torch.save, got tuple"),
    ("metadata without end", METADATA_BOMB, "E_PICKLE", "the pickle takes more than 6000000 operations"),
    ("much metadata", made_of(pt_files.tensor(more=(pt_files.dict_of(*[(pt_files.text("conj"), pt_files.FALSE)] * 65),))), "E_TENSOR_KIND", "65 values as metadata of a tensor, expected at most 64"),
    ("a tuple of one long text as key", KEY_BOMB, "E_PICKLE", "the name of a tensor has 6400000 characters or more"),
    ("stream without keys", stream(keys=pt_files.NONE), "E_PICKLE", "expected the list of the storages before, each once"),
    ("stream with a key twice", stream(keys=pt_files.list_of(pt_files.text("7"), pt_files.text("7"))), "E_PICKLE", "expected the list of the storages before, each once"),
    ("stream with a strange key", stream(keys=pt_files.list_of(pt_files.text("8"))), "E_PICKLE", "storage '8' follows, which no tensor has"),
    ("stream without a storage", stream(keys=pt_files.LIST), "E_PICKLE", "storage '7' is not among those of the file"),
    ("stream with another count", stream(count=5), "E_SIZE_SHORT", "expected a storage of 6 elements, got one of 5"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in LIES])
def test_a_file_that_lies_is_refused_with_what_was_found(tmp_path: Path, content: bytes, code: str, message: str) -> None:
    path = pt_files.written(tmp_path / "a.pt", content)
    for kept in (None, KEPT):
        (found,) = scan_batch([path], OPTIONS, kept)
        assert isinstance(found, TensorError) and found.code == code and message in found.detail, found


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_program_is_no_dump(tmp_path: Path) -> None:
    path = str(tmp_path / "a.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(TensorError, match=r"a program of torch\.jit\.save or torch\.export, expected tensors of torch\.save.*E_PICKLE"):
        scan(path, OPTIONS)


@BOTH_FORMATS
def test_every_prefix_is_an_error_and_never_a_tensor(tmp_path: Path, is_zip: bool) -> None:
    whole = saved({"a": torch.arange(6.0), "b": torch.zeros(0)}, is_zip)
    for size in range(len(whole)):
        path = pt_files.written(tmp_path / "a.pt", whole[:size])
        with pytest.raises(TensorError):
            scan(member_place(path, "a"), OPTIONS)


def test_pickles_are_remembered_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{number}.pt", torch.ones(number + 1)) for number in range(20)]
    shapes = [(number + 1,) for number in range(20)]
    for limit, most in ((2**20, 20), (4000, 8), (10, 0)):
        monkeypatch.setattr(pt_reader, "_known", {})
        monkeypatch.setattr(pt_reader, "_known_bytes", [0])
        monkeypatch.setattr(pt_reader, "_KNOWN_BYTES", limit)
        for _ in range(2):
            assert [scan(path, OPTIONS).shape for path in paths] == shapes
        assert len(pt_reader._known) <= most and pt_reader._known_bytes[0] <= limit


@BOTH_FORMATS
def test_a_file_of_many_tensors_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip: bool) -> None:
    monkeypatch.setattr(pt_reader, "_known", {})
    monkeypatch.setattr(file_parts, "_last", {})
    calls: list[int] = []
    name = "_tensors_of" if is_zip else "read_stream"
    parse = getattr(pt_reader, name)
    monkeypatch.setattr(pt_reader, name, lambda *arguments: calls.append(1) or parse(*arguments))
    one = save(tmp_path / "a.pt", {str(number): torch.full((500,), number) for number in range(300)}, is_zip)
    two = save(tmp_path / "b.pt", {str(number): torch.full((500,), -number) for number in range(300)}, is_zip)
    for number in range(0, 300, 60):
        for path, sign in ((one, 1), (two, -1)):
            assert read_tensor(path, member=str(number))[7] == sign * number
    assert len(calls) == 2
    save(tmp_path / "a.pt", {str(number): torch.full((500,), 7) for number in range(300)}, is_zip)
    assert read_tensor(one, member="60")[0] == 7 and len(calls) == 3


def test_pickles_of_a_stream_are_bounded(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"text": "x" * 300_000, "value": torch.ones(1)}, is_zip=False)
    with pytest.raises(Malformed, match="the pickles take more than 100000 bytes"):
        read_stream(next(open_parts([path], OPTIONS, None)), 100_000)
    assert read_tensor(path).tolist() == [1]


def test_only_files_in_the_roots_are_opened(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    tensors = {f"{number}": torch.full((9000,), float(number)) for number in range(40)}
    save(inside / "a.pt", tensors)
    save(tmp_path / "b.pt", tensors)
    (inside / "link.pt").symlink_to(tmp_path / "b.pt")
    options = ScanOptions(roots=(str(inside),))
    assert scan(member_place(str(inside / "a.pt"), "20"), options).shape == (9000,)
    for name, code in (("inside/link.pt", "E_LINK_OUTSIDE"), ("b.pt", "E_PATH_OUTSIDE")):
        with pytest.raises(TensorError, match=code):
            scan(member_place(str(tmp_path / name), "20"), options)


def test_a_file_that_changes_meanwhile_is_no_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.pt", [torch.ones(200_000), torch.ones(3)])
    read = file_parts.read_unchanged

    def change_then_read(*arguments: Any) -> bytes:
        save(tmp_path / "a.pt", [torch.zeros(200_000), torch.ones(3)])
        return read(*arguments)

    monkeypatch.setattr(file_parts, "read_unchanged", change_then_read)
    with pytest.raises(TensorError, match="E_CHANGED"):
        scan(member_place(path, "1"), OPTIONS)
