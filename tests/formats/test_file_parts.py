"""Files of several tensors: opened once a batch, and the last large ones remembered, few of them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from fastcmp.errors import TensorError
from fastcmp.formats import file_parts, npz, pt, safetensors
from fastcmp.formats.file_parts import Container, FileParts
from fastcmp.formats.kept_files import SMALL_BYTES, KeptFiles
from fastcmp.formats.malformed import Malformed
from fastcmp.formats.places import member_place
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions

OPTIONS = ScanOptions()
LARGE = SMALL_BYTES // 4

Save = Callable[[dict[str, np.ndarray], Path], object]
FORMATS: dict[str, tuple[Container, Save]] = {
    "npz": (npz.NPZ, lambda tensors, path: np.savez(path, **tensors)),
    "pt": (pt.PT, lambda tensors, path: torch.save({name: torch.from_numpy(values) for name, values in tensors.items()}, path)),
    "safetensors": (safetensors.SAFETENSORS, save_file),
}


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_parts, "_last", {})


@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_large_file_is_parsed_once_until_it_changes(tmp_path: Path, kind: str) -> None:
    container, save = FORMATS[kind]
    path = tmp_path / f"a.{kind}"
    opened: list[str] = []

    def opening(parts: FileParts) -> object:
        opened.append(parts.path)
        return container.open_file(parts)

    watched = Container(opening, container.names, container.describe)
    for values in (np.zeros(LARGE, np.float32), np.zeros(LARGE + 8, np.float32)):
        save({"a": values, "b": values[1:]}, path)
        os.utime(path, ns=(values.size, values.size))
        for name, length in (("a", values.size), ("b", values.size - 1), ("a", values.size)):
            (info,) = watched.scan_batch([member_place(str(path), name)], OPTIONS)
            assert isinstance(info, TensorInfo) and info.shape == (length,)
    assert watched.members([str(path)], OPTIONS) == [("a", "b")]
    assert len(opened) == 2


def test_a_header_written_in_place_within_one_time_is_read_again(tmp_path: Path) -> None:
    """As a program does that writes twice between two ticks of the clock of files."""
    path = tmp_path / "a.safetensors"
    values = np.zeros(LARGE, np.float32)
    for first, second, begin in (("a", "b", 0), ("b", "a", values.nbytes)):
        entries = {
            name: {"dtype": "F32", "shape": [LARGE], "data_offsets": [place * values.nbytes, (place + 1) * values.nbytes]}
            for place, name in enumerate((first, second))
        }
        header = json.dumps(entries).encode().ljust(256)
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header + values.tobytes() * 2)
        os.utime(path, ns=(1, 1))
        for kept in (None, KeptFiles()):
            (info,) = safetensors.SAFETENSORS.scan_batch([member_place(str(path), "a")], OPTIONS, kept)
            assert isinstance(info, TensorInfo) and info.data_offset == 8 + len(header) + begin


@pytest.mark.parametrize("kind", list(FORMATS))
@pytest.mark.parametrize(("names", "member", "found"), [("a", "", "a"), ("ab", "", ""), ("ab", "c", ""), ("a", "c", "")])
def test_a_name_that_is_left_out_means_the_only_tensor(tmp_path: Path, kind: str, names: str, member: str, found: str) -> None:
    container, save = FORMATS[kind]
    path = tmp_path / f"a.{kind}"
    save({name: np.arange(3, dtype=np.float32) for name in names}, path)
    (info,) = container.scan_batch([member_place(str(path), member)], OPTIONS)
    if found:
        assert isinstance(info, TensorInfo) and info.shape == (3,)
    else:
        wanted = f"a tensor {member!r}" if member else "the name of one tensor"
        assert (
            isinstance(info, TensorError)
            and info.code == "E_MEMBER"
            and f"expected {wanted}, the file holds {len(names)} ('a'" in info.detail
        )


def container_of(counts: dict[str, int], opened: list[str]) -> Container[list[str]]:
    """Files that hold so many tensors, and what was opened of them."""

    def open_file(parts: FileParts) -> list[str]:
        name = Path(parts.path).name
        opened.append(name)
        if counts[name] < 0:
            raise Malformed("E_ZIP", "odd")
        return [str(number) for number in range(counts[name])]

    def describe(parts: FileParts, names: list[str], member: str) -> TensorInfo:
        return TensorInfo(parts.path, 0, 1, "int8", (1,), parts.identity)

    return Container(open_file, lambda names: names, describe)


def large_files(folder: Path, counts: dict[str, int]) -> None:
    for name in counts:
        with open(folder / name, "wb") as file:
            file.truncate(SMALL_BYTES + 1)


def asked(container: Container, folder: Path, *names: str) -> None:
    for name in names:
        container.scan_batch([member_place(str(folder / name), "0")], OPTIONS)


def test_the_last_eight_are_remembered(tmp_path: Path) -> None:
    counts = dict.fromkeys("abcdefghi", 1)
    opened: list[str] = []
    container = container_of(counts, opened)
    large_files(tmp_path, counts)
    asked(container, tmp_path, *"abcdefgh", *"abcdefgh")
    assert "".join(opened) == "abcdefgh"
    asked(container, tmp_path, *"ia")  # a was forgotten for i, and b for a
    assert "".join(opened) == "abcdefghia" and len(file_parts._last) == 8
    asked(container, tmp_path, *"cdefghia")
    assert "".join(opened) == "abcdefghia"


@pytest.mark.parametrize(("count", "expected"), [(63, "aa"), (64, "a")])
def test_a_small_file_is_remembered_for_many_tensors(tmp_path: Path, count: int, expected: str) -> None:
    opened: list[str] = []
    (tmp_path / "a").write_bytes(b"x")
    asked(container_of({"a": count}, opened), tmp_path, *"aa")
    assert "".join(opened) == expected


def test_what_many_tensors_take_is_bounded(tmp_path: Path) -> None:
    counts = {"a": 90_000, "b": 90_000, "c": 90_000, "d": 300_000, "e": 5}
    opened: list[str] = []
    container = container_of(counts, opened)
    large_files(tmp_path, counts)
    asked(container, tmp_path, *"abab")
    assert "".join(opened) == "ab"
    asked(container, tmp_path, "c")
    assert sorted(Path(path).name for path in file_parts._last) == ["b", "c"]
    asked(container, tmp_path, *"dd")  # one of more than all may have is remembered alone
    assert "".join(opened) == "abcd" and len(file_parts._last) == 1
    asked(container, tmp_path, "e")
    assert [Path(path).name for path in file_parts._last] == ["e"]


def test_what_cannot_be_used_is_not_remembered(tmp_path: Path) -> None:
    counts = {"a": -1}
    opened: list[str] = []
    container = container_of(counts, opened)
    large_files(tmp_path, counts)
    (found,) = container.scan_batch([member_place(str(tmp_path / "a"), "0")], OPTIONS)
    assert isinstance(found, TensorError) and (found.code, found.detail) == ("E_ZIP", "odd") and not file_parts._last
    counts["a"] = 1
    assert isinstance(container.scan_batch([str(tmp_path / "a")], OPTIONS)[0], TensorInfo)


def test_one_format_does_not_get_what_another_remembered(tmp_path: Path) -> None:
    large_files(tmp_path, {"a": 1})
    one: list[str] = []
    other: list[str] = []
    for _ in range(2):
        asked(container_of({"a": 1}, one), tmp_path, "a")
        asked(container_of({"a": 2}, other), tmp_path, "a")
    assert (one, other) == (["a", "a"], ["a", "a"])
