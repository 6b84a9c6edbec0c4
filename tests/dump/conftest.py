"""A dump of its own for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dump_reading import forget_session


@pytest.fixture(autouse=True)
def own_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory is an empty one, no FASTCMP_ variable is set, and the process has not dumped yet."""
    for name in [name for name in os.environ if name.startswith("FASTCMP_") or name in ("RANK", "ACLTRANSFORMER_HOME_PATH")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    forget_session()
    yield tmp_path
    forget_session()
