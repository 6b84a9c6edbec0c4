"""A disk that is full, at every size of it: one line and exit 2, no half report, and the next run is as if nothing had been."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from reliability_runs import (
    ROOT,
    Sides,
    descendants,
    in_child,
    many_pairs,
    survivors,
    tree_state,
    whole_report,
    words,
    write_document,
)
from tries import tries

from fastcmp.cli.main import main

KIB = 1024
# About 300 KiB of report: large enough that every stage of it meets a full disk at some size.
PAIRS = 250
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return many_pairs(tmp_path_factory.mktemp("sides"), PAIRS, elements=200)


def mount(place: Path, options: str) -> None:
    """A file system in memory at ``place``; where that may not be made, the test is skipped."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "fastcmp_test", str(place)], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"this container may not mount: {done.stderr.strip()}")


@contextlib.contextmanager
def disk(place: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes at ``place``."""
    mount(place, f"size={size}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)


def sizes(step: int) -> range:
    return range(4 * KIB, 1024 * KIB + 1, step * KIB)


def assert_names_the_file_and_bytes(said: str, output: Path, size: int) -> None:
    """Of a file that was begun, its name and how much of it was written; or that the directory took nothing."""
    found = re.match(
        rf"fastcmp: {re.escape(str(output))}(?:/[\w.-]+: could not be written after (\d+) bytes|: cannot \w+ (?:in )?the output directory): "
        r"(?:No space left on device|File too large); ",
        said,
    )
    assert found and int(found[1] or 0) <= size, (size, said)


def assert_refused_or_whole(code: int, said: str, output: Path, size: int, wanted: dict[str, bytes]) -> None:
    if code == 0:
        assert said == "" and whole_report(output) == wanted
        return
    assert code == 2 and said.count("\n") == 1 and "internal error" not in said, said
    assert_names_the_file_and_bytes(said, output, size)
    left = set(os.listdir(output)) if output.exists() else set()
    assert all(name.startswith("journal-") for name in left), left


def on_small_disks(sides: Sides, tmp_path: Path, capsys: pytest.CaptureFixture[str], step: int) -> Counter[int]:
    before = tree_state(*(side.parent for side in sides))
    arguments = ["compare", *map(str, sides), "--executor", "serial", "-q", "-o"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    wanted = whole_report(tmp_path / "whole")
    capsys.readouterr()
    codes: Counter[int] = Counter()
    place = tmp_path / "disk"
    for size in sizes(step):
        with disk(place, size):
            code = main([*arguments, str(place / "report")])
            assert_refused_or_whole(code, capsys.readouterr().err, place / "report", size, wanted)
            codes[code] += 1
            if code == 2:
                subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True, timeout=30)
                assert main([*arguments, str(place / "report")]) == 0
                assert whole_report(place / "report") == wanted
                assert capsys.readouterr().err == ""
    assert tree_state(*(side.parent for side in sides)) == before
    return codes


def test_a_small_disk_is_one_line_and_room_heals_it(sides: Sides, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = on_small_disks(sides, tmp_path, capsys, 100)
    assert codes[2] >= 3 and codes[0] >= 3, codes


@pytest.mark.slow
def test_a_disk_of_every_size_is_one_line_and_room_heals_it(sides: Sides, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = on_small_disks(sides, tmp_path, capsys, tries("DISK_STEP_KIB", 4))
    assert sum(codes.values()) == len(sizes(tries("DISK_STEP_KIB", 4)))


def test_workers_end_where_the_disk_is_full(sides: Sides, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with disk(place, 64 * KIB):
        process = subprocess.Popen(words(sides, place / "report", "-q", "-j2"), stderr=subprocess.PIPE, text=True, cwd=ROOT)
        seen: set[int] = set()
        while process.poll() is None:
            seen.update(descendants(process.pid))
            time.sleep(0.02)
        assert process.stderr is not None
        assert_refused_or_whole(process.returncode, process.stderr.read(), place / "report", 64 * KIB, {})
        process.stderr.close()
        assert process.returncode == 2 and len(seen) >= 2 and survivors(sorted(seen)) == []


def limited_files(golden: str, target: str, work: str, step: int) -> dict[str, int]:
    """In a process of its own: no file may become larger than so many bytes, for one size after another, over an earlier report."""
    from failing_loops import compare as compare_here

    output, pristine = Path(work) / "report", Path(work) / "earlier"
    assert compare_here(golden, golden, pristine)[0] == 0
    assert compare_here(golden, target, Path(work) / "whole")[0] == 0
    earlier = {path.name: path.read_bytes() for path in pristine.iterdir()}
    wanted = whole_report(Path(work) / "whole")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    codes: Counter[str] = Counter()
    for size in sizes(step):
        shutil.copytree(pristine, output)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            code, said = compare_here(golden, target, output)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        codes[str(code)] += 1
        if code:
            assert code == 2 and said.count("\n") == 1 and "internal error" not in said, said
            assert_names_the_file_and_bytes(said, output, size)
            assert {name: (output / name).read_bytes() for name in earlier} == earlier, size
            assert compare_here(golden, target, output) == (0, "")
        assert whole_report(output) == wanted
        shutil.rmtree(output)
    return dict(codes)


@pytest.mark.parametrize("step", [100, pytest.param(4, marks=pytest.mark.slow)])
def test_a_limit_on_files_leaves_the_earlier_report(sides: Sides, tmp_path: Path, step: int) -> None:
    codes = in_child("test_reliability_full_disk:limited_files", *sides, tmp_path, step)
    assert sum(codes.values()) == len(sizes(step)) and codes["2"] >= 2 and codes["0"] >= 3, codes


# --- refused before anything is read -----------------------------------------------------------------------------------------------------


def unwritable(place: Path) -> Path:
    place.mkdir(mode=0o555)
    return place


def a_file(place: Path) -> Path:
    place.write_text("in the way")
    return place


def below_a_file(place: Path) -> Path:
    return a_file(place) / "report"


def with_a_directory_in_it(place: Path) -> Path:
    (place / "cmp_report.csv").mkdir(parents=True)
    os.chown(place, NOBODY, NOBODY)
    return place


def a_dangling_link(place: Path) -> Path:
    place.symlink_to(place.parent / "nowhere" / "deep")
    return place


def without_room(place: Path) -> Path:
    mount(place, f"size=64k,uid={NOBODY}")
    (place / "filler").write_bytes(b"x" * 64 * KIB)
    return place


def in_proc(place: Path) -> Path:
    return Path("/proc/sys/report")


@AS_ROOT
@pytest.mark.parametrize("make", [unwritable, a_file, below_a_file, with_a_directory_in_it, a_dangling_link, without_room, in_proc])
def test_an_output_that_cannot_be_used_is_refused_before_a_tensor_is_read(
    make: Callable[[Path], Path], sides: Sides, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """64 GB of zeros on each side would take many seconds; a refusal takes none of them."""
    # What is imported must be there before: nobody may not read our interpreter.
    assert main(["compare", *map(str, sides), "--executor", "serial", "-q", "-o", str(tmp_path / "first")]) == 0
    place = Path(tempfile.mkdtemp(prefix="fastcmp_test_"))
    try:
        place.chmod(0o755)
        documents = []
        for role in ("golden", "acl"):
            (place / role / "tensors").mkdir(parents=True)
            path = place / role / "tensors" / "zeros.npy"
            np.save(path, np.zeros(1, np.float32))
            head = path.read_bytes()[:128].replace(b"(1,), }" + b" " * 10, b"(16000000000,), }")
            path.write_bytes(head)
            os.truncate(path, 128 + 4 * 16_000_000_000)
            documents.append(write_document(place / role, ["zeros.npy"]))
        made = make(place / "out")
        output = Path("/proc/version") if made == place / "out" and not made.exists() and not made.is_symlink() else made
        os.seteuid(NOBODY)
        try:
            began = time.monotonic()
            code = main(["compare", *map(str, documents), "--executor", "serial", "-q", "-o", str(output)])
            taken = time.monotonic() - began
        finally:
            os.seteuid(0)
        said = capsys.readouterr().err
        assert (code, said.count("\n")) == (2, 1) and str(output) in said and "internal error" not in said, said
        assert taken < 1, said
        assert [path for path in place.rglob("*") if path.name.startswith(("journal", "run.json"))] == []
    finally:
        subprocess.run(["umount", "--lazy", str(place / "out")], capture_output=True, timeout=30, check=False)
        shutil.rmtree(place)
