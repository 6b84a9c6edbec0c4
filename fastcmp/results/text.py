"""Text that came from files, made fit for a report: valid Unicode, and harmless to spreadsheets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# A spreadsheet runs a cell that begins so (OWASP); NUL ends the text early in some of them.
_FORMULA: Final = r"^[=+\-@\t\r]|\x00"
_STARTS_FORMULA: Final = np.isin(np.arange(256), list(b"=+-@\t\r"))
_NEEDS_QUOTES: Final = r"[\",\r\n]"
_QUOTED: Final = (b",", b'"', b"\n", b"\r")


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


def parsed_shape(text: str) -> tuple[int, ...]:
    """The shape that `shape_text` shows as ``text``."""
    return tuple(int(extent) for extent in text.strip("()").split(",") if extent.strip())


def joined(notes: Iterable[str]) -> str:
    """Notes in their order, each once."""
    return "; ".join(dict.fromkeys(note for note in notes if note))


def characters(column: pa.StringArray) -> memoryview:
    """The UTF-8 of a text column without gaps: all cells, one after the other, not copied."""
    _, offsets, data = column.buffers()
    ends = memoryview(offsets).cast("i")
    first, last = ends[column.offset], ends[column.offset + len(column)]
    return memoryview(data)[first:last] if last > first else memoryview(b"")


def without_formulas(column: pa.Array) -> pa.Array:
    """A text column in which no cell is a spreadsheet formula: such cells, and those with a NUL, get a leading apostrophe."""
    # Looking at the first characters takes a tenth of the time of the expression, and nearly every column has none of these.
    if not _has_formula(column):
        return column
    return pc.if_else(pc.match_substring_regex(column, _FORMULA), pc.binary_join_element_wise("'", column, ""), column)


def _has_formula(column: pa.Array) -> bool:
    """True where a cell, or what lies under a null, is a formula or has a NUL."""
    if b"\0" in bytes(characters(column)):
        return True
    _, offsets, data = column.buffers()
    edges = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset)
    starts = edges[:-1][edges[1:] > edges[:-1]]
    return len(starts) > 0 and bool(_STARTS_FORMULA[np.frombuffer(data, np.uint8)[starts]].any())


def csv_cells(column: pa.Array) -> pa.Array:
    """A text column as CSV cells: quoted only where a comma, quote or line end asks for it; null is the empty cell."""
    text = bytes(characters(column))
    if any(mark in text for mark in _QUOTED):
        column = _by_value(column, _with_quotes)
    return pc.fill_null(column, "") if column.null_count else column


def _with_quotes(column: pa.Array) -> pa.Array:
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(column, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(column, _NEEDS_QUOTES), quoted, column)


def _by_value(column: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """``change`` of a column, made once for each of its values where they repeat, as shapes do."""
    encoded = column.dictionary_encode()
    if 2 * len(encoded.dictionary) > len(column):
        return change(column)
    return change(encoded.dictionary).take(encoded.indices)
