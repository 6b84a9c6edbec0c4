"""Files that name another tensor of the same execution: what they are compared as, and when they stay what they are."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from fastcmp.errors import TensorError
from fastcmp.formats import aliases, identity_now, scan_batch
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions

sys.path.insert(0, str(Path(__file__).parent.parent / "sources"))
from layout_makers import alias_bytes, bin_bytes, write_tree

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
ALIAS = "data/0_71/3/0_Model/1_Layer/before/intensor1.bin"


def scanned(root: Path, named: str, **tensors: np.ndarray | bytes) -> TensorInfo | TensorError:
    write_tree(root, {ALIAS: alias_bytes(VALUES, named), **tensors})
    return scan_batch([str(root / ALIAS)], ScanOptions())[0]


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("0_outtensor0.bin", "data/0_71/3/0_Model/after/outtensor0.bin"),
        ("0_0_outtensor2.bin", "data/0_71/3/0_Model/0_Norm/after/outtensor2.bin"),
        ("0_intensor0.bin", "data/0_71/3/0_Model/before/intensor0.bin"),
        ("0_intensor0.bin", "data/0_71/3/0_Model/after/intensor0.bin"),
        ("0_intensor0.bin", "data/0_71/3/0_Model/intensor0.bin"),
        ("0_outtensor0.bin", "data/0_71/3/0_Model/after/outtensor0_named.bin"),
        ("12_3_outtensor0.bin", "data/0_71/3/12_Model/3_Norm/after/outtensor0.bin"),
    ],
)
def test_the_file_that_holds_the_data_is_read_and_noted(tmp_path: Path, named: str, path: str) -> None:
    found = scanned(tmp_path, named, **{path: VALUES})
    assert isinstance(found, TensorInfo), found
    assert (found.path, found.shape) == (str(tmp_path / path), (2, 3))
    assert found.warnings == (f"W_ALIAS: intensor1.bin names {named}",)


@pytest.mark.parametrize(
    ("named", "others"),
    [
        ("0_outtensor0.bin", {}),
        ("0_outtensor0.bin", {"data/0_71/2/0_Model/after/outtensor0.bin": VALUES}),
        ("1_outtensor0.bin", {"data/0_71/3/0_Model/after/outtensor0.bin": VALUES}),
        ("2_outtensor0.bin", {"data/0_71/3/2_A/after/outtensor0.bin": VALUES, "data/0_71/3/2_B/after/outtensor0.bin": VALUES}),
        ("0_outtensor0.bin", {"data/0_71/3/0_Model/after/outtensor0_a.bin": VALUES, "data/0_71/3/0_Model/after/outtensor0_b.bin": VALUES}),
        ("0_outtensor0.bin", {"data/0_71/3/0_Model/after/outtensor0.bin": alias_bytes(VALUES, "0_outtensor0.bin")}),
        ("0_1_intensor1.bin", {}),
        ("../../secret.bin", {"data/0_71/secret.bin": VALUES}),
        ("0_../outtensor0.bin", {}),
        ("intensor1.bin", {"data/0_71/3/0_Model/before/intensor1.bin": VALUES}),
        ("1" * 40 + "_outtensor0.bin", {}),
        ("1_" * 40 + "outtensor0.bin", {}),
    ],
)
def test_a_name_without_one_file_behind_it_stays_an_alias(tmp_path: Path, named: str, others: dict[str, np.ndarray | bytes]) -> None:
    found = scanned(tmp_path, named, **others)
    assert isinstance(found, TensorError)
    assert (found.code, found.path) == ("E_ALIAS", str(tmp_path / ALIAS))
    assert f"the header names '{named[:50]}" in found.detail


def test_outside_of_an_execution_nothing_is_looked_for(tmp_path: Path) -> None:
    write_tree(tmp_path, {"x/intensor0.bin": alias_bytes(VALUES, "0_outtensor0.bin"), "x/0_A/after/outtensor0.bin": VALUES})
    (found,) = scan_batch([str(tmp_path / "x/intensor0.bin")], ScanOptions())
    assert isinstance(found, TensorError) and found.code == "E_ALIAS"


def test_a_root_confines_what_an_alias_leads_to(tmp_path: Path) -> None:
    target = "data/0_71/3/0_Model/after/outtensor0.bin"
    write_tree(tmp_path / "out", {"outtensor0.bin": VALUES})
    write_tree(tmp_path / "in", {ALIAS: alias_bytes(VALUES, "0_outtensor0.bin")})
    (tmp_path / "in" / target).parent.mkdir(parents=True)
    (tmp_path / "in" / target).symlink_to(tmp_path / "out" / "outtensor0.bin")
    place = str(tmp_path / "in" / ALIAS)
    assert isinstance(scan_batch([place], ScanOptions())[0], TensorInfo)
    (confined,) = scan_batch([place], ScanOptions(roots=(str(tmp_path / "in"),)))
    assert isinstance(confined, TensorError) and confined.code == "E_LINK_OUTSIDE"


@pytest.mark.parametrize("content", [b"damaged", bin_bytes(VALUES)[:-4], b""], ids=["damaged", "cut", "empty"])
def test_what_is_wrong_with_the_file_behind_an_alias_is_said_of_that_file(tmp_path: Path, content: bytes) -> None:
    target = "data/0_71/3/0_Model/after/outtensor0.bin"
    found = scanned(tmp_path, "0_outtensor0.bin", **{target: content})
    (alone,) = scan_batch([str(tmp_path / target)], ScanOptions())
    assert isinstance(found, TensorError) and isinstance(alone, TensorError)
    assert (found.code, found.path) == (alone.code, alone.path) and alone.path == str(tmp_path / target)
    assert found.detail == f"{alone.detail}; it was read because intensor1.bin names 0_outtensor0.bin"


def test_a_directory_is_listed_once_for_all_the_aliases_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree: dict[str, np.ndarray | bytes] = {"data/0_71/3/0_Model/after/outtensor0.bin": VALUES}
    places = [f"data/0_71/3/{number}_Op/before/intensor0.bin" for number in range(1, 40)]
    write_tree(tmp_path, tree | {place: alias_bytes(VALUES, "0_outtensor0.bin") for place in places})
    listed: list[str] = []
    whole = aliases.os.listdir
    monkeypatch.setattr(aliases.os, "listdir", lambda path: (listed.append(str(path)), whole(path))[1])
    found = scan_batch([str(tmp_path / place) for place in places], ScanOptions())
    assert all(isinstance(one, TensorInfo) for one in found)
    assert len(listed) == len(set(listed)) == 2


def test_the_identity_of_an_alias_is_that_of_what_it_names(tmp_path: Path) -> None:
    target = "data/0_71/3/0_Model/after/outtensor0.bin"
    info = scanned(tmp_path, "0_outtensor0.bin", **{target: VALUES})
    assert isinstance(info, TensorInfo)
    place = str(tmp_path / ALIAS)
    assert identity_now(place) == info.identity == identity_now(str(tmp_path / target))
    write_tree(tmp_path, {ALIAS: alias_bytes(VALUES, "1_outtensor0.bin")})
    assert identity_now(place).inode == (tmp_path / ALIAS).stat().st_ino
    write_tree(tmp_path, {ALIAS: VALUES})
    assert identity_now(place).inode == (tmp_path / ALIAS).stat().st_ino
