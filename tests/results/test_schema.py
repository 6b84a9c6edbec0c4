"""The columns of the report, held to what the original wrote and users read by name."""

from __future__ import annotations

import subprocess
import sys

from fastcmp.results.schema import BY_NAME, COLUMNS, METRIC_NAMES, NAMES, arrow_schema
from fastcmp.thresholds import JUDGED_METRICS

ORIGINAL = (
    "token_id data_id golden_data_path golden_dtype golden_shape golden_max_value golden_min_value golden_mean_value acl_data_path acl_dtype "
    "acl_shape acl_max_value acl_min_value acl_mean_value cmp_flag cosine_similarity max_relative_error mean_relative_error "
    "relative_euclidean_distance"
).split()
OURS = (
    "max_absolute_error mean_absolute_error kl_divergence root_mean_square_error signal_to_noise_db within_one_thousandth_ratio "
    "within_five_thousandths_ratio mismatch_count max_absolute_error_index max_absolute_error_golden max_absolute_error_target "
    "worst_row_distance worst_row kl_divergence_row_max kl_divergence_row_mean golden_nan_count golden_inf_count target_nan_count "
    "target_inf_count nonfinite_mismatch_count near_zero_golden_count rounding_floor element_count bytes rank pair_rule notes verdict "
    "verdict_reason"
).split()


def test_columns_stand_in_the_promised_order() -> None:
    assert list(NAMES) == [*ORIGINAL, *OURS, "cmp_fail_reason"]


def test_every_column_has_one_sentence() -> None:
    assert all(column.meaning.endswith(".") and len(column.meaning) > 5 for column in COLUMNS)
    assert len(BY_NAME) == len(COLUMNS)


def test_arrow_schema_has_the_same_columns_and_row_only_when_asked() -> None:
    assert arrow_schema().names == list(NAMES)
    assert arrow_schema(with_row=True).names == ["row", *NAMES]
    assert str(arrow_schema().field("mismatch_count").type) == "int64"


def test_metric_names_are_numbers_and_the_index() -> None:
    assert {BY_NAME[name].arrow_type for name in METRIC_NAMES} == {"float64", "int64", "string"}
    assert [name for name in METRIC_NAMES if BY_NAME[name].arrow_type == "string"] == ["max_absolute_error_index"]
    assert "golden_mean_value" in METRIC_NAMES and "cmp_flag" not in METRIC_NAMES and "bytes" not in METRIC_NAMES


def test_every_judged_metric_is_a_numeric_metric_column() -> None:
    assert set(JUDGED_METRICS) <= set(METRIC_NAMES)
    assert all(BY_NAME[name].arrow_type != "string" for name in JUDGED_METRICS)


def test_schema_needs_no_pyarrow() -> None:
    code = "import sys, fastcmp.results.schema as s; s.COLUMNS; assert 'pyarrow' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
