"""Files are found where they lie: after a move, a change of directory, or in another build's run directory."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from fastcmp.options import CompareOptions
from fastcmp.sources import load
from fastcmp.sources.path_locator import PathLocator

OPTIONS = CompareOptions()


def dump_as_seed(place: Path, count: int = 2) -> Path:
    side = place / "71_cmp_dump_data" / "golden_tensor"
    (side / "0").mkdir(parents=True)
    metadata = {}
    for number in range(count):
        (side / "0" / f"{number}_tensor.npy").touch()
        metadata[str(number)] = {"0": f"./71_cmp_dump_data/golden_tensor/0/{number}_tensor.npy"}
    (side / "metadata.json").write_text(json.dumps(metadata))
    return side


def low_level(place: Path, runs: list[str], written_run: str = "thread_71") -> str:
    """A metadata.json that names 0/op/out.bin in ``written_run`` while it lies in ``runs``."""
    for run in runs:
        (place / "tensors" / run / "0" / "op").mkdir(parents=True)
        (place / "tensors" / run / "0" / "op" / "out.bin").touch()
    path = place / "metadata.json"
    path.write_text(json.dumps({"0": {"0": f"{place}/tensors/{written_run}/0/op/out.bin"}}))
    return str(path)


def test_a_moved_dump_directory_and_another_working_directory(tmp_path, monkeypatch):
    dump_as_seed(tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for tensor in load("../after/71_cmp_dump_data/golden_tensor/metadata.json", "golden", OPTIONS).tensors:
        assert os.path.isfile(tensor.path)


def test_a_renamed_dump_directory(tmp_path):
    dump_as_seed(tmp_path)
    os.rename(tmp_path / "71_cmp_dump_data", tmp_path / "golden run")
    for tensor in load(str(tmp_path / "golden run" / "golden_tensor"), "golden", OPTIONS).tensors:
        assert os.path.isfile(tensor.path)


@pytest.mark.parametrize("was_removed", [True, False])
def test_a_copied_side_under_another_name_has_its_own_files(tmp_path, monkeypatch, was_removed):
    shutil.copytree(dump_as_seed(tmp_path), tmp_path / "G")
    if was_removed:
        shutil.rmtree(tmp_path / "71_cmp_dump_data")
    monkeypatch.chdir(tmp_path)
    assert [tensor.path for tensor in load("G", "golden", OPTIONS).tensors] == [
        f"{tmp_path}/G/0/{number}_tensor.npy" for number in range(2)
    ]


@pytest.mark.parametrize("name", ["metadata.json", "both.json", "acl_tensor/metadata.json"])
def test_a_file_beside_the_json_is_never_taken_for_the_other_side(tmp_path, name):
    path = tmp_path / name
    (path.parent / "0").mkdir(parents=True)
    (path.parent / "0" / "7_tensor.npy").touch()
    sides = [f"./71_cmp_dump_data/{side}_tensor/0/7_tensor.npy" for side in ("golden", "acl")]
    path.write_text(json.dumps({"7": {"0": sides if name == "metadata.json" else sides[0]}}))
    for role in ("golden", "target"):
        assert not os.path.exists(load(str(path), role, OPTIONS).tensors[0].path)


def test_the_moved_file_wins_over_a_stale_one_in_the_working_directory(tmp_path, monkeypatch):
    dump_as_seed(tmp_path / "stale")
    side = dump_as_seed(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "stale")
    assert load(str(side), "golden", OPTIONS).tensors[0].path == str(side / "0" / "0_tensor.npy")


def test_a_file_that_only_the_working_directory_has(tmp_path, monkeypatch):
    (tmp_path / "json").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.npy").touch()
    (tmp_path / "json" / "m.json").write_text('{"0":{"0":"data/a.npy"}}')
    monkeypatch.chdir(tmp_path)
    assert load("json/m.json", "golden", OPTIONS).tensors[0].path == str(tmp_path / "data" / "a.npy")


def test_where_both_directories_exist_each_file_is_looked_for(tmp_path, monkeypatch):
    for place, name in (("json/d", "a.npy"), ("cwd/d", "b.npy")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / name).touch()
    (tmp_path / "json" / "m.json").write_text('{"0":{"0":"d/a.npy","1":"d/b.npy","2":"d/c.npy"}}')
    monkeypatch.chdir(tmp_path / "cwd")
    found = [tensor.path for tensor in load("../json/m.json", "golden", OPTIONS).tensors]
    assert found == [str(tmp_path / "json/d/a.npy"), str(tmp_path / "cwd/d/b.npy"), str(tmp_path / "json/d/c.npy")]


def test_a_missing_file_keeps_the_first_place_it_was_looked_for(tmp_path):
    (tmp_path / "m.json").write_text('{"0":{"0":"nowhere/a.npy"}}')
    tensor = load(str(tmp_path / "m.json"), "golden", OPTIONS).tensors[0]
    assert tensor.path == str(tmp_path / "nowhere" / "a.npy")
    assert tensor.notes == ()


def test_a_low_level_path_by_pid_is_taken_as_written(tmp_path):
    tensor = load(low_level(tmp_path, ["thread_71", "thread_140"]), "target", OPTIONS).tensors[0]
    assert tensor.path == f"{tmp_path}/tensors/thread_71/0/op/out.bin"
    assert tensor.notes == ()


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        (["thread_140093"], "thread_140093"),
        (["71"], "71"),
        (["3_71"], "3_71"),
        (["thread_140093", "0_72", "3_71"], "3_71"),
    ],
)
def test_a_low_level_path_is_found_in_the_directory_of_another_build(tmp_path, runs, found):
    tensor = load(low_level(tmp_path, runs), "target", OPTIONS).tensors[0]
    assert tensor.path == f"{tmp_path}/tensors/{found}/0/op/out.bin"
    assert tensor.notes == (f"found in {found} instead of thread_71",)


@pytest.mark.parametrize("runs", [[], ["thread_71"], ["thread_9"], ["thread_71", "thread_9"], ["thread_9", "thread_10"]])
@pytest.mark.parametrize("written_run", ["thread_71", "thread_9"])
def test_where_one_run_holds_a_token_looking_would_find_the_same(tmp_path, monkeypatch, runs, written_run):
    path = low_level(tmp_path, runs, written_run)
    tensors = load(path, "target", OPTIONS).tensors
    monkeypatch.setattr(PathLocator, "_only_run", lambda *_: "")
    assert load(path, "target", OPTIONS).tensors == tensors


def low_level_dump(place: Path, layers: tuple[int, ...]) -> Path:
    """A dump that says ``./tensors/...`` of one file and of a pattern; the side's directory."""
    for layer in layers:
        (place / f"tensors/thread_71/0/{layer}_L").mkdir(parents=True)
        (place / f"tensors/thread_71/0/{layer}_L/o.bin").touch()
    side = place / "71_cmp_dump_data" / "acl_tensor"
    side.mkdir(parents=True)
    rows = {"one": {"0": "./tensors/thread_71/0/3_L/o.bin"}, "all": {"0": "./tensors/thread_71/0/*_L/o.bin"}}
    (side / "metadata.json").write_text(json.dumps(rows))
    return side


@pytest.mark.parametrize("cwd", ["first", "second", "."])
def test_a_low_level_path_is_never_one_of_the_dump_in_the_working_directory(tmp_path, monkeypatch, cwd):
    low_level_dump(tmp_path / "first", (3, 4))
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    monkeypatch.chdir(tmp_path / cwd)
    side = os.path.relpath(tmp_path / "second/71_cmp_dump_data/acl_tensor")
    here = f"{tmp_path}/second/tensors/thread_71/0"
    assert [tensor.path for tensor in load(side, "target", OPTIONS).tensors] == [f"{here}/{layer}_L/o.bin" for layer in (3, 3, 4)]
    (tmp_path / "second/tensors/thread_71/0/3_L/o.bin").unlink()
    assert [tensor.path for tensor in load(side, "target", OPTIONS).tensors] == [f"{here}/{layer}_L/o.bin" for layer in (3, 4)]
    shutil.rmtree(tmp_path / "second/tensors")
    assert [tensor.path for tensor in load(side, "target", OPTIONS).tensors] == [f"{here}/{layer}_L/o.bin" for layer in "3*"]


def test_low_level_tensors_of_a_renamed_dump_directory(tmp_path, monkeypatch):
    low_level_dump(tmp_path, (3, 4))
    os.rename(tmp_path / "71_cmp_dump_data", tmp_path / "target run")
    monkeypatch.chdir("/")
    for tensor in load(str(tmp_path / "target run"), "target", OPTIONS).tensors:
        assert os.path.isfile(tensor.path)


def test_low_level_tensors_of_a_side_that_was_copied_out_are_in_the_working_directory(tmp_path, monkeypatch):
    shutil.copytree(low_level_dump(tmp_path, (3, 4)), tmp_path / "elsewhere" / "T")
    monkeypatch.chdir(tmp_path)
    for tensor in load("elsewhere/T", "target", OPTIONS).tensors:
        assert os.path.isfile(tensor.path)


def test_of_several_other_runs_none_is_chosen(tmp_path):
    tensor = load(low_level(tmp_path, ["thread_10", "thread_9"]), "target", OPTIONS).tensors[0]
    assert tensor.path == f"{tmp_path}/tensors/thread_71/0/op/out.bin"
    assert tensor.notes == ("not in thread_71; several others hold it, so none was chosen: thread_9, thread_10",)


def test_more_run_directories_than_a_search_is_worth(tmp_path):
    for number in range(65):
        (tmp_path / "tensors" / f"thread_{number + 100}").mkdir(parents=True)
    tensor = load(low_level(tmp_path, []), "target", OPTIONS).tensors[0]
    assert tensor.notes == ("not in thread_71; 65 other run directories were not searched",)


def test_directories_side_by_side_are_found_where_each_alone_is(tmp_path, monkeypatch):
    for place in ("json/both/a", "json/both/b", "cwd/both/b", "cwd/both/c", "json/json/a", "cwd/cwd/a", "json/golden_tensor/0/a"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "t.npy").touch()
    above = ["both", "./json", "json/.", "json//", "cwd", "nowhere", "both/..", "golden_tensor/0", "71_cmp_dump_data/golden_tensor/0", "."]
    written = [f"{root}{place}/{name}/t.npy" for root in ("", f"{tmp_path}/") for place in above for name in ("a", "b", "c", ".", "..", "")]
    for is_one_sided in (False, True):
        found = locate_all(tmp_path, written, is_one_sided)
        with monkeypatch.context() as context:
            context.setattr(PathLocator, "_by_directory_above", lambda *_: None)
            assert found == locate_all(tmp_path, written, is_one_sided)


def locate_all(place: Path, written: list[str], is_one_sided: bool) -> dict[str, str]:
    locator = PathLocator(f"{place}/json", f"{place}/cwd", is_one_sided=is_one_sided)
    return {path: locator.locate(path)[0] for path in written}


@pytest.mark.parametrize("layout", ["high", "directories", "low", "low_missing", "low_of_two"])
def test_a_tensor_costs_at_most_one_stat(tmp_path, monkeypatch, layout):
    count = 500
    if layout == "high":
        path = str(dump_as_seed(tmp_path, count) / "metadata.json")
    elif layout == "directories":
        for number in range(count):
            (tmp_path / "d" / str(number)).mkdir(parents=True)
        path = str(tmp_path / "metadata.json")
        Path(path).write_text(json.dumps({str(n): {"0": f"d/{n}/t.npy"} for n in range(count)}))
    else:
        directory = tmp_path / "tensors" / "thread_71" / "0"
        directory.mkdir(parents=True)
        if layout == "low_of_two":
            (tmp_path / "tensors" / "thread_72" / "0").mkdir(parents=True)
        for number in range(0 if layout == "low_missing" else count):
            (directory / f"{number}.bin").touch()
        path = str(tmp_path / "metadata.json")
        Path(path).write_text(json.dumps({str(n): {"0": f"{directory}/{n}.bin"} for n in range(count)}))
    calls = 0
    real_stat, real_lstat = os.stat, os.lstat

    def counting(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "stat", counting(real_stat))
    monkeypatch.setattr(os, "lstat", counting(real_lstat))
    dump = load(path, "golden", OPTIONS)
    monkeypatch.undo()
    assert len(dump.tensors) == count
    # The rest is for the arguments and the directories.
    assert calls <= (count + 20 if layout == "low_of_two" else 20)
