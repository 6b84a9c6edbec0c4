"""A run gives the same rows for any executor, any number of workers, and whatever dies on the way."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import engine_dumps
import numpy as np
import pool_functions
import pytest

from fastcmp.engine import calls, compare_items
from fastcmp.engine.compare_items import run_task
from fastcmp.engine.delivery import join_ranges, join_results
from fastcmp.engine.executors import open_executor
from fastcmp.engine.local_pool import LocalPool
from fastcmp.engine.measure import measure
from fastcmp.engine.run import compare_pairs, run
from fastcmp.errors import UsageError
from fastcmp.formats import kept_files, open_file
from fastcmp.kernels.sums import empty
from fastcmp.options import CompareOptions
from fastcmp.outcome import TaskResult, TensorFacts
from fastcmp.pairing import Pair
from fastcmp.plan import Plan, Task, plan

OPTIONS = CompareOptions(workers=2, stall_s=60.0)
DTYPES = [("float32", "float32"), ("float16", "float16")]


class PoisonedPool(LocalPool):
    """A pool whose workers come to harm on one row."""

    def __init__(self, function: Callable[..., TaskResult], row: int, action: str, path: str = "") -> None:
        super().__init__(2, stall_s=1.0 if action == "stop" else 60.0)
        self.harm = function, row, action, path
        self.warm(calls.prepare, DTYPES)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        function, *harm = self.harm
        return super().submit(function, *args, *harm)


def rows_of(pairs: list[Pair], options: CompareOptions = OPTIONS, executor: Executor | None = None) -> dict[int, tuple[Any, ...]]:
    results: list[TaskResult] = []
    planned = plan(pairs, measure(pairs, options.scan), options, worker_count=options.workers or 1)
    if executor is not None:
        run(planned, options, results.append, executor=executor)
        return engine_dumps.by_row(results)
    with open_executor(options) as made:
        if isinstance(made, LocalPool):
            made.warm(calls.prepare, DTYPES)
        run(planned, options, results.append, executor=made)
    return engine_dumps.by_row(results)


def one_by_one(pairs: list[Pair]) -> Plan:
    """Every pair in a task of its own."""
    whole = plan(pairs, measure(pairs, OPTIONS.scan), OPTIONS)
    items = [item for task in whole.tasks for item in task.items]
    tasks = [Task(index, (item,), OPTIONS.scan) for index, item in enumerate(items)]
    return Plan(tasks, (0,) * len(items), (None,) * len(items), len(items))


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return engine_dumps.small_pairs(tmp_path_factory.mktemp("dump"), 40)


@pytest.fixture(scope="module")
def expected(dump: list[Pair]) -> dict[int, tuple[Any, ...]]:
    return rows_of(dump, CompareOptions(executor="serial"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two and a half pieces of zeros, with a few values planted on both sides of every edge."""
    folder = tmp_path_factory.mktemp("large")
    count = (64 << 20) // 2 * 5 // 2
    edge = (64 << 20) // 2
    planted = {3: 1.0, edge - 1: 2.0, edge: -3.0, 2 * edge + 5: 0.5, count - 1: 7.0}
    golden = engine_dumps.sparse_npy(folder / "g.npy", (count // 4096, 4096), "<f2", planted)
    target = engine_dumps.sparse_npy(folder / "t.npy", (count // 4096, 4096), "<f2", {**planted, edge: -3.5, 9: 1e-3})
    return engine_dumps.pair_of(100, golden, target)


def test_all_pairs_are_compared(expected: dict[int, tuple[Any, ...]]) -> None:
    assert sorted(expected) == list(range(40))
    assert {row[2] for row in expected.values()} == {""}
    assert len({row[-1] for row in expected.values()}) == 40


@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("local", 2), ("local", 7), ("threads", 1), ("threads", 3)])
def test_executor_and_worker_count_never_change_a_byte(
    dump: list[Pair], large: Pair, expected: dict[int, tuple[Any, ...]], executor: str, workers: int
) -> None:
    options = dataclasses.replace(OPTIONS, executor=executor, workers=workers)
    rows = rows_of([*dump, large], options)
    whole = rows_of([large], CompareOptions(executor="serial"))
    assert rows == {**expected, **whole}


def test_results_come_in_the_order_of_the_plan(dump: list[Pair], large: Pair) -> None:
    pairs = [*dump, large]
    planned = plan(pairs, measure(pairs, OPTIONS.scan), OPTIONS, worker_count=4)
    results: list[TaskResult] = []
    run(planned, OPTIONS, results.append)
    in_order = [item.row for task in planned.tasks for item in task.items]
    assert [row for result in results for row in result.rows] == list(dict.fromkeys(in_order))
    assert len(in_order) > len(set(in_order)), "the large pair was not split"


def test_a_split_pair_is_the_whole_pair(large: Pair) -> None:
    sizes = measure([large], OPTIONS.scan)
    assert sizes[0].piece_count == 3
    split = plan([large], sizes, OPTIONS, worker_count=8)
    whole = plan([large], [sizes[0]._replace(piece_count=1)], OPTIONS)
    assert (len(split.tasks), len(whole.tasks)) == (3, 1)
    parts = [run_task(task) for task in split.tasks]
    one = run_task(whole.tasks[0], mapped=False)
    assert engine_dumps.by_row([join_ranges(parts)]) == engine_dumps.by_row([one])
    assert sum(part.bytes_compared for part in parts) == one.bytes_compared == one.golden[0].nbytes * 2


@pytest.mark.parametrize(("action", "code"), [("kill", "E_WORKER_DIED"), ("unseen", "E_WORKER_DIED"), ("stop", "E_TIMEOUT")])
def test_a_poison_pair_is_one_error_row(dump: list[Pair], expected: dict[int, tuple[Any, ...]], action: str, code: str) -> None:
    with PoisonedPool(pool_functions.compare_or_die, 23, action) as pool:
        rows = rows_of(dump, executor=pool)
    assert rows[23][2] == code
    assert str(dump[23].golden and dump[23].golden.path) in rows[23][4]
    assert {row: entry for row, entry in rows.items() if row != 23} == {row: entry for row, entry in expected.items() if row != 23}


def test_a_worker_that_dies_once_leaves_no_trace(dump: list[Pair], expected: dict[int, tuple[Any, ...]], tmp_path: Path) -> None:
    with PoisonedPool(pool_functions.compare_or_die, 5, "once", str(tmp_path / "died")) as pool:
        assert rows_of(dump, executor=pool) == expected
    assert (tmp_path / "died").exists()


def test_a_file_that_shrinks_under_its_map_is_an_error_row(tmp_path: Path) -> None:
    paths = [tmp_path / "g.npy", tmp_path / "t.npy"]
    for path in paths:
        np.save(path, np.ones(1 << 20, np.float32))
    pairs = [engine_dumps.pair_of(0, *paths)]
    with PoisonedPool(pool_functions.compare_while_shrinking, 0, "", str(paths[0])) as pool:
        rows = rows_of(pairs, executor=pool)
    assert rows[0][2] in ("E_SHRUNK", "E_CHANGED", "E_TRUNCATED", "E_SIZE_SHORT"), rows[0]
    assert rows[0][3] == "golden"


def test_a_fault_in_one_pair_changes_no_other_row(tmp_path: Path) -> None:
    pairs = engine_dumps.small_pairs(tmp_path, 12)
    clean = rows_of(pairs, CompareOptions(executor="serial"))
    (tmp_path / "g4.npy").unlink()
    (tmp_path / "t7.npy").write_bytes(b"\x93NUMPY\x01\x00garbage")
    np.save(tmp_path / "t9.npy", np.ones((3, 1), np.float32))
    rows = rows_of(pairs)
    assert {row: entry[2] for row, entry in rows.items() if entry[2]} == {4: "E_MISSING", 7: rows[7][2], 9: "E_SHAPE"}
    assert [rows[row][3] for row in (4, 7, 9)] == ["golden", "target", ""]
    assert {row: entry for row, entry in rows.items() if row not in (4, 7, 9)} == {
        row: entry for row, entry in clean.items() if row not in (4, 7, 9)
    }


def test_progress_ends_at_the_total_and_never_goes_back(dump: list[Pair], large: Pair) -> None:
    shown: list[int] = []
    totals: list[int] = []
    results: list[TaskResult] = []
    with open_executor(OPTIONS) as executor:
        compare_pairs([*dump, large], OPTIONS, executor, on_plan=totals.append, on_result=results.append, on_progress=shown.append)
    assert len(totals) == 1 and shown[-1] == totals[0] == sum(size.nbytes for size in measure([*dump, large], OPTIONS.scan))
    assert shown == sorted(shown)


def test_a_stop_delivers_what_is_finished_and_raises(dump: list[Pair]) -> None:
    stop = threading.Event()
    results: list[TaskResult] = []

    def on_result(result: TaskResult) -> None:
        results.append(result)
        stop.set()

    planned = one_by_one(dump)
    with PoisonedPool(pool_functions.compare_slowly, 0, "slow") as pool:
        with pytest.raises(KeyboardInterrupt):
            run(planned, OPTIONS, on_result, executor=pool, stop=stop)
        pool.kill()
    rows = engine_dumps.by_row(results)
    assert 0 < len(rows) < 40


def test_the_first_interrupt_stops_gently_and_the_second_at_once(dump: list[Pair]) -> None:
    planned = one_by_one(dump)
    ended = threading.Event()

    def press_twice() -> None:
        while len(pool.worker_pids()) < 2:
            time.sleep(0.02)
        for _ in range(2):
            if not ended.wait(0.5):
                os.kill(os.getpid(), signal.SIGINT)

    with PoisonedPool(pool_functions.compare_slowly, 0, "for a minute") as pool:
        presser = threading.Thread(target=press_twice)
        presser.start()
        began = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                run(planned, OPTIONS, lambda result: None, executor=pool)
        finally:
            ended.set()
            presser.join()
        assert time.monotonic() - began < 20
        pool.kill()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("change", "said"), [({"executor": "fork"}, "expected local, threads"), ({"workers": -1}, "positive number")])
def test_an_executor_that_does_not_exist_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said), open_executor(dataclasses.replace(OPTIONS, **change)):
        pass


def test_joined_results_hold_what_each_held(dump: list[Pair]) -> None:
    results: list[TaskResult] = []
    planned = plan(dump, measure(dump, OPTIONS.scan), OPTIONS, worker_count=4)
    run(planned, dataclasses.replace(OPTIONS, executor="serial"), results.append)
    assert len(results) > 1
    assert engine_dumps.by_row([join_results(results)]) == engine_dumps.by_row(results)


@pytest.mark.parametrize(("name", "value"), [("SMALL_BYTES", 0), ("SMALL_BYTES", 900), ("CAPACITY", 3000)])
def test_pairs_that_are_kept_and_pairs_that_are_opened_again_have_the_same_rows(
    name: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files above the limit, or behind the end of the memory, take the long way."""
    pairs = engine_dumps.small_pairs(tmp_path, 12)
    np.save(tmp_path / "g3.npy", np.asfortranarray(np.load(tmp_path / "g3.npy")))
    np.save(tmp_path / "t5.npy", np.load(tmp_path / "t5.npy").astype(">f4"))
    (tmp_path / "t7.npy").write_bytes(b"no tensor")
    (tmp_path / "t9.npy").unlink()
    (task,) = plan(pairs, measure(pairs, OPTIONS.scan), OPTIONS).tasks
    kept = engine_dumps.by_row([run_task(task)])
    monkeypatch.setattr(open_file if name == "SMALL_BYTES" else kept_files, name, value)
    monkeypatch.setattr(compare_items._local, "kept", None, raising=False)
    opened = engine_dumps.by_row([run_task(task)])
    monkeypatch.setattr(compare_items._local, "kept", None, raising=False)
    assert kept == opened and len(kept) == 12


def test_a_result_is_the_same_after_its_way_from_a_worker() -> None:
    facts = [TensorFacts("float32", (2, 3), 24), TensorFacts("float32", (2, 3), 24), TensorFacts(), TensorFacts("int8", None, 6, 29)]
    stated = [TensorFacts("float32", (2,), statistics={"max": number}) for number in (1.0, 2.0)]
    golden, target = [*facts, *stated, *stated], [*stated, *facts, *stated]
    lists: list[Any] = [list(range(8)), golden, target, ["", "E_IO"] * 4, ["", "golden"] * 4, ["", "/d: lost"] * 4, [(), ("W_X",)] * 4]
    sums = empty().repeat(4)
    result = TaskResult(7, *lists, sums, [1, 0] * 4, 99, 0.5)
    back = pickle.loads(pickle.dumps(result))
    for column in dataclasses.fields(TaskResult):
        if column.name != "sums":
            assert getattr(back, column.name) == getattr(result, column.name), column.name
    assert back.sums.tobytes() == sums.tobytes() and back.sums.dtype == sums.dtype
    assert pickle.loads(pickle.dumps(TaskResult(0))) == TaskResult(0)
