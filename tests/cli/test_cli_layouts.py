"""What a directory was recognised as, and how to say otherwise, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fastcmp.cli.main import main

GOLDEN = Path(__file__).parent.parent / "golden"


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_inspect_says_first_as_what_a_dump_is_recognised_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(GOLDEN / "atb_statistics")]) == 0
    lines = lines_of(capsys)
    (run,) = (GOLDEN / "atb_statistics" / "atb_dump_data" / "data").iterdir()
    place = f"atb_dump_data/data/{run.name}"
    assert lines[:6] == [
        f"layout    atb: statistics of numbered operations, such as {place}/0/statistic.csv, run directories {place}",
        "order     known: as the tensors were computed",
        "ranks     one, without a name",
        "tokens    2: 0, 1",
        "tensors   16",
        "left out  8 files of no kind that holds tensors",
    ]
    runner = "0_StandinModelTorch/0_StandinLayerRunner"
    assert lines[6:8] == [
        f"data_id   {runner}/before/intensor0, tokens 0, 1: float32 (1, 16)",
        f"data_id   {runner}/0_NormOpsRunner/before/intensor0, tokens 0, 1: float32 (1, 16)",
    ]
    assert lines[11] == "          and 3 more"
    assert lines[12] == (
        f"{place}/0/statistic.csv:0_StandinModelTorch/0_StandinLayerRunner/before/intensor0  float32  (1, 16)  "
        "stated without data: max=15, min=0, mean=7.5, l2norm=35.2136"
    )
    assert lines[-1] == "16 tensors, 0 cannot be read"


def test_inspect_gives_the_dump_as_the_first_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(GOLDEN / "msprobe_md5_golden"), "--json"]) == 0
    dump, tensor, *_ = map(json.loads, lines_of(capsys))
    assert (dump["layout"], dump["order_is_known"], dump["ranks"], dump["tokens"]) == ("msprobe", True, [""], ["0"])
    assert dump["left_out"] == {"arguments that are no tensors": 1} and dump["warnings"] == []
    assert tensor["path"].endswith("/dump.json") and tensor["error"] == "E_CHECKSUM"
    assert tensor["member"].endswith("/dump.json:Module.fc.Linear.forward.0.input.0")
    assert (tensor["data_id"], tensor["token_id"], tensor["rank"]) == ("Module.fc.Linear.forward.0.input.0", "0", "")
    assert dump["data_ids"] == dump["tensors"] > 5


def test_inspect_names_a_few_data_ids_however_many_and_whatever_they_are_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))
    tokens = {str(token): "./a.npy" for token in range(20)}
    names = {"x" * 500 + "\x1b[31m": tokens, "gone": {"0": "./gone.npy"}, **{f"layers.{layer}": tokens for layer in range(30)}}
    (tmp_path / "metadata.json").write_text(json.dumps(names))
    assert main(["inspect", str(tmp_path / "metadata.json")]) == 2
    lines = lines_of(capsys)
    said = lines[5 : 5 + 6]
    few = "tokens 0, 1, 2, 3, 4, 5, 6, 7 and 12 more: float32 (2, 3)"
    assert said[0].startswith("data_id   ...xxx") and said[0].endswith(f"xxx\\x1b[31m, {few}") and len(said[0]) < 200
    assert said[1:] == ["data_id   gone, token 0 [E_MISSING]", *(f"data_id   layers.{n}, {few}" for n in range(3)), "          and 27 more"]


def test_inspect_warns_of_what_is_odd_and_reads_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("0_7/0/0_X/after/outtensor0.npy", "extra.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, np.ones(2))
    assert main(["inspect", str(tmp_path)]) == 0
    assert lines_of(capsys)[7] == f"warning   {tmp_path}: 1 tensor file not of the layout atb, named by path: extra.npy"
    assert main(["inspect", str(tmp_path), "--layout", "plain"]) == 0
    assert lines_of(capsys)[0] == "layout    plain: --layout plain"
    assert main(["inspect", str(tmp_path), "--layout", "msprobe"]) == 2
    assert "--layout msprobe: expected step{n}/rank{n}/dump.json" in capsys.readouterr().err


def test_compare_takes_the_layout_of_each_side(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("g", "t"):
        place = tmp_path / side / "0_7" / "0" / "0_X" / "after"
        place.mkdir(parents=True)
        np.save(place / "outtensor0.npy", np.ones(2))
    arguments = ["compare", str(tmp_path / "g"), str(tmp_path / "t"), "-o", str(tmp_path / "r"), "--executor", "serial", "-q"]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "r" / "run.json").read_text())["layouts"]["golden"]["layout"] == "atb"
    assert main(arguments[:-1]) == 0
    assert "golden is read as atb: 1 tensor of numbered operations, such as 0_7/0/0_X/after/outtensor0.npy" in capsys.readouterr().err
    assert main([*arguments, "--layout", "plain"]) == 0
    assert json.loads((tmp_path / "r" / "run.json").read_text())["layouts"]["target"] == {"layout": "plain", "evidence": "--layout plain"}
    assert main([*arguments, "--layout", "golden=plain"]) == 2
    assert "no pair at all" in capsys.readouterr().err
    monkeypatch.setenv("FASTCMP_LAYOUT", "nonsense")
    assert main(arguments) == 2
    assert "--layout 'nonsense': expected one of auto, metadata, plain" in capsys.readouterr().err
