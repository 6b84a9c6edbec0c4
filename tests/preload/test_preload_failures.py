"""What the system refuses costs tensors, each of them counted and the cause told once; it never costs the host anything."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from preload_expected import bin_bytes, offers
from preload_host import EVERYTHING, LOSSES, HostRun, Hosts, saved_files, temporaries, write_list

import fastcmp

ARGUMENTS = ("--tokens", 2, "--layers", 1)
OFFERS = {one.tail(): one.contents for one in offers(tokens=2, nbytes=4096)}


def assert_sound(run: HostRun, *, expected: Mapping[str, bytes] = OFFERS) -> dict[str, int]:
    """The host ended well, every file that has its name is whole, no other file is left, and the counters add up."""
    assert run.status == 0 and "checksum" in run.stdout
    files = run.files()
    assert all(path.read_bytes() == expected[tail] for tail, path in files.items())
    assert not temporaries(run.directory)
    counters = run.counters()
    assert counters["offered"] == len(expected)
    assert counters["saved"] == len(files)
    lost = sum(counters[name] for name in LOSSES if name != "no_data")  # those have left their description
    assert counters["saved"] + counters["description_only"] + counters["not_selected"] + lost == counters["offered"], counters
    about_tensors = [line for line in run.lines() if not line.startswith("FASTCMP_")]  # a malformed variable is told as well
    # A line for each cause, of which opening a directory and opening a file are two, and one that sums up.
    assert len(about_tensors) <= (2 + sum(counters[name] > 0 for name in LOSSES) if lost else 0)
    return counters


# --- disks -------------------------------------------------------------------------------------------------------------------------------


def test_a_full_disk_loses_what_does_not_fit_and_leaves_no_half_file(small_disk: Path, hosts: Hosts, tmp_path: Path) -> None:
    without = hosts.run(tmp_path, "--tokens", 8, preload=False)
    run = hosts.run(tmp_path, "--tokens", 8, **EVERYTHING, ATB_OUTPUT_DIR=f"{small_disk}/", FASTCMP_DUMP_DIR=str(tmp_path))
    assert run.stdout == without.stdout
    expected = {one.tail(): one.contents for one in offers(tokens=8, layers=2, nbytes=4096)}
    counters = assert_sound(run, expected=expected)
    assert 0 < counters["saved"] < len(expected) and counters["write_failed"] == len(expected) - counters["saved"]
    assert "No space left on device; counted from now on" in run.lines()[0]
    assert re.fullmatch(r"\d+ tensors saved; \d+ write failed \(`fastcmp doctor` says why\)", run.lines()[-1])


def test_a_disk_without_room_for_the_heartbeat_is_no_matter(small_disk: Path, hosts: Hosts) -> None:
    (small_disk / "filler").write_bytes(b"x" * 250_000)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "more").write_bytes(b"x" * 20_000)
    run = hosts.run(small_disk, **EVERYTHING)
    assert run.status == 0 and "No space left on device" in run.lines()[0]
    assert not temporaries(small_disk)


@pytest.mark.parametrize(
    ("reserve", "is_enough"), [("0", True), ("100k", True), ("900T", False), ("1Ei", True), ("", None), ("300K", False), ("0B", True)]
)
def test_FASTCMP_MIN_FREE_is_left_free(reserve: str, is_enough: bool | None, small_disk: Path, hosts: Hosts, tmp_path: Path) -> None:
    """A malformed reserve counts as none given, which is 2 GB: more than this disk has."""
    (small_disk / "filler").write_bytes(b"x" * 60_000)
    where = {"ATB_OUTPUT_DIR": f"{small_disk}/", "FASTCMP_DUMP_DIR": str(tmp_path), "FASTCMP_MIN_FREE": reserve}
    run = hosts.run(tmp_path, "--tokens", 1, "--layers", 1, "--bytes", 16, **EVERYTHING, **where)
    expected = {one.tail(): one.contents for one in offers(nbytes=16)}
    counters = assert_sound(run, expected=expected)
    is_saved = is_enough and reserve != "1Ei"
    assert (counters["saved"], counters["low_disk"]) == ((len(expected), 0) if is_saved else (0, len(expected)))
    if not is_saved:
        assert "skipped, too little space is left on the disk; see FASTCMP_MIN_FREE; counted from now on" in run.stderr


def test_twice_the_size_of_a_tensor_is_left_free(small_disk: Path, hosts: Hosts, tmp_path: Path) -> None:
    where = {"ATB_OUTPUT_DIR": f"{small_disk}/", "FASTCMP_DUMP_DIR": str(tmp_path), "FASTCMP_MIN_FREE": "1"}
    run = hosts.run(tmp_path, "--tokens", 1, "--layers", 1, "--bytes", 140_000, **EVERYTHING, **where)
    assert run.counters()["low_disk"] == run.counters()["offered"] > 0 and run.files() == {}


@pytest.mark.parametrize(
    ("limit", "count"),
    [("0", 0), ("4095", 0), ("4096", 1), ("8191B", 1), ("8192", 2), ("20k", 4), ("20Ki", 5), ("1G", 32), ("", 32), ("lots", 32)],
)
def test_FASTCMP_DUMP_LIMIT_ends_the_dump(limit: str, count: int, hosts: Hosts, tmp_path: Path) -> None:
    counters = assert_sound(hosts.run(tmp_path, *ARGUMENTS, **EVERYTHING, FASTCMP_DUMP_LIMIT=limit))
    assert (counters["saved"], counters["over_limit"]) == (count, 32 - count)
    assert counters["tensor_bytes"] == 4096 * count


def test_a_tensor_that_passes_the_limit_ends_the_dump_for_smaller_ones_too(hosts: Hosts, tmp_path: Path) -> None:
    code = """
from standin_model import *
model = Model()
for layer, size in enumerate([100, 1000, 10, 100]):
    model.add(layer, 0, inputs=0)
    model.execute(layer, 0, 0, b"x" * size, dtype=4, dims=str(size))
"""
    run = hosts.run_python(tmp_path, code, **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1"}, FASTCMP_DUMP_LIMIT="500")
    (path,) = run.files().values()
    assert path.read_bytes() == bin_bytes(2, 4, "100", b"x" * 100)
    assert run.counters()["over_limit"] == 3
    assert "FASTCMP_DUMP_LIMIT is reached; nothing more is saved" in run.lines()[0]


# --- limits of the process -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", range(6))
def test_no_descriptor_to_be_had(more: int, hosts: Hosts, tmp_path: Path) -> None:
    """The limit allows what the loader needs, and a few more or none at all while the tensors are saved."""
    code = """
import os, resource, sys
from standin_model import *
model = Model()
model.add(0, 0)
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
except OSError:
    pass
for _ in range(int(sys.argv[1])):
    os.close(taken.pop())
for token in range(4):
    model.execute(0, 0, token, b"abcd", dims="1")
assert drain() == 0
counters = status()["counters"]
assert counters["offered"] == 16 == counters["saved"] + counters["write_failed"], counters
for number in taken:
    os.close(number)
model.execute(0, 0, 4, b"abcd", dims="1")
print("checksum")
"""
    run = hosts.run_python(tmp_path, code, more, **EVERYTHING)
    counters = run.counters()
    assert counters["saved"] == len(run.files()) >= (20 if more > 3 else 4) and not temporaries(tmp_path)
    if more < 1:
        assert "Too many open files" in run.lines()[0]


def test_no_thread_to_be_had(abi: int, shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    variables = {**EVERYTHING, "LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_NO_THREADS": "1"}
    run = hosts.run(tmp_path, *ARGUMENTS, program=f"standin_host_abi{abi}", **variables)
    assert assert_sound(run)["saved"] == len(OFFERS) and run.stderr == ""


def test_no_thread_to_be_had_by_the_users_own_limit(nobodys: Path, public_hosts: Hosts) -> None:
    wrapper = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "prlimit", "--nproc=1")
    run = public_hosts.run(nobodys, *ARGUMENTS, wrapper=wrapper, **EVERYTHING)
    assert assert_sound(run)["saved"] == len(OFFERS) and run.stderr == ""


def test_a_host_with_little_address_space_computes_on(hosts: Hosts, tmp_path: Path) -> None:
    """Room for the host and not for 64 MiB of queue."""
    limit = 120 << 20
    arguments = ("--tokens", 3, "--layers", 1, "--bytes", 4 << 20)
    without = hosts.run(
        tmp_path, *arguments, preload=False, options={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
    )
    run = hosts.run(
        tmp_path, *arguments, **EVERYTHING, options={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
    )
    assert (run.status, run.stdout) == (without.status, without.stdout)
    assert_sound(run, expected={one.tail(): one.contents for one in offers(tokens=3, nbytes=4 << 20)})


# --- a call of the system that fails, each in turn -----------------------------------------------------------------------------------------

FAULTS = [("openat", 13), ("openat", 24), ("mkdirat", 28), ("write", 28), ("write", 5), ("close", 5), ("renameat", 30), ("fstat", 5)]


@pytest.mark.parametrize(("call", "error"), FAULTS, ids=[f"{call} {os.strerror(error)}" for call, error in FAULTS])
@pytest.mark.parametrize("way", ["once", "from then on", "once, without a thread"])
def test_each_call_that_fails_costs_its_tensor_and_nothing_else(
    call: str, error: int, way: str, shim: Path, hosts: Hosts, tmp_path: Path
) -> None:
    variables = {**EVERYTHING, "LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_CALLS": call, "FAULT_ERRNO": str(error)}
    variables["FAULT_PATH"] = "tensor0.bin." if call == "close" else "msit_dump"  # directories are closed, too
    variables |= {} if way == "from then on" else {"FAULT_ONCE": "1"}
    variables |= {"FAULT_NO_THREADS": "1"} if "without" in way else {}
    lost = []
    for at in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        place = tmp_path / str(at)
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, **variables, FAULT_AT=str(at))
        counters = assert_sound(run)
        lost.append(counters["write_failed"])
        assert counters["write_failed"] <= 1 or way == "from then on"
        if counters["write_failed"]:
            assert os.strerror(error) in run.lines()[0]
    assert call == "fstat" or lost[0] > 0


def test_a_directory_that_goes_away_while_it_is_empty_costs_nothing(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    """`dump_data` removes that of its run at the end of the process if nothing is in it yet, and the library may be about to write there."""
    variables = {"LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_CALLS": "mkdirat", "FAULT_ERRNO": "2", "FAULT_PATH": "msit_dump"}
    for at in (1, 2, 3, 5, 8):
        place = tmp_path / str(at)
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, **EVERYTHING, **variables, FAULT_AT=str(at), FAULT_ONCE="1")
        assert assert_sound(run)["write_failed"] == 0
        assert len(run.files()) == len(OFFERS)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["openat", "mkdirat", "write", "close", "renameat", "fstat"])
@pytest.mark.parametrize("once", [True, False], ids=["once", "from then on"])
def test_every_single_call_may_fail(call: str, once: bool, shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    """The n-th for every n, up to the first run that has none left to fail."""
    variables = {
        **EVERYTHING,
        "LD_PRELOAD": f"{hosts.library}:{shim}",
        "FAULT_CALLS": call,
        "FAULT_PATH": tmp_path.name,
        "FAULT_ERRNO": "5",
    }
    variables |= {"FAULT_ONCE": "1"} if once else {}
    kept = []
    for at in range(1, 2000):
        place, told = tmp_path / str(at), tmp_path / f"{at}.told"
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, **variables, FAULT_AT=str(at), FAULT_TOLD=str(told))
        assert run.status == 0 and all(path.read_bytes() == OFFERS[tail] for tail, path in run.files().items())
        assert not once or len(run.files()) >= len(OFFERS) - 1
        kept.append(len(run.files()))
        if not told.exists():
            break
    else:
        pytest.fail("there are more calls than were tried")
    assert kept[-1] == len(OFFERS) and len(kept) > (1 if call == "mkdirat" else len(OFFERS)), kept
    assert once or kept[0] < len(OFFERS) or call == "fstat", kept


@pytest.mark.parametrize("on", [False, True], ids=["once", "from then on"])
def test_memory_that_is_not_to_be_had_costs_tensors_and_not_the_host(on: bool, shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    """Allocations of the library's own thread fail; the host's only thread has all it wants."""
    without = hosts.run(tmp_path, *ARGUMENTS, preload=False)
    variables = {**EVERYTHING, "LD_PRELOAD": f"{hosts.library}:{shim}", **({"FAULT_MALLOC_ON": "1"} if on else {})}
    kept = []
    for at in (*range(1, 30), 40, 60, 90, 150, 300):
        place = tmp_path / str(at)
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, **variables, FAULT_MALLOC_AT=str(at))
        assert (run.status, run.stdout) == (0, without.stdout), at
        files = run.files()
        assert all(path.read_bytes() == OFFERS[tail] for tail, path in files.items()) and not temporaries(place), at
        if run.heartbeats():
            counters = run.counters()
            assert counters["saved"] == len(files) and counters["saved"] + counters["write_failed"] == counters["offered"], (at, counters)
        kept.append(len(files))
    assert kept[0] < len(OFFERS) or not on
    assert kept[-1] >= len(OFFERS) - 1 or on


def test_memory_that_is_not_to_be_had_once_a_registered_tensor_is_saved_costs_only_its_mark(
    shim: Path, hosts: Hosts, tmp_path: Path
) -> None:
    """A pattern is looked for by copies of the path's parts; a copy that cannot be made ended the host."""
    patterns = {tail.replace("/0_StandinLayer", "/*_StandinLayer") for tail in OFFERS}
    listed = write_list(tmp_path / "list" / "paths.txt", *patterns)
    variables = {"FASTCMP_ALLOWLIST": str(listed), "LD_PRELOAD": f"{hosts.library}:{shim}"}
    unmarked = 0
    for at in range(300, 900, 12):  # after those of the first heartbeat
        place = tmp_path / str(at)
        place.mkdir()
        run = hosts.run(place, *ARGUMENTS, **variables, FAULT_MALLOC_AT=str(at))
        assert run.status == 0, at
        for heartbeat in run.heartbeats():
            is_unmarked = heartbeat["ended"] and heartbeat["registered_saved"] < len(run.files())
            assert not is_unmarked or heartbeat["counters"]["internal_error"] > 0, (at, heartbeat)
            unmarked += is_unmarked
    assert unmarked > 0


# --- a host that closes what it does not know ----------------------------------------------------------------------------------------------

# Every write takes 50 ms. After the first one, all descriptors are closed and their numbers taken by files of the host.
CLOSING = """
import os, sys, time
from standin_model import *
model = Model()
model.add(0, 0, inputs=0)
data = b"x" * (4 << 20)
listed = sys.argv[1]
assert follow(listed, sys.argv[2]) == 0
model.execute(0, 0, 0, data, dtype=4, dims=str(len(data)))
time.sleep(0.08)  # in the middle of four pieces
os.closerange(3, 256)
own = [os.open(f"own{number}", os.O_RDWR | os.O_CREAT, 0o600) for number in range(40)]
drain()
model.execute(0, 0, 1, b"abcd", dims="1")
with open(listed, "a") as file:
    file.write("2/0_Model/0_Layer/0_Norm/after/outtensor0.bin\\n")
model.execute(0, 0, 2, b"abcd", dims="1")
assert drain() == 0
for number in own:
    assert os.fstat(number).st_size == 0, "something else is in a file of the host"
    os.write(number, b"own")
"""


def test_a_host_that_closes_all_descriptors_keeps_its_own_files_to_itself(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    names = [f"{token}/0_Model/0_Layer/0_Norm/after/outtensor0.bin" for token in range(3)]
    listed = tmp_path / "list" / "paths.txt"
    listed.parent.mkdir(mode=0o700)
    listed.write_text("".join(f"{name}\n" for name in names[:2]))
    listed.chmod(0o600)
    variables = {"LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_PATH": "outtensor0", "FAULT_SLEEP_MS": "50"}
    run = hosts.run_python(tmp_path, CLOSING, listed, tmp_path / "tensors" / "thread_1", **variables)
    files = saved_files(tmp_path)
    assert files.keys() == {*names[1:]}, "the first one was lost in the middle, and its temporary file with it"
    assert all(fastcmp.read_tensor(path).tobytes() == b"abcd" for path in files.values())
    assert run.counters()["write_failed"] == 1 and "Bad file descriptor" in run.lines()[0]


def test_a_directory_that_was_removed_is_made_again_for_the_next_tensor(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import os, shutil
from standin_model import *
model = Model()
model.add(0, 0, inputs=0)
for token, part in enumerate(["", "1/0_Model", "2", "../..", "../../.."]):
    model.execute(0, 0, token, b"abcd", dims="1")
    assert drain() == 0
    top = f"out/msit_dump/tensors/0_{os.getpid()}"
    assert os.path.isfile(f"{top}/{token}/0_Model/0_Layer/0_Norm/after/outtensor0.bin"), token
    shutil.rmtree(os.path.normpath(os.path.join(top, part)))
"""
    hosts.run_python(tmp_path, code, **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1", "ATB_OUTPUT_DIR": "out"})


def test_a_disk_that_is_taken_away_costs_the_host_nothing(small_disk: Path, hosts: Hosts, tmp_path: Path) -> None:
    """As where a volume is unmounted, or its directory is removed, while the model runs."""
    host = hosts.start(
        tmp_path, "--tokens", 10, "--layers", 1, "--bytes", 64, "--sleep-ms", 20, **EVERYTHING, ATB_OUTPUT_DIR=f"{small_disk}/out/"
    )
    for _ in range(6):
        shutil.rmtree(small_disk / "out", ignore_errors=True)
    stdout, stderr = host.communicate(timeout=60)
    assert host.returncode == 0 and b"checksum" in stdout
    assert all(line.startswith(b"fastcmp preload: ") for line in stderr.splitlines())
