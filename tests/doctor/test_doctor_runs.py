"""Programs that dump nothing, each for a real reason, run under the real preload library: the doctor names the cause."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastcmp.doctor import examine

# Loads the library in the given mode; "call" calls it.
HOST = "import ctypes, sys\nlibrary = ctypes.CDLL(sys.argv[1], int(sys.argv[2]))\nif sys.argv[3] == 'call': library.run()"
LAZY, NOW, DEEPBIND = os.RTLD_LAZY, os.RTLD_NOW, os.RTLD_DEEPBIND
SELECTING = {"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_RANGE": "all", "ATB_SAVE_TENSOR_PART": "2"}


def run_host(directory: Path, library: str, mode: int = LAZY, what: str = "call", **environment: str) -> None:
    """Run a program that loads a library, with `fastcmp run`, as a user would."""
    run(directory, sys.executable, "-c", HOST, library, str(mode), what, **environment)


def run(directory: Path, *command: str, **environment: str) -> None:
    where = {"FASTCMP_DUMP_DIR": str(directory), "ATB_OUTPUT_DIR": f"{directory}/"}
    subprocess.run(
        [sys.executable, "-m", "fastcmp.cli", "run", "--", *command], check=True, env={**os.environ, **where, **environment}, timeout=60
    )


def causes(directory: Path) -> list[str]:
    return [finding.name for finding in examine(str(directory)).findings]


@pytest.mark.parametrize("abi", [0, 1])
def test_a_run_that_saves_has_no_cause(abi: int, build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so", f"-D_GLIBCXX_USE_CXX11_ABI={abi}"), **SELECTING)
    report = examine(str(tmp_path))
    assert report.findings == []
    assert [one["counters"]["saved"] for one in report.as_json()["processes"]["last_run"]] == [1]
    assert len(list(tmp_path.rglob("outTensor0.bin"))) == 1


def test_cause_symbolic(build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so", "-Wl,-Bsymbolic"), **SELECTING)
    assert causes(tmp_path) == ["symbolic"]


@pytest.mark.parametrize("flags", [("-Wl,-Bsymbolic-functions",), ("-O2", "-fno-semantic-interposition")], ids=" ".join)
def test_cause_bound_inside(flags: tuple[str, ...], build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so", *flags), **SELECTING)
    assert causes(tmp_path) == ["bound-inside"]


@pytest.mark.parametrize("visibility", ["hidden", "protected"])
def test_cause_hidden(visibility: str, build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so", f'-DVISIBILITY="{visibility}"'), **SELECTING)
    assert causes(tmp_path) == ["hidden"]


@pytest.mark.parametrize("mode", [LAZY, NOW])
def test_cause_deepbind(mode: int, build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so"), mode | DEEPBIND, **SELECTING)
    assert causes(tmp_path) == ["deepbind"]


def test_cause_abi(build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so", "-DOTHER_SIGNATURE"), **SELECTING)
    assert causes(tmp_path) == ["abi"]


def test_cause_in_executable(build: Any, tmp_path: Path) -> None:
    run(tmp_path, build("model", "-DPROGRAM", "-rdynamic"), **SELECTING)
    assert causes(tmp_path) == ["in-executable"]


def test_cause_in_executable_that_shows_nothing_to_the_dynamic_linker(build: Any, tmp_path: Path) -> None:
    program = build("model", "-DPROGRAM")
    run(tmp_path, program, **SELECTING)
    assert causes(tmp_path) == ["no-heartbeat"]
    assert [finding.name for finding in examine(str(tmp_path), program).findings] == ["in-executable", "no-heartbeat"]


def test_a_library_that_is_named_and_met_is_one_cause(build: Any, tmp_path: Path) -> None:
    library = build("libatb.so", "-Wl,-Bsymbolic")
    run_host(tmp_path, library, **SELECTING)
    assert [finding.name for finding in examine(str(tmp_path), os.path.relpath(library)).findings] == ["symbolic"]


def test_cause_never_called(build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so"), what="load", **SELECTING)
    assert causes(tmp_path) == ["never-called"]


def test_cause_no_heartbeat(tmp_path: Path) -> None:
    run(tmp_path, "true")
    assert causes(tmp_path) == ["no-heartbeat"]


def test_cause_environment(build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so"), ATB_SAVE_TENSOR="1")
    assert causes(tmp_path) == ["environment"]


def test_cause_not_registered(build: Any, tmp_path: Path) -> None:
    allow_list = tmp_path / "paths.txt"
    allow_list.write_text("7/0_Model/after/outTensor0.bin\n")  # of token 7, and there is only token 0
    allow_list.chmod(0o600)
    run_host(tmp_path, build("libatb.so"), FASTCMP_ALLOWLIST=str(allow_list))
    assert causes(tmp_path) == ["not-registered"]


def test_cause_disk_full(build: Any, tmp_path: Path) -> None:
    run_host(tmp_path, build("libatb.so"), FASTCMP_MIN_FREE="900T", **SELECTING)
    assert causes(tmp_path) == ["disk-full"]


def test_a_launcher_whose_child_saves_has_no_cause(build: Any, tmp_path: Path) -> None:
    program = f"import subprocess, sys\n{HOST}\nsubprocess.run([sys.executable, '-c', sys.argv[4], sys.argv[1], '1', 'call'], check=True)"
    run(tmp_path, sys.executable, "-c", program, build("libatb.so"), str(LAZY), "load", HOST, **SELECTING)
    report = examine(str(tmp_path))
    assert report.findings == [] and len(report.as_json()["processes"]["last_run"]) == 2
