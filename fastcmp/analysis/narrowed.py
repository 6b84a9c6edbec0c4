"""Whether a run computed in a narrower dtype than its dump is stored in, so that every pair is judged too strictly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from fastcmp.analysis.growth import Growth, narrow_bits
from fastcmp.dtypes import DTYPES
from fastcmp.thresholds import default_threshold

_FEWEST: Final = 3


@dataclass(frozen=True)
class Narrowed:
    """Most pairs that fail hold values of a narrower dtype.

    Attributes
    ----------
    dtype : str
    count, of : int
        The failed pairs whose values are those of ``dtype``, and the failed pairs in all.
    limit : float
        The relative_euclidean_distance that pairs of ``dtype`` may have by default.
    still : int
        How many of the failed pairs would fail by that limit too.
    """

    dtype: str
    count: int
    of: int
    limit: float
    still: int


def find_narrowed(table: pa.Table, growth: Growth, failed: np.ndarray) -> Narrowed | None:
    """The dtype of what most failed pairs hold; None where they hold what they are stored as.

    Parameters
    ----------
    table : pyarrow.Table
    growth : Growth
    failed : ndarray of bool
        The rows that were compared and failed.
    """
    bits = narrow_bits(table)
    held = failed & np.isfinite(bits)
    count = int(held.sum())
    if count < _FEWEST or 2 * count < failed.sum():
        return None
    dtype, count = max(
        ((one, int((bits[held] == DTYPES[one].significand_bits).sum())) for one in ("bfloat16", "float16")), key=lambda one: one[1]
    )
    if 2 * count < failed.sum():
        return None
    limit = default_threshold(dtype, dtype).limit
    with np.errstate(invalid="ignore"):
        still = int((failed & ~(growth.error <= limit)).sum())
    return Narrowed(dtype, count, int(failed.sum()), limit, still)
