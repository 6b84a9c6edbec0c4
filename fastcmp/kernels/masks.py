"""Masks: one run fills them with minus infinity, the other with the most negative number that its dtype has."""

from __future__ import annotations

from typing import Final

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.kernels.sums import BLOCK_ELEMENTS
from fastcmp.kernels.widen import largest_finite, widen

# Elements looked at at a time: both buffers and their masks stay in L3.
_STEP: Final = 32 * BLOCK_ELEMENTS


def settle_masks(
    record: np.ndarray, golden: np.ndarray, golden_dtypes: tuple[str, str], target: np.ndarray, target_dtypes: tuple[str, str]
) -> None:
    """Move the masks of a piece from nonfinite_mismatch_count to mask_fill_count, in place.

    Counted in a pass of its own, which only pieces take that have such a mismatch: the kernels stay as they are.

    Parameters
    ----------
    record : ndarray of SUMS_DTYPE, shape (1,)
        Of the piece.
    golden, target : ndarray
        The piece, as for `fastcmp.kernels.fold.fold_piece`.
    golden_dtypes, target_dtypes : tuple of str
        Of each side as what it is stored, and the dtype that it had before it was dumped as a wider one: a mask has the least of either.
    """
    if not record["nonfinite_mismatch_count"][0]:
        return
    if DTYPES[golden_dtypes[0]].kind != "float" or DTYPES[target_dtypes[0]].kind != "float":
        return
    g, t = _Side(golden, golden_dtypes), _Side(target, target_dtypes)
    count = 0
    for first in range(0, golden.size, _STEP):
        (g_infinite, g_least), (t_infinite, t_least) = g.look(first), t.look(first)
        count += int(np.count_nonzero((g_infinite & t_least) | (t_infinite & g_least)))
    record["nonfinite_mismatch_count"] -= count
    record["mask_fill_count"] += count


class _Side:
    """One side of a piece, looked at a buffer at a time."""

    def __init__(self, piece: np.ndarray, dtypes: tuple[str, str]) -> None:
        self._piece, self._dtype = piece, dtypes[0]
        self._least = {-largest_finite(name) for name in dtypes if DTYPES[name].kind == "float"}
        self._buffer = np.empty(min(piece.size, _STEP))

    def look(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Where it is minus infinity, and where the most negative number."""
        part = self._piece[first : first + _STEP]
        values = self._buffer[: part.size]
        widen(part, self._dtype, values)
        return values == -np.inf, np.logical_or.reduce([values == least for least in self._least])
