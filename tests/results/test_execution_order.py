"""When the tensors of a report ran, told from its table: what the pairs of the run said."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fastcmp.options import CompareOptions
from fastcmp.pairing import pair
from fastcmp.results.execution_order import execution_orders
from fastcmp.sources import Dump
from fastcmp.sources.named_tensor import NamedTensor, TensorKey

KEYS = st.lists(
    st.builds(TensorKey, st.sampled_from(("", "0", "1", "10", "2")), st.sampled_from("abcde"), st.sampled_from(("", "0", "1", "2", "10", "x"))),
    unique=True, max_size=30,
)  # fmt: skip


def dump(keys: list[TensorKey], role: str) -> Dump:
    return Dump(role, "metadata", [NamedTensor(key, "x", "x") for key in keys], [])


@given(KEYS, KEYS)
def test_the_order_is_that_of_the_pairs(golden: list[TensorKey], target: list[TensorKey]) -> None:
    shared = TensorKey("0", "shared", "0")
    pairs = pair(dump([*golden, shared], "golden"), dump([*target, shared], "target"), CompareOptions())
    table = pa.table({name: pa.array([getattr(one.key, name) for one in pairs]) for name in ("rank", "data_id", "token_id")})
    assert execution_orders(table).tolist() == [one.execution_order for one in pairs]
    assert execution_orders(table.slice(0, 0)).tolist() == []
