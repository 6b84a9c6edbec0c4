"""What zero, NaN and empty mean, and the documented differences from the original's formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.kernels.fold import fold_piece
from fastcmp.kernels.sums import empty
from fastcmp.metrics import finish
from fastcmp.options import CompareOptions, FoldOptions
from fastcmp.results.schema import METRIC_NAMES


def metrics(golden: Any, target: Any, dtype: str = "float32", shape: tuple[int, ...] | None = None, **options: Any) -> dict[str, Any]:
    g, t = (np.asarray(side, dtype=dtype).reshape(-1) for side in (golden, target))
    shape = (g.size,) if shape is None else shape
    sums = fold_piece(g, dtype, t, dtype, start=0, element_count=g.size, row_length=shape[-1] if shape else 1, options=FoldOptions(kl=True))
    columns = finish(sums, [dtype], [dtype], [shape], [shape], CompareOptions(**options))
    return {name: column.tolist()[0] if isinstance(column, np.ndarray) else column[0] for name, column in columns.items()}


def test_the_columns_are_those_of_the_schema() -> None:
    assert set(metrics([1.0], [1.0])) == {*METRIC_NAMES, "notes"}


def test_no_pair_gives_empty_columns() -> None:
    columns = finish(empty()[:0], [], [], [], [], CompareOptions())
    assert {len(column) for column in columns.values()} == {0}


def test_equal_tensors() -> None:
    found = metrics([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found["cosine_similarity"], found["relative_euclidean_distance"], found["signal_to_noise_db"]) == (1.0, 0.0, math.inf)
    assert (found["within_one_thousandth_ratio"], found["mismatch_count"], found["kl_divergence"]) == (1.0, 0, 0.0)


def test_empty_tensors_have_counts_and_nothing_else() -> None:
    found = metrics([], [], shape=(0, 5))
    counted = {name for name, value in found.items() if value is not None and name != "notes"}
    assert counted == {name for name in found if name.endswith("_count")}
    assert found["element_count"] == 0 and found["notes"] == ()


def test_nothing_finite_leaves_errors_and_cosine_empty() -> None:
    found = metrics([math.nan, math.inf], [math.nan, -math.inf])
    for name in ("cosine_similarity", "max_relative_error", "relative_euclidean_distance", "max_absolute_error", "kl_divergence"):
        assert found[name] is None, name
    assert (found["golden_nan_count"], found["target_inf_count"], found["nonfinite_mismatch_count"]) == (1, 1, 1)
    assert found["max_absolute_error_index"] is None


@pytest.mark.parametrize(("target", "distance", "cosine"), [([0.0, 0.0], 0.0, 1.0), ([0.0, 1.0], math.inf, 0.0)])
def test_a_golden_of_zeros(target: list[float], distance: float, cosine: float) -> None:
    found = metrics([0.0, 0.0], target)
    assert (found["relative_euclidean_distance"], found["cosine_similarity"]) == (distance, cosine)
    assert (found["max_relative_error"], found["mean_relative_error"], found["near_zero_golden_count"]) == (0.0, 0.0, 2)


def test_a_scalar_has_the_empty_index() -> None:
    found = metrics(2.0, 3.0, shape=())
    assert (found["max_absolute_error_index"], found["element_count"], found["worst_row"]) == ("()", 1, 0)


def test_the_index_of_the_worst_element_counts_all_axes() -> None:
    golden = np.zeros((2, 3, 4), np.float32)
    target = golden.copy()
    target[1, 2, 3] = 1
    assert metrics(golden, target, shape=(2, 3, 4))["max_absolute_error_index"] == "(1, 2, 3)"
    assert metrics([0.0, 0.0], [0.0, 1.0])["max_absolute_error_index"] == "(1,)"


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([(), (1,), (7,), (1, 5), (2, 3, 4), (0, 2**70)]), st.integers(-1, 23)), max_size=12),
    st.integers(1, 9),
)
def test_indices_of_many_pairs_are_those_of_each_alone(drawn: list[tuple[tuple[int, ...], int]], times: int) -> None:
    pairs = [(shape, min(index, math.prod(shape) - 1)) for shape, index in drawn] * times
    sums = empty()[:1].repeat(len(pairs))
    sums["max_absolute_index"] = [index for _, index in pairs]
    shapes = [shape for shape, _ in pairs]
    found = finish(sums, ["float32"] * len(pairs), ["float32"] * len(pairs), shapes, shapes, CompareOptions())["max_absolute_error_index"]
    assert found == [None if index < 0 else str(tuple(map(int, np.unravel_index(index, shape)))) for shape, index in pairs]


def test_short_rows_are_judged_in_runs_and_named_by_the_first() -> None:
    golden = np.ones((40, 10), np.float32)
    target = golden.copy()
    target[30] = 2
    assert metrics(golden, target, shape=(40, 10))["worst_row"] == 28


def test_legacy_euclid_is_the_square() -> None:
    modern, legacy = (metrics([1.0, 2.0], [1.5, 2.0], compat_euclid=form)["relative_euclidean_distance"] for form in ("sqrt", "legacy"))
    assert legacy == pytest.approx(modern**2)


def test_cosine_survives_what_float32_sums_do_not() -> None:
    """The original's squares overflowed at 2e19, and cos(x, x) was 0.99999964."""
    huge = np.full(100, 3e30, np.float32)
    assert metrics(huge, huge)["cosine_similarity"] == 1.0
    assert metrics(huge, -huge)["cosine_similarity"] == pytest.approx(-1.0, abs=1e-15)
    tiny = np.array([1e-12, 2e-12], np.float32)
    assert metrics(tiny, tiny[::-1].copy())["cosine_similarity"] == pytest.approx(0.8, abs=1e-7)


def test_one_minus_cosine_is_good_to_the_last_digits() -> None:
    golden = np.random.default_rng(0).standard_normal(10000)
    noise = np.random.default_rng(1).standard_normal(10000)
    noise -= golden * (noise @ golden) / (golden @ golden)
    for size in (1e-3, 1e-5, 1e-7):
        tangent = size * np.linalg.norm(noise) / np.linalg.norm(golden)
        found = metrics(golden, golden + size * noise, "float64")["cosine_similarity"]
        assert abs((1 - found) - (1 - 1 / math.sqrt(1 + tangent**2))) < 1e-15


def test_a_golden_zero_that_the_relative_errors_skip_is_seen_elsewhere() -> None:
    found = metrics([0.0, 1.0, 1.0], [5.0, 1.0, 1.0])
    assert (found["max_relative_error"], found["mean_relative_error"]) == (0.0, 0.0)
    assert (found["near_zero_golden_count"], found["max_absolute_error"]) == (1, 5.0)
    assert found["within_one_thousandth_ratio"] == pytest.approx(2 / 3)


def test_the_mean_relative_error_divides_by_the_finite_positions() -> None:
    found = metrics([0.0, 2.0, math.nan, 2.0], [0.0, 3.0, 1.0, 2.0])
    assert found["mean_relative_error"] == pytest.approx(0.5 / 3)


def original_metrics(golden: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The original's formulas, in float64 instead of its float32."""
    g, t = golden.astype(np.float64), target.astype(np.float64)
    relative = np.abs(t - g) / np.abs(g)
    return {
        "cosine_similarity": float(g @ t / np.sqrt((g @ g) * (t @ t))),
        "max_relative_error": float(relative.max()),
        "mean_relative_error": float(relative.mean()),
        "relative_euclidean_distance": float(np.sqrt(((t - g) ** 2).sum() / (g**2).sum())),
        "golden_max_value": float(g.max()),
        "acl_min_value": float(t.min()),
        "golden_mean_value": float(g.mean()),
    }


@given(st.integers(1, 500), st.integers(0, 1000), st.sampled_from([1e-4, 1e-1, 1.0]))
@settings(max_examples=examples(80), deadline=None)
def test_benign_input_gives_what_the_original_meant(count: int, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    golden = (rng.uniform(0.5, 4, count) * rng.choice([-1, 1], count)).astype(np.float32)
    target = (golden + rng.standard_normal(count) * noise).astype(np.float32)
    found = metrics(golden, target)
    for name, value in original_metrics(golden, target).items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_integers_have_no_divergence_and_complex_is_noted() -> None:
    assert metrics([1, 2], [1, 3], "int32")["kl_divergence"] is None
    assert metrics([1 + 1j], [1 - 1j], "complex64")["notes"] == ("complex: values are moduli",)


def test_notes_count_in_grammatical_english() -> None:
    golden = np.ones((4, 100), np.float32)
    golden[:2] = 0
    assert metrics(golden, golden, shape=(4, 100))["notes"] == ("worst_row_distance leaves out 2 rows that are all zero in golden",)
    assert metrics(golden, golden, shape=(40, 10))["notes"] == ("worst_row_distance leaves out 2 runs of rows that are all zero in golden",)
