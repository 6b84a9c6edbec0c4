"""What was given as a path, looked at without numpy: a typing error is told at once."""

from __future__ import annotations

import os


def is_there(path: str) -> bool:
    """True for a path that exists, and for ``FILE:MEMBER`` where FILE does; which of its tensors is meant is seen later."""
    if "\0" in path:
        return False
    return os.path.lexists(path) or any(os.path.isfile(path[:at]) for at, character in enumerate(path) if character == ":")
