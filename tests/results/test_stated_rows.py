"""Verdicts by statistics and checksums: never more than they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcmp.options import CompareOptions, Rule
from fastcmp.outcome import TensorFacts
from fastcmp.results.stated_rows import StatedVerdict, is_stated, judge_stated
from fastcmp.verdict import Rules


def facts(
    dtype: str = "float32", shape: tuple[int, ...] = (4,), decimals: int | None = None, checksum: str = "", **statistics: float
) -> TensorFacts:
    return TensorFacts(dtype, shape, statistics=statistics, decimals=decimals, checksum=checksum)


def judged(golden: TensorFacts, target: TensorFacts, *thresholds: str, **changes: Any) -> StatedVerdict:
    rules = Rules.from_options(CompareOptions(thresholds=thresholds, **changes))
    return judge_stated(golden, target, rules, tuple(range(len(changes.get("rules", ())))))


def of(values: np.ndarray, dtype: str = "float32") -> TensorFacts:
    wide = values.astype(np.float64)
    return facts(dtype, values.shape, max=wide.max(), min=wide.min(), mean=wide.mean(), l2norm=float(np.sqrt(np.square(wide).sum())))


ALL = {"max": 2.0, "min": -1.0, "mean": 0.5, "l2norm": 3.0}


@pytest.mark.parametrize(
    ("golden", "target", "verdict", "reason", "detail"),
    [
        (facts(**ALL), facts(**ALL), "pass", "", "only statistics are known: max, min, mean, l2norm are equal in all digits"),
        (
            facts(**ALL, decimals=6),
            facts(**{**ALL, "max": 2.000001}, decimals=6),
            "pass",
            "",
            "only statistics are known: max, min, mean, l2norm agree to 6 decimals",
        ),
        (
            facts(**ALL),
            facts(**{**ALL, "l2norm": 3.0 + 2e-7}),
            "pass",
            "",
            "only statistics are known: max, min, mean, l2norm agree but for rounding",
        ),
        (
            facts("bfloat16", **ALL),
            facts("bfloat16", **{**ALL, "max": 2.0625}),
            "pass",
            "",
            "only statistics are known: max 2 against 2.0625; min, mean, l2norm are equal in all digits",
        ),
        (
            facts("bfloat16", **ALL),
            facts("bfloat16", **{**ALL, "max": 2.25}),
            "fail",
            "relative_euclidean_distance 0.0833 > 0.05 (rule: default bfloat16) at the least; by statistics alone [E_STATS_ONLY]",
            "only statistics are known: max 2 against 2.25; min, mean, l2norm are equal in all digits",
        ),
        (
            facts("int64", max=5, min=0),
            facts("int64", max=6, min=0),
            "fail",
            "mismatch_count 1 != 0 (rule: default int64) at the least; by statistics alone [E_STATS_ONLY]",
            "only statistics are known: max 5 against 6; min are equal in all digits",
        ),
        (
            facts("bool", max=1, min=0),
            facts("bool", max=1, min=0),
            "pass",
            "",
            "only statistics are known: max, min are equal in all digits",
        ),
        (
            facts(**{**ALL, "max": math.nan}),
            facts(**ALL),
            "fail",
            "max nan against 2 (rule: non-finite) [E_STATS_ONLY]",
            "only statistics are known: max nan against 2; min, mean, l2norm are equal in all digits",
        ),
        (
            facts(**{**ALL, "max": math.inf}),
            facts(**{**ALL, "max": -math.inf}),
            "fail",
            "max inf against -inf (rule: non-finite) [E_STATS_ONLY]",
            "only statistics are known: max inf against -inf; min, mean, l2norm are equal in all digits",
        ),
        (
            facts(max=math.nan, min=math.inf),
            facts(max=math.nan, min=math.inf),
            "pass",
            "",
            "only statistics are known: max, min are equal in all digits",
        ),
        (
            facts("int32", max=1.0),
            facts("float32", max=1.0),
            "fail",
            "int32 against float32 and no scale is known; give --scale or a --threshold",
            "only statistics are known: max are equal in all digits",
        ),
        (facts("", max=1.0), facts("", max=1.0), "pass", "", "only statistics are known: max are equal in all digits"),
        (
            facts("", max=1.0),
            facts("float32", max=1.5),
            "fail",
            "max 1 against 1.5, and of a dtype that is not known nothing may differ [E_STATS_ONLY]",
            "only statistics are known: max 1 against 1.5",
        ),
        (
            facts(shape=(2, 3), max=1.0),
            facts(shape=(3, 2), max=1.0),
            "fail",
            "golden has shape (2, 3) but target has shape (3, 2) [E_SHAPE]",
            "only statistics are known",
        ),
        (facts(shape=(1, 4), max=1.0), facts(shape=(4,), max=1.0), "pass", "", "only statistics are known: max are equal in all digits"),
        (facts(shape=(0, 3)), facts(shape=(0, 3)), "pass", "", "there is no element on either side"),
        (
            facts(shape=(0, 3)),
            facts(shape=(0, 4)),
            "fail",
            "golden has shape (0, 3) but target has shape (0, 4) [E_SHAPE]",
            "only statistics are known",
        ),
        (facts(checksum="AB12"), facts(checksum="ab12"), "pass", "", "only checksums are known, both AB12: the same bytes"),
        (
            facts(checksum="ab12"),
            facts(checksum="cd34"),
            "fail",
            "checksums differ: ab12 against cd34; by how much, a checksum does not say [E_CHECKSUM]",
            "only checksums are known, ab12 against cd34",
        ),
        (
            facts("float16", checksum="ab12"),
            facts("float32", checksum="cd34"),
            "error",
            "float16 and float32 have checksums of different bytes [E_CHECKSUM]",
            "only checksums are known; float16 and float32 have checksums of different bytes, equal tensors too",
        ),
        (
            facts(checksum="ab12", **ALL),
            facts(checksum="cd34", **ALL),
            "pass",
            "",
            "only statistics are known: max, min, mean, l2norm are equal in all digits; checksums differ",
        ),
        (
            facts("int64", checksum="ab12", max=3.0),
            facts("int64", checksum="cd34", max=3.0),
            "fail",
            "mismatch_count 1 != 0 (rule: default int64) at the least; by statistics alone [E_STATS_ONLY]",
            "only statistics are known: max are equal in all digits; checksums differ",
        ),
        (
            facts(l2norm=0.0),
            facts(l2norm=1.0),
            "fail",
            "relative_euclidean_distance inf > 0.0001 (rule: default float32) at the least; by statistics alone [E_STATS_ONLY]",
            "only statistics are known: l2norm 0 against 1",
        ),
    ],
)
def test_verdicts(golden: TensorFacts, target: TensorFacts, verdict: str, reason: str, detail: str) -> None:
    assert judged(golden, target) == StatedVerdict(verdict, reason, detail)


@pytest.mark.parametrize(
    ("threshold", "verdict", "reason"),
    [
        ("relative_euclidean_distance <= 0.2", "pass", ""),
        ("relative_euclidean_distance <= 0.05", "fail", "relative_euclidean_distance 0.1 > 0.05 (rule: --threshold) at the least"),
        ("max_absolute_error <= 0.05", "fail", "max_absolute_error 0.3 > 0.05 (rule: --threshold) at the least"),
        ("mean_absolute_error < 1", "pass", ""),
        ("cosine_similarity >= 0.9", "fail", "cosine_similarity is empty, expected >= 0.9 (rule: --threshold)"),
        ("kl_divergence <= 1", "fail", "kl_divergence is empty, expected <= 1 (rule: --threshold)"),
        ("max_absolute_error > 0.01", "fail", "max_absolute_error is empty, expected > 0.01 (rule: --threshold)"),
    ],
)
def test_thresholds_hold_where_the_least_error_holds_and_an_unknown_metric_breaks_its_own(
    threshold: str, verdict: str, reason: str
) -> None:
    # The default is out of the way: a gap of 0.3 in the maximum, a norm of 3.
    found = judged(facts("bfloat16", **ALL), facts("bfloat16", **{**ALL, "max": 2.3}), threshold, "relative_euclidean_distance <= 0.2")
    if threshold.startswith("relative"):
        found = judged(facts("bfloat16", **ALL), facts("bfloat16", **{**ALL, "max": 2.3}), threshold)
    assert (found.verdict, found.reason.partition("; by statistics")[0]) == (verdict, reason)


def test_rules_by_name_count() -> None:
    golden, target = facts("bfloat16", **ALL), facts("bfloat16", **{**ALL, "max": 2.25})
    assert judged(golden, target).verdict == "fail"
    assert judged(golden, target, rules=(Rule(thresholds=("relative_euclidean_distance <= 0.5",)),)).verdict == "pass"


def test_the_original_distance_without_its_root_is_bounded_by_the_square() -> None:
    golden, target = facts(**ALL), facts(**{**ALL, "l2norm": 3.3})
    assert "relative_euclidean_distance 0.01 > 1e-08" in judged(golden, target, compat_euclid="legacy").reason


@given(
    st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=1, max_size=30),
    st.sampled_from([("l2norm", "max", "min", "mean"), ("max", "min"), ("mean", "max"), ("l2norm",)]),
)
def test_no_bound_is_larger_than_the_error_itself(pairs: list[tuple[int, int]], names: tuple[str, ...]) -> None:
    golden, target = np.array(pairs, np.float64).T / 8
    distance, length = float(np.linalg.norm(target - golden)), float(np.linalg.norm(golden))
    truth = {
        "relative_euclidean_distance": distance / length if length else math.inf if distance else 0.0,
        "max_absolute_error": np.abs(target - golden).max(),
        "mean_absolute_error": np.abs(target - golden).mean(),
        "root_mean_square_error": distance / math.sqrt(len(pairs)),
    }
    sides = []
    for values in (golden, target):
        known = of(values, "float64").statistics or {}
        sides.append(facts("float64", values.shape, **{name: known[name] for name in names}))
    for metric, value in truth.items():
        if math.isfinite(value):
            assert not [
                said for said in judged(*sides, f"{metric} <= {value * (1 + 1e-9):.17e}").reason.split("; ") if said.startswith(metric)
            ]


@pytest.mark.parametrize(
    ("golden", "target", "expected"),
    [
        (facts(max=1.0), facts(max=2.0), True),
        (facts(max=1.0), facts(min=2.0), False),
        (facts(max=1.0), TensorFacts(), False),
        (facts(checksum="a"), facts(max=1.0), False),
        (facts(shape=(0,)), facts(shape=(0,)), True),
        (facts(shape=(0,)), facts(max=1.0), False),
        (facts(checksum="a"), facts(checksum="b"), True),
    ],
)
def test_without_anything_that_both_sides_state_there_is_no_verdict(golden: TensorFacts, target: TensorFacts, expected: bool) -> None:
    assert is_stated(golden, target) is expected
