"""`read_tensor`: a whole tensor with its shape, in its own dtype."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from bin_files import record

from fastcmp import ScanOptions, read_tensor
from fastcmp.errors import TensorError, UsageError


def write_bin(path: Path, code: int, dims: str, payload: bytes) -> Path:
    path.write_bytes(record(payload, code, dims))
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "i8", "u2", "u8", "?", "c8", "c16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_comes_back_as_numpy_has_it(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.array(np.arange(24).reshape(2, 3, 4) % 7, dtype=dtype, order=order)
    np.save(tmp_path / "t.npy", values)
    found = read_tensor(tmp_path / "t.npy")
    assert found.dtype == values.dtype.newbyteorder("=") and found.flags.writeable and found.flags.c_contiguous
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("code", "payload", "expected"),
    [
        (27, np.array([1.5, -2, 0], ml_dtypes.bfloat16).tobytes(), np.array([1.5, -2, 0], ml_dtypes.bfloat16)),
        (36, np.array([1.5, -2, 0], ml_dtypes.float8_e4m3fn).tobytes(), np.array([1.5, -2, 0], ml_dtypes.float8_e4m3fn)),
        (29, b"\xf1\x07", np.array([1, -1, 7], np.int8)),
        (30, b"\x05", np.array([1, 0, 1], np.uint8)),
        (12, b"\x00\x01\x80", np.array([False, True, True])),
        (33, np.array([1, 2, -3, 0.5, 0, 0], np.float16).tobytes(), np.array([1 + 2j, -3 + 0.5j, 0], np.complex64)),
    ],
)
def test_a_bin_file_comes_back_in_its_own_dtype(tmp_path: Path, code: int, payload: bytes, expected: np.ndarray) -> None:
    found = read_tensor(write_bin(tmp_path / "t.bin", code, "3", payload))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_scalars_and_empty_tensors_keep_their_shape(tmp_path: Path) -> None:
    assert read_tensor(write_bin(tmp_path / "t.bin", 0, "", np.float32(3).tobytes())).shape == ()
    np.save(tmp_path / "t.npy", np.zeros((0, 3)))
    assert read_tensor(tmp_path / "t.npy").shape == (0, 3)


def test_what_cannot_be_read_is_an_error_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match="E_MISSING"):
        read_tensor(tmp_path / "nowhere.npy")
    np.save(tmp_path / "t.npy", np.zeros(3))
    with pytest.raises(TensorError, match="E_PATH_OUTSIDE"):
        read_tensor(tmp_path / "t.npy", options=ScanOptions(roots=("/nowhere",)))


def test_an_ml_dtypes_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bin(tmp_path / "t.bin", 37, "2", b"\x7f\x80")
    monkeypatch.delattr(ml_dtypes, "float8_e8m0fnu")
    with pytest.raises(UsageError, match=r"float8_e8m0fnu: ml_dtypes .* has no such dtype; install ml_dtypes 0\.5 or newer"):
        read_tensor(path)
