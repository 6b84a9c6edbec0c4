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


CRC, OTHER = "29dd1225", "8465ff67"
XOR, MD5 = "0xfd2f9b28029d03c4", "d41d8cd98f00b204e9800998ecf8427e"
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
            "only statistics are known: max, min, mean are equal in all digits; l2norm agree but for rounding",
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
            "error",
            "no statistic is finite, and so none says anything of the elements [E_STATS_ONLY]",
            "only statistics are known: max is nan on both sides, which says nothing more; min is inf on both sides, which says nothing more",
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
        (facts(checksum="AB12AB12"), facts(checksum="ab12ab12"), "pass", "", "only checksums are known, both AB12AB12: the same bytes"),
        (
            facts(checksum="ab12ab12"),
            facts(checksum="cd34cd34"),
            "fail",
            "checksums differ: ab12ab12 against cd34cd34; by how much, a checksum does not say [E_CHECKSUM]",
            "only checksums are known, ab12ab12 against cd34cd34",
        ),
        (
            facts("float16", checksum="ab12ab12"),
            facts("float32", checksum="cd34cd34"),
            "error",
            "float16 and float32 have checksums of different bytes [E_CHECKSUM]",
            "only checksums are known; float16 and float32 have checksums of different bytes, equal tensors too",
        ),
        (
            facts("bfloat16", checksum=CRC),
            facts("float32", checksum=CRC),
            "pass",
            "",
            f"only checksums are known, both {CRC}: the same bytes as float32",
        ),
        (
            facts("float32", checksum=CRC, max=500.0),
            facts("bfloat16", checksum=CRC, max=2.0),
            "error",
            f"checksums agree, both {CRC}, and statistics do not: max 500 against 2; one of them is not of this tensor [E_CHECKSUM]",
            f"checksums agree, both {CRC}, and statistics do not: max 500 against 2",
        ),
        (
            facts("bfloat16", checksum=XOR),
            facts("float32", checksum=XOR),
            "error",
            "bfloat16 and float32 have checksums of different bytes [E_CHECKSUM]",
            "only checksums are known; bfloat16 and float32 have checksums of different bytes, equal tensors too",
        ),
        (
            facts(checksum="ab12ab12", **ALL),
            facts(checksum="cd34cd34", **ALL),
            "pass",
            "",
            "only statistics are known: max, min, mean, l2norm are equal in all digits; checksums differ",
        ),
        (
            facts("int64", checksum="ab12ab12", max=3.0),
            facts("int64", checksum="cd34cd34", max=3.0),
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
                said
                for said in judged(*sides, f"{metric} <= {value * (1 + 1e-9):.17e}").reason.split("; ")
                if said.startswith(metric) and "is empty" not in said
            ]


@pytest.mark.parametrize(
    ("golden", "target", "expected"),
    [
        (facts(max=1.0), facts(max=2.0), True),
        (facts(max=1.0), facts(min=2.0), False),
        (facts(max=1.0), TensorFacts(), False),
        (facts(checksum=CRC), facts(max=1.0), False),
        (facts(shape=(0,)), facts(shape=(0,)), True),
        (facts(shape=(0,)), facts(max=1.0), False),
        (facts(checksum=CRC), facts(checksum="0x" + CRC * 2), True),
        (facts(checksum="N/A"), facts(checksum="N/A"), False),
        (facts(checksum="0" * 9), facts(checksum="0" * 9), False),
        (facts(checksum=CRC, max=1.0), facts(checksum="", max=1.0), True),
    ],
)
def test_without_anything_that_both_sides_state_there_is_no_verdict(golden: TensorFacts, target: TensorFacts, expected: bool) -> None:
    assert is_stated(golden, target) is expected


INF, NAN = math.inf, math.nan
EMPTY = "relative_euclidean_distance is empty, expected <= {} (rule: default {}); by statistics alone [E_STATS_ONLY]"


@pytest.mark.parametrize(
    ("golden", "target", "verdict", "reason", "detail"),
    [
        (  # norms of float16 that went beyond it
            facts("float16", max=1.0, min=0.0, l2norm=INF),
            facts("float16", max=60000.0, min=0.0, l2norm=INF),
            "fail",
            "relative_euclidean_distance 3e+04 > 0.01 (rule: default float16) at the least; by statistics alone [E_STATS_ONLY]",
            "max 1 against 60000; min are equal in all digits; l2norm not compared, beyond the range of the dtype where max and min are not",
        ),
        (
            facts("float16", (200,), max=60.0, min=0.0, l2norm=INF),
            facts("float16", (200,), max=60.0, min=0.0, l2norm=800.0),
            "pass",
            "",
            "max, min are equal in all digits; l2norm not compared, beyond the range of the dtype where max and min are not",
        ),
        (
            facts(max=INF, min=-1.0, l2norm=INF),
            facts(max=INF, min=-1e6, l2norm=INF),
            "fail",
            EMPTY.format("0.0001", "float32"),
            "min -1 against -1000000; max is inf on both sides, which says nothing more; l2norm is inf on both sides, which says nothing more",
        ),
        (
            facts(max=0.0, min=-INF),
            facts(max=0.0, min=-INF),
            "pass",
            "",
            "max are equal in all digits; min is -inf on both sides, which says nothing more",
        ),
        (facts(max=1.0), facts(max=900.0), "fail", EMPTY.format("0.0001", "float32"), "max 1 against 900"),
        (facts(mean=1.0), facts(mean=500.0), "fail", EMPTY.format("0.0001", "float32"), "mean 1 against 500"),
        (
            facts(max=1.0, min=-1.0, l2norm=1e30),
            facts(max=900.0, min=-1.0, l2norm=1e30),
            "fail",
            "relative_euclidean_distance 450 > 0.0001 (rule: default float32) at the least; by statistics alone [E_STATS_ONLY]",
            "max 1 against 900; min, l2norm are equal in all digits",
        ),
        (
            facts(max=NAN, min=NAN, mean=NAN, l2norm=NAN),
            facts(max=NAN, min=NAN, mean=NAN, l2norm=NAN),
            "error",
            "no statistic is finite, and so none says anything of the elements [E_STATS_ONLY]",
            "; ".join(f"{name} is nan on both sides, which says nothing more" for name in ("max", "min", "mean", "l2norm")),
        ),
        (
            facts("float16", max=1.0, min=0.0, l2norm=INF),
            facts("float16", max=1.0, min=0.0, l2norm=1.5),
            "fail",
            "l2norm inf against 1.5 (rule: non-finite) [E_STATS_ONLY]",
            "l2norm inf against 1.5; max, min are equal in all digits",
        ),
        (  # some tools look for the largest of the numbers alone
            facts(max=1.0, min=0.0, mean=NAN),
            facts(max=1.0, min=0.0, mean=0.5),
            "fail",
            "mean nan against 0.5 (rule: non-finite) [E_STATS_ONLY]",
            "mean nan against 0.5; max, min are equal in all digits",
        ),
        (
            facts(max=1.0, min=0.0, mean=NAN),
            facts(max=1.0, min=0.0, mean=NAN),
            "pass",
            "",
            "max, min are equal in all digits; mean is nan on both sides, which says nothing more",
        ),
        (
            facts("", max=NAN),
            facts("", max=NAN),
            "error",
            "no statistic is finite, and so none says anything of the elements [E_STATS_ONLY]",
            "max is nan on both sides, which says nothing more",
        ),
    ],
)
def test_what_is_not_finite_makes_no_difference_small(
    golden: TensorFacts, target: TensorFacts, verdict: str, reason: str, detail: str
) -> None:
    assert judged(golden, target) == StatedVerdict(verdict, reason, f"only statistics are known: {detail}")


@pytest.mark.parametrize(
    ("golden", "target", "verdict", "reason"),
    [
        (
            facts(checksum=CRC),
            facts(checksum=XOR),
            "error",
            f"not comparable: golden has a CRC-32 {CRC} but target has an xor of words {XOR}",
        ),
        (facts(checksum=MD5), facts(checksum=CRC), "error", f"not comparable: golden has an MD5 {MD5} but target has a CRC-32 {CRC}"),
        (facts(checksum=XOR), facts(checksum=XOR), "pass", ""),
        (facts(checksum=MD5), facts(checksum=MD5.upper()), "pass", ""),
        (facts("int64", checksum=CRC, max=3.0), facts("int64", checksum=XOR, max=3.0), "pass", ""),
        (facts(checksum=CRC, max=1.0), facts(checksum=OTHER, min=1.0), "fail", f"checksums differ: {CRC} against {OTHER}; by how much"),
        (facts(checksum=CRC, max=1.0), facts(checksum=XOR, min=1.0), "error", "not comparable: golden has a CRC-32"),
        (facts(checksum="N/A", max=1.0), facts(checksum="N/A", max=500.0), "fail", "relative_euclidean_distance is empty"),
        (
            facts(checksum=CRC, **ALL),
            facts(checksum=CRC, **{**ALL, "max": 500.0}),
            "error",
            f"checksums agree, both {CRC}, and statistics do not: max 2 against 500; min, mean, l2norm are equal in all digits; one of them",
        ),
        (
            facts(checksum=CRC, **ALL),
            facts(checksum=CRC, **{**ALL, "max": NAN}),
            "error",
            f"checksums agree, both {CRC}, and statistics do not: max 2 against nan; ",
        ),
        # The same bytes, added up in another order: of positive and negative numbers little is left but rounding.
        (facts(checksum=CRC, **{**ALL, "mean": 1e-9}), facts(checksum=CRC, **{**ALL, "mean": -2e-9}), "pass", ""),
    ],
)
def test_only_checksums_of_one_kind_say_something_and_never_against_statistics(
    golden: TensorFacts, target: TensorFacts, verdict: str, reason: str
) -> None:
    found = judged(golden, target)
    assert (found.verdict, found.reason[: len(reason)] if reason else found.reason) == (verdict, reason)


def test_an_xor_says_nothing_about_the_order_of_bytes() -> None:
    said = f"only checksums are known, both {XOR}: as the same bytes have it, and these in another order"
    assert judged(facts(checksum=XOR), facts(checksum=XOR)) == StatedVerdict("pass", "", said)


@pytest.mark.parametrize("norm", [3.0, -3.0])
def test_the_norm_of_a_negative_tensor_without_axes_is_its_length(norm: float) -> None:
    scalar = {"max": -3.0, "min": -3.0, "mean": -3.0}
    golden, target = facts(shape=(), **scalar, l2norm=norm), facts(shape=(), **scalar, l2norm=3.0)
    assert judged(golden, target).verdict == judged(target, golden).verdict == "pass"


WHOLE = {"max": 150001.0, "min": 0.0, "mean": 75000.123456789, "l2norm": 5542563.218}


@pytest.mark.parametrize(
    ("dtype", "decimals", "changes", "verdict"),
    [
        ("int64", None, {"mean": float(np.float32(75000.123456789)), "l2norm": float(np.float32(5542563.218))}, "pass"),
        ("int32", 6, {"mean": float(np.float32(75000.123456789)), "l2norm": float(np.float32(5542563.218))}, "pass"),
        ("int32", None, {"mean": 75001.0}, "fail"),
        ("int32", None, {"max": 150002.0}, "fail"),
        ("float64", None, {"mean": float(np.float32(75000.123456789))}, "pass"),
    ],
)
def test_integers_and_float64_were_added_up_in_float32(dtype: str, decimals: int | None, changes: dict[str, float], verdict: str) -> None:
    golden, target = facts(dtype, decimals=decimals, **WHOLE), facts(dtype, decimals=decimals, **{**WHOLE, **changes})
    assert judged(golden, target).verdict == judged(target, golden).verdict == verdict


@pytest.mark.parametrize(("other", "verdict"), [(2.0**24, "pass"), (2.0**24 + 4, "fail"), (2.0**100, "fail")])
def test_integers_beyond_float32_are_compared_as_it_rounds_them(other: float, verdict: str) -> None:
    assert judged(facts("int64", max=2.0**24 + 1, min=0.0), facts("int64", max=other, min=0.0)).verdict == verdict


@pytest.mark.parametrize(
    ("dtype", "decimals", "other", "verdict", "words"),
    [
        ("bfloat16", 6, 100.000001, "pass", "l2norm agree to 6 decimals"),
        ("bfloat16", 6, 101.5, "pass", "l2norm 100 against 101.5"),
        ("bfloat16", 6, 106.0, "fail", "l2norm 100 against 106"),
        ("bfloat16", None, 101.5, "pass", "l2norm agree but for rounding"),
        ("float8_e4m3fn", None, 101.5, "pass", "l2norm agree but for rounding"),
        ("float8_e4m3fn", None, 120.0, "fail", "l2norm 100 against 120"),
        ("int8", 6, 100.00001, "pass", "l2norm agree but for rounding"),
    ],
)
def test_only_what_agrees_to_the_decimals_is_said_to(dtype: str, decimals: int | None, other: float, verdict: str, words: str) -> None:
    found = judged(facts(dtype, decimals=decimals, l2norm=100.0), facts(dtype, decimals=decimals, l2norm=other))
    assert (found.verdict, found.detail) == (verdict, f"only statistics are known: {words}")


def test_statistics_of_scaled_integers_are_unknown() -> None:
    golden, target = facts("int8", max=5.0, min=0.0), facts("float32", max=5.0, min=0.0)
    said = "int8 against float32 with --scale, and statistics say nothing of scaled elements [E_STATS_ONLY]"
    detail = "only statistics are known: max, min are equal in all digits"
    assert judged(golden, target, scale=0.1) == StatedVerdict("error", said, detail)


@pytest.mark.parametrize("value", [1.0, 1.7e308, -1.7e308, INF, NAN, 5e-324])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "bool", "complex64", ""])
def test_no_shape_and_no_number_is_too_large(dtype: str, value: float) -> None:
    shape = (2**62,) * 64
    sides = [facts(dtype, shape, max=value, min=-value, mean=value, l2norm=norm) for norm in (INF, value, 2.0)]
    for golden in sides:
        for target in sides:
            assert judged(golden, target).verdict in ("pass", "fail", "error")
            assert judged(golden, target, compat_euclid="legacy").verdict in ("pass", "fail", "error")
