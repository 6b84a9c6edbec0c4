"""What is said about reports made by hand: one case for each thing that a story may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_tables import alone, ids, row, table_of, unread
from tries import examples

from fastcmp.analysis.order import find_order, parts_before_wholes
from fastcmp.analysis.story import Story, find_story
from fastcmp.analysis.words import tell
from fastcmp.sources.dump import RunOrder

TOKENS = ("0", "1", "2", "3")
OPERATIONS = ("norm", "attn", "mlp")


def words_of(*rows: dict[str, Any], **keywords: Any) -> list[str]:
    return tell(find_story(table_of(*rows), **keywords))


def model(layers: int = 4, error: float = 0.002, growth: float = 0.0004, **changed: float) -> list[dict[str, Any]]:
    """Outputs of a model whose error grows as rounding does; ``changed`` has other errors, by ``layer_operation_token``."""
    rows = []
    for token in TOKENS:
        for layer in range(layers):
            for operation in OPERATIONS:
                key = f"l{layer}_{operation}_{token}"
                rows.append(row(f"layers.{layer}.{operation}", token, changed.get(key, error + growth * layer)))
    return rows


def test_rounding_is_called_so_with_its_course() -> None:
    assert words_of(*model()) == ["no more than rounding: bfloat16, 0.002 growing to 0.0032 over 4 layers, 1.2 roundings in one at most"]


def test_names_without_layers_have_a_course_too() -> None:
    assert words_of(row("a", error=0.002), row("b", error=0.003)) == ["no more than rounding: bfloat16, 0.002 growing to 0.003"]


@pytest.mark.parametrize(
    ("first", "last", "course"),
    [
        (0.002, 0.003, "0.002 growing to 0.003"),
        (0.003, 0.002, "0.003 falling to 0.002"),
        (0.002, 0.0, "0.002 falling to 0"),
        (0.002, 0.002, "staying at 0.002"),
        (0.002, 0.002004, "staying at 0.002"),
    ],
)
def test_an_error_grows_falls_or_stays(first: float, last: float, course: str) -> None:
    assert words_of(row("a", error=first), row("b", error=last)) == [f"no more than rounding: bfloat16, {course}"]
    words = words_of(row("layers.0.a", error=first), row("layers.1.a", error=last))
    assert words[0].startswith(f"no more than rounding: bfloat16, {course} over 2 layers, ")


def test_an_error_that_was_larger_between_is_not_said_to_stay() -> None:
    errors = (0.001, 0.004, 0.002, 0.001)
    words = words_of(*(row(f"layers.{layer}.a", error=error) for layer, error in enumerate(errors)))
    assert words[0].startswith("no more than rounding: bfloat16, 0.001 to 0.001, 0.004 at most, over 4 layers, ")
    words = words_of(*(row(name, error=error) for name, error in zip("abcd", errors, strict=True)))
    assert words == ["no more than rounding: bfloat16, 0.001 to 0.001, 0.004 at most"]


def test_a_jump_without_inputs_is_told_beside_what_ran_before() -> None:
    assert words_of(*model(l2_attn_1=0.4)) == [
        "error jumps at token 1, layer 2, attn: 0.0028 -> 0.4 (143 times), what ran before it was fine",
        "seen at token 1 only, in layer 2 only",
    ]


def test_where_the_order_is_by_name_nothing_is_said_to_have_run_before() -> None:
    words = words_of(*model(l2_attn_1=0.4), run_order="name")
    assert words[0] == "error jumps at token 1, layer 2, attn: 0.0028 -> 0.4 (143 times), what stands before it by name was fine"
    assert words[-1].startswith("first means by name")


@pytest.mark.parametrize(
    ("run_order", "before", "last"),
    [
        ("file", "what the file lists before it", "first means in the order in which the file lists its tensors"),
        (
            "files",
            "what stands before it",
            "first means by the names of the files, and within a file in the order in which it lists its tensors",
        ),
    ],
)
def test_where_files_list_their_tensors_first_is_by_that(run_order: RunOrder, before: str, last: str) -> None:
    rows = model(l2_attn_1=0.4, **{f"l3_{operation}_1": 0.0 for operation in OPERATIONS})
    words = words_of(*rows, run_order=run_order)
    assert words[0] == f"layer 3 at token 1 is equal bit for bit although {before} is not: was it taken from the same run?"
    assert words[1].endswith(f", {before} was fine") and words[-1] == last
    rows = [row(f"layers.{layer}.mlp", error=0.01 * (layer + 1)) for layer in range(8)]
    words = words_of(*rows, row("layers.8.mlp", error=1.4), run_order=run_order)
    assert words[-2] == "the first pair that fails stands before that, at token 0, layer 5, mlp, without a jump"


def test_the_first_tensor_is_of_a_token_where_there_is_one() -> None:
    assert words_of(row("a", error=0.4))[0].endswith(", the first tensor of its token")
    assert words_of(row("a", "", error=0.4))[0].endswith(", the first tensor")


def test_the_first_tensor_after_others_that_are_not_known_is_not_called_the_first() -> None:
    assert words_of(unread("a"), row("b", error=0.4))[0].endswith(", the first tensor of its token that could be compared")
    assert words_of(alone("a", ""), row("b", "", error=0.4))[0].endswith(", the first tensor that could be compared")
    assert words_of(row("a", "", error=0.4), alone("b", ""))[0].endswith(", the first tensor")


def test_a_jump_from_a_token_on() -> None:
    words = words_of(*model(**{f"l1_mlp_{token}": 0.4 for token in "23"}))
    assert words[1] == "begins at token 2 and stays, in layer 1 only"


def test_a_jump_at_some_tokens_and_at_the_last() -> None:
    assert words_of(*model(l3_mlp_0=0.4, l3_mlp_2=0.4))[1] == "seen at 2 of 4 tokens, first at token 0, in layer 3 only"
    assert words_of(*model(l3_mlp_3=0.4))[1] == "begins at token 3, the last one, in layer 3 only"


def test_a_jump_that_fails_comes_before_one_that_passes() -> None:
    words = words_of(*model(l0_mlp_0=0.03, l3_attn_1=0.4))
    assert (
        words[0].startswith("error jumps at token 1, layer 3, attn")
        and "before it the error jumps at token 0, layer 0, mlp, which passes" in words
    )


def test_a_jump_that_passes_is_told_where_nothing_fails() -> None:
    assert words_of(*model(l2_mlp_0=0.04))[0].endswith("(14 times), what ran before it was fine; it still passes")


def test_an_input_that_jumps_points_at_what_was_not_dumped() -> None:
    rows = [
        row("layers.0.mlp.input", error=0.002),
        row("layers.0.mlp", error=0.003),
        row("layers.1.norm.input", error=0.9),
        row("layers.1.norm", error=0.9),
    ]
    assert words_of(*rows)[0] == (
        "error jumps at token 0, layer 1, the input of norm: 0.003 -> 0.9 (300 times);"
        " what made it was not dumped, and what ran before it, layer 0, mlp, was fine"
    )  # fmt: skip


def test_what_comes_out_fine_is_no_place_of_which_it_cannot_be_told() -> None:
    for after in (0.0, 0.001):
        rows = [row(f"layers.{layer}.mlp", error=error) for layer, error in enumerate((0.001, 0.5, after, after))]
        assert words_of(*rows)[1] == "seen in layer 1 only"


def test_where_it_cannot_be_told_it_is_said_whether_inputs_are_known() -> None:
    rows = [row(f"layers.{layer}.mlp", error=error) for layer, error in enumerate((0.001, 0.5, 0.5))]
    assert words_of(*rows)[1] == "seen in layer 1 (in 1 more it cannot be told: what ran before it is wrong already)"
    assert "(in 1 more it cannot be told: what stands before it by name is wrong already)" in words_of(*rows, run_order="name")[1]
    rows.insert(-1, row("layers.2.mlp.input", error=0.5))
    assert words_of(*rows)[1] == "seen in layer 1 (in 1 more it cannot be told: what goes in is wrong already)"


def test_layers_are_those_at_the_tokens_and_on_the_ranks_that_are_said() -> None:
    wrong = {("0", "0"): 0.5, ("1", "3"): 0.5}
    rows = [row(f"layers.{layer}.mlp", token, wrong.get((layer, token), 0.0)) for token in TOKENS for layer in "01"]
    assert words_of(*rows)[1] == "seen at token 0, in layer 0, and at 1 other place"
    rows = [row(f"layers.{layer}.mlp", error=0.5 if layer == rank else 0.0, rank=rank) for rank in "012" for layer in "012"]
    assert words_of(*rows)[1] == "seen in layer 0, on rank 0, and at 2 other places"
    rows = [{**row(f"layers.{layer}.mlp", token), **(NAN if (layer, token) in wrong else {})} for token in TOKENS for layer in "01"]
    assert words_of(*rows)[1] == "seen at token 0, in layer 0, and at 1 other place"


def test_one_rank_of_two() -> None:
    rows = [
        {**cells, "rank": rank}
        for rank, cells_of in (("0", model()), ("1", model(**{f"l1_mlp_{token}": 0.5 for token in TOKENS})))
        for cells in cells_of
    ]
    words = words_of(*rows)
    assert words[0].startswith("error jumps at rank 1, token 0, layer 1, mlp: ")
    assert words[1] == "seen at every token, in layer 1 only, on rank 1 only"


def test_every_layer_of_one_operation_where_inputs_tell() -> None:
    rows = []
    for token in TOKENS:
        for layer in range(3):
            rows += [
                row(f"layers.{layer}.norm.input", token, 0.003),
                row(f"layers.{layer}.norm", token, 0.2),
                row(f"layers.{layer}.mlp.input", token, 0.004),
                row(f"layers.{layer}.mlp", token, 0.004),
            ]
    words = words_of(*rows)
    assert words == [
        "error jumps at token 0, layer 0, norm: 0.003 -> 0.2 (67 times), its inputs were fine",
        "seen at every token, in every layer (3)",
    ]


def test_inputs_that_are_not_known_are_told() -> None:
    words = words_of(row("a.input", error=0.003), unread("a.input[1]"), row("a", error=0.5))
    assert words[0] == "error jumps at token 0, a: 0.003 -> 0.5 (167 times), its other inputs were fine, 1 could not be compared"
    assert words[-1] == "1 tensor before it could not be compared: it may have begun there"


@pytest.mark.parametrize("hole", [unread("b"), alone("b")], ids=["unread", "alone"])
def test_what_is_not_known_is_told(hole: dict[str, Any]) -> None:
    assert (
        words_of(row("a", error=0.001), hole, row("c", error=0.5))[-1]
        == "1 tensor before it could not be compared: it may have begun there"
    )
    assert (
        words_of(row("a", error=0.001), row("c", error=0.5), hole)[-1]
        != "1 tensor before it could not be compared: it may have begun there"
    )
    assert words_of(row("a", error=0.001), hole)[-1] == "1 tensor could not be compared: what is in it is not known"


def test_an_order_by_name_is_told() -> None:
    rows = [row("a", error=0.001), row("b", error=0.5)]
    assert words_of(*rows, run_order="name") == [
        *(line.replace("what ran before it", "what stands before it by name") for line in words_of(*rows)),
        "first means by name: such a dump does not say in which order its tensors were computed",
    ]


def test_a_slow_growth_is_no_jump_and_not_called_rounding() -> None:
    words = words_of(*model(layers=6, error=0.006, growth=0.012))
    assert words == [
        "no operation adds much by itself: bfloat16, 0.006 growing to 0.066 over 6 layers, 7.1 roundings in one at most; it is rounding everywhere, or a small error in each layer"
    ]


def test_a_failure_before_the_jump_is_told() -> None:
    rows = [row(f"layers.{layer}.mlp", error=0.01 * (layer + 1)) for layer in range(8)]
    words = words_of(*rows, row("layers.8.mlp", error=1.4))
    assert words[0].startswith("error jumps at token 0, layer 8, mlp: 0.08 -> 1.4 (18 times), far more than anything before it")
    assert words[-1] == "the first pair that fails ran before that, at token 0, layer 5, mlp, without a jump"


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
NAN = {"nonfinite_mismatch_count": 3, "golden_nan_count": 0, "target_nan_count": 3, "mismatch_count": 3, "verdict": "fail"}
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


# --- the tokens of both runs -------------------------------------------------------------------------------------------------------------


def generation(*, read: dict[str, int] | None = None, chosen: dict[str, int] | None = None, far: str = "") -> list[dict[str, Any]]:
    """Four tokens: the ids that are read where given, an embedding, a layer, the ids that are chosen where given."""
    rows = []
    for token in TOKENS:
        if read is not None:
            rows.append(ids("input_ids", token, target=read.get(token, 5)))
        error = 1.4 if far and token >= far else 0.002
        rows += [row("embed_tokens", token, error), row("layers.0.mlp", token, error), row("layers.1.mlp", token, error)]
        if chosen is not None:
            rows.append(ids("next_token", token, target=chosen.get(token, 5)))
    return rows


AFTER = "before that no more than rounding: bfloat16, staying at 0.002 over 2 layers, 1.2 roundings in one at most"


def test_other_tokens_read_are_said_first() -> None:
    assert words_of(*generation(read={"2": 9, "3": 8}, far="2")) == [
        "the runs read other tokens from token 2 on: everything from there on differs anyway",
        AFTER,
    ]
    words = words_of(*generation(read={"2": 9}, chosen={"1": 9}, far="2"))
    assert (
        words[0]
        == "the runs read other tokens from token 2 on (they chose differently at token 1 (golden 5, target 9)): everything from there on differs anyway"
    )


def test_other_tokens_chosen_are_said_first() -> None:
    assert words_of(*generation(chosen={"1": 9}, far="2")) == [
        "the runs chose other tokens at token 1 (golden 5, target 9): everything after it differs anyway",
        AFTER,
    ]
    assert (
        words_of(*generation(chosen={"3": 9}))[0]
        == "the runs chose other tokens at token 3 (golden 5, target 9): everything after it differs anyway"
    )


def test_a_target_that_was_fed_can_be_compared() -> None:
    for rows in (generation(chosen={"1": 9}), generation(read={}, chosen={"1": 9})):
        words = words_of(*rows)
        assert (
            words[0] == "the runs chose other tokens at token 1 (golden 5, target 9), but both read the same ones then: all can be compared"
        )
        assert words[1].startswith("no ")


def test_an_embedding_of_another_token_is_a_hint() -> None:
    words = words_of(*generation(far="2"))
    assert words == [
        "the runs seem to read other tokens from token 2 on: embed_tokens is of another one; everything from there on differs anyway",
        AFTER,
    ]


def test_a_wrong_embedding_at_every_token_is_no_other_text() -> None:
    assert words_of(*generation(far="0"))[0].startswith("error jumps at token 0, embed_tokens: 0 -> 1.4")


def test_a_jump_before_other_tokens_is_still_told() -> None:
    rows = generation(read={"3": 9}, far="3")
    rows = [row("layers.1.mlp", "2", 0.7) if cells["data_id"] == "layers.1.mlp" and cells["token_id"] == "2" else cells for cells in rows]
    words = words_of(*rows)
    assert words[0].startswith("the runs read other tokens from token 3 on") and words[1].startswith("error jumps at token 2, layer 1, mlp")
    assert words[2].startswith("begins at token 2, the last one that can be compared")


def test_by_name_what_an_operation_made_comes_after_its_parts() -> None:
    """By name it stands before them, with all that they did wrong; each token has it between them and the next layer."""
    names = [f"layers.{layer}{part}" for layer in range(4) for part in ("", ".attn", ".attn.q", ".mlp")]
    errors = {
        "layers.2": 0.06,
        "layers.2.mlp": 0.19,
        "layers.3": 0.06,
        "layers.3.attn": 0.06,
        "layers.3.attn.q": 0.06,
        "layers.3.mlp": 0.06,
    }
    rows = [row(name, token, errors.get(name, 0.003)) for name in names for token in "01"]
    assert words_of(*rows, run_order="name")[0] == (
        "error jumps at token 0, layer 2, mlp: 0.003 -> 0.19 (63 times), what stands before it by name was fine"
    )
    in_order = parts_before_wholes(find_order(table_of(*rows)))
    ran = [rows[number]["data_id"] for number in in_order.rows.tolist() if rows[number]["token_id"] == "1"]
    assert ran[:4] == ["layers.0.attn.q", "layers.0.attn", "layers.0.mlp", "layers.0"] and ran[-1] == "layers.3"
    assert sorted(in_order.position.tolist()) == list(range(len(rows)))


# --- what is too equal -------------------------------------------------------------------------------------------------------------------


def test_one_file_on_both_sides() -> None:
    both = {"golden_data_path": "/d/a.npy", "acl_data_path": "/d/a.npy"}
    assert words_of(row("a", **both))[0] == "1 pair of one file with itself: both sides name the same path"
    assert "itself" not in "".join(words_of(row("a", golden_data_path="a.npy", acl_data_path="a.npy")))


def test_a_layer_that_is_exact_behind_one_that_is_not() -> None:
    rows = model(**{f"l2_{operation}_1": 0.0 for operation in OPERATIONS})
    expected = "layer 2 at token 1 is equal bit for bit although what ran before it is not: was it taken from the same run?"
    assert words_of(*rows)[0] == expected
    assert expected not in words_of(*model(**{f"l0_{operation}_1": 0.0 for operation in OPERATIONS})), "the first layer may well be exact"


def repeated(rows: list[dict[str, Any]], side: str, from_key: tuple[str, str], to_key: tuple[str, str]) -> list[dict[str, Any]]:
    """One side's statistics of a layer at a token stand in another's place."""
    source = {cells["data_id"].split(".")[2]: cells for cells in rows if (cells["data_id"].split(".")[1], cells["token_id"]) == from_key}
    result = []
    for cells in rows:
        layer, operation = cells["data_id"].split(".")[1:]
        if (layer, cells["token_id"]) == to_key:
            cells = {**cells, **{f"{side}_{name}_value": source[operation][f"{side}_{name}_value"] for name in ("max", "min", "mean")}}
        result.append(cells)
    return result


@pytest.mark.parametrize(("side", "shown"), [("acl", "target"), ("golden", "golden")])
def test_a_layer_that_repeats_the_one_before(side: str, shown: str) -> None:
    words = words_of(*repeated(model(), side, ("1", "2"), ("2", "2")))
    assert (
        words[0]
        == f"{shown}'s layer 2 repeats layer 1 at token 2 (3 of 3 tensors), on the other side it does not: a replayed graph with old inputs?"
    )


def test_a_token_that_repeats_the_one_before() -> None:
    rows = model()
    for layer in range(4):
        rows = repeated(rows, "acl", (str(layer), "1"), (str(layer), "2"))
    assert (
        words_of(*rows)[0]
        == "target's token 2 repeats token 1 (12 of 12 tensors), on the other side it does not: a replayed graph with old inputs?"
    )


def test_what_repeats_on_both_sides_is_nothing_to_tell() -> None:
    rows = repeated(repeated(model(), "acl", ("1", "2"), ("2", "2")), "golden", ("1", "2"), ("2", "2"))
    assert not any("repeats" in line for line in words_of(*rows))


# --- anything at all ---------------------------------------------------------------------------------------------------------------------


def test_nothing_has_no_story() -> None:
    assert words_of() == [] and isinstance(find_story(table_of()), Story)
    assert words_of(unread("a")) == ["1 tensor could not be compared: what is in it is not known"]


def test_every_name_goes_through_what_makes_it_safe() -> None:
    evil = "\x1b[31m"
    rows = [row(f"{evil}.layers.0.{evil}", f"t{evil}", error, rank=f"{evil}{rank}") for rank in "12" for error in (0.9,)]
    rows += [row(f"{evil}embed", f"t{evil}", 0.9), ids(f"{evil}.next_token", f"t{evil}", target=9)]
    words = tell(find_story(table_of(*rows)), lambda name: name.replace("\x1b", "?"))
    assert words and not any("\x1b" in line for line in words) and any("?[31m" in line for line in words)


NAMES = st.sampled_from(["layers.0.a", "layers.0.a.input", "layers.1.a", "layers.1.a.input[1]", "input_ids", "next_token", "embed", "x/before/outtensor0", "root", ""])  # fmt: skip
ERRORS = st.sampled_from([0.0, 1e-7, 0.002, 0.02, 0.3, 1.4, float("inf")])


@settings(max_examples=examples(100), deadline=None)
@given(st.dictionaries(st.tuples(NAMES, st.sampled_from(["0", "1", "2", ""]), st.sampled_from(["", "0", "1"])), st.tuples(ERRORS, st.sampled_from(["float", "ids", "unread", "alone", "nan"])), max_size=25))  # fmt: skip
def test_any_table_has_a_story_of_single_lines(cells: dict[tuple[str, str, str], tuple[float, str]]) -> None:
    rows = []
    for (name, token, rank), (error, sort) in cells.items():
        if sort == "ids":
            rows.append(ids(name, token, target=5 + int(error > 0.01), rank=rank))
        elif sort in ("unread", "alone"):
            rows.append({**(unread if sort == "unread" else alone)(name, token), "rank": rank})
        else:
            rows.append(row(name, token, error, rank=rank, nonfinite_mismatch_count=int(sort == "nan")))
    story = find_story(table_of(*rows))
    for line in tell(story):
        assert line and "\n" not in line and "nan" not in line.replace("NaN", "") and "  " not in line, line
    if story.jump is not None:
        assert story.jump.factor >= 4 and story.spread is not None and story.spread.token_ids
