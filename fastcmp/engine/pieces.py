"""Where a pair is cut, and how the sums of its pieces become those of the pair. Without numba: the parent merges too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.kernels.sums import SUMS_DTYPE, merge
from fastcmp.plan import piece_edges


def row_length(info: TensorInfo) -> int:
    """Length of the last logical axis; a scalar is one row of one element."""
    return info.shape[-1] if info.shape else 1


def edges_of(golden: TensorInfo, target: TensorInfo) -> list[int]:
    """The piece edges of a pair of one element count."""
    return piece_edges(golden.element_count, DTYPES[golden.dtype].bits, DTYPES[target.dtype].bits, row_length(golden))


def merge_pieces(records: Iterable[np.ndarray]) -> np.ndarray:
    """The sums of a whole pair from those of all its pieces, in order: one left fold, wherever it is done."""
    return reduce(merge, records)


def stack(records: Sequence[np.ndarray]) -> np.ndarray:
    """Records of sums one after another in one array, shape (n,), by their words.

    numpy joins structured arrays field by field and looks for a common dtype each time: 150 us a record.
    """
    if not records:
        return np.empty(0, SUMS_DTYPE)
    return np.concatenate([record.view(np.int64) for record in records]).view(SUMS_DTYPE)
