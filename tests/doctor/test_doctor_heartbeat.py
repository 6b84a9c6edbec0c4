"""Heartbeats are files that anybody may have written."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from heartbeats import heartbeat, write_heartbeat

from fastcmp.doctor.heartbeat import BadHeartbeat, find_heartbeats, heartbeat_directories, read_heartbeat


def test_a_heartbeat_is_read_whole(tmp_path: Path) -> None:
    one = read_heartbeat(str(write_heartbeat(tmp_path, heartbeat())))
    assert (one.pid, one.program, one.has_ended, one.selected_by) == (71, "/usr/bin/model", True, "registered")
    assert (one.registered_lines, one.registered_saved, one.saved, one.count("offered")) == (40, 38, 38, 900)
    assert one.libraries[0].path == "/x/libatb.so" and one.libraries[0].unbound == 18
    assert one.count("of a later version") == 0


def test_a_heartbeat_of_another_version_may_have_more_and_fewer_fields(tmp_path: Path) -> None:
    (tmp_path / "h").write_text('{"fastcmp_preload": 1, "pid": 7, "mood": "good"}')
    one = read_heartbeat(str(tmp_path / "h"))
    assert (one.pid, one.saved, one.libraries, one.calls) == (7, 0, (), {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found no JSON"),
        (b"\xff\xfe{", "found no JSON"),
        (b"[" * 100_000, "found no JSON"),
        (b'{"fastcmp_preload": 1, "pid": ' + b"9" * 10_000 + b"}", "found no JSON|pid: expected a count"),
        (b"x" * (1024 * 1024 + 1), "found more than 1048576 bytes"),
        (b"[]", "it: expected an object"),
        (b"null", "it: expected an object"),
        (b"{}", "fastcmp_preload: expected 1"),
        (b'{"fastcmp_preload": 2}', "fastcmp_preload: expected 1"),
        (b'{"fastcmp_preload": true}', "fastcmp_preload: expected a count"),
        (b'{"fastcmp_preload": 1, "pid": "71"}', "pid: expected a count"),
        (b'{"fastcmp_preload": 1, "pid": -1}', "pid: expected a count"),
        (b'{"fastcmp_preload": 1, "pid": 1e3}', "pid: expected a count"),
        (b'{"fastcmp_preload": 1, "written": NaN}', "written: expected a count"),
        (b'{"fastcmp_preload": 1, "queued": 18446744073709551616}', "queued: expected a count"),
        (b'{"fastcmp_preload": 1, "program": ["/x"]}', "program: expected text"),
        (b'{"fastcmp_preload": 1, "ended": 1}', "ended: expected true or false"),
        (b'{"fastcmp_preload": 1, "calls": [1]}', "calls: expected an object"),
        (b'{"fastcmp_preload": 1, "counters": {"saved": null}}', "counters.saved: expected a count"),
        (b'{"fastcmp_preload": 1, "libraries": {}}', "libraries: expected a list"),
        (b'{"fastcmp_preload": 1, "libraries": [7]}', "libraries: expected an object"),
        (b'{"fastcmp_preload": 1, "libraries": [{"path": 7}]}', "path: expected text"),
    ],
)
def test_what_is_no_heartbeat_says_why(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / ".fastcmp_probe.1"
    path.write_bytes(content)
    with pytest.raises(BadHeartbeat, match=f"^({message})$"):
        read_heartbeat(str(path))
    found = find_heartbeats([str(tmp_path)])
    assert not found.last_run and re.fullmatch(message, found.unread[str(path)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "found no regular file"),
        (os.mkdir, "found no regular file"),
        (lambda path: os.symlink("/etc/hostname", path), "it cannot be read: Too many levels of symbolic links"),
    ],
    ids=["FIFO", "directory", "link"],
)
def test_what_is_no_file_is_not_read(make: Callable[[str], None], message: str, tmp_path: Path) -> None:
    make(str(tmp_path / ".fastcmp_probe.1"))
    with pytest.raises(BadHeartbeat, match=message):
        read_heartbeat(str(tmp_path / ".fastcmp_probe.1"))


def test_only_files_of_that_name_count(tmp_path: Path) -> None:
    for name in (".fastcmp_probe.", ".fastcmp_probe.x", ".fastcmp_probe.1.tmp", "fastcmp_probe.1", ".fastcmp_probe.12345678901"):
        (tmp_path / name).write_text(json.dumps(heartbeat()))
    found = find_heartbeats([str(tmp_path), str(tmp_path / "none")])
    assert (found.last_run, found.earlier_count, found.unread) == ((), 0, {})


def times(pid: int, started: int, written: int) -> dict[str, Any]:
    now = int(time.time())
    return heartbeat(pid=pid, started=now - started, written=now - written)


def test_the_last_run_is_what_overlaps_in_time(tmp_path: Path) -> None:
    for fields in (times(1, 9000, 8000), times(2, 1000, 990), times(3, 995, 500), times(4, 480, 10), times(5, 100, 20)):
        write_heartbeat(tmp_path, fields)
    found = find_heartbeats([str(tmp_path)])
    assert [one.pid for one in found.last_run] == [2, 3, 4, 5]
    assert found.earlier_count == 1


def test_of_a_thousand_heartbeats_the_newest_are_read(tmp_path: Path) -> None:
    for pid in range(1, 1001):
        path = write_heartbeat(tmp_path, heartbeat(pid=pid))
        os.utime(path, (pid, pid))
    found = find_heartbeats([str(tmp_path)])
    assert {one.pid for one in found.last_run} == set(range(745, 1001))
    assert found.earlier_count == 744


def test_heartbeats_are_looked_for_where_a_process_leaves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dump", "home", "output"):
        (tmp_path / name).mkdir()
    environment = {"FASTCMP_DUMP_DIR": "dump", "ACLTRANSFORMER_HOME_PATH": str(tmp_path / "home"), "ATB_OUTPUT_DIR": "output/"}
    here = os.path.realpath(tmp_path)
    assert heartbeat_directories(None, environment) == [f"{here}/dump", f"{here}/home", f"{here}/output", here]
    assert heartbeat_directories("home", environment) == [f"{here}/home"]
    assert heartbeat_directories(None, {"FASTCMP_DUMP_DIR": "none"}) == [here]
