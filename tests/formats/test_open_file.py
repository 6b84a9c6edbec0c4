from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bin_files import OK_2X3

from fastcmp.errors import TensorError
from fastcmp.formats import scan
from fastcmp.options import ScanOptions

STRICT = ScanOptions()


def code_of(path: str, options: ScanOptions = STRICT) -> str:
    try:
        scan(path, options)
    except TensorError as error:
        return error.code
    return "ok"


@pytest.fixture(params=["t.bin", "t.npy", "t"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_missing_files_and_dangling_links(tmp_path: Path, name: str) -> None:
    with pytest.raises(TensorError, match=r"no such file; .* \[E_MISSING\]"):
        scan(str(tmp_path / name), STRICT)
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(TensorError, match=r"a dangling symbolic link, expected a file where it leads; .* \[E_MISSING\]"):
        scan(str(tmp_path / name), STRICT)
    assert code_of(str(tmp_path / name / "below" / name)) == "E_MISSING"


def test_a_loop_of_links(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / name)
    assert code_of(str(tmp_path / name)) == "E_LOOP"
    assert code_of(str(tmp_path / name), ScanOptions(roots=(str(tmp_path),))) == "E_LOOP"


def test_a_fifo_does_not_block(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    started = time.monotonic()
    with pytest.raises(TensorError, match="a FIFO, expected a regular file"):
        scan(str(tmp_path / name), STRICT)
    assert time.monotonic() - started < 5  # it would wait for a writer for ever


def test_only_regular_files_are_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert code_of(str(tmp_path / name)) == "E_NOT_REGULAR"
    (tmp_path / name).rmdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / name))
        assert code_of(str(tmp_path / name)) == "E_NOT_REGULAR"
    for device in ("/dev/zero", "/dev/stdin"):
        (tmp_path / f"link_{name}").unlink(missing_ok=True)
        (tmp_path / f"link_{name}").symlink_to(device)
        assert code_of(str(tmp_path / f"link_{name}")) in ("E_NOT_REGULAR", "E_EMPTY_FILE", "E_MISSING", "E_BAD_MAGIC")
    assert code_of("/proc/self/mem") != "ok"


def test_paths_that_cannot_be_file_names(tmp_path: Path, name: str) -> None:
    assert code_of(f"{tmp_path}/a\0{name}") == "E_PATH"
    assert code_of(f"{tmp_path}/{'a' * 5000}{name}") == "E_PATH"
    assert code_of("") == "E_PATH"
    with pytest.raises(TensorError, match=r"\\ud800.*cannot be part of a path"):
        scan(f"{tmp_path}/\ud800{name}", STRICT)


@pytest.mark.skipif(os.geteuid() != 0, reason="a user other than root cannot become another")
def test_a_file_of_another_user_is_a_permission_error(tmp_path: Path) -> None:
    (tmp_path / "t.bin").write_bytes(OK_2X3)
    (tmp_path / "t.bin").chmod(0)
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)  # reached before the user changes: the way there is private
        os.seteuid(65534)
        os._exit(0 if code_of("t.bin") == "E_PERMISSION" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_roots_confine_by_the_real_path(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "in_not"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "t.bin").write_bytes(OK_2X3)
    (inside / "good.bin").symlink_to("t.bin")
    (inside / "away.bin").symlink_to(outside / "t.bin")
    (inside / "folder").symlink_to(outside)
    (outside / "back.bin").symlink_to(inside / "t.bin")
    (inside / "nowhere.bin").symlink_to("missing.bin")
    (inside / "loop.bin").symlink_to("loop.bin")
    (tmp_path / "root").symlink_to(inside)
    for root in (inside, tmp_path / "root"):
        options = ScanOptions(roots=(str(root),))
        expected = {"t.bin": "ok", "good.bin": "ok", "away.bin": "E_LINK_OUTSIDE", "folder/t.bin": "E_LINK_OUTSIDE",
                    "../in_not/t.bin": "E_PATH_OUTSIDE", "../in_not/back.bin": "ok", "missing.bin": "E_MISSING",
                    "nowhere.bin": "E_MISSING", "loop.bin": "E_LOOP"}  # fmt: skip
        assert {path: code_of(f"{inside}/{path}", options) for path in expected} == expected
    assert code_of("/etc/passwd", options) == "E_PATH_OUTSIDE"
    assert code_of("/etc/no such file.npy", options) == "E_PATH_OUTSIDE"
    assert code_of(str(inside / "t.bin"), ScanOptions(roots=("/nowhere", str(inside)))) == "ok"


def test_relative_roots_are_those_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "root").mkdir(parents=True)
    (tmp_path / "a" / "root" / "t.bin").write_bytes(OK_2X3)
    monkeypatch.chdir(tmp_path / "a")
    assert code_of("root/t.bin", ScanOptions(roots=("root",))) == "ok"
    monkeypatch.chdir(tmp_path / "b")
    assert code_of(str(tmp_path / "a" / "root" / "t.bin"), ScanOptions(roots=("root",))) == "E_PATH_OUTSIDE"


def test_a_link_that_is_swapped_meanwhile_never_leads_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder, content in ((inside, OK_2X3), (outside, OK_2X3.replace(b"2,3", b"3,2"))):
        folder.mkdir()
        (folder / "t.bin").write_bytes(content)
    path, stop = str(inside / "swapped.bin"), threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in (inside, outside):
                os.symlink(target / "t.bin", path + ".new")
                os.rename(path + ".new", path)

    os.symlink(inside / "t.bin", path)
    thread = threading.Thread(target=swap)
    thread.start()
    shapes, codes = set(), set()
    try:
        for _ in range(2000):
            try:
                shapes.add(scan(path, ScanOptions(roots=(str(inside),))).shape)
            except TensorError as error:
                codes.add(error.code)
    finally:
        stop.set()
        thread.join()
    assert shapes <= {(2, 3)}
    assert codes <= {"E_LINK_OUTSIDE"}


def test_files_without_a_known_suffix_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(OK_2X3)
    assert scan(str(tmp_path / "a"), STRICT).shape == (2, 3)
    (tmp_path / "b.dat").write_bytes(b"PK\x03\x04....")
    with pytest.raises(TensorError, match=r"expected the beginning of a \.npy, .* or \.\w+ file, got b'PK.*E_UNKNOWN_FORMAT"):
        scan(str(tmp_path / "b.dat"), STRICT)
    (tmp_path / "UPPER.BIN").write_bytes(OK_2X3)
    assert scan(str(tmp_path / "UPPER.BIN"), STRICT).shape == (2, 3)


def test_scanning_leaves_no_descriptor_open(tmp_path: Path) -> None:
    for name, content in (("a.bin", OK_2X3), ("b.bin", b"junk"), ("c.npy", b"junk")):
        (tmp_path / name).write_bytes(content)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        for name in ("a.bin", "b.bin", "c.npy", "missing.npy", "."):
            code_of(str(tmp_path / name))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_device_is_not_opened_to_see_what_it_is() -> None:
    """Without a terminal of its own, a process that opens /dev/tty gets an error; one that only looks sees what it is."""
    code = (
        "from fastcmp.formats import scan_batch\nfrom fastcmp.options import ScanOptions\nprint(scan_batch(['/dev/tty'], ScanOptions())[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, start_new_session=True)
    assert done.stdout.startswith("/dev/tty: a character device, expected a regular file")


def test_too_many_open_files_are_no_fault_of_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(2))
    code = (
        "import resource, sys\nfrom fastcmp.formats import scan_batch\nfrom fastcmp.options import ScanOptions\n"
        "scan_batch([sys.argv[1]], ScanOptions())\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "print(scan_batch([sys.argv[1]], ScanOptions())[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.npy")], capture_output=True, text=True, check=False)
    assert done.stdout == (
        f"{tmp_path}/a.npy: cannot be opened: Too many open files; raise the limit: ulimit -n, or -j fewer [E_OPEN_FILES]\n"
    ), done.stderr
