"""What may be handed in, and that the file holds its exact value."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from dump_reading import forget_session, metadata_of, saved, side_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tries import examples

from fastcmp.dump import dump_counters, dump_data, npy_file
from fastcmp.dump_layout import read_journal

PLAIN = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", ">f4", ">i8", ">c8", ">f2"]


def every_bfloat16() -> np.ndarray[Any, Any]:
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


def dtypes_file(base: Path) -> str:
    path = side_of(base) / "dtypes.json"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("dtype", PLAIN)
def test_every_plain_dtype_is_saved_in_its_own_dtype(own_dump: Path, dtype: str) -> None:
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    dump_data("golden", 0, array)
    assert saved(own_dump).dtype == array.dtype and np.array_equal(saved(own_dump), array)
    assert read_journal(str(side_of(own_dump) / "journal.jsonl")).entries[0].dtype == array.dtype.name
    assert not (side_of(own_dump) / "dtypes.json").exists()


ARRAYS = hnp.arrays(
    dtype=st.sampled_from([np.dtype(name) for name in PLAIN]), shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=ARRAYS, data=st.data())
def test_any_strides_are_saved_as_their_contiguous_value(own_dump: Path, array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    view = array.transpose(data.draw(st.permutations(range(array.ndim))))
    view = view[tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))) for _ in range(view.ndim))]
    if data.draw(st.booleans()):
        view = np.broadcast_to(view, (2, *view.shape))
    dump_data("golden", 0, view)
    assert saved(own_dump).shape == view.shape and saved(own_dump).dtype == view.dtype
    assert saved(own_dump).tobytes() == np.ascontiguousarray(view).tobytes()


def test_a_scattered_array_larger_than_the_buffer_is_saved_whole(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_file, "GATHER_BYTES", 1000)
    array = np.arange(30 * 40 * 5, dtype=">i4").reshape(30, 40, 5)[::-1, ::2]
    dump_data("golden", 0, array)
    dump_data("golden", 1, array.astype(ml_dtypes.bfloat16)[::2])
    assert np.array_equal(saved(own_dump), array)
    assert saved(own_dump, 1).tobytes() == np.ascontiguousarray(array.astype(ml_dtypes.bfloat16)[::2]).tobytes()


@pytest.mark.parametrize(
    "array", [np.arange(30.0).reshape(5, 6), np.arange(30.0).reshape(5, 6).T, every_bfloat16().view("V2"), np.array(3.0)]
)
def test_a_large_array_has_the_bytes_of_a_small_one(own_dump: Path, monkeypatch: pytest.MonkeyPatch, array: Any) -> None:
    dump_data("golden", "small", array)
    monkeypatch.setattr(npy_file, "PREALLOCATE_BYTES", 1)
    dump_data("golden", "large", array)
    small, large = (own_dump / metadata_of(side_of(own_dump))[data_id]["0"] for data_id in ("small", "large"))
    assert small.read_bytes() == large.read_bytes()


def test_a_write_that_the_system_cuts_short_is_continued(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_writev, real_write = npy_file.os.writev, npy_file.os.write
    monkeypatch.setattr(
        npy_file.os, "writev", lambda file, parts: real_write(file, memoryview(parts[0])[:50] or memoryview(parts[1]).cast("B")[:7])
    )
    monkeypatch.setattr(npy_file.os, "write", lambda file, data: real_write(file, data[:1000]))
    array = np.arange(2000.0)
    npy_file_directory = npy_file.os.open(own_dump, npy_file.os.O_RDONLY)
    size = npy_file.write_npy("a.npy", array, "<f8", npy_file_directory)
    monkeypatch.setattr(npy_file.os, "writev", real_writev)
    npy_file.os.close(npy_file_directory)
    assert np.array_equal(np.load(own_dump / "a.npy"), array) and size == (own_dump / "a.npy").stat().st_size


class Subclass(np.ndarray):
    """An array of a class of its own."""


@pytest.mark.parametrize(
    "value",
    [
        np.float32(3),
        np.arange(3.0).view(Subclass),
        np.ma.masked_array([1.0, 2.0], mask=[False, True]),
        np.frombuffer(b"\1\2\3", np.uint8),
        np.zeros((0, 3)),
        np.array(5),
    ],
    ids=["scalar", "subclass", "masked", "read-only", "empty", "0-d"],
)
def test_scalars_subclasses_and_read_only_arrays_are_saved(own_dump: Path, value: Any) -> None:
    dump_data("golden", 0, value)
    assert saved(own_dump).shape == value.shape and np.array_equal(saved(own_dump), np.asarray(value))


class OnlyArray:
    """What pandas, JAX and others look like from here."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return np.arange(4, dtype="f4")


class OnlyDlpack:
    """What array libraries look like from here."""

    def __init__(self) -> None:
        self._array = np.arange(4, dtype="f4")

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class RefusingDlpack(OnlyArray):
    """A dtype or device that DLPack does not carry over."""

    def __dlpack__(self, **keywords: Any) -> Any:
        raise BufferError("bfloat16")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


@pytest.mark.parametrize("value", [OnlyArray(), OnlyDlpack(), RefusingDlpack()], ids=lambda value: type(value).__name__)
def test_D20_objects_with_dlpack_or_array_are_saved(own_dump: Path, value: object) -> None:
    dump_data("golden", 0, value)
    assert saved(own_dump).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1.0, 2.0], "found a list, expected a torch tensor, a numpy array"),
        (3.5, "found a float, expected a torch tensor"),
        (np.array(["a"]), "found an array of <U1, expected plain numbers"),
        (np.array([{}], dtype=object), "found an array of object, expected plain numbers"),
        (np.zeros(2, "f4,i4"), "expected plain numbers"),
        (np.zeros(2, "M8[s]"), "expected plain numbers"),
        (np.zeros(2, np.longdouble), "expected plain numbers of at most 64 bits"),
        (torch.empty(2, device="meta"), ""),
        (None, "found neither data_val nor tensor_path"),
    ],
    ids=["list", "float", "text", "object", "record", "time", "longdouble", "meta", "none"],
)
def test_D5_D20_what_cannot_be_saved_is_told_once_and_counted(
    own_dump: Path, value: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fastcmp"):
        for token in range(3):
            dump_data("golden", 0, value, token_id=token)
    assert len(caplog.records) == 1 and reason in caplog.text
    assert dump_counters()["unsupported_value"] == 3 and dump_counters()["saved"] == 0
    assert list(own_dump.iterdir()) == []


def test_D5_tensors_with_grad_and_parameters_are_saved(own_dump: Path) -> None:
    tensor = torch.linspace(-1, 1, 6, requires_grad=True).reshape(2, 3) * 2
    dump_data("golden", 0, tensor)
    dump_data("golden", 1, torch.nn.Parameter(torch.ones(3)))
    assert tensor.requires_grad and torch.equal(torch.from_numpy(saved(own_dump)), tensor.detach())
    assert saved(own_dump, 1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("tensor", [torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1), torch.arange(9.0)[::2], torch.ones(1).expand(3, 4)])
def test_torch_views_are_saved_as_their_value(own_dump: Path, tensor: torch.Tensor) -> None:
    dump_data("golden", 0, tensor)
    assert np.array_equal(saved(own_dump), tensor.contiguous().numpy())


class OnDevice(torch.Tensor):
    """A tensor of an accelerator as it looks from here: its memory is none that the host can read as numbers, only `cpu()` gives those."""

    device_type = "npu"

    @property
    def device(self) -> Any:
        return SimpleNamespace(type=self.device_type, index=0)

    def cpu(self) -> torch.Tensor:
        return (~self.as_subclass(torch.Tensor).contiguous().view(torch.uint8)).view(self.dtype)

    def numpy(self, **_: Any) -> Any:
        raise TypeError(
            f"can't convert {self.device_type}:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )

    __array__ = __dlpack__ = numpy


class OnCuda(OnDevice):
    """The other name that torch asks about graphs by."""

    device_type = "cuda"


@pytest.mark.parametrize("of_device", [OnDevice, OnCuda])
@pytest.mark.parametrize(("dtype", "stored"), [("float32", "<f4"), ("bfloat16", "V2"), ("int64", "<i8"), ("float8_e5m2", "<f2")])
def test_a_tensor_of_a_device_is_saved_by_its_copy_on_the_host(
    own_dump: Path, monkeypatch: pytest.MonkeyPatch, of_device: type[OnDevice], dtype: str, stored: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    value = torch.arange(-12, 12).reshape(4, 6).to(getattr(torch, dtype))
    on_device = (~value.view(torch.uint8)).view(value.dtype).as_subclass(of_device)
    for data_id, (one, on_host) in enumerate(((on_device, value), (on_device.t(), value.t()))):
        dump_data("golden", data_id, one)
        exact = on_host.to(torch.float16) if dtype == "float8_e5m2" else on_host
        exact = exact.view(torch.int16) if dtype == "bfloat16" else exact
        assert saved(own_dump, data_id).dtype == stored
        assert saved(own_dump, data_id).tobytes() == exact.contiguous().numpy().tobytes()


def test_lazy_torch_views_are_saved_as_their_value(own_dump: Path) -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j])
    dump_data("golden", 0, tensor.conj())
    dump_data("golden", 1, tensor.conj().imag)
    dump_data("golden", 2, torch.eye(3).to_sparse())
    assert saved(own_dump, 0).tolist() == [1 - 2j, 3 + 4j]
    assert saved(own_dump, 1).tolist() == [-2, 4]
    assert np.array_equal(saved(own_dump, 2), np.eye(3))


@pytest.mark.parametrize(
    "value",
    [
        torch.from_numpy(every_bfloat16().view(np.int16)).view(torch.bfloat16),
        torch.from_numpy(np.ascontiguousarray(every_bfloat16().T).view(np.int16)).view(torch.bfloat16).t(),
        every_bfloat16().view(ml_dtypes.bfloat16),
        every_bfloat16().view("V2"),
    ],
    ids=["torch", "torch-view", "ml_dtypes", "V2"],
)
def test_D5_every_bfloat16_is_saved_bit_by_bit(own_dump: Path, value: Any) -> None:
    dump_data("golden", 0, value)
    path = own_dump / metadata_of(side_of(own_dump))["0"]["0"]
    assert b"'descr': '<V2'" in path.read_bytes()[:128]
    assert np.array_equal(saved(own_dump).view(np.uint16), every_bfloat16())
    assert read_journal(str(side_of(own_dump) / "journal.jsonl")).entries[0].dtype == "bfloat16"
    assert dtypes_file(own_dump) == ""


FLOAT8 = [("float8_e4m3fn", "float16"), ("float8_e5m2", "float16"), ("float8_e4m3fnuz", "float16"), ("float8_e8m0fnu", "float32")]


@pytest.mark.parametrize(("name", "stored"), FLOAT8)
@pytest.mark.parametrize("library", ["torch", "ml_dtypes"])
def test_every_fp8_value_is_saved_exactly_with_its_true_dtype(own_dump: Path, name: str, stored: str, library: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    exact = codes.view(getattr(ml_dtypes, name)).astype(np.float64)
    value = torch.from_numpy(codes).view(getattr(torch, name)) if library == "torch" else codes.view(getattr(ml_dtypes, name))
    dump_data("golden", "w", value, token_id=3)
    assert saved(own_dump, "w", 3).dtype == stored
    with np.errstate(invalid="ignore"):  # torch makes a signalling NaN of the NaN of e8m0
        assert np.array_equal(saved(own_dump, "w", 3).astype(np.float64), exact, equal_nan=True)
    entry = read_journal(str(side_of(own_dump) / "journal.jsonl")).entries[0]
    assert (entry.dtype, entry.stored) == (name, stored)
    assert dtypes_file(own_dump) == f'{{"w": {{"3": "{name}"}}}}\n'


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn", "int4", "uint4", "float8_e3m4"])
def test_other_narrow_dtypes_are_saved_exactly(own_dump: Path, name: str) -> None:
    values = np.array([0, 1, 2, 3, 4, 6]).astype(getattr(ml_dtypes, name))
    dump_data("golden", 0, values)
    assert np.array_equal(saved(own_dump).astype(np.float64), values.astype(np.float64))
    assert name in dtypes_file(own_dump)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_torch_complex32_is_saved_as_complex64(own_dump: Path) -> None:
    dump_data("golden", 0, torch.tensor([1 + 2j]).to(torch.complex32))
    assert saved(own_dump).dtype == np.complex64 and saved(own_dump).tolist() == [1 + 2j]
    assert dtypes_file(own_dump) == '{"0": {"0": "complex32"}}\n'


def test_a_key_that_is_no_longer_fp8_leaves_dtypes_json(own_dump: Path) -> None:
    dump_data("golden", 0, torch.ones(2).to(torch.float8_e5m2))
    dump_data("golden", 0, torch.ones(2))
    assert dtypes_file(own_dump) == "{}\n" and saved(own_dump).dtype == np.float32


def test_dumping_leaves_the_tensor_as_it_was() -> None:
    for value in (torch.arange(4.0).t(), torch.arange(4.0).bfloat16()):
        before = value.clone()
        dump_data("golden", 0, value)
        assert torch.equal(value, before) and value.dtype == before.dtype
        forget_session()
