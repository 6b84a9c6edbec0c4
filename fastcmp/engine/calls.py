"""The two calls that the parent sends to workers. Naming them must not import numba: 0.3 s, and the parent needs none of it."""

from __future__ import annotations

from fastcmp.outcome import TaskResult
from fastcmp.plan import Task


def compare(task: Task, mapped: bool) -> TaskResult:
    """`fastcmp.engine.compare_items.run_task`, imported where it runs."""
    from fastcmp.engine.compare_items import run_task

    return run_task(task, mapped=mapped)


def prepare(dtype_pairs: list[tuple[str, str]]) -> None:
    """`fastcmp.engine.compare_items.prepare`, imported where it runs."""
    from fastcmp.engine import compare_items

    compare_items.prepare(dtype_pairs)
