"""A disk that makes no progress holds the host up for FASTCMP_MAX_STALL_S and no longer; a slow one loses nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from preload_expected import offers
from preload_host import EVERYTHING, HostRun, Hosts, write_list

FOREVER_MS = "600000"
STALL_S = 0.4
MANY = ("--tokens", 20, "--layers", 2, "--bytes", 1 << 20)  # 640 MiB: ten times what may be queued
FEW = ("--tokens", 2, "--layers", 1)


def run_stalled(hosts: Hosts, shim: Path, directory: Path, part: str, *arguments: object, **variables: str) -> tuple[HostRun, float]:
    start = time.monotonic()
    run = hosts.run(
        directory, *arguments, timeout=60,
        **{
            **EVERYTHING, "LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_PATH": part, "FAULT_SLEEP_MS": FOREVER_MS,
            "FASTCMP_MAX_STALL_S": str(STALL_S), **variables,
        },
    )  # fmt: skip
    return run, time.monotonic() - start


@pytest.mark.parametrize("arguments", [MANY, FEW], ids=["more than the queue holds", "less"])
@pytest.mark.parametrize("part", ["msit_dump", ""], ids=["the output", "the whole disk"])
def test_a_disk_that_stands_still_holds_the_host_up_for_a_bounded_time(
    part: str, arguments: tuple[object, ...], shim: Path, hosts: Hosts, tmp_path: Path
) -> None:
    without = hosts.run(tmp_path, *arguments, preload=False)
    run, elapsed = run_stalled(hosts, shim, tmp_path, part or tmp_path.name, *arguments)
    assert (run.status, run.stdout) == (0, without.stdout)
    # Once where the queue is full, once at the end, and once for the heartbeat where that is on the same disk.
    assert elapsed < 3 * STALL_S + 3
    assert run.files() == {}
    *lines, summary = run.lines()
    assert summary.startswith("0 tensors saved; ") and "still queued" in summary
    if arguments is MANY:
        (line,) = lines
        assert "skipped, the disk made no progress; see FASTCMP_MAX_STALL_S; counted from now on" in line
    if part:
        heartbeat = run.heartbeat()
        counters = heartbeat["counters"]
        assert heartbeat["ended"] and counters["offered"] == counters["stalled"] + heartbeat["queued"]


def test_a_heartbeat_that_stands_still_loses_no_tensor(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "beats").mkdir()
    run, elapsed = run_stalled(hosts, shim, tmp_path, "beats", *FEW, FASTCMP_DUMP_DIR=str(tmp_path / "beats"))
    assert elapsed < 2 * STALL_S + 3 and run.stderr == ""
    assert len(run.files()) == len(list(offers(tokens=2)))


def test_a_slow_disk_loses_nothing_however_long_it_takes(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    arguments = ("--tokens", 3, "--layers", 1, "--bytes", 2 << 20)  # 96 MiB
    run, elapsed = run_stalled(hosts, shim, tmp_path, "msit_dump", *arguments, FAULT_SLEEP_MS="20")
    assert run.stderr == "" and elapsed > 2 * STALL_S
    assert {tail: path.read_bytes() for tail, path in run.files().items()} == {
        one.tail(): one.contents for one in offers(tokens=3, nbytes=2 << 20)
    }


def test_zero_waits_as_long_as_it_takes(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    arguments = ("--tokens", 3, "--layers", 1, "--bytes", 2 << 20)
    awake = tmp_path / "awake"
    threading.Timer(1.2, awake.touch).start()
    variables = {"FAULT_SLEEP_MS": "0", "FAULT_WAITS_FOR": str(awake), "FASTCMP_MAX_STALL_S": "0"}
    run, elapsed = run_stalled(hosts, shim, tmp_path, "msit_dump", *arguments, **variables)
    assert run.stderr == "" and len(run.files()) == len(list(offers(tokens=3))) and elapsed > 1


RECOVER = """
import os, time
from standin_model import *
data = b"x" * (1 << 20)
model = Model()
model.add(0, 0, inputs=0)
def offer(token):
    start = time.monotonic()
    model.execute(0, 0, token, data, dtype=4, dims=str(1 << 20))
    return time.monotonic() - start
waits = [offer(token) for token in range(100)]
assert 0.3 < max(waits) < 2 and sum(waits) < max(waits) + 1, "only the first one waits"
counters = status()["counters"]
assert counters["stalled"] > 30 and drain(0.01) == 110, counters
open(os.environ["FAULT_WAITS_FOR"], "w").close()
assert drain(20) == 0
stalled = status()["counters"]["stalled"]
assert stalled == counters["stalled"]
for token in range(100, 110):
    offer(token)
assert drain(10) == 0
counters = status()["counters"]
assert counters["stalled"] == stalled and counters["saved"] == 110 - stalled, counters
"""


def test_when_the_disk_comes_back_the_next_tensor_is_saved_again(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    variables = {**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1", "FASTCMP_MAX_STALL_S": str(STALL_S)}
    variables |= {"LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_PATH": "msit_dump", "FAULT_WAITS_FOR": str(tmp_path / "awake")}
    run = hosts.run_python(tmp_path, RECOVER, **variables)
    saved = {int(tail.split("/")[0]) for tail in run.files()}
    assert saved >= {*range(100, 110), *range(50)} and len(saved) == run.counters()["saved"]


BUSY = """
import sys, threading, time
from standin_model import *
for _ in range(3):
    threading.Thread(target=run_library, kwargs={"tokens": 1_000_000, "nbytes": 1 << 19}, daemon=True).start()
time.sleep(0.3)
sys.exit(0)
"""


def test_a_host_ends_although_its_other_threads_go_on_saving(hosts: Hosts, tmp_path: Path) -> None:
    start = time.monotonic()
    run = hosts.run_python(tmp_path, BUSY, **EVERYTHING)
    assert time.monotonic() - start < 15
    expected = {one.tail(): one.contents for one in offers(tokens=2, nbytes=1 << 19)}
    assert expected.keys() & run.files().keys()
    assert all(path.read_bytes() == expected.get(tail, path.read_bytes()) for tail, path in run.files().items())


def test_a_host_that_ends_in_the_middle_prints_the_same(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    arguments = ("--tokens", 40, "--threads", 4, "--exit-busy")
    without = hosts.run(tmp_path, *arguments, program=f"standin_host_abi{abi}", preload=False)
    run = hosts.run(tmp_path, *arguments, program=f"standin_host_abi{abi}", **EVERYTHING)
    assert (run.status, run.stdout) == (0, without.stdout)


def test_a_list_of_a_missing_disk_is_asked_for_without_waiting(hosts: Hosts, tmp_path: Path) -> None:
    """A list that may come later is looked for at each question; that costs a system call, and no more."""
    listed = tmp_path / "later" / "paths.txt"
    run = hosts.run(tmp_path, *FEW, FASTCMP_ALLOWLIST=str(listed))
    assert run.status == 0 and run.files() == {}
    write_list(listed, next(iter(offers())).tail())
    assert len(hosts.run(tmp_path, *FEW, FASTCMP_ALLOWLIST=str(listed)).files()) == 1
