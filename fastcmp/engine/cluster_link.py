"""What a cluster is to us: nodes, and a way to have calls made on them. Ray and Dask have one each."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

# One call of each worker runs and one is there already when that ends.
_CALLS_PER_WORKER: Final = 2


class NodeLost(Exception):
    """A call did not come back because of its node, or of the way to it.

    Parameters
    ----------
    cause : str
    for_good : bool
        Nothing can be sent there any more.
    """

    def __init__(self, cause: str, for_good: bool) -> None:
        super().__init__(cause, for_good)
        self.cause, self.for_good = cause, for_good


class Link(Protocol):
    """The way to the nodes."""

    def call(self, node: int, body: bytes) -> Future[bytes]:
        """Have `NodeAgent.call` made on a node; the future fails with `NodeLost` where that is why."""

    def close(self) -> None:
        """Leave the cluster as it was; what runs there for us ends."""


@dataclass(eq=False, slots=True)
class Node:
    """One node, or one worker of Dask, as this side knows it."""

    name: str
    workers: int
    in_flight: int = 0
    lost: str = ""
    rest_s: float = 0.0
    rests_until: float = 0.0

    @property
    def room(self) -> int:
        """How many calls it may still be sent."""
        return 0 if self.lost else _CALLS_PER_WORKER * self.workers - self.in_flight
