"""Facts of a report as plain JSON data."""

from __future__ import annotations

import math
from typing import Any


def plain_json(value: Any) -> Any:
    """``value`` with every NaN, infinity and complex number in it as text, for JSON has none; tuples become lists, keys texts."""
    if isinstance(value, dict):
        return {str(name): plain_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
