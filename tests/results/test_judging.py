"""Judged again from its columns, a row gets what a comparison by these rules would have given it, to the byte."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import fastcmp
from fastcmp.options import CompareOptions, Rule
from fastcmp.results.judging import judged_again
from fastcmp.results.text import parsed_shape, shape_text
from fastcmp.verdict import Rules

SERIAL = CompareOptions(executor="serial", kl="all")
RULES = [
    {},
    {"thresholds": ("cosine_similarity >= 0.9999999",)},
    {"thresholds": ("relative_euclidean_distance <= 1e-9", "kl_divergence < 1e-12", "worst_row_distance < 1e-5")},
    {"thresholds": ("mismatch_count == 0", "signal_to_noise_db > 80")},
    {"allow_unpaired": "golden"},
    {"allow_unpaired": "target", "thresholds": ("max_absolute_error < 1e-3",)},
    {"allow_unpaired": "both"},
    {"rules": (Rule(match=("*a*",), thresholds=("cosine_similarity >= 0.9999999",)), Rule(dtype=("int*",), off=("mismatch_count",)))},
    {
        "rules": (
            Rule(thresholds=("relative_euclidean_distance <= 1e-9",)),
            Rule(match=("odd\\ud800*", "far"), off=("relative_euclidean_distance",)),
            Rule(match=("integer*",), dtype=("float32", "int64"), thresholds=("max_absolute_error < 2",)),
        ),
        "thresholds": ("mismatch_count < 5",),
    },
]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Pairs of all kinds: close, far, not finite, empty, integers, shapes that differ, one-sided, missing, unreadable."""
    root = tmp_path_factory.mktemp("sides")
    rng = np.random.default_rng(3)
    base = rng.standard_normal((6, 70)).astype(np.float32)
    holed = base.copy()
    holed[1, 2] = np.nan
    pairs: dict[str, tuple[np.ndarray | bytes | None, np.ndarray | bytes | None]] = {
        "equal": (base, base),
        "close": (base, base * np.float32(1 + 3e-5)),
        "far": (base, base + 1),
        "half": (base, base.astype(np.float16)),
        "double": (base.astype(np.float64), base.astype(np.float64) * (1 + 1e-10)),
        "nan": (base, holed),
        "nan both": (holed, holed),
        "all nan": (np.full(4, np.nan, np.float32), np.full(4, np.nan, np.float32)),
        "empty": (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)),
        "scalar": (np.float32(2.0).reshape(()), np.float32(2.5).reshape(())),
        "integers": (np.arange(9), np.arange(9) + (np.arange(9) == 4)),
        "integer against float": (np.arange(9), np.arange(9).astype(np.float32)),
        "other shape": (base, base.reshape(70, 6)),
        "ones dropped": (base, base.reshape(6, 1, 70)),
        "other count": (base, base[:5]),
        "zeros": (np.zeros(8, np.float32), np.ones(8, np.float32)),
        "no tensor": (b"nothing", base),
        "gone": (base, None),
        "odd\ud800.x": (base, base + 1),
    }
    documents = []
    for number, role in enumerate(("golden", "acl")):
        folder = root / role
        folder.mkdir()
        named = {}
        for data_id, sides in pairs.items():
            content = sides[number]
            path = folder / f"{data_id.replace(chr(0xD800), '')}.npy"
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                np.save(path, content)
            named[data_id] = {"0": f"./{path.name}"}
        named[f"only {role}"] = {"0": "./equal.npy"}
        document = folder / "metadata.json"
        document.write_text(json.dumps(named))
        documents.append(str(document))
    return documents[0], documents[1]


@pytest.fixture(scope="module")
def tables(sides: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[pa.Table]:
    """What a comparison by each of the rules gives."""
    output = tmp_path_factory.mktemp("reports")
    return [
        fastcmp.compare(*sides, options=replace(SERIAL, output=str(output / str(number)), **changes)).table
        for number, changes in enumerate(RULES)
    ]


@pytest.mark.parametrize("before", range(len(RULES)))
@pytest.mark.parametrize("after", range(len(RULES)))
def test_judging_again_is_the_same_as_comparing_by_these_rules(tables: list[pa.Table], before: int, after: int) -> None:
    rules = Rules.from_options(replace(SERIAL, **RULES[after]))
    assert judged_again(tables[before], rules).equals(tables[after])
    assert len({tuple(table.column("verdict").to_pylist()) for table in tables}) >= 5


def test_a_rule_matches_a_name_as_the_report_shows_it(tables: list[pa.Table]) -> None:
    verdicts = dict(zip(tables[8].column("data_id").to_pylist(), tables[8].column("verdict_reason").to_pylist(), strict=True))
    assert verdicts["odd\\ud800.x"] == "mismatch_count 420 >= 5 (rule: --threshold)"
    assert verdicts["double"].startswith("relative_euclidean_distance 1e-10 <= 1e-09") or "mismatch_count" in verdicts["double"]


def test_a_batch_keeps_its_row_numbers_and_an_empty_one_is_fine(tables: list[pa.Table]) -> None:
    batch = tables[0].combine_chunks().to_batches()[0]
    numbered = batch.add_column(0, "row", pa.array(range(batch.num_rows), pa.int64()))
    rules = Rules.from_options(replace(SERIAL, **RULES[2]))
    assert judged_again(numbered, rules).drop_columns(["row"]) == judged_again(batch, rules)
    assert judged_again(batch.slice(0, 0), rules) == batch.slice(0, 0)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (1, 0, 7, 12345678901)])
def test_a_shape_is_read_as_it_was_written(shape: tuple[int, ...]) -> None:
    text = shape_text(shape)
    assert text is not None and parsed_shape(text) == shape
