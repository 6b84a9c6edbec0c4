"""Two reports side by side: which pairs got worse, which better, which came and which went. For finding the change that broke a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.errors import UsageError
from fastcmp.thresholds import JUDGED_METRICS, LARGER_IS_BETTER
from fastcmp.verdict import FAIL, PASS

Kind = Literal["newly failing", "worse", "gone", "fixed", "better", "new"]

# Bad news first. A pair is of one kind only: a verdict that changed says more than a number.
KINDS: Final[tuple[Kind, ...]] = ("newly failing", "worse", "gone", "fixed", "better", "new")
BAD: Final[tuple[Kind, ...]] = ("newly failing", "worse", "gone")


@dataclass(frozen=True, slots=True)
class Change:
    """One pair that is another now. Values are None where a report has no such row or the metric is empty.

    Attributes
    ----------
    kind : Kind
    rank, token_id, data_id : str
    before, after : float or None
        The metric in both reports.
    verdict_before, verdict_after : str or None
    reason_after : str
        Why it fails now.
    """

    kind: Kind
    rank: str
    token_id: str
    data_id: str
    before: float | None
    after: float | None
    verdict_before: str | None
    verdict_after: str | None
    reason_after: str


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences of two reports.

    Attributes
    ----------
    metric : str
    counts : dict of Kind to int
        Every kind, also those of which there is none.
    unchanged : int
    """

    metric: str
    counts: dict[Kind, int]
    unchanged: int
    _before: pa.Table
    _after: pa.Table
    _rows: dict[Kind, tuple[np.ndarray, np.ndarray]]

    @property
    def is_worse(self) -> bool:
        """True if a pair fails that did not, or is further off than it was, or is no longer there."""
        return any(self.counts[kind] for kind in BAD)

    def first(self, kind: Kind, most: int | None = None) -> list[Change]:
        """The pairs of a kind, those that changed most first; equal ones in report order."""
        before, after = self._rows[kind]
        return [
            _change(kind, self.metric, self._before, int(old), self._after, int(new))
            for old, new in zip(before[:most], after[:most], strict=True)
        ]


def find_changes(before: pa.Table, after: pa.Table, *, metric: str = "relative_euclidean_distance", factor: float = 1.1) -> Changes:
    """What is another in ``after`` than in ``before``.

    Parameters
    ----------
    before, after : pyarrow.Table
        Report tables.
    metric : str
        One of `fastcmp.thresholds.JUDGED_METRICS`.
    factor : float
        Of two rows with the same verdict and as many non-finite mismatches, a value counts as changed when it is more than so many times
        as far from perfect as the other: the distance to 1 for cosine and ratios, the value itself for errors and counts, ten to the power
        of a tenth for decibels.

    Raises
    ------
    UsageError
        If the metric is not known or the factor is below 1.
    """
    if metric not in JUDGED_METRICS:
        raise UsageError(f"--metric {metric!r}: no metric is called so; expected one of {', '.join(JUDGED_METRICS)}")
    if not factor >= 1:
        raise UsageError(f"--factor {factor:g}: expected a number, 1 or more")
    old_keys, new_keys = _keys(before), _keys(after)
    place = pc.fill_null(pc.index_in(old_keys, value_set=new_keys), -1).to_numpy(zero_copy_only=False)
    old_rows = np.flatnonzero(place >= 0)
    new_rows = place[old_rows]
    is_new = np.ones(after.num_rows, dtype=bool)
    is_new[new_rows] = False

    level_before, level_after = _level(before)[old_rows], _level(after)[new_rows]
    old, new = _badness(before, metric)[old_rows], _badness(after, metric)[new_rows]
    odd_before, odd_after = _odd(before)[old_rows], _odd(after)[new_rows]
    changes_side = (level_before == 0) != (level_after == 0)
    same = level_before == level_after
    # What can no longer be measured, and another NaN against a number, say more than the metric of what is left.
    lost = (level_after > level_before) | (same & ((np.isnan(new) & ~np.isnan(old)) | (odd_after > odd_before)))
    regained = (level_after < level_before) | (same & ((np.isnan(old) & ~np.isnan(new)) | (odd_after < odd_before)))
    # NaN compares as False: an empty metric on both sides is no change of it.
    is_worse = ~changes_side & (lost | (~regained & same & (new > old * factor)))
    is_better = ~changes_side & ~is_worse & (regained | (same & (old > new * factor)))
    growth = _growth(old, new)
    none = np.full(0, -1)
    gone, come = np.flatnonzero(place < 0), np.flatnonzero(is_new)
    chosen: dict[Kind, tuple[np.ndarray, np.ndarray]] = {
        "newly failing": _ordered(changes_side & (level_before == 0), growth, old_rows, new_rows),
        "worse": _ordered(is_worse, growth, old_rows, new_rows),
        "gone": (gone, np.full(len(gone), -1)),
        "fixed": _ordered(changes_side & (level_after == 0), -growth, old_rows, new_rows),
        "better": _ordered(is_better, -growth, old_rows, new_rows),
        "new": (np.full(len(come), -1), come) if len(come) else (none, none),
    }
    counts = {kind: len(chosen[kind][0]) for kind in KINDS}
    changed = sum(counts[kind] for kind in KINDS if kind not in ("gone", "new"))
    return Changes(metric, counts, len(old_rows) - changed, before, after, chosen)


def differing_facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """In what two runs differ beside their files, from their ``run.json``: options and versions, a phrase each."""
    phrases = []
    for group in ("options", "versions"):
        old, new = before.get(group), after.get(group)
        if isinstance(old, dict) and isinstance(new, dict):
            names = [name for name in {**old, **new} if old.get(name) != new.get(name) and name not in ("output", "workers", "fresh")]
            phrases += [f"{name} {_shown(old.get(name))}, then {_shown(new.get(name))}" for name in names]
    return phrases


def _shown(value: Any) -> str:
    return "none" if value is None or value in ([], "") else str(value)


def _keys(table: pa.Table) -> pa.Array:
    """One text for each row; parts are led by their lengths, so that no two keys make one text."""
    parts = [table.column(name).combine_chunks() for name in ("rank", "data_id", "token_id")]
    lengths = [pc.cast(pc.binary_length(part), pa.string()) for part in parts[:2]]
    return pc.binary_join_element_wise(lengths[0], lengths[1], *parts, ":")


def _level(table: pa.Table) -> np.ndarray:
    """0 for a row that passes, 1 for one that fails, 2 for one that could not be compared."""
    verdict = table.column("verdict")
    passed, failed = (pc.fill_null(pc.equal(verdict, word), False).to_numpy().astype(bool) for word in (PASS, FAIL))
    return np.where(passed, 0, np.where(failed, 1, 2))


def _odd(table: pa.Table) -> np.ndarray:
    """Positions where a NaN or an infinity meets something else."""
    return pc.fill_null(table.column("nonfinite_mismatch_count"), 0).to_numpy()


def _badness(table: pa.Table, metric: str) -> np.ndarray:
    """The metric as a number that is 0 where both tensors are equal and grows with the error; NaN where it is empty."""
    values = table.column(metric).cast(pa.float64()).to_numpy().astype(np.float64)
    if metric not in LARGER_IS_BETTER:
        return values
    if metric == "signal_to_noise_db":
        return np.power(10.0, -values / 10.0)
    return 1.0 - values


def _growth(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """How many times as far off it is now, as a number to sort by; the largest where it was equal before."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.where(new == old, 1.0, new / old), nan=0.0, posinf=np.finfo(np.float64).max)


def _ordered(chosen: np.ndarray, growth: np.ndarray, old_rows: np.ndarray, new_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    positions = np.flatnonzero(chosen)
    positions = positions[np.argsort(-growth[positions], kind="stable")]
    return old_rows[positions], new_rows[positions]


def _change(kind: Kind, metric: str, before: pa.Table, old: int, after: pa.Table, new: int) -> Change:
    def cell(source: pa.Table, at: int, name: str) -> Any:
        return source.column(name)[at].as_py() if at >= 0 else None

    table, row = (after, new) if new >= 0 else (before, old)
    return Change(
        kind,
        rank=cell(table, row, "rank"),
        token_id=cell(table, row, "token_id"),
        data_id=cell(table, row, "data_id"),
        before=_number(cell(before, old, metric)),
        after=_number(cell(after, new, metric)),
        verdict_before=cell(before, old, "verdict"),
        verdict_after=cell(after, new, "verdict"),
        reason_after=cell(after, new, "verdict_reason") or "",
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
