"""Dumps for the tests of pairing: names without files, and small files on disk written by numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastcmp.sources import Dump, NamedTensor, TensorKey


def dump(*keys: tuple[str, ...], kind: str = "metadata", name: str = "d", ordered: bool = True) -> Dump:
    """A dump of (data_id, token) or (rank, data_id, token); none of its files exists."""
    named = [key if len(key) == 3 else ("", *key) for key in keys]
    tensors = [NamedTensor(TensorKey(*key), f"{key}", f"/{name}/{key}") for key in named]
    return Dump(name, kind, tensors, [], ordered)


def names(*data_ids: str, token: str = "0", **more: object) -> Dump:
    """A dump of these data_ids at one token."""
    return dump(*((data_id, token) for data_id in data_ids), **more)


def on_disk(root: Path, tensors: dict[str, np.ndarray], *, token: str = "0", ordered: bool = True) -> Dump:
    """A dump of arrays, each in a file of its own."""
    root.mkdir(parents=True, exist_ok=True)
    found = []
    for number, (data_id, values) in enumerate(tensors.items()):
        np.save(root / f"{number}.npy", values)
        found.append(NamedTensor(TensorKey("", data_id, token), f"{number}.npy", str(root / f"{number}.npy")))
    return Dump(str(root), "metadata", found, [], ordered)


def found(pairs: list) -> dict[str, tuple[str | None, str]]:
    """Of each golden name the name of target and the rule; names that stand alone are left out."""
    return {
        one.golden.key.data_id: (one.target.key.data_id, one.rule) for one in pairs if one.golden is not None and one.target is not None
    }
