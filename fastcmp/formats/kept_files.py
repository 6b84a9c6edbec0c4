"""Small files as they were when their headers were read: opened once, read whole, one behind the other in memory that is used again."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.formats.tensor_info import TensorInfo

# Up to here a read into memory is cheaper than a map. To open, get one piece and close, read against map, in us with a warm page cache
# on 2 busy cores: 8 KiB 10 : 22, 128 KiB 33 : 52, 512 KiB 118 : 154, 1 MiB 161 : 158, 4 MiB 905 : 286.
SMALL_BYTES: Final = 512 * 1024
# What a batch of small pairs takes by plan, and as much again; what does not fit is opened a second time.
CAPACITY: Final = 32 * 1024 * 1024


class KeptFiles:
    """Where in `memory` whole files lie, by path.

    Attributes
    ----------
    memory : ndarray of uint8
        Its pages are taken as they are first written, and stay: fresh ones for each batch would cost 4 us a pair.
    used : int
        Bytes of it that hold files.
    """

    def __init__(self) -> None:
        self.memory: NDArray[np.uint8] = np.empty(CAPACITY, np.uint8)
        self.used = 0
        self._places: dict[str, int] = {}

    def clear(self) -> None:
        """Forget all files; views of the memory are no longer theirs."""
        self.used = 0
        self._places = {}

    def note(self, path: str, place: int, size: int) -> None:
        """A file of ``size`` bytes was read into the memory at ``place``; -1: it was not, and what is there of it is an earlier one."""
        if place >= 0:
            self._places[path] = place
            self.used = place + size
        else:
            self._places.pop(path, None)

    def content(self, path: str, size: int) -> memoryview | None:
        """The bytes of a file of ``size`` bytes, as they lie in the memory; None if it is not kept."""
        place = self._places.get(path, -1)
        return None if place < 0 else self.memory.data[place : place + size]

    def payload_place(self, info: TensorInfo) -> int:
        """Where in the memory the payload begins that ``info`` was scanned from; -1 if it is not kept."""
        place = self._places.get(info.path, -1)
        return place if place < 0 else place + info.data_offset
