"""Counts what `dump_data` did and could not do, and says each cause once."""

from __future__ import annotations

import logging
import threading
from typing import Final

SUCCESSES: Final = ("saved", "registered", "replaced", "skipped", "tensor_bytes", "bookkeeping_bytes", "compactions")
FAILURES: Final = (
    "unknown_source",
    "unsupported_value",
    "bad_tensor_path",
    "write_failed",
    "stalled",
    "over_limit",
    "list_refused",
    "hook_failed",
    "metadata_failed",
)
# A bound for a program that fails in a new way at every call.
MAX_CAUSES: Final = 100


class Counters:
    """Numbers by name, all there from the start, and the causes that were told.

    ``saved`` tensors written, ``registered`` low-level paths, ``replaced`` of both under a key that stood already, ``skipped`` by
    FASTCMP_DUMP_TOKENS, ``tensor_bytes`` and ``bookkeeping_bytes`` (journal, JSON, allow-list) written, ``compactions`` of metadata.json;
    and the calls that failed: ``unknown_source``, ``unsupported_value``, ``bad_tensor_path``, ``write_failed``, ``stalled``;
    ``over_limit`` by FASTCMP_DUMP_LIMIT; ``list_refused`` by the preload library, which then saves none of the registered paths;
    ``hook_failed`` calls of a hook of `dump_model`, which lost the tensors of that call.
    ``metadata_failed`` compactions lost no tensor: the journal has them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys(SUCCESSES + FAILURES, 0)
        self._told: set[str] = set()

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one number."""
        with self._lock:
            self._numbers[name] += amount

    def add_saved(self, nbytes: int) -> None:
        """Count one saved tensor."""
        with self._lock:
            self._numbers["saved"] += 1
            self._numbers["tensor_bytes"] += nbytes

    def snapshot(self) -> dict[str, int]:
        """A copy of the numbers."""
        with self._lock:
            return dict(self._numbers)

    def warn_once(self, cause: str, text: str) -> None:
        """Log a warning if this cause is new."""
        with self._lock:
            if cause in self._told or len(self._told) >= MAX_CAUSES:
                return
            self._told.add(cause)
        log_warning(text)

    def summary(self) -> str:
        """One line about what was not saved, and how much was replaced then; "" where all was saved."""
        numbers = self.snapshot()
        failed = {name: numbers[name] for name in FAILURES if numbers[name]}
        if not failed:
            return ""
        causes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in failed.items())
        replaced = f", {numbers['replaced']} replaced" if numbers["replaced"] else ""
        return f"dump_data: {numbers['saved']} tensors saved, {numbers['registered']} registered{replaced}; not saved: {causes}"


def log_warning(text: str) -> None:
    """Tell the user through the logger ``fastcmp`` (stderr, unless the program says otherwise). Never raises.

    Not through `warnings`: under ``-W error`` that would raise into the forward pass.
    """
    _log(logging.WARNING, text)


def log_info(text: str) -> None:
    """Say what went as it should, where the program asks for INFO; nothing is shown otherwise. Never raises."""
    _log(logging.INFO, text)


def _log(level: int, text: str) -> None:
    try:
        logging.getLogger("fastcmp").log(level, "%s", text)
    except Exception:  # a handler of the host that raises is no reason to stop its inference
        return
