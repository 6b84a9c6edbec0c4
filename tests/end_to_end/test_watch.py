"""Comparing while the dumps are written: nothing is taken half written, and the report is that of a comparison afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noted import Notes

import fastcmp
from fastcmp import watching
from fastcmp.errors import OutputError, UsageError
from fastcmp.options import CompareOptions
from fastcmp.results.saved import load_saved
from fastcmp.watching import watch

ROOT = Path(__file__).resolve().parents[2]
SERIAL = CompareOptions(executor="serial", kl="none")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SETTLED_S", 0.15)
    monkeypatch.setattr(watching, "_POLL_S", 0.05)


def values(number: int, role: str) -> np.ndarray:
    made = np.random.default_rng(number).standard_normal((4, 65)).astype(np.float32)
    return made * np.float32(1 + 1e-6) if role == "acl" else made


def add(root: Path, role: str, number: int, array: np.ndarray | None = None) -> None:
    """One more tensor, file first, as a dump would; a plain writer that is seen while it writes."""
    folder = root / role
    folder.mkdir(exist_ok=True, parents=True)
    np.save(folder / f"{number}.npy", values(number, role) if array is None else array)
    named = {str(one): {"0": f"./{one}.npy"} for one in sorted(int(path.stem) for path in folder.glob("*.npy"))}
    (folder / "new.json").write_text(json.dumps(named))
    os.replace(folder / "new.json", folder / "metadata.json")


def watch_in_thread(
    root: Path, output: Path, notes: Notes | None = None, options: CompareOptions = SERIAL, **more: Any
) -> tuple[threading.Thread, list[Any], threading.Event]:
    stop, found = threading.Event(), []

    def run() -> None:
        try:
            sides = root / "golden" / "metadata.json", root / "acl" / "metadata.json"
            found.append(watch(*sides, options=replace(options, output=str(output)), progress=notes, stop=stop, **more))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found, stop


def end(thread: threading.Thread, stop: threading.Event) -> None:
    """It comes to its end by itself, and in any case."""
    thread.join(20)
    is_over = not thread.is_alive()
    stop.set()
    thread.join(20)
    assert is_over


def wait_for_rows(output: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if load_saved(str(output)).table.num_rows >= count:
                return
        except (UsageError, OutputError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"not {count} rows")


def report(output: Path) -> bytes:
    assert {path.name for path in output.iterdir()} == {"cmp_report.csv", "cmp_report.arrow", "run.json"}
    return (output / "cmp_report.csv").read_bytes()


def test_pairs_are_compared_while_more_are_written_and_the_report_is_that_of_afterwards(tmp_path: Path) -> None:
    notes = Notes()
    thread, found, stop = watch_in_thread(tmp_path, tmp_path / "r", notes)
    for number in range(4):
        add(tmp_path, "golden", number)
    add(tmp_path, "acl", 0)
    wait_for_rows(tmp_path / "r", 1)
    assert thread.is_alive() and not load_saved(str(tmp_path / "r")).is_complete
    add(tmp_path, "acl", 1, values(1, "golden") + 1)
    add(tmp_path, "acl", 2)
    wait_for_rows(tmp_path / "r", 3)
    stop.set()
    thread.join(20)
    (result,) = found
    assert result.totals.resumed == 3 and result.totals.unpaired_golden == 1
    assert "a pair fails: 1 at token 0: " in notes.said[0] or any(said.startswith("a pair fails: 1 at token 0") for said in notes.said)
    sides = tmp_path / "golden" / "metadata.json", tmp_path / "acl" / "metadata.json"
    fastcmp.compare(*sides, options=replace(SERIAL, output=str(tmp_path / "afterwards")))
    assert report(tmp_path / "r") == report(tmp_path / "afterwards")


def test_a_file_that_is_written_slowly_or_again_counts_as_it_is_in_the_end(tmp_path: Path) -> None:
    add(tmp_path, "golden", 0)
    add(tmp_path, "acl", 0)
    path = tmp_path / "acl" / "0.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    thread, found, stop = watch_in_thread(tmp_path, tmp_path / "r")
    time.sleep(0.6)  # seen, and an error by now
    path.write_bytes(whole)
    deadline = time.monotonic() + 20
    while load_saved(str(tmp_path / "r")).table.column("verdict").to_pylist() != ["pass"] and time.monotonic() < deadline:
        time.sleep(0.05)
    np.save(path, values(0, "golden") + 5)
    stop.set()
    thread.join(20)
    assert found[0].totals.failed == 1 and found[0].totals.errors == 0


def test_silence_is_an_end_where_writers_are_not_known(tmp_path: Path) -> None:
    thread, found, _ = watch_in_thread(tmp_path, tmp_path / "r", quiet_s=0.8)
    add(tmp_path, "golden", 0)
    add(tmp_path, "acl", 0)
    thread.join(20)
    assert found[0].ok and found[0].totals.pairs == 1


def test_silence_before_the_first_pair_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    add(tmp_path, "golden", 0)
    thread, found, stop = watch_in_thread(tmp_path, tmp_path / "r", notes, quiet_s=0.3)
    thread.join(1.2)
    assert thread.is_alive() and "waiting (Ctrl-C: no longer): " in notes.said[0] and "No such file" in notes.said[0]
    add(tmp_path, "acl", 0)
    end(thread, stop)
    assert found[0].ok and found[0].totals.pairs == 1
    monkeypatch.setattr(watching, "_FIRST_PAIR_S", 0.3)
    thread, found, stop = watch_in_thread(tmp_path / "nothing", tmp_path / "q", quiet_s=0.1)
    end(thread, stop)
    assert isinstance(found[0], UsageError) and "No such file" in str(found[0])


def test_what_only_one_side_writes_is_no_silence(tmp_path: Path) -> None:
    for role in ("golden", "acl"):
        add(tmp_path, role, 0)
    thread, found, stop = watch_in_thread(tmp_path, tmp_path / "r", quiet_s=1.0)
    for number in range(1, 6):
        time.sleep(0.4)
        add(tmp_path, "golden", number)
        assert thread.is_alive()
    end(thread, stop)
    assert found[0].totals.unpaired_golden == 5


def test_a_file_time_of_a_clock_that_is_ahead_does_not_hold_a_pair_up(tmp_path: Path) -> None:
    for role in ("golden", "acl"):
        add(tmp_path, role, 0)
        os.utime(tmp_path / role / "0.npy", (time.time() + 9999,) * 2)
    thread, found, stop = watch_in_thread(tmp_path, tmp_path / "r", quiet_s=3600)
    wait_for_rows(tmp_path / "r", 1)
    stop.set()
    end(thread, stop)
    assert found[0].totals.resumed == 1


def test_what_was_compared_on_the_way_stays_when_it_starts_over(tmp_path: Path) -> None:
    for role in ("golden", "acl"):
        add(tmp_path, role, 0)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "journal-007.arrows").write_bytes(b"of an earlier run")
    thread, found, stop = watch_in_thread(tmp_path, tmp_path / "r", quiet_s=3600, options=replace(SERIAL, fresh=True))
    wait_for_rows(tmp_path / "r", 1)
    assert not (tmp_path / "r" / "journal-007.arrows").exists()
    stop.set()
    end(thread, stop)
    assert found[0].totals.resumed == 1


def test_options_are_refused_as_they_are_without_watching(tmp_path: Path) -> None:
    add(tmp_path, "golden", 0)
    add(tmp_path, "acl", 0)
    sides = tmp_path / "golden", tmp_path / "acl"
    stop = threading.Event()
    stop.set()
    for metric in ("nowhere.py:function", "max_abs_error=os:getcwd"):
        options = replace(SERIAL, metrics=(metric,), output=str(tmp_path / "r"))
        with pytest.raises(UsageError) as expected:
            fastcmp.compare(*sides, options=options)
        with pytest.raises(UsageError) as found:
            watch(*sides, options=options, stop=stop)
        assert str(found.value) == str(expected.value)
        assert not (tmp_path / "r").exists()


def test_a_dump_that_was_finished_long_ago_is_compared_at_once(tmp_path: Path) -> None:
    for role in ("golden", "acl"):
        add(tmp_path, role, 0)
        os.utime(tmp_path / role / "0.npy", (1, 1))
    began = time.monotonic()
    thread, found, _ = watch_in_thread(tmp_path, tmp_path / "r", quiet_s=3600)
    thread.join(20)
    assert found[0].ok and time.monotonic() - began < 15


DUMPER = """
import sys, time
import numpy as np
from fastcmp import dump_data
for number in range(6):
    dump_data(sys.argv[1], number, np.full((3, 70), number + 1, np.float32), token_id=0)
    time.sleep(0.1)
time.sleep(float(sys.argv[2]))
"""


def dumper(root: Path, role: str, rest_s: float) -> subprocess.Popen[bytes]:
    environment = os.environ | {"FASTCMP_DUMP_DIR": str(root), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", DUMPER, role, str(rest_s)], env=environment)


def test_it_is_over_when_the_dumping_processes_have_ended(tmp_path: Path) -> None:
    golden = dumper(tmp_path / "g", "golden", 0.5)
    target = dumper(tmp_path / "t", "acl", 1.5)
    stop, found = threading.Event(), []
    options = replace(SERIAL, output=str(tmp_path / "r"))
    thread = threading.Thread(target=lambda: found.append(watch(tmp_path / "g", tmp_path / "t", options=options, quiet_s=3600, stop=stop)))
    thread.start()
    golden.wait(30)
    target.wait(30)
    end(thread, stop)
    assert found[0].ok and found[0].totals.pairs == 6
    report(tmp_path / "r")


def held(base: Path, name: str) -> int:
    """A dump directory whose writer lives, as long as the descriptor is open: one more tensor per call of `put`."""
    (base / name).mkdir(parents=True)
    lock = os.open(base / name / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def put(directory: Path, role: str, rank: int, content: bytes | None = None) -> None:
    """One tensor of one rank."""
    (directory / f"{role}_tensor" / "0").mkdir(parents=True, exist_ok=True)
    path = directory / f"{role}_tensor" / "0" / f"{rank}_tensor.npy"
    if content is None:
        np.save(path, values(rank, role))
    else:
        path.write_bytes(content)
    header = {"fastcmp_journal": 1, "pid": 1, "rank": str(rank), "cwd": "/", "data_src": role}
    entry = {"data_id": str(rank), "token_id": "0", "path": f"./{directory.name}/{role}_tensor/0/{rank}_tensor.npy", "dtype": "float32"}
    (directory / f"{role}_tensor" / "journal.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(entry) + "\n")


def watch_ranks(root: Path, **more: Any) -> tuple[threading.Thread, list[Any], threading.Event]:
    stop, found = threading.Event(), []
    options = replace(SERIAL, output=str(root / "r"))

    def run() -> None:
        try:
            found.append(watch(root / "g", root / "t", options=options, stop=stop, **more))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found, stop


def test_an_empty_file_of_an_ended_writer_is_not_waited_for(tmp_path: Path) -> None:
    locks = [held(tmp_path / side, "5_cmp_dump_data") for side in ("g", "t")]
    put(tmp_path / "g" / "5_cmp_dump_data", "golden", 0)
    put(tmp_path / "t" / "5_cmp_dump_data", "acl", 0, b"")
    thread, found, stop = watch_ranks(tmp_path, quiet_s=3600)
    time.sleep(0.7)
    assert thread.is_alive()
    for lock in locks:
        os.close(lock)
    end(thread, stop)
    assert found[0].totals.errors == 1


def test_a_file_that_never_settles_is_not_waited_for_once_the_writers_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SETTLED_S", 3600.0)
    monkeypatch.setattr(watching, "_LAST_WAIT_S", 0.3)
    locks = [held(tmp_path / side, "5_cmp_dump_data") for side in ("g", "t")]
    put(tmp_path / "g" / "5_cmp_dump_data", "golden", 0)
    put(tmp_path / "t" / "5_cmp_dump_data", "acl", 0)
    thread, found, stop = watch_ranks(tmp_path, quiet_s=3600)
    time.sleep(0.7)
    assert thread.is_alive()
    for lock in locks:
        os.close(lock)
    end(thread, stop)
    assert found[0].ok and found[0].totals.pairs == 1


def test_every_rank_counts(tmp_path: Path) -> None:
    """The middle one of three is the last to end, and silent for longer than it takes for an end."""
    locks = {(side, rank): held(tmp_path / side, f"{rank + 5}_cmp_dump_data") for side in ("g", "t") for rank in range(3)}
    for side, role in (("g", "golden"), ("t", "acl")):
        for rank in range(3):
            put(tmp_path / side / f"{rank + 5}_cmp_dump_data", role, rank)
    thread, found, stop = watch_ranks(tmp_path, quiet_s=0.4)
    wait_for_rows(tmp_path / "r", 3)
    middle = locks.pop(("t", 1))
    for lock in locks.values():
        os.close(lock)
    thread.join(1.5)
    assert thread.is_alive()
    os.close(middle)
    end(thread, stop)
    assert found[0].ok and found[0].totals.pairs == 3


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["first", "this one"])
def test_the_number_of_some_process_of_this_machine_is_no_writer(tmp_path: Path, pid: int) -> None:
    for side, role in (("g", "golden"), ("t", "acl")):
        os.close(held(tmp_path / side, f"{pid}_cmp_dump_data"))
        put(tmp_path / side / f"{pid}_cmp_dump_data", role, 0)
    thread, found, stop = watch_ranks(tmp_path, quiet_s=0.5)
    end(thread, stop)
    assert found[0].ok and found[0].totals.pairs == 1


def test_ctrl_c_ends_the_waiting_and_gives_the_report(tmp_path: Path) -> None:
    for role in ("golden", "acl"):
        add(tmp_path, role, 0)
    words = [
        sys.executable,
        "-m",
        "fastcmp",
        "compare",
        tmp_path / "golden",
        tmp_path / "acl",
        "-o",
        tmp_path / "r",
        "--watch",
        "--watch-quiet",
        "600",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    wait_for_rows(tmp_path / "r", 1)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=30)
    assert process.returncode == 0, complained
    assert "1 pair done before" in said and "no longer waiting: what is there is compared" in complained
    report(tmp_path / "r")


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--watch-quiet nan: expected seconds, more than 0"):
        watch(tmp_path, tmp_path, quiet_s=float("nan"))


@pytest.mark.parametrize("way", ["content", "position", "ops"])
def test_what_reads_or_counts_tensors_is_not_watched(tmp_path: Path, way: str) -> None:
    with pytest.raises(UsageError, match=rf"--pair-by {way}: (reads|counts) tensors, .*; compare when the dumps are complete"):
        watch(tmp_path / "g", tmp_path / "t", options=CompareOptions(pair_by=("key", way), output=str(tmp_path / "report")))
