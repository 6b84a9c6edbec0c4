"""The heartbeat: valid at every instant, true, and left by processes that are concerned only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from preload_expected import offers
from preload_host import EVERYTHING, EVERYTHING_OF_2023, HEARTBEAT, LOSSES, Hosts, heartbeats, write_list

OFFERS = list(offers(threads=2, tokens=3, layers=2))
ARGUMENTS = ("--threads", 2, "--tokens", 3, "--layers", 2)


def add_up(heartbeat: dict[str, Any]) -> None:
    counters = heartbeat["counters"]
    ended = sum(counters[name] for name in (*LOSSES, "saved", "description_only", "not_selected") if name != "no_data")
    assert counters["offered"] == ended + heartbeat["queued"], counters


@pytest.mark.parametrize(
    "variables",
    [
        EVERYTHING,
        {},
        {**EVERYTHING, "ATB_SAVE_TENSOR": "2"},
        {**EVERYTHING, "FASTCMP_DUMP_LIMIT": "10000"},
        {**EVERYTHING, "FASTCMP_MIN_FREE": "900T"},
        {**EVERYTHING, "FASTCMP_SELECT": "registered"},
        {**EVERYTHING, "ATB_OUTPUT_DIR": "/dev/null/"},
        {**EVERYTHING, "ATB_SAVE_TILING": "1"},
    ],
    ids=["all", "none", "descriptions", "limit", "no room", "not registered", "no directory", "tiling"],
)
@pytest.mark.parametrize("flow", [(), ("--older",), ("--mki",), ("--bad",), ("--mki", "--bad")], ids=" ".join)
def test_the_counters_add_up(flow: tuple[str, ...], variables: dict[str, str], abi: int, hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, *ARGUMENTS, *flow, program=f"standin_host_abi{abi}", **variables, FASTCMP_DUMP_DIR=str(tmp_path))
    heartbeat = run.heartbeat()
    add_up(heartbeat)
    assert heartbeat["ended"] and heartbeat["queued"] == 0 and heartbeat["counters"]["internal_error"] == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(files) == heartbeat["counters"]["saved"] + heartbeat["counters"]["description_only"]
    is_lost = any(heartbeat["counters"][name] for name in LOSSES)
    assert bool(heartbeat["last_refusal"]) >= is_lost


def test_the_fields_are_those_of_the_documents(hosts: Hosts, tmp_path: Path) -> None:
    start = time.time()
    heartbeat = hosts.run(tmp_path, *ARGUMENTS, **EVERYTHING).heartbeat()
    assert {name: heartbeat[name] for name in ("fastcmp_preload", "ended", "selected_by", "select", "registered_lines", "last_refusal")} == {
        "fastcmp_preload": 1, "ended": True, "selected_by": "environment", "select": "auto", "registered_lines": 0, "last_refusal": "",
    }  # fmt: skip
    assert heartbeat["program"] == str(hosts.standin / "standin_host_abi1")
    assert start - 2 <= heartbeat["started"] <= heartbeat["written"] <= time.time() + 2
    assert heartbeat["counters"]["tensor_bytes"] == 4096 * len(OFFERS)


def test_calls_are_counted_by_abi_and_era(hosts: Hosts, tmp_path: Path) -> None:
    names = ("abi0", "abi1", "plain", "legacy_abi0", "legacy_abi1")
    for number, (abi, flow, called) in enumerate(
        [
            (0, ("--mki",), {"abi0", "plain"}),
            (1, ("--mki",), {"abi1", "plain"}),
            (0, (), {"abi0", "plain", "legacy_abi0"}),
            (1, ("--legacy",), {"legacy_abi1"}),
            (0, ("--store", "asdops"), {"legacy_abi0"}),
        ]
    ):
        place = tmp_path / str(number)
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, *flow, program=f"standin_host_abi{abi}", **EVERYTHING_OF_2023 | EVERYTHING)
        calls = run.heartbeat()["calls"]
        assert {name for name in names if calls[name]} == called, (flow, calls)


def test_it_is_valid_and_grows_while_the_host_runs(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start(tmp_path, "--tokens", 40, "--layers", 1, "--bytes", 64, "--sleep-ms", 30, **EVERYTHING)
    path = tmp_path / f"{HEARTBEAT}{host.pid}"
    seen: list[dict[str, Any]] = []
    while host.poll() is None:
        if path.exists():
            heartbeat = json.loads(path.read_bytes())
            if not seen or heartbeat != seen[-1]:
                seen.append(heartbeat)
    host.communicate(timeout=30)
    seen.append(json.loads(path.read_bytes()))
    assert len(seen) >= 3 and not seen[0]["ended"] and seen[-1]["ended"]
    saved = [heartbeat["counters"]["saved"] for heartbeat in seen]
    assert saved == sorted(saved) and saved[-1] == len(list(offers(tokens=40)))
    assert any(0 < count < saved[-1] for count in saved), "early word, for a host that will be killed"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == [path.name], "no temporary file is left"


def test_it_is_there_as_soon_as_a_list_is_followed_or_a_function_called(hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", "0/x")
    code = f"""
import ctypes, glob, json, os
from standin_model import *
beat = f".fastcmp_probe.{{os.getpid()}}"
assert not os.path.exists(beat)
assert follow({str(listed)!r}) == 0
assert json.load(open(beat))["registered_lines"] == 1
os.unlink(beat)
model = Model()
model.add(0, 0)
heartbeat = json.load(open(beat))
assert heartbeat["calls"]["abi1"] and not heartbeat["ended"], heartbeat
os._exit(0)
"""
    hosts.run_python(tmp_path, code)


# --- who leaves one --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["ls", "/"],
        ["sh", "-c", "ls / | sort | (cat; echo $(date)) | wc -l; for i in 1 2 3; do (exit 3); done; true"],
        [sys.executable, "-c", "import ctypes, subprocess, threading; subprocess.run(['true'], check=True)"],
        [sys.executable, "-c", "import os; pid = os.fork(); pid and os.waitpid(pid, 0)"],
        [sys.executable, "-c", "import multiprocessing as m; p = m.get_context('fork').Process(target=print); p.start(); p.join()"],
    ],
    ids=lambda command: " ".join(command)[-40:],
)
def test_programs_that_are_not_concerned_leave_nothing(command: list[str], hosts: Hosts, tmp_path: Path) -> None:
    variables = hosts.environment({**EVERYTHING, "FASTCMP_DUMP_DIR": str(tmp_path)})
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "") and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variant", "flags"),
    [("abi1", "lazy,local,deepbind"), ("abi0", "now,global,deepbind"), ("symbolic", "lazy,local"), ("hidden", "lazy,global")],
)
def test_a_library_that_was_loaded_and_never_called_in_is_told(variant: str, flags: str, hosts: Hosts, tmp_path: Path) -> None:
    library = hosts.standin / f"libatb_standin_{variant}.so"
    run = hosts.run(tmp_path, "--dlopen", flags, library, program="standin_host", **EVERYTHING)
    assert run.stderr == ""
    heartbeat = run.heartbeat()
    assert heartbeat["ended"] and sum(heartbeat["calls"].values()) == 0 and heartbeat["counters"]["offered"] == 0
    (entry,) = [entry for entry in heartbeat["libraries"] if entry["path"] == str(library)]
    assert entry["bound_here"] == 0
    if "deepbind" in flags:
        assert entry["bound_to_itself"] > 0 and entry["defines"] > 20


@pytest.mark.parametrize("flags", ["lazy,local", "now,local", "now,global"])
def test_a_library_that_is_hooked_is_told_to_be_bound_here(abi: int, flags: str, hosts: Hosts, tmp_path: Path) -> None:
    library = hosts.standin / f"libatb_standin_abi{abi}.so"
    run = hosts.run(tmp_path, "--dlopen", flags, library, program="standin_host", **EVERYTHING)
    (entry,) = [entry for entry in run.heartbeat()["libraries"] if entry["path"] == str(library)]
    assert entry["bound_here"] > 5 and entry["bound_to_itself"] == 0


def test_a_library_of_another_name_is_reported_where_FASTCMP_LIBRARY_names_it(hosts: Hosts, tmp_path: Path) -> None:
    library = tmp_path / "libvendor_ops.so"
    library.write_bytes((hosts.standin / "libatb_standin_symbolic.so").read_bytes())
    for number, (name, is_told) in enumerate({"": False, "libother.so": False, "libother.so:libvendor_ops.so": True}.items()):
        place = tmp_path / str(number)
        place.mkdir()
        run = hosts.run(place, "--dlopen", "lazy,local", library, program="standin_host", FASTCMP_LIBRARY=name)
        assert len(run.heartbeats()) == int(is_told)


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({}, "cwd"),
        ({"FASTCMP_DUMP_DIR": "{}/a"}, "a"),
        ({"FASTCMP_DUMP_DIR": "{}/missing", "ACLTRANSFORMER_HOME_PATH": "{}/b"}, "b"),
        ({"FASTCMP_DUMP_DIR": "{}/file", "ACLTRANSFORMER_HOME_PATH": "", "ATB_OUTPUT_DIR": "{}/c/"}, "c"),
        ({"FASTCMP_DUMP_DIR": "../a"}, "a"),
    ],
    ids=str,
)
def test_it_lies_in_the_first_directory_that_is_there(set_to: dict[str, str], expected: str, hosts: Hosts, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "cwd"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    hosts.run(tmp_path / "cwd", "--tokens", 1, **EVERYTHING, **{name: value.format(tmp_path) for name, value in set_to.items()})
    (found,) = tmp_path.rglob(f"{HEARTBEAT}*")
    assert found.parent == tmp_path / expected


def test_every_process_leaves_its_own(hosts: Hosts, tmp_path: Path) -> None:
    running = [hosts.start(tmp_path, "--tokens", 2, **EVERYTHING) for _ in range(4)]
    for host in running:
        host.communicate(timeout=60)
    assert sorted(heartbeat["pid"] for heartbeat in heartbeats(tmp_path)) == sorted(host.pid for host in running)


def test_odd_bytes_of_paths_are_json_that_gives_them_back(hosts: Hosts, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b'"\\\x01\xff\xe4\xb8\xad')
    odd.mkdir()
    library = odd / "libatb_odd.so"
    library.write_bytes((hosts.standin / "libatb_standin_symbolic.so").read_bytes())
    run = hosts.run(odd, "--dlopen", "lazy,local", library, program="standin_host", **EVERYTHING)
    assert os.fsencode(library) in [os.fsencode(entry["path"]) for entry in run.heartbeat()["libraries"]]
