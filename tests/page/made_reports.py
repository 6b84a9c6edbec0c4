"""Reports of any size, made up: errors that grow along the layers and jump at one layer and token, and one row of every other kind."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fastcmp.results.schema import COLUMNS, arrow_schema

OPERATIONS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp.up_proj", "mlp")
HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned = 1">',
    "<!--<script>",
    "]]>&lt;b&gt;&amp;",
    "$$\\href{javascript:window.pwned=1}{x}$$",
    "a\u202ecod.exe\u2066\u200b",
    "\x00\x1b[31m\n\r\t\u2028",
    "'; window.pwned = 1; '",
    "{{ pwned }} ${window.pwned=1} @{pwned}",
    "x" * 5000,
)
COMPARED_ONLY = [column.name for column in COLUMNS if column.arrow_type in ("float64", "int64")]


def made_report(layers: int, tokens: int, ranks: int = 1, *, seed: int = 1) -> pa.Table:
    """A report of so many pairs in report order; with more than 20 layers, some rows that were not compared and one alone."""
    random = np.random.default_rng(seed)
    count = layers * tokens * ranks
    at = np.arange(count)
    layer, token, rank = at // tokens % layers, at % tokens, at // (layers * tokens)
    names = [f"model.layers.{i // 5}.{OPERATIONS[i % 5]}" for i in range(layers)]
    has_failed = (layer >= layers * 0.6) & (token >= tokens * 0.4)
    distance = 0.0016 * (1 + 4 * layer / layers) * np.exp(random.normal(0, 0.1, count))
    distance = np.where(has_failed, np.minimum(distance * 60, 1.2), distance)
    distance[layer == 0] = 0.0
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        if column.arrow_type == "float64":
            columns[column.name] = (distance + 0.01) * np.exp(random.normal(0, 1, count))
        elif column.arrow_type == "int64":
            columns[column.name] = random.integers(0, 5000, count)
        else:
            columns[column.name] = [""] * count
    columns |= {
        "token_id": [str(i) for i in token.tolist()],
        "data_id": [names[i] for i in layer.tolist()],
        "rank": [str(i) if ranks > 1 else "" for i in rank.tolist()],
        "relative_euclidean_distance": distance,
        "rounding_floor": 0.0016 * np.exp(random.normal(0, 0.02, count)),
        "cosine_similarity": 1 - distance**2 / 2,
        "nonfinite_mismatch_count": np.zeros(count, np.int64),
        "cmp_flag": np.ones(count, bool),
        "verdict": ["fail" if one else "pass" for one in has_failed.tolist()],
        "verdict_reason": [
            f"relative_euclidean_distance {d:.3g} > 0.05 (rule: default bfloat16)" if one else ""
            for d, one in zip(distance, has_failed, strict=True)
        ],
        "golden_dtype": ["float32"] * count,
        "acl_dtype": ["bfloat16"] * count,
        "golden_shape": ["(1, 17, 4096)"] * count,
        "acl_shape": ["(1, 17, 4096)"] * count,
        "pair_rule": ["key"] * count,
        **{
            f"{side}_data_path": [
                f"./7_cmp_dump_data/{side}_tensor/{t}/{names[n]}_tensor.npy" for t, n in zip(token.tolist(), layer.tolist(), strict=True)
            ]
            for side in ("golden", "acl")
        },
    }
    table = pa.table({name: pa.array(values, arrow_schema().field(name).type) for name, values in columns.items()}, schema=arrow_schema())
    if layers <= 20:
        return table
    odd = {
        3 * tokens: {
            "nonfinite_mismatch_count": 3,
            "verdict": "fail",
            "verdict_reason": "nonfinite_mismatch_count 3 > 0 (rule: non-finite)",
        },
        5 * tokens: uncompared("error", "not compared [E_TRUNCATED]", "the file ends early [E_TRUNCATED]"),
        7 * tokens + 1: {
            **uncompared("fail", "only golden has this tensor [E_UNPAIRED]", "acl_data_path is not exist. [E_UNPAIRED]"),
            "acl_data_path": None,
        },
        9 * tokens: {"relative_euclidean_distance": float("inf")},
    }
    return with_rows(table, odd)


def uncompared(verdict: str, reason: str, failure: str) -> dict[str, Any]:
    """What distinguishes a row without metrics."""
    return {
        **dict.fromkeys(COMPARED_ONLY),
        "cmp_flag": False,
        "verdict": verdict,
        "verdict_reason": reason,
        "cmp_fail_reason": failure,
    }


def with_rows(table: pa.Table, changes: dict[int, dict[str, Any]]) -> pa.Table:
    """The table with some cells changed, by row."""
    names = {name for change in changes.values() for name in change}
    columns = []
    for field in table.schema:
        column = table.column(field.name)
        if field.name in names:
            values = column.to_pylist()
            for row, change in changes.items():
                values[row] = change.get(field.name, values[row])
            column = pa.array(values, field.type)
        columns.append(column)
    return pa.table(columns, schema=table.schema)


def hostile_report() -> pa.Table:
    """Every name, path and reason in it tries to be something else."""
    count = len(HOSTILE)
    table = made_report(count, 3, 2)
    # Verdicts and dtypes are of closed lists, shapes are numbers; a report with others is none.
    own = ("token_id", "data_id", "rank", "verdict", "golden_dtype", "acl_dtype", "golden_shape", "acl_shape")
    texts = [column.name for column in COLUMNS if column.arrow_type == "string" and column.name not in own]
    changes: dict[int, dict[str, Any]] = {}
    for row in range(table.num_rows):
        name = HOSTILE[row // 3 % count]
        changes[row] = {**dict.fromkeys(texts, name), "data_id": name, "token_id": HOSTILE[row % 3], "rank": HOSTILE[row // (3 * count)]}
    return with_rows(table, changes)


def save_report(table: pa.Table, directory: Path, **facts: Any) -> Path:
    """Write it as a comparison would have left it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "cmp_report.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    content = path.read_bytes()
    sums = {path.name: {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}}
    facts = {"golden": "golden/metadata.json", "target": "target/metadata.json", "options": {"thresholds": []}, **facts, "files": sums}
    (directory / "run.json").write_text(json.dumps(facts))
    return directory
