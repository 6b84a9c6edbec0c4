"""A list that somebody else controls is refused, in one line, and the host runs on; one with odd lines registers the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from planted_lists import NAME, NOBODY, plant
from preload_expected import offers
from preload_host import HostRun, Hosts, write_list

OFFERS = {one.tail(): one.contents for one in offers(tokens=2, nbytes=64)}
ARGUMENTS = ("--tokens", 2, "--layers", 1, "--bytes", 64)
CODE = """
import os, sys
from standin_model import *
error = follow(sys.argv[1], sys.argv[2])
run_library(tokens=2, layers=1, nbytes=64)
print(os.strerror(error) if error else "followed")
"""


PLANTED = [
    ("a link", "found a link, expected a private file; nothing is registered by it"),
    ("a link to nothing", "found a link, expected a private file; nothing is registered by it"),
    ("a FIFO", "found no regular file"),
    ("a directory", "found no regular file"),
    ("a device", "found no regular file"),
    ("another user's", "found a file of another user"),
    ("open to the group", "found a file that others may write"),
    ("open to all", "found a file that others may write"),
    ("in an open directory", "found its directory open to others"),
    ("in another user's directory", "found its directory to be another user's"),
    ("in a directory that is a link", "found a link in place of its directory"),
]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and files of other users")


@AS_ROOT
@pytest.mark.parametrize(("kind", "reason"), PLANTED)
def test_a_list_that_others_control_is_refused(kind: str, reason: str, hosts: Hosts, tmp_path: Path) -> None:
    path = tmp_path / "list" / "paths.txt"
    plant(kind, path)
    start = time.monotonic()
    run = hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(path))
    without = hosts.run(tmp_path, *ARGUMENTS, preload=False)
    assert (run.status, run.stdout, run.files()) == (0, without.stdout, {})
    assert time.monotonic() - start < 10
    refusals = [line for line in run.lines() if str(path) in line]
    assert len(refusals) == 1 and reason in refusals[0] and refusals[0].endswith("counted from now on")
    assert run.counters()["list_refused"] == 1
    assert run.lines()[-1].startswith("0 tensors saved; 1 list refused")


@AS_ROOT
@pytest.mark.parametrize(("kind", "reason"), PLANTED)
def test_a_list_that_others_control_is_not_followed(kind: str, reason: str, hosts: Hosts, tmp_path: Path) -> None:
    path = tmp_path / "list" / "paths.txt"
    plant(kind, path)
    run = hosts.run_python(tmp_path, CODE, path, tmp_path / "run")
    expected = "Too many levels of symbolic links" if reason.startswith("found a link, exp") else "Operation not permitted"
    assert run.stdout == f"{expected}\n" and not list(tmp_path.rglob("*.bin"))
    assert sum(reason in line for line in run.lines()) == 1


@AS_ROOT
@pytest.mark.parametrize(("kind", "reason"), [row for row in PLANTED if "directory" not in row[0]])
def test_what_is_planted_after_the_start_is_refused_too(kind: str, reason: str, hosts: Hosts, tmp_path: Path) -> None:
    """The list that was expected there was not there yet, or was taken away."""
    code = f"""
import os, sys
from pathlib import Path
from standin_model import *
from planted_lists import plant
run_library(tokens=1, layers=1, nbytes=64)
path = Path(sys.argv[1])
path.unlink(missing_ok=True)
plant({kind!r}, path)
run_library(first_token=1, tokens=1, layers=1, nbytes=64)
"""
    for is_there in (False, True):
        place = tmp_path / str(is_there)
        (place / "list").mkdir(parents=True, mode=0o700)
        path = place / "list" / "paths.txt"
        if is_there:
            write_list(path, NAME)
        run = hosts.run_python(place, code, path, FASTCMP_ALLOWLIST=str(path))
        assert run.files().keys() == ({NAME} if is_there else set())
        assert sum(reason in line for line in run.lines()) == 1


def test_a_list_whose_owner_changes_while_it_is_followed_is_one_that_was_checked(hosts: Hosts, nobodys: Path, public_hosts: Hosts) -> None:
    """It is the same file, open since it was checked; who may write to it now could not have put other lines in before."""
    listed = write_list(nobodys / "list" / "paths.txt", NAME)
    os.chown(listed, NOBODY, NOBODY)
    os.chown(listed.parent, NOBODY, NOBODY)
    wrapper = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    run = public_hosts.run(nobodys, *ARGUMENTS, wrapper=wrapper, FASTCMP_ALLOWLIST=str(listed))
    assert run.files().keys() == {NAME} and run.stderr == "", "a private list of that user, whoever that is"
    run = hosts.run(nobodys, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed))
    assert "found a file of another user" in run.lines()[0], "and not of root"


@pytest.mark.parametrize("mode", [0o000, 0o200])
def test_a_list_that_may_not_be_read_is_refused(mode: int, nobodys: Path, public_hosts: Hosts) -> None:
    listed = write_list(nobodys / "list" / "paths.txt", NAME, mode=mode)
    os.chown(listed, NOBODY, NOBODY)
    os.chown(listed.parent, NOBODY, NOBODY)
    wrapper = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    run = public_hosts.run(nobodys, *ARGUMENTS, wrapper=wrapper, FASTCMP_ALLOWLIST=str(listed))
    assert run.status == 0 and run.files() == {} and "cannot be opened" in run.lines()[0]


# --- odd lines -------------------------------------------------------------------------------------------------------------------------------

BAD_LINES: list[tuple[bytes, str]] = [
    (b"0/../../x.bin", "a path with '..'"),
    (b"../x.bin", "a path with '..'"),
    (b"0/..", "a path with '..'"),
    (b"/etc/passwd", "an absolute path"),
    (b"/", "an absolute path"),
    (b"0//x.bin", "a path without a file name"),
    (b"0/x/", "a path without a file name"),
    (b"0/./x.bin", "a path without a file name"),
    (b"0/x\x00y.bin", "a control character in the path"),
    (b"0/x\ty.bin", "a control character in the path"),
    (b"0/x.bin\r", "a control character in the path"),
    (b"0/x\x1b[2Jy.bin", "a control character in the path"),
    (b"0/" + b"x" * 250, "a file name of more than 207 bytes"),
    (b"0/" + b"x/" * 2500 + b"x.bin", "a line of more than 4096 bytes"),
    (b"x" * 1_000_000, "a line of more than 4096 bytes"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=[f"{line[:20]!r}" for line, _ in BAD_LINES])
def test_a_line_that_names_no_file_below_the_output_registers_nothing(line: bytes, reason: str, hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt")
    listed.write_bytes(line + b"\n" + NAME.encode() + b"\n" + line + b"\n")
    run = hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed))
    assert run.files().keys() == {NAME}
    told, summary = run.lines()
    assert f"found {reason}" in told and "it registers nothing" in told and told.isascii() and told.isprintable()
    assert summary == "1 tensors saved; 2 list refused (`fastcmp doctor` says why)"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n\n",
        b"\xff\xfe\n",
        "0/名字.bin\n".encode(),
        b"*\n",
        b"*/*\n",
        b"**\n",
        b"0\n",
        b"-1/x\n",
        b"99999999999999999999/x\n",
        b"\n" * 100_000,
    ],
    ids=repr,
)
def test_odd_texts_are_lists_that_name_no_tensor(text: bytes, hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt")
    listed.write_bytes(text)
    run = hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed))
    assert run.status == 0 and run.files() == {}
    listed.write_bytes(text + NAME.encode() + b"\n")
    assert hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed)).files().keys() == {NAME}


@pytest.mark.parametrize(
    "where", ["", "paths.txt", "./paths.txt", "/", "/dev/null", "/nonexistent/deeply/paths.txt", "x" * 5000, "/" + "x" * 300]
)
def test_odd_names_of_a_list_are_no_list(where: str, hosts: Hosts, tmp_path: Path) -> None:
    write_list(tmp_path / "paths.txt", NAME)
    run = hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=where)
    assert run.status == 0 and len(run.files()) <= 1


def test_a_binary_list_of_random_bytes_costs_nothing_but_lines(hosts: Hosts, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list" / "paths.txt")
    listed.write_bytes(os.urandom(1 << 20))
    run = hosts.run(tmp_path, *ARGUMENTS, FASTCMP_ALLOWLIST=str(listed))
    assert run.status == 0 and run.files() == {} and len(run.lines()) < 20
    assert run.counters()["list_refused"] > 10


def appenders() -> dict[str, Callable[[int, bytes], None]]:
    def whole(descriptor: int, line: bytes) -> None:
        os.write(descriptor, line)

    def byte_by_byte(descriptor: int, line: bytes) -> None:
        for index in range(len(line)):
            os.write(descriptor, line[index : index + 1])

    return {"whole lines": whole, "byte by byte": byte_by_byte}


@pytest.mark.parametrize("how", appenders())
def test_lines_written_while_they_are_read_are_never_read_in_part(how: str, hosts: Hosts, tmp_path: Path) -> None:
    """A torn line would register the beginning of a name: here every beginning is the name of an operation that is offered."""
    listed = write_list(tmp_path / "list" / "paths.txt", "9/never.bin")
    host = hosts.start(
        tmp_path, "--threads", 2, "--tokens", 150, "--layers", 1, "--bytes", 16, "--sleep-ms", 4, FASTCMP_ALLOWLIST=str(listed)
    )
    written: list[str] = []
    descriptor = os.open(listed, os.O_WRONLY | os.O_APPEND)
    append = appenders()[how]
    while host.poll() is None and len(written) < 20_000:
        name = f"{len(written)}/0_StandinModelTorch/0_StandinLayerRunner/after/outtensor0.bin"
        append(descriptor, f"{name}.and_more\n".encode())
        append(descriptor, f"{name}\n".encode())
        written.append(name)
    os.close(descriptor)
    stdout, stderr = host.communicate(timeout=60)
    assert host.returncode == 0 and b"checksum" in stdout, stderr
    run = HostRun(tmp_path, host.returncode, stdout.decode(), stderr.decode())
    assert run.files().keys() <= {*written}
    assert run.counters()["list_refused"] == 0
    assert len(run.files()) > 0
