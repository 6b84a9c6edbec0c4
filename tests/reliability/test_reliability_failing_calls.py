"""The n-th system call fails, for every n, once and from then on: a row or one line, and nothing else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from reliability_runs import Sides, in_child
from tries import tries

READS = "open pread read fstat close mmap"
WRITES = "open write fsync ftruncate rename"
# Not among the others: where nothing can be removed any more, neither can what another failing call left half done.
ENDS = "close fstat unlink"


def reads(failing_calls: Path, sides: Sides, tmp_path: Path, *how: object) -> dict[str, int]:
    counts: dict[str, int] = in_child("failing_loops:reads", *sides, tmp_path, *how, preload=failing_calls)
    return counts


def writes(failing_calls: Path, sides: Sides, tmp_path: Path, *how: object) -> dict[str, int]:
    counts: dict[str, int] = in_child("failing_loops:writes", *sides, tmp_path, *how, preload=failing_calls)
    return counts


@pytest.mark.parametrize(
    ("calls", "error", "sticky", "mapped", "most"),
    [
        ("open pread read fstat", errno.EIO, False, False, 200),
        ("open pread read fstat", errno.EIO, True, False, 25),
        ("mmap pread", errno.EIO, False, True, 40),
    ],
    ids=["once", "from then on", "mapped"],
)
def test_a_read_that_fails_costs_its_pair_and_no_other(
    failing_calls: Path, sides: Sides, tmp_path: Path, calls: str, error: int, sticky: bool, mapped: bool, most: int
) -> None:
    counts = reads(failing_calls, sides, tmp_path, calls, error, sticky, mapped, most)
    assert counts["tried"] >= 20 and counts["rows"] >= counts["tried"] // 2


@pytest.mark.parametrize(("calls", "error"), [("open pread read fstat", errno.EINTR), ("pread read", 0)], ids=["interrupted", "short"])
def test_a_read_that_is_interrupted_or_short_is_continued(
    failing_calls: Path, sides: Sides, tmp_path: Path, calls: str, error: int
) -> None:
    counts = reads(failing_calls, sides, tmp_path, calls, error, False, False, 40)
    assert counts["tried"] >= 20 and counts["rows"] == 0


@pytest.mark.parametrize(
    ("calls", "error", "sticky"),
    [(WRITES, errno.EIO, False), ("open write fsync rename", errno.ENOSPC, True)],
    ids=["once", "full from then on"],
)
def test_a_write_that_fails_leaves_the_old_report_or_the_new_one(
    failing_calls: Path, sides: Sides, tmp_path: Path, calls: str, error: int, sticky: bool
) -> None:
    counts = writes(failing_calls, sides, tmp_path, calls, error, sticky, 80)
    assert counts["tried"] >= 20 and counts["refused"] >= counts["tried"] // 2


def test_an_end_that_fails_is_told_in_a_line_or_not_at_all(failing_calls: Path, sides: Sides, tmp_path: Path) -> None:
    assert all(writes(failing_calls, sides, tmp_path, call, errno.EIO, False, 30)["tried"] >= 1 for call in ENDS.split())


def test_a_write_that_is_short_is_continued(failing_calls: Path, sides: Sides, tmp_path: Path) -> None:
    counts = writes(failing_calls, sides, tmp_path, "write", 0, False, 20)
    assert counts["tried"] >= 5 and "refused" not in counts


@pytest.mark.parametrize("error", [errno.EIO, errno.EINTR, 0], ids=["failing", "interrupted", "short"])
def test_a_metadata_json_that_cannot_be_read_is_one_line(failing_calls: Path, sides: Sides, tmp_path: Path, error: int) -> None:
    calls = "open read" if error else "read"
    counts = in_child("failing_loops:documents", *sides, tmp_path, calls, error, False, preload=failing_calls)
    assert counts["tried"] >= 4 and counts.get("refused", 0) == (counts["tried"] if error == errno.EIO else 0)


@pytest.mark.parametrize(
    ("calls", "error", "sticky"),
    [("open write mkdir rename close fstat", errno.EIO, False), ("open write mkdir rename", errno.ENOSPC, True), ("write", 0, False)],
    ids=["once", "full from then on", "short"],
)
def test_a_dump_that_cannot_be_written_costs_its_tensor_and_recovers(
    failing_calls: Path, tmp_path: Path, calls: str, error: int, sticky: bool
) -> None:
    counts = in_child("failing_loops:dumps", tmp_path, calls, error, sticky, preload=failing_calls)
    # Of what is cut short a tensor is continued, but a line of the journal, which must be one write, is taken back with its tensor.
    assert counts["tried"] >= 10 and (counts["lost"] <= 7 if error == 0 else counts["lost"] >= counts["tried"] // 3), counts


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOMEM, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
def test_every_call_on_a_tensor_may_fail(failing_calls: Path, sides: Sides, tmp_path: Path, error: int, sticky: bool, mapped: bool) -> None:
    counts = reads(failing_calls, sides, tmp_path, READS, error, sticky, mapped, tries("CALLS", 200))
    print(counts)
    assert counts["tried"] >= 30


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", [*WRITES.split(), WRITES, *ENDS.split()])
def test_every_call_on_the_report_may_fail(failing_calls: Path, sides: Sides, tmp_path: Path, call: str, error: int, sticky: bool) -> None:
    counts = writes(failing_calls, sides, tmp_path, call, error, sticky, tries("CALLS", 200))
    print(counts)
    assert counts["tried"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.ENOENT], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "write", "mkdir", "rename", "close", "fstat"])
def test_every_call_on_a_dump_may_fail(failing_calls: Path, tmp_path: Path, call: str, error: int, sticky: bool) -> None:
    print(in_child("failing_loops:dumps", tmp_path, call, error, sticky, preload=failing_calls))
