"""The grammar of thresholds and the defaults by dtype."""

from __future__ import annotations

import pytest

from fastcmp.dtypes import DTYPES
from fastcmp.errors import UsageError
from fastcmp.thresholds import default_threshold, needs_scale, parse_threshold


@pytest.mark.parametrize(
    ("text", "metric", "symbol", "limit"),
    [
        ("cosine_similarity >= 0.999", "cosine_similarity", ">=", 0.999),
        ("max_absolute_error<1e-3", "max_absolute_error", "<", 1e-3),
        ("  mismatch_count == 0 ", "mismatch_count", "==", 0.0),
        ("signal_to_noise_db > -.5E+1", "signal_to_noise_db", ">", -5.0),
        ("kl_divergence <= 3.", "kl_divergence", "<=", 3.0),
    ],
)
def test_a_threshold_is_metric_op_number(text: str, metric: str, symbol: str, limit: float) -> None:
    threshold = parse_threshold(text)
    assert (threshold.metric, threshold.symbol, threshold.limit, threshold.rule) == (metric, symbol, limit, "--threshold")


@pytest.mark.parametrize(
    "text",
    ["", "cosine_similarity", "cosine_similarity = 1", "cosine_similarity != 1", "cosine_similarity >= x", "cosine_similarity >= nan",
     "cosine_similarity >= inf", "cosine_similarity >= 1; import os", "0.5 < cosine_similarity", "cosine_similarity >= 1_0",
     "cosine_similarity >= \u0661", "__import__('os') > 1"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected 'metric op number' with one of >= > <= < =="):
        parse_threshold(text)


def test_an_unknown_metric_is_refused_with_the_closest_names() -> None:
    with pytest.raises(UsageError, match="no metric is called 'cosine_similarty'; did you mean cosine_similarity"):
        parse_threshold("cosine_similarty >= 0.9")
    with pytest.raises(UsageError, match="no metric is called 'zzz'; the metrics are cosine_similarity, max_relative_error"):
        parse_threshold("zzz >= 0.9")


@pytest.mark.parametrize(
    ("golden", "target", "metric", "limit", "rule"),
    [
        ("float64", "float64", "relative_euclidean_distance", 1e-4, "default float64"),
        ("float32", "float32", "relative_euclidean_distance", 1e-4, "default float32"),
        ("float32", "float16", "relative_euclidean_distance", 1e-2, "default float16"),
        ("float16", "bfloat16", "relative_euclidean_distance", 5e-2, "default bfloat16"),
        ("bfloat16", "float16", "relative_euclidean_distance", 5e-2, "default bfloat16"),
        ("float32", "float8_e4m3fn", "relative_euclidean_distance", 1.5e-1, "default float8_e4m3fn"),
        ("float8_e5m2", "float8_e4m3fn", "relative_euclidean_distance", 1.5e-1, "default float8_e5m2"),
        ("float4_e2m1fn", "float32", "relative_euclidean_distance", 1.5e-1, "default float4_e2m1fn"),
        ("complex64", "complex128", "relative_euclidean_distance", 1e-4, "default complex64"),
        ("complex32", "complex64", "relative_euclidean_distance", 1e-2, "default complex32"),
        ("int64", "int32", "mismatch_count", 0.0, "default int32"),
        ("bool", "uint8", "mismatch_count", 0.0, "default bool"),
    ],
)  # fmt: skip
def test_defaults_go_by_the_narrower_storage_dtype(golden: str, target: str, metric: str, limit: float, rule: str) -> None:
    threshold = default_threshold(golden, target)
    assert (threshold.metric, threshold.limit, threshold.rule) == (metric, limit, rule)


def test_every_pair_of_dtypes_has_a_default() -> None:
    for golden in DTYPES:
        for target in DTYPES:
            assert default_threshold(golden, target).limit >= 0


def test_legacy_distance_has_the_squared_limit() -> None:
    assert default_threshold("float32", "float16", legacy_euclid=True).limit == 1e-2 * 1e-2


@pytest.mark.parametrize(
    ("golden", "target", "needed"),
    [
        ("int8", "float32", True),
        ("complex64", "int8", True),
        ("int8", "int32", False),
        ("bool", "float32", False),
        ("float16", "float32", False),
    ],
)
def test_an_integer_against_a_float_needs_a_scale(golden: str, target: str, needed: bool) -> None:
    assert needs_scale(golden, target) is needed


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.031, "relative_euclidean_distance 0.031 > 0.01 (rule: --threshold)"),
        (0.010004, "relative_euclidean_distance 0.010004 > 0.01 (rule: --threshold)"),
        (0.01 + 2e-18, "relative_euclidean_distance 0.010000000000000002 > 0.01 (rule: --threshold)"),
        (float("inf"), "relative_euclidean_distance inf > 0.01 (rule: --threshold)"),
        (float("nan"), "relative_euclidean_distance is empty, expected <= 0.01 (rule: --threshold)"),
    ],
)
def test_a_reason_never_shows_a_number_that_would_pass(value: float, shown: str) -> None:
    assert parse_threshold("relative_euclidean_distance <= 0.01").broken_by(value) == shown
