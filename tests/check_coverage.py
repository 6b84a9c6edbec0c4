"""Branch coverage of what must not fail: readers, journal and report, supervision. Run by `make coverage` behind the tests; exit status 1 below the floor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FLOOR_PERCENT = 95.0
# What is counted together, as the promise names it.
GROUPS = {
    "readers": ("fastcmp/formats/", "fastcmp/sources/"),
    "journal and report": ("fastcmp/results/",),
    "supervision": ("fastcmp/engine/", "fastcmp/comparison.py"),
}


def main() -> int:
    """Print a line for each group and its worst files; 0 if all groups reach the floor."""
    path = Path("build/coverage.json")
    subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(path)], check=True)
    files = json.loads(path.read_text())["files"]
    is_low = False
    for group, prefixes in GROUPS.items():
        chosen = {name: found["summary"] for name, found in files.items() if name.startswith(prefixes)}
        things = sum(one["num_statements"] + one["num_branches"] for one in chosen.values())
        covered = sum(one["covered_lines"] + one["covered_branches"] for one in chosen.values())
        percent = 100 * covered / things
        is_low |= percent < FLOOR_PERCENT
        print(f"{group}: {percent:.1f} % of {things} lines and branches (floor {FLOOR_PERCENT:g})")
        for name, one in sorted(chosen.items(), key=lambda named: named[1]["percent_covered"])[:5]:
            if one["percent_covered"] < 100:
                missing = ", ".join(map(str, files[name]["missing_lines"][:12]))
                print(f"    {name}: {one['percent_covered']:.1f} %{f', lines {missing}' if missing else ''}")
    return int(is_low)


if __name__ == "__main__":
    sys.exit(main())
