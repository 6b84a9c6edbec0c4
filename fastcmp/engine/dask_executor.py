"""Dask: calls to the workers of a scheduler, each pinned to one, with an agent of ours inside each."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
import warnings
from collections.abc import Mapping
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from typing import Any, Final

from fastcmp.engine.cluster import ClusterExecutor
from fastcmp.engine.cluster_link import Node, NodeLost
from fastcmp.engine.cluster_start import CONNECT_S, check_facts, check_metrics, require_listener, within, workers_of
from fastcmp.engine.node_agent import call_agent, close_agent, facts_here
from fastcmp.errors import UsageError
from fastcmp.executor_choice import ExecutorChoice
from fastcmp.options import CompareOptions
from fastcmp.surroundings import package_version

# A nanny starts a worker anew within seconds. One that is away longer is taken for lost, and its files with it.
_AWAY_S: Final = 20.0
_LOOK_S: Final = 1.0
_ANSWER_S: Final = 60.0
_CLOSE_S: Final = 10.0


def open_dask(choice: ExecutorChoice, options: CompareOptions) -> ClusterExecutor:
    """An executor over the workers of a Dask scheduler.

    Raises
    ------
    UsageError
        If Dask is not installed, nobody answers, or a worker cannot take part.
    """
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"--executor {choice}: {error}; pip install 'fastcmp[dask]'") from error
    require_listener(choice, "name the address that `dask scheduler` prints")
    settings = {"timeout": CONNECT_S, "set_as_default": False, "name": "fastcmp"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ; those that matter are looked at below, and are errors
            client = within(2 * CONNECT_S, partial(distributed.Client, f"tcp://{choice.address}", **settings))
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"{choice}: no Dask scheduler: {_on_one_line(error)}; name the one `dask scheduler` prints") from error
    with contextlib.ExitStack() as stack:
        stack.callback(client.close)
        cluster = _start(distributed, client, str(choice), options)
        stack.pop_all()
    check_metrics(cluster, options)
    return cluster


def describe_worker(dask_worker: Any) -> dict[str, Any]:
    """On a worker, which Dask hands over: `facts_here`, the name that it keeps when its nanny starts it anew, and its threads."""
    return {**facts_here(), "name": dask_worker.name, "threads": dask_worker.state.nthreads}


def _start(distributed: Any, client: Any, name: str, options: CompareOptions) -> ClusterExecutor:
    try:
        found: dict[str, Any] = within(_ANSWER_S, partial(client.run, describe_worker, on_error="return"))
    except (OSError, TimeoutError) as error:
        raise UsageError(f"{name}: not all of its workers answer: {error}; look at them, or start the cluster anew") from error
    if not found:
        raise UsageError(f"{name}: it has no worker; start some with `dask worker {client.scheduler.address}`")
    for address, facts in found.items():
        if not isinstance(facts, Mapping):
            said = " ".join(f"{type(facts).__name__}: {facts}".split())[:300]
            raise UsageError(f"{name}: node {address}: {said}; install fastcmp {package_version('fastcmp')} there, as it is here")
    known = sorted(found.values(), key=lambda facts: str(facts["name"]))
    addresses = {str(facts["name"]): address for address, facts in found.items()}
    counts = workers_of([facts["threads"] for facts in known], options.workers)
    nodes = [Node(f"{facts['host']} ({addresses[str(facts['name'])]})", count) for facts, count in zip(known, counts, strict=True)]
    cpu = check_facts(name, [(node.name, facts) for node, facts in zip(nodes, known, strict=True)])
    link = _DaskLink(distributed, client, [facts["name"] for facts in known], nodes, options.stall_s)
    return ClusterExecutor(name, link, nodes, cpu)


class _DaskLink:
    """Calls through a client, each pinned to the worker of a node, and a thread that sees when that is another one, or stays away.

    Dask pins to an address, and a worker that its nanny starts anew has another: calls that were sent to the old one would wait for ever.
    """

    def __init__(self, distributed: Any, client: Any, names: list[Any], nodes: list[Node], stall_s: float) -> None:
        self._distributed, self._client, self._names, self._nodes, self._stall_s = distributed, client, names, nodes, stall_s
        self._run = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._waiting: list[dict[Future[bytes], Future[bytes]]] = [{} for _ in names]
        self._lost: dict[int, str] = {}
        self._is_closed = threading.Event()
        self._addresses: list[str] = []
        self._executors: list[Executor] = []
        for node in nodes:
            self._addresses.append(node.name.rpartition("(")[2].rstrip(")"))
            self._executors.append(self._pinned_to(self._addresses[-1]))
        threading.Thread(target=self._watch, name="fastcmp-dask", daemon=True).start()

    def _pinned_to(self, address: str) -> Executor:
        # Not retried by Dask: attempts.py does that. Not on other workers, where files may be missing: cluster.py knows where else to go.
        return self._client.get_executor(workers=[address], allow_other_workers=False, pure=False, retries=0)

    def call(self, node: int, body: bytes) -> Future[bytes]:
        """See `fastcmp.engine.cluster_link.Link`."""
        outer: Future[bytes] = Future()
        known = self._nodes[node]
        with self._lock:
            if node in self._lost:
                outer.set_exception(NodeLost(self._lost[node], for_good=True))
                return outer
            inner = self._executors[node].submit(call_agent, self._run, known.name, known.workers, self._stall_s, body)
            self._waiting[node][outer] = inner

        def settle(done: Future[bytes]) -> None:
            with self._lock:
                if self._waiting[node].pop(outer, None) is None:
                    return
            self._pass_on(done, outer)

        inner.add_done_callback(settle)
        return outer

    def _pass_on(self, done: Future[bytes], outer: Future[bytes]) -> None:
        try:
            outer.set_result(done.result())
        except self._distributed.scheduler.KilledWorker as error:
            outer.set_exception(NodeLost(f"its workers died several times: {_on_one_line(error)}", for_good=False))
        except (CancelledError, OSError) as error:  # all that Dask has for a scheduler or a connection that is gone
            is_gone = self._client.status != "running"
            said = "the scheduler is gone" if is_gone else _on_one_line(error) or "the scheduler let go of the call"
            outer.set_exception(NodeLost(said, for_good=is_gone))
        except Exception as error:
            outer.set_exception(error)

    def _watch(self) -> None:
        """Look where the workers of the nodes are, until the link is closed."""
        seen = [time.monotonic()] * len(self._names)
        while not self._is_closed.wait(_LOOK_S):
            present = self._present()
            now = time.monotonic()
            for node, name in enumerate(self._names):
                address = None if present is None else present.get(name)
                if address == self._addresses[node]:
                    seen[node] = now
                elif address is not None:
                    seen[node] = now
                    self._move(node, address)
                elif now - seen[node] > _AWAY_S:
                    who = "the scheduler has not answered" if present is None else "its worker has been away"
                    self._drop(node, f"{who} for {_AWAY_S:g} s", for_good=True)

    def _present(self) -> dict[Any, str] | None:
        """The workers that there are, by name, and their addresses; None where the scheduler does not say."""

        def workers(dask_scheduler: Any) -> dict[Any, str]:  # inside a function, it travels whole: the scheduler needs no fastcmp
            return {worker.name: worker.address for worker in dask_scheduler.workers.values()}

        try:
            return within(_AWAY_S / 2, partial(self._client.run_on_scheduler, workers))
        except Exception:
            return None

    def _move(self, node: int, address: str) -> None:
        with self._lock:
            self._addresses[node] = address
            self._executors[node] = self._pinned_to(address)
        self._drop(node, "its worker was started anew", for_good=False)

    def _drop(self, node: int, cause: str, *, for_good: bool) -> None:
        """Fail what was sent to a worker that is gone."""
        with self._lock:
            if for_good:
                self._lost.setdefault(node, cause)
            waiting, self._waiting[node] = self._waiting[node], {}
        for outer, inner in waiting.items():
            inner.cancel()
            outer.set_exception(NodeLost(cause, for_good))

    def close(self) -> None:
        """End the agents in the workers, and leave the cluster as it was."""
        self._is_closed.set()
        with contextlib.suppress(Exception):
            within(_CLOSE_S, self._leave)

    def _leave(self) -> None:
        with contextlib.suppress(Exception):
            for executor in self._executors:
                executor.shutdown(wait=False)
            self._client.run(close_agent, self._run, on_error="ignore")
        self._client.close()


def _on_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
