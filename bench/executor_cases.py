"""What a task costs by each executor, and how fast large tensors are compared: beside the local pool, in the same process, in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from importlib.util import find_spec
from pathlib import Path

from answers import WrongAnswer
from cases import FOR_THE_RECORD
from dumps import BenchDump
from measure import Case, alternate, timed
from setting import CORES, Setting

from fastcmp.api import load_pairs
from fastcmp.engine import calls
from fastcmp.engine.executors import open_executor
from fastcmp.engine.run import compare_pairs
from fastcmp.options import CompareOptions
from fastcmp.outcome import TaskResult

TASKS = 600
YARDSTICK = "local pool"
NEEDS = {"threads": "", "ray": "ray", "dask": "distributed"}


def executor_cases(setting: Setting) -> list[Case]:
    """Threads, Ray and Dask, each on this machine alone: how they do over a network is another question."""
    dump = setting.large()
    cases: list[Case] = []
    with open_executor(CompareOptions(workers=CORES)) as pool:
        for name, package in NEEDS.items():
            task = Case(f"a task by {name}", "tasks/s", YARDSTICK, FOR_THE_RECORD)
            large = Case(f"compare {dump_bytes(dump) / 1e9:.1f} GB by {name}", "GB/s", YARDSTICK, FOR_THE_RECORD)
            cases += [task, large]
            if package and find_spec(package) is None:
                task.not_here = large.not_here = f"{package} is not installed"
                continue
            with executor_of(name) as other:
                rounds = setting.size.rounds
                alternate(task, rounds, TASKS, lambda other=other: tasks_s(other), lambda: tasks_s(pool))
                bytes_ = dump_bytes(dump) / 1e9
                alternate(large, rounds, bytes_, lambda other=other: large_s(dump, other), lambda: large_s(dump, pool))
            task.aside = f"{1e6 * (1 / task.measured - 1 / median_yardstick(task)):+.0f} us a task"
    return cases


@contextlib.contextmanager
def executor_of(name: str) -> Iterator[Executor]:
    """An executor of this machine's cores."""
    with contextlib.ExitStack() as stack:
        address = name
        if name == "dask":
            from distributed import LocalCluster

            cluster = LocalCluster(n_workers=1, threads_per_worker=CORES, dashboard_address=None, processes=True)
            stack.enter_context(cluster)
            address = f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"
        yield stack.enter_context(open_executor(CompareOptions(workers=CORES, executor=address)))


def tasks_s(executor: Executor) -> float:
    """Seconds of tasks in which nothing is to be done; as many are on their way at once as in a comparison."""

    def work() -> None:
        window = 3 * CORES
        flying = [executor.submit(calls.prepare, []) for _ in range(window)]
        for number in range(TASKS):
            flying.pop(0).result()
            if number + window < TASKS:
                flying.append(executor.submit(calls.prepare, []))

    return timed(work)


def large_s(dump: BenchDump, executor: Executor) -> float:
    """Seconds from the first look at the files to the last sum, without start and report."""
    options = CompareOptions(workers=CORES)
    _, pairs = load_pairs(str(dump.golden), str(dump.target), options)
    results: list[TaskResult] = []
    seconds = timed(lambda: compare_pairs(pairs, options, executor, on_result=results.append))
    if sum(len(result.rows) for result in results) != dump.pairs or any(code for result in results for code in result.error_codes):
        raise WrongAnswer(f"{dump.golden}: not all of {dump.pairs} pairs were compared")
    return seconds


def dump_bytes(dump: BenchDump) -> int:
    """Of both sides, headers included."""
    return sum(Path(path).stat().st_size for path in dump.files())


def median_yardstick(case: Case) -> float:
    rates = sorted(yardstick for _, yardstick in case.rounds)
    return rates[len(rates) // 2]
