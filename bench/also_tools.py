"""Released tools that compare two arrays, run by the Python of an environment of their own (`also_cases.py`).

``python also_tools.py TOOL GOLDEN TARGET`` prints one JSON object: seconds to load and compare the pair once warm, and a figure.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

TOLERANCE = 1e-2


def mindstudio_probe() -> Callable[[str, str], float]:
    """The figures of its report for a pair; the cosine similarity."""
    from msprobe.core.compare.npy_compare import compare_ops_apply

    def compare(golden: str, target: str) -> float:
        figures, _ = compare_ops_apply(np.load(target), np.load(golden), False, "")
        return float(figures[0])

    return compare


def polygraphy() -> Callable[[str, str], float]:
    """Its default comparison of outputs, by tolerances; 1.0 where they match."""
    from polygraphy.comparator import SimpleCompareFunc
    from polygraphy.comparator.struct import IterationResult
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    outputs_match = SimpleCompareFunc(rtol=TOLERANCE, atol=TOLERANCE)

    def compare(golden: str, target: str) -> float:
        sides = [IterationResult({"output": np.load(path)}) for path in (target, golden)]
        return float(bool(outputs_match(*sides)["output"]))

    return compare


TOOLS = {"mindstudio-probe": mindstudio_probe, "polygraphy": polygraphy}


def main() -> None:
    tool, golden, target = sys.argv[1:]
    compare = TOOLS[tool]()
    compare(golden, target)
    begin = time.perf_counter()
    figure = compare(golden, target)
    print(json.dumps({"seconds": time.perf_counter() - begin, "figure": figure}))


if __name__ == "__main__":
    main()
