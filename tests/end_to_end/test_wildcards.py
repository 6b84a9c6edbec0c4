"""Low-level tensors that were registered by one path with a `*`, from `dump_data` to the report."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = """
import numpy as np
from fastcmp import dump_data
for token in range(2):
    for layer in range(12):
        dump_data("golden", f"norm[{layer}]", np.full((2, 3), layer + 1.0, np.float32), token_id=token)
"""
ADVICE = "the acceleration library writes it under `fastcmp run`, and `fastcmp doctor` says why it did not"
# The acceleration library's part is done by this script: it writes what it is asked for, and a file that nobody asked for.
TARGET = """
import os, sys
from pathlib import Path
import numpy as np
from dumps import bin_bytes
from fastcmp import dump_data
for token in {tokens}:
    dump_data("acl", "norm", tensor_path="0_Model/*_Layer/6_Norm/after/outTensor0.bin", token_id=token)
for token in range(2):
    for layer in range(12):
        for name in ("outTensor0.bin", "outTensor1.bin"):
            path = Path(os.environ["ACLTRANSFORMER_HOME_PATH"], f"tensors/thread_{{os.getpid()}}/{{token}}/0_Model/{{layer}}_Layer/6_Norm/after/{{name}}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bin_bytes(np.full((2, 3), layer + 1.0, np.float32)))
"""


def run_python(code: str, place: Path) -> None:
    place.mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent), "ACLTRANSFORMER_HOME_PATH": str(place / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "the preload library is not in this process" not in line] == []


def pid_of(place: Path) -> str:
    (directory,) = place.glob("*_cmp_dump_data")
    return directory.name.removesuffix("_cmp_dump_data")


def fastcmp(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastcmp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("tokens", [(0, 1), ("*",)])
def test_one_registration_gives_one_row_for_each_layer_and_no_other(tmp_path: Path, tokens: tuple[object, ...]) -> None:
    run_python(GOLDEN, tmp_path / "golden")
    run_python(TARGET.format(tokens=tokens), tmp_path / "target")
    done = fastcmp("compare", tmp_path / "golden", tmp_path / "target", "-o", tmp_path / "report")
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "report" / "cmp_report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["data_id"], row["token_id"]) for row in rows] == [
        (f"norm[{layer}]", str(token)) for layer in range(12) for token in range(2)
    ]
    assert {(row["cmp_flag"], row["verdict"], row["mismatch_count"]) for row in rows} == {("True", "pass", "0")}
    assert rows[22]["acl_data_path"].endswith("/0/0_Model/11_Layer/6_Norm/after/outTensor0.bin")


def test_a_pattern_that_nothing_matches_is_a_missing_row(tmp_path: Path) -> None:
    both = """
import numpy as np
from fastcmp import dump_data
dump_data("{source}", "top", np.ones(3, np.float32))
"""
    run_python(both.format(source="golden") + GOLDEN, tmp_path / "golden")
    registered = 'dump_data("acl", "norm", tensor_path="0_Model/*_Layer/7_Norm/after/outTensor0.bin", token_id="*")'
    run_python(both.format(source="acl") + registered, tmp_path / "target")
    done = fastcmp("compare", tmp_path / "golden", tmp_path / "target", "-o", tmp_path / "report")
    assert done.returncode == 1
    with open(tmp_path / "report" / "cmp_report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 26 and (rows[-1]["data_id"], rows[-1]["token_id"]) == ("norm", "*")
    pattern = f"{tmp_path}/target/home/tensors/thread_{pid_of(tmp_path / 'target')}/*/0_Model/*_Layer/7_Norm/after/outTensor0.bin"
    assert rows[-1]["cmp_fail_reason"] == (
        f"golden_data_path is not exist. only target has data_id norm, token_id *, which is {pattern}: "
        f"no file matches; a * stands for a whole number; {ADVICE}; dump it on the other side, pair it by --map, or --allow-unpaired [E_UNPAIRED]"
    )


def test_patterns_that_nothing_matches_alone_are_no_pair_and_are_named(tmp_path: Path) -> None:
    run_python(GOLDEN, tmp_path / "golden")
    code = """
from fastcmp import dump_data
for index in range(5):
    dump_data("acl", f"attn{index}", tensor_path=f"0_Model/*_Layer/{index}_Attention/after/outTensor0.bin", token_id="*")
"""
    run_python(code, tmp_path / "target")
    done = fastcmp("compare", tmp_path / "golden", tmp_path / "target", "-o", tmp_path / "report")
    assert done.returncode == 2 and not (tmp_path / "report").exists()
    run = f"{tmp_path}/target/home/tensors/thread_{pid_of(tmp_path / 'target')}"
    for index in range(3):
        pattern = f"{run}/*/0_Model/*_Layer/{index}_Attention/after/outTensor0.bin"
        assert f"attn{index}/* is {pattern}: no file matches; a * stands for a whole number; " in done.stderr
    assert f"; and 2 more patterns; {ADVICE}; the keys of both must agree" in done.stderr


def test_a_low_level_tensor_without_a_file_says_who_writes_it(tmp_path: Path) -> None:
    golden = """
import numpy as np
from fastcmp import dump_data
for name in ("one", "all", "high"):
    dump_data("golden", name, np.ones(3, np.float32))
"""
    target = """
import numpy as np
from fastcmp import dump_data
dump_data("acl", "one", tensor_path="0_Model/3_Layer/7_Norm/after/outTensor0.bin")
dump_data("acl", "all", tensor_path="0_Model/*_Layer/7_Norm/after/outTensor0.bin")
dump_data("acl", "high", np.ones(3, np.float32))
"""
    run_python(golden, tmp_path / "golden")
    run_python(target, tmp_path / "target")
    (high,) = (tmp_path / "target").rglob("high_tensor.npy")
    high.unlink()
    done = fastcmp("compare", tmp_path / "golden", tmp_path / "target", "-o", tmp_path / "report")
    assert done.returncode == 2
    with open(tmp_path / "report" / "cmp_report.csv", newline="") as file:
        reasons = {row["data_id"]: row["cmp_fail_reason"] for row in csv.DictReader(file)}
    run = f"{tmp_path}/target/home/tensors/thread_{pid_of(tmp_path / 'target')}/0/0_Model"
    moved = "check that the dump finished and was moved as a whole [E_MISSING]"
    assert reasons == {
        "one": f"acl_data_path is not exist. {run}/3_Layer/7_Norm/after/outTensor0.bin: no such file; {ADVICE}; {moved}",
        "all": f"acl_data_path is not exist. {run}/*_Layer/7_Norm/after/outTensor0.bin: no such file; "
        f"no file matches; a * stands for a whole number; {ADVICE}; {moved}",
        "high": f"acl_data_path is not exist. {high}: no such file; {moved}",
    }


def test_inspect_shows_the_tensors_that_a_star_stands_for(tmp_path: Path) -> None:
    run_python(TARGET.format(tokens="('*',)"), tmp_path / "target")
    (metadata,) = (tmp_path / "target").glob("*_cmp_dump_data/acl_tensor/metadata.json")
    assert list(json.loads(metadata.read_text())) == ["norm"]
    done = fastcmp("inspect", metadata)
    assert done.returncode == 0 and "24 tensors, 0 cannot be read" in done.stdout
