"""What a worker lets others see while it works: the row it is on and the bytes it has done.

In the local pool the numbers lie in one page of anonymous shared memory, so that they outlive a worker that was
killed: its death then names its pair.
"""

from __future__ import annotations

import mmap
import threading
from typing import Final, Protocol

NO_ROW: Final = -1

# int64 fields of a slot; 64 bytes each, so that no two workers write to one cache line.
_STARTED, _ROW, _BYTES, _MARKS = range(4)
SLOT_FIELDS: Final = 8
SLOT_BYTES: Final = SLOT_FIELDS * 8


class Beacon(Protocol):
    """Told by `fastcmp.engine.compare_items.run_task` where it is."""

    def on_row(self, row: int) -> None:
        """Work on this row begins; `NO_ROW` when a task is done."""

    def on_bytes(self, nbytes: int) -> None:
        """So many more payload bytes, of both sides, were compared."""


class NullBeacon:
    """Nobody looks."""

    def on_row(self, row: int) -> None:
        """Nothing."""

    def on_bytes(self, nbytes: int) -> None:
        """Nothing."""


class CountingBeacon:
    """For work in this process: bytes done since the last `take`, of all threads."""

    def __init__(self) -> None:
        self.nbytes = 0

    def on_row(self, row: int) -> None:
        """A thread cannot die alone, so nobody asks for its row."""

    def on_bytes(self, nbytes: int) -> None:
        """Add; exactness does not matter, progress is an estimate."""
        self.nbytes += nbytes


class BeaconPage:
    """A page of slots in shared memory, one for each worker process.

    Parameters
    ----------
    fd : int
        Of an anonymous file of ``slot_count * SLOT_BYTES`` bytes; may be closed afterwards.
    """

    def __init__(self, fd: int, slot_count: int) -> None:
        self._map = mmap.mmap(fd, slot_count * SLOT_BYTES)
        self._fields = memoryview(self._map).cast("q")

    def reset(self, slot: int) -> None:
        """Make the slot ready for another worker."""
        base = slot * SLOT_FIELDS
        self._fields[base + _STARTED] = 0
        self._fields[base + _ROW] = NO_ROW
        self._fields[base + _BYTES] = 0
        self._fields[base + _MARKS] = 0

    def started(self, slot: int) -> int:
        """How many tasks the worker has begun."""
        return self._fields[slot * SLOT_FIELDS + _STARTED]

    def row(self, slot: int) -> int:
        """The row that the worker is on, or `NO_ROW`."""
        return self._fields[slot * SLOT_FIELDS + _ROW]

    def nbytes(self, slot: int) -> int:
        """Bytes done within the present task."""
        return self._fields[slot * SLOT_FIELDS + _BYTES]

    def marks(self, slot: int) -> int:
        """A number that changes whenever the worker gets on."""
        return self._fields[slot * SLOT_FIELDS + _MARKS]

    def beacon(self, slot: int) -> SharedBeacon:
        """The writing end of a slot, for the worker itself."""
        return SharedBeacon(self._fields, slot * SLOT_FIELDS)

    def close(self) -> None:
        """Unmap the page."""
        self._fields.release()
        self._map.close()


class SharedBeacon:
    """A beacon that writes into its slot of a `BeaconPage`. One store each: a reader may see it a moment late, never torn."""

    def __init__(self, fields: memoryview, base: int) -> None:
        self._fields = fields
        self._base = base

    def begin_task(self) -> None:
        """A task was received; nothing of it is done."""
        fields, base = self._fields, self._base
        fields[base + _ROW] = NO_ROW
        fields[base + _BYTES] = 0
        fields[base + _STARTED] += 1
        fields[base + _MARKS] += 1

    def on_row(self, row: int) -> None:
        """Work on this row begins."""
        self._fields[self._base + _ROW] = row
        self._fields[self._base + _MARKS] += 1

    def on_bytes(self, nbytes: int) -> None:
        """So many more bytes are done."""
        self._fields[self._base + _BYTES] += nbytes
        self._fields[self._base + _MARKS] += 1


_NULL: Final = NullBeacon()
_present = threading.local()


def present_beacon() -> Beacon:
    """The beacon of this thread; one that does nothing unless `use_beacon` gave it another."""
    beacon: Beacon = getattr(_present, "beacon", _NULL)
    return beacon


def use_beacon(beacon: Beacon) -> None:
    """Let work in this thread report to ``beacon`` from now on."""
    _present.beacon = beacon
