"""The elements of one block as float32 or float64, exactly, in a buffer that stays in the L1 or L2 cache.

One compiled kernel serves every storage dtype whose values fit the wide type: which one it meets is a number that it is
given, not a type that it is compiled for. The buffer costs a store and a load for each element; widened where it is used,
an element would be widened again by every pass over the block. Only the first pass over the commonest dtypes does that
(`block_stats`): a block that is widened before anything is computed leaves the memory idle while it is.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

from typing import Final

import numpy as np

from fastcmp.kernels.vector import advance, load, load_value, reinterpret, store

from numba import njit  # isort: skip

# How elements are stored. NATIVE are elements of the wide type itself, used where they lie; BYTE has a table of 256 values.
NATIVE, BYTE, FLOAT16, BFLOAT16, FLOAT32, INT16, UINT16, INT32, UINT32, INT64, UINT64 = range(11)

# Storage dtypes of up to 8 bits are BYTE.
STORED_AS: Final[dict[str, int]] = {
    "float16": FLOAT16,
    "bfloat16": BFLOAT16,
    "float32": FLOAT32,
    "int16": INT16,
    "uint16": UINT16,
    "int32": INT32,
    "uint32": UINT32,
    "int64": INT64,
    "uint64": UINT64,
}


@njit(error_model="numpy")
def widen_bytes(room, raw, table, n):
    """Elements of one byte by their table."""
    for i in range(n):
        store(room, i, table[load(raw, i)])


@njit(error_model="numpy")
def widen_floats(room, raw, n):
    """Floats that `load_value` knows."""
    for i in range(n):
        store(room, i, load_value(raw, i))


@njit(error_model="numpy")
def widen_integers(room, raw, factor, n):
    """Integers, times a factor: ``--scale`` or 1."""
    for i in range(n):
        store(room, i, np.float64(load(raw, i)) * factor)


@njit(error_model="numpy")
def widened(raw, stored, table, factor, room, tag, n):
    """Pointer to n elements as the type of ``tag``: where they lie if they are of it, else in the room.

    Parameters
    ----------
    raw : pointer to uint8
    stored : int
        How they are stored.
    table : ndarray of float64, shape (256,)
        Values of the bytes, factor included; any for what is not stored as BYTE.
    factor : float
        For integers of more than a byte; 1.0 for floats.
    room : pointer to float32 or float64
        Takes n elements.
    tag : float32 or float64
    n : int
    """
    if stored == NATIVE:
        return reinterpret(raw, tag)
    if stored == BYTE:
        widen_bytes(room, raw, table, n)
    elif stored == FLOAT16:
        widen_floats(room, reinterpret(raw, np.uint16(0)), n)
    elif stored == BFLOAT16:
        widen_floats(room, reinterpret(raw, np.int16(0)), n)
    elif stored == FLOAT32:
        widen_floats(room, reinterpret(raw, np.float32(0)), n)
    elif stored == INT16:
        widen_integers(room, reinterpret(raw, np.int16(0)), factor, n)
    elif stored == UINT16:
        widen_integers(room, reinterpret(raw, np.uint16(0)), factor, n)
    elif stored == INT32:
        widen_integers(room, reinterpret(raw, np.int32(0)), factor, n)
    elif stored == UINT32:
        widen_integers(room, reinterpret(raw, np.uint32(0)), factor, n)
    elif stored == INT64:
        widen_integers(room, reinterpret(raw, np.int64(0)), factor, n)
    else:
        widen_integers(room, reinterpret(raw, np.uint64(0)), factor, n)
    return room


@njit(error_model="numpy")
def same_words(g, t, n):
    """True if n 64-bit words are equal."""
    different = np.uint64(0)
    for i in range(n):
        different |= load(g, i) ^ load(t, i)
    return different == 0


@njit(error_model="numpy")
def same_bytes(g, t, n):
    """True if n bytes are equal; the first that are not are found before all are looked at."""
    words = n // 8
    g_words, t_words = reinterpret(g, np.uint64(0)), reinterpret(t, np.uint64(0))
    first = min(words, 32)
    if not (same_words(g_words, t_words, first) and same_words(advance(g_words, first), advance(t_words, first), words - first)):
        return False
    different = 0
    for i in range(8 * words, n):
        different |= load(g, i) ^ load(t, i)
    return different == 0
