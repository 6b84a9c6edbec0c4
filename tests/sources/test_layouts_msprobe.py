"""Trees of msprobe: names and order from dump.json, and what is stated where there is no data."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_makers import call, dump_json, empty_tree, leaf, write_msprobe, write_tree

from fastcmp.errors import NoDataError, TensorError
from fastcmp.formats import scan_batch
from fastcmp.formats.places import split_place
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.sources import Dump, load

ONES = np.ones((2, 3), np.float32)


def loaded(path: Path, **changes: Any) -> Dump:
    return load(path, "golden", CompareOptions(**changes))


def keys(path: Path) -> list[tuple[str, str, str]]:
    return [tuple(tensor.key) for tensor in loaded(path).tensors]


def data_ids(path: Path) -> list[str]:
    return [tensor.key.data_id for tensor in loaded(path).tensors]


def test_tensors_have_the_names_and_the_order_of_dump_json(tmp_path: Path) -> None:
    names = ["Functional.linear.0.forward.input.0", "Functional.linear.0.forward.input.bias", "Functional.linear.0.forward.output.0"]
    files = [f"{names[0]}.npy", "Functional.linear.0.forward.kwargs.bias.npy", f"{names[2]}.npy"]
    first, bias, out = (leaf(ONES, data_name=name) for name in files)
    data = {"Torch.zeta.0.forward": call([leaf(ONES)]), "Functional.linear.0.forward": call([first], [out], bias=bias)}
    for step in (0, 10):
        write_msprobe(tmp_path / f"step{step}" / "rank0", dump_json(data), dict.fromkeys(files, ONES))
    assert keys(tmp_path) == [("", name, step) for name in ("Torch.zeta.0.forward.input.0", *names) for step in ("0", "10")]
    dump = loaded(tmp_path)
    assert (dump.layout, dump.is_in_execution_order, dump.warnings) == ("msprobe", True, [])
    assert dump.evidence == "step0/rank0/dump.json, step10/rank0/dump.json (task tensor, level L1)"
    assert dump.tensors[2].path == str(tmp_path / "step0/rank0/dump_tensor_data" / files[0])


@pytest.mark.parametrize(
    ("places", "ranks"),
    [
        (["step0/rank0"], [""]),
        (["step0/rank"], [""]),
        (["step0/proc4711"], [""]),
        (["step0/rank0", "step0/rank12"], ["0", "12"]),
        (["step0/proc1", "step0/proc2"], ["proc1", "proc2"]),
    ],
)
def test_ranks_are_those_of_the_directories(tmp_path: Path, places: list[str], ranks: list[str]) -> None:
    for place in places:
        write_msprobe(tmp_path / place, dump_json({"Torch.a.0.forward": call([leaf(ONES)])}))
    assert [key[0] for key in keys(tmp_path)] == ranks
    assert len(loaded(tmp_path).warnings) == (1 if "proc1" in ranks else 0)


def test_parts_of_a_call_that_no_version_known_has_are_tensors_all_the_same(tmp_path: Path) -> None:
    one = leaf(ONES)
    data = {
        "Module.a.A.backward.0": {"grad_output": [one], "input_grad": {"x": one}, "output": [one], "input": [one], "stack": "text"},
        "Torch.list.0.forward": [one, [one]],
        "Torch.alone.0.forward": one,
    }
    write_msprobe(tmp_path, dump_json(data))
    assert data_ids(tmp_path) == [
        "Module.a.A.backward.0.input.0",
        "Module.a.A.backward.0.output.0",
        "Module.a.A.backward.0.grad_output.0",
        "Module.a.A.backward.0.input_grad.x",
        "Torch.list.0.forward.0",
        "Torch.list.0.forward.1.0",
        "Torch.alone.0.forward",
    ]


def test_names_have_an_end(tmp_path: Path) -> None:
    data = {"Torch." + "a" * 100_000: call([leaf(ONES)] * 2000), "Torch.b.0.forward": call([leaf(ONES)], **{"k" * 2000: leaf(ONES)})}
    write_msprobe(tmp_path, dump_json(data))
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == ["Torch.b.0.forward.input.0"]
    assert dump.left_out == {"calls and arguments whose names are too long": 4}
    assert len(dump.warnings) == 1 and dump.warnings[0].startswith(
        f"{tmp_path}: dump.json: calls and arguments whose names are too long were left out, such as Torch.aaa"
    )
    assert len(dump.warnings[0]) < 1000


def test_gradients_of_one_parameter_are_numbered(tmp_path: Path) -> None:
    write_msprobe(tmp_path, dump_json({"Module.m.M.parameters_grad": {"weight": [leaf(ONES)] * 4000}}))
    began = time.process_time()
    assert data_ids(tmp_path)[:3:2] == ["Module.m.M.parameters_grad.weight", "Module.m.M.parameters_grad.weight (dump.json)#2"]
    assert time.process_time() - began < 3


def test_of_a_file_that_is_gone_its_row_says_that_statistics_are_known(tmp_path: Path) -> None:
    data = {"Torch.a.0.forward": call([leaf(ONES, data_name="x.npy"), leaf(None, data_name="y.npy"), leaf(ONES, data_name="z.npy")])}
    write_msprobe(tmp_path, dump_json(data), {"z.npy": ONES})
    dump = loaded(tmp_path)
    note = "the file is not there; dump.json states statistics or a checksum of it, which were not compared"
    assert [tensor.notes for tensor in dump.tensors] == [(note,), (), ()]
    assert dump.left_out == {"files that are listed and not there": 2}


def test_a_fifo_of_that_name_is_no_dump_json(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dump.json")
    write_tree(tmp_path, {"a.npy": ONES})
    writer = os.open(tmp_path / "dump.json", os.O_RDWR)
    try:
        assert loaded(tmp_path).layout == "plain"
    finally:
        os.close(writer)


def test_the_directory_of_a_rank_or_of_a_step_can_be_named(tmp_path: Path) -> None:
    write_msprobe(tmp_path / "step3" / "rank0", dump_json({"Torch.a.0.forward": call([leaf(ONES)])}))
    assert keys(tmp_path) == [("", "Torch.a.0.forward.input.0", "3")]
    assert keys(tmp_path / "step3") == keys(tmp_path / "step3" / "rank0") == [("", "Torch.a.0.forward.input.0", "")]


def test_what_a_call_gives_back_comes_after_the_calls_inside_it(tmp_path: Path) -> None:
    one = leaf(ONES)
    data = {
        "Module.model.Model.forward.0": call([one], [one]),
        "Module.model.fc.Linear.forward.0": {**call([one], [one]), "parameters": {"weight": one}},
        "Functional.linear.0.forward": call([one], [one]),
        "Module.model.act.GELU.forward.0": call([one], [one]),
        "Torch.sum.0.forward": call([one], [one]),
        "Module.model.Model.backward.0": {"input": [one], "output": [one]},
        "Module.model.fc.Linear.parameters_grad": {"weight": [one]},
    }
    construct = {
        "Module.model.Model.forward.0": None,
        "Module.model.fc.Linear.forward.0": "Module.model.Model.forward.0",
        "Functional.linear.0.forward": ["Module.model.fc.Linear.forward.0", 0],
        "Module.model.act.GELU.forward.0": "Module.model.Model.forward.0",
        "Torch.sum.0.forward": None,
        "Module.model.Model.backward.0": None,
    }
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data, level="mix"), construct=construct)
    assert data_ids(tmp_path) == [
        "Module.model.Model.forward.0.input.0",
        "Module.model.fc.Linear.forward.0.input.0",
        "Module.model.fc.Linear.forward.0.parameters.weight",
        "Functional.linear.0.forward.input.0",
        "Functional.linear.0.forward.output.0",
        "Module.model.fc.Linear.forward.0.output.0",
        "Module.model.act.GELU.forward.0.input.0",
        "Module.model.act.GELU.forward.0.output.0",
        "Module.model.Model.forward.0.output.0",
        "Torch.sum.0.forward.input.0",
        "Torch.sum.0.forward.output.0",
        "Module.model.Model.backward.0.input.0",
        "Module.model.Model.backward.0.output.0",
        "Module.model.fc.Linear.parameters_grad.weight",
    ]
    assert loaded(tmp_path).is_in_execution_order


def test_a_call_that_is_listed_when_it_has_ended_was_given_its_inputs_before_those_inside_it(tmp_path: Path) -> None:
    names = ["Torch.a.0.forward", "Torch.b.0.forward", "Module.m.M.forward.0", "Torch.c.0.forward"]
    data = {name: call([leaf(ONES)], [leaf(ONES)]) for name in names}
    construct = {names[0]: names[2], names[1]: names[2], names[2]: None, names[3]: None}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data, level="mix"), construct=construct)
    parts = ["Module.m.M.forward.0.input.0"]
    parts += [f"Torch.{name}.0.forward.{part}.0" for name in "ab" for part in ("input", "output")]
    parts += ["Module.m.M.forward.0.output.0", "Torch.c.0.forward.input.0", "Torch.c.0.forward.output.0"]
    assert data_ids(tmp_path) == parts


@pytest.mark.parametrize("construct", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "b", "b": "c", "c": "b"}, {"a": ["b"], "b": []}, {"x": "a"}])
def test_calls_that_are_said_to_lie_inside_each_other_are_all_there_once(tmp_path: Path, construct: dict[str, Any]) -> None:
    data = {name: call([leaf(ONES)], [leaf(ONES)]) for name in "abc"}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data), construct=construct)
    assert sorted(data_ids(tmp_path)) == sorted(f"{name}.{part}.0" for name in "abc" for part in ("input", "output"))


def test_a_deep_chain_of_calls_is_no_recursion(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(5000)]
    data = {name: call([], [leaf(ONES)]) for name in names}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data), construct=dict(zip(names[1:], names, strict=False)))
    assert data_ids(tmp_path) == [f"c{number}.output.0" for number in reversed(range(5000))]


def test_without_the_nesting_of_modules_the_order_is_not_known(tmp_path: Path) -> None:
    data = {"Module.a.A.forward.0": call([leaf(ONES)], [leaf(ONES)])}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data, level="mix"))
    assert not loaded(tmp_path).is_in_execution_order
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data, level="mix"), construct={"Module.a.A.forward.0": None})
    assert loaded(tmp_path).is_in_execution_order


def test_nested_arguments_have_nested_names_and_what_is_no_tensor_is_counted(tmp_path: Path) -> None:
    one = leaf(ONES)
    three = {"type": "int", "value": 3}
    data = {"Torch.f.0.forward": call([[one, {"k": one}], three, None, {"type": "torch.Size", "value": [2]}], [one], mask=one, flag=three)}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data))
    assert data_ids(tmp_path) == [f"Torch.f.0.forward.{name}" for name in ("input.0.0", "input.0.1.k", "input.mask", "output.0")]
    assert loaded(tmp_path).left_out["arguments that are no tensors"] == 3


def test_what_was_saved_by_hand_is_in_debug_json(tmp_path: Path) -> None:
    place = tmp_path / "step0" / "rank0"
    name = "x.0.debug.a.npy"
    write_tree(place, {f"dump_tensor_data/{name}": ONES})
    document = {
        "task": "tensor",
        "level": "debug",
        "dump_data_dir": "/d",
        "data": {"x.0.debug": {"a": leaf(ONES, data_name=name), "b": leaf(ONES)}},
    }
    (place / "debug.json").write_text(json.dumps(document))
    assert data_ids(tmp_path) == ["x.0.debug.a", "x.0.debug.b"]


def test_files_that_no_dump_json_lists_yet_are_there_too(tmp_path: Path) -> None:
    name = "Functional.a.0.forward.input.0.npy"
    write_msprobe(tmp_path / "step0" / "rank0", dump_json({}), {name: ONES, "Functional.a.0.forward.kwargs.mask.npy": ONES})
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == ["Functional.a.0.forward.input.0", "Functional.a.0.forward.input.mask"]
    assert not dump.is_in_execution_order
    assert dump.warnings[0].startswith(
        f"{tmp_path}: files that no dump.json lists have the name of the file: step0/rank0/dump_tensor_data/"
    )


def test_files_without_any_dump_json_are_recognised_by_their_directory(tmp_path: Path) -> None:
    empty_tree(tmp_path, "step0/rank0/dump_tensor_data/Functional.a.0.forward.input.0.npy")
    assert loaded(tmp_path).layout == "msprobe"
    assert keys(tmp_path) == [("", "Functional.a.0.forward.input.0", "0")]


def test_a_listed_file_that_is_missing_keeps_its_name(tmp_path: Path) -> None:
    name = "Torch.a.0.forward.input.0.npy"
    write_msprobe(tmp_path / "step0" / "rank0", dump_json({"Torch.a.0.forward": call([leaf(ONES, data_name=name)])}))
    dump = loaded(tmp_path)
    assert dump.tensors[0].path == str(tmp_path / "step0/rank0/dump_tensor_data" / name)
    assert dump.left_out["files that are listed and not there"] == 1


@pytest.mark.parametrize("name", ["../../../secret.npy", "/etc/passwd", "..", "a/b.npy", "a\0.npy", "dump.json", ""])
def test_a_data_name_that_leads_elsewhere_is_not_followed(tmp_path: Path, name: str) -> None:
    write_msprobe(tmp_path / "step0" / "rank0", dump_json({"Torch.a.0.forward": call([leaf(ONES, data_name=name)])}))
    (tensor,) = loaded(tmp_path).tensors
    assert split_place(tensor.path)[0] == str(tmp_path / "step0/rank0/dump.json")
    shown = repr(name).replace("\\", "\\\\") if "\0" in name else repr(name)
    assert tensor.notes == ((f"data_name {shown} is not the name of a file in dump_tensor_data and was not followed",) if name else ())


def stated(path: Path) -> list[NoDataError]:
    found = scan_batch([tensor.path for tensor in loaded(path).tensors], ScanOptions())
    assert all(isinstance(one, NoDataError) for one in found)
    return found


@pytest.mark.parametrize(
    ("written", "checksum"),
    [
        ("deadbeef", "deadbeef"), ("0x0123456789ABCDEF", "0x0123456789ABCDEF"), ("0" * 32, "0" * 32),
        ("N/A", ""), ("", ""), ("none", ""), ("deadbee", ""), ("deadbeeg", ""), ("0x012345", ""), ("a" * 64, ""), (12345678, ""), (None, ""),
    ],
)  # fmt: skip
def test_only_what_is_written_as_a_checksum_is_one(tmp_path: Path, written: Any, checksum: str) -> None:
    described = leaf(None, shape=(2,), Max=1.0, md5=written)
    write_msprobe(tmp_path / "step0" / "rank0", dump_json({"Torch.a.0.forward": call([described])}, task="statistics"))
    (found,) = stated(tmp_path)
    assert (found.checksum, found.code) == (checksum, "E_CHECKSUM" if checksum else "E_STATS_ONLY")


def test_statistics_and_checksums_travel_to_the_reader(tmp_path: Path) -> None:
    values = np.array([[1, -3], [2.5, 0.25]], np.float32)
    whole = leaf(None, shape=(4,), dtype="bfloat16", Max=float("nan"), Min=None, Mean="odd", Norm=2)
    flags = leaf(None, shape=(), dtype="bool", Max=True, Min=False)
    sums = leaf(None, shape=(7,), dtype="odd_type", md5="deadbeef")
    data = {"Torch.a.0.forward": call([leaf(values), whole, flags, sums])}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data, task="statistics"))
    one, two, three, four = stated(tmp_path)
    assert (one.code, one.dtype, one.shape, one.decimals) == ("E_STATS_ONLY", "float32", (2, 2), None)
    assert one.statistics == {"max": 2.5, "min": -3.0, "mean": 0.1875, "l2norm": pytest.approx(np.sqrt(16.3125))}
    assert (two.dtype, two.shape, list(two.statistics)) == ("bfloat16", (4,), ["max", "l2norm"]) and np.isnan(two.statistics["max"])
    assert (three.dtype, three.shape, three.statistics) == ("bool", (), {"max": 1.0, "min": 0.0})
    assert (four.code, four.dtype, four.shape, four.checksum) == ("E_CHECKSUM", "", (7,), "deadbeef")


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ([-1], "[-1]"), ([2.5], "[2.5]"), (["2"], '["2"]'), ([2**70], "[1.18059e+21]"), ([1] * 65, "[1, 1, 1,"), ([[2]], "[[2]]"), ([None], "[null]"),
        ("abc", '"abc"'), (-2, "-2"), (3, "3"), (None, "null"), ({}, "{}"), ("\x1b[31m" + "a" * 500, '"\\u001b[31maaa'),
    ],
)  # fmt: skip
def test_a_shape_that_none_can_have_is_an_error_of_its_row(tmp_path: Path, shape: Any, shown: str) -> None:
    described = {**leaf(ONES, md5="deadbeef"), "shape": shape}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json({"Torch.a.0.forward": call([described, leaf(ONES)])}, task="statistics"))
    dump = loaded(tmp_path)
    assert len(dump.tensors) == 2 and not dump.left_out
    found, other = scan_batch([tensor.path for tensor in dump.tensors], ScanOptions())
    assert isinstance(found, TensorError) and isinstance(other, NoDataError)
    assert (found.code, found.path) == ("E_BAD_DIMS", f"{tmp_path}/step0/rank0/dump.json")
    assert found.detail.startswith(f"shape {shown}") and found.detail.endswith(": expected at most 64 lengths, each from 0 to 2^63-1")
    assert len(found.detail) < 200


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('{"task": "tensor", "level": "L1", "data": {"a": ', "line 1 column 49: not JSON: Expecting value"),
        ('{"task": "tensor", "level": "L1", "data": []}', 'expected {"data": {call: {...}}}; repair it or dump again'),
        ('{"task": "tensor", "level": "L1", "data": ' + "[" * 100, "nested deeper than 64 levels"),
    ],
)
def test_a_damaged_dump_json_leaves_the_files_their_own_names(tmp_path: Path, document: str, message: str) -> None:
    write_msprobe(tmp_path / "step0" / "rank0", document, {"Torch.a.0.forward.input.0.npy": ONES})
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == ["Torch.a.0.forward.input.0"]
    assert (
        dump.warnings[0].startswith(f"{tmp_path}: step0/rank0/dump.json: not used, names are those of the files: ")
        and message in dump.warnings[0]
    )


@pytest.mark.parametrize(
    "call_said", [3, None, [], {"input_args": 3}, {"input_args": [[], {}, {"type": 3}]}, {"output": {"a": {"type": "x"}}}]
)
def test_calls_of_odd_shape_do_no_harm(tmp_path: Path, call_said: Any) -> None:
    data = {"Torch.a.0.forward": call_said, "Torch.b.0.forward": call([leaf(ONES)])}
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data))
    assert data_ids(tmp_path) == ["Torch.b.0.forward.input.0"]


def test_a_name_that_stands_twice_has_a_row_each(tmp_path: Path) -> None:
    twice = [{"0": leaf(ONES, data_name="x.npy")}, leaf(ONES, data_name="y.npy")]
    data = {
        "Torch.a.0.forward": {
            "input_args": [leaf(ONES, data_name="x.npy")],
            "input_kwargs": {"0": leaf(ONES, data_name="y.npy")},
            "output": twice[:0],
        }
    }
    write_msprobe(tmp_path / "step0" / "rank0", dump_json(data), {"x.npy": ONES, "y.npy": ONES})
    dump = loaded(tmp_path)
    assert [tensor.key.data_id for tensor in dump.tensors] == [
        "Torch.a.0.forward.input.0",
        "Torch.a.0.forward.input.0 (y.npy)",
    ]
    assert "names that stand twice" in dump.warnings[0]


def test_another_programs_dump_json_makes_no_layout(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.npy": ONES, "dump.json": b'{"data": {"x": 1}}'})
    assert loaded(tmp_path).layout == "plain"


def test_a_dump_json_outside_the_roots_is_not_read(tmp_path: Path) -> None:
    write_msprobe(tmp_path / "out" / "step0" / "rank0", dump_json({"Torch.a.0.forward": call([leaf(ONES)])}))
    write_tree(tmp_path / "in", {"a.npy": ONES})
    os.symlink(tmp_path / "out" / "step0", tmp_path / "in" / "step0")
    assert loaded(tmp_path / "in").layout == "msprobe"
    assert loaded(tmp_path / "in", scan=ScanOptions(roots=(str(tmp_path / "in"),))).layout == "plain"
