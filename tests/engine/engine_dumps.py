"""Small dumps for the engine to run over, and results in a form that can be compared byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from fastcmp.outcome import TaskResult
from fastcmp.pairing import Pair
from fastcmp.sources.named_tensor import NamedTensor, TensorKey


def pair_of(row: int, golden: Path | None, target: Path | None, data_id: str = "x") -> Pair:
    key = TensorKey("", data_id, str(row))
    sides = [None if path is None else NamedTensor(key, str(path), str(path)) for path in (golden, target)]
    return Pair(row, key, sides[0], sides[1], "name", row)


def small_pairs(folder: Path, count: int, seed: int = 0) -> list[Pair]:
    """Pairs of random float32 tensors, in .npy files."""
    random = np.random.default_rng(seed)
    pairs = []
    for row in range(count):
        golden = random.standard_normal((3, 100 + row)).astype(np.float32)
        np.save(folder / f"g{row}.npy", golden)
        np.save(folder / f"t{row}.npy", golden + random.standard_normal(golden.shape).astype(np.float32) * 1e-3)
        pairs.append(pair_of(row, folder / f"g{row}.npy", folder / f"t{row}.npy", "lm_head" if row % 3 == 0 else "layer"))
    return pairs


def sparse_npy(path: Path, shape: tuple[int, ...], dtype: str, planted: dict[int, float]) -> Path:
    """A .npy file of zeros that takes no disk, with a few values in it."""
    kind = np.dtype(dtype)
    with open(path, "wb") as file:
        npy_format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": shape})
        offset = file.tell()
        file.truncate(offset + kind.itemsize * int(np.prod(shape)))
        for index, value in planted.items():
            file.seek(offset + index * kind.itemsize)
            file.write(np.array(value, kind).tobytes())
    return path


def by_row(results: list[TaskResult]) -> dict[int, tuple[Any, ...]]:
    """Everything a report could show, per row; sums as bytes."""
    rows: dict[int, tuple[Any, ...]] = {}
    for result in results:
        at = 0
        for position, row in enumerate(result.rows):
            count = result.sums_counts[position]
            assert result.sums is not None
            sums = result.sums[at : at + count].tobytes()
            at += count
            assert row not in rows, f"row {row} came twice"
            rows[row] = (
                result.golden[position],
                result.target[position],
                result.error_codes[position],
                result.error_sides[position],
                result.error_details[position],
                result.notes[position],
                sums,
            )
        assert result.sums is not None and at == len(result.sums)
    return rows
