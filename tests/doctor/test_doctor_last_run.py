"""Which processes are one run, and which run is judged."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from heartbeats import heartbeat, write_heartbeat, write_list

from fastcmp.doctor.processes import examine_processes
from fastcmp.doctor.runs import find_run

NOW = time.time()
SILENT = {"abi0": 0, "abi1": 0, "plain": 0, "legacy_abi0": 0, "legacy_abi1": 0}
OTHERWISE = {"offered": 900, "not_selected": 900}


def times(pid: int, started: float, written: float, **fields: Any) -> dict[str, Any]:
    """A heartbeat from ``started`` to ``written`` seconds ago."""
    return heartbeat(pid=pid, started=round(NOW - started, 3), written=round(NOW - written, 3), **fields)


def last_pids(directory: Path, *heartbeats: dict[str, Any], about: str | None = None) -> list[int]:
    for fields in heartbeats:
        write_heartbeat(directory, fields)
    run = find_run([str(directory)], {}, about)
    assert run.other_count == len(list(directory.glob(".fastcmp_probe.*"))) - len(run.processes)
    return [one.pid for one in run.processes]


def causes(directory: Path, *heartbeats: dict[str, Any]) -> list[str]:
    for fields in heartbeats:
        write_heartbeat(directory, fields)
    return [one.name for one in examine_processes(find_run([str(directory)], {}), [str(directory)], False, {}, {}).findings]


def test_the_last_run_is_what_overlaps_in_time(tmp_path: Path) -> None:
    heartbeats = (times(1, 9000, 8000), times(2, 1000, 990), times(3, 995, 500), times(4, 480, 10), times(5, 100, 20))
    assert last_pids(tmp_path, *heartbeats) == [4, 5]


def test_two_runs_within_one_second_are_two(tmp_path: Path) -> None:
    assert last_pids(tmp_path, times(1, 10.900, 10.500), times(2, 10.480, 10.100)) == [2]


def test_a_good_run_does_not_hide_a_bad_one(tmp_path: Path) -> None:
    good = times(1, 10.900, 10.500)
    assert causes(tmp_path, good, times(2, 10.480, 10.100, counters=OTHERWISE, registered_saved=0)) == ["not-registered"]
    assert causes(tmp_path, good, times(2, 10.480, 10.100, counters={}, calls=SILENT)) == ["never-called"]
    assert causes(tmp_path, times(3, 9.5, 9.1)) == []


def test_a_list_without_a_heartbeat_is_a_run(tmp_path: Path) -> None:
    write_list(tmp_path, 2**22 + 2, "0/x.bin", started=NOW - 10)  # a pid that nobody has
    assert causes(tmp_path, times(1, 30, 20)) == ["no-heartbeat"]
    assert causes(tmp_path, times(3, 5, 4)) == []


def test_a_launcher_belongs_to_the_workers_that_it_outlives(tmp_path: Path) -> None:
    launcher = times(1, 30.25, 10.000, counters={}, calls=SILENT, libraries=[])
    assert last_pids(tmp_path, launcher, times(2, 30, 20), times(3, 15, 10.5)) == [1, 2, 3]
    assert causes(tmp_path) == []


@pytest.mark.parametrize("lifetime", [0.001, 0.019, 0.25])
def test_a_short_process_that_is_never_called_is_a_run_of_its_own(lifetime: float, tmp_path: Path) -> None:
    short = times(1, 10 + lifetime, 10.000, counters={}, calls=SILENT)
    assert last_pids(tmp_path, times(2, 30, 10.5), short) == [1]
    assert causes(tmp_path) == ["never-called"]


def test_a_process_that_runs_has_not_ended_before_the_next_one_began(tmp_path: Path) -> None:
    running = times(1, 5, 4.5, ended=False)
    assert last_pids(tmp_path, running, times(2, 3, 2)) == [1, 2]
    write_heartbeat(tmp_path, times(1, 5, 4.5))
    assert last_pids(tmp_path) == [2]


def test_of_a_named_dump_its_own_run_is_judged(tmp_path: Path) -> None:
    dump = write_list(tmp_path, 1, "0/x.bin", started=NOW - 95, saved=("0/x.bin",))
    heartbeats = (times(1, 100, 90), times(2, 50, 40))
    assert last_pids(tmp_path, *heartbeats) == [2]
    assert last_pids(tmp_path, about=str(dump)) == [1]
    assert last_pids(tmp_path, about=f"{dump}/acl_tensor") == [1]
    (tmp_path / "2_cmp_dump_data").mkdir()  # nothing low-level in it
    assert last_pids(tmp_path, about=f"{tmp_path}/2_cmp_dump_data") == [2]
