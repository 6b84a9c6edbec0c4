"""One pair of all bytes beside many of the same total: a big tensor has to be split among the workers."""

from __future__ import annotations

import dumps
from cases import Target
from compare_command import compare
from large_cases import SHORTEST_S
from measure import Case
from setting import Setting

ROUNDS = 6
# Work without start is a tenth of a second at the normal size, no more than the noise of two starts: the promise is for the large one.
SAME = Target("ratio >= 0.85", at_least=0.85, sizes=("large",))


def one_pair_cases(setting: Setting) -> list[Case]:
    """Both float32, both less the start that a tiny dump takes in the same round."""
    one, tiny = setting.one(), setting.tiny()
    many = dumps.repeated(dumps.floats(setting.large()), len(dumps.LARGE_DTYPES))
    gigabytes = sum(dumps.payload_bytes(one.files())) / 1e9
    case = Case(f"compare one pair of {gigabytes:.2g} GB, without start", "GB/s", f"{many.pairs} pairs", SAME, "P12")
    for number in range((1 if setting.size.name == "short" else ROUNDS) + 1):
        one_s, many_s, start_s = (compare(dump, setting.report) for dump in (one, many, tiny))
        if number:  # the first one warms up
            work_s, floor_s = (max(seconds - start_s, SHORTEST_S) for seconds in (one_s, many_s))
            case.add(gigabytes / work_s, gigabytes / floor_s, one_s)
    return [case]
