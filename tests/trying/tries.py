"""How often a random thing is tried: as the quick and the slow tests have it, or as the environment says, for a night or a release."""

from __future__ import annotations

import os


def tries(name: str, quick: int) -> int:
    """``TRY_<name>`` of the environment, or else ``quick``."""
    return int(os.environ.get(f"TRY_{name}", quick))


def examples(count: int) -> int:
    """How many examples a property has: ``count``, times ``TRY_EXAMPLES``."""
    return count * tries("EXAMPLES", 1)
