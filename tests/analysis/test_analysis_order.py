"""The table alone tells in which order its rows ran, as pairing said it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.analysis.order import find_order
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair
from fastcmp.sources import Dump, NamedTensor, TensorKey

KEYS = st.lists(
    st.tuples(st.sampled_from(["", "0", "1", "10"]), st.text("ab1", max_size=2), st.sampled_from(["0", "1", "10", "x", "-1", ""])),
    unique=True,
    max_size=30,
)


def dump(keys: list[tuple[str, str, str]], kind: str, name: str) -> Dump:
    return Dump(name, kind, [NamedTensor(TensorKey(*key), f"{key}", f"/{name}/{key}") for key in keys], [])


def table_of_keys(keys: list[TensorKey]) -> pa.Table:
    return pa.table({name: pa.array([getattr(key, name) for key in keys], pa.string()) for name in ("rank", "data_id", "token_id")})


@settings(max_examples=examples(300), deadline=None)
@given(KEYS, KEYS, st.sampled_from(["metadata", "directory"]))
def test_the_order_of_a_table_is_that_of_its_pairs(left: list, right: list, kind: str) -> None:
    shared = ("1", "shared", "0")
    pairs = pair(dump([*left, shared], kind, "g"), dump([*right, shared], kind, "t"), CompareOptions())
    order = find_order(table_of_keys([one.key for one in pairs]))
    assert order.position.tolist() == [one.execution_order for one in pairs]
    assert order.rows.tolist() == np.argsort([one.execution_order for one in pairs]).tolist()
    assert [order.tokens[token] for token in order.token] == [one.key.token_id for one in pairs]
    assert [order.ranks[rank] for rank in order.rank] == [one.key.rank for one in pairs]
    steps = {(one.key.token_id, one.key.rank): step for one, step in zip(pairs, order.step.tolist(), strict=True)}
    assert len(set(steps.values())) == len(steps)


def test_an_empty_table_has_an_empty_order() -> None:
    order = find_order(table_of_keys([]))
    assert not len(order.position) and order.tokens == [] and order.ranks == []


def test_a_table_in_chunks_is_the_same_table() -> None:
    whole = table_of_keys([TensorKey("", name, token) for name in "ba" for token in "021"])
    chunked = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 1), whole.slice(3)])
    assert find_order(chunked).position.tolist() == find_order(whole).position.tolist()
