"""A fault in one pair is that pair's alone, inputs stay as they are, and no name can break the report."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reliability_runs import TENSORS, Sides, report_lines, tree_state
from tries import examples, tries

from fastcmp.cli.main import main

SERIAL = ("--executor", "serial", "-q")


def damage(path: Path, chance: random.Random) -> str:
    """One of the things that happen to files, chosen by chance."""
    content = bytearray(path.read_bytes())
    kind = chance.choice(
        ["cut", "flip in the header", "flip", "empty", "remove", "other file", "text", "fifo", "loop", "directory", "twice"]
    )
    if kind in ("remove", "fifo", "loop", "directory"):
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "directory":
            path.mkdir()
        return kind
    if kind == "cut":
        content = content[: chance.randrange(len(content))]
    elif kind.startswith("flip"):
        at = chance.randrange(min(len(content), 128) if "header" in kind else len(content))
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "empty":
        content = bytearray()
    elif kind == "other file":
        content = bytearray(chance.choice([one for one in sorted(path.parent.glob("1*.npy")) if one.is_file()]).read_bytes())
    elif kind == "text":
        content = bytearray(b"$Version=1.0\n\x00\xff garbage" * 50)
    else:
        content *= 2
    path.write_bytes(content)
    return kind


def damage_pairs_by_chance(sides: Sides, tmp_path: Path, first: int, count: int, executors: tuple[str, ...]) -> int:
    assert main(["compare", *map(str, sides), "-o", str(tmp_path / "clean"), *SERIAL]) == 0
    clean = report_lines(tmp_path / "clean")
    hurt = 0
    for seed in range(first, first + count):
        chance = random.Random(seed)
        base = tmp_path / str(seed)
        copies = [Path(shutil.copytree(side.parent, base / side.parent.name)) for side in sides]
        victims = {}
        for number in chance.sample(range(12), chance.choice([1, 1, 2, 5])):
            (path,) = chance.choice(copies).joinpath(TENSORS).glob(f"{number}.*")
            victims[number] = damage(path, chance)
        before = tree_state(*copies)
        arguments = [str(copy / "metadata.json") for copy in copies]
        reports = []
        for executor in executors:
            output = base / executor
            assert main(["compare", *arguments, "-o", str(output), "--executor", executor, "-q", "-j", "2"]) in (0, 1, 2)
            rows = report_lines(output)
            changed = {number for number, (old, new) in enumerate(zip(clean, rows, strict=True)) if old != new}
            assert changed <= set(victims), (seed, victims, changed)
            hurt += len(changed)
            reports.append(rows)
        assert all(report == reports[0] for report in reports), (seed, victims)
        assert tree_state(*copies) == before, (seed, victims)
        shutil.rmtree(base)
    return hurt


def test_damage_to_some_pairs_changes_no_other_row(sides: Sides, tmp_path: Path) -> None:
    assert damage_pairs_by_chance(sides, tmp_path, 0, 20, ("serial", "threads")) >= 20


@pytest.mark.slow
def test_damage_to_some_pairs_changes_no_other_row_many_times(sides: Sides, tmp_path: Path) -> None:
    number = tries("DAMAGES", 100)
    hurt = damage_pairs_by_chance(sides, tmp_path, 1000, number, ("serial", "threads"))
    print(f"{number} dumps with damage, {hurt} rows of theirs differ")


# --- names -------------------------------------------------------------------------------------------------------------------------------

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
ODD_NAMES = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "x\ny", 'a"b', "a,b", "a;b", "'", "''=1", " =1", "=cmd|'/c calc'!A1", "a\0b", "\0",
    "..", ".", "/", "../../etc/passwd", "a/b", "a\\b", "", " ", "  x  ", "x" * 10_000, "é", "e\u0301", "層", "😀", "\ufeff=1", "\u202egnp.exe",
    "\u2028", "\x1b[31mred\x1b[0m", "\x85", "nan", "None", "True", "1e5", "0", "00", "{i}", "%s%n", "<script>alert(1)</script>", "a\udcffb",
    "\ud800", "\U0010ffff",
]  # fmt: skip


def assert_names_survive(names: list[str], base: Path) -> None:
    np.save(base / "x.npy", np.arange(6, dtype=np.float32))
    document = base / "metadata.json"
    document.write_text(json.dumps({name: {"0": "./x.npy"} for name in names}))
    output = base / "report"
    assert main(["compare", str(document), str(document), "-o", str(output), *SERIAL]) == 0
    with pa.ipc.open_file(output / "cmp_report.arrow") as reader:
        stored = reader.read_all().column("data_id").to_pylist()
    assert len(stored) == len(names)
    for name, cell in zip(names, stored, strict=True):
        visible = "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
        assert cell == name or any(0xD800 <= ord(c) <= 0xDFFF for c in name), (name, cell)
        if all(not 0xD800 <= ord(c) <= 0xDFFF for c in visible):
            assert cell == visible
    with open(output / "cmp_report.csv", newline="", encoding="utf-8") as file:
        shown = [row[1] for row in csv.reader((line for line in file), strict=True)][1:]
    for cell, text in zip(shown, stored, strict=True):
        assert cell == (f"'{text}" if text.startswith(DANGEROUS) or "\0" in text else text)
    shutil.rmtree(output)


def test_odd_names_survive_both_forms_of_the_report(tmp_path: Path) -> None:
    assert_names_survive(ODD_NAMES, tmp_path)


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.text(st.characters(categories=None), max_size=30), min_size=20, max_size=60, unique=True))
def test_any_names_survive_both_forms_of_the_report(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    assert_names_survive(names, tmp_path_factory.mktemp("names"))


@pytest.mark.slow
@settings(max_examples=examples(tries("NAME_LISTS", 150)), deadline=None)
@given(st.lists(st.text(st.characters(categories=None), max_size=60), min_size=100, max_size=300, unique=True))
def test_many_names_survive_both_forms_of_the_report(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    assert_names_survive(names, tmp_path_factory.mktemp("names"))
