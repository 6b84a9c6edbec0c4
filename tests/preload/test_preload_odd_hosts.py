"""Hosts that call in from where few do, and libraries that are loaded twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from preload_expected import offers
from preload_host import EVERYTHING, Hosts, heartbeats, write_list


@pytest.fixture(scope="module")
def odd_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("odd") / "odd_host"
    source = Path(__file__).with_name("odd_host.c")
    subprocess.run(["cc", "-O1", "-Wall", "-o", str(built), str(source), "-lpthread", "-ldl"], check=True, timeout=60)
    return built


def run(odd_host: Path, hosts: Hosts, directory: Path, how: str, **variables: str) -> dict[str, int]:
    done = subprocess.run(
        [odd_host, how], cwd=directory, env=hosts.environment(variables), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n")
    # Questions from a handler that interrupted the library are not answered, and that is told at the end.
    assert done.stderr == "" or (how == "handler" and re.fullmatch(r"fastcmp preload: 0 tensors saved; \d+ reentered .*\n", done.stderr))
    found = heartbeats(directory)
    return found[0]["counters"] if found else {}


WAYS = ["by environment", "by nothing", "registered"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["small-stack", "handler", "cancel", "plain"])
def test_calls_from_small_stacks_signal_handlers_and_cancelled_threads(
    how: str, way: str, odd_host: Path, hosts: Hosts, tmp_path: Path
) -> None:
    variables = EVERYTHING if way == "by environment" else {}
    if way == "registered":
        variables = {"FASTCMP_ALLOWLIST": str(write_list(tmp_path / "list" / "paths.txt"))}
    counters = run(odd_host, hosts, tmp_path, how, **variables)
    if how != "cancel":
        assert counters["internal_error"] == 0 and (counters["reentered"] == 0 or how == "handler")


def test_calls_before_main(odd_host: Path, hosts: Hosts, tmp_path: Path) -> None:
    run(odd_host, hosts, tmp_path, "plain", **EVERYTHING, ODD_HOST_EARLY="1")


def test_two_copies_in_one_process_are_one_library(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    """As where LD_PRELOAD has it under both of its names."""
    copy = shutil.copy(hosts.library, tmp_path / "libtensorutil.so")
    listed = write_list(tmp_path / "list" / "paths.txt", next(offers()).tail())
    for number, variables in enumerate([EVERYTHING, {"FASTCMP_ALLOWLIST": str(listed)}]):
        place = tmp_path / str(number)
        place.mkdir()
        both = f"{copy}:{hosts.library}"
        result = hosts.run(place, "--tokens", 1, "--layers", 1, program=f"standin_host_abi{abi}", **{**variables, "LD_PRELOAD": both})
        assert (result.status, result.stderr) == (0, "")
        expected = [one.tail() for one in offers()][: None if number == 0 else 1]
        assert result.files().keys() == {*expected} and result.counters()["saved"] == len(expected)


def test_a_host_that_goes_into_the_background_is_saved_from(hosts: Hosts, tmp_path: Path) -> None:
    """Two forks, a session of its own, every descriptor closed, another working directory."""
    code = """
import os, sys, time
from standin_model import *
model = Model()
model.add(0, 0, inputs=0)
model.execute(0, 0, 0, b"aaaa", dims="1")
if os.fork():
    os._exit(drain())
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.closerange(0, 256)
for _ in range(3):
    os.open("/dev/null", os.O_RDWR)
model.execute(0, 0, 1, b"bbbb", dims="1")
os._exit(drain())
"""
    variables = {**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1", "FASTCMP_DUMP_DIR": str(tmp_path), "ATB_OUTPUT_DIR": f"{tmp_path}/"}
    result = hosts.run_python(tmp_path, code, **variables)
    found: dict[str, bytes] = {}
    for _ in range(500):
        found = {path.parts[-6]: path.read_bytes()[-4:] for path in tmp_path.rglob("*.bin")}
        if len(found) == 2:
            break
        os.sched_yield()
        subprocess.run(["sleep", "0.02"], check=True)
    assert found == {"0": b"aaaa", "1": b"bbbb"} and result.stderr == ""
