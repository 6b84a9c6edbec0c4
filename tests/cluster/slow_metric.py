"""A metric that takes its time, so that something can happen meanwhile."""

from __future__ import annotations

import time
from typing import Any


def slow(golden: Any, target: Any) -> float:
    time.sleep(0.05)
    return float(abs(golden - target).max())
