"""Python's collector of reference cycles, kept from a great many objects that all stay."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[Callable[[], None]]:
    """No search for cycles until the callable that this gives is called; and from then to the end, none among what exists already.

    Each search looks at all names of a dump again, a third of the time that loading them takes. For the whole process, so what is made
    before the call should be the work of seconds. Afterwards the collector is as it was; one that somebody else has turned off, or keeps
    from objects of theirs, is left alone.
    """
    was_enabled = gc.isenabled()
    may_freeze = gc.get_freeze_count() == 0
    gc.disable()

    def resume() -> None:
        if may_freeze:
            gc.freeze()
        if was_enabled:
            gc.enable()

    try:
        yield resume
    finally:
        if was_enabled:
            gc.enable()
        if may_freeze:
            gc.unfreeze()
