"""Bounds how long a stalled disk may hold up the program that dumps.

A thread that is inside ``write`` cannot be called back, so only a second thread can bound it. Handing every store over would cost 40 to
60 us, as much as a small tensor takes to write, and a third of the time of one of 32 MiB, whose memory another core then fetches. So:

- stores of less than `HANDED_OVER_BYTES` run in the caller's thread, as long as the one before was quick;
- larger ones, and the one after any which took longer than `SLOW_STORE_S`, run in a thread of their own that the caller waits for up to
  ``FASTCMP_MAX_STALL_S``. A store that takes longer is abandoned: the caller goes on, and the file is removed instead of published;
- while an abandoned store has not come back, every other is skipped at once.

A disk that stops dead in the middle of one write, without having been slow before, holds that one call up until the system
gives it back. Whoever must exclude this as well dumps to a local file system.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

HANDED_OVER_BYTES: Final = 256 << 20
SLOW_STORE_S: Final = 0.25


class Stalled(Exception):
    """A store took longer than allowed, or was skipped since an earlier one still does."""


class Ticket:
    """Decides, once, whether a store is published by the thread that does it or abandoned by the one that waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_decided = False

    def commit(self) -> bool:
        """True if the store may be published. Of `commit` and `abandon` only the first call succeeds."""
        with self._lock:
            is_first, self._is_decided = not self._is_decided, True
        return is_first

    abandon = commit


class StallGuard:
    """Runs stores within a time limit.

    Parameters
    ----------
    limit_s : float
        ``inf``: all stores run in the caller's thread.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._stuck: list[threading.Thread] = []
        self._is_slow = False

    @property
    def limit_s(self) -> float:
        return self._limit_s

    @property
    def is_stuck(self) -> bool:
        """True while an abandoned store has not come back."""
        if self._stuck:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        return bool(self._stuck)

    def run(self, store: Callable[[Ticket | None], None], nbytes: int) -> None:
        """Run ``store``; what it raises is raised here.

        ``store`` is given a `Ticket` that it must commit before it publishes anything, or None where nobody will abandon it.

        Raises
        ------
        Stalled
        """
        if self.is_stuck:
            raise Stalled("an earlier write has not come back")
        begin_s = time.monotonic()
        try:
            if (nbytes < HANDED_OVER_BYTES and not self._is_slow) or self._limit_s == float("inf"):
                store(None)
            else:
                self._hand_over(store)
        finally:
            self._is_slow = time.monotonic() - begin_s > SLOW_STORE_S

    def _hand_over(self, store: Callable[[Ticket | None], None]) -> None:
        ticket = Ticket()
        raised: list[BaseException] = []

        def run() -> None:
            try:
                store(ticket)
            except BaseException as error:  # carried to the caller, who decides
                raised.append(error)

        thread = threading.Thread(target=run, name="fastcmp-dump-write", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no threads any more, or no more threads
            store(None)
            return
        thread.join(min(self._limit_s, threading.TIMEOUT_MAX))
        if thread.is_alive():
            ticket.abandon()
            self._stuck.append(thread)
            raise Stalled(f"a write has not come back after {self._limit_s:g} s")
        if raised:
            raise raised[0]
