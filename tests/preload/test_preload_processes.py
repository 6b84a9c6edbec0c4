"""Saving one path again, and children of a fork."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from preload_expected import bin_bytes, offers
from preload_host import EVERYTHING, Hosts, heartbeats, write_list

import fastcmp

NAME = "0/0_Model/0_Layer/0_Norm/after/outtensor0.bin"

AGAIN = """
from standin_model import *
model = Model()
model.add(0, 0, inputs=0)
for number in range(3):
    model.execute(0, 0, 0, bytes([number] * 4), dtype=4, dims="4")
"""
AFTER_ONLY = {**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", {"outtensor0": 0, "outtensor0__r2": 1, "outtensor0__r3": 2}),
        ("suffix", {"outtensor0": 0, "outtensor0__r2": 1, "outtensor0__r3": 2}),
        ("nonsense", {"outtensor0": 0, "outtensor0__r2": 1, "outtensor0__r3": 2}),
        ("overwrite", {"outtensor0": 2}),
        ("Error ", {"outtensor0": 0}),
    ],
)
@pytest.mark.parametrize("is_registered", [False, True], ids=["by environment", "registered"])
def test_a_tensor_that_is_saved_again(
    policy: str, expected: dict[str, int], is_registered: bool, abi: int, hosts: Hosts, tmp_path: Path
) -> None:
    variables = {**AFTER_ONLY, "FASTCMP_RESAVE": policy}
    if is_registered:
        variables["FASTCMP_ALLOWLIST"] = str(write_list(tmp_path / "list" / "paths.txt", NAME))
    run = hosts.run_python(tmp_path, AGAIN, standin=f"libatb_standin_abi{abi}.so", **variables)
    assert {path.stem: path.read_bytes() for path in run.files().values()} == {
        stem: bin_bytes(2, 4, "4", bytes([value] * 4)) for stem, value in expected.items()
    }
    counters = run.counters()
    is_error = policy.strip().lower() == "error"
    assert counters["already_saved"] == (2 if is_error else 0)
    assert counters["resaved"] == (2 if len(expected) == 3 else 0)
    told = [line for line in run.lines() if "saved" in line and not line.startswith("FASTCMP_RESAVE: found")]
    assert len(told) == (2 if is_error else 1 if len(expected) == 3 else 0), "once, and in the summary where it was lost"


def test_a_tensor_that_could_not_be_saved_the_first_time_is_not_saved_again_but_for_the_first_time(
    shim: Path, hosts: Hosts, tmp_path: Path
) -> None:
    code = AGAIN.replace('dims="4")', 'dims="4")\n    drain()')
    variables = {
        "LD_PRELOAD": f"{hosts.library}:{shim}",
        "FAULT_PATH": "outtensor0",
        "FAULT_CALLS": "renameat",
        "FAULT_AT": "1",
        "FAULT_ERRNO": "5",
    }
    run = hosts.run_python(tmp_path, code, **AFTER_ONLY, **variables, FAULT_ONCE="1")
    assert {path.stem: fastcmp.read_tensor(path)[0] for path in run.files().values()} == {"outtensor0": 1, "outtensor0__r2": 2}


# --- forks -----------------------------------------------------------------------------------------------------------------------------------

FORKED = """
import os, sys
from standin_model import *
model = Model()
model.add(0, 0, inputs=0)
model.execute(0, 0, 0, b"aaaa", dtype=4, dims="4")
child = os.fork()
if child == 0:
    model.execute(0, 0, 1, b"bbbb", dtype=4, dims="4")
    os._exit(drain()) if len(sys.argv) > 1 else sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
model.execute(0, 0, 1, b"cccc", dtype=4, dims="4")
print(os.getpid(), child)
"""


@pytest.mark.parametrize("leaves", [(), ("_exit",)], ids=["exit", "_exit"])
def test_a_forked_child_saves_in_its_own_directory_and_counts_for_itself(
    leaves: tuple[str, ...], abi: int, hosts: Hosts, tmp_path: Path
) -> None:
    run = hosts.run_python(tmp_path, FORKED, *leaves, standin=f"libatb_standin_abi{abi}.so", **AFTER_ONLY)
    parent, child = run.stdout.split()
    found = {
        "/".join(path.relative_to(tmp_path / "msit_dump" / "tensors").parts[:2]): fastcmp.read_tensor(path).tobytes()
        for path in tmp_path.rglob("*.bin")
    }
    assert found == {f"0_{parent}/0": b"aaaa", f"0_{parent}/1": b"cccc", f"0_{child}/1": b"bbbb"}
    beats = {heartbeat["pid"]: heartbeat["counters"]["saved"] for heartbeat in heartbeats(tmp_path)}
    assert beats[int(parent)] == 2 and (leaves or beats[int(child)] == 1)


FORKED_REGISTERED = """
import os, sys
from standin_model import *
assert follow(sys.argv[1], sys.argv[2] + f"/tensors/thread_{os.getpid()}") == 0
model = Model()
model.add(0, 0, inputs=0)
child = os.fork()
model.execute(0, 0, 0, b"aaaa", dtype=4, dims="4")
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(os.getpid(), child)
"""


def test_what_the_parent_registered_a_child_saves_beside_it(hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", NAME)
    run = hosts.run_python(tmp_path, FORKED_REGISTERED, listed, tmp_path)
    parent, child = run.stdout.split()
    assert {path.relative_to(tmp_path).parts[1] for path in tmp_path.rglob("*.bin")} == {f"thread_{parent}", f"thread_{child}"}


def test_a_child_that_does_nothing_says_nothing(hosts: Hosts, tmp_path: Path) -> None:
    """Many programs fork for reasons of their own; what they have not saved is no loss of theirs."""
    listed = write_list(tmp_path / "list" / "paths.txt", NAME)
    code = FORKED_REGISTERED.replace(
        'model.execute(0, 0, 0, b"aaaa", dtype=4, dims="4")', "None if child == 0 else model.execute(0, 0, 0, b'aaaa', dims='1')"
    )
    run = hosts.run_python(tmp_path, code, listed, tmp_path)
    assert run.stderr == "" and len(list(tmp_path.rglob("*.bin"))) == 1


FORK_STORM = """
import os, sys, threading
from standin_model import *
path = sys.argv[1]
stop = threading.Event()
running = [threading.Thread(target=run_library, kwargs={"tokens": 150, "nbytes": 64, "threads": 2}) for _ in range(2)]
def grow():
    number = 0
    while not stop.is_set():
        with open(path, "a") as file:
            file.write(f"{number}/0_StandinModelTorch/0_StandinLayerRunner/after/outtensor0.bin\\n../refused/{number}\\n")
        number += 1
growing = threading.Thread(target=grow)
assert follow(path, sys.argv[2]) == 0
for thread in (*running, growing):
    thread.start()
children = []
for number in range(40):
    child = os.fork()
    if child == 0:
        status()
        run_library(first_token=number, tokens=1, nbytes=64)
        os._exit(0 if drain(20) == 0 else 1)
    children.append(child)
failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
stop.set()
for thread in (*running, growing):
    thread.join()
print(len(failed))
"""


def test_forks_in_the_middle_of_everything_hang_neither_parent_nor_child(hosts: Hosts, tmp_path: Path) -> None:
    """While other threads save, register, are refused, and look for the libraries that are loaded."""
    listed = write_list(tmp_path / "list" / "paths.txt")
    run = hosts.run_python(tmp_path, FORK_STORM, listed, tmp_path / "tensors" / "thread_1")
    assert run.stdout == "0\n"


def test_a_fork_at_the_very_first_call_hangs_nobody(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import os, threading
from standin_model import *
start = threading.Barrier(5)
def first():
    start.wait()
    run_library(nbytes=64)
threads = [threading.Thread(target=first) for _ in range(4)]
for thread in threads:
    thread.start()
start.wait()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        run_library(nbytes=64)
        os._exit(0 if drain(20) == 0 else 1)
    children.append(child)
for thread in threads:
    thread.join()
print([os.waitpid(child, 0)[1] for child in children])
"""
    for _ in range(4):
        assert hosts.run_python(tmp_path, code, **EVERYTHING).stdout == f"{[0] * 8}\n"


def test_a_child_ends_although_the_loader_was_being_looked_through_at_the_fork(hosts: Hosts, tmp_path: Path) -> None:
    """Any program may run under the library, and the loader's lock stays held in a child whose parent's other thread had it."""
    source = Path(__file__).with_name("walking_host.c")
    subprocess.run(["cc", "-O1", "-o", str(tmp_path / "walking_host"), str(source), "-lpthread"], check=True, timeout=60)
    done = subprocess.run(
        [tmp_path / "walking_host"], env=hosts.environment({}), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("0\n", "") and [path.name for path in tmp_path.iterdir()] == ["walking_host"]


def test_a_thousand_saves_from_forks_of_forks_are_all_there(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import os
from standin_model import *
run_library(tokens=2, nbytes=64)
for _ in range(3):
    child = os.fork()
    run_library(first_token=2, tokens=1, nbytes=64) if child == 0 else os.waitpid(child, 0)
"""
    run = hosts.run_python(tmp_path, code, **EVERYTHING)
    assert run.stderr.count("saved again") <= 8
    directories = list((tmp_path / "msit_dump" / "tensors").iterdir())
    assert len(directories) == 8
    expected = {one.tail() for one in offers(tokens=2, nbytes=64)}
    assert sum(expected <= {str(path.relative_to(directory)) for path in directory.rglob("*.bin")} for directory in directories) == 1
