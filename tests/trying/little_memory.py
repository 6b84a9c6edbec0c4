"""What a reader may take beside its input: a limit on addresses, which what is never touched counts for, too."""

from __future__ import annotations

import contextlib
import mmap
import resource
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def little_memory(most_bytes: int = 16 << 20) -> Iterator[None]:
    """This process gets at most so many bytes of addresses more than it has: whoever asks for a large piece, is refused.

    glibc serves any piece above 32 MiB by addresses of its own, so what the process has freed before hides none of that size.
    """
    has = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
