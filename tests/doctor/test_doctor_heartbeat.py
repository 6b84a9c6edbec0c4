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
from heartbeats import heartbeat, write_heartbeat, write_list

from fastcmp.doctor import examine
from fastcmp.doctor.files import is_trusted
from fastcmp.doctor.heartbeat import BadHeartbeat, find_heartbeats, heartbeat_directories, read_heartbeat


def test_a_heartbeat_is_read_whole(tmp_path: Path) -> None:
    one = read_heartbeat(str(write_heartbeat(tmp_path, heartbeat())))
    assert (one.pid, one.program, one.has_ended, one.selected_by) == (71, "/usr/bin/model", True, "registered")
    assert (one.registered_lines, one.registered_saved, one.saved, one.count("offered")) == (40, 40, 40, 900)
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
        (b'{"fastcmp_preload": 1, "written": NaN}', "written: expected seconds"),
        (b'{"fastcmp_preload": 1, "written": 1e999}', "written: expected seconds"),
        (b'{"fastcmp_preload": 1, "started": true}', "started: expected seconds"),
        (b'{"fastcmp_preload": 1, "started": -0.5}', "started: expected seconds"),
        (b'{"fastcmp_preload": 1, "asked": "0/x"}', "asked: expected a list of texts"),
        (b'{"fastcmp_preload": 1, "asked": [7]}', "asked: expected a list of texts"),
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
    assert not found.read and re.fullmatch(message, found.unread[str(path)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "found no regular file"),
        (os.mkdir, "found no regular file"),
        (lambda path: os.symlink("/etc/hostname", path), "found no regular file"),
        (lambda path: os.symlink("/dev/zero", path), "found no regular file"),
    ],
    ids=["FIFO", "directory", "link", "link to a device"],
)
def test_what_is_no_file_is_not_read(make: Callable[[str], None], message: str, tmp_path: Path, opened: list[str]) -> None:
    make(str(tmp_path / ".fastcmp_probe.1"))
    with pytest.raises(BadHeartbeat, match=message):
        read_heartbeat(str(tmp_path / ".fastcmp_probe.1"))
    assert opened == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_heartbeats_of_other_users_are_counted_and_not_read(tmp_path: Path, opened: list[str]) -> None:
    own = write_heartbeat(tmp_path, heartbeat(pid=1))
    for pid in range(2, 302):  # newer, and more than are read
        os.chown(write_heartbeat(tmp_path, heartbeat(pid=pid)), 65534, -1)
    found = find_heartbeats([str(tmp_path)])
    assert ([one.pid for one in found.read], found.foreign_count, found.older_count, found.unread) == ([1], 300, 0, {})
    assert opened == [str(own)]


def test_a_heartbeat_belongs_to_this_user_or_to_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = list(os.stat(tmp_path))
    for owner, user, is_believed in ((0, 0, True), (0, 1000, True), (1000, 1000, True), (1000, 0, False), (1001, 1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert is_trusted(os.stat_result([*status[:4], owner, *status[5:]])) is is_believed


def test_a_heartbeat_that_is_replaced_by_another_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_heartbeat(tmp_path, heartbeat())
    status, open_file = list(os.stat(path)), os.open

    def replaced(*arguments: Any) -> int:
        monkeypatch.setattr(os, "fstat", lambda _: os.stat_result([*status[:4], os.geteuid() + 1, *status[5:]]))
        return open_file(*arguments)

    monkeypatch.setattr(os, "open", replaced)
    found = find_heartbeats([str(tmp_path)])
    assert (found.read, found.foreign_count) == ((), 1)


@pytest.mark.parametrize("name", ["started", "written"])
def test_a_heartbeat_of_the_future_is_not_believed(name: str, tmp_path: Path) -> None:
    path = write_heartbeat(tmp_path, heartbeat(pid=1) | {name: time.time() + 90})
    write_heartbeat(tmp_path, heartbeat(pid=2) | {name: time.time() + 30})  # the clock of another machine
    found = find_heartbeats([str(tmp_path)])
    assert [one.pid for one in found.read] == [2]
    assert re.fullmatch(f"{name}: found a time (89|90) s in the future", found.unread[str(path)])


@pytest.mark.parametrize("name", ["program", "library"])
def test_what_a_heartbeat_names_is_opened_only_where_it_is_a_regular_file(name: str, tmp_path: Path, opened: list[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/null")
    for pid, path in enumerate((tmp_path / "fifo", tmp_path / "link", "/dev/zero", "/dev/tty", tmp_path), start=1):
        library = {"path": str(path), "defines": 1, "bound_here": 1, "bound_to_itself": 0, "unbound": 0}
        named = {"program": str(path)} if name == "program" else {"libraries": [library]}
        write_heartbeat(tmp_path, heartbeat(pid=pid, **named))
    assert len(examine(str(tmp_path)).as_json()["processes"]["last_run"]) == 5
    assert not {str(tmp_path / "fifo"), str(tmp_path / "link"), "/dev/zero", "/dev/tty", str(tmp_path)} & set(opened)


def test_only_files_of_that_name_count(tmp_path: Path) -> None:
    for name in (".fastcmp_probe.", ".fastcmp_probe.x", ".fastcmp_probe.1.tmp", "fastcmp_probe.1", ".fastcmp_probe.12345678901"):
        (tmp_path / name).write_text(json.dumps(heartbeat()))
    found = find_heartbeats([str(tmp_path), str(tmp_path / "none")])
    assert (found.read, found.older_count, found.unread, found.foreign_count) == ((), 0, {}, 0)


def test_of_a_thousand_heartbeats_the_newest_are_read(tmp_path: Path) -> None:
    for pid in range(1, 1001):
        path = write_heartbeat(tmp_path, heartbeat(pid=pid))
        os.utime(path, (pid, pid))
    found = find_heartbeats([str(tmp_path)])
    assert {one.pid for one in found.read} == set(range(745, 1001))
    assert found.older_count == 744


def test_our_own_heartbeat_is_no_run_but_that_of_an_earlier_process_with_our_pid_is(tmp_path: Path) -> None:
    write_heartbeat(tmp_path, heartbeat(pid=os.getpid(), written=time.time()))
    assert find_heartbeats([str(tmp_path)]).read == ()
    write_heartbeat(tmp_path, heartbeat(pid=os.getpid(), started=1000.0, written=1001.5))
    assert [one.written for one in find_heartbeats([str(tmp_path)]).read] == [1001.5]


def test_times_are_seconds_with_or_without_a_fraction(tmp_path: Path) -> None:
    one = read_heartbeat(str(write_heartbeat(tmp_path, heartbeat(started=1764000000, written=1764000050.125))))
    assert (one.started, one.written) == (1764000000.0, 1764000050.125)


def test_of_very_many_examples_some_are_kept(tmp_path: Path) -> None:
    one = read_heartbeat(str(write_heartbeat(tmp_path, heartbeat(asked=[f"0/{n}" for n in range(1000)]))))
    assert len(one.asked) == 256 and one.asked[:2] == ("0/0", "0/1")


def test_heartbeats_are_looked_for_where_a_process_leaves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dump", "home", "output"):
        (tmp_path / name).mkdir()
    environment = {"FASTCMP_DUMP_DIR": "dump", "ACLTRANSFORMER_HOME_PATH": str(tmp_path / "home"), "ATB_OUTPUT_DIR": "output/"}
    here = os.path.realpath(tmp_path)
    assert heartbeat_directories(None, environment) == [f"{here}/dump", f"{here}/home", f"{here}/output", here]
    assert heartbeat_directories("home", environment) == [f"{here}/home"]
    assert heartbeat_directories(None, {"FASTCMP_DUMP_DIR": "none"}) == [here]


def test_of_a_dump_the_heartbeat_is_looked_for_beside_it(tmp_path: Path) -> None:
    here = os.path.realpath(tmp_path)
    dump = write_list(tmp_path, 71, "0/x.bin")
    assert heartbeat_directories(str(dump), {}) == [str(dump), here]
    assert heartbeat_directories(f"{dump}/acl_tensor/", {}) == [f"{dump}/acl_tensor", here]
    assert heartbeat_directories(f"{dump}/acl_tensor/..", {}) == [str(dump), here]
