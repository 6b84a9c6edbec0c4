"""Pairs of dumps on disk for the end-to-end tests: written with numpy and plain bytes, never with the code under test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LAYERS = 6
TOKENS = 4


def bin_bytes(values: np.ndarray, code: int = 0, memory_format: int = 2, shape: tuple[int, ...] | None = None) -> bytes:
    """One well-formed `.bin` record of ``values``."""
    payload = values.tobytes()
    dims = ",".join(str(extent) for extent in shape or values.shape)
    return (
        f"$Version=1.0\n$Object.Count=1\n$Object.Length={len(payload)}\nformat={memory_format}\ndtype={code}\ndims={dims}\n"
        f"$Object.data=0,{len(payload)}\n$End=1\n"
    ).encode() + payload


def write_side(root: Path, source: str, seed: int, noise: float, *, binary: bool = False, rows: int = 3, columns: int = 129) -> Path:
    """A dump of ``LAYERS`` x ``TOKENS`` tensors; returns its metadata.json. ``noise`` is relative to the values."""
    random = np.random.default_rng(7)
    own = np.random.default_rng(seed)
    side = root / f"{seed}_cmp_dump_data" / f"{source}_tensor"
    metadata: dict[str, dict[str, str]] = {}
    for layer in range(LAYERS):
        for token in range(TOKENS):
            values = random.standard_normal((rows, columns)).astype(np.float32)
            values *= 1 + noise * own.standard_normal(values.shape).astype(np.float32)
            path = side / str(token) / f"{layer}_tensor.{'bin' if binary else 'npy'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if binary:
                path.write_bytes(bin_bytes(values))
            else:
                np.save(path, values)
            metadata.setdefault(str(layer), {})[str(token)] = f"./{path.relative_to(root)}"
    document = side / "metadata.json"
    document.write_text(json.dumps(metadata))
    return document


def path_of(metadata: Path, layer: int, token: int) -> Path:
    """The file of one tensor of a dump that `write_side` made."""
    written = json.loads(metadata.read_text())[str(layer)][str(token)]
    return metadata.parents[2] / written
