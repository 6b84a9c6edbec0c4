"""The library that makes system calls fail, and dumps that several tests compare."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from reliability_runs import Sides, one_of_each


@pytest.fixture(scope="session")
def failing_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library made of failing_calls.c."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))))
    built = tmp_path_factory.mktemp("failing") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(built), str(source), "-ldl"], check=True, timeout=60)
    return built


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Both metadata.json of a dozen pairs that differ by a rounding; nobody may change them."""
    return one_of_each(tmp_path_factory.mktemp("sides"))
