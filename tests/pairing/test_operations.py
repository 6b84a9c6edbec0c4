"""Operations of the acceleration library against modules of torch: what the table pairs, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pairing_dumps import dump, found, names, on_disk

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair, pair_dumps
from fastcmp.pairing.name_parts import parts_of
from fastcmp.pairing.operations import table

OPS = CompareOptions(pair_by=("ops",))

# What a Llama of torch hooks and what the acceleration library saves of the same model: the layers of the library are the third and fourth
# operation of its graph.
TORCH_LAYER = {
    "input_layernorm": "0_RmsNormOperation",
    "self_attn.q_proj": "1_Attention/0_QKVLinearSplit/0_LinearOperation",
    "self_attn.k_proj": "1_Attention/0_QKVLinearSplit/1_LinearOperation",
    "self_attn.v_proj": "1_Attention/0_QKVLinearSplit/2_LinearOperation",
    "self_attn.o_proj": "1_Attention/3_LinearOperation",
    "self_attn": "1_Attention",
    "post_attention_layernorm": "3_RmsNormOperation",
    "mlp.gate_proj": "4_Mlp/0_LinearOperation",
    "mlp.up_proj": "4_Mlp/1_LinearOperation",
    "mlp.act_fn": "4_Mlp/2_ActivationOperation",
    "mlp.down_proj": "4_Mlp/10_LinearOperation",
    "mlp": "4_Mlp",
    "": "",
}
TORCH_MODEL = {"model.embed_tokens": "0_WordEmbedding", "model.norm": "4_RmsNormOperation", "lm_head": "5_LmHead"}


def torch_name(layer: int, module: str) -> str:
    return f"root.model.layers.{layer}{'.' if module else ''}{module}/output"


def library_name(layer: int, operation: str) -> str:
    return f"0_LlamaModel/{layer}_DecoderLayer/{operation}{'/' if operation else ''}after/outtensor0"


def model(first_layer: int) -> dict[str, str]:
    """Golden's names, and those that belong to them, of a model of two layers."""
    both = {f"root.{module}/output": f"0_LlamaModel/{operation}/after/outtensor0" for module, operation in TORCH_MODEL.items()}
    for layer in range(2):
        for module, operation in TORCH_LAYER.items():
            both[torch_name(layer, module)] = library_name(first_layer + layer, operation)
    return both


@pytest.mark.parametrize("swapped", [False, True])
def test_every_output_of_a_llama_finds_its_module(swapped: bool) -> None:
    both = model(0)
    # Sorted, as a directory is: the order of the run must come from the table and from the numbers of the operations.
    golden, target = names(*sorted(both)), names(*sorted(both.values()))
    if swapped:
        assert found(pair(target, golden, OPS)) == {other: (one, "ops") for one, other in both.items()}
    else:
        assert found(pair(golden, target, OPS)) == {one: (other, "ops") for one, other in both.items()}


def test_names_of_msprobe_are_modules_too() -> None:
    both = {
        "Module.model.layers.0.mlp.down_proj.Linear.forward.0.output.0": library_name(0, "4_Mlp/0_LinearOperation"),
        "Module.model.layers.0.LlamaDecoderLayer.forward.0.output.0": library_name(0, ""),
        "Module.model.norm.LlamaRMSNorm.forward.0.output.0": "0_LlamaModel/4_RmsNormOperation/after/outtensor0",
    }
    assert found(pair(names(*both), names(*both.values()), OPS)) == {one: (other, "ops") for one, other in both.items()}


def test_layers_that_begin_elsewhere_pair_in_order_and_that_is_said() -> None:
    both = model(2)
    paired = pair_dumps(names(*both), names(*both.values()), OPS)
    assert found(paired.pairs) == {one: (other, "ops") for one, other in both.items()}
    assert paired.warnings == ["layers 0 to 1 of golden are taken for layers 2 to 3 of target, as many and in order"]


def test_outputs_of_one_operation_pair_with_as_many_modules_in_their_order() -> None:
    modules = [torch_name(0, f"self_attn.{letter}_proj") for letter in "vkq"]
    outputs = [f"0_DecoderLayer/1_Attention/0_QkvSplit/0_SplitOperation/after/outtensor{number}" for number in (2, 0, 1)]
    by_letter = {torch_name(0, f"self_attn.{letter}_proj"): (outputs[place], "ops") for letter, place in (("q", 1), ("k", 2), ("v", 0))}
    assert found(pair(names(*modules), names(*outputs), OPS)) == by_letter


def test_counts_that_differ_pair_nothing_and_are_said() -> None:
    golden = names(torch_name(0, "mlp.gate_proj"), torch_name(0, "mlp.up_proj"), torch_name(0, "input_layernorm"))
    target = names(library_name(0, "4_Mlp/0_LinearOperation"), library_name(0, "0_RmsNormOperation"))
    paired = pair_dumps(golden, target, OPS)
    assert found(paired.pairs) == {torch_name(0, "input_layernorm"): (library_name(0, "0_RmsNormOperation"), "ops")}
    assert len(paired.warnings) == 1
    assert paired.warnings[0].startswith(
        "--pair-by ops: left alone, because which is which is not known: "
        "layer 0: 1 outputs of linear* against 2 modules, root.model.layers.0.mlp.gate_proj/output first"
    )


def test_inputs_stale_outputs_and_second_outputs_take_no_part() -> None:
    golden = names(
        torch_name(0, "mlp"), torch_name(0, "mlp").replace("output", "input"), torch_name(0, "self_attn").replace("output", "output_1")
    )
    mlp = "0_DecoderLayer/4_Mlp"
    target = names(
        f"{mlp}/after/outtensor0", f"{mlp}/before/outtensor0", f"{mlp}/before/intensor0", "0_DecoderLayer/1_Attention/after/outtensor1"
    )
    assert found(pair(golden, target, OPS)) == {torch_name(0, "mlp"): (f"{mlp}/after/outtensor0", "ops")}


def test_ranks_and_tokens_stay_together() -> None:
    keys = [(rank, torch_name(0, "mlp"), token) for rank in "01" for token in "01"]
    others = [(rank, library_name(0, "4_Mlp"), token) for rank in "01" for token in "12"]
    pairs = pair(dump(*keys), dump(*others), OPS)
    whole = [(one.golden.key[0::2], one.target.key[0::2]) for one in pairs if one.golden and one.target]
    assert whole == [(("0", "1"), ("0", "1")), (("1", "1"), ("1", "1"))]
    assert len(pairs) == 6


def two_models(prefill: tuple[int, ...], decode: tuple[int, ...]) -> object:
    keys = [(f"0_Prefill/{layer}_DecoderLayer/4_Mlp/after/outtensor0", str(token)) for layer in range(2) for token in prefill]
    keys += [(f"1_Decode/{layer}_DecoderLayer/4_Mlp/after/outtensor0", str(token)) for layer in range(2) for token in decode]
    return dump(*keys)


@pytest.mark.parametrize(("decode", "offset"), [((0, 1, 2), 1), ((1, 2, 3), 0)])
def test_prefill_and_decode_as_two_models_follow_each_other(decode: tuple[int, ...], offset: int) -> None:
    golden = dump(*((torch_name(layer, "mlp"), str(token)) for layer in range(2) for token in range(4)))
    paired = pair_dumps(golden, two_models((0,), decode), OPS)
    assert [(one.key.token_id, one.target.key.data_id[:9], one.target.key.token_id, one.rule) for one in paired.pairs if one.target] == [
        (str(token), "1_Decode/" if token else "0_Prefill", str(token - offset if token else 0), "ops")
        for _ in range(2)
        for token in range(4)
    ]
    said = "0_Prefill of target is taken for the prefill and 1_Decode for what follows, each counting from 0: "
    assert paired.warnings == ([f"{said}token_id 1 of golden is 0 of the second"] if offset else [])


@pytest.mark.parametrize(("prefill", "decode"), [((0, 1), (0, 1)), ((0,), ("x",)), ((0,), (-1, 0))])
def test_two_models_that_do_not_follow_each_other_pair_nothing(prefill: tuple[int, ...], decode: tuple[int, ...]) -> None:
    golden = dump(*((torch_name(layer, "mlp"), str(token)) for layer in range(2) for token in range(4)))
    with pytest.raises(UsageError, match="no pair at all"):
        pair(golden, two_models(prefill, decode), OPS)


def test_equal_names_come_first_where_key_does() -> None:
    golden, target = names(torch_name(0, "mlp")), names(torch_name(0, "mlp"), library_name(0, "4_Mlp"))
    both = pair(golden, target, CompareOptions(pair_by=("key", "ops")))
    assert found(both) == {torch_name(0, "mlp"): (torch_name(0, "mlp"), "key")}
    swapped = pair(golden, target, CompareOptions(pair_by=("ops", "key")))
    assert found(swapped) == {torch_name(0, "mlp"): (library_name(0, "4_Mlp"), "ops")}


def test_names_that_say_nothing_pair_nothing() -> None:
    with pytest.raises(UsageError, match="no pair at all"):
        pair(names("a", "", "x" * 2000, "0_", "/"), names("b", "1_/", "layer"), OPS)


def test_the_table_is_well_formed() -> None:
    for scope, rows in table().items():
        assert scope in ("layer", "model")
        for row in rows:
            assert row.outputs in ("first", "each")
            assert all(operation == operation.lower() for operation in (*row.operations, *row.inside, *row.outside))
            assert len(set(row.modules)) == len(row.modules)


@pytest.mark.parametrize("name", ["", "0_a" * 300, "layers." * 140, "in_put[" * 140, "/0_layer" * 120, "9" * 999])
def test_a_hostile_name_is_read_quickly(name: str) -> None:
    import time

    started = time.perf_counter()
    parts_of(name)
    assert time.perf_counter() - started < 1


def nothing(golden: object, target: object) -> str:
    """The message where no two names are a pair."""
    with pytest.raises(UsageError) as error:
        pair(golden, target, OPS)
    return str(error.value)


EXPERTS = [
    f"root.model.layers.0.mlp.experts.{expert}.{module}/output" for expert in (0, 1) for module in ("gate_proj", "up_proj", "down_proj")
]


def test_a_kind_of_module_that_a_layer_has_twice_pairs_in_no_row() -> None:
    target = names(*(f"0_DecoderLayer/2_Mlp/{number}_LinearOperation/after/outtensor0" for number in range(6)))
    said = nothing(names(*EXPERTS), target)
    assert "left alone, because which is which is not known: layer 0: 6 outputs of linear* against 6 modules" in said
    both = names(*(f"{model}.layers.0.{module}/output" for model in ("encoder", "decoder") for module in ("fc1", "fc2")))
    target = names(*(f"0_DecoderLayer/2_Mlp/{number}_LinearOperation/after/outtensor0" for number in range(4)))
    assert "4 outputs of linear* against 4 modules" in nothing(both, target)
    attention = names(
        *(
            f"root.model.layers.0.{around}.{module}/output"
            for around in ("self_attn", "encoder_attn")
            for module in ("q_proj", "k_proj", "v_proj")
        )
    )
    target = names(
        *(
            f"0_DecoderLayer/{around}_Attention/0_QKVLinearSplit/{number}_LinearOperation/after/outtensor0"
            for around in (1, 2)
            for number in range(3)
        )
    )
    assert "6 outputs of linear* against 6 modules" in nothing(attention, target)


def test_experts_pair_inside_the_numbers_around_them() -> None:
    operations = [
        f"0_DecoderLayer/2_Mlp/{expert}_Expert/{number}_LinearOperation/after/outtensor0" for expert in (0, 1) for number in range(3)
    ]
    assert found(pair(names(*EXPERTS), names(*reversed(operations)), OPS)) == {
        one: (other, "ops") for one, other in zip(EXPERTS, operations, strict=True)
    }


def test_a_module_without_those_that_go_with_it_pairs_nothing() -> None:
    golden = names("root.model.layers.0.self_attn.q_proj/output", "root.model.layers.0.self_attn.o_proj/output")
    target = names(*(f"0_DecoderLayer/{number}_LinearOperation/after/outtensor0" for number in (0, 1)))
    assert "2 outputs of linear* against 2 modules" in nothing(golden, target)


def test_what_a_map_has_paired_is_there(tmp_path: Path) -> None:
    modules = [f"root.model.layers.0.self_attn.{module}/output" for module in ("q_proj", "k_proj", "v_proj")]
    operations = [f"0_DecoderLayer/1_Attention/0_QKVLinearSplit/{number}_LinearOperation/after/outtensor0" for number in range(3)]
    (tmp_path / "q.map").write_text(f"{modules[0]} -> {operations[0]}\n")
    paired = pair_dumps(names(*modules), names(*operations), CompareOptions(maps=(str(tmp_path / "q.map"),), pair_by=("ops",)))
    assert found(paired.pairs) == {
        modules[0]: (operations[0], "map:1"),
        modules[1]: (operations[1], "ops"),
        modules[2]: (operations[2], "ops"),
    }


def test_a_model_of_pictures_is_no_prefill() -> None:
    golden = dump(
        *((f"root.model.layers.0.{module}/output", str(token)) for token in range(3) for module in ("self_attn.o_proj", "mlp.down_proj"))
    )
    target = dump(
        ("0_VisionModel/0_Layer/0_Attention/0_LinearOperation/after/outtensor0", "0"),
        *(
            (f"1_LanguageModel/0_Layer/{operation}/after/outtensor0", str(token))
            for token in range(3)
            for operation in ("0_Attention/0_LinearOperation", "1_Mlp/0_LinearOperation")
        ),
    )
    try:
        warnings = pair_dumps(golden, target, OPS).warnings
    except UsageError as error:
        warnings = [str(error)]
    assert not any("taken for the prefill" in warning for warning in warnings)


def test_a_fused_projection_is_no_plain_one_of_another_size(tmp_path: Path) -> None:
    attention, mlp = np.ones((7, 8), np.float32), np.ones((1, 7, 8), np.float32)
    golden = on_disk(
        tmp_path / "g", {"root.model.layers.0.self_attn.o_proj/output": attention, "root.model.layers.0.mlp.down_proj/output": mlp}
    )
    target = on_disk(
        tmp_path / "t",
        {
            "0_DecoderLayer/1_Attention/0_LinearOperation/after/outtensor0": np.ones((7, 24), np.float32),
            "0_DecoderLayer/2_Mlp/0_LinearOperation/after/outtensor0": attention,
        },
    )
    paired = pair_dumps(golden, target, OPS)
    assert found(paired.pairs) == {
        "root.model.layers.0.mlp.down_proj/output": ("0_DecoderLayer/2_Mlp/0_LinearOperation/after/outtensor0", "ops")
    }
    assert paired.warnings == [
        (
            "--pair-by ops: left alone, because which is which is not known: root.model.layers.0.self_attn.o_proj/output has shape (7, 8) and "
            "0_DecoderLayer/1_Attention/0_LinearOperation/after/outtensor0 (7, 24)"
        )
    ]
