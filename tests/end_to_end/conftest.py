"""What runs that are interrupted are watched by."""

from __future__ import annotations

from typing import Any

import pytest

from fastcmp.engine import compare_items
from fastcmp.outcome import TaskResult
from fastcmp.plan import Task


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tasks beyond those that are on their way when a run is ended."""
    monkeypatch.setattr("fastcmp.plan.BATCH_COUNT", 4)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that a serial run really compares, as it goes."""
    rows: list[int] = []
    whole = compare_items.run_task

    def counting(task: Task, **options: Any) -> TaskResult:
        result = whole(task, **options)
        rows.extend(result.rows)
        return result

    monkeypatch.setattr(compare_items, "run_task", counting)
    return rows
