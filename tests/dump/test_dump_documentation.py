"""docs/dump.md knows every counter and every variable of the dump side."""

from __future__ import annotations

import re
from pathlib import Path

from fastcmp.dump import counters, settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "dump.md").read_text(encoding="utf-8")


def in_tables() -> set[str]:
    """What stands in the first column of a table."""
    return {name for row in re.findall(r"^\| ([^|]*)\|", TEXT, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_every_counter_is_documented() -> None:
    assert set(counters.SUCCESSES + counters.FAILURES) <= in_tables()


def test_every_variable_is_documented() -> None:
    named = set(re.findall(r"\b(?:FASTCMP_\w+|RANK|ACLTRANSFORMER_HOME_PATH)\b", Path(settings.__file__).read_text(encoding="utf-8")))
    assert named and named <= in_tables()


def test_the_preload_library_reads_no_variable_that_is_not_documented() -> None:
    source = (ROOT / "cpp" / "preload" / "settings.cpp").read_text(encoding="utf-8")
    named = set(re.findall(r'"((?:FASTCMP|ATB|ACLTRANSFORMER|ASDOPS|AIT)_\w+)"', source))
    assert named and {name for name in named if name not in TEXT} == set()
