"""Large tensors that are not in the page cache: the disk's pace."""

from __future__ import annotations

import statistics

import dumps
from cases import Target
from compare_command import compare
from measure import Case, further, slope
from page_cache import make_cold
from setting import Setting

PACE_OF_READING = Target("ratio >= 0.9", at_least=0.9)
ROUNDS = 3


def cold_cases(setting: Setting) -> list[Case]:
    """The command less the warm start of a tiny dump, beside one process per core that reads the same files by and by."""
    large, tiny = setting.large(), setting.tiny()
    files = large.files()
    gigabytes = sum(dumps.payload_bytes(files)) / 1e9
    case = Case(f"compare {gigabytes:.2g} GB, cold, without start", "GB/s", "sequential read", PACE_OF_READING, "P9")
    compare(tiny, setting.report)  # warms up
    rounds = []
    for _ in range(1 if setting.size.name == "short" else ROUNDS):
        start_s = compare(tiny, setting.report)
        if not make_cold(files):
            case.not_here = "not cold here"
            return [case]
        compared_s = compare(large, setting.report)
        make_cold(files)
        rounds.append((start_s, compared_s, setting.readers.seconds("sequential", files)))
    start_s, compared_s, floor_s = zip(*rounds, strict=True)
    work = further(compared_s, start_s)
    case.aside = f"with start {gigabytes / statistics.median(compared_s):.2g} GB/s"
    return [slope(case, work, [gigabytes / seconds for seconds in work], [gigabytes / seconds for seconds in floor_s])]
