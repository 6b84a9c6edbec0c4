"""An executor over the nodes of a cluster, whoever runs that cluster: which node gets a call, and what becomes of the calls of a lost one.

A call waits here until a node has room for it, so that little is lost with a node, and what waits can be cancelled.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from fastcmp.engine.cluster_link import Link, Node, NodeLost
from fastcmp.engine.disks import HERE, Disks
from fastcmp.engine.node_agent import IN_AGENT, IN_POOL, WARM, packed, unpacked
from fastcmp.errors import UsageError, WorkerDied
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.pairing import Pair
from fastcmp.plan import Task
from fastcmp.sources import Dump
from fastcmp.sources.wording import printable

_P = ParamSpec("_P")
_T = TypeVar("_T")

# A node whose agent died is left alone so long, then twice as long, and so on: until its cluster has started another.
_FIRST_REST_S: Final = 1.0
_LONGEST_REST_S: Final = 16.0
# A question to all nodes, such as what lies on their disks, is answered in parts that take seconds.
_ANSWER_S: Final = 600.0


@dataclass(eq=False, slots=True)
class _Call:
    body: bytes
    future: Future[Any]
    home: int


class ClusterExecutor(Executor):
    """Calls to the nodes of a cluster.

    Parameters
    ----------
    name : str
        Of the cluster, for messages.
    link : Link
    nodes : sequence of Node
    cpu : str
        See `fastcmp.surroundings.cpu_kind`; all kinds that there are among the nodes.
    """

    # Of ours: the processes of the cluster read no tensor, see node_agent.py. So files may be mapped.
    survives_worker_death = True
    # A task costs a millisecond on its way, whatever is in it.
    batch_bytes = 128 * 1024 * 1024

    def __init__(self, name: str, link: Link, nodes: Sequence[Node], cpu: str) -> None:
        self.name, self.nodes, self.cpu = name, list(nodes), cpu
        self.max_workers = sum(node.workers for node in nodes)
        self.disks: Disks = HERE
        self._link = link
        self._lock = threading.Lock()
        self._queues: dict[int, deque[_Call]] = {}
        self._is_closed = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have ``fn(*args, **kwargs)`` called by a worker of a node that has what the task needs; all of it must pickle."""
        future: Future[_T] = Future()
        home = next((arg.home for arg in args if isinstance(arg, Task)), 0)
        self._enqueue(future, home, IN_POOL, fn, *args, **kwargs)
        return future

    def submit_to(self, home: int, fn: Callable[..., _T], /, *args: Any) -> Future[_T]:
        """As `submit`, to one of the nodes whose bits are set; to any for 0."""
        future: Future[_T] = Future()
        self._enqueue(future, home, IN_POOL, fn, *args)
        return future

    def ask(self, node: int, fn: Callable[..., _T], /, *args: Any) -> Future[_T]:
        """Have a short call made by the agent of a node itself, at once."""
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()
        self._send(node, _Call(packed(IN_AGENT, fn, *args), future, 0), counts=False)
        return future

    def ask_all(self, fn: Callable[..., _T], /, *args: Any) -> list[_T]:
        """The answers of all nodes, in their order.

        Raises
        ------
        UsageError
            Naming the first node that has none.
        """
        return self.answers([(node, self.ask(node, fn, *args)) for node in range(len(self.nodes))])

    def answers(self, asked: Sequence[tuple[int, Future[_T]]]) -> list[_T]:
        """What the asked nodes say, see `ask_all`."""
        found = []
        for node, future in asked:
            where = f"{self.name}: node {self.nodes[node].name}"
            try:
                found.append(future.result(_ANSWER_S))
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from error
            except WorkerDied as error:
                raise UsageError(f"{where}: {error.cause}; look at it, or start the cluster anew") from error
            except TimeoutError as error:
                raise UsageError(f"{where}: no answer within {_ANSWER_S:g} s; look at it, or start the cluster anew") from error
        return found

    def warm(self, function: Callable[..., object], /, *args: object) -> None:
        """Have ``function(*args)`` called where the workers of each node are forked from; returns at once."""
        for number, node in enumerate(self.nodes):
            if not node.lost:
                future: Future[Any] = Future()
                future.set_running_or_notify_cancel()
                self._send(number, _Call(packed(WARM, function, *args), future, 0), counts=False)

    def load_dumps(self, golden: str, target: str, options: CompareOptions) -> tuple[Dump, Dump]:
        """See `fastcmp.engine.node_dumps.load_dumps`."""
        from fastcmp.engine.node_dumps import load_dumps

        dumps, self.disks = load_dumps(self, golden, target, options)
        return dumps

    @property
    def input_words(self) -> Callable[[Pair, ScanOptions], tuple[int, ...] | None] | None:
        """See `fastcmp.engine.abilities.ReadsElsewhere`."""
        return getattr(self.disks, "words", None)

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:
        """See `fastcmp.engine.abilities.ReadsElsewhere`."""
        said = []
        apart = [pair for pair in pairs if self.disks.is_apart(pair)]
        if apart:
            key = printable("/".join(part for part in apart[0].key if part), 80)
            verb = "pair has its" if len(apart) == 1 else "pairs have their"
            said.append(
                f"{len(apart)} {verb} two files on different nodes, which no node can read both: they are errors; "
                f"put both sides of a rank on one node, or on a file system that all nodes see; the first is {key}"
            )
        kinds = self.cpu.split("+")
        if len(kinds) > 1:
            said.append(f"the nodes have CPUs of {len(kinds)} kinds: the last digit of a number may depend on where it was made")
        return said

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the work on the nodes and leave the cluster; what has no answer gets none."""
        self.kill()

    def kill(self) -> None:
        """As `shutdown`."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            waiting = [call for queue in self._queues.values() for call in queue]
            self._queues.clear()
        for call in waiting:
            call.future.cancel()
        self._link.close()

    # -- which node gets what

    def _enqueue(self, future: Future[Any], home: int, where: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        try:
            body = packed(where, fn, *args, **kwargs)
        except Exception as error:  # as other executors: what does not pickle is the future's error, not the caller's
            future.set_exception(error)
            return
        with self._lock:
            if self._is_closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._queues.setdefault(home, deque()).append(_Call(body, future, home))
        self._dispatch()

    def _dispatch(self) -> None:
        """Send what there is room for; fail what can go nowhere any more."""
        while True:
            with self._lock:
                number, call = self._next()
            if call is None:
                return
            if number is None:
                call.future.set_exception(self._stranded(call.home))
            else:
                self._send(number, call, counts=True)

    def _next(self) -> tuple[int | None, _Call | None]:
        """A call and the node for it; a call without a node where all of its nodes are lost; two None where everything has to wait."""
        for home, queue in self._queues.items():
            while queue:
                chosen = [number for number in range(len(self.nodes)) if not home or home >> number & 1]
                if all(self.nodes[number].lost for number in chosen):
                    number = None
                elif (number := self._freest(chosen)) is None:
                    break
                call = queue.popleft()
                if not call.future.set_running_or_notify_cancel():
                    continue
                if number is not None:
                    self.nodes[number].in_flight += 1
                return number, call
        return None, None

    def _freest(self, chosen: Sequence[int]) -> int | None:
        now = time.monotonic()
        able = [number for number in chosen if self.nodes[number].room > 0 and self.nodes[number].rests_until <= now]
        return min(able, key=lambda number: self.nodes[number].in_flight / self.nodes[number].workers, default=None)

    def _stranded(self, home: int) -> Exception:
        lost = [node for number, node in enumerate(self.nodes) if node.lost and (not home or home >> number & 1)]
        if all(node.lost for node in self.nodes):
            said = f"{self.name}: all {len(self.nodes)} nodes are lost, the last because of: {lost[-1].lost}"
            return UsageError(f"{said}; the same command goes on from what is done, also with --executor local")
        names = ", ".join(node.name for node in lost[:3])
        return WorkerDied(-1, f"node {names}, which has the files, is lost: {lost[0].lost}", node_lost=True)

    def _send(self, number: int, call: _Call, *, counts: bool) -> None:
        try:
            inner = self._link.call(number, call.body)
        except Exception as error:
            inner = Future()
            inner.set_exception(error)
        inner.add_done_callback(partial(self._settle, number, call, counts))

    def _settle(self, number: int, call: _Call, counts: bool, inner: Future[bytes]) -> None:
        node = self.nodes[number]
        lost: NodeLost | None = None
        value: Any = None
        error: Exception | None = None
        try:
            succeeded, value, text = unpacked(inner.result())
            if not succeeded:
                error = value
                error.__cause__ = Exception(f"\n{text}")
        except NodeLost as reason:
            lost = reason
            error = WorkerDied(-1, f"node {node.name} was lost: {reason.cause}", node_lost=True)
        except CancelledError:
            error = WorkerDied(-1, f"node {node.name} gave the call up", node_lost=True)
        except Exception as reason:
            error = reason
        self._note(node, lost, counts)
        with contextlib.suppress(Exception):  # nobody waits for it any more
            if error is not None:
                call.future.set_exception(error)
            else:
                call.future.set_result(value)
        self._dispatch()

    def _note(self, node: Node, lost: NodeLost | None, counts: bool) -> None:
        """What an answer, or none, says about its node."""
        with self._lock:
            if counts:
                node.in_flight -= 1
            if lost is None:
                node.rest_s = 0.0
                return
            if lost.for_good:
                node.lost = node.lost or lost.cause
                return
            now = time.monotonic()
            if node.rests_until > now or self._is_closed:
                return
            node.rest_s = min(max(2 * node.rest_s, _FIRST_REST_S), _LONGEST_REST_S)
            node.rests_until = now + node.rest_s
        timer = threading.Timer(node.rest_s + 0.01, self._dispatch)
        timer.daemon = True
        timer.start()
