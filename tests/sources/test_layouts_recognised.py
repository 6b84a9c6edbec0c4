"""Which layout a tree is of: found out, said, or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from layout_makers import call, dump_json, empty_tree, leaf, write_msprobe, write_tree

from fastcmp.errors import UsageError
from fastcmp.options import LAYOUT_NAMES, CompareOptions, check
from fastcmp.sources import load
from fastcmp.sources.layouts import LAYOUTS

GOLDEN = Path(__file__).parent.parent / "golden"
ATB = "msit_dump/tensors/0_71/0/0_X/after/outtensor0.bin"
MSIT = "msit_dump/torch_tensors/npu0_71/0/root.a/output.npy"
EXAMPLES = {
    "atb": ATB,
    "msit": MSIT,
    "msprobe": "step0/rank0/dump_tensor_data/Torch.a.0.forward.input.0.npy",
    "sglang": "dump/step=0___rank=0___dump_index=1___name=x.npy",
    "hook": "tag/71/0/model_output.npy",
}


@pytest.mark.parametrize("name", [layout.name for layout in LAYOUTS])
def test_every_layout_has_an_example_and_is_found_by_it(tmp_path: Path, name: str) -> None:
    assert load(empty_tree(tmp_path, EXAMPLES[name]), "golden", CompareOptions()).layout == name
    assert name in LAYOUT_NAMES


def test_of_two_layouts_neither_is_chosen(tmp_path: Path) -> None:
    empty_tree(tmp_path, ATB, MSIT)
    message = (
        f"{tmp_path}: a tree of several layouts: atb (1 file, such as {ATB}) and msit (1 file, such as {MSIT}); "
        "name the directory of one of them, or say which: --layout atb"
    )
    with pytest.raises(UsageError) as refused:
        load(tmp_path, "golden", CompareOptions())
    assert str(refused.value) == message


@pytest.mark.parametrize(("layout", "expected", "other"), [("atb", "0_X/after/outtensor0", "msit"), ("msit", "root.a/output", "atb")])
def test_the_one_that_is_asked_for_is_read_alone(tmp_path: Path, layout: str, expected: str, other: str) -> None:
    empty_tree(tmp_path, ATB, MSIT)
    dump = load(tmp_path, "golden", CompareOptions(layout=layout))
    assert [tensor.key.data_id for tensor in dump.tensors] == [expected]
    assert dump.left_out == {f"tensor files of the layout {other}": 1}
    assert dump.warnings[0].startswith(f"{tmp_path}: 1 file of the layout {other} left out: ")


def test_tensor_files_of_no_layout_keep_their_paths_beside_those_of_one(tmp_path: Path) -> None:
    empty_tree(tmp_path, ATB, "extra/logits.npy")
    dump = load(tmp_path, "golden", CompareOptions())
    assert [tensor.key.data_id for tensor in dump.tensors] == ["0_X/after/outtensor0", "extra/logits"]
    assert not dump.is_in_execution_order
    assert dump.warnings == [f"{tmp_path}: 1 tensor file not of the layout atb, named by path: extra/logits.npy"]


def test_plain_reads_any_tree_by_path(tmp_path: Path) -> None:
    dump = load(empty_tree(tmp_path, ATB, MSIT), "golden", CompareOptions(layout="plain"))
    assert [tensor.key.data_id for tensor in dump.tensors] == [ATB[:-4], MSIT[:-4]]
    assert (dump.kind, dump.layout, dump.evidence) == ("directory", "plain", "--layout plain")


def test_plain_reads_a_tree_that_has_a_metadata_json_too(tmp_path: Path) -> None:
    write_tree(
        tmp_path, {"golden_tensor/0/7_tensor.npy": np.ones(2), "golden_tensor/metadata.json": json.dumps({"7": {"0": "a.npy"}}).encode()}
    )
    assert [tensor.key.data_id for tensor in load(tmp_path, "golden", CompareOptions()).tensors] == ["7"]
    assert [tensor.key.data_id for tensor in load(tmp_path, "golden", CompareOptions(layout="plain")).tensors] == ["0/7_tensor"]


def test_metadata_may_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--layout metadata: no metadata\.json in it; name the directory of a dump"):
        load(empty_tree(tmp_path, ATB), "golden", CompareOptions(layout="metadata"))


def test_a_layout_that_is_not_there_is_refused_with_what_was_expected_and_found(tmp_path: Path) -> None:
    message = (
        r"--layout sglang: expected step=\{n\}___rank=.*\.pt, found msit_dump/tensors/0_71/.*; name its directory, or leave the option out"
    )
    with pytest.raises(UsageError, match=message):
        load(empty_tree(tmp_path, ATB), "golden", CompareOptions(layout="sglang"))


def test_each_side_may_have_its_own(tmp_path: Path) -> None:
    empty_tree(tmp_path, ATB)
    options = CompareOptions(layout="golden=plain, target=atb")
    check(options)
    assert load(tmp_path, "golden", options).layout == "plain"
    assert load(tmp_path, "target", options).layout == "atb"
    assert load(tmp_path, "target", CompareOptions(layout="golden=plain")).layout == "atb"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("torch", "--layout 'torch': expected one of auto, metadata, plain, atb, msit, msprobe, sglang, hook, got 'torch'"),
        ("golden=x", "--layout 'golden=x': expected one of auto, metadata, plain, atb, msit, msprobe, sglang, hook, got 'x'"),
        ("acl=atb", "--layout 'acl=atb': expected golden=NAME,target=NAME, got 'acl=atb'"),
        ("", "--layout '': expected one of auto, metadata, plain, atb, msit, msprobe, sglang, hook, got ''"),
    ],
)
def test_a_layout_that_does_not_exist_is_refused_before_anything_is_read(layout: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(CompareOptions(layout=layout))
    assert str(refused.value) == message


def test_statistics_alone_are_a_tree(tmp_path: Path) -> None:
    write_msprobe(tmp_path / "step0" / "rank0", dump_json({"Torch.a.0.forward": call([leaf(np.ones(3, np.float32))])}, task="statistics"))
    dump = load(tmp_path, "golden", CompareOptions())
    assert dump.layout == "msprobe" and len(dump.tensors) == 1


STATED = dump_json({"Torch.a.0.forward": call([leaf(np.ones(3, np.float32))])}, task="statistics")
CSV_HEAD = "Execution Count,Op Name,Op Id,Input/Output,Index,Dtype,Shape,Max,Min,Mean,Norm\n"
CSV = f"{CSV_HEAD}0,Model,0,output,0,float,2x3,1,0,0,1\n"


def test_statistics_of_another_layout_are_not_passed_by(tmp_path: Path) -> None:
    empty_tree(tmp_path, ATB)
    write_msprobe(tmp_path / "py/step0/rank0", STATED)
    with pytest.raises(UsageError, match=r"a tree of several layouts: atb \(1 file.*\) and msprobe \(1 file, such as py/step0/rank0/dump"):
        load(tmp_path, "golden", CompareOptions())
    dump = load(tmp_path, "golden", CompareOptions(layout="atb"))
    assert dump.left_out["files that state tensors of the layout msprobe"] == 1
    (warning,) = dump.warnings
    assert warning == (
        f"{tmp_path}: what 1 file of the layout msprobe may state of tensors is left out: py/step0/rank0/dump.json; "
        "name its directory to compare it"
    )


def test_a_table_of_another_layout_is_not_passed_by(tmp_path: Path) -> None:
    write_tree(tmp_path, {EXAMPLES["msprobe"]: np.ones(3), "statistic.csv": CSV.encode()})
    with pytest.raises(UsageError, match=r"a tree of several layouts: msprobe .* and atb \(1 file, such as statistic\.csv\)"):
        load(tmp_path, "golden", CompareOptions())


def test_statistics_beside_a_metadata_json_are_said_to_be_left_out(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/metadata.json": json.dumps({"7": {"0": "a.npy"}}).encode()})
    write_msprobe(tmp_path / "b", STATED)
    dump = load(tmp_path, "golden", CompareOptions())
    assert dump.left_out["files that state tensors of the layout msprobe"] == 1
    assert [warning for warning in dump.warnings if "b/dump.json" in warning]


@pytest.mark.parametrize(
    ("name", "content"),
    [("dump.json", '{"task":"mnli","data":[1,2]}'), ("statistic.csv", "a,b\n1,2\n"), ("statistic.csv", f"{CSV_HEAD}0,,,,,,,,,,\n")],
)
def test_a_file_that_only_has_the_name_makes_no_layout(tmp_path: Path, name: str, content: str) -> None:
    write_tree(tmp_path, {"b/x.npy": np.ones(2), name: content.encode()})
    dump = load(tmp_path, "golden", CompareOptions())
    assert (dump.layout, [tensor.key.data_id for tensor in dump.tensors]) == ("plain", ["b/x"])
    assert len(dump.warnings) == 1 and f"{name}: " in dump.warnings[0]
    write_tree(tmp_path, {ATB: b""})
    assert load(tmp_path, "golden", CompareOptions()).layout == "atb"


@pytest.mark.parametrize("example", [*EXAMPLES.values(), "statistic.csv"])
def test_a_tree_of_both_roles_is_read_by_role_whatever_its_layout(tmp_path: Path, example: str) -> None:
    own = {"golden": "golden_tensor", "target": "acl_tensor"}
    for directory in own.values():
        write_tree(tmp_path, {f"run/{directory}/{example}": CSV.encode() if example.endswith(".csv") else b""})
    write_tree(tmp_path, {"dump.json": b'{"task":"mnli","data":[1,2]}'})
    for role, directory in own.items():
        dump = load(tmp_path, role, CompareOptions())
        assert [tensor.files for tensor in dump.tensors] == [(str(tmp_path / "run" / directory / example),)]
        assert dump.left_out == {f"files outside of the directory run/{directory}": 2}
        assert dump.path == str(tmp_path)


def test_a_role_in_several_places_is_not_compared_with_itself(tmp_path: Path) -> None:
    empty_tree(tmp_path, *(f"{rank}/{role}_tensor/x.npy" for rank in ("r0", "r1") for role in ("golden", "acl")))
    with pytest.raises(UsageError) as refused:
        load(tmp_path, "target", CompareOptions())
    assert str(refused.value) == (
        f"{tmp_path}: acl_tensor in 2 places beside golden_tensor, expected one of each; name one of them: r0/acl_tensor, r1/acl_tensor"
    )


def test_keys_that_the_other_dump_has_are_its_objects(tmp_path: Path) -> None:
    empty_tree(tmp_path, ATB)
    golden = load(tmp_path, "golden", CompareOptions())
    target = load(tmp_path, "target", CompareOptions(), golden)
    assert golden.tensors[0].key is target.tensors[0].key


def test_a_file_that_belongs_to_a_directory_says_to_name_that() -> None:
    path = next((GOLDEN / "atb_statistics").rglob("statistic.csv"))
    said = f"{path}: part of the dump of another tool, which is read as a directory; name that: {path.parent}"
    with pytest.raises(UsageError, match=f"^{re.escape(said)}$"):
        load(path, "golden", CompareOptions())
    assert load(path.parent, "golden", CompareOptions()).tensors


@pytest.mark.parametrize("name", ["dump.json", "construct.json"])
def test_a_json_that_belongs_to_a_directory_says_to_name_that(name: str) -> None:
    path = next((GOLDEN / "msprobe_statistics_golden").rglob(name))
    said = f"; repair it or dump again; if it is part of the dump of another tool, name its directory: {path.parent}"
    with pytest.raises(UsageError, match=f"^{path}: entry .*{re.escape(said)}$"):
        load(path, "golden", CompareOptions())
    assert load(path.parent, "golden", CompareOptions()).tensors


def test_a_metadata_json_by_the_name_of_another_tools_file_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text('{"op": {"0": 3}}')
    said = f'{path}: entry ["op"]["0"]: expected a path, found the number 3; repair it or dump again; if it is part'
    with pytest.raises(UsageError, match=f"^{re.escape(said)} of the dump of another tool, name its directory: {tmp_path}$"):
        load(path, "golden", CompareOptions())


def test_a_metadata_json_by_another_name_is_one(tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_text('{"a": {"0": "a.npy"}}')
    assert [tensor.key.data_id for tensor in load(tmp_path / "dump.json", "golden", CompareOptions()).tensors] == ["a"]
