"""Ctrl-C once and twice, SIGTERM, SIGHUP and a reader that goes away, at instants chosen by chance: no process stays, no shared memory,
no half report; and the same command, given again, goes on with what is kept, and ends as if nothing had been."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from reliability_runs import (
    ROOT,
    Sides,
    compare,
    descendants,
    in_child,
    many_pairs,
    report_files,
    rows_kept,
    shared_memory,
    survivors,
    tree_state,
    whole_report,
    words,
)
from tries import tries

Undisturbed = tuple[dict[str, bytes], float]

PAIRS = 1000
# How each may end: as promised, or as it would have ended where the signal came too late.
ENDS = {
    "SIGINT": (130, 0),
    "SIGINT twice": (130, 0),
    "SIGTERM": (143, 0),
    "SIGHUP": (-signal.SIGHUP, 0),
    "SIGKILL": (-signal.SIGKILL, 0),
    "closed pipe": (0,),
}
# Workers that were inside a kernel, or still being forked, when their parent was killed.
PATIENCE_S = 5


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return many_pairs(tmp_path_factory.mktemp("sides"), PAIRS, elements=250_000)


@pytest.fixture(scope="module")
def undisturbed(sides: Sides, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The report of an undisturbed run, and how many seconds it takes."""
    output = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    assert compare(sides, output, "-j2").returncode == 0
    return whole_report(output), time.monotonic() - began


def end_one(sides: Sides, output: Path, how: str, delay_s: float) -> tuple[int, bytes]:
    process = subprocess.Popen(words(sides, output, "-j2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    below = set()
    deadline = time.monotonic() + delay_s
    if how == "closed pipe":
        process.stdout.close()
        process.stdout = None
    while time.monotonic() < deadline and process.poll() is None:
        below.update(descendants(process.pid))
        time.sleep(0.01)
    below.update(descendants(process.pid))
    if how != "closed pipe":
        number = signal.Signals[how.split()[0]]
        process.send_signal(number)
        if how.endswith("twice"):
            time.sleep(0.05)
            process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    # Five seconds for what is in flight, and as many again for a machine that has other things to do.
    assert how == "closed pipe" or time.monotonic() - began < 10, f"{how} after {delay_s:.3f} s"
    assert survivors(sorted(below), PATIENCE_S) == [], f"{how} after {delay_s:.3f} s"
    return process.returncode, said


def ended_the_interpreter(code: int, said: bytes, how: str) -> bool:
    """True where it came before a line of ours but the first could run: Python ends by the signal, and at Ctrl-C says where it was."""
    frames = re.findall(rb'File "([^"]*/fastcmp/[^"]*)"', said)
    is_ours = any(not frame.endswith(b"/fastcmp/__init__.py") for frame in frames)
    says_no_more = not said or (how.startswith("SIGINT") and said.rstrip().endswith(b"KeyboardInterrupt") and not is_ours)
    return how.startswith("SIG") and code == -signal.Signals[how.split()[0]] and says_no_more


def at_a_random_instant(sides: Sides, undisturbed: Undisturbed, base: Path, how: str, seed: int) -> tuple[int, int]:
    """Exit code, and how many rows were kept."""
    wanted, whole_s = undisturbed
    output = base / f"{how}{seed}"
    delay_s = random.Random(f"{how} {seed}").uniform(0.05, whole_s)
    memory = shared_memory()
    code, said = end_one(sides, output, how, delay_s)
    context = f"{how}, seed {seed}, after {delay_s:.3f} s: {code} {said.decode()[-500:]}"
    if code not in ENDS[how]:
        assert ended_the_interpreter(code, said, how) and not output.exists(), context
        said = b""
    assert b"Traceback" not in said and b"internal error" not in said and b"fastcmp/engine" not in said, context
    if code in (130, 143):
        assert said.splitlines()[-1] == {130: b"fastcmp: interrupted", 143: b"fastcmp: terminated"}[code], context
    if (output / "cmp_report.csv").exists():
        assert report_files(output) == wanted, context
    assert (code == 0) <= (output / "cmp_report.csv").exists(), context
    assert shared_memory() == memory, context
    kept = rows_kept(output)
    again = compare(sides, output, "-j2")
    assert (again.returncode, again.stderr) == (0, ""), context
    assert json.loads((output / "run.json").read_text())["totals"]["resumed"] == kept, context
    assert whole_report(output) == wanted, context
    assert {path.name for path in output.iterdir()} == {"cmp_report.csv", "cmp_report.arrow", "run.json"}, context
    return code, kept


@pytest.mark.parametrize("how", ["SIGINT twice", "SIGTERM", "SIGKILL"])
def test_whatever_ends_a_run_leaves_nothing_behind(sides: Sides, undisturbed: Undisturbed, tmp_path: Path, how: str) -> None:
    before = tree_state(*(side.parent for side in sides)) if how == "SIGKILL" else None
    at_a_random_instant(sides, undisturbed, tmp_path, how, 0)
    assert before is None or tree_state(*(side.parent for side in sides)) == before


@pytest.mark.slow
@pytest.mark.parametrize("how", ENDS)
def test_whatever_ends_a_run_at_many_instants_leaves_nothing_behind(
    sides: Sides, undisturbed: Undisturbed, tmp_path: Path, how: str
) -> None:
    number = tries("SIGNALS", 20 if how == "SIGKILL" else 6)
    runs = [at_a_random_instant(sides, undisturbed, tmp_path, how, seed) for seed in range(1, number + 1)]
    ended = [kept for code, kept in runs if code]
    print(f"{how}: {number} runs, {len(ended)} of them ended by it, {sum(ended)} rows kept")


def ended_writes(failing_calls: Path, tmp_path: Path, is_half_done: bool, most: int) -> None:
    sides = many_pairs(tmp_path, 200, elements=500)
    counts = in_child("failing_loops:ended_writes", *sides, tmp_path, is_half_done, most, preload=failing_calls)
    print(counts)
    assert counts["tried"] >= min(most, 10) and counts["kept"] >= 60 * counts["tried"], counts


def test_a_run_that_is_killed_in_a_write_of_its_journal_keeps_all_earlier_ones(failing_calls: Path, tmp_path: Path) -> None:
    ended_writes(failing_calls, tmp_path, True, 4)


@pytest.mark.slow
@pytest.mark.parametrize("is_half_done", [False, True], ids=["before", "half done"])
def test_a_run_that_is_killed_at_any_write_of_its_journal_keeps_all_earlier_ones(
    failing_calls: Path, tmp_path: Path, is_half_done: bool
) -> None:
    ended_writes(failing_calls, tmp_path, is_half_done, 200)
