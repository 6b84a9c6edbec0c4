"""A run goes on with rows that were judged by what files state: nothing is read twice, and the report is the same to the byte."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from interrupted_runs import Sides, interrupted, report, run
from noted import Notes

from fastcmp.options import Rule

sys.path.insert(0, str(Path(__file__).parent.parent / "sources"))
from layout_makers import bin_bytes, call, dump_json, leaf, statistics_bytes, write_msprobe, write_tree

pytestmark = pytest.mark.usefixtures("small_tasks")

COUNT = 20


def values(number: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((3, 65)).astype(np.float32) * np.float32(scale)


def low_level(root: Path, scale: float, *, has_data: bool) -> Path:
    """Every fourth tensor is another by ``scale``."""
    tree: dict[str, np.ndarray | bytes] = {}
    for number in range(COUNT):
        tensor = values(number, 1.0 if number % 4 else scale)
        tree[f"data/0_71/3/{number}_Op/after/outtensor0.bin"] = tensor if has_data else statistics_bytes(tensor)
    return write_tree(root, tree)


def dumped(root: Path, scale: float, *, task: str) -> Path:
    """A tree of msprobe with data, or statistics."""
    names = [f"Torch.op.{number}.forward.output.0.npy" for number in range(COUNT)]
    tensors = {name: values(number, 1.0 if number % 4 else scale) for number, name in enumerate(names)}
    has_data = task == "tensor"
    calls = {
        name.removesuffix(".output.0.npy"): call([], [leaf(tensor, data_name=name) if has_data else leaf(tensor)])
        for name, tensor in tensors.items()
    }
    write_msprobe(root / "step0" / "rank0", dump_json(calls, task=task), tensors if has_data else None)
    return root


MAKERS: dict[str, Callable[[Path], Sides]] = {
    "headers": lambda root: (low_level(root / "g", 1.0, has_data=False), low_level(root / "t", 2.0, has_data=False)),
    "data beside headers": lambda root: (low_level(root / "g", 1.0, has_data=True), low_level(root / "t", 2.0, has_data=False)),
    "a list": lambda root: (dumped(root / "g", 1.0, task="statistics"), dumped(root / "t", 2.0, task="statistics")),
    "data beside a list": lambda root: (dumped(root / "g", 1.0, task="statistics"), dumped(root / "t", 2.0, task="tensor")),
}


@pytest.fixture(params=list(MAKERS))
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Sides:
    return MAKERS[request.param](tmp_path)


def test_rows_without_data_are_taken_over(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    ended = interrupted(monkeypatch, sides, tmp_path / "r")
    done = list(counted)
    assert 4 <= len(done) < COUNT
    assert ended.said[-1] == f"{len(done)} of {COUNT} rows are kept; the same command goes on from there"
    counted.clear()
    notes = Notes()
    result = run(sides, tmp_path / "r", notes)
    assert sorted(counted + done) == list(range(COUNT))
    assert f"going on where an earlier run stopped: {len(done)} of {COUNT} rows are done" in notes.said
    undisturbed = run(sides, tmp_path / "undisturbed")
    assert (result.totals.failed, result.totals.bytes) == (COUNT // 4, undisturbed.totals.bytes)
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")


def test_other_thresholds_judge_them_anew(sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]) -> None:
    rules = (Rule(match=("*4*",), thresholds=("max_absolute_error <= 1e9", "relative_euclidean_distance <= 1e9")),)
    interrupted(monkeypatch, sides, tmp_path / "r", 4)
    done = len(counted)
    changes = {"thresholds": ("relative_euclidean_distance <= 1e-3",), "rules": rules}
    assert run(sides, tmp_path / "r", **changes).totals.resumed == done
    run(sides, tmp_path / "undisturbed", **changes)
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("kind", ["headers", "data beside headers"])
def test_a_row_of_a_file_that_changed_is_judged_by_what_it_says_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int], kind: str, side: int
) -> None:
    sides = MAKERS[kind](tmp_path)
    interrupted(monkeypatch, sides, tmp_path / "r")
    done = list(counted)
    has_data = kind == "data beside headers" and side == 0
    path = sides[side] / f"data/0_71/3/{done[0]}_Op/after/outtensor0.bin"
    path.write_bytes(bin_bytes(values(99)) if has_data else statistics_bytes(values(99)))
    assert run(sides, tmp_path / "r").totals.resumed == len(done) - 1
    run(sides, tmp_path / "undisturbed")
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")


def test_a_row_of_which_a_list_states_something_else_is_judged_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]
) -> None:
    sides = MAKERS["data beside a list"](tmp_path)
    interrupted(monkeypatch, sides, tmp_path / "r")
    done = len(counted)
    path = sides[0] / "step0" / "rank0" / "dump.json"
    document = json.loads(path.read_text())
    document["data"][f"Torch.op.{counted[0]}.forward"]["output"][0]["Max"] += 1
    path.write_text(json.dumps(document))
    assert run(sides, tmp_path / "r").totals.resumed == done - 1
    run(sides, tmp_path / "undisturbed")
    assert report(tmp_path / "r") == report(tmp_path / "undisturbed")
