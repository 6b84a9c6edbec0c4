"""The end of the dump that FASTCMP_DUMP_LIMIT sets."""

from __future__ import annotations

import threading


class ByteLimit:
    """Room for the tensor bytes of one process. The first tensor that does not fit ends the dump: what is there is a run without gaps.

    Parameters
    ----------
    limit : int or None
        None: no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.is_reached = False
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Take room for a tensor that is about to be written; False if the limit is reached."""
        if self.limit is None:
            return True
        with self._lock:
            if self._taken + nbytes > self.limit:
                self.is_reached = True
            if self.is_reached:
                return False
            self._taken += nbytes
        return True

    def give_back(self, nbytes: int) -> None:
        """Of a tensor that was not written after all."""
        with self._lock:
            self._taken -= nbytes
