"""Every pattern is found where it was planted, and not where it was not: most of all, not in noise and not in correct rounding."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.closeup.matching import BLOCKS, CAUSES, PLACES, match
from fastcmp.closeup.pattern import Couple, Pattern, indices_text, norm, significand_bits
from fastcmp.closeup.patterns.unrelated import unrelated

Array = np.ndarray

SHAPES = st.sampled_from([(4, 64), (1, 128), (3, 8, 32), (16, 16), (5, 7, 24), (256,), (2, 3, 4, 16), (64, 48)])
SEEDS = st.integers(0, 2**32 - 1)
PRECISIONS = st.sampled_from(["float32", "float16", "bfloat16"])
FLOAT32_ONLY = "float32"


def rounded(values: Array, precision: str) -> Array:
    """float64 values as a tensor of that dtype holds them."""
    dtype = getattr(ml_dtypes, precision) if hasattr(ml_dtypes, precision) else np.dtype(precision)
    with np.errstate(over="ignore"):
        return values.astype(dtype).astype(np.float64)


def make_golden(shape: tuple[int, ...], seed: int) -> Array:
    return rounded(np.random.default_rng(seed).standard_normal(shape), "float32")


def names(golden: Array, target: Array) -> list[str]:
    return [pattern.name for pattern in match(golden, target)]


def first(golden: Array, target: Array) -> Pattern:
    return match(golden, target)[0]


# --- planted, found --------------------------------------------------------------------------------------------------------------------

Plant = Callable[[Array, np.random.Generator], Array]


def _distinct_permutation(values: Array, random: np.random.Generator) -> Array:
    return random.permutation(values.ravel()).reshape(values.shape)


def _turned(values: Array, random: np.random.Generator) -> Array:
    """As a rotary embedding of a position that is a few too large turns the halves of the last axis."""
    half = values.shape[-1] // 2
    angles = random.integers(1, 40) * 10_000.0 ** (-np.arange(half) / half)
    one, other = values[..., :half], values[..., half:]
    return np.concatenate([one * np.cos(angles) - other * np.sin(angles), one * np.sin(angles) + other * np.cos(angles)], axis=-1)


def _turned_neighbours(values: Array, random: np.random.Generator) -> Array:
    order = np.concatenate([np.arange(0, values.shape[-1], 2), np.arange(1, values.shape[-1], 2)])
    turned = np.empty_like(values)
    turned[..., order] = _turned(values[..., order], random)
    return turned


PLANTED: dict[str, tuple[str, Plant]] = {
    "shift": ("constant shift", lambda g, r: g + r.choice([-3.0, 0.25, 7.0])),
    "mirror": ("mirrored", lambda g, r: 1.0 - g),
    "scale": ("scale factor", lambda g, r: g * r.choice([0.125, 0.5, 0.9, 3.0])),
    "negative": ("sign flip", lambda g, r: -g),
    "some signs": ("sign flip", lambda g, r: g * np.where(r.random(g.shape) < 0.4, -1.0, 1.0)),
    "backwards": ("reversed", lambda g, r: np.flip(g, -1)),
    "memory": ("shifted along an axis", lambda g, r: np.roll(g.ravel(), 5).reshape(g.shape)),
    "rotation": ("rotated pairs (RoPE)", _turned),
    "rotation of neighbours": ("rotated pairs (RoPE)", _turned_neighbours),
}


@settings(max_examples=examples(60), deadline=None)
@given(SHAPES, SEEDS, PRECISIONS)
@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_done_to_every_element_is_found_in_every_precision(
    planted: str, shape: tuple[int, ...], seed: int, precision: str
) -> None:
    name, plant = PLANTED[planted]
    golden = make_golden(shape, seed)
    target = rounded(np.ascontiguousarray(plant(golden, np.random.default_rng(seed + 1))), precision)
    assert first(golden, target).name == name


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, PRECISIONS, st.integers(8, 40), st.integers(16, 96))
def test_factors_and_shifts_of_single_rows_and_channels_are_found(seed: int, precision: str, rows: int, channels: int) -> None:
    random = np.random.default_rng(seed + 1)
    golden = make_golden((rows, channels), seed)
    of_rows, of_channels = random.uniform(0.3, 2.0, (rows, 1)), random.uniform(0.3, 2.0, channels)
    assert first(golden, rounded(golden * of_rows, precision)).name == "scale factor per row"
    assert first(golden, rounded(golden * of_channels, precision)).name == "scale factor per channel"
    bias = random.standard_normal(channels)
    assert first(golden, rounded(golden + bias, precision)).name == "constant shift per channel"


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, PRECISIONS, st.permutations(range(3)), st.integers(2, 5), st.integers(3, 6), st.integers(4, 8))
def test_any_order_of_axes_is_found_whatever_the_shape_says(
    seed: int, precision: str, order: list[int], one: int, two: int, three: int
) -> None:
    golden = make_golden((one, two, three), seed)
    moved = rounded(np.ascontiguousarray(golden.transpose(order)), precision)
    if moved.shape != golden.shape:
        found = first(golden, moved)
        assert found.name == "transposed" and str(tuple(order)) in found.evidence
    square = make_golden((three + 5, three + 5), seed)
    assert first(square, rounded(square.T.copy(), precision)).name == "transposed"
    wide = make_golden((one + 1, three * 8), seed)
    assert first(wide, rounded(wide.T.reshape(wide.shape), precision)).name == "transposed"
    assert first(wide, rounded(wide.reshape(wide.shape[::-1]).T.copy(), precision)).name == "transposed"


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, PRECISIONS, st.integers(8, 30), st.integers(-3, 3).filter(bool), st.booleans(), st.integers(0, 1))
def test_a_shift_along_an_axis_is_found_with_its_direction(
    seed: int, precision: str, extent: int, shift: int, is_cut: bool, axis: int
) -> None:
    shape = (extent, 24) if axis == 0 else (24, extent)
    golden = make_golden(shape, seed)
    target = np.roll(golden, shift, axis)
    if is_cut:
        edge = [slice(None)] * 2
        edge[axis] = slice(None, shift) if shift > 0 else slice(shift, None)
        target[tuple(edge)] = np.random.default_rng(seed + 1).standard_normal(target[tuple(edge)].shape)
    found = first(golden, rounded(target, precision))
    assert found.name == "shifted along an axis"
    sign = "-" if shift > 0 else "+"
    assert f"index i of axis {axis} holds what belongs to i {sign} {abs(shift)}" in found.evidence
    assert ("all around" in found.evidence) != is_cut


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, PRECISIONS, st.data())
def test_rows_or_heads_in_another_order_are_found(seed: int, precision: str, data: st.DataObject) -> None:
    heads = data.draw(st.integers(3, 12))
    source = data.draw(st.lists(st.integers(0, heads - 1), min_size=heads, max_size=heads))
    # A plain shift or a reversal has a name of its own.
    steps = {(after - before) % heads for before, after in pairwise(source)}
    if len(steps) == 1:
        source = [1, 0, *range(2, heads)]
    golden = make_golden((4, heads, 32), seed)
    target = rounded(golden[:, source], precision)
    found = names(golden, target)
    if source == list(range(heads)):
        assert found[0] in ("equal", f"rounding of {precision}")
    elif np.count_nonzero(np.array(source) != np.arange(heads)) and "shifted along an axis" not in found:
        assert found[0] == "slices in another order", found


@settings(max_examples=examples(60), deadline=None)
@given(SHAPES, SEEDS)
def test_the_same_values_in_no_order_at_all_are_found(shape: tuple[int, ...], seed: int) -> None:
    golden = make_golden(shape, seed)
    assert first(golden, _distinct_permutation(golden, np.random.default_rng(seed))).name == "same values in another order"


@settings(max_examples=examples(60), deadline=None)
@given(SHAPES, SEEDS, st.sampled_from(["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]))
def test_one_rounding_is_told_by_its_dtype(shape: tuple[int, ...], seed: int, precision: str) -> None:
    golden = make_golden(shape, seed)
    found = match(golden, rounded(golden, precision))
    assert [pattern.name for pattern in found] == [f"rounding of {precision}"]
    assert "rounded to nearest" in found[0].evidence
    back = first(rounded(golden, precision), golden)
    assert back.name == f"rounding of {precision}" and "golden is target" in back.evidence


@settings(max_examples=examples(60), deadline=None)
@given(SHAPES, SEEDS)
def test_cutting_is_no_rounding(shape: tuple[int, ...], seed: int) -> None:
    golden = make_golden(shape, seed)
    cut = (golden.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)
    found = first(golden, cut)
    assert found.name == "rounding of bfloat16" and "cut, not rounded" in found.evidence


@settings(max_examples=examples(80), deadline=None)
@given(SHAPES, SEEDS, st.floats(0.2, 4.0), st.sampled_from(["bfloat16", "float16", "float32"]))
def test_several_correct_roundings_are_rounding(shape: tuple[int, ...], seed: int, times: float, precision: str) -> None:
    """What layers in a narrower dtype do to golden: errors of both signs, everywhere, some roundings large."""
    random = np.random.default_rng(seed + 1)
    golden = make_golden(shape, seed)
    one = 0.425 * 2.0 ** -{"bfloat16": 8, "float16": 11, "float32": 24}[precision]
    target = rounded(golden * (1 + times * one * random.standard_normal(shape)), precision)
    if np.count_nonzero(golden != target) >= 8:
        assert names(golden, target) == [f"rounding of {precision}"]


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, st.floats(0.3, 0.9), PRECISIONS)
def test_values_that_stop_at_a_limit_are_saturated(seed: int, share: float, precision: str) -> None:
    golden = make_golden((16, 64), seed)
    limit = float(rounded(np.array(share * np.abs(golden).max()), precision))
    if max(np.count_nonzero(golden > limit), np.count_nonzero(golden < -limit)) < 2:
        return
    found = first(golden, rounded(np.clip(golden, -limit, limit), precision))
    assert found.name == "saturation"
    assert f"{np.count_nonzero(golden > limit)} values above {limit:.6g}" in found.evidence or np.count_nonzero(golden > limit) == 0


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, st.floats(0.5, 1.2), st.sampled_from([(8, "int4"), (128, "int8")]), st.sampled_from(["float32", "bfloat16"]))
@example(322, 1.0, (8, "int4"), "bfloat16")  # the step is 0.5, so that the values use 3 bits
@example(78, 0.97, (128, "int8"), "bfloat16")
def test_steps_of_a_quantizer_are_told(seed: int, reach: float, kind: tuple[int, str], precision: str) -> None:
    levels, name = kind
    golden = make_golden((32, 64), seed)
    scale = reach * np.abs(golden).max() / levels
    target = rounded(np.clip(np.rint(golden / scale), -levels, levels - 1) * scale, precision)
    found = first(golden, target)
    assert found.name == f"steps of {name}"
    beyond = np.maximum(golden / scale - (levels - 1), -levels - golden / scale).max()
    if beyond > 0.52 + 0.02 * levels:
        assert "stopped there" in found.evidence
    elif beyond < 0.5:
        assert "stopped there" not in found.evidence


# --- places ----------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, PRECISIONS, st.integers(0, 7), st.sampled_from([0.0, np.nan, np.inf]))
def test_a_blank_head_is_told_by_its_channels(seed: int, precision: str, head: int, blank: float) -> None:
    golden = make_golden((6, 8 * 16), seed)
    target = rounded(golden, precision)
    target[:, head * 16 : (head + 1) * 16] = blank
    found = first(golden, target)
    assert found.name == ("infinities" if blank == np.inf else "block of NaN" if blank != 0.0 else "block of zeros")
    assert f"indices {head * 16}..{head * 16 + 15} of axis 1 (16 of 128, as head {head} of 8), and nowhere else" in found.evidence


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, st.integers(0, 63), st.sampled_from([0.0, np.nan]))
def test_a_blank_channel_and_a_blank_box_are_told(seed: int, channel: int, blank: float) -> None:
    golden = make_golden((4, 3, 64), seed)
    target = golden.copy()
    target[..., channel] = blank
    assert f"at index {channel} of axis 2" in first(golden, target).evidence
    target = golden.copy()
    target[1:3, 1:, 8:40] = blank
    assert "in the box [1:3, 1:3, 8:40], 128 positions, and nowhere else" in first(golden, target).evidence


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, st.floats(0.3, 0.9))
def test_zeros_of_an_activation_are_no_block(seed: int, threshold: float) -> None:
    """Zeros scattered over the target, as where a threshold is wrong."""
    golden = make_golden((16, 64), seed)
    assert "block of zeros" not in names(golden, np.where(np.abs(golden) < threshold, 0.0, golden))
    golden = np.maximum(golden, 0.0)
    assert "block of zeros" not in names(golden, np.where(golden < threshold, 0.0, golden))


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, st.integers(0, 7), st.floats(0.05, 1.0), PRECISIONS)
def test_one_wrong_head_is_named_and_what_is_wrong_within_it(seed: int, head: int, size: float, precision: str) -> None:
    random = np.random.default_rng(seed + 1)
    golden = make_golden((12, 8, 32), seed)
    target = golden.copy()
    target[:, head] += size * random.standard_normal((12, 32))
    if precision == "float32" or size > 0.3:
        assert first(golden, rounded(target, precision)).name == "only some indices differ"
        assert f"index {head} of axis 1 (1 of 8)" in first(golden, rounded(target, precision)).evidence
    target[:, head] = 0.5 * golden[:, head]
    found = match(golden, rounded(target, precision))
    assert found[0].name.startswith("scale factor")
    assert any(f"index {head} of axis 1" in pattern.evidence or pattern.place == f"[:, {head}, :]" for pattern in found)


@settings(max_examples=examples(40), deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_from_a_token_on_is_said_so(seed: int, token: int) -> None:
    golden = make_golden((8, 4, 16), seed)
    target = golden.copy()
    target[token:] = make_golden((8 - token, 4, 16), seed + 1)
    found = match(golden, target)
    if token >= 4:  # at most half of the indices are "some"
        assert any(f"from index {token} on, to the end at 7 of axis 0" in pattern.evidence for pattern in found)
        assert any(pattern.name == "unrelated values" and pattern.place == f"[{token}:7, :, :]" for pattern in found)


@settings(max_examples=examples(40), deadline=None)
@given(SEEDS, st.integers(24, 100))
def test_an_error_that_grows_with_the_position_is_told(seed: int, length: int) -> None:
    golden = make_golden((length, 64), seed)
    noise = np.random.default_rng(seed + 1).standard_normal(golden.shape)
    grown = golden + 1e-2 * noise * (np.arange(length)[:, None] / length)
    assert "grows along an axis" in names(golden, rounded(grown, "float32"))
    assert "grows along an axis" not in names(golden, rounded(golden + 1e-2 * noise, "float32"))


# --- not planted, not found ------------------------------------------------------------------------------------------------------------

NOISES: dict[str, Plant] = {
    "relative": lambda g, r: g * (1 + 10.0 ** r.uniform(-4, -0.5) * r.standard_normal(g.shape)),
    "absolute": lambda g, r: g + 10.0 ** r.uniform(-3, 0) * r.standard_normal(g.shape),
    "uniform": lambda g, r: g + r.uniform(-0.3, 0.3, g.shape),
    "heavy tails": lambda g, r: g + 0.01 * r.standard_cauchy(g.shape),
    "blocked sums": lambda g, r: g + 0.1 * r.standard_normal(g.shape) * r.standard_normal((*g.shape[:-1], 1)),
    "outliers": lambda g, r: g * (1 + 0.05 * r.standard_normal(g.shape) * (r.random(g.shape) < 0.3)),
}


@settings(max_examples=examples(120), deadline=None)
@given(SHAPES, SEEDS, st.booleans())
@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_no_pattern(noise: str, shape: tuple[int, ...], seed: int, is_positive: bool) -> None:
    random = np.random.default_rng(seed + 1)
    golden = make_golden(shape, seed)
    golden = rounded(np.exp(golden), "float32") if is_positive else golden
    found = names(golden, rounded(NOISES[noise](golden, random), "float32"))
    # What has next to nothing to do with golden is told as such.
    assert [name for name in found if name not in ("unrelated values", "only some indices differ")] == []
    if noise not in ("heavy tails", "blocked sums", "outliers"):  # of a small tensor these may hit some indices only
        assert "only some indices differ" not in found


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, SHAPES)
@example(129192, (1, 128))  # one element has all of the distance but 4e-4 of it, so that its own factor is nearly right
def test_outlier_channels_of_golden_are_no_wrong_channels(seed: int, shape: tuple[int, ...]) -> None:
    """A few channels of a language model are a thousand times larger than all others, and so are their errors."""
    random = np.random.default_rng(seed + 1)
    golden = make_golden(shape, seed)
    golden[..., :2] *= 1000.0
    golden[..., 2:4] *= 1e-3
    found = names(golden, rounded(golden * (1 + 1e-2 * random.standard_normal(shape)), "float32"))
    assert found == []


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, SHAPES, PRECISIONS, st.sampled_from([0.5, 0.9, -3.0]))
def test_a_factor_is_told_where_a_few_elements_outweigh_all_others(
    seed: int, shape: tuple[int, ...], precision: str, factor: float
) -> None:
    golden = make_golden(shape, seed)
    golden.reshape(-1)[np.random.default_rng(seed).choice(golden.size, 3, replace=False)] *= 1e3
    assert first(golden, rounded(golden * factor, precision)).name == "scale factor"


@settings(max_examples=examples(60), deadline=None)
@given(SHAPES, SEEDS)
def test_other_weights_give_unrelated_values(shape: tuple[int, ...], seed: int) -> None:
    golden, target = make_golden(shape, seed), make_golden(shape, seed + 1)
    correlation = abs(np.corrcoef(golden.ravel(), target.ravel())[0, 1])
    if golden.size >= 256 and correlation < 0.2:
        assert names(golden, target) == ["unrelated values"]


@settings(max_examples=examples(60), deadline=None)
@given(SEEDS, st.integers(1, 7), SHAPES)
def test_a_few_elements_fit_nothing(seed: int, count: int, shape: tuple[int, ...]) -> None:
    golden = make_golden(shape, seed)
    target = golden.copy()
    positions = np.random.default_rng(seed).choice(golden.size, count, replace=False)
    target.reshape(-1)[positions] += np.arange(1, count + 1)
    assert [name for name in names(golden, target) if name != "saturation"] == []


# --- odd values ------------------------------------------------------------------------------------------------------------------------

ODD: dict[str, tuple[Array, Array, list[str]]] = {
    "empty": (np.zeros((0, 4)), np.zeros((0, 4)), ["equal"]),
    "empty of other shape": (np.zeros((0, 4)), np.zeros((4, 0)), ["equal"]),
    "scalars": (np.array(1.0), np.array(2.0), []),
    "equal scalars": (np.array(np.nan), np.array(np.nan), ["equal"]),
    "negative zero": (np.zeros(9), -np.zeros(9), ["equal"]),
    "all NaN": (np.arange(20.0), np.full(20, np.nan), ["block of NaN"]),
    "both all NaN": (np.full(20, np.nan), np.full(20, np.nan), ["equal"]),
    "NaN in golden only": (np.full(20, np.nan), np.arange(20.0), ["NaN in golden"]),
    "a mask with a finite number": (np.where(np.eye(8) == 1, -np.inf, 0.0), np.where(np.eye(8) == 1, -65504.0, 0.0), ["filled infinities"]),
    "a mask of two infinities": (np.array([np.inf, -np.inf, 0.0]), np.array([9.0, -9.0, 0.0]), []),
    "one NaN": (np.arange(20.0), np.where(np.arange(20) == 7, np.nan, np.arange(20.0)), ["block of NaN"]),
    "scattered NaN": (np.ones((8, 8)), np.where(np.eye(8) == 1, np.nan, 1.0), ["scattered NaN"]),
    "few NaN": (np.ones((8, 8)), np.where((np.eye(8) == 1) & (np.arange(8) < 7), np.nan, 1.0), ["few NaN"]),
    "infinities of the other sign": (np.full(20, np.inf), np.full(20, -np.inf), []),
    "overflow": (np.full((4, 8), 1e300), np.full((4, 8), -1e300), []),
    "all zero": (np.arange(1.0, 40.0), np.zeros(39), ["block of zeros"]),
    "golden zero": (np.zeros(39), np.arange(1.0, 40.0), []),
    "constants": (np.full(64, 2.0), np.full(64, 3.0), []),
    "bool inverted": (np.arange(64) % 3 == 0, np.arange(64) % 3 != 0, ["mirrored"]),
    "integers": (np.arange(100).reshape(10, 10), np.arange(100).reshape(10, 10).T.copy(), ["transposed"]),
    "integers beyond float64": (np.arange(40) + 2**60, np.arange(40) + 2**60 + 1, []),
    "unsigned": (np.arange(64, dtype=np.uint64) + 2**63, np.arange(64, dtype=np.uint64) + 2**63, ["equal"]),
    "complex conjugate": (np.exp(1j * np.arange(64.0)), np.exp(-1j * np.arange(64.0)), ["sign flip"]),
    "denormals": (np.arange(64) * 5e-324, np.arange(64)[::-1] * 5e-324, ["reversed"]),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_odd_values(case: str) -> None:
    golden, target, expected = ODD[case]
    found = [name for name in names(golden, target) if name != "only some indices differ"]
    assert found == expected


@pytest.mark.parametrize("count", range(2, 12))
@pytest.mark.parametrize(("golden_blank", "blank"), [(1.0, np.nan), (1.0, np.inf), (np.nan, 1.0)])
def test_a_full_box_of_any_size_is_a_box(count: int, golden_blank: float, blank: float) -> None:
    golden, target = np.ones((1, 12, 64)), np.ones((1, 12, 64))
    golden[0, 12 - count :, 17], target[0, 12 - count :, 17] = golden_blank, blank
    (found,) = match(golden, target)
    assert f"in the box [:, {12 - count}:12, 17], {count} positions, and nowhere else" in found.evidence and found.name != "scattered NaN"


@pytest.mark.parametrize(("count", "said"), [(2, "too few to tell a pattern"), (7, "too few to tell a pattern"), (8, "in no block")])
@pytest.mark.parametrize(("golden_blank", "blank"), [(1.0, np.nan), (1.0, np.inf), (np.nan, 1.0)])
def test_of_few_that_fill_no_box_nothing_is_told(count: int, said: str, golden_blank: float, blank: float) -> None:
    golden, target = np.ones((12, 64)), np.ones((12, 64))
    for index in range(count):
        golden[index, 5 * index], target[index, 5 * index] = golden_blank, blank
    (found,) = match(golden, target)
    assert f"at {count} of 768 positions, {said}" in found.evidence


def test_few_at_the_ends_of_what_is_blank_on_both_sides_are_no_box() -> None:
    golden, target = np.ones((12, 64)), np.ones((12, 64))
    golden[3, 10:20] = target[3, 10:20] = np.nan
    golden[3, [10, 19]] = 1.0
    (found,) = match(golden, target)
    assert found.name == "few NaN" and "at 2 of 768 positions, too few to tell a pattern" in found.evidence


def test_other_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="golden has 6 elements but target has 4"):
        match(np.zeros((2, 3)), np.zeros(4))


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_no_values_whatever_break_a_pattern(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(0, 5), max_size=4)))
    count = int(np.prod(shape))
    numbers = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324])
    sides = [np.array(data.draw(st.lists(numbers, min_size=count, max_size=count)), dtype=np.float64).reshape(shape) for _ in range(2)]
    for pattern in match(*sides):
        assert pattern.fits and pattern.name and pattern.evidence
    couple = Couple(*sides)
    with np.errstate(all="ignore"):
        for ask in (*BLOCKS, *CAUSES, *PLACES, unrelated):
            found = ask(couple)
            assert found.fits == bool(found.evidence)


# --- words and numbers -----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e300, 1e300), max_size=20))
def test_norm_neither_overflows_nor_vanishes(values: list[float]) -> None:
    array = np.array(values)
    exact = np.sqrt(np.sum(array.astype(np.longdouble) ** 2))
    assert norm(array) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11), ("float32", 24), ("float64", 53)])
def test_precision_is_seen_in_the_values(precision: str, bits: int) -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    assert significand_bits(rounded(values, precision)) == bits
    assert significand_bits(np.array([0.0, np.nan, np.inf])) == 1


def test_indices_are_told_as_runs() -> None:
    assert indices_text([3]) == "3"
    assert indices_text([0, 1, 2, 5, 7, 8]) == "0..2, 5, 7..8"
    assert indices_text([0, 2, 4, 6, 8, 10]) == "0, 2, 4, 6 and 2 more runs"


def test_a_wrong_position_is_told_by_its_number() -> None:
    golden = make_golden((4, 8, 64), 0)
    angles = 3 * 10_000.0 ** (-np.arange(32) / 32)
    one, other = golden[..., :32], golden[..., 32:]
    turned = np.concatenate([one * np.cos(angles) - other * np.sin(angles), one * np.sin(angles) + other * np.cos(angles)], axis=-1)
    evidence = first(golden, rounded(turned, "bfloat16")).evidence
    assert "channels i and i + 32 of each 64" in evidence and "as by +3 positions of RoPE" in evidence
