"""What names say: those of torch, of the acceleration library's trees, of hand-made dumps, and of nobody."""

from __future__ import annotations

import re
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.analysis.names import Names, owner_of, parse_names
from fastcmp.name_expressions import INPUT, INSIDE, OUTPUT, STALE, operation

CASES = [
    # name, layer, part, operation without layer
    ("model.layers.3.mlp.down_proj", 3, OUTPUT, "mlp.down_proj"),
    ("model.layers.3.mlp.down_proj.input", 3, INPUT, "mlp.down_proj"),
    ("model.layers.3.mlp.down_proj.input[1]", 3, INPUT, "mlp.down_proj"),
    ("model.layers.3.mlp.down_proj.input[attention_mask]", 3, INPUT, "mlp.down_proj"),
    ("model.layers.3.self_attn[1]", 3, OUTPUT, "self_attn"),
    ("model.layers.12", 12, OUTPUT, ""),
    ("layers.0.input_layernorm", 0, OUTPUT, "input_layernorm"),
    ("layers.0.input_layernorm_output", 0, OUTPUT, "input_layernorm"),
    ("transformer.h.7.attn.c_attn", 7, OUTPUT, "attn.c_attn"),
    ("blocks.5.norm1.input0", 5, INPUT, "norm1"),
    ("layer3", 3, OUTPUT, ""),
    ("layer_11_out.output", 11, OUTPUT, "out"),
    ("Module.layers.2.mlp.MLP.forward.0.input.1", 2, INPUT, "mlp.MLP.forward.0"),
    ("Module.layers.2.mlp.MLP.forward.0.output.0", 2, OUTPUT, "mlp.MLP.forward.0"),
    ("0_Decoder_layer/1_Attention/after/outtensor0", 0, OUTPUT, "1_Attention"),
    ("0_Decoder_layer/1_Attention/before/intensor2", 0, INPUT, "1_Attention"),
    ("0_Decoder_layer/1_Attention/after/intensor2", 0, INSIDE, "1_Attention"),
    ("0_Decoder_layer/1_Attention/before/outtensor0", 0, STALE, "1_Attention"),
    ("0_ChatGlm6BModelTorch/27_ChatGlm6BLayerDecoderRunner/4_LinearRunner/after/outTensor0", 27, OUTPUT, "4_LinearRunner"),
    ("3_DecoderLayer/2_SelfAttention/0_MatMulKernel/intensor1", 3, INPUT, "2_SelfAttention/0_MatMulKernel"),
    ("3_DecoderLayer/after/outtensor0", 3, OUTPUT, ""),
    ("40_layers.3.norm2", 3, OUTPUT, "norm2"),
    ("0_layers.12.input_layer_scale.output", 12, OUTPUT, "input_layer_scale"),
    ("040_model.layers.3.mlp", 3, OUTPUT, "mlp"),
    ("7_block4/x", 4, OUTPUT, "x"),
    ("3_DecoderLayers/1_Attention", 3, OUTPUT, "1_Attention"),
    ("1_LayerNorm/after/outtensor0", -1, OUTPUT, "1_LayerNorm"),
    ("1_Layer_Norm/after/outtensor0", -1, OUTPUT, "1_Layer_Norm"),
    ("2_Op/before/internalTensor0", -1, INSIDE, "2_Op"),
    ("embed_tokens", -1, OUTPUT, "embed_tokens"),
    ("14", -1, OUTPUT, "14"),
    ("", -1, OUTPUT, ""),
    ("output", -1, OUTPUT, ""),
    ("input", -1, INPUT, ""),
    ("throughput", -1, OUTPUT, "throughput"),
    ("layers.1234567.x", -1, OUTPUT, "layers.1234567.x"),
    ("模型.layers.4.输出.output", 4, OUTPUT, "输出"),
]


def parsed(*names: str) -> Names:
    return parse_names(pa.array(names, pa.string()))


@pytest.mark.parametrize(("name", "layer", "part", "shown"), CASES, ids=[case[0] or "empty" for case in CASES])
def test_a_name_says(name: str, layer: int, part: int, shown: str) -> None:
    found = parsed("another", name, "layers.9.x")
    assert (int(found.layer[1]), int(found.part[1])) == (layer, part)
    assert operation(owner_of(name)) == shown


def test_inputs_and_outputs_of_one_operation_have_one_owner() -> None:
    same = parsed("a.3.mlp", "a.3.mlp.input", "a.3.mlp.input[1]", "a.3.mlp[1]", "a.4.mlp", "a.4.mlp.input", "a.3.ml")
    owners = same.owner.tolist()
    assert len(set(owners[:4])) == 1 and owners[4] == owners[5] and len({owners[0], owners[4], owners[6]}) == 3
    tree = parsed("1_X/before/intensor0", "1_X/after/outtensor1", "1_X/intensor0", "11_X/after/outtensor1")
    assert len(set(tree.owner.tolist()[:3])) == 1 and tree.owner[3] != tree.owner[0]


def test_what_holds_others_is_known_by_its_pattern() -> None:
    found = parsed(
        "model.layers.3", "model.layers.3.mlp.input", "model.layers.3.mlp.up", "model.layers.3-x", "root", "0_L/after/outtensor0"
    )
    assert found.holds_others.tolist() == [True, True, False, False, True, False]


NAMES = st.lists(
    st.lists(st.sampled_from(["layers", ".", "/", "_", "3", "12", "07", "x", "layer", "input", "[1]", "norm", "after", "outtensor", "é"]), max_size=8).map("".join),
    min_size=1,
    max_size=12,
    unique=True,
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(NAMES)
def test_all_at_once_is_one_by_one(names: list[str]) -> None:
    together = parsed(*names)
    singly = [parsed(name) for name in names]
    assert together.layer.tolist() == [one.layer[0] for one in singly]
    assert together.part.tolist() == [one.part[0] for one in singly]
    owners = [owner_of(name) for name in names]
    assert [[one == other for one in owners] for other in owners] == [[one == other for one in together.owner] for other in together.owner]


@settings(max_examples=examples(100), deadline=None)
@given(NAMES.filter(lambda names: not any("layer" in name for name in names)), st.integers(0, 999))
def test_names_of_one_kind_differ_in_the_layer_only(names: list[str], number: int) -> None:
    one = [f"layers.{number}.{name}" for name in names]
    other = [f"layers.{number + 1}.{name}" for name in names]
    found = parsed(*one, *other)
    assert found.kind.tolist()[: len(names)] == found.kind.tolist()[len(names) :]
    assert len(set(found.kind.tolist())) == len(names)
    assert found.layer.tolist() == [number] * len(names) + [number + 1] * len(names)


def test_hostile_names_take_no_time() -> None:
    names = ["0_" * 20_000, "layer" * 10_000, "/" * 50_000, "[" * 50_000, "1" * 50_000, "0_layer_n" * 5_000]
    begin = time.process_time()
    found = parsed(*names)
    assert [operation(owner_of(name)) for name in names] and found.layer.tolist() == [-1] * len(names)
    assert time.process_time() - begin < 5


def test_expressions_do_not_tell_numbers_apart() -> None:
    found = parsed("embed.3.ids", "embed.44.ids", "other")
    assert found.say(r"embed\.[0-9]+\.ids").tolist() == [True, True, False]
    assert not re.search("44", " ".join(found.patterns.to_pylist()))
