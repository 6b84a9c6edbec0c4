"""What is said where both runs read or chose other tokens."""

from __future__ import annotations

from typing import Any

from report_tables import TOKENS, ids, row, words_of


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
