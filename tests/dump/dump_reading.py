"""How the tests look at a dump."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fastcmp.dump import session as session_module


def forget_session() -> None:
    """End the session of this process as a fork would, so that the next call opens one anew."""
    if session_module._session is not None:
        session_module._session.close_descriptors()
    session_module._session = None
    session_module._inherited_base = ""


def side_of(base: Path, data_src: str = "golden", pid: int | None = None) -> Path:
    """The directory of one side."""
    return base / f"{pid or os.getpid()}_cmp_dump_data" / f"{data_src}_tensor"


def metadata_of(side: Path) -> dict[str, dict[str, str]]:
    """metadata.json, with a complaint about keys that stand twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"repeated keys: {pairs}"
        return dict(pairs)

    found: dict[str, dict[str, str]] = json.loads((side / "metadata.json").read_text(), object_pairs_hook=unique)
    return found


def saved(base: Path, data_id: object = 0, token_id: object = 0, data_src: str = "golden") -> np.ndarray[Any, Any]:
    """The array that metadata.json points at."""
    path = metadata_of(side_of(base, data_src))[str(data_id)][str(token_id)]
    array: np.ndarray[Any, Any] = np.load(base / path, allow_pickle=False)
    return array
