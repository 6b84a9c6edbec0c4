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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.dtypes import DTYPES
from fastcmp.errors import STATED_CODES, STATISTICS
from fastcmp.formats.stated import CRC, XOR, checksum_kind
from fastcmp.outcome import TensorFacts
from fastcmp.thresholds import LARGER_IS_BETTER, Threshold, needs_scale
from fastcmp.verdict import ERROR, FAIL, PASS, Rules, same_but_for_ones

# What the mean and the norm of a tensor may be off by: they are added up in its own dtype, in an order that differs between devices.
_ROUNDING_STEPS: Final = 4
# Integers and float64 are added up in float32, float8 and narrower in no less than this.
_SINGLE_BITS: Final = 24
_LEAST_BITS: Final = 8
_SINGLE_EXPONENT: Final = 127
_LARGEST_INTEGER: Final = 2.0**65
_LARGEST_ROOT: Final = 2.0**500
# A file may state any shape; a float has room for this many.
_MOST_ELEMENTS: Final = 1 << 200
# Of the same bytes the mean and the norm are never this far apart, measured by what was added up.
_SAME_BYTES: Final = 0.01


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
    return bool(checksum_kind(golden.checksum) and checksum_kind(target.checksum)) or bool(_shared(golden, target))


def _is_empty(side: TensorFacts) -> bool:
    return 0 in (side.shape or ())


def _shared(golden: TensorFacts, target: TensorFacts) -> list[str]:
    return [name for name in STATISTICS if name in (golden.statistics or {}) and name in (target.statistics or {})]


def stated_remark(table: pa.Table) -> tuple[str, ...]:
    """How many rows of a report were judged without data, in a sentence; nothing where none was."""
    count = stated_count(table)
    if not count:
        return ()
    pairs = f"{count} pairs have" if count > 1 else "1 pair has"
    return (f"{pairs} no data on a side and no metrics; judged by what is stated there, statistics or checksums: see cmp_fail_reason",)


def stated_count(table: pa.Table) -> int:
    """How many rows of a report were judged without data."""
    reasons = table.column("cmp_fail_reason")
    return sum(pc.sum(pc.ends_with(reasons, f"[{code}]"), min_count=0).as_py() for code in STATED_CODES)


def judge_stated(golden: TensorFacts, target: TensorFacts, rules: Rules, matched: Sequence[int]) -> StatedVerdict:
    """The verdict of one pair for which `is_stated` is true; ``matched`` are the rules by name that match it."""
    shapes = golden.shape or (), target.shape or ()
    if shapes[0] != shapes[1] and not same_but_for_ones(*shapes):
        return StatedVerdict(FAIL, f"golden has shape {shapes[0]} but target has shape {shapes[1]} [E_SHAPE]", "only statistics are known")
    if _is_empty(golden):
        return StatedVerdict(PASS, "", "there is no element on either side")
    statistics = _Statistics(golden, target)
    kinds = checksum_kind(golden.checksum), checksum_kind(target.checksum)
    if all(kinds):
        if kinds[0] == kinds[1] and not statistics.other_bytes and (golden.dtype == target.dtype or _is_widened(golden, target, kinds[0])):
            return _same_checksums(golden, target, kinds[0], statistics)
        if not statistics.names:
            return _other_bytes(golden, target) if kinds[0] == kinds[1] else _other_kinds(golden, target, kinds)
    return statistics.verdict(rules, matched)


def _is_widened(golden: TensorFacts, target: TensorFacts, kind: str) -> bool:
    """True where the checksum of a bfloat16 tensor may be that of its elements as float32: numpy has no dtype for them as they are."""
    return kind == CRC and {golden.dtype, target.dtype} == {"bfloat16", "float32"}


def _same_checksums(golden: TensorFacts, target: TensorFacts, kind: str, statistics: _Statistics) -> StatedVerdict:
    if statistics.are_of_other_bytes():
        said = f"checksums agree, both {golden.checksum}, and statistics do not: {statistics.compared()}"
        return StatedVerdict(ERROR, f"{said}; one of them is not of this tensor [E_CHECKSUM]", said)
    known = "the same bytes" if kind != XOR else "as the same bytes have it, and these in another order"
    if golden.dtype != target.dtype:
        known = "the same bytes as float32"
    return StatedVerdict(PASS, "", f"only checksums are known, both {golden.checksum}: {known}")


def _other_kinds(golden: TensorFacts, target: TensorFacts, kinds: tuple[str, str]) -> StatedVerdict:
    said = f"not comparable: golden has {kinds[0]} {golden.checksum} but target has {kinds[1]} {target.checksum}"
    return StatedVerdict(ERROR, f"{said} [E_CHECKSUM]", f"only checksums are known; {said}")


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
        self.golden, self.target = (_lengths_are_positive(side.statistics or {}) for side in (golden, target))
        shared = _shared(golden, target)
        # The sum was too much for its dtype where no element is: it says nothing.
        self.count = min(math.prod(golden.shape or ()), _MOST_ELEMENTS)
        sides = (self.golden, golden.dtype), (self.target, target.dtype)
        self.beyond = [name for name in shared if any(_is_beyond(name, side, dtype, self.count) for side, dtype in sides)]
        self.names = [name for name in shared if name not in self.beyond]
        self.dtypes = golden.dtype, target.dtype
        self.are_integers = all(dtype and DTYPES[dtype].kind == "int" for dtype in self.dtypes)
        self.decimals = min((side.decimals for side in (golden, target) if side.decimals is not None), default=None)
        kind = checksum_kind(golden.checksum)
        is_comparable = bool(kind) and kind == checksum_kind(target.checksum)
        self.other_bytes = is_comparable and golden.checksum.lower() != target.checksum.lower()
        self.gaps = {name: self._gap(name) for name in self.names}
        # NaN, or the same infinity, on both sides: where in the tensors, and what else is there, is not known.
        self.silent = [name for name in self.names if not math.isfinite(self.golden[name]) and not self.gaps[name]]

    def _gap(self, name: str) -> float:
        """What a statistic of one side differs by from the other's, less what rounding explains; NaN against a number is infinity."""
        one, other = self.golden[name], self.target[name]
        if one == other or (one != one and other != other):
            return 0.0
        gap = abs(one - other)
        if not math.isfinite(gap):
            return math.inf
        if name not in ("mean", "l2norm"):
            is_same = self.are_integers and _as_single(one) == _as_single(other)
            return 0.0 if is_same else max(gap - self._decimal(), 0.0)
        return max(gap - self._decimal() - self._rounding(name), 0.0)

    def _decimal(self) -> float:
        """Two values on both sides of an edge of rounding differ by one in the last decimal, and by what a float makes of that."""
        return 1.01 * 10.0**-self.decimals if self.decimals is not None else 0.0

    def _rounding(self, name: str) -> float:
        """What the mean or the norm is off by for the dtype that it was added up in; of floats only where it has all its digits."""
        if self.decimals is not None and not self.are_integers:
            return 0.0
        bits = [_bits_of_sums(dtype) for dtype in self.dtypes if dtype]
        scale = self._magnitude(name) if self.are_integers else max(abs(self.golden[name]), abs(self.target[name]))
        return _ROUNDING_STEPS * 2.0 ** -min(bits) * scale if bits else 0.0

    def _magnitude(self, name: str) -> float:
        """Of what was added up: positive and negative numbers may have left a small mean."""
        stated = [abs(side[one]) for side in (self.golden, self.target) for one in (name, "max", "min") if one in side]
        return max(value for value in stated if math.isfinite(value))

    def are_of_other_bytes(self) -> bool:
        """True where the statistics cannot be those of the same bytes, in whatever order these were added up."""
        return any(
            gap and (name not in ("mean", "l2norm") or math.isinf(gap) or gap > _SAME_BYTES * self._magnitude(name))
            for name, gap in self.gaps.items()
        )

    def verdict(self, rules: Rules, matched: Sequence[int]) -> StatedVerdict:
        detail = f"only statistics are known: {self.compared()}"
        if any(math.isinf(gap) for gap in self.gaps.values()):
            name = next(name for name, gap in self.gaps.items() if math.isinf(gap))
            return StatedVerdict(
                FAIL, f"{name} {self.golden[name]:g} against {self.target[name]:g} (rule: non-finite) [E_STATS_ONLY]", detail
            )
        if len(self.silent) == len(self.names):
            return StatedVerdict(ERROR, "no statistic is finite, and so none says anything of the elements [E_STATS_ONLY]", detail)
        if not all(self.dtypes):
            is_equal = not any(self.gaps.values()) and not self.other_bytes
            reason = "" if is_equal else f"{self.compared()}, and of a dtype that is not known nothing may differ [E_STATS_ONLY]"
            return StatedVerdict(PASS if is_equal else FAIL, reason, detail)
        thresholds = rules.for_pairs(*self.dtypes, matched)
        if thresholds is None:
            said = f"{self.dtypes[0]} against {self.dtypes[1]} and no scale is known; give --scale or a --threshold"
            return StatedVerdict(FAIL, said, detail)
        if rules.scale_known and needs_scale(*self.dtypes):
            said = f"{self.dtypes[0]} against {self.dtypes[1]} with --scale, and statistics say nothing of scaled elements [E_STATS_ONLY]"
            return StatedVerdict(ERROR, said, detail)
        bounds = self._bounds(legacy=rules.legacy_euclid)
        broken = [said for threshold in thresholds if (said := _broken(threshold, bounds))]
        reason = "; ".join([*broken, "by statistics alone [E_STATS_ONLY]"]) if broken else ""
        return StatedVerdict(FAIL if broken else PASS, reason, detail)

    def compared(self) -> str:
        """Which statistics differ, to how many digits the others are the same, and which say nothing."""
        differing = [name for name in self.names if self.gaps[name]]
        said = [f"{name} {self.golden[name]:.9g} against {self.target[name]:.9g}" for name in differing]
        same = [name for name in self.names if not self.gaps[name] and name not in self.silent]
        for words, names in self._by_equality(same).items():
            said.append(f"{', '.join(names)} {words}")
        said += [f"{name} is {self.golden[name]:g} on both sides, which says nothing more" for name in self.silent]
        if self.beyond:
            said.append(f"{', '.join(self.beyond)} not compared, beyond the range of the dtype where max and min are not")
        if self.other_bytes:
            said.append("checksums differ")
        return "; ".join(said)

    def _by_equality(self, names: Sequence[str]) -> dict[str, list[str]]:
        words: dict[str, list[str]] = {}
        for name in names:
            words.setdefault(self._how_equal(name), []).append(name)
        return words

    def _how_equal(self, name: str) -> str:
        if self.decimals is not None and abs(self.golden[name] - self.target[name]) <= self._decimal():
            return f"agree to {self.decimals} decimals"
        return "are equal in all digits" if self.golden[name] == self.target[name] else "agree but for rounding"

    def _bounds(self, *, legacy: bool) -> dict[str, float]:
        """The least that metrics of the pair can be; NaN where that is not known."""
        largest = max((self.gaps.get(name, 0.0) for name in ("max", "min")), default=0.0)
        mean = self.gaps.get("mean", 0.0)
        root = math.sqrt(self.count) if self.count else 1.0
        least = max(largest, self.gaps.get("l2norm", 0.0), root * mean)
        distance = least and _ratio(least, self._golden_norm(root))
        return {
            "relative_euclidean_distance": distance * distance if legacy else distance,
            "root_mean_square_error": least / root,
            "max_absolute_error": max(largest, least / root),
            "mean_absolute_error": mean,
            "mismatch_count": float(any(self.gaps.values()) or (self.other_bytes and self.dtypes[0] == self.dtypes[1])),
        }

    def _golden_norm(self, root: float) -> float:
        """At most so long is golden as a vector; infinity where nothing finite says so."""
        extremes = [abs(self.golden.get(name, math.inf)) for name in ("max", "min")]
        limits = self.golden.get("l2norm", math.inf), root * max(extremes) if all(map(math.isfinite, extremes)) else math.inf
        return min((limit for limit in limits if math.isfinite(limit)), default=math.inf)


def _lengths_are_positive(statistics: Mapping[str, float]) -> dict[str, float]:
    """As they are stated; msprobe has the number itself as the norm of a tensor without axes, which may be negative."""
    return {name: abs(value) if name == "l2norm" else value for name, value in statistics.items()}


def _is_beyond(name: str, side: Mapping[str, float], dtype: str, count: int) -> bool:
    """True for a sum that is infinite although no element is, and may be: so many and so large ones are beyond the range of a dtype."""
    extremes = [abs(side.get(one, math.inf)) for one in ("max", "min")]
    if name not in ("mean", "l2norm") or not dtype or not math.isinf(side[name]) or not all(map(math.isfinite, extremes)):
        return False
    largest = count * (max(extremes) ** 2 if name == "l2norm" and max(extremes) < _LARGEST_ROOT else max(extremes))
    exponent = DTYPES[dtype].max_exponent or _SINGLE_EXPONENT
    return largest >= 2.0 ** (min(exponent, _SINGLE_EXPONENT) + 1)


def _bits_of_sums(dtype: str) -> int:
    known = DTYPES[dtype]
    return _SINGLE_BITS if known.kind in ("int", "bool") else min(max(known.significand_bits, _LEAST_BITS), _SINGLE_BITS)


def _as_single(value: float) -> float:
    """Rounded to float32, as some tools do with integers before they look for the largest."""
    return float(np.float32(value)) if abs(value) < _LARGEST_INTEGER else value


def _ratio(least: float, norm: float) -> float:
    if math.isinf(norm):
        return math.nan
    return least / norm if norm else math.inf


def _broken(threshold: Threshold, bounds: Mapping[str, float]) -> str:
    """Why a threshold is broken, "" where it may hold. A metric of which statistics say nothing is empty, and so breaks it."""
    if threshold.metric not in bounds or threshold.metric in LARGER_IS_BETTER or threshold.symbol not in ("<", "<=", "=="):
        return threshold.broken_by(math.nan)
    least = bounds[threshold.metric]
    if math.isnan(least):
        return threshold.broken_by(least)
    may_hold = least <= threshold.limit if threshold.symbol == "==" else bool(threshold.holds(least))
    return "" if may_hold else f"{threshold.broken_by(least)} at the least"
