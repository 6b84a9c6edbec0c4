"""Many 8 KB pairs: what a decoding run leaves. They cost calls, not bytes."""

from __future__ import annotations

import dumps
from cases import Target
from compare_command import compare
from dumps import BenchDump
from large_cases import LINEAR
from measure import Case, further, slope
from setting import Setting

RATE = ">= 20 000 pairs/s"
ENOUGH_AT_100_000 = Target(RATE, at_least_measured=20_000, sizes=("large",))
ENOUGH = Target(RATE, at_least_measured=20_000)
YARDSTICK = "open+pread"


def small_cases(setting: Setting) -> list[Case]:
    """The whole command, each further pair, and the growth, beside open, pread and close of the same files."""
    whole = setting.small()
    half = dumps.half(whole)
    files, half_files = whole.files(), half.files()
    pairs, more = whole.pairs, whole.pairs - half.pairs
    rounds = [take_round(setting, half, whole, half_files, files) for _ in range(setting.size.rounds + 1)][1:]  # the first one warms up
    command = Case(f"compare {pairs} pairs of 8 KB", "pairs/s", YARDSTICK, ENOUGH_AT_100_000, "P5")
    growth = Case(f"compare {pairs} pairs / {half.pairs}", "times", YARDSTICK, LINEAR, "P6")
    for half_s, whole_s, half_floor_s, floor_s in rounds:
        command.add(pairs / whole_s, pairs / floor_s, whole_s)
        growth.add(whole_s / half_s, floor_s / half_floor_s, whole_s)
    half_s, whole_s, _, floor_s = zip(*rounds, strict=True)
    work = further(whole_s, half_s)
    each = Case("compare, each further pair of 8 KB", "pairs/s", YARDSTICK, ENOUGH, "P5")
    slope(each, work, [more / seconds for seconds in work], [pairs / seconds for seconds in floor_s])
    for case in (command, each):
        case.aside = "aim of the ratio: 0.2"
    return [command, growth] if setting.size.name == "short" else [command, each, growth]


def take_round(setting: Setting, half: BenchDump, whole: BenchDump, half_files: list[str], files: list[str]) -> list[float]:
    """Seconds of both comparisons, then of both yardsticks."""
    compared = [compare(dump, setting.report) for dump in (half, whole)]
    return [*compared, *(setting.readers.seconds("read", paths) for paths in (half_files, files))]
