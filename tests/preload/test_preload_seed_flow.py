"""The documented way, from one program to the report: register, run under the library, compare."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from preload_host import HostRun, Hosts, saved_files

# As scripts for the original tool have it.
SEED = {"ACLTRANSFORMER_SAVE_TENSOR": "1", "ACLTRANSFORMER_SAVE_TENSOR_MAX": "5000", "ACLTRANSFORMER_SAVE_TENSOR_RUNNER": "NormOpsRunner"}
ERAS = {
    "libacltransformer": ("libacltransformer_standin", SEED),
    "libatb": ("libatb_standin", {}),
    "libatb with the seed's variables": ("libatb_standin", SEED),
}
LAYERS, TOKENS = 3, 4

PROGRAM = """
import sys
import numpy as np
from msquickcmp.pta_acl_cmp.compare import dump_data
from standin_model import Model, run_library
LAYERS, TOKENS, register = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
model = Model()
for layer in range(LAYERS):
    for node, runner in enumerate(["NormOpsRunner", "SelfAttentionRunner"], 6):
        model.add(layer, node, runner)
def path(layer):
    return f"0_Model/{layer}_Layer/6_NormOpsRunner/after/outTensor0.bin"
for token_id in range(TOKENS):
    data_id = 0
    for i in range(LAYERS if register == "each" else 0):
        dump_data("acl", data_id, tensor_path=path(i), token_id=token_id)
        data_id += 1
    if register == "starred":
        dump_data("acl", "norm", tensor_path=path("*"), token_id=token_id)
    elif register == "at once" and token_id == 0:
        dump_data("acl", "norm", tensor_path=path("*"), token_id="*")
    hidden = np.arange(12, dtype=np.float32).reshape(3, 4) + token_id + 1
    for layer in range(LAYERS):
        hidden = hidden * np.float32(1.5) + layer
        if (token_id, layer) == (2, 1):
            hidden[1, 1] += 1  # the planted defect of one of the two
            golden = hidden - np.float32(np.arange(12).reshape(3, 4) == 5)
        else:
            golden = hidden
        model.execute(layer, 6, token_id, hidden.tobytes(), runner="NormOpsRunner", dims="3,4")
        model.execute(layer, 7, token_id, (hidden + 100).tobytes(), runner="SelfAttentionRunner", dims="3,4")
        dump_data("golden", layer if register == "each" else f"norm[{layer}]", golden, token_id=token_id)
if register == "each":
    dump_data("acl", "never", tensor_path="0_Model/9_Layer/6_NormOpsRunner/after/outTensor0.bin", token_id=0)
    dump_data("golden", "never", golden, token_id=0)
"""


def compare(directory: Path) -> list[dict[str, str]]:
    """Every row of the report that the original's command makes of the two sides."""
    (dump,) = directory.rglob("*_cmp_dump_data")
    sides = (f"{dump}/golden_tensor/metadata.json", f"{dump}/acl_tensor/metadata.json")
    arguments = ["debug", "compare", "aclcmp", "--golden-path", sides[0], "--my-path", sides[1], "--output", str(directory / "report")]
    done = subprocess.run(
        [sys.executable, "-m", "fastcmp.cli.ait", *arguments], cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with open(directory / "report" / "cmp_report.csv", newline="") as file:
        return list(csv.DictReader(file))


def run(hosts: Hosts, directory: Path, era: str, abi: int, register: str, **variables: str) -> HostRun:
    name, of_era = ERAS[era]
    return hosts.run_python(directory, PROGRAM, LAYERS, TOKENS, register, standin=f"{name}_abi{abi}.so", **of_era, **variables)


# Every era in both ABIs, with and without the variable that names the library's home.
WAYS = [(era, abi, (number + abi) % 2 == 0) for number, era in enumerate(ERAS) for abi in (0, 1)]


@pytest.mark.parametrize(("era", "abi", "home"), WAYS)
def test_the_report_has_a_row_for_every_registered_tensor_and_none_for_the_others(
    era: str, abi: int, home: bool, hosts: Hosts, tmp_path: Path
) -> None:
    run(hosts, tmp_path, era, abi, "each", **({"ACLTRANSFORMER_HOME_PATH": str(tmp_path / "acl")} if home else {}))
    rows = compare(tmp_path)
    keys = [(row["data_id"], row["token_id"]) for row in rows]
    assert keys == [*((str(layer), str(token)) for layer in range(LAYERS) for token in range(TOKENS)), ("never", "0")]
    for row in rows:
        if row["data_id"] == "never":
            assert row["cmp_flag"] == "False" and row["cmp_fail_reason"].startswith("acl_data_path is not exist.")
            assert "[E_MISSING]" in row["cmp_fail_reason"]
            continue
        assert row["cmp_flag"] == "True" and row["cmp_fail_reason"] == "" and row["acl_shape"] == row["golden_shape"] == "(3, 4)"
        is_planted = (row["data_id"], row["token_id"]) == ("1", "2")
        assert (row["verdict"], float(row["max_absolute_error"])) == (("fail", 1.0) if is_planted else ("pass", 0.0))
    assert len(saved_files(tmp_path)) == LAYERS * TOKENS, "nothing else was saved"
    where = tmp_path / "acl" if home else tmp_path
    assert all(path.is_relative_to(where / "tensors") for path in saved_files(tmp_path).values())


@pytest.mark.parametrize(("era", "register"), [("libacltransformer", "starred"), ("libatb", "at once"), ("libatb", "starred")])
def test_a_star_makes_a_row_for_each_layer(era: str, register: str, hosts: Hosts, tmp_path: Path) -> None:
    assert run(hosts, tmp_path, era, 1, register).stderr == ""
    rows = compare(tmp_path)
    expected = {(f"norm[{layer}]", str(token)) for layer in range(LAYERS) for token in range(TOKENS)}
    assert {(row["data_id"], row["token_id"]) for row in rows} == expected and len(rows) == len(expected)
    assert all(row["cmp_flag"] == "True" for row in rows)
    assert [(row["data_id"], row["token_id"]) for row in rows if row["verdict"] != "pass"] == [("norm[1]", "2")]


def test_without_the_library_the_same_program_has_rows_that_say_what_is_missing(hosts: Hosts, tmp_path: Path) -> None:
    """With libatb, which saves nothing by itself."""
    run(hosts, tmp_path, "libatb", 1, "each", LD_PRELOAD="", ACLTRANSFORMER_HOME_PATH=str(tmp_path))
    rows = compare(tmp_path)
    assert len(rows) == LAYERS * TOKENS + 1 and all("E_MISSING" in row["cmp_fail_reason"] for row in rows)


def test_a_killed_run_can_be_compared(hosts: Hosts, tmp_path: Path) -> None:
    """What is complete is compared, what is not is missing, and a temporary file is no tensor."""
    killed = PROGRAM.replace(
        "    hidden = np.arange",
        "    if token_id == 2:\n        drain()\n    if token_id == 3:\n        os.kill(os.getpid(), 9)\n    hidden = np.arange",
    )
    killed = killed.replace("import sys", "import os, sys\nfrom standin_model import drain", 1)
    name, of_era = ERAS["libatb"]
    hosts.run_python(tmp_path, killed, LAYERS, TOKENS, "each", standin=f"{name}_abi1.so", status=-9, **of_era)
    for path in list(saved_files(tmp_path).values())[:2]:
        path.with_name(f".{path.name}.0123456789abcdef.tmp").write_bytes(path.read_bytes()[:50])
    rows = compare(tmp_path)
    assert {"0", "1"} <= {row["token_id"] for row in rows if row["cmp_flag"] == "True"} <= {"0", "1", "2"}
    assert all(row["cmp_flag"] == "True" or row["cmp_fail_reason"] for row in rows)
    done = subprocess.run(
        [sys.executable, "-m", "fastcmp", "inspect", str(tmp_path / "tensors")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and ".tmp" not in done.stdout, done.stdout


def test_threads_that_register_and_run_side_by_side_lose_nothing(abi: int, hosts: Hosts, tmp_path: Path) -> None:
    code = """
import threading
import numpy as np
from fastcmp import dump_data
from standin_model import Model
def work(number):
    model = Model()
    model.add(number, 0, "Norm", 0)
    for token in range(40):
        dump_data("acl", f"{number}", tensor_path=f"0_Model/{number}_Layer/0_Norm/after/outTensor0.bin", token_id=token)
        model.execute(number, 0, token, np.full(8, number * 100 + token, np.float32).tobytes(), dims="8")
        dump_data("golden", f"{number}", np.full(8, number * 100 + token, np.float32), token_id=token)
threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    run = hosts.run_python(tmp_path, code, standin=f"libatb_standin_abi{abi}.so")
    assert run.stderr == ""
    rows = compare(tmp_path)
    assert len(rows) == 240 and all(row["verdict"] == "pass" and float(row["max_absolute_error"]) == 0 for row in rows)


def test_each_forked_worker_has_its_own_list_and_its_own_report(hosts: Hosts, tmp_path: Path) -> None:
    code = """
import os, sys
import numpy as np
from fastcmp import dump_data
from standin_model import Model
def work(rank):
    model = Model()
    model.add(0, 0, "Norm", 0)
    dump_data("acl", "x", tensor_path="0_Model/0_Layer/0_Norm/after/outTensor0.bin", token_id=0)
    dump_data("golden", "x", np.full(4, rank, np.float32), token_id=0)
    model.execute(0, 0, 0, np.full(4, rank, np.float32).tobytes(), dims="4")
work(0)
children = []
for rank in (1, 2):
    child = os.fork()
    if child == 0:
        work(rank)
        sys.exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
"""
    run = hosts.run_python(tmp_path, code)
    assert run.stderr == ""
    dumps = sorted(tmp_path.glob("*_cmp_dump_data"))
    assert len(dumps) == 3
    for dump in dumps:
        place = tmp_path / f"report_{dump.name}"
        done = subprocess.run(
            [sys.executable, "-m", "fastcmp", "compare", str(dump / "golden_tensor"), str(dump / "acl_tensor"), "-o", str(place)],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
