"""Ray: one agent on each node, pinned there. Ray starts it and carries bytes; nothing is installed, no setting of the cluster changed."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fastcmp.engine.cluster import ClusterExecutor
from fastcmp.engine.cluster_link import Node, NodeLost
from fastcmp.engine.cluster_start import check_facts, check_metrics, require_listener, within, workers_of
from fastcmp.engine.node_agent import NodeAgent
from fastcmp.errors import UsageError
from fastcmp.executor_choice import ExecutorChoice
from fastcmp.options import CompareOptions

# An agent is there within seconds of a process for it; one that is not waits for cores that somebody else has.
_AGENT_S: Final = 60.0
_INIT_S: Final = 30.0
# Ray itself gives up a head that is away for a minute, and takes this process with it.
_AWAY_S: Final = 30.0
_LOOK_S: Final = 3.0
_CLOSE_S: Final = 5.0
# How often Ray starts an agent again that was killed while its node lived.
_RESTARTS: Final = 4
# Ours is a few results at a time, and they are small; by default Ray takes a third of the memory.
_STORE_BYTES: Final = 128 * 1024 * 1024


def open_ray(choice: ExecutorChoice, options: CompareOptions) -> ClusterExecutor:
    """An executor over the nodes of a Ray cluster, or over a Ray of this machine that ends with it.

    Raises
    ------
    UsageError
        If Ray is not installed, nobody answers, or a node cannot take part.
    """
    # Of a Ray that we start; a cluster that is there already does as whoever started it said.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"--executor {choice}: {error}; pip install 'fastcmp[ray]'") from error
    with contextlib.ExitStack() as stack:
        if _connect(ray, choice):
            stack.callback(ray.shutdown)
        link = _RayLink(ray)
        stack.callback(link.kill_agents)
        cluster = _start(ray, str(choice), link, options)
        if choice.host:
            link.watch(choice)
        link.at_close = stack.pop_all().close
    check_metrics(cluster, options)
    return cluster


def _connect(ray: Any, choice: ExecutorChoice) -> bool:
    """Be connected; False if this process was before, and stays so afterwards."""
    advice = "name the address that `ray start --head` prints, port 6379 if no other was chosen, from a machine of that cluster"
    if ray.is_initialized():
        present = ray.get_runtime_context().gcs_address
        if choice.host and not _is_same(present, choice):
            raise UsageError(f"{choice}: this process is connected to the Ray at {present} already; use --executor ray for that one")
        return False
    if choice.host:
        require_listener(choice, advice)
        settings: dict[str, Any] = {"address": choice.address}
    else:
        # At this machine's own address nobody else's machine can reach it.
        settings = {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False}
        settings |= {"object_store_memory": _STORE_BYTES, "num_cpus": len(os.sched_getaffinity(0))}
        _keep_token_in_memory()
    connect = partial(ray.init, **settings, log_to_driver=False, logging_level="error", configure_logging=True)
    try:
        with _signal_handlers_kept():
            if choice.host:  # of an address that is somebody else's, Ray may wait for ever
                within(_INIT_S, connect)
            else:  # here: what Ray starts ends with the thread that it was started by
                connect()
    except Exception as error:
        raise UsageError(f"{choice}: cannot be used: {' '.join(str(error).split())[:300]}; {advice}") from error
    return True


def _keep_token_in_memory() -> None:
    """Give a Ray that we start a token, unless the user has one: Ray would write one into the home directory, for all Rays to come."""
    chosen = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if not any(name in os.environ for name in chosen) and not os.path.exists(os.path.expanduser("~/.ray/auth_token")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _is_same(present: str, choice: ExecutorChoice) -> bool:
    return present == choice.address or (choice.host in ("localhost", "127.0.0.1") and present.endswith(f":{choice.port}"))


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM where it is started in the main thread; ours is the one that puts everything away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


def _start(ray: Any, name: str, link: _RayLink, options: CompareOptions) -> ClusterExecutor:
    """An agent on every living node that has cores."""
    found = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not found:
        raise UsageError(f"{name}: none of its nodes has a core to work with; start one with `ray start --address=...`")
    found.sort(key=lambda node: (node["NodeManagerAddress"], node["NodeID"]))
    cores = workers_of([int(node["Resources"]["CPU"]) for node in found], options.workers)
    nodes = [Node(_name_of(node), count) for node, count in zip(found, cores, strict=True)]
    for node, raw in zip(nodes, found, strict=True):
        link.start_agent(node, raw["NodeID"], options.stall_s)
    facts = link.wait_for_agents(name, nodes)
    return ClusterExecutor(name, link, nodes, check_facts(name, [(node.name, known) for node, known in zip(nodes, facts, strict=True)]))


def _name_of(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"


@dataclass(eq=False, slots=True)
class _Agent:
    handle: Any
    node_id: str


class _RayLink:
    """Agents of Ray, one for each node.

    Attributes
    ----------
    at_close : callable
        Ends the agents, and Ray where we started it or connected to it.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._agents: list[_Agent] = []
        self._lock = threading.Lock()
        self._waiting: set[Future[bytes]] = set()
        self._gone = ""
        self._is_closed = threading.Event()
        self.at_close: Callable[[], None] = self.kill_agents

    def watch(self, choice: ExecutorChoice) -> None:
        """Give everything up when the head is away: Ray would end this process soon after, with the status of a difference."""
        threading.Thread(target=self._watch, args=(choice.host, choice.port), name="fastcmp-ray", daemon=True).start()

    def _watch(self, host: str, port: int) -> None:
        answered = time.monotonic()
        while not self._is_closed.wait(_LOOK_S) and not self._gone:
            with contextlib.suppress(OSError):
                socket.create_connection((host, port), _LOOK_S).close()
                answered = time.monotonic()
            if time.monotonic() - answered > _AWAY_S:
                with self._lock:
                    self._gone = f"the head has not answered for {_AWAY_S:g} s"
                    waiting, self._waiting = self._waiting, set()
                for outer in waiting:
                    outer.set_exception(NodeLost(self._gone, for_good=True))

    def start_agent(self, node: Node, node_id: str, stall_s: float) -> None:
        """Have an agent started on a node, and nowhere else; its cores are taken as Ray counts them."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = {
            "num_cpus": node.workers,
            "max_restarts": _RESTARTS,
            "max_task_retries": 0,  # attempts.py tries again, elsewhere
            "max_concurrency": 4 * node.workers + 4,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
        }
        handle = self._ray.remote(NodeAgent).options(**options).remote(node.name, node.workers, stall_s)
        self._agents.append(_Agent(handle, node_id))

    def wait_for_agents(self, name: str, nodes: list[Node]) -> list[dict[str, Any]]:
        """What each agent says of its node, once it is there."""
        asked = [agent.handle.describe.remote().future() for agent in self._agents]
        deadline = time.monotonic() + _AGENT_S
        facts = []
        for node, future in zip(nodes, asked, strict=True):
            where = f"{name}: node {node.name}"
            try:
                facts.append(future.result(max(deadline - time.monotonic(), 0.1)))
            except FutureTimeout as error:
                said = f"{node.workers} cores did not become free within {_AGENT_S:g} s"
                raise UsageError(f"{where}: {said}; wait for whoever has them, or take fewer with -j") from error
            except self._ray.exceptions.RayError as error:
                raise UsageError(f"{where}: {_reason(error)}; install fastcmp {_version()} there, as it is here") from error
        return facts

    def call(self, node: int, body: bytes) -> Future[bytes]:
        """See `fastcmp.engine.cluster_link.Link`."""
        agent = self._agents[node]
        outer: Future[bytes] = Future()
        with self._lock:
            if self._gone:
                outer.set_exception(NodeLost(self._gone, for_good=True))
                return outer
            self._waiting.add(outer)
        inner: Future[bytes] = agent.handle.call.remote(body).future()

        def settle(done: Future[bytes]) -> None:
            with self._lock:
                if outer not in self._waiting:
                    return
                self._waiting.discard(outer)
            error = done.exception()
            if error is None:
                outer.set_result(done.result())
            elif isinstance(error, self._ray.exceptions.RayError) and not isinstance(error, self._ray.exceptions.RayTaskError):
                outer.set_exception(NodeLost(_reason(error), for_good=isinstance(error, self._for_good)))
            else:
                outer.set_exception(error)

        inner.add_done_callback(settle)
        return outer

    @property
    def _for_good(self) -> tuple[type[Exception], ...]:
        """Errors behind which nothing comes back. Older Rays have one error for all ends of an agent; it is taken for the last."""
        errors = self._ray.exceptions
        return getattr(errors, "ActorDiedError", errors.RayActorError), errors.ActorUnschedulableError

    def close(self) -> None:
        """End the agents, and leave Ray as it was found; without its head, Ray would try for a long time."""
        self._is_closed.set()
        with contextlib.suppress(Exception):
            if self._gone:
                within(_CLOSE_S, self.at_close)
            else:
                self.at_close()

    def kill_agents(self) -> None:
        """End the agents; their processes end with them."""
        for agent in self._agents:
            with contextlib.suppress(Exception):
                self._ray.kill(agent.handle, no_restart=True)


def _reason(error: Exception) -> str:
    """The last line that says something in Ray's account of an error, which may be pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if "Error:" in line or "died" in line or "unavailable" in line]
    return (wanted[-1:] or lines[:1] or [type(error).__name__])[0][:300]


def _version() -> str:
    from fastcmp.surroundings import package_version

    return package_version("fastcmp")
