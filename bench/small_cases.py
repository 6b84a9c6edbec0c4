"""Many 8 KB pairs: what a decoding run leaves. They cost calls, not bytes."""

from __future__ import annotations

import dumps
from cases import Target
from compare_command import compare
from large_cases import LINEAR, SHORTEST_S
from measure import Case
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
    pairs, further = whole.pairs, whole.pairs - half.pairs
    command = Case(f"compare {pairs} pairs of 8 KB", "pairs/s", YARDSTICK, ENOUGH_AT_100_000, "P5")
    slope = Case("compare, each further pair of 8 KB", "pairs/s", YARDSTICK, ENOUGH, "P5")
    growth = Case(f"compare {pairs} pairs / {half.pairs}", "times", YARDSTICK, LINEAR, "P6")
    for number in range(setting.size.rounds + 1):
        half_s, whole_s = compare(half, setting.report), compare(whole, setting.report)
        half_floor_s, floor_s = setting.readers.seconds("read", half_files), setting.readers.seconds("read", files)
        if number == 0:
            continue  # warms up
        further_s = max(whole_s - half_s, SHORTEST_S)
        command.add(pairs / whole_s, pairs / floor_s, whole_s)
        slope.add(further / further_s, pairs / floor_s, further_s)
        growth.add(whole_s / half_s, floor_s / half_floor_s, whole_s)
    for case in (command, slope):
        case.aside = "aim of the ratio: 0.2"
    return [command, growth] if setting.size.name == "short" else [command, slope, growth]
