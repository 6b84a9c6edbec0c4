"""kill -9 at any instant leaves whole files under final names, and a heartbeat that could be true."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from preload_expected import offers
from preload_host import EVERYTHING, EVERYTHING_OF_2023, Hosts, heartbeats, saved_files, temporaries
from tries import tries

FLOWS = {
    "present-day": ((), EVERYTHING, False),
    "legacy": (("--legacy",), {**EVERYTHING_OF_2023, "FASTCMP_SELECT": "environment"}, True),
}
TOKENS, SLEEP_MS = 30, 8


# Of each era; three of five with small tensors.
KILLS = tries("PRELOAD_KILLS", 80)
# Of one megabyte in one piece, and of three.
SIZES = {"small": 4096, "large": (2 << 20) + 4096}


def kill_at(delay_s: float, flow: str, size: str, hosts: Hosts, directory: Path) -> tuple[int, int]:
    """Numbers of whole files and of temporary ones that a killed host left; each was looked at."""
    arguments, environment, is_legacy = FLOWS[flow]
    tokens = TOKENS if size == "small" else 3
    host = hosts.start(
        directory, "--threads", 2, "--tokens", tokens, "--layers", 1, "--bytes", SIZES[size],
        *(("--sleep-ms", SLEEP_MS) if size == "small" else ()), *arguments, **environment,
    )  # fmt: skip
    time.sleep(delay_s)
    host.send_signal(signal.SIGKILL)
    host.communicate(timeout=60)
    expected = {one.tail(legacy=is_legacy): one for one in offers(threads=2, tokens=tokens, nbytes=SIZES[size])}
    files = saved_files(directory)
    for tail, path in files.items():
        assert path.read_bytes() == expected[tail].contents, f"{path} is not whole"
    for heartbeat in heartbeats(directory):
        counters = heartbeat["counters"]
        assert heartbeat["pid"] == host.pid and counters["saved"] <= len(files) and counters["write_failed"] == 0
        assert counters["saved"] + heartbeat["queued"] <= counters["offered"] + 2, "those that were just coming in"
        # Bytes are counted just before the tensor is: a kill may come between the two.
        assert 0 <= counters["tensor_bytes"] - counters["saved"] * SIZES[size] <= SIZES[size]
        # The last word comes just before the end: a kill may still fall in between, and then it is the whole truth.
        assert not heartbeat["ended"] or (counters["saved"], heartbeat["queued"]) == (len(files), 0)
    return len(files), len(temporaries(directory))


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("size", "count"), [("small", 5), ("large", 3)])
def test_a_killed_host_leaves_whole_files_only(flow: str, size: str, count: int, hosts: Hosts, tmp_path: Path) -> None:
    kills(count, flow, size, hosts, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("size", "count"), [("small", max(1, KILLS * 3 // 5)), ("large", max(1, KILLS * 2 // 5))])
def test_many_killed_hosts_of_each_era_leave_whole_files_only(flow: str, size: str, count: int, hosts: Hosts, tmp_path: Path) -> None:
    in_the_middle, cut_short = kills(count, flow, size, hosts, tmp_path)
    assert in_the_middle > count // 4 or count < 20, "most of them were killed before or after they saved anything"
    print(f"{count} kills: {in_the_middle} in the middle, {cut_short} with a temporary file left")


def kills(count: int, flow: str, size: str, hosts: Hosts, tmp_path: Path) -> tuple[int, int]:
    rng = random.Random(f"{flow} {size} {count}")
    total = 2 * TOKENS * 4 * (4 if flow == "present-day" else 2)
    in_the_middle = cut_short = 0
    for number in range(count):
        place = tmp_path / str(number)
        place.mkdir()
        whole, temporary = kill_at(rng.uniform(0.005, 0.3), flow, size, hosts, place)
        in_the_middle += 0 < whole < total
        cut_short += temporary > 0
        shutil.rmtree(place)  # a thousand of them are many gigabytes
    return in_the_middle, cut_short
