r"""Rows of pairs of which a side has no data: what statistics and checksums let one say about them, and no more.

Statistics bound the error from below, whatever the elements are. With g and t the tensors and N their elements,

.. math:: \|t-g\| \ge \big|\|t\|-\|g\|\big|, \quad \|t-g\| \ge |\max t - \max g|, \quad \|t-g\| \ge \sqrt{N}\,|\bar t - \bar g|

so a pair fails where even the least distance is beyond its threshold. It passes otherwise, which says only that nothing speaks against it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.dtypes import DTYPES, narrower
from fastcmp.errors import STATISTICS
from fastcmp.outcome import TensorFacts
from fastcmp.thresholds import LARGER_IS_BETTER, Threshold
from fastcmp.verdict import ERROR, FAIL, PASS, Rules, same_but_for_ones

STATED_CODES: Final = ("E_STATS_ONLY", "E_CHECKSUM")

# What the mean and the norm of a tensor may be off by: they are added up in its own dtype, in an order that differs between devices.
_ROUNDING_STEPS: Final = 4


@dataclass(frozen=True, slots=True)
class StatedVerdict:
    """Verdict and reason as the row has them, and what was compared: it stands where other rows without metrics say what was wrong."""

    verdict: str
    reason: str
    detail: str


def is_stated(golden: TensorFacts, target: TensorFacts) -> bool:
    """True for a pair, of one of `STATED_CODES`, that has something to be judged by."""
    if _is_empty(golden) and _is_empty(target):
        return True
    return bool(golden.checksum and target.checksum) or bool((golden.statistics or {}).keys() & (target.statistics or {}).keys())


def _is_empty(side: TensorFacts) -> bool:
    return 0 in (side.shape or ())


def stated_remark(table: pa.Table) -> tuple[str, ...]:
    """How many rows of a report were judged without data, in a sentence; nothing where none was."""
    reasons = table.column("cmp_fail_reason")
    count = sum(pc.sum(pc.ends_with(reasons, f"[{code}]"), min_count=0).as_py() for code in STATED_CODES)
    if not count:
        return ()
    pairs = f"{count} pairs have" if count > 1 else "1 pair has"
    return (f"{pairs} no data on a side and no metrics; judged by what is stated there, statistics or checksums: see cmp_fail_reason",)


def judge_stated(golden: TensorFacts, target: TensorFacts, rules: Rules, matched: Sequence[int]) -> StatedVerdict:
    """The verdict of one pair for which `is_stated` is true; ``matched`` are the rules by name that match it."""
    shapes = golden.shape or (), target.shape or ()
    if shapes[0] != shapes[1] and not same_but_for_ones(*shapes):
        return StatedVerdict(FAIL, f"golden has shape {shapes[0]} but target has shape {shapes[1]} [E_SHAPE]", "only statistics are known")
    if _is_empty(golden):
        return StatedVerdict(PASS, "", "there is no element on either side")
    if golden.checksum and target.checksum:
        if golden.checksum.lower() == target.checksum.lower() and golden.dtype == target.dtype:
            return StatedVerdict(PASS, "", f"only checksums are known, both {golden.checksum}: the same bytes")
        if not (golden.statistics and target.statistics):
            return _other_bytes(golden, target)
    return _Statistics(golden, target).verdict(rules, matched)


def _other_bytes(golden: TensorFacts, target: TensorFacts) -> StatedVerdict:
    if golden.dtype != target.dtype:
        said = f"{golden.dtype or 'an unknown dtype'} and {target.dtype or 'an unknown dtype'} have checksums of different bytes"
        return StatedVerdict(ERROR, f"{said} [E_CHECKSUM]", f"only checksums are known; {said}, equal tensors too")
    checksums = f"{golden.checksum} against {target.checksum}"
    return StatedVerdict(
        FAIL, f"checksums differ: {checksums}; by how much, a checksum does not say [E_CHECKSUM]", f"only checksums are known, {checksums}"
    )


class _Statistics:
    """The statistics of both sides, and the least that the tensors behind them differ by."""

    def __init__(self, golden: TensorFacts, target: TensorFacts) -> None:
        self.golden, self.target = golden.statistics or {}, target.statistics or {}
        self.names = [name for name in STATISTICS if name in self.golden and name in self.target]
        self.dtypes = golden.dtype, target.dtype
        self.decimals = min((side.decimals for side in (golden, target) if side.decimals is not None), default=None)
        self.count = math.prod(golden.shape or ())
        self.other_bytes = bool(golden.checksum and target.checksum and golden.checksum.lower() != target.checksum.lower())
        self.gaps = {name: self._gap(name) for name in self.names}

    def _gap(self, name: str) -> float:
        """What a statistic of one side differs by from the other's, less what rounding explains; NaN against a number is infinity."""
        one, other = self.golden[name], self.target[name]
        if one == other or (one != one and other != other):
            return 0.0
        gap = abs(one - other)
        if not math.isfinite(gap):
            return math.inf
        # Two values on both sides of an edge of rounding differ by one in the last decimal, and by what a float makes of that.
        slack = 1.01 * 10.0**-self.decimals if self.decimals is not None else 0.0
        known = [dtype for dtype in self.dtypes if dtype]
        if name in ("mean", "l2norm") and known:
            bits = DTYPES[narrower(known[0], known[-1])].significand_bits
            slack += _ROUNDING_STEPS * 2.0**-bits * max(abs(one), abs(other))
        return max(gap - slack, 0.0)

    def verdict(self, rules: Rules, matched: Sequence[int]) -> StatedVerdict:
        detail = f"only statistics are known: {self._compared()}"
        if any(math.isinf(gap) for gap in self.gaps.values()):
            name = next(name for name, gap in self.gaps.items() if math.isinf(gap))
            return StatedVerdict(
                FAIL, f"{name} {self.golden[name]:g} against {self.target[name]:g} (rule: non-finite) [E_STATS_ONLY]", detail
            )
        if not all(self.dtypes):
            is_equal = not any(self.gaps.values()) and not self.other_bytes
            reason = "" if is_equal else f"{self._compared()}, and of a dtype that is not known nothing may differ [E_STATS_ONLY]"
            return StatedVerdict(PASS if is_equal else FAIL, reason, detail)
        thresholds = rules.for_pairs(*self.dtypes, matched)
        if thresholds is None:
            said = f"{self.dtypes[0]} against {self.dtypes[1]} and no scale is known; give --scale or a --threshold"
            return StatedVerdict(FAIL, said, detail)
        bounds = self._bounds(legacy=rules.legacy_euclid)
        broken = [said for threshold in thresholds if (said := _broken(threshold, bounds))]
        reason = "; ".join([*broken, "by statistics alone [E_STATS_ONLY]"]) if broken else ""
        return StatedVerdict(FAIL if broken else PASS, reason, detail)

    def _compared(self) -> str:
        """Which statistics differ, and to how many digits the others are the same."""
        differing = [name for name in self.names if self.gaps[name]]
        said = [f"{name} {self.golden[name]:.9g} against {self.target[name]:.9g}" for name in differing]
        if same := [name for name in self.names if not self.gaps[name]]:
            said.append(f"{', '.join(same)} {self._how_equal(same)}")
        if self.other_bytes:
            said.append("checksums differ")
        return "; ".join(said)

    def _how_equal(self, names: Sequence[str]) -> str:
        if self.decimals is not None:
            return f"agree to {self.decimals} decimals"
        is_exact = all(self.golden[name] == self.target[name] or self.golden[name] != self.golden[name] for name in names)
        return "are equal in all digits" if is_exact else "agree but for rounding"

    def _bounds(self, *, legacy: bool) -> dict[str, float]:
        """The least that metrics of the pair can be."""
        largest = max((self.gaps.get(name, 0.0) for name in ("max", "min")), default=0.0)
        mean = self.gaps.get("mean", 0.0)
        root = math.sqrt(self.count) if self.count else 1.0
        least = max(largest, self.gaps.get("l2norm", 0.0), root * mean)
        norm = self._golden_norm(root)
        distance = 0.0 if not least else least / norm if norm else math.inf
        return {
            "relative_euclidean_distance": distance * distance if legacy else distance,
            "root_mean_square_error": least / root,
            "max_absolute_error": max(largest, least / root),
            "mean_absolute_error": mean,
            "mismatch_count": float(any(self.gaps.values()) or (self.other_bytes and self.dtypes[0] == self.dtypes[1])),
        }

    def _golden_norm(self, root: float) -> float:
        """At most so long is golden as a vector, where its length is not stated."""
        if "l2norm" in self.golden:
            return abs(self.golden["l2norm"])
        if not {"max", "min"} <= self.golden.keys():
            return math.inf
        return root * max(abs(self.golden["max"]), abs(self.golden["min"]))


def _broken(threshold: Threshold, bounds: Mapping[str, float]) -> str:
    """Why a threshold is broken, "" where it may hold. A metric of which statistics say nothing is empty, and so breaks it."""
    if threshold.metric not in bounds or threshold.metric in LARGER_IS_BETTER or threshold.symbol not in ("<", "<=", "=="):
        return threshold.broken_by(math.nan)
    least = bounds[threshold.metric]
    may_hold = least <= threshold.limit if threshold.symbol == "==" else bool(threshold.holds(least))
    return "" if may_hold else f"{threshold.broken_by(least)} at the least"
