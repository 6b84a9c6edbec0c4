"""The error by layer and token as a grid of characters."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Final

from fastcmp.cli.shown import fitted, shortened

if TYPE_CHECKING:
    import pyarrow as pa

    from fastcmp.analysis.heat import Heat
    from fastcmp.cli.summary import Line

_MOST_ROWS: Final = 40
_LABEL_WIDTH: Final = 32
# Each is as wide as the longest of them.
_LONGEST_LABEL: Final = 300
_CELL_WIDTH: Final = 3
_NOTHING: Final = "."
# Colours of a distance by its decade, the largest first: 1 and more, 0.1, ... Readable without them, for the digit says the same.
_STYLES: Final = ("white on red", "black on dark_orange", "black on yellow", "black on green3", "white on dark_green")
_FAINT: Final = "dim"


def heat_lines(table: pa.Table) -> list[Line]:
    """The grid, as lines for `fastcmp.cli.summary.print_lines`; none where there is nothing to see in it."""
    from fastcmp.analysis.heat import find_heat

    width = shutil.get_terminal_size((100, 24)).columns
    heat = find_heat(table, most_rows=_MOST_ROWS, most_columns=max(1, (width - _LABEL_WIDTH) // _CELL_WIDTH))
    if heat.distance.size < 2:
        return []
    row_labels = [shortened(fitted(label, _LABEL_WIDTH - 2), _LONGEST_LABEL) for label in heat.row_labels]
    label_width = max(map(len, row_labels)) + 2
    lines: list[Line] = [[(f"error by {'layer' if heat.rows_are_layers else 'tensor'} and token:", "")]]
    lines += _header(heat, label_width)
    has_dot = False
    for number, label in enumerate(row_labels):
        line: Line = [(f"{label:<{label_width}}", "")]
        line += [_cell(heat, number, column) for column in range(len(heat.column_labels))]
        has_dot = has_dot or any(text.startswith(_NOTHING) for text, _ in line[1:])
        text, style = line.pop()
        lines.append([*line, (text.rstrip(), style)])
    lines.append([("  n: the worst relative_euclidean_distance is 1e-n or more; =: equal; !: a pair fails; ?: not compared", _FAINT)])
    if has_dot:
        lines.append([(f"  {_NOTHING}: no tensor there, or all that are there pass without that number, as by statistics", _FAINT)])
    merged = [f"{count} {noun}" for count, noun in ((heat.rows_per_cell, "rows"), (heat.tokens_per_cell, "tokens")) if count > 1]
    if merged:
        lines.append([(f"  each cell is the worst of {' and '.join(merged)}", _FAINT)])
    return lines


def _header(heat: Heat, label_width: int) -> list[Line]:
    labels = [label.split(" .. ")[0] for label in heat.column_labels]
    if labels == [""]:
        return []
    # Every label where all are short, else every fifth, so that they do not run into each other.
    widest = max(len(shortened(label, 12)) for label in labels)
    every = -(-(widest + 1) // _CELL_WIDTH)
    text = "".join(f"{shortened(label, 12):<{_CELL_WIDTH * every}}" for label in labels[::every])
    return [[(f"{'token':<{label_width}}{text}".rstrip(), _FAINT)]]


def _cell(heat: Heat, row: int, column: int) -> tuple[str, str]:
    distance = heat.distance[row, column]
    mark = "!" if heat.has_failed[row, column] else "?" if heat.has_unknown[row, column] else ""
    if math.isnan(distance):
        return f"{mark or _NOTHING:<{_CELL_WIDTH}}", "red" if mark else _FAINT
    if distance == 0:
        return f"{'=' + mark:<{_CELL_WIDTH}}", "red" if mark else _FAINT
    decade = 0 if math.isinf(distance) else min(max(-math.floor(math.log10(distance)), 0), 9)
    style = _STYLES[min(decade, len(_STYLES) - 1)] if mark == "!" else ("red" if mark else "")
    return f"{f'{decade}{mark}':<{_CELL_WIDTH}}", style
