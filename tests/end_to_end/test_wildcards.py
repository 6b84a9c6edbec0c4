"""Low-level tensors that were registered by one path with a `*`, from `dump_data` to the report."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastcmp.preload_library import library_path

GOLDEN = """
import numpy as np
from fastcmp import dump_data
for token in range(2):
    for layer in range(12):
        dump_data("golden", f"norm[{layer}]", np.full((2, 3), layer + 1.0, np.float32), token_id=token)
"""
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
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parent),
        "ACLTRANSFORMER_HOME_PATH": str(place / "home"),
        "LD_PRELOAD": library_path(),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr


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
    assert "[E_UNPAIRED]" in rows[-1]["cmp_fail_reason"] and "no file matches" in rows[-1]["notes"]


def test_inspect_shows_the_tensors_that_a_star_stands_for(tmp_path: Path) -> None:
    run_python(TARGET.format(tokens="('*',)"), tmp_path / "target")
    (metadata,) = (tmp_path / "target").glob("*_cmp_dump_data/acl_tensor/metadata.json")
    assert list(json.loads(metadata.read_text())) == ["norm"]
    done = fastcmp("inspect", metadata)
    assert done.returncode == 0 and "24 tensors, 0 cannot be read" in done.stdout
