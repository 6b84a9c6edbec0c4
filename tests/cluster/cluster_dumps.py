"""Dumps of several ranks, made with numpy, and reports as bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

REPORT_FILES = ("cmp_report.csv", "cmp_report.arrow")


def write_rank(root: Path, rank: int, *, names: int = 4, tokens: int = 3, sides: tuple[str, ...] = ("golden", "target")) -> None:
    """Rank ``rank`` of both sides below ``root``: a directory for each, a metadata.json in it, small float32 tensors beside that."""
    random = np.random.default_rng(rank)
    for name in range(names):
        for token in range(tokens):
            values = random.standard_normal((5, 64 + name)).astype(np.float32)
            noise = random.standard_normal(values.shape).astype(np.float32)
            for side, array in (("golden", values), ("target", values * (1 + 1e-5 * noise))):
                if side in sides:
                    path = root / side / f"rank{rank}" / str(token) / f"{name}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, array)
    for side in sides:
        document = {f"layer.{name}": {str(token): f"{token}/{name}.npy" for token in range(tokens)} for name in range(names)}
        (root / side / f"rank{rank}" / "metadata.json").write_text(json.dumps(document))


def report(folder: Path) -> dict[str, bytes]:
    """The files of a report that hold no times."""
    return {name: (folder / name).read_bytes() for name in REPORT_FILES}
