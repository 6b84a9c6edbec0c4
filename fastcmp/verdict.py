"""Verdicts: which rows pass, which fail and by which rule, where the first divergence is, and what the command ends with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastcmp.errors import EXIT_DIFFERENT, EXIT_ERROR, EXIT_OK
from fastcmp.metric_functions import parse_metrics
from fastcmp.options import CompareOptions
from fastcmp.rule_book import IDLE_RULE, RuleBook
from fastcmp.thresholds import (
    FAILS_EQUAL_PAIRS,
    Threshold,
    default_threshold,
    equal_pairs_fail,
    measures_error,
    needs_scale,
    parse_threshold,
)

PASS: Final = "pass"
FAIL: Final = "fail"
ERROR: Final = "error"

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What rows are judged by.

    Attributes
    ----------
    thresholds : tuple of Threshold
        What the user gave; each replaces the default of its metric and what rules say about it, and all must hold.
    by_name : RuleBook
        For pairs of some names and dtypes; the last one that speaks of a metric replaces its default.
    scale_known : bool
        Integers against floats were scaled.
    legacy_euclid : bool
        relative_euclidean_distance comes without its square root.
    allow_unpaired : {"none", "golden", "target", "both"}
    """

    thresholds: tuple[Threshold, ...] = ()
    by_name: RuleBook = RuleBook()  # noqa: RUF009 - never changed
    scale_known: bool = False
    legacy_euclid: bool = False
    allow_unpaired: str = "none"

    @classmethod
    def from_options(cls, options: CompareOptions, custom: Sequence[str] | None = None) -> Rules:
        """The rules that ``options`` ask for; `UsageError` for a threshold that cannot be read.

        ``custom`` are the names of the user's own metrics, those of the options if it is left out.
        """
        if custom is None:
            custom = [metric.name for metric in parse_metrics(options.metrics)]
        return cls(
            thresholds=tuple(parse_threshold(text, custom=custom) for text in options.thresholds),
            by_name=RuleBook(options.rules, custom),
            scale_known=options.scale is not None,
            legacy_euclid=options.compat_euclid == "legacy",
            allow_unpaired=options.allow_unpaired,
        )

    def remarks(self, data_ids: Sequence[str]) -> list[str]:
        """Warnings about thresholds that nobody can have meant, and rules that match none of these names."""
        return [*equal_pairs_fail((*self.by_name.thresholds, *self.thresholds)), *self.by_name.idle(data_ids)]

    def for_pairs(self, golden_dtype: str, target_dtype: str, matched: Sequence[int] = ()) -> tuple[Threshold, ...] | None:
        """The thresholds of pairs of these storage dtypes whose name the rules ``matched``.

        None if nothing is known about what their integers are worth, and nothing that was said about such pairs measures their error, or
        switches off the metric that would.
        """
        said = self.by_name.said(matched, golden_dtype, target_dtype)
        given = {threshold.metric for threshold in self.thresholds}
        by_rules = [threshold for metric, thresholds in said.items() if metric not in given for threshold in thresholds]
        default = default_threshold(golden_dtype, target_dtype, legacy_euclid=self.legacy_euclid)
        if needs_scale(golden_dtype, target_dtype) and not self.scale_known:
            judging = (*by_rules, *self.thresholds)
            is_judged = default.metric in said or any(measures_error(threshold.metric) for threshold in judging)
            return judging if is_judged else None
        defaults = () if default.metric in given or default.metric in said else (default,)
        return (*defaults, *by_rules, *self.thresholds)


def is_about_rules(warning: str) -> bool:
    """True for what `Rules.remarks` says."""
    return bool(IDLE_RULE.fullmatch(warning) or FAILS_EQUAL_PAIRS.fullmatch(warning))


def numbers(values: Any) -> np.ndarray:
    """A metric column as float64, NaN where it is empty (None, masked or NaN)."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    array = np.asarray(values)
    if array.dtype == object:
        array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return array.astype(np.float64, copy=False)


def judge(
    rules: Rules,
    data_ids: Sequence[str],
    golden_dtypes: Sequence[str],
    target_dtypes: Sequence[str],
    golden_shapes: Sequence[Shape],
    target_shapes: Sequence[Shape],
    metrics: Mapping[str, Any],
) -> tuple[list[str], list[str]]:
    """Verdict and reason of every compared pair.

    Parameters
    ----------
    rules : Rules
    data_ids : sequence of str, one per compared pair
        As the report shows them.
    golden_dtypes, target_dtypes : sequence of str
        Storage dtypes.
    golden_shapes, target_shapes : sequence of tuple of int
    metrics : mapping of str to column
        Metric columns, one entry per compared pair; empty entries are None, masked or NaN.

    Returns
    -------
    verdicts, reasons : list of str
        ``pass`` or ``fail``; the reason names every broken rule and is empty for a pass.
    """
    count = len(golden_dtypes)
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    _judge_shapes(golden_shapes, target_shapes, reasons)
    mismatches = numbers(metrics["nonfinite_mismatch_count"])
    for position in np.flatnonzero(mismatches > 0).tolist():
        reasons[position].append(f"nonfinite_mismatch_count {int(mismatches[position])} > 0 (rule: non-finite)")

    # Nothing to judge: no element, or none that is finite on both sides while NaN meets NaN everywhere.
    empty = (numbers(metrics["element_count"]) == 0) | (np.isnan(numbers(metrics["max_absolute_error"])) & (mismatches == 0))
    columns: dict[str, np.ndarray] = {}
    class_of, matched = rules.by_name.classes(data_ids)
    for (golden_dtype, target_dtype), positions in _by_dtypes(golden_dtypes, target_dtypes).items():
        judged = positions[~empty[positions]]
        for number in np.unique(class_of[judged]).tolist():
            thresholds = rules.for_pairs(golden_dtype, target_dtype, matched[number])
            _judge_alike(thresholds, judged[class_of[judged] == number], metrics, columns, reasons, (golden_dtype, target_dtype))
    verdicts, texts = [PASS] * count, [""] * count
    for position, broken in reasons.items():
        verdicts[position], texts[position] = FAIL, "; ".join(broken)
    return verdicts, texts


def _judge_alike(
    thresholds: Sequence[Threshold] | None,
    judged: np.ndarray,
    metrics: Mapping[str, Any],
    columns: dict[str, np.ndarray],
    reasons: defaultdict[int, list[str]],
    dtypes: tuple[str, str],
) -> None:
    """Judge the pairs at positions ``judged``, of these dtypes, that are all under the same thresholds."""
    if thresholds is None:
        for position in judged.tolist():
            reasons[position].append(f"{dtypes[0]} against {dtypes[1]} and no scale is known; give --scale or a --threshold")
        return
    for threshold in thresholds:
        if threshold.metric not in columns:
            columns[threshold.metric] = numbers(metrics[threshold.metric])
        values = columns[threshold.metric]
        for position in judged[~threshold.holds(values[judged])].tolist():
            reasons[position].append(threshold.broken_by(float(values[position])))


def _judge_shapes(golden_shapes: Sequence[Shape], target_shapes: Sequence[Shape], reasons: defaultdict[int, list[str]]) -> None:
    if golden_shapes == target_shapes:
        return
    for position, (golden, target) in enumerate(zip(golden_shapes, target_shapes, strict=True)):
        if golden != target and not same_but_for_ones(golden, target):
            reasons[position].append(f"golden has shape {golden} but target has shape {target} [E_SHAPE]")


def same_but_for_ones(golden: Shape, target: Shape) -> bool:
    """True if both shapes are equal after dropping axes of length 1."""
    return [extent for extent in golden if extent != 1] == [extent for extent in target if extent != 1]


def _by_dtypes(golden_dtypes: Sequence[str], target_dtypes: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    both = list(zip(golden_dtypes, target_dtypes, strict=True))
    if len(set(both)) == 1:
        return {both[0]: np.arange(len(both))}
    groups: dict[tuple[str, str], list[int]] = {}
    for position, dtypes in enumerate(both):
        groups.setdefault(dtypes, []).append(position)
    return {dtypes: np.array(positions, dtype=np.intp) for dtypes, positions in groups.items()}


def judge_uncompared(rules: Rules, code: str, only_side: str = "") -> tuple[str, str]:
    """Verdict and reason of a row without metrics.

    Parameters
    ----------
    rules : Rules
    code : str
        Its error code.
    only_side : {"", "golden", "target"}
        For ``E_UNPAIRED``: the side that has the tensor.
    """
    if code == "E_UNPAIRED":
        if rules.allow_unpaired in (only_side, "both"):
            return PASS, f"only {only_side} has this tensor, which --allow-unpaired {rules.allow_unpaired} permits"
        return FAIL, f"only {only_side} has this tensor [{code}]"
    if code == "E_SHAPE":
        return FAIL, f"the element counts differ [{code}]"
    return ERROR, f"not compared [{code}]"


def first_divergence(has_failed: np.ndarray, execution_orders: np.ndarray, unpaired: np.ndarray) -> int | None:
    """Position of the failed *pair* that ran first, None if no pair failed; all three have one entry per row.

    A tensor that stands alone is no divergence: nothing was computed differently where nothing can be compared.
    """
    candidates = np.flatnonzero(has_failed & ~unpaired)
    return int(candidates[np.argmin(execution_orders[candidates])]) if candidates.size else None


def exit_code(*, pairs: int, failed: int, errors: int, unpaired_refused: int) -> int:
    """What the command ends with, like ``diff``: 2 beats 1 beats 0.

    Parameters
    ----------
    pairs : int
        Rows with both sides; a run without any ends with 2.
    failed, errors : int
        Pairs that failed, and pairs that could not be compared.
    unpaired_refused : int
        Rows with one side only that no ``--allow-unpaired`` covers.
    """
    if errors or not pairs:
        return EXIT_ERROR
    return EXIT_DIFFERENT if failed or unpaired_refused else EXIT_OK
