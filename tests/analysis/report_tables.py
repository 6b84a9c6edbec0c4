"""Report tables made by hand: one `row` for each pair, everything else as an equal pair has it."""

from __future__ import annotations

import math
import zlib
from typing import Any

import pyarrow as pa

from fastcmp.analysis.story import find_story
from fastcmp.analysis.words import tell
from fastcmp.results.schema import COLUMNS, arrow_schema

TOKENS = ("0", "1", "2", "3")
OPERATIONS = ("norm", "attn", "mlp")
# Of target alone.
NAN = {"nonfinite_mismatch_count": 3, "golden_nan_count": 0, "target_nan_count": 3, "mismatch_count": 3, "verdict": "fail"}
_EMPTY: dict[str, Any] = {"string": "", "bool": True, "float64": 0.0, "int64": 0}


def row(data_id: str, token: str = "0", error: float = 0.0, **values: Any) -> dict[str, Any]:
    """A compared pair, float32 against bfloat16, whose relative_euclidean_distance is ``error``; it fails above 0.05."""
    cells: dict[str, Any] = {column.name: _EMPTY[column.arrow_type] for column in COLUMNS}
    cells |= {
        "data_id": data_id, "token_id": token, "golden_dtype": "float32", "acl_dtype": "bfloat16", "element_count": 64,
        "golden_data_path": f"g/{data_id}", "acl_data_path": f"a/{data_id}", "relative_euclidean_distance": error,
        "signal_to_noise_db": math.inf if error == 0 else -20 * math.log10(error), "mismatch_count": int(error > 0),
        "verdict": "fail" if error > 0.05 else "pass", "rounding_floor": 0.0017,
        # Of no other row, unless a test says so.
        "golden_max_value": zlib.crc32(f"{data_id} {token}".encode()) % 1_000_003 + 1.0, "golden_min_value": -1.0, "golden_mean_value": 0.5,
    }  # fmt: skip
    cells |= {f"acl_{name}_value": cells[f"golden_{name}_value"] + error for name in ("max", "min", "mean")}
    return {**cells, **values}


def ids(data_id: str, token: str = "0", *, golden: int = 5, target: int = 5, **values: Any) -> dict[str, Any]:
    """A pair of one token id each."""
    differs = golden != target
    given: dict[str, Any] = {
        "golden_dtype": "int64", "acl_dtype": "int64", "element_count": 1, "mismatch_count": int(differs), "rounding_floor": None,
        "verdict": "fail" if differs else "pass", "max_absolute_error_golden": float(golden), "max_absolute_error_target": float(target),
    }  # fmt: skip
    return row(data_id, token, error=0.3 if differs else 0.0, **{**given, **values})


def unread(data_id: str, token: str = "0", **values: Any) -> dict[str, Any]:
    """A pair that could not be compared."""
    nothing = {column.name: None for column in COLUMNS if column.group in ("metric", "successor") or column.arrow_type == "float64"}
    given = {"cmp_flag": False, "verdict": "error", "verdict_reason": "not compared [E_TRUNCATED]"}
    return row(data_id, token, **{**nothing, **given, **values})


def alone(data_id: str, token: str = "0") -> dict[str, Any]:
    """A tensor that only golden has."""
    reason = "only golden has this tensor [E_UNPAIRED]"
    return unread(data_id, token, verdict="fail", verdict_reason=reason, cmp_fail_reason=reason, acl_data_path=None, acl_dtype=None)


def table_of(*rows: dict[str, Any]) -> pa.Table:
    """The rows as a report table, in the order of a report: rank, then first appearance of the data_id, then the token."""
    appearance = {name: number for number, name in enumerate(dict.fromkeys(cells["data_id"] for cells in rows))}
    ordered = sorted(rows, key=lambda cells: (cells["rank"], appearance[cells["data_id"]], len(cells["token_id"]), cells["token_id"]))
    return pa.Table.from_pylist(ordered, schema=arrow_schema())


def words_of(*rows: dict[str, Any], **keywords: Any) -> list[str]:
    return tell(find_story(table_of(*rows), **keywords))


def model(layers: int = 4, error: float = 0.002, growth: float = 0.0004, **changed: float) -> list[dict[str, Any]]:
    """Outputs of a model whose error grows as rounding does; ``changed`` has other errors, by ``layer_operation_token``."""
    rows = []
    for token in TOKENS:
        for layer in range(layers):
            for operation in OPERATIONS:
                key = f"l{layer}_{operation}_{token}"
                rows.append(row(f"layers.{layer}.{operation}", token, changed.get(key, error + growth * layer)))
    return rows
