"""What seldom happens between us and our workers, made to happen: calls of the system that fail, answers that come too late, deaths in a row."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pool_functions
import pytest

from fastcmp.engine import messages, spawn, supervisor, worker
from fastcmp.engine.attempts import Attempts
from fastcmp.engine.beacon import BeaconPage, SharedBeacon
from fastcmp.engine.delivery import Delivery, join_ranges
from fastcmp.engine.item_errors import ItemError, as_item_error, both_sides
from fastcmp.engine.local_pool import LocalPool
from fastcmp.engine.supervisor import Supervisor
from fastcmp.engine.worker_handle import Call, WorkerHandle
from fastcmp.errors import TensorError, UsageError, WorkerDied
from fastcmp.kernels.sums import SUMS_DTYPE
from fastcmp.options import FoldOptions, ScanOptions
from fastcmp.outcome import TaskResult, TensorFacts
from fastcmp.plan import Plan, Task, WorkItem


def item(row: int, first: int | None = None) -> WorkItem:
    return WorkItem(row, f"/g/{row}", f"/t/{row}", FoldOptions(), first_piece=first, stop_piece=None if first is None else first + 1)


def result(task: int, rows: list[int], code: str = "", records: int = 1) -> TaskResult:
    count = len(rows)
    return TaskResult(
        task, rows, [TensorFacts("float32", (2,), 8)] * count, [TensorFacts("float32", (2,), 8)] * count, [code] * count, [""] * count,
        ["why" if code else ""] * count, [()] * count, np.zeros(0 if code else records * count, SUMS_DTYPE), [0 if code else records] * count,
        np.full((count, 6), task), 16 * count, 0.5, [()] * count,
    )  # fmt: skip


# --- one pair ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), "E_MEMORY", "/g/3: no memory for this pair"), (MemoryError("90 GB"), "E_MEMORY", "no memory for this pair (90 GB)"),
        (OSError(errno.EIO, "Input/output error", "/t/3"), "E_IO", "/t/3: EIO: Input/output error"),
        (OSError(errno.ENOENT, "No such file", "/g/3"), "E_MISSING", "/g/3: ENOENT"), (PermissionError(errno.EACCES, "no"), "E_PERMISSION", "/g/3: EACCES"),
        (OSError(errno.ELOOP, "loop"), "E_LOOP", "ELOOP"), (OSError(errno.ENOMEM, "memory"), "E_MEMORY", "ENOMEM"), (OSError(9999, "odd"), "E_IO", "9999: odd"),
        (OSError(errno.EMFILE, "many"), "E_OPEN_FILES", "EMFILE: many"), (OSError(errno.ENFILE, "many"), "E_OPEN_FILES", "ENFILE: many"),
        (OSError("no number"), "E_INTERNAL", "OSError: no number"), (ZeroDivisionError("x"), "E_INTERNAL", "ZeroDivisionError: x"),
        (TensorError("E_DTYPE", "/t/3", "odd"), "E_DTYPE", "/t/3: odd"), (ItemError("E_SHAPE", "", "as it is"), "E_SHAPE", "as it is"),
    ],
)  # fmt: skip
def test_any_exception_is_an_error_row(error: BaseException, code: str, said: str) -> None:
    found = as_item_error(error, item(3))
    assert found.code == code and said in found.detail
    assert found.side == {"/t/3": "target", "/g/3": "golden"}.get(
        getattr(error, "filename", None) or getattr(error, "path", ""), found.side
    )


def test_two_sides_that_fail_are_one_row() -> None:
    one, other = ItemError("E_IO", "golden", "a"), ItemError("E_MISSING", "target", "b")
    assert (both_sides(one, one).side, both_sides(one, other).side) == ("", "golden")
    same = WorkItem(0, "/x", "/x", FoldOptions())
    assert as_item_error(OSError(errno.EIO, "io", "/x"), same).side == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), "E_MEMORY", "no memory for this pair"), (KeyError("x"), "E_INTERNAL", "KeyError: 'x'"),
        (WorkerDied(5, "killed by SIGSEGV", False), "E_WORKER_DIED", "the worker process died twice: killed by SIGSEGV"),
        (WorkerDied(5, "no progress for 1 s", True), "E_TIMEOUT", "no progress for 1 s, twice"),
    ],
)  # fmt: skip
def test_a_task_that_fails_twice_gives_its_pairs_up_one_by_one(error: Exception, code: str, said: str) -> None:
    task = Task(0, (item(5), item(6)), ScanOptions())
    attempts = Attempts(task)
    again, none = attempts.failed(task, error)
    assert none is None
    rows = [[one.row for one in part.items] for part, _ in again]
    assert rows == ([[6], [5]] if isinstance(error, WorkerDied) else [[5], [6]])
    done: TaskResult | None = None
    for part, _ in again:
        if part.items[0].row == 6:
            done = attempts.succeeded(result(0, [6]))
        else:
            more, done = attempts.failed(part, error)
            assert more == []
    assert done is not None and done.rows == [5, 6] and done.error_codes == [code, ""] and said in done.error_details[0]
    assert done.inputs is not None and done.inputs.tolist() == [[0] * 6, [0] * 6] and done.sums is not None and len(done.sums) == 1


def test_causes_that_differ_are_both_told() -> None:
    task = Task(0, (item(5),), ScanOptions())
    attempts = Attempts(task)
    attempts.failed(task, WorkerDied(5, "killed by SIGKILL", False))
    _, done = attempts.failed(task, WorkerDied(5, "killed by SIGSEGV", False))
    assert done is not None and "died twice: killed by SIGKILL, then killed by SIGSEGV" in done.error_details[0]


# --- the order of results ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_what_is_whole_is_delivered_at_an_early_end_gaps_or_not(seed: int) -> None:
    """A range of a split pair without the others is not the pair, whichever range it is."""
    chance = random.Random(seed)
    ranges = [chance.choice([0, 0, 2, 3, 5]) for _ in range(8)]  # 0: a whole pair
    items = [one for row, count in enumerate(ranges) for one in ([item(row, part) for part in range(count)] or [item(row)])]
    tasks = tuple(Task(index, (one,), ScanOptions()) for index, one in enumerate(items))
    finished = [index for index in range(len(tasks)) if chance.random() < 0.7]
    chance.shuffle(finished)
    delivered: list[TaskResult] = []
    split_rows = tuple(None if one.first_piece is None else one.row for one in items)
    delivery = Delivery(Plan(tasks, (1,) * len(tasks), split_rows, len(ranges)), delivered.append)
    for index in finished:
        delivery.add(result(index, [items[index].row]))
    delivery.flush()
    whole = [row for row in range(len(ranges)) if all(index in finished for index, one in enumerate(items) if one.row == row)]
    assert [one.rows for one in delivered] == [[row] for row in whole]


def test_the_first_error_of_a_split_pair_is_the_pairs() -> None:
    whole = join_ranges([result(0, [7]), result(1, [7], "E_SHRUNK"), result(2, [7], "E_CHANGED")])
    assert whole.error_codes == ["E_SHRUNK"] and whole.sums is not None and len(whole.sums) == 0 and whole.sums_counts == [0]
    assert whole.busy_s == 1.5


# --- a worker's own life -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def page() -> Iterator[BeaconPage]:
    descriptor, made = spawn.make_page(2)
    yield made
    os.close(descriptor)


def ask(sock: socket.socket, function: Any, *arguments: Any) -> tuple[bool, Any, str]:
    messages.send(sock, (function, arguments, {}))
    return messages.unpack(messages.receive_body(sock))


def test_a_worker_answers_until_its_parent_hangs_up(page: BeaconPage) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=worker.serve, args=(theirs, SharedBeacon(page._fields, 0)))
    thread.start()
    assert ask(ours, pool_functions.double, 4) == (True, 8, "")
    is_good, error, text = ask(ours, pool_functions.double, None)
    assert not is_good and isinstance(error, TypeError) and "pool_functions.py" in text and str(worker.RemoteTraceback(text)) == f"\n{text}"
    is_good, error, text = ask(ours, pool_functions.on_row_then, 1, "raise")
    # tblib, which comes with distributed, teaches every exception to unpickle, in whatever process has imported it.
    assert not is_good and (str(error) == "NeedsTwo: a" if isinstance(error, RuntimeError) else type(error) is pool_functions.NeedsTwo)
    is_good, error, _ = ask(ours, pool_functions.on_row_then, 1, "system-exit")
    assert not is_good and str(error) == "SystemExit: 5"
    is_good, error, _ = ask(ours, threading.Lock)  # a value that does not pickle
    assert not is_good and "pickle" in str(error)
    ours.close()
    thread.join(5)
    assert not thread.is_alive()
    theirs.close()


def test_a_worker_whose_answer_nobody_takes_ends(page: BeaconPage) -> None:
    ours, theirs = socket.socketpair()
    messages.send(ours, (pool_functions.double, (1,), {}))
    ours.close()
    worker.serve(theirs, Quiet())
    theirs.close()


class Quiet:
    """A beacon that nobody looks at."""

    def begin_task(self) -> None: ...

    def on_row(self, row: int) -> None: ...

    def on_bytes(self, nbytes: int) -> None: ...


def test_a_frame_that_is_too_long_or_cut_is_the_end() -> None:
    for content in ((messages.MOST_BYTES + 1).to_bytes(8, "little"), b"\x05", (9).to_bytes(8, "little") + b"abc"):
        ours, theirs = socket.socketpair()
        ours.sendall(content)
        ours.close()
        with pytest.raises(EOFError):
            messages.receive_body(theirs)
        theirs.close()


# --- the supervisor, by hand -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone() -> Iterator[Supervisor]:
    """A supervisor whose loop does not run."""
    made = Supervisor(2, 0.5)
    yield made
    made.is_killed = True
    made.run()
    assert made.has_ended.is_set()


def a_worker(owner: Supervisor, slot: int | None = None) -> tuple[WorkerHandle, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    handle = WorkerHandle(owner._free_slots.pop() if slot is None else slot, ours)
    owner._workers[handle.slot] = handle
    owner._selector.register(ours, 1, handle)
    return handle, theirs


def test_a_worker_that_hangs_up_and_does_not_end_is_given_up(alone: Supervisor) -> None:
    handle, theirs = a_worker(alone)
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    handle.give(Call(messages.pack((pool_functions.double, (1,), {})), future, True))
    theirs.close()
    alone._on_event(handle, 1)
    assert handle.hung_up and alone.worker_pids() == []
    free = len(alone._free_slots)
    alone._on_tick(2.0)
    assert handle.slot in alone._workers
    alone._on_tick(4.0)
    assert handle.slot not in alone._workers and len(alone._free_slots) == free, "its slot is not used while it may still write there"
    assert [call.future for call in alone.inbox] == [future], "it never began, so another may do it"
    alone._on_exit(handle.slot, -9)
    assert len(alone._free_slots) == free + 1, "it ended after all"


def test_workers_that_die_before_they_begin_end_the_run(alone: Supervisor) -> None:
    with pytest.raises(UsageError, match="its workers die before they begin: exit status 7"):
        for _ in range(50):
            handle, theirs = a_worker(alone)
            handle.give(Call(b"\0" * 8, Future()))
            theirs.close()
            handle.exit_code = 7
            alone._bury(handle)


def test_a_reply_that_cannot_be_unpacked_is_the_calls_error(alone: Supervisor) -> None:
    handle, theirs = a_worker(alone)
    future: Future[Any] = Future()
    handle.give(Call(b"\0" * 8, future))
    alone._settle(handle, b"no pickle")
    assert future.exception() is not None
    theirs.close()


def test_an_event_of_a_worker_that_was_buried_is_nothing(alone: Supervisor) -> None:
    handle, theirs = a_worker(alone)
    del alone._workers[handle.slot]
    alone._selector.unregister(handle.sock)
    alone._on_event(handle, 1)
    handle.sock.close()
    theirs.close()


def test_a_nursery_that_is_lost_before_it_is_ready_is_told(alone: Supervisor) -> None:
    alone._is_ready = False
    alone._nursery.process.kill()
    with pytest.raises(UsageError, match="its first process ended with killed by SIGKILL"):
        while True:
            alone._on_nursery()


def test_kernels_that_cannot_be_prepared_are_told(alone: Supervisor) -> None:
    with pytest.raises(UsageError, match="its kernels could not be prepared: ValueError: x"):
        alone._on_warmed("Traceback\nValueError: x\n")


def test_a_supervisor_that_fails_itself_leaves_no_future_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Supervisor) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(Supervisor, "_assign", fails)
    pool = LocalPool(1)
    pool._thread.join(10)
    with pytest.raises(UsageError, match="its supervisor failed: ZeroDivisionError: odd"):
        pool.submit(pool_functions.double, 1)
    pool.shutdown()


def test_after_a_fork_the_child_lets_go_of_everything() -> None:
    with LocalPool(1) as pool:
        assert pool.submit(pool_functions.double, 1).result(20) == 2
        read, write = os.pipe()
        child = os.fork()
        if not child:
            sockets = [pool._supervisor._nursery.control, pool._supervisor._wake_ours, pool._supervisor._wake_theirs]
            os.write(write, b"y" if all(sock.fileno() == -1 for sock in sockets) else b"n")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 1) == b"y"
        os.close(read)
        os.close(write)
        assert pool.submit(pool_functions.double, 2).result(20) == 4


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "it did not end when killed"), (0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99"),
        (-signal.SIGBUS, "killed by SIGBUS"),
    ],
)  # fmt: skip
def test_an_exit_status_in_words(code: int | None, words: str) -> None:
    assert supervisor._cause(code) == words


# --- starting ----------------------------------------------------------------------------------------------------------------------------


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_workers must be at least 1, got 0"):
        LocalPool(0)
    with pytest.raises(ValueError, match="stall_s must be more than 0, got 0"):
        LocalPool(1, stall_s=0)


def test_a_system_without_memory_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str, flags: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", fails)
    with pytest.raises(UsageError, match=r"no shared memory: .*; use --executor threads"):
        LocalPool(1)


def test_no_interpreter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(UsageError, match=r"sys\.executable is not set"):
        LocalPool(1)


def test_a_nursery_that_does_not_end_is_ended() -> None:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(["sleep", "60"])
    nursery = spawn.Nursery(process, ours, -1)
    nursery.close()
    assert nursery.reap(0.05) == -signal.SIGKILL
    theirs.close()


def test_what_proc_does_not_tell_is_no_progress() -> None:
    ours, theirs = socket.socketpair()
    handle = WorkerHandle(0, ours, pid=2**22 + 1)
    assert handle.io_marks() == ()
    theirs.close()
    handle.give(Call(b"x" * 10, Future()))
    handle.give(Call(b"x" * 10, Future()))
    assert handle.flush() and handle.take_replies() == [] and handle.hung_up
    handle.close()
