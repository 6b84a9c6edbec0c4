"""Dumps in the files of torch and numpy, from the command line and from Python to the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fastcmp
from fastcmp.cli.main import main


def values(number: int) -> torch.Tensor:
    return torch.randn(64, 300, generator=torch.Generator().manual_seed(number))


def rows_of(result: fastcmp.Result) -> dict[str, dict[str, object]]:
    return {row["data_id"]: row for row in result.to_arrow().to_pylist()}


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """The same layers as .npy, .npz and .pt on one side, and as one .pt for each step on the other; layer 2 is off."""
    golden, target = tmp_path / "golden", tmp_path / "target"
    for side in (golden, target):
        for step in range(2):
            (side / f"step{step}").mkdir(parents=True)
    for step in range(2):
        hidden = {f"layer{number}": values(10 * step + number) for number in range(4)}
        np.save(golden / f"step{step}" / "layer0.npy", hidden["layer0"].numpy())
        torch.save(hidden["layer1"].T.contiguous().T, golden / f"step{step}" / "layer1.pt")
        torch.save(hidden["layer2"].double(), golden / f"step{step}" / "layer2.pth", _use_new_zipfile_serialization=False)
        np.savez(golden / f"step{step}" / "layer3.npz", value=hidden["layer3"].numpy())
        hidden["layer2"] = hidden["layer2"] * 1.5
        for name, tensor in hidden.items():
            torch.save({"value": tensor} if name == "layer3" else tensor, target / f"step{step}" / f"{name}.pt")
    return golden, target


@pytest.mark.parametrize("executor", ["serial", "threads", "local"])
def test_one_dump_may_lie_in_any_format(sides: tuple[Path, Path], tmp_path: Path, executor: str) -> None:
    result = fastcmp.compare(*sides, output=str(tmp_path / "report"), executor=executor, workers=2)
    rows = rows_of(result)
    names = [f"step{step}/layer{number}" for step in range(2) for number in (0, 1, 2)] + ["step0/layer3/value", "step1/layer3/value"]
    assert sorted(rows) == sorted(names)
    assert {name: row["verdict"] for name, row in rows.items()} == {name: "fail" if "layer2" in name else "pass" for name in names}
    assert all(row["mismatch_count"] == 0 for name, row in rows.items() if "layer2" not in name)
    assert rows["step1/layer2"]["relative_euclidean_distance"] == pytest.approx(0.5)


def test_the_report_is_the_same_whatever_compares_files_of_many_tensors(tmp_path: Path) -> None:
    """Larger than a file that is kept as a whole, with views, and a tensor for each way of being read."""
    state = {
        f"layers.{number}": {"weight": values(number), "transposed": values(number).T, "head": values(number)[:3], "bias": torch.ones(7)}
        for number in range(20)
    }
    torch.save(state, tmp_path / "golden.pt")
    state["layers.7"]["transposed"] = state["layers.7"]["transposed"] + 1
    torch.save(state, tmp_path / "target.pth")
    reports = []
    for executor in ("serial", "threads", "local"):
        result = fastcmp.compare(
            tmp_path / "golden.pt", tmp_path / "target.pth", output=str(tmp_path / executor), executor=executor, workers=2
        )
        reports.append((tmp_path / executor / "cmp_report.csv").read_bytes())
    assert reports[0] == reports[1] == reports[2]
    failed = [name for name, row in rows_of(result).items() if row["verdict"] != "pass"]
    assert len(rows_of(result)) == 80 and failed == ["layers.7.transposed"]


def test_a_tensor_that_cannot_be_compared_is_a_row_and_its_neighbours_are_compared(tmp_path: Path) -> None:
    plain = {"hidden": values(1), "odd": torch.eye(3).to_sparse()}
    torch.save(plain, tmp_path / "g.pt")
    torch.save(plain, tmp_path / "t.pt")
    rows = rows_of(fastcmp.compare(tmp_path / "g.pt", tmp_path / "t.pt", output=str(tmp_path / "report"), executor="serial"))
    assert rows["hidden"]["verdict"] == "pass"
    assert rows["odd"]["verdict"] == "error" and "a sparse tensor" in str(rows["odd"]["cmp_fail_reason"])
    assert str(rows["odd"]["cmp_fail_reason"]).endswith("with elements of its own; save what .to_dense() gives [E_TENSOR_KIND]")


def test_a_metadata_json_may_name_files_of_torch(tmp_path: Path) -> None:
    for side in ("g", "t"):
        (tmp_path / side).mkdir()
        torch.save({"value": values(1)}, tmp_path / side / "a.pth")
        (tmp_path / side / "metadata.json").write_text(json.dumps({"layer": {"0": "./a.pth"}}))
    result = fastcmp.compare(
        tmp_path / "g" / "metadata.json", tmp_path / "t" / "metadata.json", output=str(tmp_path / "report"), executor="serial"
    )
    assert [(row["verdict"], row["golden_shape"]) for row in rows_of(result).values()] == [("pass", "(64, 300)")]


def test_inspect_shows_every_tensor_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"hidden": [values(1).T, torch.ones(2, dtype=torch.bfloat16)], "odd": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    assert main(["inspect", str(tmp_path / "a.pt")]) == 2
    first, second, odd, total = capsys.readouterr().out.splitlines()[-4:]
    assert first.startswith(f"{tmp_path}/a.pt:hidden.0  float32  (300, 64)") and "strides (1, 300) elements" in first
    assert second.startswith(f"{tmp_path}/a.pt:hidden.1  bfloat16  (2,)")
    assert odd.endswith("; save what .to_dense() gives [E_TENSOR_KIND]") and total == "3 tensors, 1 cannot be read"
    torch.save(values(1), tmp_path / "b.pt")
    assert main(["inspect", str(tmp_path / "b.pt")]) == 0
    assert "C-contiguous, native byte order" in capsys.readouterr().out
