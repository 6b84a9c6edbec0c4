"""Pairing reads names as the analysis of a report does: by the same expressions, in another engine."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.analysis.names import owner_of, parse_names
from fastcmp.name_expressions import INSIDE, operation
from fastcmp.pairing.name_parts import parts_of

PIECES = [
    "layers",
    "layer",
    "block",
    "h",
    "0",
    "12",
    "1234567",
    ".",
    "/",
    "_",
    "3_DecoderLayer",
    "1_LayerNorm",
    "after",
    "before",
    "outtensor",
]
PIECES += ["intensor", "input", "output", "[1]", "mlp", "internal", "N", "forward"]


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("0_M/3_DecoderLayer/1_Attention/after/outTensor1")
@example("model.layers.3.self_attn.input[mask]")
def test_both_readers_say_the_same(name: str) -> None:
    slow, quick = parse_names(pa.array([name], pa.string())), parts_of(name)
    assert (quick.layer, quick.part) == (int(slow.layer[0]), int(slow.part[0]))
    assert quick.path == operation(owner_of(name))
    assert quick.part <= INSIDE + 1
