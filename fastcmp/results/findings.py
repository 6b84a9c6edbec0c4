"""Single rows that matter: the first divergence, the worst few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.results import totals
from fastcmp.verdict import ERROR, FAIL, first_divergence

_SHOWN: Final = (
    "rank", "token_id", "data_id", "verdict", "verdict_reason", "golden_data_path", "acl_data_path", "golden_dtype", "acl_dtype",
    "cosine_similarity", "relative_euclidean_distance", "max_absolute_error", "mismatch_count", "rounding_floor", "cmp_fail_reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the report, as far as a summary speaks of it; None where it has no such value. ``row`` is its number, from 0."""

    row: int
    rank: str
    token_id: str
    data_id: str
    verdict: str
    verdict_reason: str
    golden_data_path: str | None
    acl_data_path: str | None
    golden_dtype: str | None
    acl_dtype: str | None
    cosine_similarity: float | None
    relative_euclidean_distance: float | None
    max_absolute_error: float | None
    mismatch_count: int | None
    rounding_floor: float | None
    cmp_fail_reason: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"

    @property
    def name(self) -> str:
        """Its key in words: ``token 2, data_id 14``, with the rank where there is one."""
        rank = f"rank {self.rank}, " if self.rank else ""
        token = f"token {self.token_id}, " if self.token_id else ""
        return f"{rank}{token}data_id {self.data_id}"

    @property
    def error_code(self) -> str:
        """The code at the end of ``cmp_fail_reason``; "" for a compared row."""
        return (self.cmp_fail_reason or "").rpartition("[")[2].rstrip("]")

    @property
    def reason(self) -> str:
        """The verdict reason as prose has it: ``(bfloat16)`` for ``(rule: default bfloat16)``."""
        return self.verdict_reason.replace("(rule: default ", "(").replace("(rule: ", "(")


def finding(table: pa.Table, row: int) -> Finding:
    """Row ``row`` of a report table."""
    return Finding(row, *(table.column(name)[row].as_py() for name in _SHOWN))


def find_first_divergence(table: pa.Table, execution_orders: np.ndarray) -> Finding | None:
    """The failed pair that ran first; ``execution_orders`` has one entry per row of the report."""
    row = first_divergence(_has_verdict(table, FAIL), execution_orders, _booleans(totals.unpaired_mask(table)))
    return None if row is None else finding(table, row)


@dataclass(frozen=True, slots=True)
class BlindSpots:
    """Tensors that ran and that nothing is known about: pairs that could not be compared, and tensors that stand alone though they may not.

    Attributes
    ----------
    first : tuple of Finding
        The first of them in execution order.
    count : int
    before_divergence : int
        How many of them ran before the first divergence, and so may hold an earlier one; all of them where no pair failed.
    """

    first: tuple[Finding, ...]
    count: int
    before_divergence: int


def find_blind_spots(table: pa.Table, execution_orders: np.ndarray, divergence: Finding | None, most: int = 10) -> BlindSpots:
    """What the first divergence does not know about; ``execution_orders`` has one entry per row of the report."""
    unpaired = _booleans(totals.unpaired_mask(table))
    rows = np.flatnonzero(_has_verdict(table, ERROR) | (unpaired & _has_verdict(table, FAIL)))
    orders = execution_orders[rows]
    before = len(rows) if divergence is None else int((orders < execution_orders[divergence.row]).sum())
    return BlindSpots(tuple(finding(table, int(row)) for row in rows[np.argsort(orders)[:most]]), len(rows), before)


def count_error_reasons(table: pa.Table) -> dict[str, int]:
    """How often each verdict_reason stands at a pair that could not be compared, in the order in which they first appear."""
    counts = table.column("verdict_reason").filter(pc.equal(table.column("verdict"), ERROR)).value_counts()
    return {count["values"]: count["counts"] for count in counts.to_pylist()}


def find_worst(table: pa.Table, count: int) -> list[Finding]:
    """The ``count`` worst pairs that passed or failed.

    Failed ones first; of those, and of the others, the ones with metrics before those without. Metrics are sorted by non-finite mismatches,
    then by relative_euclidean_distance, mismatch_count and row; what has none by how far its statistics are apart, and row.
    """
    return [finding(table, int(row)) for row in worst_order(table, np.flatnonzero(judged_mask(table)))[:count]]


def worst_order(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Row numbers sorted as `find_worst` has them; what could not be compared, or stands alone, comes last."""
    if not len(rows):
        return rows
    judged, failed = judged_mask(table)[rows], _has_verdict(table, FAIL)[rows]
    compared = _booleans(table.column("cmp_flag"))[rows]
    mismatched = _column(table, "nonfinite_mismatch_count", rows) > 0
    distance = _column(table, "relative_euclidean_distance", rows)
    apart = np.full(len(rows), -1.0)
    apart[~compared] = _statistics_apart(table, rows[~compared])
    mismatches = _column(table, "mismatch_count", rows)
    return rows[np.lexsort((rows, -mismatches, -apart, -distance, ~mismatched, ~compared, ~failed, ~judged))]


def judged_mask(table: pa.Table) -> np.ndarray:
    """True for the pairs that passed or failed: by metrics, by what is stated of tensors without data, or by shapes that do not fit."""
    return ~_has_verdict(table, ERROR) & ~_booleans(totals.unpaired_mask(table))


def _statistics_apart(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """How far max, min and mean of both sides are apart, in multiples of golden's largest; -1 where they are not known."""
    apart, largest = np.full(len(rows), -1.0), np.zeros(len(rows))
    part = table.take(pa.array(rows))
    for name in ("max", "min", "mean"):
        columns = part.column(f"golden_{name}_value"), part.column(f"acl_{name}_value")
        golden, target = (column.to_numpy(zero_copy_only=False) for column in columns)
        both = _booleans(pc.and_(*(pc.is_valid(column) for column in columns)))
        with np.errstate(invalid="ignore"):  # inf - inf
            gap = np.where((golden == target) | (np.isnan(golden) & np.isnan(target)), 0.0, np.abs(golden - target))
        apart = np.where(both, np.fmax(apart, np.where(np.isnan(gap), np.inf, gap)), apart)
        largest = np.fmax(largest, np.abs(golden))
    with np.errstate(divide="ignore", invalid="ignore"):  # golden is zero, or infinite
        return np.where(apart > 0, np.nan_to_num(apart / largest, nan=np.inf), apart)


# As arrays, never as lists: a Python object for each row of a million is a hundred megabytes.
def _has_verdict(table: pa.Table, verdict: str) -> np.ndarray:
    """Where a verdict stands."""
    return _booleans(pc.equal(table.column("verdict"), verdict))


def _booleans(mask: pa.ChunkedArray) -> np.ndarray:
    """A mask of the rows; False where it is empty."""
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)


def _column(table: pa.Table, name: str, rows: np.ndarray) -> np.ndarray:
    """A numeric column as float64; -1 where it is empty, as the smallest of all."""
    values = table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)[rows]
    return np.where(np.isnan(values), -1.0, values)
