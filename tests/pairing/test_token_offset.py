"""Tokens that one side counts from another number: shifted when asked, noticed when not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing_dumps import dump, names
from tries import examples

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair, pair_dumps
from fastcmp.pairing.token_shift import better_shift, shifted
from fastcmp.sources import Dump, TensorKey


def tokens(*numbers: object, names: str = "ab") -> object:
    return dump(*((name, str(number)) for name in names for number in numbers))


@pytest.mark.parametrize(
    ("token", "offset", "expected"),
    [("0", 1, "1"), ("9", -10, "-1"), ("-1", 1, "0"), ("07", 1, "07"), ("-0", 1, "-0"), ("x", 1, "x"), ("", 1, ""), ("5", 0, "5"),
     ("٣", 1, "٣"), ("9" * 18, 1, "9" * 18), ("9" * 19, 1, "9" * 19)],
)  # fmt: skip
def test_only_numbers_as_they_are_written_shift(token: str, offset: int, expected: str) -> None:
    assert shifted(token, offset) == expected


@settings(max_examples=examples(200), deadline=None)
@given(st.sets(st.text("-0123x", max_size=4)), st.integers(-5, 5))
def test_two_tokens_never_become_one(given_tokens: set[str], offset: int) -> None:
    assert len({shifted(token, offset) for token in given_tokens}) == len(given_tokens)


def test_target_is_shifted_and_rows_have_goldens_tokens() -> None:
    pairs = pair(tokens(0, 1, 2, names="a"), tokens(0, 1, 2, names="a"), CompareOptions(token_offset=1))
    shown = [(one.key.token_id, one.golden and one.golden.key.token_id, one.target and one.target.key.token_id, one.rule) for one in pairs]
    assert shown == [("0", "0", "1", "key"), ("1", "1", "2", "key"), ("2", "2", None, ""), ("-1", None, "0", "")]


def test_no_token_in_common_suggests_the_offset() -> None:
    with pytest.raises(UsageError, match=r"no pair at all: .*; 0 tokens pair, with --token-offset 10 4 would, all that can: does one side"):
        pair(tokens(0, 1), tokens(10, 11), CompareOptions())


def test_an_offset_of_one_is_a_warning_though_nearly_all_tokens_pair() -> None:
    paired = pair_dumps(tokens(*range(10)), tokens(*range(1, 11)), CompareOptions())
    assert paired.warnings == [
        "18 tokens pair, with --token-offset 1 20 would, all that can: does one side count its tokens from another number?"
    ]
    assert pair_dumps(tokens(*range(10)), tokens(*range(1, 11)), CompareOptions(token_offset=1)).warnings == []


def test_the_suggestion_adds_to_the_offset_that_is_given() -> None:
    with pytest.raises(UsageError, match=r"with --token-offset 10 4 would"):
        pair(tokens(0, 1), tokens(10, 11), CompareOptions(token_offset=3))


@pytest.mark.parametrize(
    ("golden", "target"),
    [
        (tokens(*range(10)), tokens(*range(5, 10))),  # a part of it
        (tokens(*range(10)), tokens(*range(3))),
        (tokens(0, 1, 2, 9), tokens(1, 2, 3, 5)),  # by no one offset
        (tokens("x", "0"), tokens("y", "0")),
    ],
)
def test_nothing_is_suggested_where_no_offset_pairs_all(golden: object, target: object) -> None:
    assert pair_dumps(golden, target, CompareOptions()).warnings == []


def test_nothing_is_suggested_where_another_name_would_lose_its_pair() -> None:
    golden, target = dump(("a", "0"), ("a", "1"), ("w", "7")), dump(("a", "1"), ("a", "2"), ("w", "7"))
    assert pair_dumps(golden, target, CompareOptions()).warnings == []


@settings(max_examples=examples(300), deadline=None)
@given(*(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), unique=True) for _ in range(2)))
def test_a_suggestion_pairs_all_that_can_and_more_than_now(left: list, right: list) -> None:
    keyed = [{TensorKey("", name, str(token)): None for name, token in side} for side in (left, right)]
    found = better_shift(*keyed)
    if found is None:
        return

    def count(offset: int) -> int:
        return sum((name, token + offset) in right for name, token in left)

    assert (found.pairs_now, found.pairs_then) == (count(0), count(found.offset))
    assert found.pairs_then > found.pairs_now
    assert found.pairs_then == max(count(offset) for offset in range(-7, 8))


def test_a_side_without_tokens_pairs_with_the_one_token_of_the_other() -> None:
    options = CompareOptions(pair_by=("key", "position"), token_offset=2)
    for one, other in (("", "3"), ("3", "")):
        (only,) = pair(names("a", token=one), names("a", token=other), options)
        assert (only.golden.key.token_id, only.target.key.token_id, only.key.token_id) == (one, other, one)


KEYS = st.lists(
    st.tuples(st.sampled_from(["", "0"]), st.sampled_from("ab"), st.sampled_from(["0", "1", "2", "-1", "x", "02", ""])), unique=True
)


@settings(max_examples=examples(300), deadline=None)
@given(KEYS, KEYS, st.integers(-2, 2))
def test_every_tensor_is_one_row_under_any_offset_and_pairs_are_those_of_a_slow_look(left: list, right: list, offset: int) -> None:
    golden, target = dump(("0", "both", "5"), *left), dump(("0", "both", str(5 + offset)), *right)
    options = CompareOptions(token_offset=offset, pair_by=("md5", "key"))
    pairs = pair(golden, target, options)
    assert sorted(one.golden.key for one in pairs if one.golden) == sorted(tensor.key for tensor in golden.tensors)
    assert sorted(one.target.key for one in pairs if one.target) == sorted(tensor.key for tensor in target.tensors)
    assert len({one.key for one in pairs}) == len(pairs) and [one.row for one in pairs] == list(range(len(pairs)))

    def belongs(one: TensorKey, other: TensorKey) -> bool:
        is_number = other.token_id in ("0", "1", "2", "-1", str(5 + offset))
        return one[:2] == other[:2] and one.token_id == (str(int(other.token_id) - offset) if is_number else other.token_id)

    slow = {(one.key, other.key) for one in golden.tensors for other in target.tensors if belongs(one.key, other.key)}
    assert {(one.golden.key, one.target.key) for one in pairs if one.golden and one.target} == slow


def test_a_number_that_would_not_fit_is_not_shifted_onto_another() -> None:
    golden = dump(("a", "5"), ("a", "7"))
    target = dump(("a", "6"), ("a", "999999999999999999"), ("a", "999999999999999998"))
    with pytest.raises(
        UsageError, match=r"--token-offset: golden 'a' token_id -?[0-9]+ is 'a' token_id [0-9]+ and 'a' token_id [0-9]+ of target"
    ):
        pair(golden, target, CompareOptions(token_offset=-1))


def test_a_text_that_pairs_hides_no_offset() -> None:
    golden = dump(*(("a", str(token)) for token in range(3)), ("b", "mean"))
    target = dump(*(("a", str(token + 10)) for token in range(3)), ("b", "mean"))
    assert "--token-offset 10" in pair_dumps(golden, target, CompareOptions()).warnings[0]


@pytest.mark.parametrize(
    ("golden", "target", "who"),
    [("", "", "neither side has"), ("x", "", "neither side has"), ("0", "", "target does not have"), ("", "3", "golden does not have")],
)
@pytest.mark.parametrize("kind", ["metadata", "file"])
def test_an_offset_that_moves_nothing_is_told(golden: str, target: str, who: str, kind: str) -> None:
    def side(token: str) -> Dump:
        return replace(dump(("a", token)), kind=kind)

    told = f"--token-offset 2 is without effect: {who} a token_id that is a number"
    assert pair_dumps(side(golden), side(target), CompareOptions(token_offset=2)).warnings[0] == told
    assert pair_dumps(side("0"), side("2"), CompareOptions(token_offset=2)).warnings == []
