"""Coverage of what must not fail. Run by `make coverage` behind the tests; exit status 1 below the floors.

``check_coverage.py``: readers, journal and report, supervision, by what `coverage` counted. ``check_coverage.py SUMMARY``: the C++ reader, by
the summary that `llvm-cov export` wrote.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FLOOR_PERCENT = 95.0  # of lines and branches together, and of branches alone
CPP_FLOORS_PERCENT = {"lines": 100.0, "branches": 99.0}
# What is counted together, as the promise names it.
GROUPS = {
    "readers": ("fastcmp/formats/", "fastcmp/sources/"),
    "journal and report": ("fastcmp/results/",),
    "supervision": ("fastcmp/engine/", "fastcmp/comparison.py"),
}


def main(arguments: Sequence[str]) -> int:
    """Print what is covered; 0 if every floor is reached."""
    if arguments:
        return int(cpp_is_low(json.loads(Path(arguments[0]).read_text())))
    path = Path("build/coverage.json")
    subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(path)], check=True)
    return int(is_low(json.loads(path.read_text())["files"]))


def is_low(files: Mapping[str, Any]) -> bool:
    """Print two figures of each group and its worst files; True if one of them is below the floor."""
    low = False
    for group, prefixes in GROUPS.items():
        chosen = {name: found["summary"] for name, found in files.items() if name.startswith(prefixes)}
        lines, branches = (
            (sum(one[f"covered_{kind}"] for one in chosen.values()), sum(one[counted] for one in chosen.values()))
            for kind, counted in (("lines", "num_statements"), ("branches", "num_branches"))
        )
        both = (lines[0] + branches[0], lines[1] + branches[1])
        for what, (covered, things) in (("lines and branches", both), ("branches", branches)):
            percent = 100 * covered / things
            low |= percent < FLOOR_PERCENT
            print(f"{group}: {percent:.1f} % of {things} {what} (floor {FLOOR_PERCENT:g})")
        for name, one in sorted(chosen.items(), key=lambda named: named[1]["percent_covered"])[:5]:
            if one["percent_covered"] < 100:
                missing = ", ".join(map(str, files[name]["missing_lines"][:12]))
                print(f"    {name}: {one['percent_covered']:.1f} %{f', lines {missing}' if missing else ''}")
    return low


def cpp_is_low(summary: Mapping[str, Any]) -> bool:
    """Print both figures of the C++ reader; True if one of them is below its floor."""
    (program,) = summary["data"]
    low = False
    for what, floor in CPP_FLOORS_PERCENT.items():
        counted = program["totals"][what]
        percent = 100 * counted["covered"] / counted["count"]
        low |= percent < floor
        print(f"C++ reader: {counted['covered']} of {counted['count']} {what}, {percent:.1f} % (floor {floor:g})")
    return low


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
