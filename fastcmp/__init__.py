"""fastcmp: where two runs of a large language model part first, how badly, and whether it is a bug or rounding.

The public names are loaded on first use: importing this package imports neither numba, torch nor pyarrow.

PYTEST_DONT_REWRITE: it has a pytest plugin, and pytest would warn where such a package is imported before it starts.
"""

from __future__ import annotations

from importlib import import_module

# As in typing, which it would take longer to import than all of this: a Ctrl-C is more than a traceback as soon as this is over.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastcmp import testing
    from fastcmp.api import compare
    from fastcmp.dump import dump_counters, dump_data, dump_model
    from fastcmp.formats.whole import read_tensor
    from fastcmp.judgement import judge_saved
    from fastcmp.options import CompareOptions, ParallelSide, Rule, ScanOptions
    from fastcmp.result import Result, load_report
    from fastcmp.rules import load_rules

__all__ = [
    "CompareOptions",
    "ParallelSide",
    "Result",
    "Rule",
    "ScanOptions",
    "__version__",
    "compare",
    "dump_counters",
    "dump_data",
    "dump_model",
    "judge_saved",
    "load_report",
    "load_rules",
    "read_tensor",
    "testing",
]

_HOMES = {
    "CompareOptions": "fastcmp.options",
    "Result": "fastcmp.result",
    "ParallelSide": "fastcmp.options",
    "Rule": "fastcmp.options",
    "ScanOptions": "fastcmp.options",
    "compare": "fastcmp.api",
    "dump_counters": "fastcmp.dump",
    "dump_data": "fastcmp.dump",
    "dump_model": "fastcmp.dump",
    "judge_saved": "fastcmp.judgement",
    "load_report": "fastcmp.result",
    "load_rules": "fastcmp.rules",
    "read_tensor": "fastcmp.formats.whole",
}


def __getattr__(name: str) -> Any:
    if name == "testing":  # a module, so that `fastcmp.testing.assert_close` needs no import of its own
        return import_module("fastcmp.testing")
    if name == "__version__":
        from importlib.metadata import version

        return version("fastcmp")
    if name not in _HOMES:
        raise AttributeError(f"module 'fastcmp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
