"""Dumps on disk for the tests of the Python interface: .npy files and the metadata.json over them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

Tensors = dict[tuple[str, str], np.ndarray]


def save_side(directory: Path, tensors: Tensors) -> Path:
    """The metadata.json over one file for each (data_id, token)."""
    directory.mkdir(parents=True)
    metadata: dict[str, dict[str, str]] = {}
    for number, ((data_id, token), array) in enumerate(tensors.items()):
        path = directory / f"{number}.npy"
        np.save(path, array)
        metadata.setdefault(data_id, {})[token] = str(path)
    document = directory / "metadata.json"
    document.write_text(json.dumps(metadata), encoding="utf-8")
    return document


def save_tensor(path: Path, array: np.ndarray) -> None:
    """A .npy file; of bfloat16 as fastcmp's own dumps have it, which numpy has no word for."""
    if array.dtype.name != "bfloat16":
        np.save(path, array)
        return
    header = f"{{'descr': '<V2', 'fortran_order': False, 'shape': {array.shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes())
