"""What no type says about the options: ranges. Refused before the first byte is read."""

from __future__ import annotations

import math

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions


def check(options: CompareOptions) -> None:
    """Refuse option values that cannot be meant.

    Raises
    ------
    UsageError
    """
    if options.workers < 0:
        raise UsageError(f"-j {options.workers}: expected a number of workers, 1 or more, or 0 for one per core")
    if not (options.stall_s > 0 and math.isfinite(options.stall_s)):
        raise UsageError(f"--stall {options.stall_s:g}: expected seconds, more than 0")
    if not (options.relative_floor >= 0 and math.isfinite(options.relative_floor)):
        raise UsageError(f"--relative-floor {options.relative_floor:g}: expected a number, 0 or more")
    if options.scale is not None and not (math.isfinite(options.scale) and options.scale != 0):
        raise UsageError(f"--scale {options.scale:g}: expected what one integer step is worth, not 0")
    if not options.output:
        raise UsageError("-o: expected the name of a directory, this is empty")
    if "\0" in options.output:
        raise UsageError("-o: a directory name cannot hold a NUL byte")
