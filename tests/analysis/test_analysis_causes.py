"""What is said where an error is no number: shapes, NaN, infinity, integers, a golden of zeros; and how far that reaches."""

from __future__ import annotations

from typing import Any

import pytest
from report_tables import NAN, OPERATIONS, TOKENS, ids, model, row, unread, words_of


def test_shapes_that_part_and_integers_that_differ() -> None:
    assert words_of(row("a"), unread("b", **SHAPE))[0] == "the shapes part at token 0, b"
    sides = {"golden_shape": "(8, 64)", "acl_shape": "(64, 8)"}
    of_one_count = row("b", error=0.4, **sides, verdict_reason="golden has shape (8, 64) but target has shape (64, 8) [E_SHAPE]")
    begin = "the shapes part at token 0, b: golden (8, 64), target"
    assert words_of(row("a"), of_one_count)[0] == f"{begin} (64, 8), the same extents in another order: is one transposed?"
    for other in ("(16, 32)", "(8, 8, 8)", "(512,)"):
        assert words_of(row("a"), {**of_one_count, "acl_shape": other})[0] == f"{begin} {other}"
    words = words_of(row("a"), ids("positions.input", target=6), row("c", error=0.5))
    assert words[0].startswith("integers differ first at token 0, the input of positions")


# What makes a pair differ without a number that says by how much.
SHAPE = {"cmp_flag": False, "verdict": "fail", "verdict_reason": "the element counts differ [E_SHAPE]"}
INTEGERS = {"golden_dtype": "int64", "acl_dtype": "int64", "mismatch_count": 5, "verdict": "fail"}
ZEROS = {
    "golden_max_value": 0.0,
    "golden_min_value": 0.0,
    "max_absolute_error": 0.001,
    "signal_to_noise_db": float("-inf"),
    "mismatch_count": 9,
    "verdict": "fail",
}
VAST = {"max_absolute_error": 1e300, "signal_to_noise_db": -12000.0, "mismatch_count": 9, "verdict": "fail"}
ALL = [
    pytest.param(VAST, "error at", "error is beyond any number in", id="vast"),
    pytest.param(SHAPE, "the shapes part at", "the shapes differ in", id="shape"),
    pytest.param(NAN, "NaN on one side only first appears at", "NaN or infinity meets something else in", id="nan"),
    pytest.param(INTEGERS, "integers differ first at", "integers differ in", id="integers"),
    pytest.param(ZEROS, "golden is all zeros at", "golden alone is all zeros in", id="zeros"),
]  # fmt: skip


def with_all(rows: list[dict[str, Any]], changed: dict[str, Any], *names: str, tokens: tuple[str, ...] = TOKENS) -> list[dict[str, Any]]:
    is_changed = [any(name in cells["data_id"] for name in names) and cells["token_id"] in tokens for cells in rows]
    return [{**cells, **changed} if this else cells for cells, this in zip(rows, is_changed, strict=True)]


@pytest.mark.parametrize(("changed", "first", "more"), ALL)
def test_what_is_wrong_everywhere_is_said_to_be(changed: dict[str, Any], first: str, more: str) -> None:
    words = words_of(*with_all(model(), changed, ""))
    assert words[0].startswith(f"{first} token 0, layer 0, norm")
    assert words[1:] == ["seen at every token, in every layer (4)", f"{more} all 48 pairs"]


@pytest.mark.parametrize(("changed", "first", "more"), ALL)
def test_what_is_wrong_in_some_layers_is_said_to_be(changed: dict[str, Any], first: str, more: str) -> None:
    rows = model(error=0.0 if changed is INTEGERS else 0.002, growth=0.0)
    words = words_of(*with_all(rows, changed, "2.attn", "2.mlp", "3.", tokens=("2", "3")))
    assert words[0].startswith(f"{first} token 2, layer 2, attn")
    assert words[1:3] == ["begins at token 2 and stays, from layer 2 on", f"{more} 10 of 48 pairs"]
    assert "seen at token 1 only, in layer 2 only" in words_of(*with_all(rows, changed, "2.attn", tokens=("1",)))


@pytest.mark.parametrize(("changed", "first", "more"), ALL)
def test_what_inputs_had_already_is_not_its_own(changed: dict[str, Any], first: str, more: str) -> None:
    rows = [row(f"layers.{layer}.{name}") for layer in range(4) for name in ("mlp.input", "mlp")]
    rows = rows[:3] + with_all(rows[3:], changed, "")
    words = words_of(*rows)
    assert words[0].startswith(f"{first} token 0, layer 1, mlp")
    where = "from layer 1 on" if changed is SHAPE else "in layer 1 (in 2 more it cannot be told: what goes in is wrong already)"
    assert words[1:3] == [f"seen {where}", f"{more} 5 of 8 pairs"]


def test_an_error_beyond_any_number_is_no_jump_to_infinity() -> None:
    words = words_of(*with_all(model(), VAST, "2.attn"))
    assert words[0] == "error at token 0, layer 2, attn is beyond any number, what ran before it was fine"
    assert words_of(*model(l2_attn_1=1e40))[0].startswith("error jumps at token 1, layer 2, attn: 0.0028 -> 1e+40 (4e+42 times), ")


def test_a_golden_of_zeros_is_no_jump_to_infinity() -> None:
    words = words_of(*with_all(model(), ZEROS, "2.attn"))
    assert words[0] == "golden is all zeros at token 0, layer 2, attn, target differs from that by up to 0.001, what ran before it was fine"


@pytest.mark.parametrize(
    ("nans", "infinities", "said"),
    [
        ((0, 3), (0, 0), "NaN on one side only"),
        ((0, 1), (1, 0), "NaN on one side only"),
        ((2, 2), (0, 1), "infinity on one side only"),
        ((1, 1), (0, 0), "NaN at other positions"),
        ((0, 0), (1, 1), "another infinity"),
        ((1, 1), (1, 1), "another NaN or infinity"),
    ],
)
def test_what_is_not_finite_is_called_what_it_is(nans: tuple[int, int], infinities: tuple[int, int], said: str) -> None:
    counts = {f"{side}_{what}_count": both[place] for what, both in (("nan", nans), ("inf", infinities)) for place, side in enumerate(("golden", "target"))}  # fmt: skip
    words = words_of(row("a"), row("b", nonfinite_mismatch_count=2, mismatch_count=2, verdict="fail", **counts))
    assert words[0] == f"{said} first appears at token 0, b, in 2 elements: nothing before it had any"


def test_inputs_that_could_not_be_compared_are_not_called_clean() -> None:
    inputs = row("a.input[0]"), unread("a.input[1]")
    words = words_of(*inputs, row("a", **INTEGERS))
    assert words[0] == "integers differ first at token 0, a: no error before it explains that, 1 input could not be compared"
    begin = "NaN on one side only first appears at token 0, a, in 3 elements: "
    assert words_of(*inputs, row("a", **NAN))[0] == f"{begin}its other inputs had none, 1 could not be compared"
    assert words_of(inputs[1], row("a", **NAN))[0] == f"{begin}nothing before it had any, 1 input could not be compared"
    assert words_of(inputs[0], row("a", **NAN))[0] == f"{begin}its inputs had none"


@pytest.mark.parametrize("count", ["golden_nan_count", "golden_inf_count"])
def test_a_golden_with_nan_or_infinity_is_not_called_all_zeros(count: str) -> None:
    words = words_of(*with_all(model(), {**ZEROS, count: 3, count.replace("golden", "target"): 3}, "2.attn"))
    assert words[0] == "error at token 0, layer 2, attn is beyond any number, what ran before it was fine"


def test_tokens_of_which_it_cannot_be_told_are_not_called_fine() -> None:
    wrong_later = {f"l{layer}_{operation}_{token}": 1.3 for layer in range(4) for operation in OPERATIONS for token in "23"}
    assert words_of(*model(**{**wrong_later, "l2_attn_1": 0.4, "l3_norm_1": 0.4}))[1] == (
        "seen at token 1 (at 2 more it cannot be told: what ran before it is wrong already), in layer 2 only"
    )
