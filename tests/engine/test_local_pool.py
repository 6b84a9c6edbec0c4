"""The pool outlives its workers, and they do not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pool_functions
import pytest

from fastcmp.engine.local_pool import LocalPool
from fastcmp.errors import UsageError, WorkerDied

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pool() -> Iterator[LocalPool]:
    with LocalPool(2, stall_s=0.8) as made:
        yield made
        made.kill()


def is_gone(pid: int) -> bool:
    """Ended; a zombie that waits for an init which never comes counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until_gone(pids: list[int], patience_s: float = 2.0) -> list[int]:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and not all(map(is_gone, pids)):
        time.sleep(0.02)
    return [pid for pid in pids if not is_gone(pid)]


def run_python(code: str, *arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/engine'}"}
    return subprocess.run(
        [sys.executable, *arguments], input=textwrap.dedent(code), text=True, capture_output=True, timeout=60, env=env, **kwargs
    )


def test_many_small_calls_come_back_in_their_own_futures(pool: LocalPool) -> None:
    futures = [pool.submit(pool_functions.double, number) for number in range(500)]
    assert [future.result(20) for future in futures] == [2 * number for number in range(500)]


@pytest.mark.parametrize(("action", "cause"), [("kill", "killed by SIGKILL"), ("segv", "killed by SIGSEGV"), ("exit", "exit status 3")])
def test_a_death_names_its_row_and_costs_nobody_else(pool: LocalPool, action: str, cause: str) -> None:
    before = [pool.submit(pool_functions.double, number) for number in range(50)]
    poison = pool.submit(pool_functions.on_row_then, 17, action)
    after = [pool.submit(pool_functions.double, number) for number in range(50)]
    with pytest.raises(WorkerDied, match="row 17") as caught:
        poison.result(20)
    assert (caught.value.row, caught.value.cause, caught.value.timed_out) == (17, cause, False)
    assert [future.result(20) for future in (*before, *after)] == [2 * number for number in range(50)] * 2


def test_workers_killed_from_outside_are_replaced(pool: LocalPool) -> None:
    for _ in range(15):
        pool.submit(pool_functions.pid).result(20)
        for pid in pool.worker_pids():
            os.kill(pid, signal.SIGKILL)
    futures = [pool.submit(pool_functions.double, 1) for _ in range(20)]
    # A call may be hit in the middle, but none is lost.
    assert all(future.exception(20) is None or isinstance(future.exception(), WorkerDied) for future in futures)
    assert pool.submit(pool_functions.double, 4).result(20) == 8


def test_a_killed_nursery_is_replaced(pool: LocalPool) -> None:
    pool.warm(pool_functions.set_mark, "warm")
    first = pool.submit(pool_functions.mark).result(20)
    os.kill(first[1], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            second = pool.submit(pool_functions.mark).result(20)
            if second[1] != first[1]:
                break
        except WorkerDied:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert second[0] == "warm"


def test_a_stopped_worker_times_out(pool: LocalPool) -> None:
    with pytest.raises(WorkerDied, match="no progress for") as caught:
        pool.submit(pool_functions.on_row_then, 3, "stop").result(20)
    assert caught.value.timed_out and caught.value.row == 3


def test_a_slow_worker_does_not_time_out(pool: LocalPool) -> None:
    assert pool.submit(pool_functions.creep, 1.6).result(20) == "crept"


def test_exceptions_travel_with_their_traceback(pool: LocalPool) -> None:
    future = pool.submit(int, "x")
    with pytest.raises(ValueError, match="invalid literal") as caught:
        future.result(20)
    assert "worker.py" in str(caught.value.__cause__)


@pytest.mark.parametrize(("action", "said"), [("raise", "NeedsTwo: a"), ("system-exit", "SystemExit: 5")])
def test_an_exception_that_cannot_travel_arrives_as_text(pool: LocalPool, action: str, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        pool.submit(pool_functions.on_row_then, 1, action).result(20)


def test_what_does_not_pickle_is_the_futures_error(pool: LocalPool) -> None:
    with pytest.raises(Exception, match=r"pickle|local object"):
        pool.submit(lambda: 1).result(20)


def test_no_call_is_taken_after_shutdown() -> None:
    pool = LocalPool(1)
    future = pool.submit(pool_functions.double, 1)
    pool.shutdown()
    assert future.result(0) == 2
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pool_functions.double, 1)


def test_cancelled_futures_are_not_run() -> None:
    pool = LocalPool(1)
    futures: list[Future[str]] = [pool.submit(pool_functions.creep, 0.2) for _ in range(8)]
    futures[0].result(20)
    pool.shutdown(cancel_futures=True)
    assert futures[-1].cancelled()
    assert all(future.done() for future in futures)


def test_kill_ends_workers_at_once_and_leaves_no_zombie() -> None:
    pool = LocalPool(2)
    futures = [pool.submit(time.sleep, 60) for _ in range(4)]
    while len(pool.worker_pids()) < 2:
        time.sleep(0.01)
    pids = pool.worker_pids()
    began = time.monotonic()
    pool.kill()
    assert time.monotonic() - began < 3
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert all(isinstance(future.exception(0), WorkerDied) for future in futures)


def test_warming_happens_once_before_the_workers(pool: LocalPool) -> None:
    pool.warm(pool_functions.set_mark, "once")
    marks = {future.result(20) for future in [pool.submit(pool_functions.mark) for _ in range(20)]}
    assert len(marks) == 1
    assert marks.pop()[1] not in pool.worker_pids()


def test_a_failing_warm_call_is_a_clear_error() -> None:
    with LocalPool(1) as pool:
        pool.warm(int, "x")
        with pytest.raises(UsageError, match=r"cannot start: .*invalid literal.*--executor threads"):
            pool.submit(pool_functions.double, 1).result(20)


def test_an_interpreter_that_does_not_start_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with LocalPool(1) as pool, pytest.raises(UsageError, match="exit status 1; use --executor threads"):
        pool.submit(pool_functions.double, 1).result(20)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(UsageError, match=r"cannot start: .*--executor threads"):
        LocalPool(1)


def test_workers_use_one_thread_and_load_nothing_heavy(pool: LocalPool) -> None:
    environment = pool.submit(pool_functions.environment).result(20)
    assert (environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]) == ("1", "1")
    assert pool.submit(pool_functions.loaded, ["torch", "pyarrow", "rich", "multiprocessing"]).result(20) == []


SCRIPT = """
import pool_functions
from fastcmp.engine.local_pool import LocalPool
print("main")
with LocalPool(2) as pool:
    print(sum(pool.map(pool_functions.double, range(10))))
"""


@pytest.mark.parametrize("how", ["script", "stdin", "dash-c"])
def test_a_program_without_a_main_guard_runs_once(tmp_path: Path, how: str) -> None:
    script = tmp_path / "queue_.py"
    script.write_text(SCRIPT)
    arguments = {"script": [str(script)], "stdin": ["-"], "dash-c": ["-c", SCRIPT]}[how]
    done = run_python(SCRIPT, "-W", "error", *arguments, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("main\n90\n", 0), done.stderr


def test_modules_beside_the_users_script_do_not_shadow_ours(tmp_path: Path) -> None:
    for name in ("resource", "llvmlite"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run_python("", str(tmp_path / "script.py"), cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("main\n90\n", 0), done.stderr


def test_closed_standard_streams_do_no_harm() -> None:
    code = "import os\nfor fd in (0, 1, 2): os.close(fd)\n" + SCRIPT.replace("print(", "str(") + "\nos._exit(7)\n"
    assert run_python("", "-c", code).returncode == 7


def test_a_dropped_pool_and_a_finished_program_leave_no_process() -> None:
    code = """
    import pool_functions
    from fastcmp.engine.local_pool import LocalPool
    pool = LocalPool(2)
    print(pool.submit(pool_functions.pid).result())
    """
    done = run_python(code, "-W", "error", "-")
    assert done.returncode == 0 and done.stderr == ""
    assert wait_until_gone([int(done.stdout)]) == []


@pytest.mark.parametrize("when", ["idle", "busy", "forked"])
def test_no_process_outlives_a_killed_parent(when: str) -> None:
    code = f"""
    import os, time, pool_functions
    from fastcmp.engine.local_pool import LocalPool
    pool = LocalPool(2)
    pool.submit(pool_functions.pid).result()
    if {when!r} == "busy":
        futures = [pool.submit(time.sleep, 30) for _ in range(4)]
        while len(pool.worker_pids()) < 2: time.sleep(0.01)
    copy = 0
    if {when!r} == "forked":
        copy = os.fork()
        if not copy:
            time.sleep(8)
            os._exit(0)
    print(copy, pool._supervisor._nursery.process.pid, *pool.worker_pids(), flush=True)
    time.sleep(30)
    """
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/engine'}"}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        copy, *pids = map(int, parent.stdout.readline().split())
        assert len(pids) >= 2 and not any(map(is_gone, pids))
        parent.kill()
        try:
            assert wait_until_gone(pids) == []
        finally:
            if copy:
                os.kill(copy, signal.SIGKILL)


def test_a_parent_killed_while_kernels_compile_takes_the_nursery_along() -> None:
    code = """
    import time, pool_functions
    from fastcmp.engine.local_pool import LocalPool
    pool = LocalPool(2)
    pool.warm(time.sleep, 30)
    time.sleep(0.5)
    print(pool._supervisor._nursery.process.pid, flush=True)
    time.sleep(30)
    """
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/engine'}"}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
        assert wait_until_gone([pid]) == []


def test_nothing_is_left_in_shared_memory() -> None:
    before = set(os.listdir("/dev/shm"))
    with LocalPool(1) as pool:
        pool.submit(pool_functions.double, 1).result(20)
        new = set(os.listdir("/dev/shm")) - before
        assert {name for name in new if not name.startswith("fastcmp_test_")} == set()  # those are disks of other tests


def test_descriptors_are_given_back() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with LocalPool(2) as pool:
        pool.submit(pool_functions.double, 1).result(20)
    before = count()
    for _ in range(3):
        with LocalPool(2) as pool:
            for _ in range(5):
                with pytest.raises(WorkerDied):
                    pool.submit(pool_functions.on_row_then, 1, "kill").result(20)
    assert count() <= before
