from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastcmp.formats.read_ahead import read_ahead


@pytest.fixture
def advice(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    given: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda descriptor, at, count, advice: given.append((at, count, advice)))
    return given


def ask(path: Path, at: int, count: int) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        read_ahead(descriptor, at, count)
    finally:
        os.close(descriptor)


def test_what_is_in_memory_is_not_asked_for(tmp_path: Path, advice: list[tuple[int, int, int]]) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(100_000))
    ask(path, 10, 90_000)
    assert advice == []


@pytest.mark.parametrize("cold", [10, 90_009])
def test_what_begins_or_ends_on_the_disk_is_asked_for_whole(
    cold: int, tmp_path: Path, advice: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(100_000))

    def preadv(descriptor: int, buffers: list[bytearray], at: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT and sum(map(len, buffers)) == 1
        if at == cold:
            raise BlockingIOError
        return 1

    monkeypatch.setattr(os, "preadv", preadv)
    ask(path, 10, 90_000)
    assert advice == [(10, 90_000, os.POSIX_FADV_WILLNEED)]


def test_a_file_system_that_cannot_say_is_left_alone(
    tmp_path: Path, advice: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(100))

    def preadv(*arguments: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "preadv", preadv)
    ask(path, 0, 100)
    assert advice == []


def test_a_refused_advice_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(100))

    def refuse(*arguments: object) -> None:
        raise OSError(22, "Invalid argument")

    def cold(*arguments: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    monkeypatch.setattr(os, "preadv", cold)
    ask(path, 0, 100)
