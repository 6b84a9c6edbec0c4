"""What runs under failing_calls.so: one comparison after another, each with another call failing. The assertions are made here."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from dump_reading import forget_session, metadata_of, side_of
from reliability_runs import TENSORS, report_lines, tree_state

from fastcmp.cli.main import main
from fastcmp.dump import dump_counters, dump_data
from fastcmp.dump_layout import read_journal
from fastcmp.engine import executors
from fastcmp.results.page_file import BESIDE, GENERATOR, PAGE_NAME

_library = ctypes.CDLL(None)
OUTPUT = "the_report"


@contextlib.contextmanager
def failing(calls: str, part: str, at: int, error: int, sticky: bool) -> Iterator[None]:
    _library.fail_arm(calls.encode(), part.encode(), ctypes.c_long(at), error, int(sticky))
    try:
        yield
    finally:
        seen = _library.fail_seen()
        _library.fail_arm(b"", b"", ctypes.c_long(0), 0, 0)
        failing.seen = seen


def compare(golden: str, target: str, output: Path) -> tuple[int, str]:
    """Exit code and standard error of the command, in this process and thread, where the failing calls are counted."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(["compare", golden, target, "-o", str(output), "--executor", "serial", "-q"])
    return code, said.getvalue()


def places(calls: str, part: str, golden: str, target: str, output: Path, most: int) -> list[int]:
    """The calls to try: all that an undisturbed run makes, or every n-th, so that there are ``most``."""
    with failing(calls, part, 0, 0, False):
        assert compare(golden, target, output)[0] in (0, 2)
    count = failing.seen
    shutil.rmtree(output)
    return list(range(1, count + 1, -(-count // most))) if count else []


def reads(golden: str, target: str, work: str, calls: str, error: int, sticky: bool, mapped: bool, most: int) -> dict[str, int]:
    """Calls on tensor files fail. Every key keeps its row, what was not hit keeps its bytes, and the inputs stay as they are."""
    if mapped:  # as in a worker, without its process: the calls are counted in this one
        executors.SerialExecutor.survives_worker_death = True
    inputs = [Path(golden).parent, Path(target).parent]
    before = tree_state(*inputs)
    output = Path(work) / OUTPUT
    assert compare(golden, target, output) == (0, "")
    clean = report_lines(output)
    shutil.rmtree(output)
    counts: Counter[str] = Counter()
    for at in places(calls, f"/{TENSORS}/", golden, target, output, most):
        with failing(calls, f"/{TENSORS}/", at, error, sticky):
            code, said = compare(golden, target, output)
        rows = report_lines(output)
        changed = [new for old, new in zip(clean, rows, strict=True) if old != new]
        assert code == (2 if changed else 0), (at, code, said)
        assert "internal error" not in said and said.count("\n") == bool(changed), said
        if error in (0, errno.EINTR):
            assert not changed, (at, changed)
        assert sticky or len(changed) <= 1, (at, changed)
        for row in changed:
            assert b",False," in row and row.rstrip(b'"').endswith((b"[E_IO]", b"[E_MEMORY]", b"[E_PERMISSION]")), (at, row)
        counts["tried"] += 1
        counts["rows"] += len(changed)
        shutil.rmtree(output)
    assert tree_state(*inputs) == before
    return dict(counts)


def writes(golden: str, target: str, work: str, calls: str, error: int, sticky: bool, most: int) -> dict[str, int]:
    """Calls on files of the output directory fail. The report is the old one or the new one, and the next run is as if nothing had been."""
    inputs = [Path(golden).parent, Path(target).parent]
    before = tree_state(*inputs)
    output, pristine = Path(work) / OUTPUT, Path(work) / "earlier"
    assert compare(golden, golden, pristine) == (0, "")
    earlier = {path.name: path.read_bytes() for path in pristine.iterdir()}
    (pristine / PAGE_NAME).write_text(f"{GENERATOR}{BESIDE}")
    assert compare(golden, target, output) == (0, "")
    wanted = report_lines(output)
    counts: Counter[str] = Counter()
    for at in places(calls, OUTPUT, golden, target, output, most):
        shutil.copytree(pristine, output)
        with failing(calls, OUTPUT, at, error, sticky):
            code, said = compare(golden, target, output)
        counts["tried"] += 1
        assert "internal error" not in said, (at, said)
        if code == 2:
            counts["refused"] += 1
            assert said.count("\n") == 1 and OUTPUT in said, (at, said)
        else:
            assert (code, said) == (0, "") and report_lines(output) == wanted, (at, code, said)
        whole = {name: (output / name).read_bytes() for name in earlier}
        # They are renamed one after the other; and where the directory cannot be synced in the end, the new ones are there.
        assert whole == earlier or "rename" in calls or report_lines(output) == wanted, at
        assert whole["cmp_report.csv"] == earlier["cmp_report.csv"] or report_lines(output) == wanted, at
        if "unlink" not in calls:
            assert not [path.name for path in output.iterdir() if path.name.endswith("-tmp")], at
        # The page of the earlier report stays with it, and goes with it.
        assert (output / PAGE_NAME).exists() or report_lines(output) == wanted, at
        assert code or not (output / PAGE_NAME).exists() or {"open", "fstat", "close", "unlink"} & set(calls.split()), at
        assert compare(golden, target, output) == (0, "") and report_lines(output) == wanted, at
        assert not (output / PAGE_NAME).exists(), at
        shutil.rmtree(output)
    assert tree_state(*inputs) == before
    return dict(counts)


def documents(golden: str, target: str, work: str, calls: str, error: int, sticky: bool) -> dict[str, int]:
    """Calls on metadata.json fail. The run is refused in one line that names it, or is as if nothing had been."""
    output = Path(work) / OUTPUT
    assert compare(golden, target, output) == (0, "")
    wanted = report_lines(output)
    counts: Counter[str] = Counter()
    for at in places(calls, "/metadata.json", golden, target, output, 200):
        with failing(calls, "/metadata.json", at, error, sticky):
            code, said = compare(golden, target, output)
        counts["tried"] += 1
        if code:
            assert code == 2 and said.count("\n") == 1 and "internal error" not in said and "metadata.json" in said, (at, said)
            assert not (output / "cmp_report.csv").exists()
            counts["refused"] += 1
        else:
            assert said == "" and report_lines(output) == wanted, at
        shutil.rmtree(output, ignore_errors=True)
    return dict(counts)


DUMPED = 6


def dump_some() -> None:
    for number in range(DUMPED):
        dump_data("golden", number, np.full(50, number), token_id=number % 2)


def dumps(work: str, calls: str, error: int, sticky: bool) -> dict[str, int]:
    """Calls on files of a dump fail. `dump_data` never raises and counts what is lost; what it names is whole; and it recovers."""
    counts: Counter[str] = Counter()
    at = total = 0
    while at <= total:
        place = Path(work) / str(at)
        place.mkdir()
        os.chdir(place)
        forget_session()
        with failing(calls, "_cmp_dump_data", at, error, sticky):
            dump_some()
        total = failing.seen if at == 0 else total
        numbers = dump_counters()
        dump_data("golden", "after", np.full(50, 99))
        lost = numbers["write_failed"]
        assert numbers["saved"] + lost == DUMPED and lost <= (DUMPED if sticky else 1), (at, numbers)
        side = side_of(place)
        journal = read_journal(str(side / "journal.jsonl"))
        assert journal.rejected_count == 0, at
        entries = {entry.data_id: entry.path for entry in journal.entries}
        assert len(entries) == numbers["saved"] + 1 and "after" in entries, (at, numbers, entries)
        for data_id, path in entries.items():
            assert set(np.load(place / path)) == {99 if data_id == "after" else int(data_id)}, at
        forget_session()
        with contextlib.suppress(FileNotFoundError):
            assert set(metadata_of(side)) <= set(entries), at
        shutil.rmtree(place)
        counts["tried"] += at > 0
        counts["lost"] += lost
        at += 1
    return dict(counts)
