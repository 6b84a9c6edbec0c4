"""A run in bfloat16 whose dump is float32: noted pair by pair, and said in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastcmp
from fastcmp.analysis.words import tell
from fastcmp.engine.narrow_values import narrow_dtype
from fastcmp.formats.decode import decode
from fastcmp.formats.encode import encode

RNG = np.random.default_rng(3)
NOTE = "W_NARROW_VALUES: target is stored as float32, its values are those of bfloat16"


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    return decode(encode(values.astype(np.float64), dtype), dtype).astype(values.dtype)


def dump(directory: Path, layers: list[np.ndarray]) -> Path:
    directory.mkdir()
    for number, values in enumerate(layers):
        np.save(directory / f"{number}.npy", values)
    names = {f"model.layers.{number}.output": {"0": f"./{number}.npy"} for number in range(len(layers))}
    (directory / "metadata.json").write_text(json.dumps(names))
    return directory


def compared(tmp_path: Path, golden: list[np.ndarray], target: list[np.ndarray], **options: object) -> fastcmp.result.Result:
    sides = dump(tmp_path / "golden", golden), dump(tmp_path / "target", target)
    return fastcmp.compare(*sides, output=str(tmp_path / "out"), executor="serial", **options)


@pytest.mark.parametrize("rows", [8, 1024])  # kept whole, and read in pieces
def test_a_bfloat16_run_in_float32_is_said_to_be_one(tmp_path: Path, rows: int) -> None:
    golden = [RNG.standard_normal((rows, 160)).astype(np.float32) for _ in range(8)]
    result = compared(tmp_path, golden, [rounded(values, "bfloat16") for values in golden])
    assert [row["notes"] for row in result.to_arrow().to_pylist()] == [NOTE] * 8
    said = tell(result.story)
    assert said[0] == (
        "all 8 pairs that fail hold bfloat16 values in a wider dtype; judged as bfloat16, none would fail: "
        "fastcmp judge DIR --threshold 'relative_euclidean_distance <= 0.05'"
    )
    assert said[1].startswith("no operation adds much by itself: bfloat16, ")


def test_a_defect_stands_out_of_such_a_run(tmp_path: Path) -> None:
    golden = [RNG.standard_normal((8, 160)).astype(np.float32) for _ in range(8)]
    target = [rounded(values, "bfloat16") for values in golden]
    target[5][2, 10:90] *= 2
    said = tell(compared(tmp_path, golden, target).story)
    assert "judged as bfloat16, 1 would still fail" in said[0]
    assert said[1].startswith("error jumps at token 0, layer 5")


def test_what_passes_is_not_looked_at(tmp_path: Path) -> None:
    values = rounded(RNG.standard_normal((8, 160)).astype(np.float32), "bfloat16")
    result = compared(tmp_path, [values] * 4, [values] * 4)
    assert all(row["notes"] in ("", None) for row in result.to_arrow().to_pylist())
    assert result.story.narrowed is None


def test_real_float32_errors_are_not_blamed_on_a_dtype(tmp_path: Path) -> None:
    golden = [RNG.standard_normal((8, 160)).astype(np.float32) for _ in range(4)]
    result = compared(tmp_path, golden, [values * np.float32(1.01) for values in golden])
    assert result.story.narrowed is None and not any(row["notes"] for row in result.to_arrow().to_pylist())


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (rounded(RNG.standard_normal(4096), "bfloat16"), "bfloat16"),
        (rounded(RNG.standard_normal(4096), "float16"), "float16"),
        (RNG.standard_normal(4096).astype(np.float32), ""),
        (np.concatenate([rounded(RNG.standard_normal(4000), "bfloat16"), RNG.standard_normal(8)]), ""),
        (
            np.concatenate([rounded(RNG.standard_normal(60_000), "bfloat16"), RNG.standard_normal(8)]),
            "",
        ),  # beyond the first that are looked at
        (np.concatenate([rounded(RNG.standard_normal(600_000), "bfloat16"), [np.nan, np.inf]]), "bfloat16"),
        (np.arange(256.0), ""),  # ids have few digits too
        (np.where(RNG.random(4096) < 0.5, 0.5, 1.5), ""),  # a mask
        (np.zeros(4096), ""),
        (np.full(4096, np.nan), ""),
        (rounded(RNG.standard_normal(63), "bfloat16"), ""),
        (np.empty(0), ""),
        (RNG.integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32), ""),  # signalling NaN among them
        (RNG.integers(0, 2**63, 4096, dtype=np.uint64).view(np.float64), ""),
        ((RNG.integers(0, 2**16, 4096, dtype=np.uint32) << 16).view(np.float32), "bfloat16"),
    ],
)
def test_the_narrow_dtype_of_values(values: np.ndarray, dtype: str) -> None:
    assert narrow_dtype(values) == dtype
