"""What runs under failing_calls.so: one comparison after another, each with another call failing. The assertions are made here."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from dump_reading import forget_session, metadata_of, side_of
from reliability_runs import TENSORS, report_lines, rows_kept, tree_state, whole_report

from fastcmp import comparison, plan
from fastcmp.cli.main import main
from fastcmp.dump import dump_counters, dump_data
from fastcmp.dump_layout import read_journal
from fastcmp.engine import executors
from fastcmp.results.journal import JournalWriter
from fastcmp.results.page_file import BESIDE, GENERATOR, PAGE_NAME

_library = ctypes.CDLL(None)
OUTPUT = "the_report"
# What a row says of an input on which a call fails with this error.
ROW_CODES = {errno.EIO: "E_IO", errno.ENOMEM: "E_MEMORY", errno.EACCES: "E_PERMISSION"}
ROW_WORDS = {errno.EIO: b"input/output error", errno.ENOMEM: b"memory", errno.EACCES: b"permission denied"}


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
        assert whole_report(output)
        rows = report_lines(output)
        changed = [new for old, new in zip(clean, rows, strict=True) if old != new]
        assert code == (2 if changed else 0), (at, code, said)
        assert "internal error" not in said and said.count("\n") == bool(changed), said
        if error in (0, errno.EINTR):
            assert not changed, (at, changed)
        assert sticky or len(changed) <= 1, (at, changed)
        for row in changed:
            assert b",False," in row and row.rstrip(b'"').endswith(f"[{ROW_CODES[error]}]".encode()), (at, row)
            assert ROW_WORDS[error] in row.lower(), (at, row)
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
    wanted = whole_report(output)
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
            assert (code, said) == (0, "") and whole_report(output) == wanted, (at, code, said)
        now = {name: (output / name).read_bytes() for name in earlier}
        # They are renamed one after the other, run.json as the last; and where the directory cannot be synced in the end, the new ones are there.
        if now["run.json"] != earlier["run.json"]:
            assert whole_report(output) == wanted, at
        elif now != earlier:
            assert "rename" in calls and now["cmp_report.arrow"] == wanted["cmp_report.arrow"], at
            assert now["cmp_report.csv"] in (earlier["cmp_report.csv"], wanted["cmp_report.csv"]), at
        if "unlink" not in calls:
            assert not [path.name for path in output.iterdir() if path.name.endswith("-tmp")], at
        # The page of the earlier report stays with it, and goes with it.
        assert (output / PAGE_NAME).exists() or whole_report(output) == wanted, at
        assert code or not (output / PAGE_NAME).exists() or {"open", "fstat", "close", "unlink"} & set(calls.split()), at
        assert compare(golden, target, output) == (0, "") and whole_report(output) == wanted, at
        assert not (output / PAGE_NAME).exists(), at
        shutil.rmtree(output)
    assert tree_state(*inputs) == before
    return dict(counts)


def in_fork(work: Callable[[], object]) -> int:
    """How a copy of this process ends that does ``work``: 0, or less than that by a signal."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended_writes(golden: str, target: str, work: str, is_half_done: bool, most: int) -> dict[str, int]:
    """The process is killed at a write of its journal. All that an earlier write held is taken over, and the report is the same bytes."""
    comparison._WRITE_ROWS, plan.BATCH_COUNT = 1, 20  # many writes, of one task each
    append, told = JournalWriter.append, Path(work) / "told"

    def append_and_tell(journal: JournalWriter, *more: object) -> None:
        append(journal, *more)
        told.write_text(str(journal.rows))

    JournalWriter.append = append_and_tell
    inputs = [Path(golden).parent, Path(target).parent]
    before = tree_state(*inputs)
    output, undisturbed = Path(work) / OUTPUT, Path(work) / "undisturbed"
    assert compare(golden, target, undisturbed) == (0, "")
    wanted = whole_report(undisturbed)
    counts: Counter[str] = Counter()
    for at in places("write", "/journal-", golden, target, output, most):
        told.write_text("0")
        with failing("write", "/journal-", at, -signal.SIGKILL, is_half_done):
            assert in_fork(lambda: compare(golden, target, output)) == -signal.SIGKILL, at
        kept = rows_kept(output)
        assert kept == int(told.read_text()), at
        assert compare(golden, target, output) == (0, ""), at
        assert json.loads((output / "run.json").read_bytes())["totals"]["resumed"] == kept, at
        assert whole_report(output) == wanted, at
        counts["tried"] += 1
        counts["kept"] += kept
        shutil.rmtree(output)
    assert tree_state(*inputs) == before
    return dict(counts)


def documents(golden: str, target: str, work: str, calls: str, error: int, sticky: bool) -> dict[str, int]:
    """Calls on metadata.json fail. The run is refused in one line that names it, or is as if nothing had been."""
    inputs = [Path(golden).parent, Path(target).parent]
    before = tree_state(*inputs)
    output = Path(work) / OUTPUT
    assert compare(golden, target, output) == (0, "")
    wanted = whole_report(output)
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
            assert said == "" and whole_report(output) == wanted, at
        shutil.rmtree(output, ignore_errors=True)
    assert tree_state(*inputs) == before
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
