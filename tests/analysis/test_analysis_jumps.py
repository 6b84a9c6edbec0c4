"""What counts as a jump: far more than went in, or half of that where nothing like it is seen in the same operation elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_tables import row, table_of
from tries import examples

from fastcmp.analysis.growth import find_growth
from fastcmp.analysis.jumps import find_jumps
from fastcmp.analysis.order import find_order

LAYERS = 12


def jumping(*rows: dict[str, Any]) -> list[str]:
    table = table_of(*rows)
    order = find_order(table)
    jumps = find_jumps(order, find_growth(table, order), np.zeros(table.num_rows, dtype=bool))
    return [name for name, jumps_here in zip(table.column("data_id").to_pylist(), jumps.is_jump.tolist(), strict=True) if jumps_here]


def norms(gains: list[float], inherited: float = 0.01) -> list[dict[str, Any]]:
    """One operation of each layer, with the error of its input and what it makes of it."""
    rows = []
    for layer, gain in enumerate(gains):
        rows += [row(f"layers.{layer}.norm.input", error=inherited), row(f"layers.{layer}.norm", error=inherited * gain)]
    return rows


@pytest.mark.parametrize(
    ("gains", "found"),
    [
        ([1.2] * LAYERS, []),
        ([1.2] * 5 + [8.5] + [1.2] * 6, ["layers.5.norm"]),
        ([1.2] * 5 + [5.0] + [1.2] * 6, ["layers.5.norm"]),
        ([1.2] * 5 + [3.5] + [1.2] * 6, []),
        ([5.0] * LAYERS, []),
        ([1.2, 3.0, 5.0, 2.0, 6.0, 4.0] * 2, []),
        ([1.2] * 3 + [5.0], []),
        ([8.5] * LAYERS, [f"layers.{layer}.norm" for layer in range(LAYERS)]),
    ],
    ids=["none", "far", "half-as-far-and-alone", "less", "they-all-do", "they-vary", "too-few-to-know", "far-everywhere"],
)
def test_a_jump_is_far_or_alone(gains: list[float], found: list[str]) -> None:
    assert jumping(*norms(gains)) == found


def test_a_first_layer_that_inherits_nothing_is_not_unlike_the_others() -> None:
    rows = [row("layers.0.norm.input", error=0.0), row("layers.0.norm", error=0.012)]
    assert jumping(*rows, *norms([1.2] * LAYERS)[2:]) == []


def test_less_than_some_roundings_is_no_jump_however_little_went_in() -> None:
    assert jumping(row("a.input", error=0.0), row("a", error=0.013)) == []
    assert jumping(row("a.input", error=0.0), row("a", error=0.014)) == ["a"]


def test_an_input_that_was_wrong_passes_its_error_on() -> None:
    assert jumping(row("a.input", error=0.5), row("a", error=0.9), row("b.input", error=0.9), row("b", error=0.9)) == ["a.input"]
    nan = {"nonfinite_mismatch_count": 2}
    assert jumping(row("a", error=0.001), row("b.input", error=0.1, **nan), row("b", error=0.1, **nan)) == ["b.input"]


def test_what_holds_a_jump_is_no_jump_itself() -> None:
    inner = [row("layers.1.input", error=0.002), row("layers.1.mlp.input", error=0.002), row("layers.1.mlp", error=0.5)]
    assert jumping(*inner, row("layers.1", error=0.5)) == ["layers.1.mlp"]
    assert jumping(inner[0], row("layers.1", error=0.5)) == ["layers.1"]


def test_memory_before_it_is_written_neither_jumps_nor_hides_a_jump() -> None:
    rows = [row("0_A/before/intensor0", error=0.002), row("0_A/before/outtensor0", error=1.4), row("0_A/after/outtensor0", error=0.4)]
    assert jumping(*rows) == ["0_A/after/outtensor0"]
    assert jumping(rows[1], row("1_B/after/outtensor0", error=0.4)) == ["1_B/after/outtensor0"]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.floats(0.5, 2.1), min_size=3, max_size=30), st.floats(0.002, 0.3), st.randoms(use_true_random=False))
def test_gains_of_correct_operations_never_jump(gains: list[float], inherited: float, random: Any) -> None:
    rows = norms(gains, inherited)
    assert set(jumping(*rows)) <= {"layers.0.norm.input"}  # of which nothing is known
    wrong = random.randrange(len(gains))
    rows[2 * wrong + 1] = row(f"layers.{wrong}.norm", error=inherited * 8.01)
    assert f"layers.{wrong}.norm" in jumping(*rows)
