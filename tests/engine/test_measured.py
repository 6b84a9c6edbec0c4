"""Statistics and checksums of data, against numpy's and zlib's."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastcmp.engine import measured
from fastcmp.engine.measured import Measured, measured_beside, stated_record
from fastcmp.errors import NoDataError, TensorError
from fastcmp.formats import scan
from fastcmp.formats.payload import Payload, open_payload
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions
from fastcmp.outcome import NOTHING_READ


def stated(checksum: str = "", code: str = "E_STATS_ONLY") -> NoDataError:
    return NoDataError(code, "/d", "stated", "float32", (2,), (("max", 1.0),), None, checksum)


def opened(info: TensorInfo) -> Payload:
    return open_payload(info)


def of(path: Path, values: np.ndarray, checksum: str = "") -> Measured:
    np.save(path, values)
    seen: list[int] = []
    info = scan(str(path), ScanOptions())
    found = measured_beside(info, stated(checksum), opened, seen.append)
    assert found is not None and sum(seen) == info.nbytes
    assert measured_beside(stated(checksum), info, opened, lambda count: None) == found or math.isnan(found.statistics["max"])
    return found


RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("at_once", [2, 1000, 1 << 20])
@pytest.mark.parametrize(
    "values",
    [
        RANDOM.standard_normal((7, 11)).astype(np.float32),
        np.asfortranarray(RANDOM.standard_normal((7, 11))),
        RANDOM.standard_normal(100).astype(np.float16),
        RANDOM.integers(-(2**40), 2**40, 50),
        RANDOM.integers(0, 2, 50).astype(bool),
        np.array(3.5, np.float32),
        RANDOM.standard_normal(9).astype(">f4"),
    ],
    ids=["float32", "fortran", "float16", "int64", "bool", "scalar", "big endian"],
)
def test_statistics_are_numpys(tmp_path: Path, values: np.ndarray, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "_ELEMENTS_AT_ONCE", at_once)
    wide = values.astype(np.float64)
    found = of(tmp_path / "x.npy", values).statistics
    assert list(found) == ["max", "min", "mean", "l2norm"]
    truth: dict[str, Any] = {"max": wide.max(), "min": wide.min(), "mean": math.fsum(wide.ravel()) / wide.size}
    truth["l2norm"] = math.sqrt(math.fsum(np.square(wide).ravel()))
    assert found == {name: pytest.approx(value, rel=1e-12, abs=1e-12) for name, value in truth.items()}


def test_complex_tensors_are_measured_by_their_moduli(tmp_path: Path) -> None:
    values = np.array([3 + 4j, -1], np.complex64)
    assert of(tmp_path / "x.npy", values).statistics == {"max": 5.0, "min": 1.0, "mean": 3.0, "l2norm": pytest.approx(math.sqrt(26))}


def test_not_a_number_goes_through_and_infinity_stays(tmp_path: Path) -> None:
    found = of(tmp_path / "x.npy", np.array([1, math.nan, 2], np.float32)).statistics
    assert all(math.isnan(value) for value in found.values())
    found = of(tmp_path / "y.npy", np.array([1, math.inf, 2], np.float32)).statistics
    assert found == {"max": math.inf, "min": 1.0, "mean": math.inf, "l2norm": math.inf}


def test_squares_beyond_the_range_are_infinite_and_no_warning(tmp_path: Path) -> None:
    assert of(tmp_path / "x.npy", np.array([1e200, 1e200])).statistics["l2norm"] == math.inf


def test_an_empty_tensor_has_no_statistics(tmp_path: Path) -> None:
    assert of(tmp_path / "x.npy", np.zeros((0, 3), np.float32)) == Measured({}, "")


@pytest.mark.parametrize("at_once", [3, 1 << 20])
def test_a_checksum_is_the_crc_of_the_bytes_in_logical_order(tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "_ELEMENTS_AT_ONCE", at_once)
    values = np.asfortranarray(RANDOM.standard_normal((4, 5)).astype(np.float32))
    assert of(tmp_path / "x.npy", values, "odd").checksum == f"{zlib.crc32(values.tobytes()):08x}"
    assert of(tmp_path / "x.npy", values).checksum == ""


@pytest.mark.parametrize("at_once", [8, 1 << 20])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_beside_an_xor_the_xor_of_words_of_eight_bytes_is_computed(
    tmp_path: Path, at_once: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "_ELEMENTS_AT_ONCE", at_once)
    values = RANDOM.standard_normal((3, 7)).astype(dtype)
    content = values.tobytes() + bytes(-values.nbytes % 8)
    truth = 0
    for start in range(0, len(content), 8):
        truth ^= int.from_bytes(content[start : start + 8], "little")
    assert of(tmp_path / "x.npy", values, "0x" + "0" * 16).checksum == f"0x{truth:016x}"
    assert of(tmp_path / "x.npy", values, f"0x{truth:016X}").checksum == f"0x{truth:016X}"


def test_a_tensor_without_axes_has_no_xor_that_is_known(tmp_path: Path) -> None:
    values = np.array(3.5, np.float32)
    assert of(tmp_path / "x.npy", values, "0x" + "0" * 16).checksum == f"{zlib.crc32(values.tobytes()):08x}"


def test_of_bfloat16_the_checksum_of_the_widened_tensor_counts_too(tmp_path: Path) -> None:
    values = RANDOM.standard_normal(10).astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", values)
    info = scan(str(tmp_path / "x.npy"), ScanOptions())._replace(dtype="bfloat16")
    raw, wide = (f"{zlib.crc32(one.tobytes()):08x}" for one in (values, values.astype(np.float32)))
    for said, expected in ((raw, raw), (wide, wide), ("00000000", raw)):
        found = measured_beside(info, stated(said, "E_CHECKSUM"), opened, lambda count: None)
        assert found is not None and found.checksum == expected


@pytest.mark.parametrize(
    "other",
    [TensorError("E_MISSING", "/d", "gone"), stated(code="E_NO_DATA"), stated(code="E_ALIAS"), ValueError("odd")],
    ids=lambda one: type(one).__name__,
)
def test_beside_what_states_nothing_nothing_is_read(tmp_path: Path, other: Exception) -> None:
    np.save(tmp_path / "x.npy", np.ones(2))
    info = scan(str(tmp_path / "x.npy"), ScanOptions())

    def unwanted(info: TensorInfo) -> Payload:
        raise AssertionError("opened")

    assert measured_beside(info, other, unwanted, lambda count: None) is None
    assert measured_beside(info, info, unwanted, lambda count: None) is None
    assert measured_beside(other, stated(), unwanted, lambda count: None) is None


def test_a_pair_of_which_a_file_is_not_known_has_no_record(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3.0))
    info = scan(str(tmp_path / "x.npy"), ScanOptions())
    stated = NoDataError("E_STATS_ONLY", "s.json", "", dtype="float64", shape=(3,), statistics=(), identity=(6, 7, 8, 9))
    assert stated_record(info, stated) != NOTHING_READ and stated_record(stated, info) != NOTHING_READ
    broken = TensorError("E_MISSING", "gone", "")
    unknown = NoDataError("E_STATS_ONLY", "s.json", "", dtype="float64", shape=(3,), statistics=(), identity=None)
    for other in (broken, unknown):
        assert stated_record(info, other) == NOTHING_READ and stated_record(other, info) == NOTHING_READ


def test_no_values_change_no_sums() -> None:
    sums = measured._Sums()
    sums.add(np.array([1.0, 3.0]))
    sums.add(np.empty(0))
    assert sums.found(2) == {"max": 3.0, "min": 1.0, "mean": 2.0, "l2norm": 10.0**0.5}
