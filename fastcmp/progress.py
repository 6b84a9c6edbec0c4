"""How a run says how far it is. The engine and the API know this protocol, the command line draws it."""

from __future__ import annotations

from typing import Protocol


def percent_done(bytes_done: int, total_bytes: int, pairs_done: int, total_pairs: int) -> float:
    """By bytes, of which large pairs have more, but 100 for all pairs and no others.

    Headers, and files that cannot be read, leave the bytes short of the total; and what is read is not written yet.
    """
    if pairs_done >= total_pairs:
        return 100.0
    share = bytes_done / total_bytes if total_bytes else pairs_done / total_pairs
    return min(99.0, 100.0 * share)


class Progress(Protocol):
    """Who wants to know how far a run is. All numbers are totals since the start, not increments."""

    def start(self, total_bytes: int, total_pairs: int) -> None:
        """The work is planned: files of so many bytes of both sides, so many pairs."""

    def advance(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
        """So much is done; ``failed`` pairs did not pass, ``worst`` says which is worst so far ("" while none is)."""

    def note(self, remark: str) -> None:
        """Something that a user should know about this run, in a sentence."""

    def stop(self) -> None:
        """The run ended, whichever way."""


class Silent:
    """Progress that nobody looks at."""

    def start(self, total_bytes: int, total_pairs: int) -> None:
        """Do nothing."""

    def advance(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
        """Do nothing."""

    def note(self, remark: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""
