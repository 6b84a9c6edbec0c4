"""The table of the worst tensors, as HTML that can be read, printed and searched without any script."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import pyarrow as pa

from fastcmp.page.cells import Cells
from fastcmp.page.packing import shown
from fastcmp.page.words import grouped
from fastcmp.verdict import ERROR, FAIL, PASS

MOST_ROWS: Final = 300

# Column of the report, heading, and whether it is a number.
_COLUMNS: Final = (
    ("rank", "rank", False),
    ("token_id", "token", False),
    ("data_id", "data_id", False),
    ("verdict", "verdict", False),
    ("relative_euclidean_distance", "relative euclidean distance", True),
    ("cosine_similarity", "cosine similarity", True),
    ("max_absolute_error", "max absolute error", True),
    ("mean_relative_error", "mean relative error", True),
    ("mismatch_count", "mismatches", True),
    ("nonfinite_mismatch_count", "non-finite mismatches", True),
    ("acl_dtype", "target dtype", False),
    ("acl_shape", "target shape", False),
    ("verdict_reason", "reason", False),
)


def worst_table(table: pa.Table, cells: Cells) -> str:
    """The section with the table: failed pairs first, then what could not be compared, then the largest errors."""
    rows = cells.worst_first()[:MOST_ROWS]
    columns = [column for column in _COLUMNS if column[0] != "rank" or len(cells.ranks) > 1]
    part = table.select([name for name, _, _ in columns]).take(pa.array(rows))
    body = "\n".join(
        _row(row, [(name, values[name], is_number) for name, _, is_number in columns])
        for row, values in zip(rows.tolist(), part.to_pylist(), strict=True)
    )
    heads = "".join(
        f'<th scope="col"{" class=number" if is_number else ""}><button type="button" title="{escape(name)}">{escape(label)}</button></th>'
        for name, label, is_number in columns
    )
    total = table.num_rows
    verdicts = "".join(f"<option>{word}</option>" for word in (FAIL, ERROR, PASS))
    note = f"The {len(rows)} worst of {total} rows; all of them stand in cmp_report.csv." if total > len(rows) else f"All {total} rows."
    return f"""<section id="worst"><h2>Worst tensors</h2>
<p class="note">{note} Failed pairs first, then what could not be compared, then the others; by distance, and what has none behind them.</p>
<div class="bar"><label>filter <input type="search" id="filter" placeholder="part of a name, dtype or reason"></label>
<label>verdict <select id="verdict"><option value="">any</option>{verdicts}</select></label>
<span class="note" id="filtered" role="status"></span></div>
<div class="scroll"><table class="rows"><thead><tr>{heads}</tr></thead><tbody>
{body}
</tbody></table></div></section>"""


def _row(row: int, values: list[tuple[str, Any, bool]]) -> str:
    cells = "".join(
        _number(name, value) if is_number else f"<td class={name}><bdi>{escape(shown(value or ''))}</bdi></td>"
        for name, value, is_number in values
    )
    return f'<tr data-row="{row}" tabindex="0">{cells}</tr>'


def _number(name: str, value: float | int | None) -> str:
    """A number to read, and itself to be sorted by."""
    if value is None:
        return "<td class=number></td>"
    if isinstance(value, int):
        text = grouped(value)
    elif name == "cosine_similarity":  # what tells it from 1 stands far behind the point
        text = f"{value:.8g}"
    else:
        text = f"{value:.4g}"
    return f'<td class=number data-value="{value}">{text}</td>'
