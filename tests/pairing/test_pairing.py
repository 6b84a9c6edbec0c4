"""Every key of either side is one row, in one order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair
from fastcmp.sources import Dump, NamedTensor, TensorKey
from fastcmp.sources.natural_order import token_key

OPTIONS = CompareOptions()


def dump(*keys, kind="metadata", name="d"):
    named = [key if len(key) == 3 else ("", *key) for key in keys]
    return Dump(name, kind, [NamedTensor(TensorKey(*key), f"{key}", f"/{name}/{key}") for key in named], [])


def rows(pairs):
    return [(*one.key, bool(one.golden), bool(one.target)) for one in pairs]


def test_row_order_is_goldens_then_tokens_then_the_target_only_rows():
    golden = dump(("b", "10"), ("b", "2"), ("b", "x"), ("a", "0"))
    target = dump(("z", "1"), ("z", "0"), ("a", "0"), ("b", "3"), ("b", "10"))
    assert rows(pair(golden, target, OPTIONS)) == [
        ("", "b", "2", True, False),
        ("", "b", "10", True, True),
        ("", "b", "x", True, False),
        ("", "a", "0", True, True),
        ("", "b", "3", False, True),
        ("", "z", "0", False, True),
        ("", "z", "1", False, True),
    ]


def test_execution_order_is_token_then_first_appearance():
    keys = [("b", "10"), ("b", "2"), ("a", "2"), ("a", "10")]
    pairs = pair(dump(*keys), dump(*keys), OPTIONS)
    assert [one.key[1:] for one in sorted(pairs, key=lambda one: one.execution_order)] == [("b", "2"), ("a", "2"), ("b", "10"), ("a", "10")]
    assert [one.row for one in pairs] == [0, 1, 2, 3]


def test_ranks_come_first_and_their_steps_stand_side_by_side_in_execution_order():
    keys = [(rank, data_id, "0") for rank in ("10", "2") for data_id in ("b", "a")]
    pairs = pair(dump(*keys), dump(*keys), OPTIONS)
    assert [one.key[:2] for one in pairs] == [("2", "b"), ("2", "a"), ("10", "b"), ("10", "a")]
    executed = sorted(pairs, key=lambda one: one.execution_order)
    assert [one.key[:2] for one in executed] == [("2", "b"), ("10", "b"), ("2", "a"), ("10", "a")]


KEYS = st.lists(
    st.tuples(st.sampled_from(["", "0", "1"]), st.text("ab1", max_size=2), st.sampled_from(["0", "1", "10", "x", ""])), unique=True
)


@settings(max_examples=examples(200), deadline=None)
@given(KEYS, KEYS)
def test_every_key_of_either_side_is_one_row(left, right):
    both = ("9", "shared", "0")
    golden, target = dump(*left, both, name="g"), dump(*right, both, name="t")
    pairs = pair(golden, target, OPTIONS)
    assert sorted(one.key for one in pairs) == sorted({*left, *right, both})
    assert [one.row for one in pairs] == list(range(len(pairs)))
    assert sorted(one.execution_order for one in pairs) == list(range(len(pairs)))
    for one in pairs:
        assert (one.golden is not None, one.target is not None) == (one.key in {*left, both}, one.key in {*right, both})
        assert one.rule == ("key" if one.golden and one.target else "")
        assert {tensor.key for tensor in (one.golden, one.target) if tensor} == {one.key}


@settings(max_examples=examples(100), deadline=None)
@given(KEYS, KEYS, st.randoms(use_true_random=False))
def test_the_order_of_target_never_moves_a_row_that_golden_has(left, right, random):
    both = ("9", "shared", "0")
    shuffled = list(right)
    random.shuffle(shuffled)
    first, second = (pair(dump(*left, both), dump(*side, both), OPTIONS) for side in (right, shuffled))
    assert [one.key for one in first if one.golden] == [one.key for one in second if one.golden]


@settings(max_examples=examples(200), deadline=None)
@given(KEYS, KEYS)
def test_both_orders_are_those_of_sorting_by_all_that_they_go_by(left, right):
    shared = ("9", "shared", "0")
    left, right = [shared, *left], [*right, shared]
    pairs = pair(dump(*left), dump(*right), OPTIONS)
    ids = list(dict.fromkeys((rank, data_id) for rank, data_id, _ in [*left, *right]))
    by_rank = {rank: [one for one in ids if one[0] == rank] for rank, _ in ids}

    def row_order(key):
        return token_key(key.rank), key not in left, ids.index(key[:2]), token_key(key.token_id)

    def execution_order(key):
        return token_key(key.token_id), by_rank[key.rank].index(key[:2]), token_key(key.rank)

    keys = [one.key for one in pairs]
    assert keys == sorted(keys, key=row_order)
    assert [one.key for one in sorted(pairs, key=lambda one: one.execution_order)] == sorted(keys, key=execution_order)


@pytest.mark.parametrize("ranked", ["golden", "target"])
def test_one_rank_pairs_with_a_side_that_knows_none(ranked):
    with_rank, without = dump(("3", "a", "0"), ("3", "b", "0")), dump(("", "a", "0"))
    pairs = pair(with_rank, without, OPTIONS) if ranked == "golden" else pair(without, with_rank, OPTIONS)
    assert {one.key.rank for one in pairs} == {"3"}
    assert sum(bool(one.golden and one.target) for one in pairs) == 1
    assert len(pairs) == 2


def test_two_ranks_do_not_pair_with_a_side_that_knows_none():
    with pytest.raises(UsageError, match=r"no pair at all: golden .* has 2 tensors .rank0/a/0, rank1/a/0., target .* has 1 tensor .a/0."):
        pair(dump(("0", "a", "0"), ("1", "a", "0")), dump(("a", "0")), OPTIONS)


def test_two_single_files_pair_whatever_their_names():
    (only,) = pair(dump(("before", ""), kind="file"), dump(("after", ""), kind="file"), OPTIONS)
    assert (only.key.data_id, only.rule) == ("before", "file")
    assert only.golden.key.data_id == "before"
    assert only.target.key.data_id == "after"


def test_two_directories_pair_by_path():
    (only,) = pair(dump(("x/y", ""), kind="directory"), dump(("x/y", ""), kind="directory"), OPTIONS)
    assert only.rule == "path"


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("l*",), (), ["l1", "l2", "l10"]),
        (("l?",), (), ["l1", "l2"]),
        (("L*", "n[1]"), (), ["n1"]),
        ((), ("l*",), ["n1", "a/b"]),
        (("l*",), ("l1*",), ["l2"]),
        (("a*b",), (), ["a/b"]),
    ],
)
def test_include_and_exclude_are_case_sensitive_globs_on_the_data_id(include, exclude, expected):
    keys = [("l1", "0"), ("l2", "0"), ("l10", "0"), ("n1", "0"), ("a/b", "0")]
    pairs = pair(dump(*keys), dump(*keys), CompareOptions(include=include, exclude=exclude))
    assert [one.key.data_id for one in pairs] == expected
    assert [one.row for one in pairs] == list(range(len(expected)))


@pytest.mark.parametrize(
    ("include", "exclude", "shown"),
    [
        (("nothing",), (), "--include nothing"),
        (("z*", "y y"), (), "--include 'z*' --include 'y y'"),
        ((), ("*",), "--exclude '*'"),
        (("a",), ("a",), "--include a --exclude a"),
    ],
)
def test_globs_that_leave_nothing_are_refused_as_they_were_given(include, exclude, shown):
    with pytest.raises(UsageError) as refused:
        pair(dump(("a", "0")), dump(("a", "0")), CompareOptions(include=include, exclude=exclude))
    assert str(refused.value) == f"no pair is left of 1: {shown}; check the globs"


@pytest.mark.parametrize(("left", "right"), [((), ()), ((("a", "0"),), ()), ((("a", "0"),), (("b", "0"),))])
def test_no_pair_at_all_is_refused(left, right):
    with pytest.raises(UsageError, match=r"no pair at all: golden .*, target .*; the keys of both must agree"):
        pair(dump(*left), dump(*right), OPTIONS)
