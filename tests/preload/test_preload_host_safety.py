"""The host does what it would have done without the library, and nothing outside the output directory changes."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from preload_expected import offers
from preload_host import EVERYTHING, EVERYTHING_OF_2023, HEARTBEAT, Hosts, temporaries, tree_hash, write_list

ALL_ERAS = EVERYTHING_OF_2023 | EVERYTHING
FLOWS = {
    "present-day": (),
    "older": ("--older",),
    "mki": ("--mki",),
    "store-asdops": ("--store", "asdops"),
    "store-atb": ("--store", "atb"),
    "legacy": ("--legacy",),
    "legacy-pid": ("--legacy-pid",),
    "legacy-store-util": ("--legacy-store-util",),
}
WAYS = {
    "plain": (),
    "bad": ("--bad", "--threads", 2),
    "fork": ("--fork", "--threads", 3),
    "exit-fast": ("--exit-fast", "--threads", 4),
    "save-at-exit": ("--save-at-exit", "--bad"),
}


def new_place(tmp_path: Path, name: str) -> Path:
    """A working directory with something precious in and beside it."""
    cwd = tmp_path / name / "cwd"
    for outside in (cwd / "standin_outside", cwd.parent / "standin_outside"):
        outside.mkdir(parents=True)
        (outside / "precious.bin").write_text("precious")
    return cwd


def what_else(cwd: Path) -> str:
    """All that lies around the directories that the library may write to."""
    allowed = [cwd / name for name in ("msit_dump", "atb_temp", "tensors")]
    return tree_hash(cwd.parent, without=(*allowed, *cwd.glob(f"{HEARTBEAT}*")))


# Every way in one of the ABIs, the bad inputs in both.
COMBINATIONS = [
    (number % 2 if way != "bad" else abi, flow, way)
    for number, (flow, way) in enumerate(itertools.product(FLOWS, WAYS))
    for abi in range(2 if way == "bad" else 1)
]


@pytest.mark.parametrize(("abi", "flow", "way"), COMBINATIONS)
def test_the_host_prints_the_same_and_nothing_else_changes(abi: int, flow: str, way: str, hosts: Hosts, tmp_path: Path) -> None:
    arguments, program = (*FLOWS[flow], *WAYS[way], "--bytes", 64, "--tokens", 2), f"standin_host_abi{abi}"
    without = hosts.run(new_place(tmp_path, "without"), *arguments, program=program, preload=False)
    assert without.status == 0
    for name, variables in {"everything": ALL_ERAS, "nothing": {}, "off": {**ALL_ERAS, "FASTCMP_DUMP": "0"}}.items():
        cwd = new_place(tmp_path, name)
        before = what_else(cwd)
        run = hosts.run(cwd, *arguments, program=program, **variables)
        assert (run.status, run.stdout) == (0, without.stdout), name
        assert what_else(cwd) == before, name
        run.lines()
        assert way in ("fork", "exit-fast") or not temporaries(cwd)
        assert not (name != "everything" and any(path.suffix == ".bin" for path in (cwd / "msit_dump").rglob("*")))


@pytest.mark.parametrize("flags", ["lazy,local", "now,local", "lazy,global", "now,global", "lazy,local,deepbind", "now,global,deepbind"])
@pytest.mark.parametrize("variant", ["abi0", "abi1", "symbolic", "symbolic_functions", "hidden", "no_interposition"])
def test_a_library_that_the_host_loads_itself_computes_the_same(flags: str, variant: str, hosts: Hosts, tmp_path: Path) -> None:
    library = hosts.standin / f"libatb_standin_{variant}.so"
    arguments = ("--dlopen", flags, library, "--bad")
    cwd = new_place(tmp_path, "cwd")
    before = what_else(cwd)
    run = hosts.run(cwd, *arguments, program="standin_host", **EVERYTHING)
    assert what_else(cwd) == before
    without = hosts.run(new_place(tmp_path, "without"), *arguments, program="standin_host", preload=False)
    assert (run.status, run.stdout) == (without.status, without.stdout)
    is_hooked = variant.startswith("abi") and "deepbind" not in flags
    assert run.files().keys() == ({offer.tail() for offer in offers(tokens=4, layers=2)} if is_hooked else set())


def test_a_host_that_carries_the_functions_itself_runs_unhooked(hosts: Hosts, tmp_path: Path) -> None:
    run = hosts.run(tmp_path, "--bad", program="standin_host_inside", **EVERYTHING)
    without = hosts.run(new_place(tmp_path, "without"), "--bad", program="standin_host_inside", preload=False)
    assert (run.status, run.stdout, run.files()) == (0, without.stdout, {})


# --- links, users, modes -----------------------------------------------------------------------------------------------------------------

FOLLOW_AND_RUN = """
import sys
from standin_model import *
assert follow(sys.argv[1], sys.argv[2]) == 0
run_library(tokens=int(sys.argv[3]))
"""
VICTIM = "0/0_StandinModelTorch/0_StandinLayerRunner/0_NormOpsRunner/after/outtensor0.bin"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "precious.bin").write_text("precious")
    return made


@pytest.mark.parametrize("depth", range(1, 5), ids=lambda depth: VICTIM.split("/")[depth])
def test_a_link_planted_as_a_directory_is_not_followed(depth: int, outside: Path, hosts: Hosts, tmp_path: Path) -> None:
    run_directory = tmp_path / "home" / "tensors" / "thread_1"
    parts = VICTIM.split("/")
    planted = run_directory.joinpath(*parts[:depth])
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside, target_is_directory=True)
    before = tree_hash(outside)
    listed = write_list(tmp_path / "list" / "paths.txt", VICTIM, VICTIM.replace("0/0_S", "1/0_S", 1))
    run = hosts.run_python(tmp_path, FOLLOW_AND_RUN, listed, run_directory, 2)
    assert tree_hash(outside) == before and planted.is_symlink()
    assert set(run.files()) == {VICTIM.replace("0/0_S", "1/0_S", 1)}, "the other token is saved"
    line, summary = run.lines()
    assert "opening the output directory: " in line and ("Not a directory" in line or "Too many levels of symbolic links" in line)
    assert "1 tensors saved; 1 write failed, 1 of 2 registered paths have no tensor" in summary


MOVED = """
import os, sys
from standin_model import *
run_directory, outside, depth = sys.argv[2], sys.argv[3], int(sys.argv[4])
assert follow(sys.argv[1], run_directory) == 0
model = Model()
for node in range(3):
    model.add(0, node, inputs=0)
def save(node):
    model.execute(0, node, 0, b"abcd", dims="1")
    assert drain() == 0
def name(node):
    return os.path.join(run_directory, f"0/0_Model/0_Layer/{node}_Norm/after/outtensor0.bin")
save(0)
planted = os.path.join(run_directory, *"0/0_Model/0_Layer".split("/")[:depth])
os.rename(planted, planted + "_moved")
os.symlink(outside, planted)
save(1)
assert os.listdir(outside) == ["precious.bin"] and not os.path.exists(name(1))
os.unlink(planted)
save(2)
assert os.path.isfile(name(2))
"""


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_link_planted_in_place_of_a_directory_that_was_written_into_is_not_followed(
    depth: int, outside: Path, hosts: Hosts, tmp_path: Path
) -> None:
    """The way that the last tensor went may not be the way of the next one."""
    names = [f"0/0_Model/0_Layer/{node}_Norm/after/outtensor0.bin" for node in range(3)]
    listed = write_list(tmp_path / "list" / "paths.txt", *names)
    run = hosts.run_python(tmp_path, MOVED, listed, tmp_path / "home" / "tensors" / "thread_1", outside, depth)
    assert "2 tensors saved; 1 write failed" in run.lines()[-1]


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "fifo", "directory"])
def test_what_is_planted_under_a_files_name_is_replaced_or_left_but_never_written_to(
    kind: str, outside: Path, hosts: Hosts, tmp_path: Path
) -> None:
    run_directory = tmp_path / "home" / "tensors" / "thread_1"
    planted = run_directory / VICTIM
    planted.parent.mkdir(parents=True)
    if kind == "link":
        planted.symlink_to(outside / "precious.bin")
    elif kind == "dangling":
        planted.symlink_to(outside / "new.bin")
    elif kind == "hard link":
        planted.hardlink_to(outside / "precious.bin")
    elif kind == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    listed = write_list(tmp_path / "list" / "paths.txt", VICTIM)
    run = hosts.run_python(tmp_path, FOLLOW_AND_RUN, listed, run_directory, 1)
    assert [path.name for path in outside.iterdir()] == ["precious.bin"] and (outside / "precious.bin").read_text() == "precious"
    if kind == "directory":
        assert planted.is_dir() and "renaming it: Is a directory" in run.lines()[0] and not temporaries(tmp_path)
    else:
        (expected,) = (one.contents for one in offers(nbytes=64) if one.tail() == VICTIM)
        assert stat.S_ISREG(planted.lstat().st_mode) and planted.read_bytes() == expected


@pytest.mark.parametrize("name", ["msit_dump", "msit_dump/tensors"])
def test_another_users_link_in_place_of_the_output_directory_is_refused(
    name: str, nobodys: Path, public_hosts: Hosts, outside: Path
) -> None:
    planted = nobodys / name
    planted.parent.mkdir(exist_ok=True)
    planted.symlink_to(outside, target_is_directory=True)
    os.chown(planted, 65534, 65534, follow_symlinks=False)
    nobodys.chmod(0o777)
    before = tree_hash(outside)
    run = public_hosts.run(nobodys, **EVERYTHING)
    assert run.status == 0 and tree_hash(outside) == before
    assert "opening the output directory: Operation not permitted" in run.lines()[0]


def test_the_users_own_link_in_place_of_the_output_directory_may_lead_to_a_larger_disk(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "larger").mkdir()
    (tmp_path / "msit_dump").symlink_to("larger", target_is_directory=True)
    run = hosts.run(tmp_path, "--tokens", 1, **EVERYTHING)
    assert run.stderr == "" and len(list((tmp_path / "larger").rglob("*.bin"))) == len(list(offers(layers=2)))


def as_nobody(*more: str) -> tuple[str, ...]:
    return ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *more)


@pytest.mark.parametrize("mode", [0o555, 0o000, 0o333])
def test_an_output_directory_that_may_not_be_written_costs_the_host_nothing(mode: int, nobodys: Path, public_hosts: Hosts) -> None:
    (nobodys / "out").mkdir(mode=mode)
    os.chown(nobodys / "out", 65534, 65534)
    (nobodys / "out").chmod(mode)
    variables = {**EVERYTHING, "ATB_OUTPUT_DIR": f"{nobodys}/out/", "FASTCMP_DUMP_DIR": str(nobodys)}
    run = public_hosts.run(nobodys, wrapper=as_nobody(), **variables)
    without = public_hosts.run(nobodys, wrapper=as_nobody(), preload=False)
    assert (run.status, run.stdout) == (0, without.stdout)
    if mode == 0o333:  # written, and never listed
        assert run.stderr == ""
    else:
        assert "opening the output directory: Permission denied; counted from now on" in run.lines()[0]
        assert run.counters()["write_failed"] == run.counters()["offered"] == 128


def test_another_users_files_stay_as_they_are(nobodys: Path, public_hosts: Hosts) -> None:
    """As where two users dump to one directory; the second cannot write into what the first has made."""
    nobodys.chmod(0o777)
    first = public_hosts.run(nobodys, "--legacy-pid", wrapper=as_nobody(), **EVERYTHING_OF_2023, ACLTRANSFORMER_HOME_PATH=str(nobodys))
    (made,) = (nobodys / "tensors").iterdir()
    before = tree_hash(made)
    assert first.files() and made.stat().st_mode & 0o022 == 0
    second = public_hosts.run(
        nobodys, "--legacy-pid", wrapper=("setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"),
        **EVERYTHING_OF_2023, ACLTRANSFORMER_HOME_PATH=str(nobodys),
    )  # fmt: skip
    assert second.status == 0 and second.stdout == first.stdout and tree_hash(made) == before
    assert "Permission denied" in second.lines()[0]


# --- signals and descriptors of the host ---------------------------------------------------------------------------------------------------


def with_limit(kind: int, value: int) -> dict[str, object]:
    return {"preexec_fn": lambda: resource.setrlimit(kind, (value, value))}


@pytest.mark.parametrize("limit", [0, 50, 120, 1000, 3000])
@pytest.mark.parametrize("threads", ["", "1"], ids=["own thread", "in the caller's thread"])
def test_a_limit_on_file_sizes_is_an_error_and_no_signal(limit: int, threads: str, shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    """SIGXFSZ ends a process: nothing of ours may raise it, be it a tensor or the heartbeat."""
    variables = {**EVERYTHING, "LD_PRELOAD": f"{hosts.library}:{shim}", **({"FAULT_NO_THREADS": threads} if threads else {})}
    run = hosts.run(tmp_path, options=with_limit(resource.RLIMIT_FSIZE, limit), **variables)
    without = hosts.run(tmp_path, preload=False)
    assert (run.status, run.stdout) == (0, without.stdout)
    assert "writing it: File too large; counted from now on" in run.lines()[0]
    assert run.files() == {} and not temporaries(tmp_path)


SIGNALS = """
import ctypes, os, resource, signal, sys
from standin_model import *
heard = []
for one in (signal.SIGXFSZ, signal.SIGPIPE):
    signal.signal(one, lambda number, frame: heard.append(number))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
model = Model()
model.execute(0, 0, 0, b"x" * 4000, dims="1000")
drain()
assert heard == [], heard
os.kill(os.getpid(), signal.SIGXFSZ)  # the host's own still comes
assert heard == [signal.SIGXFSZ], heard
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXFSZ])
os.kill(os.getpid(), signal.SIGXFSZ)
model.execute(0, 0, 1, b"x" * 4000, dims="1000")
drain()
assert signal.sigpending() == {signal.SIGXFSZ}, "one that was pending still is"
"""


@pytest.mark.parametrize("threads", ["", "1"], ids=["own thread", "in the caller's thread"])
def test_the_hosts_signals_stay_the_hosts(threads: str, shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    variables = {"LD_PRELOAD": f"{hosts.library}:{shim}", **({"FAULT_NO_THREADS": threads} if threads else {})}
    hosts.run_python(tmp_path, SIGNALS, **EVERYTHING, **variables)


def test_signals_of_the_process_go_to_its_own_threads_and_interrupt_nothing(hosts: Hosts, tmp_path: Path) -> None:
    """A timer of 500 Hz, with a handler that makes every slow system call come back early."""
    code = """
import signal, threading
from standin_model import *
ticks = []
main = threading.get_native_id()
signal.signal(signal.SIGALRM, lambda *_: ticks.append(threading.get_native_id()))
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
model = Model()
for token in range(300):
    model.execute(0, 0, token, bytes([token & 255]) * 300_000, dtype=4, dims="300000")
assert drain() == 0
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(ticks) > 10 and set(ticks) == {main}
"""
    run = hosts.run_python(tmp_path, code, **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1", "ATB_SAVE_TENSOR_PART": "1"})
    files = run.files()
    assert len(files) == 300 and run.counters()["saved"] == 300
    assert all(path.read_bytes().endswith(bytes([int(tail.split("/")[0]) & 255]) * 300_000) for tail, path in files.items())


@contextlib.contextmanager
def pipe(*, is_full: bool) -> Iterator[int]:
    """The writing end of a pipe that nobody reads: full, or without a reader."""
    reading, writing = os.pipe()
    if is_full:
        os.set_blocking(writing, False)
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"x" * size)
        os.set_blocking(writing, True)
    else:
        os.close(reading)
    yield writing
    os.close(writing)
    if is_full:
        os.close(reading)


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "broken"])
def test_a_stderr_that_nobody_reads_neither_ends_nor_holds_the_host(is_full: bool, hosts: Hosts, tmp_path: Path) -> None:
    without = hosts.run(tmp_path, "--bad", preload=False)
    with pipe(is_full=is_full) as stderr:
        start = time.monotonic()
        run = hosts.run(tmp_path, "--bad", options={"stderr": stderr}, timeout=30, **EVERYTHING)
    assert (run.status, run.stdout) == (0, without.stdout)
    assert time.monotonic() - start < 10
    assert run.counters()["refused_path"] > 0


def test_a_closed_stderr_stays_closed(hosts: Hosts, tmp_path: Path) -> None:
    """The first file that such a host opens becomes descriptor 2."""
    code = """
import os
from standin_model import *
assert os.open("data.txt", os.O_RDWR | os.O_CREAT, 0o600) == 2
Model().execute(0, 0, 0, None, nbytes=8, dims="2")
"""
    hosts.run_python(
        tmp_path, "import os, sys\nos.close(2)\nos.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])", code, **EVERYTHING
    )
    assert (tmp_path / "data.txt").read_bytes() == b""


@pytest.mark.parametrize("is_called_before", [True, False], ids=["called before", "not called before"])
def test_a_data_file_that_became_descriptor_2_is_not_written_to(is_called_before: bool, hosts: Hosts, tmp_path: Path) -> None:
    code = f"""
import os
from standin_model import *
model = Model()
if {is_called_before}:
    model.execute(0, 0, 0, b"abcd", dims="1")
    drain()  # else its thread may open a file in between
os.close(2)
assert os.open("data.txt", os.O_RDWR | os.O_CREAT, 0o600) == 2
Model().execute(0, 0, 1, None, nbytes=8, dims="2")
"""
    run = hosts.run_python(tmp_path, code, **EVERYTHING)
    assert (tmp_path / "data.txt").read_bytes() == b"" and run.counters()["no_data"] > 0


def test_a_standard_stream_that_is_closed_is_never_replaced_by_a_file_of_ours(shim: Path, hosts: Hosts, tmp_path: Path) -> None:
    """What the host prints must not end up in a tensor."""
    code = """
import os, time
from standin_model import *
for number in range(3):
    os.close(number)
model = Model()
for token in range(3):
    model.execute(0, 0, token, b"abcd", dims="1")
    time.sleep(0.02)  # each file takes 50 ms to write
    for number in range(3):
        try:
            os.write(number, b"printed by the host")
        except OSError:
            pass
drain()
"""
    variables = {"LD_PRELOAD": f"{hosts.library}:{shim}", "FAULT_PATH": "msit_dump", "FAULT_SLEEP_MS": "50"}
    run = hosts.run_python(tmp_path, code, **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1", "ATB_SAVE_TENSOR_PART": "1"}, **variables)
    assert len(run.files()) == 3 and {path.read_bytes()[-4:] for path in run.files().values()} == {b"abcd"}


def test_no_descriptor_is_left_to_the_programs_that_the_host_starts(hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt", "0/0_Model/0_Layer/0_Norm/after/outtensor0.bin")
    code = f"""
import os, subprocess, sys
from standin_model import *
assert follow({str(listed)!r}) == 0
model = Model()
def descriptors():
    return set(os.listdir("/proc/self/fd"))
for token in range(3):
    model.execute(0, 0, token, b"abcd", dims="1")
drain()
here = {{os.readlink(f"/proc/self/fd/{{number}}") for number in descriptors() if os.path.lexists(f"/proc/self/fd/{{number}}")}}
assert {str(listed)!r} in here
print(subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True).stdout)
"""
    run = hosts.run_python(tmp_path, code)
    assert str(listed) not in run.stdout


def test_errno_and_the_answers_stay_whatever_happens_inside(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import ctypes
from standin_model import *
libc = ctypes.CDLL(None, use_errno=True)
probe = ctypes.CDLL(None, use_errno=True)
save = probe._ZN3atb5Probe18IsSaveTensorBeforeEv
count = probe._ZN3atb5Probe21IsExecuteCountInRangeEm
save.restype = count.restype = ctypes.c_bool
for value in (0, 2, 28, 110):
    ctypes.set_errno(value)
    assert save() and count(ctypes.c_uint64(3)) and ctypes.get_errno() == value
    ctypes.set_errno(value)
    assert probe.fastcmp_preload_follow(b"/nonexistent/list", None) == 2 and ctypes.get_errno() == value
"""
    hosts.run_python(tmp_path, code, **EVERYTHING)


def test_a_working_directory_that_was_removed_costs_the_host_nothing(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    removed = 'mkdir gone && cd gone && rmdir "$PWD" && exec "$@"'
    for flow in ((), ("--legacy",), ("--store", "atb")):
        run = hosts.run(tmp_path, *flow, wrapper=("sh", "-c", removed, "sh"), program=f"standin_host_abi{abi}", **ALL_ERAS)
        assert run.status == 0 and "checksum" in run.stdout and run.lines()
        assert not [path for path in tmp_path.rglob("*") if path.suffix == ".bin"]


def test_a_working_directory_that_changes_does_not_move_the_output(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import os
from standin_model import *
model = Model()
model.execute(0, 0, 0, b"abcd", dims="1")
os.mkdir("elsewhere")
os.chdir("elsewhere")
model.execute(0, 0, 1, b"abcd", dims="1")
"""
    run = hosts.run_python(tmp_path, code, **{**EVERYTHING, "ATB_SAVE_TENSOR_TIME": "1", "ATB_SAVE_TENSOR_PART": "1"})
    assert len(run.files()) == 2 and not list((tmp_path / "elsewhere").iterdir())


def test_signals_that_end_the_host_end_it_at_once(hosts: Hosts, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        host = hosts.start(tmp_path, "--tokens", 1000, "--sleep-ms", 20, **EVERYTHING)
        time.sleep(0.1)
        start = time.monotonic()
        host.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.communicate(timeout=10)
        assert host.returncode == -number and time.monotonic() - start < 5
