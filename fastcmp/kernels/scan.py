"""The least that a reader of memory can do: what every other speed is measured against."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import numpy as np

from fastcmp.kernels.cache_dir import cache_lock, use_cache_dir

use_cache_dir()

from numba import njit  # noqa: E402 - the directory of its cache must be set before


@njit(cache=True)
def xor_words(words):
    """Exclusive or of all 64-bit words: one load and one vector instruction each."""
    folded = np.uint64(0)
    for i in range(words.size):
        folded ^= words[i]
    return folded


def scan(memory: np.ndarray) -> int:
    """Look at every byte of a contiguous array once, but for a remainder below eight bytes."""
    raw = memory.reshape(-1).view(np.uint8)
    words = raw[: raw.size // 8 * 8].view(np.uint64)
    words.flags.writeable = False
    return int(xor_words(words))


def warm() -> None:
    """Compile, or load from the cache, what `scan` needs."""
    with cache_lock():
        scan(np.zeros(8, np.uint64))
