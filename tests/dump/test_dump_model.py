"""`dump_model`: what is dumped under which name, that the model computes what it computed without, and that nothing is left behind."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dump_reading import forget_session, metadata_of, saved, side_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp import dump_layout
from fastcmp.dump import ModelDump, dump_counters, dump_data, dump_model, values
from fastcmp.dump_layout import read_journal
from fastcmp.errors import DumpError, UsageError

X = torch.arange(8.0).reshape(2, 4)


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(4)
        self.mlp = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(self.norm(x))


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([Block(), Block()])
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Returns(torch.nn.Module):
    """A module of any output."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, *arguments: object, **keywords: object) -> object:
        return self.output


def names_of(base: Path, token: str = "0", data_src: str = "golden") -> list[str]:
    return [name for name, tokens in metadata_of(side_of(base, data_src)).items() if token in tokens]


def hook_tables(model: torch.nn.Module) -> list[dict[Any, Any]]:
    names = [name for name in vars(model) if "hooks" in name]
    assert "_forward_hooks" in names and "_forward_pre_hooks" in names
    return [dict(vars(module)[name]) for module in model.modules() for name in names]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What fastcmp said; the compiler of torch logs as well."""
    return [record.getMessage() for record in caplog.records if record.name == "fastcmp"]


def is_clean(model: torch.nn.Module) -> bool:
    return not any(hook_tables(model))


# --- names and tokens -------------------------------------------------------------------------------------------------------------------


def test_every_module_is_dumped_under_its_name_in_the_order_it_ran(own_dump: Path) -> None:
    model = Model()
    with dump_model(model, "golden") as dump:
        output = model(X)
    layer = ["norm", "mlp"]
    assert names_of(own_dump) == [
        *(f"layers.0.{part}" for part in layer), "layers.0", *(f"layers.1.{part}" for part in layer), "layers.1", "head", "root",
    ]  # fmt: skip
    assert torch.equal(torch.from_numpy(saved(own_dump, "root")), output.detach())
    assert set(dump.names) == set(names_of(own_dump)) | {"layers"}, "a list of modules is never called itself"
    assert is_clean(model)


def test_tokens_are_counted_by_calls_of_the_model(own_dump: Path) -> None:
    model = Model()
    with dump_model(model, "acl", names="head", prefix="x."):
        for token in range(3):
            model(X + token)
            assert np.array_equal(
                saved(own_dump, "x.head", token, "acl"), model.head(model.layers[1](model.layers[0](X + token))).detach().numpy()
            )
            assert names_of(own_dump, str(token), "acl")[0] == "x.head"
    assert len(metadata_of(side_of(own_dump, "acl"))["x.head"]) == 3


@pytest.mark.parametrize("token_id", [7, "7", np.int64(7), lambda: 7])
def test_a_token_may_be_given(own_dump: Path, token_id: object) -> None:
    model = Model()
    with dump_model(model, "golden", names="root", token_id=token_id):
        model(X)
        model(X + 1)
    assert metadata_of(side_of(own_dump)).keys() == {"root", "root#2"} and names_of(own_dump, "7") == ["root", "root#2"]


def test_a_callable_is_asked_once_for_each_call_of_the_model(own_dump: Path) -> None:
    model, tokens = Model(), iter("ab")
    with dump_model(model, "golden", token_id=lambda: next(tokens)):
        model(X)
        model(X)
    assert names_of(own_dump, "a") == names_of(own_dump, "b") and len(names_of(own_dump, "b")) == 8


def test_what_runs_before_the_model_belongs_to_its_first_call(own_dump: Path) -> None:
    model = Model()
    with dump_model(model, "golden", names=["head", "root"]):
        model.head(X)
        model(X)
        model.head(X)
        model(X)
    assert names_of(own_dump, "0") == ["head", "head#2", "root", "head#3"] and names_of(own_dump, "1") == ["head", "root"]


def test_a_module_that_is_called_again_is_numbered_within_its_token(own_dump: Path) -> None:
    shared = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(OrderedDict(a=shared, b=torch.nn.ReLU(), c=shared))
    with dump_model(model, "golden", what="both", names=["a", "b"]) as dump:
        for _ in range(2):
            model(X)
    expected = ["a.input", "a", "b.input", "b", "a#2.input", "a#2"]
    assert names_of(own_dump, "0") == expected == names_of(own_dump, "1")
    assert dump.names == ("a", "b") and dump_counters()["replaced"] == 0


def test_modules_that_share_weights_are_two(own_dump: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with dump_model(model, "golden"):
        model(X)
    assert names_of(own_dump) == ["0", "1", "root"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("layers.*.mlp", ["layers.0.mlp", "layers.1.mlp"]),
        (["head", "layers.?"], ["layers.0", "layers.1", "head"]),
        (("root",), ["root"]),
        ("layers.[1]*", ["layers.1.norm", "layers.1.mlp", "layers.1"]),
    ],
)
def test_globs_choose_modules(own_dump: Path, names: Any, expected: list[str]) -> None:
    model = Model()
    with dump_model(model, "golden", names=names):
        model(X)
    assert names_of(own_dump) == expected


# --- values -----------------------------------------------------------------------------------------------------------------------------

Y, Z = X + 1, X + 2


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (X, {"root": X}),
        ((X, Y, Z), {"root": X, "root[1]": Y, "root[2]": Z}),
        ([None, Y, "text", Z], {"root": Y, "root[3]": Z}),
        ({"loss": X, "logits": Y}, {"root": X, "root[logits]": Y}),
        ((X, ((Y, Z), (Y, Z))), {"root": X}),
        ({"cache": (X,), 7: Y, "last": Z}, {"root": Y, "root[last]": Z}),
        (OrderedDict(a=X), {"root": X}),
        (None, {}),
        ("text", {}),
        ((), {}),
        ([[X]], {}),
    ],
    ids=["tensor", "tuple", "list", "dict", "cache", "keys", "ordered", "none", "text", "empty", "nested"],
)
def test_the_tensors_of_an_output_have_names(own_dump: Path, output: object, expected: dict[str, torch.Tensor]) -> None:
    model = Returns(output)
    with dump_model(model, "golden"):
        assert model(X) is output
    entries = metadata_of(side_of(own_dump)) if expected else {}
    assert list(entries) == list(expected)
    assert all(np.array_equal(saved(own_dump, name), value.numpy()) for name, value in expected.items())


def test_the_outputs_of_transformers_have_names(own_dump: Path) -> None:
    from transformers.modeling_outputs import CausalLMOutputWithPast

    model = Returns(CausalLMOutputWithPast(logits=X, past_key_values=((Y, Z),), hidden_states=(X,)))
    with dump_model(model, "golden"):
        model(X)
    assert names_of(own_dump) == ["root"] and np.array_equal(saved(own_dump, "root"), X.numpy())


def test_inputs_are_dumped_as_they_were_before_the_module_ran(own_dump: Path) -> None:
    class InPlace(torch.nn.Module):
        def forward(self, x: torch.Tensor, scale: int, *more: torch.Tensor, mask: torch.Tensor, cache: object, **others: Any) -> None:
            x.zero_()

    with dump_model(model := InPlace(), "golden", what="inputs"):
        model(X.clone(), 2, Y, mask=Z, cache=(X,), flag=True, late=Y)
    assert list(metadata_of(side_of(own_dump))) == ["root.input", "root.input[2]", "root.input[mask]", "root.input[late]"]
    assert np.array_equal(saved(own_dump, "root.input"), X.numpy()) and np.array_equal(saved(own_dump, "root.input[mask]"), Z.numpy())


def test_outputs_alone_have_no_inputs_and_the_other_way_round(own_dump: Path) -> None:
    model = Model()
    with dump_model(model, "golden", names="head", what="inputs"):
        model(X)
    with dump_model(model, "golden", names="head", what="outputs"):
        model(X)
    assert names_of(own_dump) == ["head.input", "head"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_model_computes_what_it_computes_without(own_dump: Path, mode: Callable[[], Any]) -> None:
    model = Model()
    with mode():
        expected = model(X)
        with dump_model(model, "golden", what="both"):
            output = model(X)
    assert torch.equal(output, expected) and output.requires_grad == expected.requires_grad
    if output.requires_grad:
        output.sum().backward()
        assert model.head.weight.grad is not None
    assert dump_counters()["saved"] == 16


def by_hand(model: torch.nn.Module) -> Iterator[Any]:
    """The hooks that a user would write."""
    for name, module in model.named_modules():

        def hook(module: torch.nn.Module, inputs: Any, output: Any, name: str = name or "root") -> None:
            value = (
                output[0]
                if isinstance(output, tuple)
                else output["logits"]
                if name == "root"
                else getattr(output, "last_hidden_state", output)
            )
            if isinstance(value, torch.Tensor):
                dump_data("golden", name, value, token_id=state.token)

        yield module.register_forward_hook(hook)


state = SimpleNamespace(token=0)


# transformers renames past_key_values; older versions know no other name.
@pytest.mark.filterwarnings("ignore:.*past_key_values:FutureWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_llama_dumps_the_very_bytes_that_hooks_by_hand_dump(own_dump: Path, dtype: torch.dtype) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    model = LlamaForCausalLM(config).eval().to(dtype)

    def generate() -> None:
        inputs, cache = torch.tensor([[3, 5, 7]]), None
        for state.token in range(3):
            output = model(input_ids=inputs, past_key_values=cache, use_cache=True)
            inputs, cache = output.logits[:, -1:].argmax(-1), output.past_key_values

    with torch.inference_mode():
        handles = list(by_hand(model))
        generate()
        for handle in handles:
            handle.remove()
        with dump_model(model, "acl"):
            generate()
    hand, ours = (
        dump_layout.metadata_of(read_journal(f"{side_of(own_dump, source)}/journal.jsonl").entries) for source in ("golden", "acl")
    )
    # A second tensor of a tuple (rotary_emb: sin) is ours alone.
    assert list(hand) == [name for name in ours if "[" not in name] and {"model", "lm_head", "root"} <= set(hand)
    assert {"model.layers.1.self_attn", "model.layers.0.mlp.down_proj", "model.rotary_emb"} <= set(hand)
    for name, tokens in hand.items():
        assert tokens.keys() == ours[name].keys() == {"0", "1", "2"}
        assert all((own_dump / path).read_bytes() == (own_dump / ours[name][token]).read_bytes() for token, path in tokens.items())
    assert is_clean(model) and dump_counters()["unsupported_value"] == 0


def test_generate_counts_a_token_for_each_step(own_dump: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
    ).eval()
    with dump_model(model, "golden", names="lm_head"):
        model.generate(torch.tensor([[3, 5]]), max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert list(metadata_of(side_of(own_dump))["lm_head"]) == ["0", "1", "2", "3"]


# --- nothing left behind ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["outputs", "inputs", "both"])
def test_remove_takes_off_our_hooks_and_no_other(own_dump: Path, what: str) -> None:
    model = Model()
    model.register_forward_hook(lambda module, inputs, output: None)
    model.head.register_forward_pre_hook(lambda module, inputs, keywords: None, with_kwargs=True)
    before = hook_tables(model)
    dump = dump_model(model, "golden", what=what)
    assert hook_tables(model) != before
    dump.remove()
    dump.remove()
    assert hook_tables(model) == before
    model(X)
    assert dump_counters()["saved"] == 0


def test_an_error_in_the_forward_pass_passes_through_and_the_hooks_go(own_dump: Path) -> None:
    model = Model()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), dump_model(model, "golden"):
        model.head(torch.ones(2, 5))
    assert is_clean(model)


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError, MemoryError])
def test_registering_that_fails_half_way_leaves_nothing(own_dump: Path, error: type[BaseException]) -> None:
    model = Model()

    def refuse(*arguments: object, **keywords: object) -> None:
        raise error("half way")

    model.head.register_forward_hook = refuse
    with pytest.raises(error, match="half way"):
        dump_model(model, "golden", what="both")
    assert is_clean(model)


def test_FASTCMP_DUMP_0_puts_no_hook_anywhere(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_DUMP", "0")
    model = Model()
    with dump_model(model, "golden"):
        assert is_clean(model)
        model(X)
    dump_model(None, "nonsense", names=[]).remove()
    assert list(own_dump.iterdir()) == [] and sum(dump_counters().values()) == 0


def test_a_copy_of_the_model_dumps_nothing(own_dump: Path) -> None:
    model = Model()
    with dump_model(model, "golden", what="both", names="head"):
        twin = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        for other in (twin, again, pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(X), twin(X))
        assert dump_counters()["saved"] == 0
        model(X)
    assert dump_counters()["saved"] == 2


def test_a_forked_child_dumps_into_its_own_directory(own_dump: Path) -> None:
    code = """
import os, torch
from fastcmp import dump_model
model = torch.nn.Linear(2, 2)
dump_model(model, "golden")
model(torch.ones(1, 2))
child = os.fork()
if not child:
    model(torch.ones(1, 2))
    os._exit(0)
os.waitpid(child, 0)
print(child)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=own_dump, capture_output=True, text=True, timeout=120, check=True)
    assert metadata_of(side_of(own_dump, pid=int(done.stdout)))["root"].keys() == {"1"}


# --- never into the forward pass --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, "model: found a NoneType, expected a torch.nn.Module"),
        ({"model": Model}, "model: found a type, expected a torch.nn.Module"),
        ({"data_src": "gold"}, "data_src: found 'gold', expected 'golden' or 'acl'"),
        ({"what": "all"}, "what: found 'all', expected 'outputs', 'inputs', 'both'"),
        ({"names": "layer.*"}, r"names: found 'layer.\*', which is no module of this model; it has root, layers, layers.0, .* and 4 more"),
        ({"names": ["head", "no"]}, "names: found 'no', which is no module"),
        ({"names": []}, r"names: found \[\], expected a glob or a sequence of globs"),
        ({"names": b"head"}, "names: found b'head', expected a glob"),
        ({"names": [1]}, r"names: found \[1\], expected a glob"),
        ({"prefix": 7}, "prefix: found a int, expected text"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_where_it_stands(own_dump: Path, arguments: dict[str, Any], message: str) -> None:
    model = Model()
    with pytest.raises(UsageError, match=message) as caught:
        dump_model(**{"model": model, "data_src": "golden", **arguments})
    assert isinstance(caught.value, ValueError) and str(caught.value).startswith("dump_model: ") and is_clean(model)


def test_a_program_without_torch_is_told(own_dump: Path) -> None:
    code = "import sys, fastcmp\ntry: fastcmp.dump_model(object(), 'golden')\nexcept ValueError as e: print(e, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=own_dump, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "dump_model: model: found a object, expected a torch.nn.Module False\n"


class Shy:
    """A key whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("shy")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("model", "token_id"),
    [
        (Returns({"a": X, Shy(): Y}), None),
        (Returns(X), lambda: 1 / 0),
        (Returns(X), Shy()),
    ],
    ids=["key", "callable", "token"],
)
def test_what_fails_in_a_hook_is_told_once_and_counted(
    own_dump: Path, model: torch.nn.Module, token_id: object, caplog: pytest.LogCaptureFixture
) -> None:
    with dump_model(model, "golden", token_id=token_id):
        for _ in range(3):
            assert model(X) is not None
    assert dump_counters()["hook_failed"] >= 3 and len(caplog.messages) == 1
    assert caplog.messages[0].startswith("dump_model: root: ") and caplog.messages[0].endswith("; not dumped, counted from now on")


def test_tensors_without_a_token_are_not_dumped_under_the_one_before(own_dump: Path) -> None:
    tokens = iter([lambda: 0, lambda: 1 / 0, lambda: 1 / 0, lambda: 0])
    model = Returns(X)
    with dump_model(model, "golden", token_id=lambda: next(tokens)()):
        for _ in range(3):
            model(X)
    assert list(metadata_of(side_of(own_dump))) == ["root", "root#2"] and dump_counters()["hook_failed"] == 2


def test_a_tensor_that_cannot_be_saved_is_counted_as_ever(own_dump: Path) -> None:
    model = Returns((torch.empty(2, device="meta"), X))
    with dump_model(model, "golden"):
        model(X)
    assert names_of(own_dump) == ["root[1]"] and dump_counters()["unsupported_value"] == 1


@pytest.mark.parametrize("model", [Returns(torch.empty(2, device="meta")), Returns({"a": X, Shy(): Y})])
def test_FASTCMP_STRICT_raises_from_a_hook(own_dump: Path, monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module) -> None:
    monkeypatch.setenv("FASTCMP_STRICT", "1")
    with dump_model(model, "golden"), pytest.raises(DumpError, match=r"dump_(data|model): "):
        model(X)


def test_a_graph_that_is_captured_is_asked_for_no_copy() -> None:
    capturing = SimpleNamespace(cuda=SimpleNamespace(is_current_stream_capturing=lambda: True))
    assert (
        values._is_capturing(capturing, "cuda") and not values._is_capturing(capturing, "npu") and not values._is_capturing(torch, "meta")
    )


# --- compiled and scripted --------------------------------------------------------------------------------------------------------------


def compile_eagerly(model: Any, **options: Any) -> Any:
    torch._dynamo.reset()
    return torch.compile(model, backend="eager", fullgraph=True, **options)


def test_a_compiled_model_stays_whole_and_its_own_output_is_dumped(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    inner = Model()
    model = compile_eagerly(inner)
    with torch.no_grad(), dump_model(model, "golden") as dump:
        for token in range(2):
            assert torch.equal(model(X + token), inner.head(inner.layers[1](inner.layers[0](X + token))))
    assert dump.names == ("root",) and metadata_of(side_of(own_dump)).keys() == {"root"} and is_clean(model)
    (text,) = told(caplog)
    assert text == (
        "dump_model: 8 modules are compiled or scripted and call no hooks: layers, layers.0, layers.0.norm, layers.0.mlp, layers.1 and 3 more; "
        "dump the model as it was before"
    )


def test_of_a_model_with_one_compiled_layer_all_else_is_dumped(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Model()
    model.layers[0] = compile_eagerly(model.layers[0])
    model.layers[1].compile(backend="eager", fullgraph=True)
    with torch.no_grad(), dump_model(model, "golden"):
        model(X)
    assert names_of(own_dump) == ["layers.0", "head", "root"]
    assert "5 modules are compiled or scripted and call no hooks: layers.0.norm, layers.0.mlp, layers.1, layers.1.norm" in caplog.text


def test_a_model_that_a_compiled_function_calls_stays_whole(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Model()
    step = compile_eagerly(lambda x: model(x) * 2)
    with torch.no_grad():
        expected = model(X) * 2
        with dump_model(model, "golden", what="both"):
            assert torch.equal(step(X), expected)
    assert dump_counters()["saved"] == 0
    assert told(caplog) == [
        "dump_model: no module was called, so nothing was dumped; what runs inside torch.compile or a CUDA graph calls no hooks"
    ]


def test_hooks_that_were_there_before_compiling_leave_the_graph_whole(own_dump: Path) -> None:
    model = Model()
    with torch.no_grad(), dump_model(model, "golden", what="both"):
        expected = model(X)
        assert torch.equal(compile_eagerly(lambda x: model(x))(X), expected)
        exported = torch.export.export(model, (X,)).module()
        assert torch.equal(exported(X), expected)
    saved_before = dump_counters()["saved"]
    assert torch.equal(exported(X), expected) and dump_counters()["saved"] == saved_before == 16


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_is_left_alone_and_told(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()))
    with dump_model(model, "golden") as dump:
        model(X)
    assert dump.names == () and "3 modules are compiled or scripted and call no hooks: root, 0, 1" in caplog.text
    mixed = torch.nn.Sequential(torch.nn.Linear(4, 4), model)
    with dump_model(mixed, "golden"):
        mixed(X)
    assert names_of(own_dump) == ["0", "root"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trace_holds_no_trace_of_the_hooks(own_dump: Path) -> None:
    model = Model()

    def graph(traced: Any) -> str:
        return re.sub(r"___torch_mangle_\d+\.|Model\.|self\.\d+", "", str(traced.inlined_graph))

    plain = torch.jit.trace(model, X)
    with dump_model(model, "golden", what="both"):
        hooked = torch.jit.trace(model, X, check_trace=False)
    assert dump_counters()["saved"] == 0 and graph(hooked) == graph(plain)


# --- any shape of model -----------------------------------------------------------------------------------------------------------------

TREES = st.recursive(
    st.sampled_from(["linear", "relu", "twice"]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "root", "_x"]), inner, max_size=3),
)


class Twice(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.inner(x))


def build(tree: Any) -> torch.nn.Module:
    if isinstance(tree, str):
        return {"linear": lambda: torch.nn.Linear(4, 4), "relu": torch.nn.ReLU, "twice": Twice}[tree]()
    return torch.nn.Sequential(OrderedDict((name, build(inner)) for name, inner in tree.items()))


@settings(max_examples=examples(40), deadline=None)
@given(TREES, st.sampled_from(["outputs", "inputs", "both"]), st.integers(1, 3))
def test_every_call_of_every_module_is_one_tensor_and_none_is_replaced(tree: Any, what: str, steps: int) -> None:
    model, calls = build(tree), 0

    def count(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        nonlocal calls
        calls += 1

    for module in model.modules():
        module.register_forward_hook(count)
    forget_session()
    dump: ModelDump = dump_model(model, "golden", what=what)
    for _ in range(steps):
        model(X)
    dump.remove()
    counters = dump_counters()
    assert counters["saved"] == calls * (2 if what == "both" else 1) and counters["replaced"] == 0


def test_a_star_as_token_is_told_and_is_a_token(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Model()
    with dump_model(model, "golden", names="*.mlp", token_id="*"):
        model(X)
    assert len(caplog.messages) == 1 and "token_id '*': is a token of that name" in caplog.text
    assert list(metadata_of(side_of(own_dump))["layers.0.mlp"]) == ["*"]
