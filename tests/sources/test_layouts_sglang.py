"""Trees of SGLang's dumpers."""

from __future__ import annotations

from pathlib import Path

from layout_makers import empty_tree

from fastcmp.options import CompareOptions
from fastcmp.sources import Dump, load


def loaded(path: Path) -> Dump:
    return load(path, "golden", CompareOptions())


def keys(path: Path) -> list[tuple[str, str, str]]:
    return [tuple(tensor.key) for tensor in loaded(path).tensors]


def test_tags_become_name_token_rank_and_the_rest_of_the_name(tmp_path: Path) -> None:
    empty_tree(
        tmp_path,
        "dump_1/step=1___rank=0___dump_index=3___name=hidden___recompute_status=disabled___layer_id=3.npy",
        "dump_1/step=0___rank=0___dump_index=2___name=hidden___recompute_status=disabled___layer_id=3.npy",
        "dump_1/step=0___rank=0___dump_index=1___name=input_ids___recompute_status=disabled.npy",
    )
    dump = loaded(tmp_path)
    assert keys(tmp_path) == [("", "input_ids", "0"), ("", "hidden/layer_id=3", "0"), ("", "hidden/layer_id=3", "1")]
    assert (dump.layout, dump.is_in_execution_order) == ("sglang", True)


def test_versions_that_call_the_step_otherwise_have_the_same_keys(tmp_path: Path) -> None:
    empty_tree(tmp_path / "old", "sglang_dump_1/forward_pass_id=7___rank=0___name=x=y___dump_index=1___layer_id=3.npy")
    empty_tree(tmp_path / "new", "dump_2/step=7___rank=0___dump_index=12___name=x=y___recompute_status=disabled___layer_id=3.npy")
    assert keys(tmp_path / "old") == keys(tmp_path / "new") == [("", "x=y/layer_id=3", "7")]


def test_ranks_stand_apart_and_repeats_are_numbered_as_they_came(tmp_path: Path) -> None:
    names = [f"d/step=0___rank={rank}___dump_index={index}___name=x.npy" for rank, index in ((1, 10), (0, 9), (0, 10), (1, 2))]
    assert keys(empty_tree(tmp_path, *names)) == [("0", "x", "0"), ("0", "x#1", "0"), ("1", "x", "0"), ("1", "x#1", "0")]
    assert loaded(tmp_path).tensors[1].written_path == names[2]


def test_two_runs_in_one_directory_are_warned_of(tmp_path: Path) -> None:
    empty_tree(tmp_path, *(f"{run}/step=0___rank=0___dump_index=1___name=x.npy" for run in ("dump_1", "dump_2")))
    dump = loaded(tmp_path)
    assert [tensor.key.rank for tensor in dump.tensors] == ["dump_1/rank0", "dump_2/rank0"]
    assert "2 processes and nothing that tells their ranks" in dump.warnings[0]


def test_names_that_only_look_like_tags_are_paths(tmp_path: Path) -> None:
    empty_tree(
        tmp_path,
        "a=1___b=2.npy",
        "step=0___rank=0___name=x.npy",
        "step=0___rank=x___dump_index=1___name=x.npy",
        "step=0___rank=0___dump_index=1.npy",
    )
    dump = loaded(tmp_path)
    assert dump.layout == "plain" and len(dump.tensors) == 4


def test_passes_are_tokens_in_directories_of_ranks(tmp_path: Path) -> None:
    names = [f"TP{rank}_PP0_Rank{rank}_pid{rank + 70}/Pass0000{step}.npy" for rank in (0, 1) for step in (0, 1)]
    dump = loaded(empty_tree(tmp_path, *names))
    assert dump.layout == "sglang" and not dump.is_in_execution_order
    assert [(tensor.key.rank, tensor.key.token_id) for tensor in dump.tensors] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
