"""What an executor may be able to do beside `concurrent.futures.Executor`. None of it is needed: the engine asks, and does without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # they bring numpy, and the local pool is started before that
    from fastcmp.engine.disks import Disks
    from fastcmp.options import CompareOptions, ScanOptions
    from fastcmp.pairing import Pair
    from fastcmp.sources import Dump


@runtime_checkable
class Warms(Protocol):
    """Workers that can be made ready before there is work for them."""

    def warm(self, function: Callable[..., object], /, *args: object) -> None:
        """Have the call made where workers come from, or in each of them; returns at once."""


@runtime_checkable
class SeesBytes(Protocol):
    """How far the calls are that run now."""

    def bytes_seen(self, bytes_finished: int) -> int:
        """Payload bytes done so far, those of running calls too, where finished tasks had so many."""


@runtime_checkable
class Ends(Protocol):
    """Work that can be ended in the middle."""

    def kill(self) -> None:
        """End whatever runs, now."""


@runtime_checkable
class ReadsElsewhere(Protocol):
    """Workers on other machines, with disks of their own.

    Attributes
    ----------
    disks : Disks
        Where the files of the present comparison are looked at.
    cpu : str
        See `fastcmp.surroundings.cpu_kind`; of all machines.
    """

    disks: Disks
    cpu: str

    @property
    def input_words(self) -> Callable[[Pair, ScanOptions], tuple[int, ...] | None] | None:
        """As `fastcmp.results.resume.input_words`, of files that only other machines have; None where this one has them all."""

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:
        """What a user should know about how the pairs lie on the machines, each a line."""

    def load_dumps(self, golden: str, target: str, options: CompareOptions) -> tuple[Dump, Dump]:
        """Both dumps, as all machines together have them; afterwards `disks` knows which machine has what."""
