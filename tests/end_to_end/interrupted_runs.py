"""Runs that end early, and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from noted import Notes

import fastcmp
from fastcmp.comparison import Comparison
from fastcmp.options import CompareOptions
from fastcmp.outcome import TaskResult
from fastcmp.progress import Silent
from fastcmp.result import Result

Sides = tuple[Path, Path]
SERIAL = CompareOptions(executor="serial", kl="none")


def run(sides: Sides, output: Path, notes: Silent | None = None, **changes: Any) -> Result:
    options = replace(SERIAL, output=str(output), **changes)
    return fastcmp.compare(*sides, options=options, progress=notes)


def stop_after(monkeypatch: pytest.MonkeyPatch, results: int) -> Callable[[], None]:
    """Have the next run end as by Ctrl-C after so many tasks; gives back what undoes it."""
    take, left = Comparison._take, [results]

    def taking(self: Comparison, result: TaskResult) -> None:
        take(self, result)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Comparison, "_take", taking)
    return lambda: monkeypatch.setattr(Comparison, "_take", take)


def interrupted(monkeypatch: pytest.MonkeyPatch, sides: Sides, output: Path, results: int = 3, **changes: Any) -> Notes:
    notes = Notes()
    undo = stop_after(monkeypatch, results)
    with pytest.raises(KeyboardInterrupt):
        run(sides, output, notes, **changes)
    undo()
    assert not (output / "cmp_report.csv").exists()
    return notes


def report(output: Path) -> tuple[bytes, bytes]:
    assert {path.name for path in output.iterdir()} <= {"cmp_report.csv", "cmp_report.arrow", "cmp_report.parquet", "run.json"}
    return (output / "cmp_report.csv").read_bytes(), (output / "cmp_report.arrow").read_bytes()
