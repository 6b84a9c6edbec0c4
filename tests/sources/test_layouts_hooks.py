"""Trees of torch hooks: the first tools' and msit's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from layout_makers import empty_tree, write_tree

from fastcmp.options import CompareOptions
from fastcmp.sources import Dump, load


def loaded(path: Path) -> Dump:
    return load(path, "golden", CompareOptions())


def keys(path: Path) -> list[tuple[str, str, str]]:
    return [tuple(tensor.key) for tensor in loaded(path).tensors]


def module(name: str, *children: object) -> dict[str, object]:
    return {"name": name, "type": "Module", "children": list(children)}


def test_a_tree_of_the_first_hooks_has_the_pid_in_no_key(tmp_path: Path) -> None:
    for run, pid in (("g", "71"), ("t", "9134")):
        empty_tree(
            tmp_path / run,
            f"tag/{pid}/0/model.layers.10_output.npy",
            f"tag/{pid}/0/model.layers.2_output.npy",
            f"tag/{pid}/1/lm_head_output_0.npy",
        )
        assert keys(tmp_path / run) == [
            ("", "lm_head_output_0", "1"),
            ("", "model.layers.2_output", "0"),
            ("", "model.layers.10_output", "0"),
        ]
        dump = loaded(tmp_path / run)
        assert (dump.layout, dump.is_in_execution_order) == ("hook", False)
        asked = load(tmp_path / run / "tag" / pid, "golden", CompareOptions(layout="hook"))
        assert [tensor.key for tensor in asked.tensors] == keys(tmp_path / run)


def test_nothing_above_the_directory_that_is_named_makes_a_tree_of_hooks(tmp_path: Path) -> None:
    runs = [empty_tree(tmp_path / name, "0/q_output.npy", "1/q_output.npy") for name in ("2024", "mine")]
    assert [loaded(run).layout for run in runs] == ["plain", "plain"]
    assert keys(runs[0]) == keys(runs[1]) == [("", "0/q_output", ""), ("", "1/q_output", "")]


def test_outputs_in_other_directories_are_no_tree_of_hooks(tmp_path: Path) -> None:
    assert loaded(empty_tree(tmp_path, "run/0/x_output.npy")).layout == "plain"


def test_a_tree_of_msit_is_named_by_module_and_token(tmp_path: Path) -> None:
    for run, place in (("g", "msit_dump_2024/torch_tensors/npu0_71"), ("t", "msit_dump_2025/torch_tensors/cuda3_99")):
        empty_tree(
            tmp_path / run, f"{place}/0/root.model.fc/input_0.npy", f"{place}/0/root.model.fc/output.npy", f"{place}/1/root/output_0_1.npy"
        )
        empty_tree(tmp_path / run, f"{place}/weights/root.model.fc.weight.npy")
        assert keys(tmp_path / run) == [
            ("", "root.model.fc/input_0", "0"),
            ("", "root.model.fc/output", "0"),
            ("", "root/output_0_1", "1"),
            ("", "weights/root.model.fc.weight", ""),
        ]
        assert loaded(tmp_path / run).layout == "msit"


def test_devices_of_msit_are_ranks(tmp_path: Path) -> None:
    empty_tree(tmp_path, *(f"torch_tensors/npu{rank}_{rank + 70}/0/root.a/output.npy" for rank in (0, 1)))
    assert [key[0] for key in keys(tmp_path)] == ["0", "1"]


def test_a_model_tree_gives_the_order_in_which_outputs_were_written(tmp_path: Path) -> None:
    empty_tree(tmp_path, *(f"torch_tensors/npu0_7/0/root{name}/output.npy" for name in ("", ".a", ".a.z", ".a.b", ".head")))
    tree = module("root", module("root.a", module("root.a.z"), module("root.a.b")), module("root.head"))
    write_tree(tmp_path, {"torch_tensors/npu0_7/model_tree.json": json.dumps(tree).encode()})
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == [f"root{name}/output" for name in (".a.z", ".a.b", ".a", ".head", "")]
    assert dump.is_in_execution_order


def test_calls_that_are_in_no_model_tree_leave_the_order_unknown(tmp_path: Path) -> None:
    empty_tree(tmp_path, "torch_tensors/npu0_7/0/root.a/output.npy", "torch_tensors/npu0_7/0/root.a.softmax/output.npy")
    write_tree(tmp_path, {"torch_tensors/npu0_7/model_tree.json": json.dumps(module("root", module("root.a"))).encode()})
    assert not loaded(tmp_path).is_in_execution_order


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1", "line 1 column 3: not JSON: Expecting ',' delimiter"),
        (b"[" * 100, "nested deeper than 64 levels"),
    ],
)
def test_a_damaged_model_tree_costs_the_order_and_a_warning(tmp_path: Path, content: bytes, message: str) -> None:
    empty_tree(tmp_path, "torch_tensors/npu0_7/0/root.a/output.npy")
    write_tree(tmp_path, {"torch_tensors/npu0_7/model_tree.json": content})
    dump = loaded(tmp_path)
    assert not dump.is_in_execution_order and len(dump.tensors) == 1
    (warning,) = dump.warnings
    assert (
        warning.startswith(f"{tmp_path}: torch_tensors/npu0_7/model_tree.json: the order of modules is not known: ") and message in warning
    )


@pytest.mark.parametrize("content", [b"3", b"[]", b'{"name": 3, "children": {"a": 1}}', b'{"children": [null, [], {"name": "root.a"}]}'])
def test_a_model_tree_of_other_shape_does_no_harm(tmp_path: Path, content: bytes) -> None:
    empty_tree(tmp_path, "torch_tensors/npu0_7/0/root.a/output.npy")
    write_tree(tmp_path, {"torch_tensors/npu0_7/model_tree.json": content})
    assert keys(tmp_path) == [("", "root.a/output", "0")]
