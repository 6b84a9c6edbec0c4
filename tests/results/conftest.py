"""A small run made by hand: pairs, the outcome of a task, metrics as `fastcmp.metrics.finish` gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fastcmp.outcome import TaskResult, TensorFacts
from fastcmp.pairing import Pair
from fastcmp.results.schema import BY_NAME, METRIC_NAMES
from fastcmp.results.table import record_batch
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.verdict import Rules


def make_pair(row: int, data_id: str, token_id: str = "0", golden: bool = True, target: bool = True, path: str = "") -> Pair:
    key = TensorKey("", data_id, token_id)
    sides = [NamedTensor(key, path or f"/{role}/{row}.npy", f"/{role}/{row}.npy") for role in ("g", "a")]
    return Pair(row, key, sides[0] if golden else None, sides[1] if target else None, "data_id", row)


def make_metrics(count: int, **columns: Any) -> dict[str, Any]:
    """Metrics of ``count`` equal pairs, with the given columns instead."""
    metrics: dict[str, Any] = {}
    for name in METRIC_NAMES:
        kind = BY_NAME[name].arrow_type
        metrics[name] = [(0, 1)] * count if kind == "string" else np.zeros(count, np.int64 if kind == "int64" else np.float64)
    metrics["element_count"] = np.full(count, 6)
    metrics["cosine_similarity"] = np.ones(count)
    return {**metrics, **columns}


def make_result(rows: list[int], golden_dtype: str = "float32", target_dtype: str = "float32") -> TaskResult:
    count = len(rows)
    return TaskResult(
        0,
        rows,
        [TensorFacts(golden_dtype, (2, 3), 24) for _ in rows],
        [TensorFacts(target_dtype, (2, 3), 24) for _ in rows],
        [""] * count,
        [""] * count,
        [""] * count,
        [()] * count,
        None,
        [1] * count,
    )


@pytest.fixture
def batch_of() -> Callable[..., pa.RecordBatch]:
    """Record batch of compared pairs with these data_ids, rows counted from ``first``."""

    def build(data_ids: list[str], first: int = 0, **columns: Any) -> pa.RecordBatch:
        rows = list(range(first, first + len(data_ids)))
        pairs: Any = {row: make_pair(row, data_id) for row, data_id in zip(rows, data_ids, strict=True)}
        return record_batch(make_result(rows), pairs, make_metrics(len(rows), **columns), Rules())

    return build


@pytest.fixture
def parts() -> dict[str, Callable[..., Any]]:
    """The makers above, for tests that need them apart."""
    return {"pair": make_pair, "metrics": make_metrics, "result": make_result}
