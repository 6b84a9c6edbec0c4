"""Files of several tensors, alone and in directories, as named tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import fastcmp
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.sources import load


def named(path: Path) -> dict[str, str]:
    dump = load(path, "golden", CompareOptions())
    return {tensor.key.data_id: tensor.written_path for tensor in dump.tensors}


def test_a_single_file_gives_the_names_inside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"layers.10.w": torch.ones(2), "layers.9.w": torch.ones(2)}, path)
    assert named(path) == {"layers.9.w": f"{path}:layers.9.w", "layers.10.w": f"{path}:layers.10.w"}
    assert not load(path, "golden", CompareOptions()).is_in_execution_order


# As a model computes them; by name, "last" would come before "model".
NAMES = ["model.embed", "model.layers.2.up", "model.layers.10.down", "model.norm", "last"]


def save_listed(path: Path, names: list[str] = NAMES) -> Path:
    tensors = {name: torch.full((4,), float(len(name))) for name in names}
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".npz", ".PT"])
def test_a_file_that_lists_its_tensors_keeps_their_order(suffix: str, tmp_path: Path) -> None:
    path = save_listed(tmp_path / f"hooks{suffix}")
    dump = load(path, "golden", CompareOptions())
    assert [tensor.key.data_id for tensor in dump.tensors] == NAMES
    assert (dump.run_order, dump.is_in_execution_order) == ("file", False)


@pytest.mark.parametrize("name", ["sorted.safetensors", "unknown"])
def test_a_file_whose_order_says_nothing_is_in_natural_order(name: str, tmp_path: Path) -> None:
    """Also where only the first bytes of a file say that it is one of torch."""
    dump = load(save_listed(tmp_path / name), "golden", CompareOptions())
    assert [tensor.key.data_id for tensor in dump.tensors] == [
        "last",
        "model.embed",
        "model.layers.2.up",
        "model.layers.10.down",
        "model.norm",
    ]
    assert dump.run_order == "name"


def test_in_a_directory_each_file_lists_its_own(tmp_path: Path) -> None:
    for name in ("step2.pt", "step10.pt"):
        save_listed(tmp_path / name, NAMES[3:])
    dump = load(tmp_path, "golden", CompareOptions())
    assert [tensor.key.data_id for tensor in dump.tensors] == ["step2/model.norm", "step2/last", "step10/model.norm", "step10/last"]
    assert dump.run_order == "files"
    (tmp_path / "single").mkdir()
    torch.save(torch.ones(2), tmp_path / "single" / "x.pt")
    assert load(tmp_path / "single", "golden", CompareOptions()).run_order == "name"


def test_in_a_directory_the_names_follow_the_path(tmp_path: Path) -> None:
    (tmp_path / "step0").mkdir()
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "step0" / "x.safetensors")
    np.save(tmp_path / "step0" / "y.npy", np.ones(2))
    assert list(named(tmp_path)) == ["step0/x/a", "step0/x/b", "step0/y"]


def test_a_model_in_several_files_has_the_names_of_one(tmp_path: Path) -> None:
    for number, name in ((1, "a"), (2, "b")):
        save_file({name: torch.ones(2)}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    assert list(named(tmp_path)) == ["model/a", "model/b"]


def test_a_name_that_two_files_have_keeps_the_extension_of_the_second(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    np.save(tmp_path / "x" / "a.npy", np.ones(2))
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    dump = load(tmp_path, "golden", CompareOptions())
    assert [tensor.key.data_id for tensor in dump.tensors] == ["x/a", "x.safetensors/a"]
    assert "two files of one name, the second keeps its extension: x.safetensors" in dump.warnings[0]


def test_a_file_that_cannot_be_read_still_gets_its_row(tmp_path: Path) -> None:
    for side in ("golden", "target"):
        (tmp_path / side).mkdir()
        save_file({"a": torch.ones(2)}, tmp_path / side / "good.safetensors")
    (tmp_path / "target" / "bad.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0[[[[[")
    (tmp_path / "golden" / "bad.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0[[[[[")
    result = fastcmp.compare(tmp_path / "golden", tmp_path / "target", output=str(tmp_path / "report"), executor="serial")
    rows = {row["data_id"]: row for row in result.to_arrow().to_pylist()}
    assert rows["good/a"]["verdict"] == "pass"
    assert rows["bad"]["cmp_fail_reason"].endswith("[E_SAFETENSORS]")


def test_a_file_without_a_tensor_in_a_directory_is_told(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    torch.save({"epoch": 7}, tmp_path / "y.pt")
    dump = load(tmp_path, "golden", CompareOptions())
    assert [tensor.key.data_id for tensor in dump.tensors] == ["x/a"]
    assert any("the tensors in a file are not known: " in warning and "y.pt: holds no tensor" in warning for warning in dump.warnings)


def test_a_file_without_a_tensor_is_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="holds no tensor"):
        load(tmp_path / "none.safetensors", "golden", CompareOptions())


@pytest.mark.parametrize(("suffix", "save"), [(".safetensors", save_file), (".pt", torch.save)])
def test_two_files_are_compared_tensor_by_tensor_by_every_executor(suffix: str, save: Callable[..., None], tmp_path: Path) -> None:
    torch.manual_seed(1)
    golden = {f"layers.{number}.w": torch.randn(300, 70, dtype=torch.bfloat16) for number in range(5)}
    target = {name: tensor.clone() for name, tensor in golden.items()}
    target["layers.3.w"][7] = 0
    del target["layers.4.w"]
    save(golden, tmp_path / f"g{suffix}")
    save(dict(reversed(target.items())), tmp_path / f"t{suffix}")
    reports = []
    for executor in ("serial", "threads", "local"):
        result = fastcmp.compare(
            tmp_path / f"g{suffix}", tmp_path / f"t{suffix}", output=str(tmp_path / executor), executor=executor, workers=2
        )
        reports.append((tmp_path / executor / "cmp_report.csv").read_bytes())
    assert reports[0] == reports[1] == reports[2]
    rows = {row["data_id"]: row for row in result.to_arrow().to_pylist()}
    assert [row["verdict"] for row in rows.values()] == ["pass", "pass", "pass", "fail", "fail"]
    assert rows["layers.3.w"]["worst_row"] == 7 and "[E_UNPAIRED]" in rows["layers.4.w"]["cmp_fail_reason"]


def test_a_single_file_under_a_relative_path_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastcmp.closeup.run_inputs import RunInputs

    np.save(tmp_path / "g.npy", np.ones(3))
    monkeypatch.chdir(tmp_path)
    facts = {"golden": "g.npy", "target": "g.npy", "working_directory": str(tmp_path)}
    monkeypatch.chdir("/")
    row = {"rank": "", "data_id": "g", "token_id": "", "golden_data_path": "g.npy", "acl_data_path": "g.npy", "pair_rule": "file"}
    found = RunInputs(facts).pair_of(row)
    assert found.golden is not None and found.golden.path == str(tmp_path / "g.npy")
