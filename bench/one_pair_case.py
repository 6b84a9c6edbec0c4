"""One pair of all bytes beside many of the same total: a big tensor has to be split among the workers."""

from __future__ import annotations

import dumps
from cases import Target
from compare_command import compare
from measure import Case, further, slope
from page_cache import write_anew
from setting import Setting

ROUNDS = 6
# Work without start is a tenth of a second at the normal size, no more than the noise of two starts: the promise is for the large one.
SAME = Target("ratio >= 0.85", at_least=0.85, sizes=("large",))


def one_pair_cases(setting: Setting) -> list[Case]:
    """Both float32, both less the start that a tiny dump takes in the same round."""
    one, tiny = setting.one(), setting.tiny()
    many = dumps.repeated(dumps.floats(setting.large()), len(dumps.LARGE_DTYPES))
    write_anew([*one.files(), *dict.fromkeys(many.files())])
    gigabytes = sum(dumps.payload_bytes(one.files())) / 1e9
    case = Case(f"compare one pair of {gigabytes:.2g} GB, without start", "GB/s", f"{many.pairs} pairs", SAME, "P12")
    count = 1 if setting.size.name == "short" else ROUNDS
    rounds = [[compare(dump, setting.report) for dump in (one, many, tiny)] for _ in range(count + 1)][1:]  # the first one warms up
    one_s, many_s, start_s = zip(*rounds, strict=True)
    work, floor = further(one_s, start_s), further(many_s, start_s)
    shorter = list(map(min, work, floor))
    return [slope(case, shorter, [gigabytes / seconds for seconds in work], [gigabytes / seconds for seconds in floor])]
