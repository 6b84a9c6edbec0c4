"""One Python target, searched: ``fuzz_search.py TARGET [-option=value ...] CORPUS SEEDS ...``, with libFuzzer's options.

atheris guides the search by coverage. Where there is none for this Python, random mutations of the seeds are tried for the same time,
and the first line says so.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
FINDING: Final = 77  # libFuzzer's exit code
WITHOUT_COVERAGE: Final = "no atheris for this Python: random mutations, not guided by coverage"

_LONGEST: Final = 4096


def find_sources_first() -> None:
    """Let fastcmp be found as plain files: atheris cannot see into modules that come from an editable installation's own finder."""
    sys.path[:0] = [str(HERE), str(ROOT)]
    sys.meta_path.sort(key=lambda finder: "ScikitBuild" in type(finder).__name__)


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A seed with a few bytes, or pieces of other seeds, put in, out or in another place."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((0, 1, 1, 2, 4, 16)))
        other = chance.choice(seeds)
        begin = chance.randrange(len(other) + 1)
        data[at:end] = chance.choice(
            (
                b"",
                bytes([chance.randrange(256)]),
                other[begin : begin + chance.choice((1, 4, 32))],
                bytes(data[at:end]) * chance.choice((2, 50)),
            )
        )
    return bytes(data[:_LONGEST])


def search_without_coverage(target: Callable[[bytes], None], seeds: Sequence[bytes], seconds: float, artifacts: str) -> int:
    """Try mutations for a time; exit code. A finding is written to ``{artifacts}crash-{SHA-1}``, as libFuzzer does."""
    print(f"INFO: {WITHOUT_COVERAGE}", file=sys.stderr)
    chance = random.Random(time.time_ns())
    begun, count = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        data = seeds[count] if count < len(seeds) else mutated(seeds, chance)
        count += 1
        try:
            target(data)
        except Exception:
            traceback.print_exc()
            path = f"{artifacts}crash-{hashlib.sha1(data).hexdigest()}"
            Path(path).write_bytes(data)
            print(f"Test unit written to {path}\nstat::number_of_executed_units: {count}", file=sys.stderr)
            return FINDING
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)
    return 0


def main(arguments: list[str]) -> int:
    name, *rest = arguments
    find_sources_first()
    try:
        import atheris
    except ImportError:
        from fuzz_targets import TARGETS

        options = dict(word[1:].split("=", 1) for word in rest if word.startswith("-"))
        places = [Path(word) for word in rest if not word.startswith("-")]
        seeds = [path.read_bytes() for place in places for path in ([place] if place.is_file() else sorted(place.iterdir()))]
        if places and all(place.is_file() for place in places):
            for seed in seeds:
                TARGETS[name](seed)
            return 0
        return search_without_coverage(TARGETS[name], seeds or [b""], float(options["max_total_time"]), options.get("artifact_prefix", ""))
    with atheris.instrument_imports(include=["fastcmp"]):
        from fuzz_targets import TARGETS
    atheris.Setup([sys.argv[0], *rest], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
