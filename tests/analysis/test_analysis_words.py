"""What is said about reports made by hand: one case for each thing that a story may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_tables import NAN, OPERATIONS, TOKENS, alone, ids, model, row, table_of, unread, words_of
from tries import examples

from fastcmp.analysis.order import find_order, parts_before_wholes
from fastcmp.analysis.story import Story, find_story
from fastcmp.analysis.words import tell
from fastcmp.sources.dump import RunOrder


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
