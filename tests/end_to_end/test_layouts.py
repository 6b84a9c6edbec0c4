"""Trees of known tools, compared end to end: those in tests/golden were written by the tools themselves (see make_dumps.py there)."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastcmp
from fastcmp.cli.main import main
from fastcmp.result import Result
from fastcmp.results.msprobe_columns import MSPROBE_COLUMNS

sys.path.insert(0, str(Path(__file__).parent.parent / "sources"))
from layout_makers import alias_bytes, call, dump_json, leaf, statistics_bytes, write_msprobe, write_tree

GOLDEN = Path(__file__).parent.parent / "golden"
RANDOM = np.random.default_rng(5).standard_normal((4, 5)).astype(np.float32)


def compared(golden: Path, target: Path, report: Path, **changes: Any) -> tuple[Result, dict[str, dict[str, Any]]]:
    result = fastcmp.compare(golden, target, output=str(report), **{"executor": "serial", **changes})
    rows = result.to_arrow().to_pylist()
    return result, {f"{row['data_id']}@{row['token_id']}": row for row in rows}


def test_a_real_low_level_dump_equals_the_statistics_that_its_tool_computed(tmp_path: Path) -> None:
    """Ours of the data against those of msprobe's probe: two independent sums, the same to all decimals that are stated."""
    reports = []
    for executor in ("serial", "local"):
        result, rows = compared(GOLDEN / "atb_all", GOLDEN / "atb_statistics", tmp_path / executor, executor=executor, workers=2)
        reports.append((tmp_path / executor / "cmp_report.csv").read_bytes())
    assert reports[0] == reports[1]
    assert len(rows) == 16 and result.exit_code == 0
    for row in rows.values():
        assert (row["verdict"], row["cmp_flag"], row["cosine_similarity"]) == ("pass", False, None)
        assert row["cmp_fail_reason"] == "only statistics are known: max, min, mean, l2norm agree to 6 decimals [E_STATS_ONLY]"
        assert row["golden_max_value"] == pytest.approx(row["acl_max_value"], abs=1e-6)
    assert result.warnings == (
        "16 pairs have no data on a side and no metrics; judged by what is stated there, statistics or checksums: see cmp_fail_reason",
    )
    facts = json.loads((tmp_path / "serial" / "run.json").read_text())
    assert facts["layouts"]["golden"]["layout"] == facts["layouts"]["target"]["layout"] == "atb"
    assert facts["order_is_known"] is True


def test_two_runs_of_a_low_level_dump_meet_although_pid_and_device_differ(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "atb_all", tmp_path / "t")
    (run,) = (tmp_path / "t" / "atb_dump_data" / "data").iterdir()
    moved = run.rename(run.parent / "7_424242")
    damaged = moved / "1" / "0_StandinModelTorch" / "0_StandinLayerRunner" / "1_SelfAttentionRunner" / "after" / "outtensor0.bin"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\0\0\x80\x7f")
    result, rows = compared(GOLDEN / "atb_all", tmp_path / "t", tmp_path / "r")
    assert len(rows) == 16 and result.totals.unpaired == 0
    assert result.first_divergence is not None
    assert result.first_divergence.data_id == "0_StandinModelTorch/0_StandinLayerRunner/1_SelfAttentionRunner/after/outtensor0"
    assert result.first_divergence.token_id == "1"
    assert {row["pair_rule"] for row in rows.values()} == {"key"}


def real(task: str, side: str) -> Path:
    return GOLDEN / f"msprobe_{task}_{side}"


def test_real_statistics_find_where_two_runs_part(tmp_path: Path) -> None:
    result, rows = compared(real("statistics", "golden"), real("statistics", "target"), tmp_path / "r")
    assert rows["Functional.linear.0.forward.input.0@0"]["verdict"] == "pass"
    assert rows["Functional.linear.0.forward.input.1@0"]["verdict"] == "fail"
    assert result.first_divergence is not None
    assert result.first_divergence.data_id == "Module.fc.Linear.forward.0.parameters.weight"
    assert {row["cmp_flag"] for row in rows.values()} == {False} and result.totals.errors == 0


@pytest.mark.parametrize("task", ["md5", "xor"])
def test_real_checksums_say_same_bytes_or_not(tmp_path: Path, task: str) -> None:
    result, rows = compared(real(task, "golden"), real(task, "golden"), tmp_path / "same")
    said = {row["verdict"]: row["cmp_fail_reason"] for row in rows.values()}
    assert said["pass"].startswith("only checksums are known, both ")
    # Of scalars the xor mode of msprobe says nothing.
    assert (result.totals.failed, result.totals.errors) == (0, 2 if task == "xor" else 0)
    assert said.get("error", "[E_NO_DATA]").endswith("[E_NO_DATA]")
    result, rows = compared(real(task, "golden"), real(task, "target"), tmp_path / "other")
    known = "as the same bytes have it, and these in another order" if task == "xor" else "the same bytes"
    assert rows["Functional.linear.0.forward.input.0@0"]["cmp_fail_reason"].endswith(f": {known} [E_CHECKSUM]")
    weight = rows["Functional.linear.0.forward.input.1@0"]
    assert weight["verdict"] == "fail" and "checksums differ" in weight["verdict_reason"] + weight["cmp_fail_reason"]
    assert result.totals.failed > 0


def test_a_real_dump_of_tensors_is_compared_by_its_elements(tmp_path: Path) -> None:
    result, rows = compared(real("tensor", "golden"), real("tensor", "target"), tmp_path / "r")
    assert {row["cmp_flag"] for row in rows.values()} == {True}
    assert result.first_divergence is not None
    assert result.first_divergence.data_id == "Module.fc.Linear.forward.0.parameters.weight"


@pytest.mark.parametrize("task", ["statistics", "md5", "xor"])
def test_a_real_dump_of_tensors_meets_what_was_stated_of_the_same_run(tmp_path: Path, task: str) -> None:
    result, rows = compared(real("tensor", "golden"), real(task, "golden"), tmp_path / "r")
    unknown = 2 if task == "xor" else 0  # scalars, of which that mode says nothing
    assert (result.totals.passed, result.totals.errors) == (len(rows) - unknown, unknown)


def test_real_checksums_of_two_kinds_are_errors_and_no_difference(tmp_path: Path) -> None:
    result, rows = compared(real("md5", "golden"), real("xor", "golden"), tmp_path / "r")
    assert (result.totals.failed, result.totals.errors) == (0, len(rows))
    row = rows["Functional.linear.0.forward.input.0@0"]
    said = "not comparable: golden has a CRC-32 fc47f41a but target has an xor of words 0xfd2f9b28029d03c4"
    assert row["verdict_reason"] == f"{said} [E_CHECKSUM]"
    assert row["cmp_fail_reason"] == f"only checksums are known; {said} [E_CHECKSUM]"


def made_tree(root: Path, values: np.ndarray, *, kind: str) -> Path:
    """One tensor of msprobe as data, statistics or a checksum."""
    name = "Torch.a.0.forward.output.0.npy"
    described = leaf(values, data_name=name) if kind == "data" else leaf(values)
    if kind == "checksum":
        described = leaf(None, shape=values.shape, dtype=values.dtype.name, md5=f"{zlib.crc32(values.tobytes()):08x}")
    document = dump_json({"Torch.a.0.forward": call([], [described])}, task="tensor" if kind == "data" else "statistics")
    write_msprobe(root / "step0" / "rank0", document, {name: values} if kind == "data" else None)
    return root


@pytest.mark.parametrize("kind", ["statistics", "checksum"])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_data_against_what_is_stated_of_the_same_tensor_passes_and_of_another_fails(tmp_path: Path, kind: str, is_swapped: bool) -> None:
    data = made_tree(tmp_path / "data", RANDOM, kind="data")
    for values, verdict in ((RANDOM, "pass"), (RANDOM * np.float32(1.01), "fail")):
        stated = made_tree(tmp_path / verdict, values, kind=kind)
        sides = (stated, data) if is_swapped else (data, stated)
        _, rows = compared(*sides, tmp_path / f"r_{verdict}")
        (row,) = rows.values()
        assert (row["verdict"], row["cmp_flag"], row["bytes"]) == (verdict, False, RANDOM.nbytes)
        assert row["acl_max_value" if is_swapped else "golden_max_value"] == pytest.approx(float(RANDOM.max()))


@pytest.mark.parametrize(("change", "verdict"), [(0, "pass"), (1, "error")])
def test_bfloat16_that_was_saved_as_float32_meets_its_checksum(tmp_path: Path, change: int, verdict: str) -> None:
    values = RANDOM.astype(ml_dtypes.bfloat16).astype(np.float32)
    checksum = f"{zlib.crc32(values.tobytes()) ^ change:08x}"
    data = made_tree(tmp_path / "data", values, kind="data")
    described = leaf(None, shape=values.shape, dtype="bfloat16", md5=checksum)
    write_msprobe(tmp_path / "s/step0/rank0", dump_json({"Torch.a.0.forward": call([], [described])}, task="statistics"))
    _, rows = compared(data, tmp_path / "s", tmp_path / "r")
    assert [(row["golden_dtype"], row["acl_dtype"], row["verdict"]) for row in rows.values()] == [("float32", "bfloat16", verdict)]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (np.zeros((0, 3), np.float32), "pass"),
        (np.array([1, np.nan], np.float32), "error"),
        (np.arange(5), "pass"),
        (np.array(3.5, np.float32), "pass"),
    ],
    ids=["empty", "nan", "integers", "scalar"],
)
def test_odd_tensors_meet_their_statistics(tmp_path: Path, values: np.ndarray, verdict: str) -> None:
    described = leaf(values) if values.size else leaf(None, shape=values.shape)
    if values.size and np.isnan(values).any():
        described |= dict.fromkeys(("Max", "Min", "Mean", "Norm"), float("nan"))
    document = dump_json({"Torch.a.0.forward": call([described])}, task="statistics")
    write_msprobe(tmp_path / "s" / "step0" / "rank0", document)
    data = dump_json({"Torch.a.0.forward": call([leaf(None, shape=values.shape, data_name="x.npy")])})
    write_msprobe(tmp_path / "d" / "step0" / "rank0", data, {"x.npy": values})
    _, rows = compared(tmp_path / "d", tmp_path / "s", tmp_path / "r")
    assert [row["verdict"] for row in rows.values()] == [verdict]


def test_statistics_in_bin_headers_are_judged_too(tmp_path: Path) -> None:
    place = "ait_dump/tensors/0_7/0/0_A/after/outtensor0.bin"
    write_tree(tmp_path / "g", {place: statistics_bytes(RANDOM)})
    write_tree(tmp_path / "t", {place.replace("0_7", "0_8"): RANDOM})
    _, rows = compared(tmp_path / "g", tmp_path / "t", tmp_path / "r")
    (row,) = rows.values()
    assert (row["verdict"], row["cmp_fail_reason"]) == (
        "pass",
        "only statistics are known: max, min, mean, l2norm agree to 6 decimals [E_STATS_ONLY]",
    )


def test_an_alias_is_compared_as_the_tensor_that_it_names(tmp_path: Path) -> None:
    out, use = "data/0_7/0/0_A/after/outtensor0.bin", "data/0_7/0/1_B/before/intensor0.bin"
    write_tree(tmp_path / "g", {out: RANDOM, use: alias_bytes(RANDOM, "0_outtensor0.bin")})
    write_tree(tmp_path / "t", {out.replace("0_7", "1_9"): RANDOM, use.replace("0_7", "1_9"): RANDOM})
    result, rows = compared(tmp_path / "g", tmp_path / "t", tmp_path / "r")
    row = rows["1_B/before/intensor0@0"]
    assert (row["cmp_flag"], row["mismatch_count"], result.exit_code) == (True, 0, 0)
    assert row["notes"] == "W_ALIAS: intensor0.bin names 0_outtensor0.bin"
    assert row["golden_data_path"] == use


def test_the_report_in_the_columns_of_msprobe(tmp_path: Path) -> None:
    write_msprobe(
        tmp_path / "g" / "step0" / "rank0",
        dump_json(
            {
                "Torch.a.0.forward": call(
                    [leaf(RANDOM, data_name="Torch.a.0.forward.input.0.npy")],
                    [leaf(RANDOM, data_name="Torch.a.0.forward.output.0.npy"), leaf(RANDOM, data_name="Torch.a.0.forward.output.1.npy")],
                )
            }
        ),
        {"Torch.a.0.forward.input.0.npy": RANDOM, "Torch.a.0.forward.output.0.npy": RANDOM, "Torch.a.0.forward.output.1.npy": RANDOM},
    )
    worse = RANDOM.copy()
    worse[2] = 0
    write_msprobe(
        tmp_path / "t" / "step0" / "rank0",
        dump_json(
            {
                "Torch.a.0.forward": call(
                    [leaf(RANDOM, data_name="Torch.a.0.forward.input.0.npy")],
                    [leaf(RANDOM, data_name="Torch.a.0.forward.output.0.npy")],
                    more=leaf(RANDOM, data_name="Torch.a.0.forward.kwargs.more.npy"),
                )
            }
        ),
        {"Torch.a.0.forward.input.0.npy": RANDOM, "Torch.a.0.forward.output.0.npy": worse, "Torch.a.0.forward.kwargs.more.npy": RANDOM},
    )
    arguments = ["compare", str(tmp_path / "g"), str(tmp_path / "t"), "-o", str(tmp_path / "r"), "-q", "--executor", "serial"]
    assert main([*arguments, "--as", "msprobe"]) == 1
    with open(tmp_path / "r" / "compare_result_msprobe.csv", newline="") as file:
        rows = {row["NPU Name"] + row["Bench Name"]: row for row in csv.DictReader(file)}
    same, other = (rows[2 * f"Torch.a.0.forward.{name}.0"] for name in ("input", "output"))
    assert (same["Cosine"], same["EucDist"], same["Result"], same["Accuracy Reached or Not"], same["Err_message"]) == (
        "1",
        "0",
        "pass",
        "Yes",
        "",
    )
    assert (same["NPU Dtype"], same["Bench Tensor Shape"], same["NPU l2norm"], same["NPU Requires_grad"]) == (
        "torch.float32",
        "[4, 5]",
        "",
        "N/A",
    )
    assert float(other["EucDist"]) == pytest.approx(np.linalg.norm(RANDOM[2].astype(np.float64)))
    assert (other["Result"], other["Accuracy Reached or Not"]) == ("error", "No")
    assert other["Err_message"].startswith("relative_euclidean_distance ")
    assert (
        other["Data_name"]
        == "['step0/rank0/dump_tensor_data/Torch.a.0.forward.output.0.npy', 'step0/rank0/dump_tensor_data/Torch.a.0.forward.output.0.npy']"
    )
    alone = rows["Torch.a.0.forward.kwargs.moreN/A"]
    assert alone["Err_message"].startswith("No bench data matched. ") and alone["Data_name"].endswith(", 'N/A']")
    assert main([*arguments, "--fresh"]) == 1
    assert not (tmp_path / "r" / "compare_result_msprobe.csv").exists()


def test_the_numbers_are_those_that_msprobe_itself_finds(tmp_path: Path) -> None:
    compared(real("tensor", "golden"), real("tensor", "target"), tmp_path / "r", columns="msprobe")
    with open(tmp_path / "r" / "compare_result_msprobe.csv", newline="") as file:
        ours = {row["NPU Name"]: row for row in csv.DictReader(file)}
    with open(GOLDEN / "msprobe_compare.csv", newline="") as file:
        reader = csv.DictReader(file)
        theirs = {row["NPU Name"]: row for row in reader if row["NPU Dtype"].startswith("torch.") and row["Data_name"] != "None"}
    assert reader.fieldnames is not None
    assert [name for name in MSPROBE_NAMES if name != "Accuracy Reached or Not"] == reader.fieldnames
    assert len(ours) == 32 and set(ours) == set(theirs)
    for name, row in ours.items():
        for column in ("Bench Name", "NPU Dtype", "Bench Dtype", "NPU Tensor Shape", "Bench Tensor Shape"):
            assert row[column] == theirs[name][column]
        for column in (*METRICS, *(f"{side} {value}" for side in ("NPU", "Bench") for value in ("max", "min", "mean"))):
            if theirs[name][column] != "unsupported":  # of scalars
                # Six digits of a cosine in float32, 12 decimals of the others; means in float32.
                assert float(row[column]) == pytest.approx(float(theirs[name][column]), rel=2e-6, abs=2e-6), (name, column)


METRICS = ("Cosine", "EucDist", "MaxAbsErr", "MaxRelativeErr", "One Thousandth Err Ratio", "Five Thousandths Err Ratio")
MSPROBE_NAMES = [column.name for column in MSPROBE_COLUMNS]


def test_an_older_report_is_judged_anew_with_its_further_columns(tmp_path: Path) -> None:
    data = made_tree(tmp_path / "data", RANDOM, kind="data")
    stated = made_tree(tmp_path / "stated", RANDOM * np.float32(1.01), kind="statistics")
    compared(data, stated, tmp_path / "r", columns="msprobe")
    before = (tmp_path / "r" / "compare_result_msprobe.csv").read_bytes()
    assert main(["judge", str(tmp_path / "r"), "--threshold", "cosine_similarity >= 0.5", "-q"]) == 1
    assert (tmp_path / "r" / "compare_result_msprobe.csv").read_bytes() == before


def test_a_pair_without_data_is_shown_with_what_is_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = made_tree(tmp_path / "data", RANDOM, kind="data")
    stated = made_tree(tmp_path / "stated", RANDOM, kind="statistics")
    compared(data, stated, tmp_path / "r")
    assert main(["show", str(tmp_path / "r"), "Torch.a.0.forward.output.0", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  only statistics are known: max, min, mean, l2norm are equal in all digits [E_STATS_ONLY]"
    assert f"  target  {tmp_path}/stated/step0/rank0/dump.json" in lines


def save(path: Path, value: Any) -> None:
    """As both dumpers of SGLang and the hooks of msit do."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)


def test_dumps_of_sglang_are_compared_by_their_values(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(1)
    for side, first in (("g", 1), ("t", 41)):
        for step in (0, 1):
            for layer in range(3):
                index = first + 3 * step + layer
                value = torch.randn(4, 8, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(10 * step + layer))
                if (side, step, layer) == ("t", 1, 2):
                    value[1] = 0
                tags = f"step={step}___rank=0___dump_index={index}___name=hidden___recompute_status=disabled___layer_id={layer}"
                meta = {"step": step, "rank": 0, "dump_index": index, "name": "hidden", "layer_id": layer, "world_rank": 0, "world_size": 1}
                save(tmp_path / side / f"dump_{side}" / f"{tags}.pt", {"value": value, "meta": meta})
    result, rows = compared(tmp_path / "g", tmp_path / "t", tmp_path / "r")
    assert list(rows) == [f"hidden/layer_id={layer}@{step}" for layer in range(3) for step in (0, 1)]
    assert [key for key, row in rows.items() if row["verdict"] != "pass"] == ["hidden/layer_id=2@1"]
    assert result.first_divergence is not None and result.first_divergence.token_id == "1"


def test_forward_passes_of_sglang_are_compared_tensor_by_tensor(tmp_path: Path) -> None:
    import torch

    for side in ("g", "t"):
        for rank in (0, 1):
            place = tmp_path / side / f"TP{rank}_PP0_Rank{rank}_pid{rank + (70 if side == 'g' else 900)}"
            for step in (0, 1):
                pair = [torch.full((3,), float(rank)), torch.full((2,), float(step))]
                save(place / f"Pass0000{step}.pt", {"model.layers.0.mlp": torch.ones(4) * step, "model.layers.0.attn": pair})
    result, rows = compared(tmp_path / "g", tmp_path / "t", tmp_path / "r")
    assert result.exit_code == 0 and result.totals.pairs == 12
    assert set(rows) == {f"model.layers.0.{name}@{step}" for name in ("mlp", "attn.0", "attn.1") for step in (0, 1)}
    assert set(result.to_arrow().column("rank").to_pylist()) == {"0", "1"}


def test_trees_of_msit_are_compared_in_the_order_of_their_modules(tmp_path: Path) -> None:
    import torch

    names = ["root.embed", "root.layers.0", "root"]
    tree = {"name": "root", "type": "M", "children": [{"name": name, "type": "L", "children": []} for name in names[:2]]}
    for side, place in (("g", "msit_dump_1/torch_tensors/npu0_7"), ("t", "msit_dump_2/torch_tensors/cuda1_99")):
        root = tmp_path / side / place
        for name in names:
            save(root / "0" / name / "output.pth", torch.ones(3) * (2 if side == "t" and name != "root.embed" else 1))
        (root / "model_tree.json").write_text(json.dumps(tree))
    result, rows = compared(tmp_path / "g", tmp_path / "t", tmp_path / "r")
    assert list(rows) == [f"{name}/output@0" for name in names]
    assert result.first_divergence is not None and result.first_divergence.data_id == "root.layers.0/output"


def test_a_tree_of_modules_meets_a_tree_of_operations(tmp_path: Path) -> None:
    operations = {"self_attn.o_proj": "1_Attention/0_LinearOperation", "mlp.down_proj": "2_Mlp/0_LinearOperation"}
    values = np.random.default_rng(0)
    for layer in range(3):
        for module, operation in operations.items():
            one = values.standard_normal((4, 64)).astype(np.float32)
            save(
                tmp_path / "g" / "msit_dump_1/torch_tensors/cuda0_7/0" / f"root.model.layers.{layer}.{module}" / "output.pth", as_torch(one)
            )
            write_tree(tmp_path / "t", {f"ait_dump/tensors/3_99/0/{layer + 1}_DecoderLayer/{operation}/after/outtensor0.bin": one})
    result, rows = compared(tmp_path / "g", tmp_path / "t", tmp_path / "r", pair_by=("key", "ops"))
    assert result.exit_code == 0 and result.totals.pairs == 6
    assert {row["pair_rule"] for row in rows.values()} == {"ops"}


def as_torch(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(values)
