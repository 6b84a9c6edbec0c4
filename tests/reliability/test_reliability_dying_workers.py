"""Workers that are killed, stopped, or die of one pair, in a run of thousands: no row is lost, none comes twice, nothing hangs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from reliability_runs import (
    PATIENCE_S,
    ROOT,
    Sides,
    compare,
    descendants,
    many_pairs,
    report_lines,
    shared_memory,
    survivors,
    words,
    workers,
)
from tries import tries

PAIRS = 2000
POISON = 6789


@pytest.fixture(scope="module")
def thousands(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """2000 pairs of 1 MB a side: long enough to be hit often."""
    return many_pairs(tmp_path_factory.mktemp("thousands"), PAIRS, elements=250_000)


@pytest.fixture(scope="module")
def undisturbed(thousands: Sides, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    output = tmp_path_factory.mktemp("undisturbed")
    done = compare(thousands, output, "-j2")
    assert (done.returncode, done.stderr) == (0, "")
    return report_lines(output)


def disturb(thousands: Sides, output: Path, seed: int, number: int, every_s: tuple[float, float], *options: object) -> tuple[int, int, str]:
    """Send a signal to a worker chosen by chance, again and again until the run ends: exit code, signals sent, standard error."""
    chance = random.Random(seed)
    process = subprocess.Popen(words(thousands, output, "-q", "-j2", *options), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    sent, seen = 0, {process.pid}
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        assert time.monotonic() < deadline, f"seed {seed}: hangs after {sent} signals"
        seen.update(descendants(process.pid))
        victims = workers(process.pid)
        if victims:
            try:
                os.kill(chance.choice(victims), number)
                sent += 1
            except ProcessLookupError:
                pass
            time.sleep(chance.uniform(*every_s))
        else:
            time.sleep(0.005)
    assert survivors(list(seen)) == []
    return process.returncode, sent, process.communicate(timeout=10)[1]


def assert_no_row_is_lost(code: int, deaths: int, said: str, output: Path, undisturbed: list[bytes]) -> int:
    rows = report_lines(output)
    hit = [row for row, clean in zip(rows, undisturbed, strict=True) if row != clean]
    assert all(b"[E_WORKER_DIED]" in row and b",False," in row for row in hit), hit[:3]
    assert len(hit) <= deaths // 2, "a pair is given up at its second death, not at its first"
    assert code == (2 if hit else 0), said
    return len(hit)


def test_workers_killed_at_random_lose_no_row(thousands: Sides, undisturbed: list[bytes], tmp_path: Path) -> None:
    before = shared_memory()
    code, kills, said = disturb(thousands, tmp_path, 1, signal.SIGKILL, (0.02, 0.1))
    assert kills >= 1
    assert_no_row_is_lost(code, kills, said, tmp_path, undisturbed)
    assert shared_memory() == before


@pytest.mark.slow
def test_workers_killed_at_random_again_and_again(thousands: Sides, undisturbed: list[bytes], tmp_path: Path) -> None:
    kills = rows = 0
    runs = tries("KILLED_RUNS", 10)
    for seed in range(runs):
        chance = random.Random(seed)
        number = chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
        code, deaths, said = disturb(thousands, tmp_path / str(seed), seed, number, (0.02, 0.2))
        rows += assert_no_row_is_lost(code, deaths, said, tmp_path / str(seed), undisturbed)
        kills += deaths
    print(f"{runs} runs of {PAIRS} pairs, {kills} workers killed, {rows} pairs hit twice")


@pytest.mark.slow
def test_the_process_that_forks_the_workers_may_die_with_all_of_them(thousands: Sides, undisturbed: list[bytes], tmp_path: Path) -> None:
    rows = 0
    runs = max(1, tries("KILLED_RUNS", 10) // 2)
    for seed in range(runs):
        chance = random.Random(seed)
        output = tmp_path / str(seed)
        process = subprocess.Popen(words(thousands, output, "-q", "-j2"), stderr=subprocess.PIPE, text=True, cwd=ROOT)
        kills, seen = 0, set()
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None:
            assert time.monotonic() < deadline, f"seed {seed}: hangs after {kills} signals"
            below = descendants(process.pid)
            seen.update(below)
            first = [pid for pid, parent in below.items() if parent == process.pid]
            if len(below) > len(first) and kills < 3:  # as often as it is started anew, and one time less
                with contextlib.suppress(ProcessLookupError):
                    os.kill(first[0], signal.SIGKILL)
                    kills += 1
                time.sleep(chance.uniform(0.05, 0.4))
            time.sleep(0.01)
        said = process.communicate(timeout=10)[1]
        assert kills and survivors(sorted(seen)) == []
        rows += assert_no_row_is_lost(process.returncode, 2 * kills, said, output, undisturbed)
    print(f"{runs} runs of {PAIRS} pairs, the first process killed up to 3 times in each, {rows} pairs hit twice")


def test_a_stopped_worker_is_replaced_and_its_pairs_are_compared(thousands: Sides, undisturbed: list[bytes], tmp_path: Path) -> None:
    """SIGSTOP once: nothing is heard of it for --stall seconds, then it is killed, and what it had is tried again."""
    process = subprocess.Popen(words(thousands, tmp_path, "-q", "-j2", "--stall", "1"), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    stopped = 0
    while not stopped and process.poll() is None:
        for pid in workers(process.pid)[:1]:
            os.kill(pid, signal.SIGSTOP)
            stopped = pid
    _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (0, "")
    assert stopped and survivors([stopped]) == []
    assert report_lines(tmp_path) == undisturbed


# --- a pair that ends every worker that opens it -----------------------------------------------------------------------------------------


def with_poison(failing_calls: Path, number: int) -> dict[str, str]:
    return os.environ | {"LD_PRELOAD": str(failing_calls), "FAIL_SIGNAL": str(int(number)), "FAIL_PATH": "poison.npy"}


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return many_pairs(tmp_path_factory.mktemp("poisoned"), 10_000, elements=200, poison=POISON)


@pytest.fixture(scope="module")
def unpoisoned(poisoned: Sides, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], float]:
    """The report where nothing dies, and the seconds that it took."""
    output = tmp_path_factory.mktemp("unpoisoned")
    began = time.monotonic()
    assert compare(poisoned, output, "-j2").returncode == 0
    return report_lines(output), time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "options", "code"),
    [
        (signal.SIGKILL, (), b"E_WORKER_DIED"),
        pytest.param(signal.SIGSEGV, (), b"E_WORKER_DIED", marks=pytest.mark.slow),
        (signal.SIGSTOP, ("--stall", "0.5"), b"E_TIMEOUT"),
    ],
)
def test_a_poison_pair_among_ten_thousand_is_one_row(
    failing_calls: Path,
    poisoned: Sides,
    unpoisoned: tuple[list[bytes], float],
    tmp_path: Path,
    number: int,
    options: tuple[str, ...],
    code: bytes,
) -> None:
    began = time.monotonic()
    done = compare(poisoned, tmp_path, "-j2", *options, env=with_poison(failing_calls, number))
    taken_s = time.monotonic() - began
    assert done.returncode == 2 and done.stderr.startswith("fastcmp: 1 of 10000 pairs could not be compared; see ")
    wanted, undisturbed_s = unpoisoned
    rows = report_lines(tmp_path)
    changed = [at for at, (old, new) in enumerate(zip(wanted, rows, strict=True)) if old != new]
    assert changed == [POISON] and b"[" + code + b"]" in rows[POISON]
    print(f"{taken_s:.2f} s with the poison pair, {undisturbed_s:.2f} s without")
    # Wider than the 1.2 times that are the aim, because the machine has other things to do: it must go by deaths, not by pairs.
    assert taken_s < 2 * undisturbed_s + 5
