"""What a worker has loaded after a comparison: torch alone would be 1.6 s and 180 MB for each of them."""

from __future__ import annotations

import sys
from pathlib import Path

import gate_files
import numpy as np
import pytest

from fastcmp.engine import calls
from fastcmp.engine.local_pool import LocalPool

# The parent may use all of these.
NOT_IN_A_WORKER = ("torch", "pyarrow", "pandas", "rich", "cyclopts", "elftools")


def loaded(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in sys.modules]


def load_rich() -> None:
    import rich  # noqa: F401


@pytest.mark.parametrize("kind", ["bin", "npy"])
def test_a_worker_that_has_compared_has_loaded_nothing_heavy(kind: str, tmp_path: Path) -> None:
    with LocalPool(1) as pool:
        pool.warm(calls.prepare, [("float32", "float32")])
        if kind == "bin":
            pair = gate_files.bin_pair(tmp_path, "float32", 4096)
        else:
            pair = (
                gate_files.write_npy(tmp_path / "a.npy", np.ones(9, np.float32)),
                gate_files.write_npy(tmp_path / "b.npy", np.ones(9, np.float32)),
            )
        assert pool.submit(calls.compare, gate_files.task_over([pair]), True).result(60).error_codes == [""]
        assert pool.submit(loaded, NOT_IN_A_WORKER).result(20) == []


def test_one_that_loads_something_is_caught() -> None:
    with LocalPool(1) as pool:
        pool.warm(load_rich)
        assert pool.submit(loaded, NOT_IN_A_WORKER).result(20) == ["rich"]
