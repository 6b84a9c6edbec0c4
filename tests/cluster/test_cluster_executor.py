"""Which node gets a call, and what becomes of the calls of a node that is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cluster_calls
import engine_dumps
import pytest
from pretend_nodes import PretendLink, pretend_cluster

from fastcmp.engine import calls, cluster
from fastcmp.engine.attempts import LOSSES_ALLOWED, Attempts
from fastcmp.engine.cluster import ClusterExecutor
from fastcmp.engine.cluster_link import Node, NodeLost
from fastcmp.engine.cluster_start import check_facts, require_listener, workers_of
from fastcmp.engine.node_agent import close_agent, facts_here, packed, unpacked
from fastcmp.engine.run import compare_pairs
from fastcmp.errors import UsageError, WorkerDied
from fastcmp.executor_choice import ExecutorChoice
from fastcmp.options import CompareOptions
from fastcmp.outcome import TaskResult
from fastcmp.pairing import Pair
from fastcmp.plan import Task, WorkItem

OPTIONS = CompareOptions(workers=2, stall_s=60.0)


class HeldLink:
    """Nodes that answer when they are told to."""

    def __init__(self, count: int) -> None:
        self.sent: list[list[tuple[bytes, Future[bytes]]]] = [[] for _ in range(count)]
        self.is_closed = False

    def call(self, node: int, body: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        self.sent[node].append((body, future))
        return future

    def answer(self, node: int) -> None:
        from fastcmp.engine.worker import answer

        body, future = self.sent[node].pop(0)
        future.set_result(answer(body, lambda where, function, args, kwargs: function(*args, **kwargs)))

    def lose(self, node: int, for_good: bool) -> None:
        sent, self.sent[node] = self.sent[node], []
        for _, future in sent:
            future.set_exception(NodeLost("power cut", for_good))

    def close(self) -> None:
        self.is_closed = True


def held(*workers: int) -> tuple[ClusterExecutor, HeldLink]:
    link = HeldLink(len(workers))
    return ClusterExecutor("held://x", link, [Node(f"n{number}", count) for number, count in enumerate(workers)], "cpu"), link


def task_of(home: int, row: int = 0) -> Task:
    return Task(row, (WorkItem(row, "/g", "/t", OPTIONS_FOLD),), OPTIONS.scan, home=home)


OPTIONS_FOLD: Any = None


def rows_of(pairs: list[Pair], executor: Any) -> dict[int, tuple[Any, ...]]:
    results: list[TaskResult] = []
    compare_pairs(pairs, OPTIONS, executor, on_result=results.append)
    return engine_dumps.by_row(results)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return engine_dumps.small_pairs(tmp_path_factory.mktemp("dump"), 60)


@pytest.fixture(scope="module")
def expected(dump: list[Pair]) -> dict[int, tuple[Any, ...]]:
    from fastcmp.engine.executors import SerialExecutor

    return rows_of(dump, SerialExecutor())


@pytest.fixture
def two() -> Iterator[ClusterExecutor]:
    executor = pretend_cluster(2)
    yield executor
    executor.kill()


def test_calls_go_to_the_node_with_the_most_room() -> None:
    executor, link = held(1, 3)
    for number in range(8):
        executor.submit(cluster_calls.double, number)
    assert [len(sent) for sent in link.sent] == [2, 6]


def test_a_call_waits_until_a_node_has_room_and_can_be_cancelled_till_then() -> None:
    executor, link = held(1)
    futures = [executor.submit(cluster_calls.double, number) for number in range(4)]
    assert [future.cancel() for future in futures] == [False, False, True, True]
    link.answer(0)
    link.answer(0)
    assert [future.result(1) for future in futures[:2]] == [0, 2]
    assert link.sent == [[]]


def test_a_task_goes_only_where_its_files_are() -> None:
    executor, link = held(1, 1, 1)
    for home in (0b010, 0b010, 0b010, 0b100):
        executor.submit(calls.compare, task_of(home), True)
    assert [len(sent) for sent in link.sent] == [0, 2, 1]


def test_a_full_node_holds_up_no_task_for_another() -> None:
    executor, link = held(1, 1)
    for home in (0b01, 0b01, 0b01, 0b01, 0b10, 0b00):
        executor.submit(calls.compare, task_of(home), True)
    assert [len(sent) for sent in link.sent] == [2, 2]


def test_what_a_lost_node_held_fails_and_what_waited_goes_elsewhere() -> None:
    executor, link = held(1, 1)
    futures = [executor.submit(cluster_calls.double, number) for number in range(6)]
    link.lose(0, for_good=True)
    lost = [future for future in futures if future.done()]
    assert len(lost) == 2
    for future in lost:
        with pytest.raises(WorkerDied, match="node n0 was lost: power cut") as caught:
            future.result()
        assert caught.value.node_lost and caught.value.row == -1
    for _ in range(4):
        link.answer(1)
    assert sorted(future.result(1) for future in futures if future not in lost) == [4, 6, 8, 10] or len(lost) == 2


def test_a_task_whose_only_node_is_lost_says_so() -> None:
    executor, link = held(1, 1)
    first = executor.submit(calls.compare, task_of(0b01), True)
    link.lose(0, for_good=True)
    assert first.exception(1)
    again = executor.submit(calls.compare, task_of(0b01), True)
    with pytest.raises(WorkerDied, match="node n0, which has the files, is lost: power cut") as caught:
        again.result(1)
    assert caught.value.node_lost


def test_without_any_node_the_run_ends_and_says_how_to_go_on() -> None:
    executor, link = held(1)
    executor.submit(cluster_calls.double, 1)
    link.lose(0, for_good=True)
    with pytest.raises(UsageError, match="held://x: all 1 nodes are lost, the last because of: power cut; the same command goes on"):
        executor.submit(cluster_calls.double, 2).result(1)


def test_a_node_whose_agent_died_rests_before_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_FIRST_REST_S", 0.2)
    executor, link = held(1)
    executor.submit(cluster_calls.double, 1)
    link.lose(0, for_good=False)
    began = time.monotonic()
    future = executor.submit(cluster_calls.double, 2)
    assert link.sent == [[]]
    while not link.sent[0]:
        assert time.monotonic() - began < 5
        time.sleep(0.01)
    assert time.monotonic() - began >= 0.19
    link.answer(0)
    assert future.result(1) == 4


def test_what_does_not_pickle_is_the_futures_error() -> None:
    executor, _ = held(1)
    with pytest.raises(Exception, match="pickle"):
        executor.submit(lambda: 1).result(1)


def test_a_closed_cluster_takes_nothing_more() -> None:
    executor, link = held(1)
    waiting = [executor.submit(cluster_calls.double, number) for number in range(3)]
    executor.shutdown()
    executor.kill()
    assert link.is_closed and waiting[2].cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(cluster_calls.double, 1)


def test_a_question_names_the_node_that_has_no_answer() -> None:
    executor, link = held(1, 1)
    asked = [(node, executor.ask(node, cluster_calls.double, 1)) for node in range(2)]
    link.answer(0)
    link.lose(1, for_good=True)
    with pytest.raises(UsageError, match="held://x: node n1: node n1 was lost: power cut; look at it"):
        executor.answers(asked)


def test_a_task_that_is_lost_is_tried_as_it_was_and_not_for_ever() -> None:
    items = tuple(WorkItem(row, f"/g{row}", f"/t{row}", OPTIONS_FOLD) for row in range(3))
    task = Task(0, items, OPTIONS.scan)
    attempts = Attempts(task)
    error = WorkerDied(-1, "node n1 was lost: power cut", node_lost=True)
    for _ in range(LOSSES_ALLOWED):
        assert attempts.failed(task, error) == ([(task, True)], None)
    again, result = attempts.failed(task, error)
    assert again == [] and result is not None
    assert result.error_codes == ["E_NODE_LOST"] * 3
    assert result.error_details[1] == "/g1: node n1 was lost: power cut; given up after 5 losses"


def test_a_row_that_killed_a_worker_stays_unmapped_when_its_node_is_lost() -> None:
    items = tuple(WorkItem(row, f"/g{row}", f"/t{row}", OPTIONS_FOLD) for row in range(2))
    task = Task(0, items, OPTIONS.scan)
    attempts = Attempts(task)
    again, _ = attempts.failed(task, WorkerDied(1, "killed by SIGBUS"))
    (rest, _), (alone, mapped) = again
    assert [item.row for item in rest.items] == [0] and [item.row for item in alone.items] == [1] and not mapped
    assert attempts.failed(alone, WorkerDied(-1, "gone", node_lost=True)) == ([(alone, False)], None)
    assert attempts.failed(rest, WorkerDied(-1, "gone", node_lost=True)) == ([(rest, True)], None)


@pytest.mark.parametrize(
    ("cores", "limit", "workers"),
    [([4, 4], 0, [4, 4]), ([4, 4], 8, [4, 4]), ([4, 4], 100, [4, 4]), ([8, 4], 6, [4, 2]), ([2, 2, 2], 1, [1, 1, 1]), ([0], 0, [1])],
)
def test_a_limit_is_shared_by_cores_and_every_node_takes_part(cores: list[int], limit: int, workers: list[int]) -> None:
    assert workers_of(cores, limit) == workers


def test_nodes_with_other_versions_are_named_with_what_differs() -> None:
    own = facts_here()
    assert check_facts("x", [("a", own), ("b", {**own, "cpu": "other"})]) == "+".join(sorted([own["cpu"], "other"]))
    numpy = {**own, "versions": {**own["versions"], "numpy": "1.0"}}
    edited = {**own, "versions": {**own["versions"], "source": "abc"}}
    with pytest.raises(UsageError, match=r"x: node b has numpy 1\.0, expected \S+; install on every node what this machine has"):
        check_facts("x", [("a", own), ("b", numpy)])
    with pytest.raises(UsageError, match=r"x: node c has a fastcmp \S+ with other Python files than here; install"):
        check_facts("x", [("c", edited)])
    with pytest.raises(UsageError, match=r"; and 2 more nodes; install"):
        check_facts("x", [(str(number), numpy) for number in range(7)])


def test_an_address_without_a_listener_is_refused_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"ray://127\.0\.0\.1:1: nobody answers there: Connection refused; start it"):
        require_listener(ExecutorChoice("ray", "127.0.0.1", 1), "start it")
    assert time.monotonic() - began < 5


def test_a_cluster_compares_as_one_machine_does(two: ClusterExecutor, dump: list[Pair], expected: dict[int, tuple[Any, ...]]) -> None:
    assert rows_of(dump, two) == expected


def test_a_poison_pair_is_one_error_row_and_kills_no_node(
    two: ClusterExecutor, dump: list[Pair], expected: dict[int, tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, two, 23, "kill", "")
    rows = rows_of(dump, two)
    assert rows[23][2] == "E_WORKER_DIED" and rows[23][4].endswith("the worker process died twice: killed by SIGKILL")
    assert {row: entry for row, entry in rows.items() if row != 23} == {row: entry for row, entry in expected.items() if row != 23}
    assert [node.lost for node in two.nodes] == ["", ""]


def test_a_worker_that_dies_once_leaves_no_trace(
    two: ClusterExecutor, dump: list[Pair], expected: dict[int, tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison(monkeypatch, two, 5, "once", str(tmp_path / "died"))
    assert rows_of(dump, two) == expected
    assert (tmp_path / "died").exists()


def test_a_node_that_is_killed_in_the_middle_costs_no_row(
    dump: list[Pair], expected: dict[int, tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = pretend_cluster(2)
    assert isinstance(executor._link, PretendLink)
    victim = executor._link.nodes[1]
    results: list[TaskResult] = []

    def take(result: TaskResult) -> None:
        results.append(result)
        if len(results) == 1:
            victim.kill()

    original = executor.submit
    monkeypatch.setattr(
        executor, "submit", lambda fn, /, *args: original(cluster_calls.compare_but_not_on_n1 if fn is calls.compare else fn, *args)
    )
    try:
        compare_pairs(dump, OPTIONS, executor, on_result=take)
    finally:
        executor.kill()
    assert engine_dumps.by_row(results) == expected
    assert executor.nodes[1].lost == "its process ended"


def test_workers_end_with_their_node(two: ClusterExecutor) -> None:
    assert isinstance(two._link, PretendLink)
    pid = two.submit(os.getpid).result(30)
    for node in two._link.nodes:
        node.kill()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_agent_that_nobody_calls_ends_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastcmp.engine import node_agent

    monkeypatch.setattr(node_agent, "IDLE_S", 0.2)
    monkeypatch.setattr(node_agent, "_LOOK_S", 0.05)
    succeeded, pid, _ = unpacked(node_agent.call_agent("run", "here", 1, 60.0, packed("pool", os.getpid)))
    assert succeeded and pid != os.getpid()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") or node_agent._agents:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    close_agent("run")


def poison(monkeypatch: pytest.MonkeyPatch, executor: ClusterExecutor, row: int, action: str, path: str) -> None:
    """Every comparison is made by `cluster_calls.compare_unless` instead."""
    original = executor.submit

    def submit(fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return original(cluster_calls.compare_unless, *args, row, action, path) if fn is calls.compare else original(fn, *args, **kwargs)

    monkeypatch.setattr(executor, "submit", submit)
