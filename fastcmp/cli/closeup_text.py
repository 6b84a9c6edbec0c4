"""One pair in depth as a person reads it: what it is, what is wrong, where, how much."""

from __future__ import annotations

import math
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from fastcmp.cli.shown import bytes_text, counted, grouped, one_line, visible
from fastcmp.cli.summary import Line, print_lines
from fastcmp.pairing import RULE_FILE, RULE_KEY, RULE_PATH

if TYPE_CHECKING:
    from fastcmp.closeup.axis_errors import AxisError
    from fastcmp.closeup.facts import Element, Facts
    from fastcmp.closeup.histograms import Histogram
    from fastcmp.closeup.look import Closeup, Side

_PLAIN, _TITLE, _GOOD, _BAD, _FAINT = "", "bold", "green", "red", "dim"
_TEXT_WIDTH: Final = 110
_BAR_WIDTH: Final = 40
_CURVE_WIDTH: Final = 48
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = " .:-=+*#@"
# Of the row, what is told elsewhere on the page.
_TOLD: Final = frozenset(
    "token_id data_id rank golden_data_path acl_data_path golden_dtype acl_dtype golden_shape acl_shape cmp_flag verdict verdict_reason "
    "notes cmp_fail_reason pair_rule bytes element_count".split()
)

# Nobody wonders why equal names are a pair.
_PLAIN_RULES: Final = ("", RULE_KEY, RULE_PATH, RULE_FILE)


def print_closeup(closeup: Closeup) -> None:
    """The page on stdout; coloured on a terminal, plain elsewhere."""
    print_lines(closeup_lines(closeup, blocks=_blocks()))


def closeup_lines(closeup: Closeup, *, blocks: str = _BLOCKS) -> list[Line]:
    """The page, line by line; every name in it is safe to show. ``blocks`` draws curves: nine signs, from nothing to full."""
    lines = _head_lines(closeup)
    facts = closeup.facts
    if facts is not None:
        lines += _pattern_lines(closeup, facts)
        if facts.differing_count:
            lines += _axis_lines(facts, blocks) + _worst_lines(facts) + _size_lines(facts, blocks)
    return lines + _metric_lines(closeup.row)


def _blocks() -> str:
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return _BLOCKS if encoding.startswith("utf") else _ASCII_BLOCKS


# --- what it is ------------------------------------------------------------------------------------------------------------------------


def _head_lines(closeup: Closeup) -> list[Line]:
    row = closeup.row
    rank = f"rank {row['rank']}, " if row["rank"] else ""
    token = f"token {row['token_id']}, " if row["token_id"] else ""
    verdict = str(row["verdict"])
    reason = str(row["verdict_reason"] or "").replace("(rule: default ", "(").replace("(rule: ", "(")
    lines: list[Line] = [
        [
            (one_line(f"{rank}{token}data_id {row['data_id']}"), _TITLE),
            (": ", _PLAIN),
            (verdict, _GOOD if verdict == "pass" else _BAD),
            (f", {one_line(reason)}" if reason else "", _PLAIN),
        ]
    ]
    if row["cmp_fail_reason"]:
        lines.append([("  " + one_line(str(row["cmp_fail_reason"])), _BAD)])
    if closeup.explanation:
        lines.append([("  " + one_line(closeup.explanation), _PLAIN)])
    for role, side, written in (("golden", closeup.golden, "golden_data_path"), ("target", closeup.target, "acl_data_path")):
        lines += _side_lines(role, side, row[written])
    if row["pair_rule"] not in _PLAIN_RULES:
        lines.append([(f"  paired by {one_line(str(row['pair_rule']))}", _PLAIN)])
    if row["notes"]:
        lines.append([("  note: " + one_line(str(row["notes"])), _PLAIN)])
    lines += [[("  " + one_line(remark), _BAD)] for remark in closeup.remarks]
    return lines


def _side_lines(role: str, side: Side | None, written: str | None) -> list[Line]:
    if side is None:
        return [[(f"  {role}  {visible(written) if written else 'not dumped'}", _PLAIN)]]
    lines: list[Line] = [[(f"  {role}  {visible(side.path)}", _PLAIN)]]
    if side.error:
        return [*lines, [(f"          {one_line(side.error)}", _BAD)]]
    before = f" (dumped from {side.dtype_before_dump})" if side.dtype_before_dump else ""
    facts = [f"{side.dtype}{before} {side.shape}", bytes_text(side.nbytes), side.layout, f"of {side.modified[:19].replace('T', ' ')} UTC"]
    return [*lines, [("          " + ", ".join(part for part in facts if part), _FAINT)]]


# --- what is wrong ---------------------------------------------------------------------------------------------------------------------


def _pattern_lines(closeup: Closeup, facts: Facts) -> list[Line]:
    lines: list[Line] = [[("", _PLAIN)]]
    for number, pattern in enumerate(closeup.patterns):
        place = f" in {pattern.place}" if pattern.place else ""
        lines.append([("pattern: " if number == 0 else "also: ", _TITLE), (f"{pattern.name}{place}", _TITLE)])
        lines += [[(f"  {part}", _PLAIN)] for part in wrap(one_line(pattern.evidence), _TEXT_WIDTH)]
    if closeup.too_few:
        text = f"{counted(facts.differing_count, 'element')} differ: too few to tell a pattern"
        lines.append([("pattern: " if not closeup.patterns else "also: ", _TITLE), (text, _PLAIN)])
    elif not closeup.patterns:
        lines.append([("pattern: ", _TITLE), ("no pattern fits", _PLAIN)])
    if closeup.looked_at:
        text = f"patterns were looked for in {closeup.looked_at}, the part around the worst element; everything else is of all elements"
        lines.append([(f"  {text}", _FAINT)])
    if facts.differing_count:
        share = f"{facts.differing_count / facts.element_count:.3g}".removesuffix(".0")
        text = f"{grouped(facts.differing_count)} of {counted(facts.element_count, 'element')} differ ({_percent(float(share))})"
        if facts.nonfinite_mismatch_count:
            text += f"; at {grouped(facts.nonfinite_mismatch_count)} of them a NaN or an infinity meets something else"
        lines.append([(text, _PLAIN)])
    return lines


# --- where -----------------------------------------------------------------------------------------------------------------------------


def _axis_lines(facts: Facts, blocks: str) -> list[Line]:
    if not facts.axes:
        return []
    lines: list[Line] = [[("", _PLAIN)], [("error along each axis", _TITLE), (" (root mean square of |t-g|)", _FAINT)]]
    names = [_axis_name(axis) for axis in facts.axes]
    width = max(map(len, names))
    for name, axis in zip(names, facts.axes, strict=True):
        lines.append([(f"  {name:<{width}}  ", _PLAIN), (f"|{_curve(axis, blocks)}|", _PLAIN), (f"  {_axis_text(axis)}", _PLAIN)])
    return lines


def _axis_name(axis: AxisError) -> str:
    return f"{'rows' if axis.axis < 0 else f'axis {axis.axis}'} ({grouped(axis.extent)})"


def _curve(axis: AxisError, blocks: str) -> str:
    """The error in so many columns, each the largest of its indices; where a NaN meets something else it is full."""
    values = [math.inf if mismatch else share**0.5 for share, mismatch in zip(axis.shares, axis.mismatches, strict=True)]
    columns = min(len(values), _CURVE_WIDTH)
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    drawn = []
    for column in range(columns):
        first, stop = column * len(values) // columns, (column + 1) * len(values) // columns
        value = max(values[first:stop])
        height = 8 if not math.isfinite(value) else 0 if not largest else math.ceil(8 * value / largest)
        drawn.append(blocks[height])
    return "".join(drawn)


def _axis_text(axis: AxisError) -> str:
    parts = []
    if axis.carrying is not None:
        first, stop = axis.carrying
        if stop - first == 1:
            parts.append(f"90 % of the squared error at {first}")
        elif stop - first < 0.75 * axis.extent:
            parts.append(f"90 % of the squared error in {first}..{stop - 1}")
        else:
            parts.append("spread over all of it")
    if any(axis.mismatches):
        wrong = [number * axis.run_length for number, count in enumerate(axis.mismatches) if count]
        shown = ", ".join(map(str, wrong[:5])) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        parts.append(f"NaN or infinity at {shown}" if len(wrong) < len(axis.mismatches) else "NaN or infinity at every index")
    largest = max(axis.distances)
    if axis.carrying is not None:
        at = axis.distances.index(largest) * axis.run_length
        parts.append(f"largest relative distance {largest:.2g} at {at}")
    return "; ".join(parts)


def _worst_lines(facts: Facts) -> list[Line]:
    rows = [_element_cells(element) for element in facts.worst]
    header = ("index", "golden", "target", "|t-g|", "|t-g|/|g|")
    widths = [max(len(cells[column]) for cells in (header, *rows)) for column in range(5)]
    lines: list[Line] = [[("", _PLAIN)], [("worst elements", _TITLE)]]
    for cells in (header, *rows):
        text = "  ".join([f"{cells[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))])
        lines.append([(f"  {text}", _FAINT if cells is header else _PLAIN)])
    return lines


def _element_cells(element: Element) -> tuple[str, ...]:
    index = f"[{', '.join(map(str, element.index))}]"
    errors = ["" if value is None else f"{value:.3g}" for value in (element.absolute_error, element.relative_error)]
    return index, _value_text(element.golden), _value_text(element.target), *errors


def _value_text(value: Any) -> str:
    if isinstance(value, complex):
        return f"{value:.6g}"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


# --- how much --------------------------------------------------------------------------------------------------------------------------


def _size_lines(facts: Facts, blocks: str) -> list[Line]:
    absolute, relative = facts.absolute, facts.relative
    if not absolute.count:
        return []
    lines: list[Line] = [[("", _PLAIN)], [("sizes of the error", _TITLE)]]
    shares = [share for share, _ in absolute.quantiles]
    lines.append([("  " + " " * 10 + "".join(f"{_percent(share):>10}" for share in shares) + f"{'largest':>10}", _FAINT)])
    for name, histogram in (("|t-g|", absolute), ("|t-g|/|g|", relative)):
        if histogram.count:
            cells = "".join(f"{value:>10.2g}" for _, value in histogram.quantiles)
            lines.append([(f"  {name:<10}{cells}{histogram.largest:>10.2g}", _PLAIN)])
    if facts.near_zero_count:
        lines.append([(f"  {counted(facts.near_zero_count, 'element')} of golden too near to zero for a relative error", _FAINT)])
    for name, histogram in (("|t-g|", absolute), ("|t-g|/|g|", relative)):
        lines += _histogram_lines(name, histogram, blocks)
    return lines


def _histogram_lines(name: str, histogram: Histogram, blocks: str) -> list[Line]:
    bins = [("0", histogram.zero_count)] if histogram.zero_count else []
    bins += [(f"1e{exponent:+03d}", count) for exponent, count in histogram.decades]
    if not histogram.decades:
        return []
    most = max(count for _, count in bins)
    lines: list[Line] = [[(f"  {name}, by its decade", _FAINT)]]
    for label, count in bins:
        bar = blocks[8] * (math.ceil(_BAR_WIDTH * count / most) if count else 0)
        lines.append([(f"  {label:>9}  {grouped(count):>13}  {bar}".rstrip(), _PLAIN)])
    return lines


def _metric_lines(row: dict[str, Any]) -> list[Line]:
    """Every number of the row that is not empty, in two columns."""
    cells = [(name, _metric_text(value)) for name, value in row.items() if name not in _TOLD and value is not None and value != ""]
    if not cells:
        return []
    half = -(-len(cells) // 2)
    name_width, value_width = max(len(name) for name, _ in cells), max(len(value) for _, value in cells)
    lines: list[Line] = [[("", _PLAIN)], [("metrics of the report", _TITLE)]]
    for number in range(half):
        parts = [cells[number], *([cells[number + half]] if number + half < len(cells) else [])]
        lines.append([("  " + "    ".join(f"{name:<{name_width}} {value:>{value_width}}" for name, value in parts).rstrip(), _PLAIN)])
    return lines


def _metric_text(value: Any) -> str:
    if isinstance(value, float) and 0.9 < abs(value) < 1.0:  # a cosine: what it lacks of 1 is what it tells
        return f"{value:.12g}"
    return f"{value:.6g}" if isinstance(value, float) else grouped(value) if isinstance(value, int) else one_line(str(value))


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
