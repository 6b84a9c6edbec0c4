"""Python's collector of reference cycles, out of the way where a great many objects are made that all stay."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No search for cycles within: each looks at all names made so far, a third of the time that loading takes.

    For the whole process, so only around work of seconds that makes no cycles; as it was before afterwards.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
