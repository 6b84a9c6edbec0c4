"""Small libraries for the doctor to look at, compiled when a test first asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("library.cpp")

Build = Callable[..., str]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``build(name, *flags)``: the path of `library.cpp`, compiled as a shared library; a program with ``-DPROGRAM``."""
    built: dict[tuple[str, ...], str] = {}

    def compiled(name: str, *flags: str) -> str:
        key = (name, *flags)
        if key not in built:
            path = tmp_path_factory.mktemp("library") / name
            shared = [] if "-DPROGRAM" in flags else ["-shared", "-fPIC"]
            subprocess.run(["g++", "-std=c++17", *shared, "-o", str(path), str(SOURCE), *flags], check=True, timeout=120)
            built[key] = str(path)
        return built[key]

    assert shutil.which("g++"), "the tests compile small libraries: install a C++ compiler"
    return compiled


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that `os.open` is called with from now on."""
    paths: list[str] = []
    open_file = os.open

    def noted(path: str, *arguments: Any, **others: Any) -> int:
        paths.append(os.fspath(path))
        return open_file(path, *arguments, **others)

    monkeypatch.setattr(os, "open", noted)
    return paths


@pytest.fixture(autouse=True)
def plain_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of fastcmp or of an acceleration library is set, and no program has run in the working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    for name in [name for name in os.environ if name.startswith(("FASTCMP_", "ATB_", "ACLTRANSFORMER_", "ASDOPS_", "AIT_", "LD_PRELOAD"))]:
        monkeypatch.delenv(name)
