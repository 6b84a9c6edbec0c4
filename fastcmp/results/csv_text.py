"""The report as CSV text, the seed's own result.

`pyarrow.csv` puts every text cell in quotes, so the cells are made here, by Arrow kernels, and joined to lines: quotes only where they
are needed, as the original's CSV had them, ``True``/``False`` as text, an empty cell for what was not computed, ``nan`` for what is no
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BufferedIOBase, RawIOBase
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.results.schema import Column, custom_names, report_columns
from fastcmp.results.text import characters, csv_cells, without_formulas

# The text held at once, some MB, stays far below the 2 GiB of an Arrow string array, and small enough for Arrow to use the same memory
# again: with four times as many rows it gave back and asked for a gigabyte of huge pages on the way, at 2 us a row.
_ROWS_AT_ONCE: Final = 4096


def write_csv(table: pa.Table, file: BinaryIO | BufferedIOBase | RawIOBase, *, raw: bool = False, columns: Sequence[Column] = ()) -> None:
    """Write header and rows.

    Parameters
    ----------
    table : pyarrow.Table
    file : binary file
    raw : bool
        Leave text cells as they are, also those that a spreadsheet would run as a formula.
    columns : sequence of Column
        Those of the table; left out, it is in the report's schema.
    """
    columns = columns or report_columns(custom_names(table.schema.names))
    file.write(",".join(column.name for column in columns).encode() + b"\n")
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        rows = table.slice(start, _ROWS_AT_ONCE).combine_chunks()
        cells: list[Any] = [_cells(column, rows.column(column.name), raw) for column in columns]
        cells[-1] = pc.binary_join_element_wise(cells[-1], "", "\n")
        file.write(characters(pc.binary_join_element_wise(*cells, ",")))


def _cells(column: Column, values: pa.ChunkedArray, raw: bool) -> Any:
    array: Any = values.combine_chunks()
    if column.is_text:
        return csv_cells(array if raw else without_formulas(array))
    if column.arrow_type == "bool":
        return pc.fill_null(pc.if_else(array, "True", "False"), "")
    return pc.fill_null(pc.cast(array, pa.string()), "")
