"""One row of a report in depth, from files on disk: whatever happened to them since."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastcmp import compare
from fastcmp.cli.main import main
from fastcmp.closeup import look as look_module
from fastcmp.closeup import pair_reader
from fastcmp.closeup.look import Closeup, count_text, look
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.results.rows import find_row
from fastcmp.results.saved import load_saved

Array = np.ndarray


def values_of(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(directory: Path, tensors: dict[str, tuple[Array | None, Array | None]], **options: Any) -> str:
    """A report of two directories of .npy files; the name of a tensor is ``data_id`` or ``data_id/token``."""
    for side, name in enumerate(("golden", "target")):
        metadata: dict[str, dict[str, str]] = {}
        place = directory / name
        for key, pair in tensors.items():
            values = pair[side]
            if values is None:
                continue
            data_id, _, token = key.partition("/")
            path = place / (token or "0") / f"{data_id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)
            metadata.setdefault(data_id, {})[token or "0"] = str(path.relative_to(place))
        place.mkdir(parents=True, exist_ok=True)
        (place / "metadata.json").write_text(json.dumps(metadata))
    output = str(directory / "report")
    chosen = CompareOptions(output=output, executor="serial", **options)
    compare(directory / "golden" / "metadata.json", directory / "target" / "metadata.json", options=chosen)
    return output


def look_at(output: str, *name: str, worst: int = 10) -> Closeup:
    report = load_saved(output)
    return look(report, find_row(report.table, *name), worst=worst)


def names(closeup: Closeup) -> list[str]:
    return [pattern.name for pattern in closeup.patterns]


def test_a_pair_is_told_in_full(tmp_path: Path) -> None:
    golden = values_of(4, 64)
    closeup = look_at(run(tmp_path, {"a": (golden, golden * np.float32(0.5))}), "a", worst=3)
    assert closeup.remarks == () and closeup.explanation == "" and not closeup.too_few
    assert names(closeup) == ["scale factor"]
    assert closeup.golden is not None and closeup.golden.shape == (4, 64) and closeup.golden.nbytes == 1024
    assert closeup.golden.layout == "C order" and closeup.golden.dtype == "float32"
    facts = closeup.facts
    assert facts is not None and len(facts.worst) == 3
    assert str(facts.worst[0].index) == closeup.row["max_absolute_error_index"]
    assert facts.worst[0].absolute_error == closeup.row["max_absolute_error"]
    assert facts.differing_count == closeup.row["mismatch_count"]


DTYPES = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "int8": np.int8,
    "int64": np.int64,
    "uint64": np.uint64,
    "bool": np.bool_,
    "complex64": np.complex64,
}


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7, 33), (2, 3, 5, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_files_of_a_report_hold_what_it_says(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    golden = np.asarray(random.integers(0, 100, shape)).astype(DTYPES[dtype])
    target = np.asarray(random.integers(0, 100, shape)).astype(DTYPES[dtype])
    closeup = look_at(run(tmp_path, {"a": (golden, np.asfortranarray(target))}), "a")
    assert closeup.remarks == (), "the numbers of the report and of the files are the same"
    assert closeup.facts is not None and closeup.facts.element_count == golden.size
    json.dumps(closeup.as_json(), allow_nan=False)


def test_nonfinite_values_of_every_kind_agree_with_the_report(tmp_path: Path) -> None:
    golden, target = values_of(8, 32), values_of(8, 32, seed=1)
    golden[0, :3], target[0, 1:4] = (np.nan, np.inf, -np.inf), (np.nan, np.inf, np.inf)
    closeup = look_at(run(tmp_path, {"a": (golden, target)}), "a")
    assert closeup.remarks == () and closeup.facts is not None
    assert closeup.facts.nonfinite_mismatch_count == closeup.row["nonfinite_mismatch_count"] > 0
    assert closeup.facts.worst[0].absolute_error is None
    assert "nan" in json.dumps(closeup.as_json(), allow_nan=False)


def test_a_scale_is_applied_as_the_run_applied_it(tmp_path: Path) -> None:
    golden = values_of(16, 64)
    steps = np.clip(np.rint(golden / 0.02), -128, 127).astype(np.int8)
    closeup = look_at(run(tmp_path, {"a": (golden, steps)}, scale=0.02), "a")
    assert closeup.remarks == () and names(closeup)[0] == "steps of int8"


def test_a_mask_that_the_run_allowed_is_told_and_no_change_of_the_files(tmp_path: Path) -> None:
    golden = values_of(8, 32)
    golden[np.triu_indices(8, 1)] = -np.inf
    target = np.where(np.isinf(golden), np.finfo(np.float32).min, golden)
    closeup = look_at(run(tmp_path, {"a": (golden, target)}, scan=ScanOptions(), mask_fill=True), "a")
    assert closeup.row["verdict"] == "pass" and closeup.remarks == () and names(closeup) == ["filled infinities"]


def test_metrics_of_the_users_own_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def largest(golden, target):\n    return float(abs(target).max())\n")
    golden = values_of(4, 8)
    closeup = look_at(run(tmp_path, {"a": (golden, golden)}, metrics=(f"{tmp_path}/mine.py:largest",)), "a")
    assert closeup.row["largest"] == float(np.abs(golden).max())


# --- the files are not what they were --------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_said_and_the_row_is_there(tmp_path: Path) -> None:
    output = run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8, seed=1))})
    (tmp_path / "target" / "0" / "a.npy").unlink()
    closeup = look_at(output, "a")
    assert closeup.facts is None and closeup.target is not None and "[E_MISSING]" in closeup.target.error
    assert closeup.remarks[0].startswith("target can no longer be read: ") and closeup.row["mismatch_count"] == 32
    shutil.rmtree(tmp_path / "golden")
    closeup = look_at(output, "a")
    assert closeup.facts is None and closeup.golden is None
    assert closeup.remarks[0].startswith("the tensors cannot be read again: ")


@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_file_that_changed_is_said(keeps_time: bool, tmp_path: Path) -> None:
    output = run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8, seed=1))})
    path = tmp_path / "target" / "0" / "a.npy"
    before = path.stat()
    np.save(path, values_of(4, 8, seed=2))
    if keeps_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    remarks = look_at(output, "a").remarks
    assert any("the files are not as they were compared: max_absolute_error was" in remark for remark in remarks)
    assert any("the target file was written after the comparison" in remark for remark in remarks) != keeps_time


def test_another_shape_is_said(tmp_path: Path) -> None:
    output = run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8, seed=1))})
    np.save(tmp_path / "golden" / "0" / "a.npy", values_of(4, 9))
    closeup = look_at(output, "a")
    assert any("golden has changed since it was compared: it was float32 (4, 8), it is float32 (4, 9)" in one for one in closeup.remarks)
    assert closeup.facts is None


def test_dumps_that_name_other_tensors_now_are_refused(tmp_path: Path) -> None:
    pair = (values_of(4, 8), values_of(4, 8, seed=1))
    output = run(tmp_path, {"a": pair, "b": pair})
    for side in ("golden", "target"):
        path = tmp_path / side / "metadata.json"
        metadata = json.loads(path.read_text())
        path.write_text(json.dumps({"c": metadata["b"], "b": metadata["b"], "a": {"0": "0/b.npy"}}))
    assert look_at(output, "b").remarks == (), "another order and another tensor do no harm"
    assert "no longer name this pair as they did; the dumps have changed since they were compared" in look_at(output, "a").remarks[0]
    for side in ("golden", "target"):
        (tmp_path / side / "metadata.json").write_text(json.dumps({"b": {"0": "0/b.npy"}}))
    assert "no longer name this pair as they did" in look_at(output, "a").remarks[0]


def test_a_run_that_has_not_ended_is_looked_at_through_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a killed one leaves it: no run.json, the journal has the options that decide numbers."""
    golden = values_of(16, 64)
    steps = np.clip(np.rint(golden / 0.02), -128, 127).astype(np.int8)

    def fail(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastcmp.comparison.write_report", fail)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, {"a": (golden, steps)}, scale=0.02, scan=ScanOptions(roots=(str(tmp_path),)))
    closeup = look_at(str(tmp_path / "report"), "a")
    assert closeup.remarks == () and names(closeup)[0] == "steps of int8"
    assert main(["show", str(tmp_path / "report"), "a"]) == 0
    told = capsys.readouterr()
    assert "pattern: steps of int8" in told.out and "the comparison has not come to its end; this is what it has found so far" in told.err


def test_a_report_without_its_run_json_shows_the_row(tmp_path: Path) -> None:
    output = run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8, seed=1))})
    facts = json.loads((Path(output) / "run.json").read_text())
    (Path(output) / "run.json").write_text(json.dumps({"files": facts["files"], "golden": 3}))
    closeup = look_at(output, "a")
    assert "no run.json that names its inputs" in closeup.remarks[0] and closeup.row["data_id"] == "a"


def test_relative_paths_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    golden = values_of(4, 8)
    for side, values in (("golden", golden), ("target", golden + 1)):
        (work / side).mkdir(parents=True)
        # As the original wrote them: relative to where the program ran, not to the metadata.json.
        np.save(work / side / "a.npy", values)
        (work / "meta" / side).mkdir(parents=True)
        (work / "meta" / side / "metadata.json").write_text(json.dumps({"a": {"0": f"{side}/a.npy"}}))
    monkeypatch.chdir(work)
    options = CompareOptions(output="report", executor="serial", scan=ScanOptions(roots=(".",)))
    compare("meta/golden/metadata.json", "meta/target/metadata.json", options=options)
    monkeypatch.chdir(tmp_path)
    closeup = look_at("work/report", "a")
    assert closeup.remarks == () and names(closeup) == ["constant shift"]


def test_the_roots_of_the_run_confine_the_look_too(tmp_path: Path) -> None:
    outside = tmp_path / "outside.npy"
    np.save(outside, values_of(4, 8))
    output = run(
        tmp_path,
        {"a": (values_of(4, 8), values_of(4, 8, seed=1))},
        scan=ScanOptions(roots=(str(tmp_path / "target"), str(tmp_path / "golden"))),
    )
    path = tmp_path / "target" / "0" / "a.npy"
    path.unlink()
    path.symlink_to(outside)
    closeup = look_at(output, "a")
    assert closeup.facts is None and closeup.target is not None and "_OUTSIDE]" in closeup.target.error


# --- rows without metrics --------------------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_explained(tmp_path: Path) -> None:
    output = run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8)), "b": (values_of(2, 2), values_of(2, 2))})
    path = tmp_path / "target" / "0" / "a.npy"
    path.write_bytes(path.read_bytes()[:-7])
    compare(
        tmp_path / "golden" / "metadata.json",
        tmp_path / "target" / "metadata.json",
        options=CompareOptions(output=output, executor="serial"),
    )
    closeup = look_at(output, "a")
    assert closeup.explanation.startswith("E_TRUNCATED: the file ends before its payload does; the dump was cut short")
    assert closeup.facts is None and closeup.remarks == () and "E_TRUNCATED" in closeup.row["cmp_fail_reason"]


def test_other_counts_are_explained_by_their_axes(tmp_path: Path) -> None:
    closeup = look_at(run(tmp_path, {"a": (values_of(4, 8), values_of(8, 8)), "b": (values_of(2), values_of(2))}), "a")
    assert closeup.explanation.startswith("E_SHAPE: ") and closeup.facts is None
    (remark,) = closeup.remarks
    assert remark.startswith("golden (4, 8) has 32 elements, target (8, 8) has 64; axis 0: 4 against 8; target is 2 times as large: ")
    assert count_text((3,), (2, 2)) == "golden (3,) has 3 elements, target (2, 2) has 4"


def test_a_tensor_that_stands_alone_is_described(tmp_path: Path) -> None:
    closeup = look_at(run(tmp_path, {"a": (values_of(4, 8), None), "b": (values_of(2), values_of(2))}), "a")
    assert closeup.target is None and closeup.golden is not None and closeup.golden.shape == (4, 8)
    assert closeup.explanation.startswith("E_UNPAIRED: ") and closeup.facts is None


def test_other_shapes_of_one_count_are_looked_at(tmp_path: Path) -> None:
    golden = values_of(6, 16)
    closeup = look_at(run(tmp_path, {"a": (golden, golden.T.copy())}), "a")
    assert names(closeup) == ["transposed"] and "axes (1, 0)" in closeup.patterns[0].evidence


def test_a_few_elements_are_too_few(tmp_path: Path) -> None:
    golden = values_of(6, 16)
    target = golden.copy()
    target[2, 3] += 1
    closeup = look_at(run(tmp_path, {"a": (golden, target)}), "a")
    assert closeup.too_few and closeup.patterns == () and closeup.facts is not None
    assert [element.index for element in closeup.facts.worst] == [(2, 3)]


# --- other tensors of the run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_stale_tensor_is_told_by_its_name(precision: str, tmp_path: Path) -> None:
    goldens = {token: values_of(4, 64, seed=token) for token in range(6)}

    def low(values: Array) -> Array:
        return values.astype(getattr(ml_dtypes, precision)).astype(np.float32) if precision == "bfloat16" else values

    tensors = {f"a/{token}": (golden, low(golden)) for token, golden in goldens.items()}
    tensors["a/4"] = (goldens[4], low(goldens[3]))
    closeup = look_at(run(tmp_path, tensors), "a", "4")
    assert names(closeup)[0] == "another tensor of the run"
    assert "target holds the golden tensor of a, token 3" in closeup.patterns[0].evidence


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("sign", "name"), [(0, "skipped addition"), (2, "double addition")])
def test_a_residual_that_was_not_added_once_is_told_by_its_name(sign: int, name: str, precision: str, tmp_path: Path) -> None:
    residual, branch = values_of(4, 64), values_of(4, 64, seed=1)
    output = branch + sign * residual
    if precision == "bfloat16":
        output = output.astype(ml_dtypes.bfloat16).astype(np.float32)
    tensors = {"residual": (residual, residual), "other": (values_of(4, 64, seed=9), values_of(4, 64, seed=9))}
    closeup = look_at(run(tmp_path, {**tensors, "sum": (residual + branch, output)}), "sum")
    assert names(closeup)[0] == name and "the golden tensor of residual, token 0" in closeup.patterns[0].evidence


def test_tensors_with_the_same_statistics_only_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """One is the other in another order: smallest, largest and mean values are the same."""
    golden, other = values_of(4, 64), values_of(4, 64, seed=1)
    shuffled = np.random.default_rng(2).permutation(other.ravel()).reshape(4, 64)
    closeup = look_at(run(tmp_path, {"a": (golden, shuffled), "b": (other, other)}), "a")
    assert "another tensor of the run" not in names(closeup)


def test_a_module_and_its_last_part_are_one_tensor(tmp_path: Path) -> None:
    golden, target = values_of(4, 64), values_of(4, 64, seed=1)
    closeup = look_at(run(tmp_path, {"block": (golden, target), "block.last": (golden, target)}), "block")
    assert names(closeup) == ["unrelated values"]


# --- memory ----------------------------------------------------------------------------------------------------------------------------


def test_a_large_tensor_is_looked_at_around_its_worst_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_module, "HELD_ELEMENTS", 1024)
    monkeypatch.setattr(pair_reader, "PIECE_ELEMENTS", 300)
    golden = values_of(4, 100, 64)
    target = golden.copy()
    target[2, 50:58] *= np.float32(-1.0)
    closeup = look_at(run(tmp_path, {"a": (golden, target)}), "a")
    assert closeup.remarks == () and closeup.facts is not None and closeup.facts.differing_count == 8 * 64
    assert closeup.looked_at.startswith("[2, ") and names(closeup)[0] == "sign flip"
    largest = np.unravel_index(np.abs(golden - target).argmax(), golden.shape)
    assert closeup.facts.worst[0].index == tuple(int(one) for one in largest)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_tensors(tmp_path: Path) -> None:
    """Two tensors of 2 GB each, of holes: what is held stays below 1 GiB."""
    import subprocess
    import sys

    count = 2**29
    for side in ("golden", "target"):
        path = tmp_path / side / "a.npy"
        path.parent.mkdir()
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count // 4096, 4096)})
            end = file.tell() + 4 * count
            if side == "target":
                file.seek(end - 4)
                file.write(np.float32(1.0).tobytes())
            file.truncate(end)
    compare(tmp_path / "golden", tmp_path / "target", options=CompareOptions(output=str(tmp_path / "report"), executor="threads"))
    program = (
        "import sys\nfrom fastcmp.closeup.look import look\nfrom fastcmp.results.saved import load_saved\n"
        "found = look(load_saved(sys.argv[1]), 0)\nassert found.facts.worst[0].index == (131071, 4095), found\n"
        # Not ru_maxrss: that begins with what the process that started this one had.
        "print(next(int(line.split()[1]) >> 10 for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "report")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1024


@pytest.mark.parametrize(
    ("facts", "remark"),
    [
        ({"scan": 5}, ""), ({"scan": {"roots": 5}}, "had roots 5, which none can have"), ({"scan": {"roots": "/"}}, "had roots /, which"),
        ({"scan": {"roots": [5]}}, "had roots"), ({"scan": {"roots": ["\0"]}}, "had roots"), ({"scan": {"roots": ["\ud800"]}}, "had roots"),
        ({"scan": {"multi_record": [1]}}, "multi_record: expected one of"), ({"relative_floor": "x"}, "had relative_floor x, which"),
        ({"relative_floor": None}, "had relative_floor None"), ({"relative_floor": -1}, "expected a number, 0 or more"),
        ({"scale": [1]}, "had scale"), ({"scale": 0}, "expected what one integer step is worth"), ({"mask_fill": 3}, "had mask_fill 3, which"),
    ],
)  # fmt: skip
def test_options_that_no_run_had_are_a_remark(facts: dict[str, Any], remark: str, tmp_path: Path) -> None:
    report = load_saved(run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8))}))
    odd = replace(report, facts={**report.facts, "options": {**report.facts["options"], **facts}})
    remarks = look(odd, 0).remarks
    assert len(remarks) == bool(remark) and all(remark in one and "\n" not in one for one in remarks)


@pytest.mark.parametrize(
    ("facts", "remark"),
    [
        ({"working_directory": "\0"}, "had working_directory"), ({"working_directory": 5}, "had working_directory 5, which"),
        ({"golden": "\0"}, "embedded null byte"), ({"golden": 5}, "no run.json that names its inputs"), ({"options": 5}, ""),
        ({"finished_at": "2020-01-01"}, ""), ({"finished_at": 10**20}, ""),
    ],
)  # fmt: skip
def test_facts_that_no_run_writes_are_a_remark(facts: dict[str, Any], remark: str, tmp_path: Path) -> None:
    report = load_saved(run(tmp_path, {"a": (values_of(4, 8), values_of(4, 8))}))
    remarks = look(replace(report, facts={**report.facts, **facts}), 0).remarks
    assert len(remarks) == bool(remark) and all(remark in one for one in remarks)
