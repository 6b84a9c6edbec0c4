"""Files of several tensors, alone and in directories, as named tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import fastcmp
from fastcmp.errors import UsageError
from fastcmp.formats import TensorInfo, scan_batch
from fastcmp.formats.places import member_place
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.pairing import pair
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


@pytest.mark.parametrize("member", ["a", "b:c.x", "b:c.y/../z"])
def test_one_tensor_of_a_file_is_named_behind_a_colon(tmp_path: Path, member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(2), "b:c": {"x": torch.ones(3), "y/../z": torch.ones(4)}}, tmp_path / "m.PT")
    assert named(tmp_path / f"m.PT:{member}") == {member: f"{tmp_path}/m.PT:{member}"}
    monkeypatch.chdir(tmp_path)
    dump = load(f"m.PT:{member}", "golden", CompareOptions())
    (tensor,) = dump.tensors
    assert (tensor.path, tensor.written_path) == (member_place(f"{tmp_path}/m.PT", member), f"m.PT:{member}")
    assert dump.is_in_execution_order and dump.kind == "file"


def test_a_path_that_exists_is_meant_as_it_is(tmp_path: Path) -> None:
    for name in ("m.pt", "m.pt:a"):
        torch.save({"a": torch.ones(2), "a:b": torch.ones(2)}, tmp_path / name)
    assert list(named(tmp_path / "m.pt:a")) == ["a", "a:b"]
    assert list(named(tmp_path / "m.pt:a:b")) == ["a:b"]  # not member b of the file m.pt:a, whose suffix is none of a file of several
    (tmp_path / "m.pt:a.pt").mkdir()
    assert list(named(tmp_path / "m.pt:a")) == ["a", "a:b"]


def test_of_two_files_that_hold_it_that_with_the_longer_name_is_meant(tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", **{"b.npz:x": np.ones(2)})
    assert named(tmp_path / "g.npz:b.npz:x") == {"b.npz:x": f"{tmp_path}/g.npz:b.npz:x"}
    np.savez(tmp_path / "g.npz:b.npz", x=np.ones(2))
    assert named(tmp_path / "g.npz:b.npz:x") == {"x": f"{tmp_path}/g.npz:b.npz:x"}
    with pytest.raises(UsageError, match=r"g\.npz:b\.npz: expected a tensor 'y', the file holds 1 \('x' "):
        named(tmp_path / "g.npz:b.npz:y")


@pytest.mark.parametrize("name", ["unknown", "step.100", "a:b"])
def test_a_file_that_is_known_by_its_first_bytes_has_tensors_to_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for suffix in (".pt", ".npz"):
        save_listed(tmp_path / f"m{suffix}", ["layers.0:in", "layers.0:out"]).replace(name)
        (tensor,) = load(f"{name}:layers.0:out", "golden", CompareOptions()).tensors
        assert (tensor.key.data_id, tensor.written_path) == ("layers.0:out", f"{name}:layers.0:out")
        (info,) = scan_batch([tensor.path], ScanOptions())
        assert isinstance(info, TensorInfo) and info.shape == (4,)
    outside = replace(CompareOptions(), scan=ScanOptions(roots=(str(tmp_path / "elsewhere"),)))
    with pytest.raises(UsageError, match=f"{name}:layers.0:out: No such file"):  # it is not opened
        load(f"{name}:layers.0:out", "golden", outside)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "m.pt:q",
            r"m\.pt: expected a tensor 'q', the file holds 2 \('a', 'b' \.\.\.\); name one that it holds, or the file alone for all$",
        ),
        ("one.pt:a", r"one\.pt: expected a tensor 'a', the file holds 1 .*; name the file alone$"),
        ("m.pt:", r"m\.pt:: No such file or directory; name a metadata\.json, a directory or a tensor file$"),
        ("notes:1", r"notes:1: No such file or directory"),
        ("x.npy:a", r"x\.npy:a: No such file or directory"),
        ("nope.pt:a", r"nope\.pt:a: No such file or directory"),
        (":a", r":a: No such file or directory"),
    ],
)
def test_a_tensor_that_a_file_does_not_hold_is_refused(tmp_path: Path, written: str, message: str) -> None:
    torch.save({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "m.pt")
    torch.save(torch.ones(2), tmp_path / "one.pt")
    np.save(tmp_path / "x.npy", np.ones(2))
    (tmp_path / "notes").write_text("a: 1\n")
    with pytest.raises(UsageError, match=message):
        named(tmp_path / written)


def test_one_tensor_of_a_file_is_compared_with_one_of_another_name(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": torch.zeros(2)}, tmp_path / "g.pt")
    save_file({"x": torch.ones(2), "y": torch.zeros(2)}, tmp_path / "t.safetensors")
    result = fastcmp.compare(tmp_path / "g.pt:a", tmp_path / "t.safetensors:x", output=str(tmp_path / "report"), executor="serial")
    (row,) = result.to_arrow().to_pylist()
    assert (row["data_id"], row["pair_rule"], row["verdict"]) == ("a", "file", "pass")
    assert (row["golden_data_path"], row["acl_data_path"]) == (f"{tmp_path}/g.pt:a", f"{tmp_path}/t.safetensors:x")
    (tmp_path / "t.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0[[[[[")
    result = fastcmp.compare(tmp_path / "g.pt:a", tmp_path / "t.safetensors:x", output=str(tmp_path / "report"), executor="serial")
    (row,) = result.to_arrow().to_pylist()
    assert row["verdict"] == "error" and row["cmp_fail_reason"].endswith("[E_SAFETENSORS]")


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


@pytest.mark.parametrize("role", ["golden", "target"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"byte 0: the file is empty, expected a header; dump this tensor again \[E_EMPTY_FILE\]"),
        (b"\x05\0\0\0\0\0\0\0[[[[[", r"byte 8: .* \[E_SAFETENSORS\]"),
    ],
)
def test_a_file_that_cannot_be_read_is_why_two_files_have_no_pair(content: bytes, reason: str, role: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, good)
    bad.write_bytes(content)
    sides = (bad, good) if role == "golden" else (good, bad)
    with pytest.raises(UsageError, match=rf"^{role}: {bad}: {reason}$"):
        fastcmp.compare(*sides, output=str(tmp_path / "report"), executor="serial")


def test_both_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("one.npz", "other.npz", "third.npy")]
    for place in places:
        place.write_bytes(b"")
    dumps = [load(place, "golden", CompareOptions()) for place in places]
    with pytest.raises(UsageError, match=r"^golden: .*one.npz: .* \[E_EMPTY_FILE\]; target: .*other.npz: .* \[E_EMPTY_FILE\]$"):
        pair(dumps[0], replace(dumps[1], tensors=[]), CompareOptions())
    with pytest.raises(UsageError, match=r"no pair at all: .*; the keys of both must agree"):
        pair(dumps[2], replace(dumps[2], tensors=[]), CompareOptions())


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
