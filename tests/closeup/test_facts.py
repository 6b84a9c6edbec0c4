"""The facts of a pair against plain numpy over the whole arrays, however the tensor is cut."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.closeup.axis_errors import MOST_RUNS, ROWS
from fastcmp.closeup.boxes import Box, box_around, boxes
from fastcmp.closeup.facts import Facts, gather_facts
from fastcmp.closeup.histograms import Spread
from fastcmp.closeup.numbers import as_floats, differences, unequal
from fastcmp.closeup.pair_reader import Sides

Array = np.ndarray
SHAPES = st.lists(st.integers(0, 7), max_size=4).map(tuple)
FLOOR = 2.0**-23


def sides_of(golden: Array, target: Array, most: int) -> list[Sides]:
    def cut(values: Array, box: Box) -> Array:
        return values.reshape(-1)[box.start : box.stop].reshape(box.extents)

    return [Sides(box, cut(golden, box), cut(target, box)) for box in boxes(golden.shape, most)]


def facts_of(golden: Array, target: Array, most: int = 1000, worst: int = 5) -> Facts:
    return gather_facts(sides_of(golden, target, most), golden.shape, worst=worst, relative_floor=FLOOR)


# --- boxes -----------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(400), deadline=None)
@given(SHAPES, st.integers(1, 400))
def test_boxes_are_all_elements_in_order_and_none_is_too_large(shape: tuple[int, ...], most: int) -> None:
    numbers = np.arange(prod(shape)).reshape(shape)
    position = 0
    for box in boxes(shape, most):
        assert box.start == position and 0 < box.stop - box.start <= most
        inside = numbers[tuple(slice(origin, origin + extent) for origin, extent in zip(box.origin, box.extents, strict=True))]
        assert inside.shape == box.extents and np.array_equal(inside.ravel(), np.arange(box.start, box.stop))
        position = box.stop
    assert position == numbers.size


@settings(max_examples=examples(400), deadline=None)
@given(SHAPES, st.integers(1, 400), st.integers(0, 10**6))
def test_a_box_around_an_element_holds_it(shape: tuple[int, ...], most: int, position: int) -> None:
    count = prod(shape)
    if not count:
        return
    box = box_around(shape, position % count, most)
    numbers = np.arange(count).reshape(shape)
    inside = numbers[tuple(slice(origin, origin + extent) for origin, extent in zip(box.origin, box.extents, strict=True))]
    assert box.start <= position % count < box.stop and box.stop - box.start <= most
    assert np.array_equal(inside.ravel(), np.arange(box.start, box.stop))


# --- numbers ---------------------------------------------------------------------------------------------------------------------------

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1])
UNSIGNED = st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63, 2**64 - 1])


@given(st.lists(st.tuples(INTEGERS, INTEGERS), min_size=1, max_size=20))
def test_differences_of_integers_are_exact_before_they_are_rounded(values: list[tuple[int, int]]) -> None:
    golden, target = (np.array(side, dtype=np.int64) for side in zip(*values, strict=True))
    assert differences(golden, target).tolist() == [float(t - g) for g, t in values]


@given(st.lists(st.tuples(UNSIGNED, UNSIGNED), min_size=1, max_size=20))
def test_differences_of_unsigned_integers_too(values: list[tuple[int, int]]) -> None:
    golden, target = (np.array(side, dtype=np.uint64) for side in zip(*values, strict=True))
    assert differences(golden, target).tolist() == [float(t - g) for g, t in values]


@given(st.lists(st.tuples(INTEGERS, UNSIGNED), min_size=1, max_size=20))
def test_signed_against_unsigned_is_right_to_a_rounding(values: list[tuple[int, int]]) -> None:
    golden, target = np.array([g for g, _ in values], np.int64), np.array([t for _, t in values], np.uint64)
    assert differences(golden, target).tolist() == pytest.approx([float(t - g) for g, t in values], rel=1e-15)


def test_what_is_not_finite_has_no_difference_and_equals_itself() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0])
    others = np.array([np.nan, np.inf, np.inf, -0.0, 2.0])
    assert unequal(values, others).tolist() == [False, False, True, False, True]
    assert np.isnan(differences(values, others)).tolist() == [True, True, True, False, False]


def test_complex_values_are_told_apart_by_their_parts() -> None:
    values = np.array([[1 + 2j, 3 - 4j]])
    assert as_floats(values).tolist() == [[[1.0, 2.0], [3.0, -4.0]]]
    assert abs(differences(values, values + 1j)).tolist() == [[1.0, 1.0]]


# --- facts -----------------------------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from(["float", "odd", "int", "bool", "complex"])


def make_values(kind: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if kind == "int":
        return random.integers(-5, 5, shape)
    if kind == "bool":
        return random.random(shape) < 0.5
    values = np.round(random.standard_normal(shape), 1)
    if kind == "complex":
        return values + 1j * np.round(random.standard_normal(shape), 1)
    if kind == "odd":
        return np.where(random.random(shape) < 0.2, random.choice([np.nan, np.inf, -np.inf, 0.0], shape), values)
    return values


@settings(max_examples=examples(200), deadline=None)
@given(SHAPES, KINDS, st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 8))
def test_facts_are_those_of_the_whole_arrays(shape: tuple[int, ...], kind: str, seed: int, most: int, worst: int) -> None:
    random = np.random.default_rng(seed)
    golden, target = make_values(kind, shape, random), make_values(kind, shape, random)
    target = np.where(random.random(shape) < 0.3, golden, target)
    facts = facts_of(golden, target, most, worst)
    finite = np.isfinite(golden) & np.isfinite(target)
    size = np.where(finite, np.abs(golden.astype(complex)), 0.0)
    with np.errstate(invalid="ignore"):
        error = np.where(finite, np.abs(target.astype(complex) - golden.astype(complex)), 0.0)
    wrong = unequal(golden, target)

    assert facts.element_count == golden.size
    assert facts.differing_count == np.count_nonzero(wrong)
    assert facts.nonfinite_mismatch_count == np.count_nonzero(wrong & ~finite)
    assert facts.near_zero_count == np.count_nonzero(finite & (size <= FLOOR))
    assert facts.max_absolute_error == (error[finite].max() if finite.any() else None)
    if kind != "complex":
        for found, values in ((facts.golden, golden), (facts.target, target)):
            own = values[np.isfinite(values)]
            assert found == ((own.min(), own.max(), pytest.approx(own.mean())) if own.size else None)
    _check_worst(facts, golden, target, error, wrong & ~finite, worst)
    _check_axes(facts, error, size, wrong & ~finite)
    assert facts.absolute.count == np.count_nonzero(finite) == facts.absolute.zero_count + sum(count for _, count in facts.absolute.decades)


def _check_worst(facts: Facts, golden: Array, target: Array, error: Array, mismatch: Array, worst: int) -> None:
    ranked = np.where(mismatch, np.inf, error).ravel()
    order = [at for at in np.lexsort((np.arange(ranked.size), -ranked)) if ranked[at] > 0.0][:worst]
    assert [element.index for element in facts.worst] == [tuple(map(int, np.unravel_index(at, golden.shape))) for at in order]
    for element in facts.worst:
        for found, values in ((element.golden, golden), (element.target, target)):
            np.testing.assert_array_equal(found, values[element.index])
        assert element.absolute_error == (None if mismatch[element.index] else error[element.index])


def _check_axes(facts: Facts, error: Array, size: Array, mismatch: Array) -> None:
    axes = {axis.axis: axis for axis in facts.axes}
    assert {axis for axis in axes if axis != ROWS} == {axis for axis, extent in enumerate(error.shape) if extent > 1}
    total = np.sum(error**2)
    for axis, found in axes.items():
        if axis == ROWS:
            one, other, third = (values.reshape(-1, values.shape[-1]).sum(axis=1) for values in (error**2, size**2, mismatch))
        else:
            others = tuple(other for other in range(error.ndim) if other != axis)
            one, other, third = (values.sum(axis=others) for values in (error**2, size**2, mismatch))
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.where(one == 0.0, 0.0, np.sqrt(one / other))
        np.testing.assert_allclose(found.distances, expected, rtol=1e-12)
        assert list(found.mismatches) == third.tolist()
        if not total:
            assert found.carrying is None and not any(found.shares)
            continue
        np.testing.assert_allclose(found.shares, one / total, rtol=1e-9, atol=1e-15)
        assert found.carrying is not None
        first, stop = found.carrying
        assert one[first:stop].sum() >= 0.9 * total * (1 - 1e-9)
        runs = [one[begin : begin + stop - first - 1].sum() for begin in range(len(one))]
        assert max(runs) < 0.9 * total * (1 + 1e-9), "a shorter run carries as much"


def test_long_axes_are_told_in_runs() -> None:
    count = 3 * MOST_RUNS + 5
    golden = np.ones(count)
    target = golden.copy()
    target[2 * MOST_RUNS :] += 1.0
    (axis,) = facts_of(golden, target, most=777).axes
    assert axis.run_length == 4 and len(axis.distances) <= MOST_RUNS
    assert axis.carrying is not None and axis.carrying[0] >= 2 * MOST_RUNS - 4 and axis.carrying[1] <= count
    assert axis.distances[-1] == pytest.approx(1.0) and axis.distances[0] == 0.0


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.floats(0, 1e308, allow_subnormal=True), min_size=1, max_size=60), st.integers(1, 4))
def test_quantiles_are_not_exceeded_and_are_near(errors: list[float], parts: int) -> None:
    spread = Spread()
    for part in np.array_split(np.array(errors), parts):
        spread.add(part)
    found = spread.histogram()
    assert found.count == len(errors) and found.largest == max(errors)
    assert found.zero_count == errors.count(0.0) and sum(count for _, count in found.decades) == len(errors) - errors.count(0.0)
    ordered = sorted(errors)
    for share, value in found.quantiles:
        exact = ordered[int(np.ceil(share * len(errors))) - 1]
        assert exact <= value <= exact * (1 + 2**-7) + 1e-307


@pytest.mark.parametrize(("error", "decade"), [(1.0, 0), (0.0999, -2), (10.0, 1), (9.999, 0), (1e-7, -7), (3e250, 250)])
def test_decades_begin_at_powers_of_ten(error: float, decade: int) -> None:
    spread = Spread()
    spread.add(np.array([error]))
    assert spread.histogram().decades == ((decade, 1),)


def test_squares_beyond_float64_leave_the_rest_of_the_facts_alone() -> None:
    golden, target = np.array([1e300, 1.0]), np.array([-1e300, 2.0])
    facts: Any = facts_of(golden, target)
    assert facts.max_absolute_error == 2e300 and facts.worst[0].index == (0,)
    assert facts.axes[0].carrying is None
