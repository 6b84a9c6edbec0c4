"""Large tensors: the whole command, what each further GB costs, how the time grows, and what more cores bring."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import dumps
from cases import Target
from compare_command import compare
from dumps import BenchDump
from measure import Case, further, slope
from page_cache import warm_share, write_anew
from setting import CORES, Setting

# 2 -> 4 -> 8 GB at the normal size.
GROWTHS = (1, 2)
SCANNED = (1, 2, 4)
ALONE = (1, 4)
ROUNDS = 3
WARM_SHARE = 0.99
HALF_OF_SCAN = Target("ratio >= 0.5", at_least=0.5)
HALF_OF_SCAN_AT_8_GB = Target("ratio >= 0.5", at_least=0.5, sizes=("large",))
LINEAR = Target("<= 2.1", at_most_measured=2.1)
SCALES = Target("ratio >= 0.85", at_least=0.85)


@dataclass
class Round:
    """Seconds taken right after each other, by how many times the files are named; by all cores, and by one."""

    compared: dict[int, float]
    scanned: dict[int, float]
    compared_alone: dict[int, float]
    scanned_alone: float


def large_cases(setting: Setting) -> list[Case]:
    """One series of rounds, and each row what it says of them."""
    large, times = setting.large(), setting.size.large_times
    gigabytes = sum(dumps.payload_bytes(large.files())) / 1e9
    write_anew(large.files())
    variants = {count: dumps.repeated(large, count) for count in times}
    rounds = [take_round(setting, variants) for _ in range(ROUNDS + 1)][1:]  # the first one warms up
    whole = whole_case(rounds, gigabytes)
    whole.aside = in_memory(variants[1])
    if len(times) == 1:
        return [whole]
    cases = [whole, slope_case(rounds, gigabytes, times[-1])]
    for case in cases:
        case.aside = ", ".join(filter(None, (case.aside, beside_original(setting, case))))
    return [*cases, *(growth_case(rounds, gigabytes, count) for count in GROWTHS), cores_case(rounds, times[-1])]


def take_round(setting: Setting, variants: dict[int, BenchDump]) -> Round:
    """All of it once."""
    files = variants[1].files()
    alone = {count: variants[count] for count in ALONE} if len(variants) > 1 else {}
    return Round(
        compared={count: compare(dump, setting.report) for count, dump in variants.items()},
        scanned={count: setting.readers.seconds("scan", files * count) for count in SCANNED if count in variants},
        compared_alone={count: compare(dump, setting.report, jobs=1) for count, dump in alone.items()},
        scanned_alone=setting.readers.seconds("scan", files, cores=1),
    )


def whole_case(rounds: list[Round], gigabytes: float) -> Case:
    """As a person waits for it, start and report included."""
    case = Case(f"compare {gigabytes:.2g} GB of large tensors", "GB/s", "mapped scan", HALF_OF_SCAN_AT_8_GB, "P4")
    for one in rounds:
        case.add(gigabytes / one.compared[1], gigabytes / one.scanned[1], one.compared[1])
    return case


def slope_case(rounds: list[Round], gigabytes: float, most: int) -> Case:
    """The rate of the work alone, at which a dump of terabytes runs."""
    case = Case("compare, each further GB", "GB/s", "mapped scan", HALF_OF_SCAN, "P4")
    work = work_seconds(rounds, most)
    scan = [gigabytes * SCANNED[-1] / one.scanned[SCANNED[-1]] for one in rounds]
    return slope(case, work, [gigabytes * (most - 1) / seconds for seconds in work], scan)


def work_seconds(rounds: list[Round], most: int) -> list[float]:
    """Of all cores: from the files once to the files ``most`` times."""
    return further([one.compared[most] for one in rounds], [one.compared[1] for one in rounds])


def growth_case(rounds: list[Round], gigabytes: float, count: int) -> Case:
    """Twice the work beside once, start included in both."""
    case = Case(f"compare {2 * count * gigabytes:.2g} GB / {count * gigabytes:.2g} GB", "times", "mapped scan", LINEAR, "P6")
    for one in rounds:
        growth, scan_growth = (seconds[2 * count] / seconds[count] for seconds in (one.compared, one.scanned))
        case.add(growth, scan_growth, one.compared[2 * count])
    case.aside = f"{median_of(rounds, lambda one: one.compared[count]):.2f} s, then {case.median_s:.2f} s"
    return case


def cores_case(rounds: list[Round], most: int) -> Case:
    """How many times faster all cores do the work; no more is asked than there are cores, or than the scan gains by them."""
    case = Case(f"compare by {CORES} workers / 1 worker", "times", "mapped scan", SCALES, "P7")
    first, last = ALONE
    alone = further([one.compared_alone[last] for one in rounds], [one.compared_alone[first] for one in rounds])
    work = work_seconds(rounds, most)
    gains = [alone_s / (last - first) / (work_s / (most - 1)) for alone_s, work_s in zip(alone, work, strict=True)]
    slope(case, list(map(min, work, alone)), gains, [min(one.scanned_alone / one.scanned[1], CORES) for one in rounds])
    case.aside = f"the scan gains {median_of(rounds, lambda one: one.scanned_alone / one.scanned[1]):.2f} by {CORES} cores"
    return case


def median_of(rounds: list[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(map(figure, rounds))


def in_memory(dump: BenchDump) -> str:
    """A remark where the machine took memory away meanwhile, so that files were read from the disk again."""
    share = warm_share(dump.files())
    return "" if share >= WARM_SHARE else f"{share:.0%} of the files still in memory"


def beside_original(setting: Setting, case: Case) -> str:
    """The multiple of the original's algorithm, where this run has timed that."""
    if not setting.original_gb_s or not case.rounds:
        return ""
    return f"{case.measured / setting.original_gb_s:.0f} times the original's algorithm"
