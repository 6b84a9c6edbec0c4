"""Names that differ between the sides, from the command line to the report and what reads it: resume, show, watch, compare-reports."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noted import Notes

import fastcmp
from fastcmp import watching
from fastcmp.cli.main import main
from fastcmp.closeup.look import look
from fastcmp.engine import compare_items
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.outcome import TaskResult
from fastcmp.plan import Task
from fastcmp.results.saved import load_saved
from fastcmp.watching import watch

LAYERS = 4
MODULES = {"self_attn.o_proj": "1_Attention/0_LinearOperation", "mlp.down_proj": "4_Mlp/0_LinearOperation"}
SERIAL = CompareOptions(executor="serial", kl="none")
MAP = "root.model.layers.{n:int}.{op:**}/output -> {n}_Layer/{op}\n"


def values(layer: int, number: int, token: int, noise: float = 0.0) -> np.ndarray:
    made = np.random.default_rng(1000 * layer + 10 * number + token).standard_normal((4, 64)).astype(np.float32)
    return made * np.float32(1 + noise)


def write(root: Path, named: Callable[[int, str], str], tokens: range, noise: float = 0.0, first: int = 0) -> Path:
    """A side whose tensors are named by a function; the n-th token holds the values of token n in any case."""
    root.mkdir(parents=True, exist_ok=True)
    document: dict[str, dict[str, str]] = {}
    for layer in range(LAYERS):
        for number, module in enumerate(MODULES):
            for place, token in enumerate(tokens):
                name = f"{layer}_{number}_{token}.npy"
                np.save(root / name, values(layer, number, first + place, noise))
                document.setdefault(named(layer, module), {})[str(token)] = name
    (root / "metadata.json").write_text(json.dumps(document))
    return root / "metadata.json"


def torch_name(layer: int, module: str) -> str:
    return f"root.model.layers.{layer}.{module}/output"


def short_name(layer: int, module: str) -> str:
    return f"{layer}_Layer/{module}"


def library_name(layer: int, module: str) -> str:
    return f"{layer}_DecoderLayer/{MODULES[module]}/after/outtensor0"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return write(tmp_path / "golden", torch_name, range(3))


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output / "cmp_report.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fastcmp", *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_a_map_on_the_command_line_pairs_all_and_names_its_rule(golden: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "target", short_name, range(1, 4), 1e-6)
    (tmp_path / "m.map").write_text(f"# torch to ours\n{MAP}")
    output = tmp_path / "r"
    done = run("compare", golden, target, "-o", output, "--map", tmp_path / "m.map", "--token-offset", "1", "-j", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(output)
    assert {row["pair_rule"] for row in rows} == {"map:2"}
    assert [(row["data_id"], row["token_id"], row["golden_data_path"], row["acl_data_path"]) for row in rows] == [
        (torch_name(layer, module), str(token), f"{layer}_{number}_{token}.npy", f"{layer}_{number}_{token + 1}.npy")
        for layer in range(LAYERS)
        for number, module in enumerate(MODULES)
        for token in range(3)
    ]


@pytest.mark.parametrize("ways", ["ops", "content", "position", "key,ops"])
def test_each_way_on_the_command_line(ways: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = write(tmp_path / "target", library_name, range(3), 1e-6)
    output = tmp_path / "r"
    arguments = ["compare", str(golden), str(target), "-o", str(output), "--pair-by", ways, "--executor", "serial"]
    assert main(arguments) == 0, capsys.readouterr()
    said = f"not by equal names: {LAYERS * len(MODULES) * 3} pairs by {ways.rpartition(',')[2]}; pair_rule says which"
    assert said in capsys.readouterr().out
    assert main(["show", str(output)]) == 0 and said in capsys.readouterr().out
    rows = rows_of(output)
    assert {row["pair_rule"] for row in rows} == {ways.rpartition(",")[2]}
    assert all(row["golden_data_path"] == row["acl_data_path"] for row in rows)
    assert len(rows) == LAYERS * len(MODULES) * 3
    notes = {row["notes"][:46] for row in rows}
    assert notes == ({"paired by content: cosine 1 over 256 elements;"[:46]} if ways == "content" else {""})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pair-by", "key,name"], "--pair-by: expected one of key, md5, ops, position, content, got 'name'"),
        (["--pair-by", "key,key"], "--pair-by 'key,key': expected one or several of key, md5, ops, position, content, each once"),
        (["--pair-by", ","], "--pair-by '': expected one or several of"),
        (["--token-offset", "10000000000"], "--token-offset 10000000000: expected a whole number, -1000000000 to 1000000000"),
        (["--map", "nowhere.map"], "nowhere.map: cannot be read: No such file or directory; name a file of rules for --map"),
        (["--watch", "--pair-by", "content"], "--pair-by content: reads tensors, which --watch sees half written"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    arguments: list[str], message: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(golden), str(golden), "-o", str(tmp_path / "r"), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_warnings_reach_the_user_and_run_json(golden: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "target", torch_name, range(1, 4), first=0)
    result = fastcmp.compare(golden, target, options=replace(SERIAL, output=str(tmp_path / "r")))
    said = "16 tokens pair, with --token-offset 1 24 would, all that can: does one side count its tokens from another number?"
    assert result.warnings == (said,)
    assert json.loads((tmp_path / "r" / "run.json").read_text())["warnings"] == [said]
    alone = [row for row in rows_of(tmp_path / "r") if row["token_id"] == "3"]
    assert alone[0]["cmp_fail_reason"] == (
        "golden_data_path is not exist. only target has data_id root.model.layers.0.self_attn.o_proj/output, token_id 3; "
        "golden has this name at token_id 0, 1, 2; dump it on the other side, pair it by --map, or --allow-unpaired [E_UNPAIRED]"
    )


def test_a_row_that_stands_alone_names_the_nearest(tmp_path: Path) -> None:
    golden = write(tmp_path / "golden", torch_name, range(1))
    target = write(tmp_path / "target", lambda layer, module: torch_name(layer, module).replace("down", "up"), range(1))
    fastcmp.compare(golden, target, options=replace(SERIAL, output=str(tmp_path / "r")))
    reasons = {row["data_id"]: row["cmp_fail_reason"] for row in rows_of(tmp_path / "r") if row["cmp_fail_reason"]}
    assert reasons["root.model.layers.2.mlp.down_proj/output"] == (
        "acl_data_path is not exist. only golden has data_id root.model.layers.2.mlp.down_proj/output, token_id 0; "
        "nearest on the other side: root.model.layers.2.mlp.up_proj/output; dump it on the other side, pair it by --map, or --allow-unpaired [E_UNPAIRED]"
    )


def test_a_run_that_was_ended_goes_on_with_the_same_map(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write(tmp_path / "target", short_name, range(3), 1e-6)
    path = tmp_path / "m.map"
    path.write_text(MAP)
    options = replace(SERIAL, output=str(tmp_path / "r"), maps=(str(path),))
    fastcmp.compare(golden, target, options=replace(options, output=str(tmp_path / "whole")))
    monkeypatch.setattr("fastcmp.plan.BATCH_COUNT", 4)

    def end_after(count: int, options: CompareOptions) -> None:
        left = [count]
        whole = compare_items.run_task

        def some(task: Task, **more: Any) -> TaskResult:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return whole(task, **more)

        with monkeypatch.context() as patch:
            patch.setattr(compare_items, "run_task", some)
            with pytest.raises(KeyboardInterrupt):
                fastcmp.compare(golden, target, options=options)

    end_after(3, options)
    shown = look(load_saved(str(tmp_path / "r")), 0)
    assert shown.facts is not None, "one pair of a run without an end can be looked at"
    result = fastcmp.compare(golden, target, options=options)
    assert result.totals.resumed > 0
    assert (tmp_path / "r" / "cmp_report.csv").read_bytes() == (tmp_path / "whole" / "cmp_report.csv").read_bytes()
    again = replace(options, output=str(tmp_path / "again"))
    end_after(3, again)
    path.write_text(f"# another\n{MAP}")
    notes = Notes()
    changed = fastcmp.compare(golden, target, options=again, progress=notes)
    assert changed.totals.resumed == 0
    assert any("do not fit, it had maps [" in note for note in notes.said)
    assert {row["pair_rule"] for row in rows_of(tmp_path / "again")} == {"map:2"}


def test_show_finds_the_pair_that_a_rule_made_though_the_map_is_gone(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = write(tmp_path / "target", short_name, range(1, 4), 0.5)
    path = tmp_path / "m.map"
    path.write_text(MAP)
    output = str(tmp_path / "r")
    fastcmp.compare(golden, target, options=replace(SERIAL, output=output, maps=(str(path),), token_offset=1))
    path.unlink()
    assert main(["show", output, torch_name(2, "mlp.down_proj"), "1"]) == 0
    text = capsys.readouterr().out
    assert "2_1_1.npy" in text and "2_1_2.npy" in text and "paired by map:1" in text
    report = load_saved(output)
    for row in range(report.table.num_rows):
        closeup = look(report, row)
        assert closeup.facts is not None and not closeup.remarks
        assert closeup.target is not None and closeup.target.path.endswith(report.table.column("acl_data_path")[row].as_py())


def test_show_of_rows_that_stand_alone_and_were_renamed(tmp_path: Path) -> None:
    golden = write(tmp_path / "golden", lambda layer, module: f"{layer}.{module}", range(1))
    target = write(tmp_path / "target", lambda layer, module: f"{(layer + 1) % LAYERS}.{module}", range(1))
    (tmp_path / "m.map").write_text("0.mlp.down_proj -> 1.mlp.down_proj\n")
    output = str(tmp_path / "r")
    fastcmp.compare(golden, target, options=replace(SERIAL, output=output, maps=(str(tmp_path / "m.map"),)))
    report = load_saved(output)
    names = report.table.column("data_id").to_pylist()
    assert "0.mlp.down_proj#" in names
    closeup = look(report, names.index("0.mlp.down_proj#"))
    assert not closeup.remarks
    assert closeup.target is not None and closeup.golden is None


def test_a_report_by_another_map_is_compared_by_goldens_names(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapped = write(tmp_path / "target", short_name, range(3), 1e-6)
    same = write(tmp_path / "same", torch_name, range(3), 1e-6)
    (tmp_path / "m.map").write_text(MAP)
    fastcmp.compare(golden, same, options=replace(SERIAL, output=str(tmp_path / "old")))
    fastcmp.compare(golden, mapped, options=replace(SERIAL, output=str(tmp_path / "new"), maps=(str(tmp_path / "m.map"),)))
    assert main(["compare-reports", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    text = capsys.readouterr().out
    assert "24" in text


def test_watching_pairs_by_a_map_while_the_dumps_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SETTLED_S", 0.15)
    monkeypatch.setattr(watching, "_POLL_S", 0.05)
    (tmp_path / "m.map").write_text(MAP)
    options = replace(SERIAL, output=str(tmp_path / "r"), maps=(str(tmp_path / "m.map"),))
    golden, target = tmp_path / "golden" / "metadata.json", tmp_path / "target" / "metadata.json"
    write(golden.parent, torch_name, range(1))
    stop, found = threading.Event(), []
    thread = threading.Thread(target=lambda: found.append(watch(golden, target, options=options, stop=stop)))
    thread.start()
    try:
        write(target.parent, short_name, range(1), 1e-6)
        for _ in range(400):
            if os.path.isdir(tmp_path / "r") and any(name.startswith("journal") for name in os.listdir(tmp_path / "r")):
                break
            stop.wait(0.05)
        write(golden.parent, torch_name, range(3))
        write(target.parent, short_name, range(3), 1e-6)
        stop.wait(0.5)
    finally:
        stop.set()
        thread.join(30)
    (result,) = found
    assert result.ok and result.totals.pairs == 24
    fastcmp.compare(golden, target, options=replace(options, output=str(tmp_path / "after")))
    assert (tmp_path / "r" / "cmp_report.csv").read_bytes() == (tmp_path / "after" / "cmp_report.csv").read_bytes()


def test_an_ambiguous_map_ends_before_a_report_is_begun(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "m.map").write_text("root.model.layers.{n}.{op:**}/output -> 0_Layer/{op}\n")
    target = write(tmp_path / "target", short_name, range(3))
    with pytest.raises(UsageError, match=r"m.map: line 1: golden .* are both '0_Layer/mlp.down_proj' of target"):
        fastcmp.compare(golden, target, options=replace(SERIAL, output=str(tmp_path / "r"), maps=(str(tmp_path / "m.map"),)))
    assert not (tmp_path / "r").exists()


def test_two_directories_pair_by_a_map_and_keep_their_paths(tmp_path: Path) -> None:
    for side, name in (("golden", "root.layers.{}.mlp/output.npy"), ("target", "blocks/b{}/result.npy")):
        for layer in range(3):
            path = tmp_path / side / name.format(layer)
            path.parent.mkdir(parents=True)
            np.save(path, values(layer, 0, 0))
    (tmp_path / "m.map").write_text("root.layers.{n}.mlp/output -> blocks/b{n}/result\n")
    result = fastcmp.compare(tmp_path / "golden", tmp_path / "target", output=tmp_path / "r", maps=[tmp_path / "m.map"], executor="serial")
    assert result.ok
    assert {row["pair_rule"] for row in rows_of(tmp_path / "r")} == {"map:1"}
    assert load_saved(str(tmp_path / "r")).run_order == "name"
