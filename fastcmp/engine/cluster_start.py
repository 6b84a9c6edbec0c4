"""Whether the nodes of a cluster can work together with this machine, and how many workers each gets."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final, TypeVar

from fastcmp.engine.cluster import ClusterExecutor
from fastcmp.errors import UsageError
from fastcmp.executor_choice import ExecutorChoice
from fastcmp.metric_functions import MetricSpec, load_function, parse_metrics
from fastcmp.options import CompareOptions
from fastcmp.surroundings import deciding_versions, source_digest

_T = TypeVar("_T")

# A cluster that is there answers at once; this is for networks that lose a packet or two.
CONNECT_S: Final = 10.0
_MOST_NAMED: Final = 5


def require_listener(choice: ExecutorChoice, advice: str) -> None:
    """Refuse an address at which nobody listens, before a library tries it for minutes.

    Raises
    ------
    UsageError
    """
    try:
        socket.create_connection((choice.host, choice.port), CONNECT_S).close()
    except OSError as error:
        raise UsageError(f"{choice}: nobody answers there: {error.strerror or error}; {advice}") from error


def within(seconds: float, function: Callable[[], _T]) -> _T:
    """What a function returns, or raises; a library that waits for ever is left waiting in its thread.

    Raises
    ------
    TimeoutError
        If it has done neither after so many seconds.
    """
    outcome: Future[_T] = Future()

    def make() -> None:
        try:
            outcome.set_result(function())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=make, name="fastcmp-connect", daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeout as error:
        if outcome.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from error


def workers_of(cores: Sequence[int], limit: int) -> list[int]:
    """Workers of each node: its cores, or its share of ``limit`` where that is less than all cores; 1 at least."""
    total = sum(cores)
    if not limit or limit >= total:
        return [max(count, 1) for count in cores]
    return [max(limit * count // total, 1) for count in cores]


def check_facts(name: str, facts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The kinds of CPU of the nodes, where each of them has what decides numbers in the version that this machine has.

    Parameters
    ----------
    name : str
        Of the cluster.
    facts : sequence of (str, mapping)
        The name of each node, and `fastcmp.engine.node_agent.facts_here` of it.

    Raises
    ------
    UsageError
        Naming the nodes that differ.
    """
    expected = {**deciding_versions(), "source": source_digest()}
    odd = [said for node, known in facts if (said := _difference(node, known["versions"], expected))]
    if odd:
        more = f"; and {len(odd) - _MOST_NAMED} more nodes" if len(odd) > _MOST_NAMED else ""
        raise UsageError(f"{name}: {'; '.join(odd[:_MOST_NAMED])}{more}; install on every node what this machine has")
    return "+".join(sorted({str(known["cpu"]) for _, known in facts}))


def _difference(node: str, found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """How a node differs, in words; "" if it does not. The source says something only where the version of fastcmp does not."""
    names = [package for package in expected if package != "source" and found.get(package) != expected[package]]
    if not names and found.get("source") != expected["source"]:
        return f"node {node} has a fastcmp {expected['fastcmp']} with other Python files than here"
    return f"node {node} has {', '.join(f'{one} {found.get(one)}, expected {expected[one]}' for one in names)}" if names else ""


def check_metrics(cluster: ClusterExecutor, options: CompareOptions) -> None:
    """Refuse nodes that do not have the user's own metrics as they are here; the cluster is left then.

    Raises
    ------
    UsageError
    """
    specs = parse_metrics(options.metrics)
    if not specs:
        return
    try:
        expected = metrics_here(specs)
        for node, found in zip(cluster.nodes, cluster.ask_all(metrics_here, specs), strict=True):
            other = [str(spec) for spec in specs if found[spec.name] != expected[spec.name]]
            if other:
                raise UsageError(f"{cluster.name}: node {node.name} has another {other[0]} than this machine; copy it there")
    except BaseException:
        cluster.kill()
        raise


def metrics_here(specs: Sequence[MetricSpec]) -> dict[str, str]:
    """What tells one version of each metric's file from another, on the machine that this is called on; all of them can be called there."""
    digests = {}
    for spec in specs:
        load_function(spec)
        with open(spec.path, "rb") as file:
            digests[spec.name] = hashlib.sha256(file.read()).hexdigest()
    return digests
