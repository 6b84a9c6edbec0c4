"""Text that came from files, made fit for a report: valid Unicode, and harmless to spreadsheets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# A spreadsheet runs a cell that begins so (OWASP); NUL ends the text early in some of them.
_FORMULA: Final = r"^[=+\-@\t\r]|\x00"
_NEEDS_QUOTES: Final = r"[\",\r\n]"


def valid_unicode(text: str) -> str:
    r"""``text`` with every lone surrogate shown: undecodable file name bytes as ``\xNN``, others as ``\uNNNN``."""
    return _SURROGATE.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def string_array(values: Sequence[str | None]) -> pa.Array:
    """An Arrow string column; lone surrogates are made visible, None becomes null."""
    try:
        return pa.array(values, pa.string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return pa.array([None if value is None else valid_unicode(value) for value in values], pa.string())


def shape_text(shape: tuple[int, ...] | None) -> str | None:
    """A shape as the report shows it: ``(2, 3)``, ``(5,)``, ``()``."""
    return None if shape is None else str(tuple(shape))


def joined(notes: Iterable[str]) -> str:
    """Notes in their order, each once."""
    return "; ".join(dict.fromkeys(note for note in notes if note))


def without_formulas(column: pa.Array) -> pa.Array:
    """A text column in which no cell is a spreadsheet formula: such cells, and those with a NUL, get a leading apostrophe."""
    return pc.if_else(pc.match_substring_regex(column, _FORMULA), pc.binary_join_element_wise("'", column, ""), column)


def csv_cells(column: pa.Array) -> pa.Array:
    """A text column as CSV cells: quoted only where a comma, quote or line end asks for it; null is the empty cell."""
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(column, '"', '""'), '"', "")
    cells = pc.if_else(pc.match_substring_regex(column, _NEEDS_QUOTES), quoted, column)
    return pc.fill_null(cells, "")
