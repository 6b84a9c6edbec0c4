"""docs/pairing.md: its commands print what stands there, its rules are rules, its numbers are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from fastcmp.options import PairWay
from fastcmp.pairing import content
from fastcmp.pairing.map_files import load_maps

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "pairing.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_worked_example_runs_and_prints_what_stands_there() -> None:
    command = [sys.executable, "-X", "utf8", str(ROOT / "docs" / "make_guide.py"), "--check", str(PAGE)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_map_of_the_page_is_one(tmp_path: Path) -> None:
    blocks = re.findall(r"^```text\n(# \w+\.map\n.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / "m.map").write_text(block, encoding="utf-8")
        assert len(load_maps([str(tmp_path / "m.map")])) == 2


def test_every_way_and_every_bound_stands_on_the_page() -> None:
    assert all(f"`{way}`" in TEXT for way in get_args(PairWay))
    for number in (content.FLOOR, content.SAMPLED_ELEMENTS, content.MOST_OF_A_SHAPE, content.LEAST_ELEMENTS):
        assert f" {number} " in TEXT or f" {number}," in TEXT, number
    assert content.MARGIN == 4 and "four times as far" in TEXT
