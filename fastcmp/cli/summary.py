"""The closing words of a comparison, drawn from its final table and totals."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from fastcmp.analysis.words import tell, tell_what_happened
from fastcmp.cli.endings import say
from fastcmp.cli.shown import bytes_text, counted, fitted, grouped, one_line, seconds_text, throughput_text, visible
from fastcmp.errors import CODES
from fastcmp.results.json_text import plain_json
from fastcmp.results.schema import BY_NAME

if TYPE_CHECKING:
    import pyarrow as pa

    from fastcmp.result import Result
    from fastcmp.results.findings import Finding
    from fastcmp.results.totals import Totals
    from fastcmp.sources.dump import RunOrder

_WORST_SHOWN: Final = 5
_NAME_WIDTH: Final = 40
_LINE_WIDTH: Final = 76
_FIRST: Final[dict[RunOrder, str]] = {
    "computed": "",
    "file": " in the order of the file",
    "files": " by file, in each as it lists its tensors",
    "name": " by name (such a dump does not say in which order it ran)",
}
_GOOD, _BAD, _PLAIN = "green", "red", ""
# Rules of `--pair-by` that need no equal names, the surest first.
_GUESSING: Final = ("ops", "position", "content")

# One line: parts of (text, style).
Line = list[tuple[str, str]]


def print_summary(result: Result, closing: str = "") -> None:
    """The summary on stdout; coloured on a terminal, plain elsewhere."""
    print_lines(summary_lines(result, closing))


def print_lines(lines: list[Line]) -> None:
    """Lines on stdout; coloured on a terminal, plain elsewhere."""
    if not sys.stdout.isatty():
        say("\n".join("".join(text for text, _ in line) for line in lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    with console.capture() as written:
        for line in lines:
            console.print(Text.assemble(*line), soft_wrap=True)
    say(written.get())


def summary_lines(result: Result, closing: str = "") -> list[Line]:
    """What the summary says, line by line; every name in it is safe to show. ``closing`` is its last line where no report was written."""
    totals = result.totals
    lines: list[Line] = [
        [(_what_was_done(totals), _PLAIN)],
        _count_line("passed", totals.passed, _GOOD if totals.passed else _PLAIN),
        _count_line("failed", totals.failed, _BAD if totals.failed else _PLAIN),
        _count_line("could not be compared", totals.errors, _BAD if totals.errors else _PLAIN, _error_codes(result)),
        _count_line("stood alone", totals.unpaired, _BAD if totals.unpaired > totals.unpaired_allowed else _PLAIN, _alone(result)),
    ]
    lines.extend(rule_lines(result.table))
    failed = [row for row in result.worst(_WORST_SHOWN) if row.verdict == "fail"]
    if failed:
        lines.append([("worst:", _PLAIN)])
        lines.extend([(f"  {_name(row)}: {one_line(row.reason)}", _PLAIN)] for row in failed)
    lines.extend(_metric_lines(result))
    lines.extend(_blind_lines(result))
    lines.extend(_divergence_lines(result))
    lines.extend(_story_lines(result))
    lines.append([(visible(closing or f"report: {report_path(result)}"), _PLAIN)])
    return lines


def report_path(result: Result) -> str:
    """The table that people read, of a comparison that is complete."""
    return os.path.join(result.output, "cmp_report.csv")


def _what_was_done(totals: Totals) -> str:
    if not totals.elapsed_s:  # judged while it runs
        return f"{counted(totals.pairs, 'pair')}, {bytes_text(totals.bytes)}"
    new_bytes = totals.bytes - totals.resumed_bytes
    rate = throughput_text(new_bytes, totals.elapsed_s)
    work = f"{bytes_text(new_bytes)} in {seconds_text(totals.elapsed_s)}{f' ({rate})' if rate else ''}"
    if not totals.resumed:
        return f"{counted(totals.pairs, 'pair')}, {work}"
    earlier = f"{bytes_text(totals.bytes)}; {counted(totals.resumed, 'pair')} done before"
    return f"{counted(totals.pairs, 'pair')}, {earlier}, the rest, {work}"


def rule_lines(table: pa.Table) -> list[Line]:
    """How many pairs were made by other than equal names or a rule of the user's: they may be the wrong ones."""
    counts = _pair_rules(table)
    made = [f"{counted(counts[rule], 'pair')} by {rule}" for rule in _GUESSING if rule in counts]
    if not made:
        return []
    notes = ", and notes how alike those by content are" if "content" in counts else ""
    return [[(f"not by equal names: {', '.join(made)}; pair_rule says which{notes}", _PLAIN)]]


def _pair_rules(table: pa.Table) -> dict[str, int]:
    """How many pairs each rule made."""
    counts = {one["values"]: one["counts"] for one in table.column("pair_rule").value_counts().to_pylist()}
    return {rule: count for rule, count in counts.items() if rule}


def _metric_lines(result: Result) -> list[Line]:
    """Metrics of the user's own that gave no number for pairs that were compared."""
    lines: list[Line] = []
    own = [name for name in result.table.column_names if name not in BY_NAME]
    compared = result.table.filter(result.table.column("cmp_flag")) if own else result.table
    for name in own:
        missing = compared.column(name).null_count
        if missing:
            lines.append([(f"metric {visible(name)}: no number for {counted(missing, 'pair')}, see their notes", _BAD)])
    return lines


def _blind_lines(result: Result) -> list[Line]:
    """Which tensors nothing is known about, the first few in execution order."""
    spots = result.blind_spots
    if not spots.count:
        return []
    shown = spots.first[:_WORST_SHOWN]
    lines: list[Line] = [[("not compared:", _PLAIN)]]
    lines.extend([(f"  {_name(row)}: {_why_not(row)}", _PLAIN)] for row in shown)
    if spots.count > len(shown):
        lines.append([(f"  ... and {grouped(spots.count - len(shown))} more", _PLAIN)])
    return lines


def _why_not(row: Finding) -> str:
    if row.error_code == "E_UNPAIRED":
        return one_line(row.verdict_reason)
    meaning = CODES[row.error_code].meaning if row.error_code in CODES else one_line(row.cmp_fail_reason or "")
    return f"{meaning} [{visible(row.error_code)}]"


def _divergence_lines(result: Result) -> list[Line]:
    """Where it went wrong first, and what ran before that and is not known."""
    totals, first, spots = result.totals, result.first_divergence, result.blind_spots
    if first is None:
        if not totals.passed:
            return [[("nothing could be compared", _BAD)]] if totals.pairs else []
        return [[("no compared pair diverges", _PLAIN)]] if spots.count else [[("no pair diverges", _GOOD)]]
    order = _FIRST[result.run_order]
    name, *details = divergence_lines(first)
    lines: list[Line] = [[(f"first divergence{order}: ", _BAD), (name, _PLAIN)]]
    lines.extend([(f"  {detail}", _PLAIN)] for detail in details)
    if spots.before_divergence:
        lines.append([(f"  {counted(spots.before_divergence, 'tensor')} before it could not be compared: it may have begun there", _BAD)])
    return lines


def _story_lines(result: Result) -> list[Line]:
    """Where it went wrong, in words."""
    told = tell_what_happened(result.story, lambda name: fitted(name, _LINE_WIDTH))
    return [[("in words:", _PLAIN)], *([(f"  {line}", _PLAIN)] for line in told)] if told else []


def divergence_lines(row: Finding) -> list[str]:
    """A divergence in words: its key, the rule it broke beside what rounding alone would do, and the file where that says more."""
    reason = one_line(row.reason)
    if row.rounding_floor:
        reason += f"; rounding by itself: {row.rounding_floor:.2g}"
    lines = [_name(row, _LINE_WIDTH), reason]
    path = row.acl_data_path or row.golden_data_path or ""
    if path and row.data_id not in path:
        lines.append(fitted(path, _LINE_WIDTH))
    return lines


def _name(row: Finding, width: int = _NAME_WIDTH) -> str:
    rank = f"rank {fitted(row.rank, 12)}, " if row.rank else ""
    token = f"token {fitted(row.token_id, 20)}, " if row.token_id else ""
    return f"{rank}{token}data_id {fitted(row.data_id, width)}"


def _count_line(label: str, count: int, style: str, remark: str = "") -> Line:
    return [(f"  {label:<22}", _PLAIN), (f"{grouped(count):>10}", style), (f"  {remark}" if remark else "", _PLAIN)]


def _error_codes(result: Result) -> str:
    """How often each error code stands in the report, the most frequent first."""
    if not result.totals.errors:
        return ""
    from fastcmp.results.findings import count_error_reasons

    codes: Counter[str] = Counter()
    for reason, count in count_error_reasons(result.table).items():
        codes[reason.rpartition("[")[2].rstrip("]")] += count
    return ", ".join(f"{code} {grouped(count)}" for code, count in codes.most_common(4))


def _alone(result: Result) -> str:
    totals = result.totals
    parts = [f"only {side} {grouped(n)}" for side, n in (("golden", totals.unpaired_golden), ("target", totals.unpaired_target)) if n]
    if totals.unpaired_allowed:
        parts.append(f"allowed {grouped(totals.unpaired_allowed)}")
    return ", ".join(parts)


def print_json(result: Result) -> None:
    """The summary as one JSON object on stdout."""
    say(json.dumps(json_facts(result), allow_nan=False))


def json_facts(result: Result) -> dict[str, Any]:
    """What ``--json`` says: where the report is, the totals, the first divergence and the worst failed pairs."""
    first = result.first_divergence
    return {
        "output": result.output,
        "exit_code": result.exit_code,
        "is_complete": result.is_complete,
        "totals": plain_json({**asdict(result.totals), "unpaired": result.totals.unpaired}),
        "gigabytes_per_s": result.totals.gigabytes_per_s,
        "order_is_known": result.run_order == "computed",
        "run_order": result.run_order,
        "pair_rules": _pair_rules(result.table),
        "not_compared": {
            "count": result.blind_spots.count,
            "before_first_divergence": result.blind_spots.before_divergence,
            "first": [plain_json(asdict(row)) for row in result.blind_spots.first],
        },
        "first_divergence": None if first is None else plain_json(asdict(first)),
        "story": {"words": tell(result.story), **plain_json(asdict(result.story))},
        "worst": [plain_json(asdict(row)) for row in result.worst(_WORST_SHOWN) if row.verdict == "fail"],
    }
