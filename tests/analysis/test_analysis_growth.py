"""Growth by numpy is growth by a slow loop over the rows, and errors are what the report says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_tables import alone, ids, row, table_of, unread
from tries import examples

from fastcmp.analysis.growth import find_growth
from fastcmp.analysis.order import find_order
from fastcmp.name_expressions import INPUT, OUTPUT, STALE

KEYS = st.tuples(
    st.sampled_from(["a", "a.input", "a.input[1]", "b.input", "b", "c/before/outtensor0", "c/after/outtensor0", "c/before/intensor0"]),
    st.sampled_from(["0", "1", "2"]),
    st.sampled_from(["", "1"]),
)
ERRORS = st.sampled_from([0.0, 0.001, 0.02, 0.5, 1.4, math.inf, math.nan])


@settings(max_examples=examples(100), deadline=None)
@given(st.dictionaries(KEYS, ERRORS, min_size=1, max_size=30))
def test_growth_is_what_a_loop_over_the_rows_finds(errors: dict[tuple[str, str, str], float]) -> None:
    rows = []
    for (name, token, rank), error in errors.items():
        if math.isnan(error):
            rows.append(unread(name, token, rank=rank))
        elif math.isinf(error):
            rows.append(row(name, token, 0.1, rank=rank, nonfinite_mismatch_count=3))
        else:
            rows.append(row(name, token, error, rank=rank))
    table = table_of(*rows)
    order = find_order(table)
    growth = find_growth(table, order)
    keys = [(cells["data_id"], cells["token_id"], cells["rank"]) for cells in table.select(["data_id", "token_id", "rank"]).to_pylist()]
    expected = np.array([errors[key] for key in keys])
    np.testing.assert_allclose(growth.error, expected, rtol=1e-12)
    parts = order.names.part[order.name]
    for at, (name, token, rank) in enumerate(keys):
        step = [other for other in range(len(keys)) if keys[other][1:] == (token, rank) and order.position[other] < order.position[at]]
        usable = [expected[other] for other in step if not math.isnan(expected[other]) and parts[other] != STALE]
        assert growth.before[at] == pytest.approx(max(usable, default=0.0), rel=1e-12)
        inputs = [
            expected[other]
            for other in range(len(keys))
            if keys[other][1:] == (token, rank)
            and parts[other] == INPUT
            and keys[other][0][0] == name[0]
            and not math.isnan(expected[other])
        ]
        inherited = max(inputs) if inputs and parts[at] == OUTPUT else math.nan
        assert growth.inherited[at] == pytest.approx(inherited, rel=1e-12, nan_ok=True)
        assert growth.reference[at] == (growth.before[at] if math.isnan(inherited) else growth.inherited[at])


def test_growth_over_the_row_before_and_the_token_before() -> None:
    table = table_of(*(row(name, token, float(f"0.{token}{digit}")) for digit, name in enumerate("xyz", 1) for token in ("1", "2", "3")))
    growth = find_growth(table, find_order(table))
    nan = math.nan
    np.testing.assert_allclose(growth.previous, [nan, nan, nan, 0.11, 0.21, 0.31, 0.12, 0.22, 0.32])
    np.testing.assert_allclose(growth.previous_token, [nan, 0.11, 0.21, nan, 0.12, 0.22, nan, 0.13, 0.23])


def test_what_an_operation_adds_is_what_is_left_without_its_inputs() -> None:
    table = table_of(row("a.input", error=0.3), row("a", error=0.5), row("b.input", error=0.5), row("b", error=0.3))
    growth = find_growth(table, find_order(table))
    np.testing.assert_allclose(growth.added, [math.nan, 0.4, math.nan, 0.0], rtol=1e-9)


def test_errors_of_pairs_that_have_none() -> None:
    table = table_of(
        ids("same"),
        ids("other", target=6),
        row("nan", error=0.001, nonfinite_mismatch_count=1),
        unread("shape", verdict="fail", verdict_reason="the element counts differ [E_SHAPE]"),
        unread("cut"),
        alone("lonely"),
        row("empty", signal_to_noise_db=None, element_count=0),
        row("squared", relative_euclidean_distance=0.01, signal_to_noise_db=20.0),
    )
    growth = find_growth(table, find_order(table))
    np.testing.assert_allclose(growth.error, [0.0, math.inf, math.inf, math.inf, math.nan, math.nan, 0.0, 0.1])
    assert growth.is_integer.tolist() == [True, True, False, False, False, False, False, False]


@pytest.mark.parametrize(
    ("golden", "target", "rounding", "floor"),
    [("float32", "bfloat16", 0.0018, 0.0018), ("bfloat16", "bfloat16", None, 0.43 / 256), ("float32", "float32", None, 2.0**-20), ("float64", "float64", None, 2.0**-49)],
)  # fmt: skip
def test_the_floor_is_one_rounding_of_the_narrower_dtype(golden: str, target: str, rounding: float | None, floor: float) -> None:
    table = table_of(row("a", golden_dtype=golden, acl_dtype=target, rounding_floor=rounding))
    assert find_growth(table, find_order(table)).floor[0] == pytest.approx(floor)
