"""The closing words of a comparison, drawn from its final table and totals."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from fastcmp.cli.endings import say
from fastcmp.cli.shown import bytes_text, grouped, one_line, seconds_text, shortened, throughput_text, visible

if TYPE_CHECKING:
    from fastcmp.comparison import Result
    from fastcmp.results.findings import Finding

_WORST_SHOWN: Final = 5
_NAME_WIDTH: Final = 40
_LINE_WIDTH: Final = 76
_GOOD, _BAD, _DIM, _PLAIN = "green", "red", "dim", ""

# One line: parts of (text, style).
Line = list[tuple[str, str]]


def print_summary(result: Result) -> None:
    """The summary on stdout; coloured on a terminal, plain elsewhere."""
    lines = summary_lines(result)
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


def summary_lines(result: Result) -> list[Line]:
    """What the summary says, line by line; every name in it is safe to show."""
    totals = result.totals
    lines: list[Line] = [
        [(f"report in {visible(result.output)}", _DIM)],
        [
            (f"{grouped(totals.pairs)} pairs, {bytes_text(totals.bytes)} in {seconds_text(totals.elapsed_s)}", _PLAIN),
            (f" ({throughput_text(totals.gigabytes_per_s)})", _PLAIN),
        ],
        _count_line("passed", totals.passed, _GOOD if totals.passed else _PLAIN),
        _count_line("failed", totals.failed, _BAD if totals.failed else _PLAIN),
        _count_line("could not be compared", totals.errors, _BAD if totals.errors else _PLAIN, _error_codes(result)),
        _count_line("stood alone", totals.unpaired, _BAD if totals.unpaired > totals.unpaired_allowed else _PLAIN, _alone(result)),
    ]
    failed = [row for row in result.worst(_WORST_SHOWN) if row.verdict == "fail"]
    if failed:
        lines.append([("worst:", _PLAIN)])
        lines.extend([(f"  {_name(row)}: {one_line(row.reason)}", _PLAIN)] for row in failed)
    first = result.first_divergence
    if first is not None:
        name, *details = divergence_lines(first)
        lines.append([("first divergence: ", _BAD), (name, _PLAIN)])
        lines.extend([(f"  {detail}", _PLAIN)] for detail in details)
    elif totals.pairs and not totals.failed:
        lines.append([("no pair diverges" if not totals.errors else "no compared pair diverges", _GOOD)])
    lines.append([(f"report: {visible(os.path.join(result.output, 'cmp_report.csv'))}", _PLAIN)])
    return lines


def divergence_lines(row: Finding) -> list[str]:
    """A divergence in words: its key, the rule it broke beside what rounding alone would do, and the file where that says more."""
    reason = one_line(row.reason)
    if row.rounding_floor:
        reason += f"; rounding by itself: {row.rounding_floor:.2g}"
    lines = [_name(row, _LINE_WIDTH), reason]
    path = row.acl_data_path or row.golden_data_path or ""
    if path and row.data_id not in path:
        lines.append(shortened(path, _LINE_WIDTH))
    return lines


def _name(row: Finding, width: int = _NAME_WIDTH) -> str:
    rank = f"rank {shortened(row.rank, 12)}, " if row.rank else ""
    token = f"token {shortened(row.token_id, 20)}, " if row.token_id else ""
    return f"{rank}{token}data_id {shortened(row.data_id, width)}"


def _count_line(label: str, count: int, style: str, remark: str = "") -> Line:
    return [(f"  {label:<22}", _PLAIN), (f"{grouped(count):>10}", style), (f"  {remark}" if remark else "", _PLAIN)]


def _error_codes(result: Result) -> str:
    """How often each error code stands in the report, the most frequent first."""
    if not result.totals.errors:
        return ""
    verdicts, reasons = (result.table.column(name).to_pylist() for name in ("verdict", "verdict_reason"))
    codes = Counter(
        str(reason).rpartition("[")[2].rstrip("]") for verdict, reason in zip(verdicts, reasons, strict=True) if verdict == "error"
    )
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
        "totals": _finite({**asdict(result.totals), "unpaired": result.totals.unpaired}),
        "gigabytes_per_s": result.totals.gigabytes_per_s,
        "first_divergence": None if first is None else _finite(asdict(first)),
        "worst": [_finite(asdict(row)) for row in result.worst(_WORST_SHOWN) if row.verdict == "fail"],
    }


def _finite(facts: dict[str, Any]) -> dict[str, Any]:
    """JSON has no nan and no inf: they become text."""
    return {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()}
