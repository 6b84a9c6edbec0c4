"""Programs that dump nothing, each for a real reason, run under the real preload library: the doctor names the cause."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastcmp.doctor import CAUSES, examine

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


# --- the acceleration library of a user, and what he registered ------------------------------------------------------------------------

# Registers tensors of a library's one operation, and calls it.
REGISTERING = """
import ctypes, os, sys
import fastcmp
for path in sys.argv[2:]:
    fastcmp.dump_data("acl", path, tensor_path=path)
library = ctypes.CDLL(sys.argv[1])
library.run()
"""
PATH = "0_Model/after/outTensor0.bin"


def test_after_a_good_run_the_bad_one_is_judged(build: Any, tmp_path: Path) -> None:
    library = build("libatb.so")
    run(tmp_path, sys.executable, "-c", REGISTERING, library, PATH)
    assert causes(tmp_path) == []
    run(tmp_path, sys.executable, "-c", REGISTERING, library, PATH.replace("Model", "Modell"))
    report = examine(str(tmp_path))
    (finding,) = report.findings
    assert finding.name == "not-registered" and "registered '0/0_Modell/after/outTensor0.bin'" in finding.evidence
    assert report.as_json()["processes"]["earlier_count"] == 1


def test_the_dump_of_one_process_leads_to_its_heartbeat(build: Any, tmp_path: Path) -> None:
    run(tmp_path, sys.executable, "-c", REGISTERING, build("libatb.so"), PATH)
    (dump,) = tmp_path.glob("*_cmp_dump_data")
    for place in (dump, dump / "acl_tensor"):
        report = examine(str(place))
        assert report.findings == [] and len(report.as_json()["processes"]["last_run"]) == 1


def test_the_most_common_mistake_is_named(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "FASTCMP_DUMP_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", REGISTERING, build("libatb.so"), PATH], check=True, env=environment, timeout=60)
    monkeypatch.chdir(tmp_path)
    assert [finding.name for finding in examine().findings] == ["no-heartbeat"]
    assert [finding.name for finding in examine(library=build("libatb.so")).findings] == ["no-heartbeat"]


def test_of_a_killed_program_the_files_count(build: Any, tmp_path: Path) -> None:
    program = f"{REGISTERING}\nimport time\nwhile not os.path.exists(sys.argv[-1]): time.sleep(0.01)\nos.kill(os.getpid(), 9)"
    where = f"{tmp_path}/tensors"
    environment = {**os.environ, "FASTCMP_DUMP_DIR": str(tmp_path), "FASTCMP_MIN_FREE": "0"}
    command = [sys.executable, "-m", "fastcmp.cli", "run", "--", sys.executable, "-c", program.replace("sys.argv[2:]", "sys.argv[2:-1]")]
    assert subprocess.run([*command, build("libatb.so"), PATH, where], check=False, env=environment, timeout=60).returncode == -9
    report = examine(str(tmp_path))
    assert [finding.name for finding in report.findings] in ([], ["no-last-word"])
    (one,) = report.as_json()["processes"]["last_run"]
    assert one["state"] == "gone" and one["registered_lines"] == 1


def test_the_recipe_lists_what_can_be_registered(build: Any, tmp_path: Path) -> None:
    words = CAUSES["not-registered"].split("`")[1].split()
    variables = dict(word.split("=") for word in words if word.startswith("ATB_"))
    assert words[len(variables) :] == ["fastcmp", "run", "--select", "environment", "--", "CMD", "..."] and len(variables) == 3
    command = [
        sys.executable,
        "-m",
        "fastcmp.cli",
        *words[len(variables) + 1 : -2],
        sys.executable,
        "-c",
        HOST,
        build("libatb.so"),
        "1",
        "call",
    ]
    subprocess.run(command, check=True, env={**os.environ, **variables, "FASTCMP_MIN_FREE": "0"}, cwd=tmp_path, timeout=60)
    (tensor,) = tmp_path.rglob("outTensor0.bin")
    assert tensor.relative_to(tmp_path).parts[:2] == ("msit_dump", "tensors") and str(tensor).endswith(f"/0/{PATH}")
