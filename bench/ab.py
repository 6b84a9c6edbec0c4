"""This tree beside another revision, call by call: is anything slower than it was? See README.md in this directory."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dumps
from ab_side import SIDES, CannotBuild, Side, git, make_base, make_head
from measure import commit, machine

HERE = Path(__file__).resolve().parent
SMALL_PAIRS = 1000
CASES = (
    *(f"kernel {dtype}{kl}" for dtype in ("float32", "float16", "bfloat16") for kl in ("", " KL")),
    "scan",
    "task",
    "compare",
)
# One kernel to compile for each side: with all three the compiler would take longer than the rest.
SHORT_CASES = ("kernel float16", "kernel float16 KL", "scan", "task", "compare")
TURN_S = 0.03
# Whole comparisons scatter most: the median of six was off by 11 % where both sides were the same.
FEWEST_PAIRS, FEWEST_PAIRS_SHORT = 16, 6


@dataclass
class Comparison:
    """What one case took on both sides, turn by turn.

    Attributes
    ----------
    turns : list of (float, float)
        Seconds of base and head for the same number of calls, taken right after each other.
    skipped : str
        Why the base cannot run it.
    """

    name: str
    calls: int = 0
    turns: list[tuple[float, float]] = field(default_factory=list)
    skipped: str = ""

    @property
    def ratios(self) -> list[float]:
        """Head's time for each second of base's."""
        return sorted(head / base for base, head in self.turns)

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    def percentile(self, share: float) -> float:
        return self.ratios[round(share * (len(self.ratios) - 1))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="the revision to compare with; the previous commit or the latest tag if not given")
    parser.add_argument("--limit", type=float, default=1.15, help="the median ratio of times that is still no loss")
    parser.add_argument("--short", action="store_true", help="fewer cases, a second and a half each; what cannot be compared is no error")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="where the dump lies, made if missing")
    arguments = parser.parse_args()
    try:
        base = arguments.base or previous_revision()
        if arguments.short and nothing_changed(base):
            say(f"bench-ab: nothing below fastcmp/ and cpp/ differs from {base}: skipped")
            return 0
        begin = time.perf_counter()
        homes = make_base(base), make_head()
    except CannotBuild as error:
        say(f"bench-ab: {'skipped: ' if arguments.short else ''}{error}")
        return 0 if arguments.short else 2
    say(f"bench-ab: base {base} and head are built, {time.perf_counter() - begin:.0f} s; kernels are compiled when first needed")
    found = compare_all(homes, data_of(arguments.data / "ab"), arguments)
    print(table(found, arguments.limit))
    say(f"bench-ab: every turn in {save(found, base)}; {time.perf_counter() - begin:.0f} s")
    return 1 if any(slower(case, arguments.limit) for case in found) else 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def previous_revision() -> str:
    """HEAD~1, or the latest tag that this clone has; `CannotBuild` if it has neither."""
    for words in (("rev-parse", "--verify", "--quiet", "HEAD~1"), ("describe", "--tags", "--abbrev=0")):
        try:
            return git(*words)[:12]
        except CannotBuild:
            continue
    raise CannotBuild("this clone has neither a previous commit nor a tag to compare with")


def nothing_changed(base: str) -> bool:
    return not git("diff", "--name-only", base, "--", "fastcmp", "cpp")


def data_of(directory: Path) -> dict[str, object]:
    """The dump that both sides work on, made once."""
    dump = dumps.small(directory, SMALL_PAIRS)
    reports = SIDES / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    paths = {"golden": str(dump.golden), "target": str(dump.target), "reports": str(reports)}
    return {**paths, "files": dump.files(), "pairs": dump.pairs}


def compare_all(homes: tuple[Path, Path], data: dict[str, object], arguments: argparse.Namespace) -> list[Comparison]:
    budget_s, fewest = (1.5, FEWEST_PAIRS_SHORT) if arguments.short else (6.0, FEWEST_PAIRS)
    with Side("base", homes[0], data) as base, Side("head", homes[1], data) as head:
        found = []
        for name in SHORT_CASES if arguments.short else CASES:
            case = compare_case(name, base, head, budget_s, fewest)
            if slower(case, arguments.limit):
                say(f"bench-ab: {name}: {case.median:.2f} times as long as base; once more")
                case = compare_case(name, base, head, 2 * budget_s, 2 * fewest)
            found.append(case)
        return found


def compare_case(name: str, base: Side, head: Side, budget_s: float, fewest: int) -> Comparison:
    """Turns of both sides, A B B A A B B A ..., for about ``budget_s`` seconds, but no fewer pairs of them than ``fewest``."""
    for side in (base, head):
        side.send(name, 0)  # both compile at the same time
    not_base, not_head = base.receive().reason, head.receive().reason
    if not_head:
        raise SystemExit(f"bench-ab: {name}: head cannot run it: {not_head}")
    if not_base:
        say(f"bench-ab: {name}: skipped, base cannot run it: {not_base}")
        return Comparison(name, skipped=not_base)
    once_s = max(min(head.run(name, 1).seconds for _ in range(3)), 1e-6)
    case = Comparison(name, calls=max(1, math.ceil(TURN_S / once_s)))
    pairs = max(fewest, round(budget_s / (2 * case.calls * once_s)))
    for first, second in turn_order(base, head, pairs):
        seconds = {side.name: side.run(name, case.calls).seconds for side in (first, second)}
        case.turns.append((seconds["base"], seconds["head"]))
    return case


def turn_order(base: Side, head: Side, pairs: int) -> Iterator[tuple[Side, Side]]:
    """Neither side is always the first, so a drift within a pair falls on both alike."""
    for number in range(pairs):
        yield (base, head) if number % 2 == 0 else (head, base)


def slower(case: Comparison, limit: float) -> bool:
    return bool(case.turns) and case.median > limit


def table(found: Sequence[Comparison], limit: float) -> str:
    """The report for a person."""
    width = max(len(case.name) for case in found)
    lines = [f"{'case':{width}} {'calls':>6} {'pairs':>6} {'base ms':>9} {'head ms':>9} {'head/base':>9}  10 to 90 %"]
    for case in found:
        if case.skipped:
            lines.append(f"{case.name:{width}} skipped: the base does not have it")
            continue
        base_ms, head_ms = (1e3 * statistics.median(column) / case.calls for column in zip(*case.turns, strict=True))
        spread = f"{case.percentile(0.1):.2f} to {case.percentile(0.9):.2f}"
        mark = f"  SLOWER than {limit} times" if slower(case, limit) else ""
        lines.append(
            f"{case.name:{width}} {case.calls:6} {len(case.turns):6} {base_ms:9.3g} {head_ms:9.3g} {case.median:9.3f}  {spread}{mark}"
        )
    return "\n".join(lines)


def save(found: Sequence[Comparison], base: str) -> Path:
    """One line of JSON for each case, every turn in it."""
    directory = HERE / "results"
    directory.mkdir(exist_ok=True)
    path = directory / f"{time.strftime('%Y%m%d-%H%M%S')}-ab.jsonl"
    facts = {"base": git("rev-parse", base)[:12], "commit": commit(), **machine()}
    with path.open("w", encoding="utf-8") as file:
        for case in found:
            row = {"case": case.name, "calls": case.calls, "turns_s": case.turns, "skipped": case.skipped}
            file.write(json.dumps({**row, "ratio": case.median if case.turns else None, **facts}) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
