"""Where the numbers are the original tool's, and where they differ on purpose because its were wrong; and what else it did wrong.

D1 to D6, D17, D19 and D20 are defects of its dump side: tests/dump has a test with the number of each in its name, tests/preload of D17
and of the part of D10 that is read there.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensor_files import Tensor, tensor, write_dumps

import fastcmp
from fastcmp import CompareOptions
from fastcmp.cli.main import main

NAN = math.nan


def row_of(golden: Tensor, target: Tensor, **changes: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        documents = write_dumps(Path(root), [(golden, target)])
        options = CompareOptions(output=f"{root}/report", executor="serial", **changes)
        return fastcmp.compare(*documents, options=options).to_arrow().to_pylist()[0]


def original_metrics(golden: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The formulas that the original documents, in float32 as it used; the distance without a square root."""
    g, t = golden.astype(np.float32).ravel(), target.astype(np.float32).ravel()
    relative = np.abs(np.where(g == 0, 0, (t - g) / np.where(g == 0, 1, g)))
    return {
        "cosine_similarity": float(g @ t / (np.linalg.norm(g) * np.linalg.norm(t))),
        "max_relative_error": float(relative.max()),
        "mean_relative_error": float(relative.mean()),
        "relative_euclidean_distance": float(((t - g) ** 2).sum() / (g**2).sum()),
        **{
            f"{side}_{name}_value": float(getattr(one, name)())
            for side, one in (("golden", g), ("acl", t))
            for name in ("max", "min", "mean")
        },
    }


@pytest.mark.parametrize("seed", range(10))
def test_ordinary_tensors_have_the_numbers_of_the_original(seed):
    random = np.random.default_rng(seed)
    golden = (random.standard_normal((16, 128)) + 3).astype(np.float32)
    target = (golden * (1 + 0.01 * random.standard_normal(golden.shape))).astype(np.float32)
    row = row_of(tensor("float32", golden), tensor("float32", target), compat_euclid="legacy")
    for name, number in original_metrics(golden, target).items():
        assert row[name] == pytest.approx(number, rel=1e-6), name


def test_D11_the_cosine_is_a_number_that_neither_overflows_nor_loses_its_digits():
    values = np.random.default_rng(1).standard_normal(5000)
    row = row_of(tensor("float32", values * 2e19), tensor("float32", values * 2e19))
    assert type(row["cosine_similarity"]) is float and row["cosine_similarity"] == 1.0


def test_D12_the_distance_is_the_square_root_unless_the_old_one_is_asked_for():
    pair = tensor("float32", np.full(64, 2.0)), tensor("float32", np.full(64, 2.5))
    assert row_of(*pair)["relative_euclidean_distance"] == 0.25
    legacy = row_of(*pair, compat_euclid="legacy")
    assert legacy["relative_euclidean_distance"] == 0.0625 and legacy["verdict"] == "fail"
    close = tensor("float32", np.full(64, 1.0)), tensor("float32", np.full(64, 1 + 2.0**-12))
    assert row_of(*close)["verdict"] == row_of(*close, compat_euclid="legacy")["verdict"] == "fail", "the limit is squared too"


def test_D13_an_error_where_golden_is_zero_is_exposed():
    golden, target = np.ones(1000), np.ones(1000)
    golden[500:], target[500:] = 0.0, 0.75
    row = row_of(tensor("float32", golden), tensor("float32", target))
    assert row["max_relative_error"] == row["mean_relative_error"] == 0.0, "as the original's, and blind"
    assert row["near_zero_golden_count"] == 500
    assert row["max_absolute_error"] == 0.75 and row["mean_absolute_error"] == 0.375
    assert row["within_one_thousandth_ratio"] == row["within_five_thousandths_ratio"] == 0.5
    assert row["verdict"] == "fail"


def test_D13_a_golden_nan_is_no_zero_error():
    golden, target = np.ones(10), np.full(10, 1.5)
    golden[3] = NAN
    row = row_of(tensor("float32", golden), tensor("float32", target))
    assert row["cmp_flag"] and row["mean_relative_error"] == 0.5, "the mean is over the nine finite positions"
    assert row["golden_nan_count"] == row["nonfinite_mismatch_count"] == 1 and row["verdict"] == "fail"


def test_D13b_a_golden_of_zeros_does_not_hide_its_target():
    row = row_of(tensor("float32", np.zeros(10)), tensor("float32", np.full(10, 1e-9)))
    assert row["relative_euclidean_distance"] == math.inf and row["cosine_similarity"] == 0.0 and row["verdict"] == "fail"


@pytest.mark.parametrize("base", [2**24, 2**53, 2**62, 2**63 - 2])
def test_D14_ids_that_differ_by_one_are_not_equal(base):
    row = row_of(tensor("int64", np.array([7, base])), tensor("int64", np.array([7, base + 1])))
    assert row["mismatch_count"] == 1 and row["max_absolute_error"] == 1.0 and row["max_absolute_error_index"] == "(1,)"
    assert row["verdict"] == "fail"


def test_D15_an_empty_tensor_is_a_row_that_passes():
    row = row_of(tensor("float32", np.zeros((0, 4))), tensor("float32", np.zeros((0, 4))))
    assert (row["cmp_flag"], row["verdict"], row["element_count"], row["cmp_fail_reason"]) == (True, "pass", 0, "")
    assert row["golden_max_value"] is None and row["max_absolute_error_index"] is None


def test_D13b_nan_and_inf_on_either_side_are_counted_and_the_rest_is_compared():
    golden, target = np.arange(10.0), np.arange(10.0)
    golden[2], target[5], target[7] = NAN, math.inf, 8.0
    row = row_of(tensor("float32", golden), tensor("float32", target))
    assert row["cmp_flag"] and row["cmp_fail_reason"] == ""
    assert (row["golden_nan_count"], row["target_inf_count"], row["nonfinite_mismatch_count"]) == (1, 1, 2)
    assert row["max_absolute_error"] == 1.0 and math.isfinite(row["cosine_similarity"])


# --- whole reports -----------------------------------------------------------------------------------------------------------------------

ONES = tensor("float32", np.ones((2, 3)))


def report_of(root: Path, documents: tuple[Path, Path]) -> list[dict[str, str]]:
    fastcmp.compare(*documents, options=CompareOptions(output=str(root / "report"), executor="serial"))
    with open(root / "report" / "cmp_report.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("damage", [b"", b"garbage", b"$Version=1.0\n$End=1\n", None])
def test_D7_golden_may_be_bin_and_a_tensor_that_cannot_be_read_loses_no_other(tmp_path, damage):
    documents = write_dumps(tmp_path, [(ONES, ONES)] * 6)
    golden = sorted((tmp_path / "golden_tensor").glob("*.bin"))
    assert len(golden) == 3, "every second golden is one"
    golden[1].unlink() if damage is None else golden[1].write_bytes(damage)
    rows = report_of(tmp_path, documents)
    assert [row["cmp_flag"] for row in rows] == [str(row["data_id"] != golden[1].stem) for row in rows] and len(rows) == 6
    assert [row["cmp_fail_reason"] != "" for row in rows] == [row["data_id"] == golden[1].stem for row in rows]


def test_D8_an_id_of_one_side_alone_is_a_row(tmp_path):
    documents = write_dumps(tmp_path, [(ONES, ONES)] * 3)
    for document, name in zip(documents, ("only golden", "only acl"), strict=True):
        metadata = json.loads(document.read_text())
        document.write_text(json.dumps({**metadata, name: {"0": "./0.npy"}, "1": {"0": metadata["1"]["0"], name: "./1.bin"}}))
    rows = {(row["data_id"], row["token_id"]): row["cmp_fail_reason"] for row in report_of(tmp_path, documents)}
    alone = {key for key, reason in rows.items() if "[E_UNPAIRED]" in reason}
    assert alone == {("only golden", "0"), ("only acl", "0"), ("1", "only golden"), ("1", "only acl")} and len(rows) == 7


def test_D9_every_row_is_a_pair_and_has_its_metrics(tmp_path):
    report_of(tmp_path, write_dumps(tmp_path, [(ONES, ONES)] * 3))
    lines = (tmp_path / "report" / "cmp_report.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert len(lines) == 4 and [row["data_id"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        assert (row["cmp_flag"], row["cosine_similarity"], row["max_relative_error"], row["golden_max_value"]) == ("True", "1", "0", "1")


@pytest.mark.parametrize("task", ["4711_0", "4711", ""])
def test_D10_a_task_of_the_old_tool_in_the_environment_switches_nothing_off(tmp_path, task):
    """Its ``set_label`` returned before it did anything, as it took only digits for a task, and a task is ``pid_n``.

    fastcmp has no ``set_label``. What that did, `dump_data` does: a tensor is saved, or its path registered. That a task of that form is
    understood by who reads it, the preload library, is tests/preload/test_preload_registered.py's.
    """
    program = (
        "import numpy as np; from msquickcmp.pta_acl_cmp.compare import dump_data; "
        "dump_data('golden', 0, np.arange(2)); dump_data('acl', 0, tensor_path='0_Model/after/outtensor0.bin')"
    )
    environment = {**os.environ, "AIT_CMP_TASK_ID": task, "AIT_CMP_TASK_PID": task.partition("_")[0], "AIT_CMP_TASK": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=60)
    (dump,) = tmp_path.glob("*_cmp_dump_data")
    golden, acl = (json.loads((dump / f"{role}_tensor" / "metadata.json").read_text()) for role in ("golden", "acl"))
    assert np.load(tmp_path / golden["0"]["0"]).tolist() == [0, 1]
    assert acl["0"]["0"].endswith("/0/0_Model/after/outtensor0.bin")
    assert (dump / "allow_list" / "paths.txt").read_text() == "0/0_Model/after/outtensor0.bin\n"


def test_D16_pairs_of_different_shapes_stay_in_the_report_one_behind_the_other(tmp_path):
    other = tensor("float32", np.ones((2, 4)))
    pairs = [(ONES, other)] * 4 + [(ONES, ONES)] + [(other, ONES)] * 2
    rows = report_of(tmp_path, write_dumps(tmp_path, pairs))
    assert [row["cmp_flag"] for row in rows] == ["False"] * 4 + ["True"] + ["False"] * 2
    assert all(row["cmp_fail_reason"].startswith("data shape doesn't match.") for row in rows if row["cmp_flag"] == "False")


def test_D18_comparing_removes_and_changes_nothing_of_the_dumps(tmp_path, capsys):
    documents = write_dumps(tmp_path, [(ONES, ONES)] * 3)

    def state():
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(tmp_path.glob("*_tensor/*"))}

    before = state()
    report_of(tmp_path, documents)
    assert state() == before and len(before) == 8
    # The original's --clean removed the dumps after a comparison; there is no such option, nor a beginning of one.
    for option in ("--clean", "--clean=true"):
        assert main(["compare", *map(str, documents), "-o", str(tmp_path / "again"), "--executor", "serial", "-q", option]) == 2
        assert "--clean" in capsys.readouterr().err
        assert state() == before and not (tmp_path / "again").exists()


def test_every_defect_of_the_original_has_a_test_with_its_number():
    names = [
        name
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for name in re.findall(r"^def test_((?:D[0-9]+b?_)+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    tested = {number for name in names for number in name.split("_") if number}
    assert {f"D{number}" for number in range(1, 21)} | {"D13b"} == tested
