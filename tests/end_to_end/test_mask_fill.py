"""``--mask-fill``: masks of another kind pass, are noted with their number, and hide nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastcmp
from fastcmp.cli.main import main
from fastcmp.kernels import masks
from fastcmp.options import CompareOptions
from fastcmp.result import Result

FLOAT32_LEAST, FLOAT16_LEAST = np.finfo(np.float32).min, np.finfo(np.float16).min


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Attention scores under a causal mask, filled in several ways."""
    root = tmp_path_factory.mktemp("masks")
    scores = np.random.default_rng(0).standard_normal((2, 64, 64)).astype(np.float32)
    hidden = np.broadcast_to(np.triu(np.ones((64, 64), bool), 1), scores.shape)
    infinite, finite = np.where(hidden, -np.inf, scores), np.where(hidden, FLOAT32_LEAST, scores).astype(np.float32)
    half = np.where(hidden, FLOAT16_LEAST, scores).astype(np.float16)
    wrong = finite.copy()
    wrong[1, 3, 9] = 0.5  # a position that should be masked
    brain = np.where(hidden, float(ml_dtypes.finfo(ml_dtypes.bfloat16).min), scores).astype(ml_dtypes.bfloat16).astype(np.float32)
    pairs = {
        "golden infinite": (infinite, finite), "target infinite": (half, infinite), "narrower": (infinite, half), "one wrong": (infinite, wrong),
        "turned": (infinite, np.asfortranarray(finite)), "brain": (infinite, brain), "same": (infinite, infinite), "plain": (scores, scores),
        "all masked": (np.full(8, -np.inf, np.float32), np.full(8, FLOAT32_LEAST, np.float32)),
        "large": (np.tile(infinite, (40, 1, 1)), np.tile(finite, (40, 1, 1))),
    }  # fmt: skip
    documents = []
    for number, role in enumerate(("golden", "acl")):
        (root / role).mkdir()
        for name, both in pairs.items():
            side = both[number]
            np.save(root / role / f"{name}.npy", side if side.dtype != np.float64 else side.astype(np.float32))
        (root / role / "metadata.json").write_text(json.dumps({name: {"0": f"./{name}.npy"} for name in pairs}))
        documents.append(str(root / role / "metadata.json"))
    (root / "acl" / "dtypes.json").write_text(json.dumps({"brain": {"0": "bfloat16"}}))
    return documents[0], documents[1]


def run(sides: tuple[str, str], output: Path, **changes: Any) -> Result:
    return fastcmp.compare(
        *sides, options=CompareOptions(**{"output": str(output), "executor": "serial", "kl": "all", "mask_fill": True, **changes})
    )


def by_name(result: Result) -> dict[str, dict[str, Any]]:
    return {row["data_id"]: row for row in result.table.to_pylist()}


HIDDEN = 2 * 64 * 63 // 2


@pytest.mark.parametrize(
    ("name", "count", "verdict", "mismatches"),
    [
        ("golden infinite", HIDDEN, "pass", 0), ("target infinite", HIDDEN, "pass", 0), ("narrower", HIDDEN, "pass", 0),
        ("one wrong", HIDDEN - 1, "fail", 1), ("turned", HIDDEN, "pass", 0), ("brain", HIDDEN, "pass", 0), ("same", 0, "pass", 0),
        ("plain", 0, "pass", 0), ("all masked", 8, "pass", 0), ("large", 40 * HIDDEN, "pass", 0),
    ],
)  # fmt: skip
def test_a_mask_passes_and_is_noted(
    sides: tuple[str, str],
    tmp_path: Path,
    cut_into_pieces: Callable[[int], None],
    name: str,
    count: int,
    verdict: str,
    mismatches: int,
) -> None:
    cut_into_pieces(4096 * 4 * 4)  # of the large pair many
    row, before = by_name(run(sides, tmp_path / "on"))[name], by_name(run(sides, tmp_path / "off", mask_fill=False))[name]
    assert (row["verdict"], row["nonfinite_mismatch_count"]) == (verdict, mismatches)
    note = f"mask: minus infinity meets the most negative number at {count} positions, no mismatch by --mask-fill"
    assert (note in row["notes"]) == bool(count) and ("mask:" in row["notes"]) == bool(count)
    # Off, every one of them is a mismatch. Nothing else moves, whether on or off.
    assert before["nonfinite_mismatch_count"] == count + mismatches and "mask:" not in before["notes"]
    changed = {column for column in row if row[column] != before[column] and row[column] == row[column]}
    assert changed <= {"nonfinite_mismatch_count", "notes", "verdict", "verdict_reason"}


def test_the_report_is_the_same_bytes_for_any_executor(sides: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(sides, tmp_path / "serial")
    run(sides, tmp_path / "local", executor="local", workers=2)
    run(sides, tmp_path / "threads", executor="threads", workers=2)
    reports = {(tmp_path / name / "cmp_report.csv").read_bytes() for name in ("serial", "local", "threads")}
    assert len(reports) == 1 and b"no mismatch by --mask-fill" in reports.pop()


def test_it_costs_nothing_when_off_nor_where_nothing_is_infinite(
    sides: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def widen(*arguments: Any) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr(masks, "widen", widen)
    assert run(sides, tmp_path / "off", mask_fill=False).totals.errors == 0
    assert run(sides, tmp_path / "plain", include=("plain", "same")).totals.passed == 2
    assert run(sides, tmp_path / "on", include=("narrower",)).totals.errors == 1


def test_the_command_takes_it_and_run_json_has_it(sides: tuple[str, str], tmp_path: Path) -> None:
    arguments = ["compare", *sides, "-o", str(tmp_path), "--executor", "serial", "-q", "--exclude", "one wrong"]
    assert main(arguments) == 1
    assert main([*arguments, "--mask-fill"]) == 0
    assert json.loads((tmp_path / "run.json").read_text())["options"]["mask_fill"] is True
