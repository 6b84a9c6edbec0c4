"""What a source states about a tensor without data, as the readers give it on."""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fastcmp.errors import NoDataError, TensorError
from fastcmp.formats import list_members, place_sizes, scan_batch
from fastcmp.formats.places import member_place, split_place
from fastcmp.formats.stated import Stated, bad_shape, is_stated, stated_place
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()


def scanned(place: str) -> TensorError:
    (found,) = scan_batch([place], OPTIONS)
    assert isinstance(found, TensorError)
    return found


@pytest.mark.parametrize(
    ("stated", "code", "detail"),
    [
        (Stated("float32", (2, 3), {"max": 6.0, "l2norm": 9.5}), "E_STATS_ONLY", "stated without data: max=6, l2norm=9.5"),
        (Stated("", (), {"min": -math.inf}, 6), "E_STATS_ONLY", "stated without data: min=-inf"),
        (Stated("int64", (2,), {"max": 1.0}, None, "deadbeef"), "E_CHECKSUM", "stated without data: max=1, checksum deadbeef"),
        (Stated("bool", (2,), checksum="0x0f"), "E_CHECKSUM", "stated without data: checksum 0x0f"),
        (Stated("float16", (3, 0)), "E_STATS_ONLY", "stated without data: no element"),
        (Stated("float16", (2,)), "E_NO_DATA", "the tensor is described, expected data and found none"),
    ],
)
def test_what_is_stated_comes_back_without_a_file(stated: Stated, code: str, detail: str) -> None:
    found = scanned(stated_place("/nowhere/dump.json", stated))
    assert isinstance(found, NoDataError)
    assert (found.code, found.path, found.detail) == (code, "/nowhere/dump.json", detail)
    assert (found.dtype, found.shape, found.statistics) == (stated.dtype, stated.shape, dict(stated.statistics))
    assert (found.decimals, found.checksum) == (stated.decimals, stated.checksum)
    again = pickle.loads(pickle.dumps(found))
    assert again.args == found.args


def test_a_fault_is_all_that_counts() -> None:
    found = scanned(stated_place("/d/dump.json", Stated("float32", (), {"max": 1.0}, checksum="deadbeef", fault=bad_shape("[-1]"))))
    assert not isinstance(found, NoDataError)
    assert (found.code, found.path) == ("E_BAD_DIMS", "/d/dump.json")
    assert found.detail == "shape [-1]: expected at most 64 lengths, each from 0 to 2^63-1"


def test_not_a_number_is_a_statistic() -> None:
    found = scanned(stated_place("/d", Stated("float32", (1,), {"mean": math.nan})))
    assert isinstance(found, NoDataError) and math.isnan(found.statistics["mean"])


def test_a_stated_tensor_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_text("{}")
    assert place_sizes([stated_place(str(tmp_path / "dump.json"), Stated("float32", (2,), {"max": 1.0}))], OPTIONS) == [0]


def test_stated_tensors_and_files_are_scanned_in_one_batch(tmp_path: Path) -> None:
    place = stated_place("/d", Stated("float32", (2,), {"max": 1.0}))
    found = scan_batch([str(tmp_path / "a.npy"), place, str(tmp_path / "b.bin")], OPTIONS)
    assert [one.code for one in found if isinstance(one, TensorError)] == ["E_MISSING", "E_STATS_ONLY", "E_MISSING"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "{}",
        "[]",
        '["float32",[2],{},null]',
        '["float33",[2],{},null,""]',
        '[3,[2],{},null,""]',
        '["float32",2,{},null,""]',
        '["float32",[-1],{},null,""]',
        '["float32",[true],{},null,""]',
        '["float32",[1.5],{},null,""]',
        f'["float32",[{2**63}],{{}},null,""]',
        f'["float32",{[1] * 65},{{}},null,""]',
        '["float32",[2],[],null,""]',
        '["float32",[2],{"median":1},null,""]',
        '["float32",[2],{"max":"1"},null,""]',
        '["float32",[2],{"max":true},null,""]',
        f'["float32",[2],{{"max":1{"0" * 400}}},null,""]',
        '["float32",[2],{},-1,""]',
        '["float32",[2],{},21,""]',
        '["float32",[2],{},true,""]',
        '["float32",[2],{},null,3]',
        '["float32",[2],{},null,"",3]',
        '["float32",[2],{},null,"","a","b"]',
        json.dumps(["float32", [2], {}, None, "a" * 129]),
        '["float32",[2],{},null,""]' + " " * 5000,
        "[" * 2000,
    ],
)
def test_what_no_source_wrote_is_a_path_with_a_nul_byte(text: str) -> None:
    place = member_place("/d/x.npy", "stated\0" + text)
    assert is_stated(split_place(place)[1])
    found = scanned(place)
    assert (found.code, found.path, found.detail) == ("E_PATH", "/d/x.npy", "the path has a NUL byte")


NAME = 'stated\0["float32",[2],{"max":1.0},null,""]'


def test_no_name_inside_a_file_is_a_statement(tmp_path: Path) -> None:
    torch.save({NAME: torch.ones(2), "b": torch.ones(3)}, tmp_path / "x.pt")
    content = io.BytesIO()
    np.save(content, np.ones(2))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name in (NAME, "b"):
            entry = zipfile.ZipInfo("x")
            entry.filename = f"{name}.npy"
            archive.writestr(entry, content.getvalue())
    (names,) = list_members([str(tmp_path / "x.pt")], OPTIONS)  # escaped there, refused in an archive of arrays
    assert not isinstance(names, TensorError) and len(names) == 2 and not any("\0" in name for name in names)
    (found,) = list_members([str(tmp_path / "x.npz")], OPTIONS)
    assert isinstance(found, TensorError) and "NUL" in found.detail
