"""What runs on a node of a cluster: the supervised pool of that machine, behind one call that takes bytes and gives bytes.

Work runs in processes of ours there too, not in those of Ray or Dask. A pair that kills its reader so costs one of our processes and
names itself, as on one machine; a worker of Dask would take all its other tasks with it, and without a nanny it would not come back.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from fastcmp.engine import calls, messages
from fastcmp.engine.local_pool import LocalPool
from fastcmp.engine.worker import answer
from fastcmp.errors import UsageError
from fastcmp.surroundings import cpu_kind, deciding_versions, source_digest

IN_POOL: Final = "pool"
IN_AGENT: Final = "agent"
WARM: Final = "warm"

# So long after its last call an agent that nobody closed ends its processes: the program that it worked for was killed.
IDLE_S: Final = 120.0
_LOOK_S: Final = 5.0


def packed(where: str, function: Callable[..., object], *args: Any, **kwargs: Any) -> bytes:
    """A call for `NodeAgent.call`, without the length that a socket needs."""
    return messages.pack((where, function, args, kwargs))[messages.LENGTH_BYTES :]


def unpacked(reply: bytes) -> tuple[bool, Any, str]:
    """What `NodeAgent.call` gave: whether it succeeded, the value or the exception, and the traceback."""
    return messages.unpack(reply[messages.LENGTH_BYTES :])


class NodeAgent:
    """The supervised pool of one node.

    Parameters
    ----------
    node : str
        Its name, for messages.
    worker_count : int
    stall_s : float
        See `fastcmp.engine.local_pool.LocalPool`.
    """

    def __init__(self, node: str, worker_count: int, stall_s: float) -> None:
        self._node, self._worker_count, self._stall_s = node, worker_count, stall_s
        self._pool: LocalPool | None = None
        self._lock = threading.Lock()
        self._running = 0
        self._used_at = time.monotonic()

    def describe(self) -> dict[str, Any]:
        """What decides whether this node can take part: plain data."""
        return facts_here()

    def call(self, body: bytes) -> bytes:
        """Make a call that `packed` packed; what comes of it, for `unpacked`. Any number of threads may call at once."""
        with self._lock:
            self._running += 1
        try:
            return answer(body, self._make)
        finally:
            with self._lock:
                self._running -= 1
                self._used_at = time.monotonic()

    def is_idle(self, seconds: float) -> bool:
        """True if nothing was called for so long."""
        with self._lock:
            return not self._running and time.monotonic() - self._used_at > seconds

    def close(self) -> None:
        """End the pool and whatever it does."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.kill()

    def _make(self, where: str, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        if where == IN_AGENT:
            return function(*args, **kwargs)
        try:
            pool = self._started()
            if where == WARM:
                pool.warm(function, *args)
                return None
            return pool.submit(function, *args, **kwargs).result()
        except UsageError as error:
            raise UsageError(f"node {self._node}: {error}") from error

    def _started(self) -> LocalPool:
        with self._lock:
            if self._pool is None:
                self._pool = LocalPool(self._worker_count, stall_s=self._stall_s)
                self._pool.warm(calls.prepare, [])
            return self._pool


def facts_here() -> dict[str, Any]:
    """Host, cores, kind of CPU and deciding versions of this machine; plain data, which every version of us can read."""
    return {
        "host": platform.node(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_kind(),
        "versions": {**deciding_versions(), "source": source_digest()},
    }


_agents: dict[str, NodeAgent] = {}
_agents_lock = threading.Lock()


def call_agent(run: str, node: str, worker_count: int, stall_s: float, body: bytes) -> bytes:
    """`NodeAgent.call` of the agent that this process has for a run; made where there is none, and closed when nobody calls any more."""
    with _agents_lock:
        agent = _agents.get(run)
        if agent is None:
            agent = _agents[run] = NodeAgent(node, worker_count, stall_s)
            threading.Thread(target=_close_when_idle, args=(run, agent), name="fastcmp-agent", daemon=True).start()
    return agent.call(body)


def close_agent(run: str) -> None:
    """End the agent of a run in this process, if there is one."""
    with _agents_lock:
        agent = _agents.pop(run, None)
    if agent is not None:
        agent.close()


def _close_when_idle(run: str, agent: NodeAgent) -> None:
    while _agents.get(run) is agent:
        time.sleep(_LOOK_S)
        if agent.is_idle(IDLE_S):
            close_agent(run)
