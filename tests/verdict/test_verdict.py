"""Verdicts: who passes, who fails and why, what comes first, what the command ends with."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from fastcmp.errors import CODES, UsageError
from fastcmp.options import CompareOptions, Rule
from fastcmp.thresholds import parse_threshold
from fastcmp.verdict import Rules, exit_code, first_divergence, judge, judge_uncompared

NAN = float("nan")


def verdict(
    golden: str = "float32",
    target: str = "float32",
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((2, 3), (2, 3)),
    rules: Rules | None = None,
    data_id: str = "x",
    **metrics: Any,
) -> tuple[str, str]:
    given = {
        "relative_euclidean_distance": 0.0,
        "mismatch_count": 0,
        "nonfinite_mismatch_count": 0,
        "element_count": 6,
        "max_absolute_error": 0.0,
        "cosine_similarity": 1.0,
        "kl_divergence": None,
    }
    columns = {name: [value] for name, value in {**given, **metrics}.items()}
    verdicts, reasons = judge(rules or Rules(), [data_id], [golden], [target], [shapes[0]], [shapes[1]], columns)
    return verdicts[0], reasons[0]


def rules(*thresholds: str, **more: Any) -> Rules:
    return Rules(thresholds=tuple(map(parse_threshold, thresholds)), **more)


def test_equal_tensors_pass_without_a_word() -> None:
    assert verdict() == ("pass", "")


@pytest.mark.parametrize(("target", "limit"), [("float32", 1e-4), ("float16", 1e-2), ("bfloat16", 5e-2), ("float8_e5m2", 1.5e-1)])
def test_the_limit_itself_passes_and_the_next_float_fails(target: str, limit: float) -> None:
    assert verdict(target=target, relative_euclidean_distance=limit) == ("pass", "")
    above = float(np.nextafter(limit, 1))
    assert verdict(target=target, relative_euclidean_distance=above)[0] == "fail"


def test_the_reason_names_value_limit_and_rule() -> None:
    assert verdict(target="float16", relative_euclidean_distance=0.031) == (
        "fail",
        "relative_euclidean_distance 0.031 > 0.01 (rule: default float16)",
    )


def test_integers_must_be_equal() -> None:
    assert verdict("int64", "int64", mismatch_count=1, relative_euclidean_distance=1e-18) == (
        "fail",
        "mismatch_count 1 != 0 (rule: default int64)",
    )
    assert verdict("bool", "bool", mismatch_count=0) == ("pass", "")


def test_an_integer_against_a_float_fails_until_a_scale_or_a_rule_is_known() -> None:
    reason = "int8 against float32 and no scale is known; give --scale or a --threshold"
    assert verdict("int8", "float32") == ("fail", reason)
    assert verdict("int8", "float32", rules=rules(scale_known=True), relative_euclidean_distance=0.01) == ("pass", "")
    assert verdict("int8", "float32", rules=rules("cosine_similarity >= 0.9")) == ("pass", "")


def test_a_threshold_replaces_only_its_own_metric() -> None:
    loose = rules("relative_euclidean_distance <= 0.5")
    assert verdict(rules=loose, relative_euclidean_distance=0.4) == ("pass", "")
    both = rules("cosine_similarity >= 0.999")
    assert verdict(rules=both, relative_euclidean_distance=0.4, cosine_similarity=0.5) == (
        "fail",
        "relative_euclidean_distance 0.4 > 0.0001 (rule: default float32); cosine_similarity 0.5 < 0.999 (rule: --threshold)",
    )


@pytest.mark.parametrize("threshold", ["relative_euclidean_distance <= 9", "cosine_similarity >= -1"])
def test_no_threshold_switches_off_the_nonfinite_and_shape_rules(threshold: str) -> None:
    assert verdict(rules=rules(threshold), nonfinite_mismatch_count=2) == ("fail", "nonfinite_mismatch_count 2 > 0 (rule: non-finite)")
    assert verdict(rules=rules(threshold), shapes=((2, 3), (3, 2))) == (
        "fail",
        "golden has shape (2, 3) but target has shape (3, 2) [E_SHAPE]",
    )


def test_axes_of_length_one_are_no_difference() -> None:
    assert verdict(shapes=((1, 2, 3), (2, 3, 1))) == ("pass", "")
    assert verdict(shapes=((), (1, 1))) == ("pass", "")


@pytest.mark.parametrize("empty", [None, NAN])
def test_an_empty_metric_fails_its_threshold(empty: float | None) -> None:
    assert verdict(rules=rules("kl_divergence <= 1"), kl_divergence=empty) == (
        "fail",
        "kl_divergence is empty, expected <= 1 (rule: --threshold)",
    )


def test_nothing_to_judge_passes() -> None:
    nothing = {"relative_euclidean_distance": None, "max_absolute_error": None, "cosine_similarity": None}
    assert verdict(element_count=0, **nothing) == ("pass", "")
    assert verdict(**nothing) == ("pass", "")
    assert verdict(nonfinite_mismatch_count=6, **nothing) == (
        "fail",
        "nonfinite_mismatch_count 6 > 0 (rule: non-finite); relative_euclidean_distance is empty, expected <= 0.0001 (rule: default float32)",
    )


def test_masked_columns_are_empty_where_masked() -> None:
    columns = {
        "relative_euclidean_distance": np.ma.masked_array([0.0, 9.0], [False, True]),
        "nonfinite_mismatch_count": np.zeros(2, np.int64),
        "element_count": np.full(2, 6),
        "max_absolute_error": np.ma.masked_array([0.0, 9.0], [False, True]),
    }
    assert judge(Rules(), ["x"] * 2, ["float32"] * 2, ["float32"] * 2, [(6,)] * 2, [(6,)] * 2, columns)[0] == ["pass", "pass"]


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_error_code_has_a_verdict_and_a_reason(code: str) -> None:
    word, reason = judge_uncompared(Rules(), code, "golden")
    assert word == ("fail" if code in ("E_SHAPE", "E_UNPAIRED") else "error")
    assert reason.endswith(f"[{code}]")


@pytest.mark.parametrize(
    ("allowed", "side", "word"),
    [
        ("none", "golden", "fail"),
        ("golden", "golden", "pass"),
        ("golden", "target", "fail"),
        ("target", "target", "pass"),
        ("both", "golden", "pass"),
    ],
)
def test_allowed_sides_may_stand_alone(allowed: str, side: str, word: str) -> None:
    assert judge_uncompared(Rules(allow_unpaired=allowed), "E_UNPAIRED", side)[0] == word


def test_rules_come_from_the_options() -> None:
    made = Rules.from_options(CompareOptions(thresholds=("mismatch_count < 3",), scale=0.5, compat_euclid="legacy", allow_unpaired="both"))
    assert (made.thresholds[0].metric, made.scale_known, made.legacy_euclid, made.allow_unpaired) == ("mismatch_count", True, True, "both")
    with pytest.raises(UsageError, match="--threshold 'x'"):
        Rules.from_options(CompareOptions(thresholds=("x",)))


def test_first_divergence_goes_by_execution_order_and_skips_errors_and_loners() -> None:
    has_failed = np.array(["pass", "fail", "error", "fail", "fail"]) == "fail"
    unpaired = np.array([False, False, False, False, True])
    assert first_divergence(has_failed, np.array([0, 4, 1, 3, 2]), unpaired) == 3
    assert first_divergence(has_failed & unpaired, np.arange(5), unpaired) is None


@pytest.mark.parametrize(
    ("pairs", "failed", "errors", "alone", "code"),
    [(3, 0, 0, 0, 0), (3, 1, 0, 0, 1), (3, 0, 0, 1, 1), (3, 1, 1, 1, 2), (3, 0, 1, 0, 2), (0, 0, 0, 0, 2), (0, 0, 0, 5, 2)],
)
def test_exit_codes_two_beats_one_beats_zero(pairs: int, failed: int, errors: int, alone: int, code: int) -> None:
    assert exit_code(pairs=pairs, failed=failed, errors=errors, unpaired_refused=alone) == code


def test_a_hundred_thousand_rows_are_judged_at_once() -> None:
    count = 100_000
    columns = {name: np.zeros(count) for name in ("relative_euclidean_distance", "nonfinite_mismatch_count", "max_absolute_error")}
    columns["element_count"] = np.ones(count)
    columns["relative_euclidean_distance"][::2] = 1.0
    before = time.process_time()
    verdicts, _ = judge(Rules(), ["x"] * count, ["float32"] * count, ["bfloat16"] * count, [(1,)] * count, [(1,)] * count, columns)
    assert time.process_time() - before < 2.0
    assert verdicts.count("fail") == count // 2


def judged_by(*thresholds: str, off: tuple[str, ...] = (), rule: tuple[str, ...] = ()) -> Rules:
    rules = (Rule(thresholds=rule, off=off),) if off or rule else ()
    return Rules.from_options(CompareOptions(thresholds=thresholds, rules=rules))


@pytest.mark.parametrize(
    ("rules", "is_judged"),
    [
        (judged_by(), False), (judged_by("golden_nan_count <= 5"), False), (judged_by("rounding_floor < 1", "near_zero_golden_count < 9"), False),
        (judged_by(off=("kl_divergence",)), False), (judged_by(rule=("target_inf_count == 0",)), False),
        (judged_by("cosine_similarity >= 0.9"), True), (judged_by(rule=("max_absolute_error < 1",)), True), (Rules(scale_known=True), True),
    ],
)  # fmt: skip
def test_integers_against_floats_are_judged_only_by_what_measures_their_error(rules: Rules, is_judged: bool) -> None:
    matched = rules.by_name.classes(["x"])[1][0]
    assert (rules.for_pairs("int8", "float32", matched) is not None) == is_judged
    far = verdict("int8", "float32", rules=rules, relative_euclidean_distance=16649.0, cosine_similarity=0.0, max_absolute_error=9e9)
    assert far[0] == "fail"
