"""Columns as few characters that no HTML parser can take for anything: little-endian arrays, deflated, in base64.

A packed text is base64 of a zlib stream of: the length of a JSON object (uint32), the object, zeros up to a multiple of 8, then arrays that
begin at multiples of 8. In the object an array is ``{"array": "f4", "at": first byte, "length": elements}``; page.js reads it.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fastcmp.results.schema import Column, custom_names, report_columns
from fastcmp.sources.wording import printable

MOST_CHARACTERS: Final = 400
"""Of a text from a file, in the page; the report itself has all of it."""

_FLOAT32_RANGE: Final = (1e-37, 1e38)
# Seven digits do for an error, not for what is told from 1 by its eighth.
_IN_FULL: Final = frozenset({"cosine_similarity"})


class Packer:
    """Collects arrays and packs them with an object that speaks of them."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._size = 0

    def array(self, values: np.ndarray) -> dict[str, Any]:
        """What stands for an array in the object. Floats of 32 bits have their bytes parted by place: signs and exponents deflate well."""
        kind = values.dtype.str[1:]
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        content = little.view(np.uint8).reshape(-1, little.itemsize).T.reshape(-1) if kind == "f4" else little.view(np.uint8)
        padded = np.zeros(-(-len(content) // 8) * 8, dtype=np.uint8)
        padded[: len(content)] = content
        reference = {"array": kind, "at": self._size, "length": len(values)}
        self._arrays.append(padded)
        self._size += len(padded)
        return reference

    def packed(self, header: dict[str, Any]) -> str:
        """All of it."""
        text = json.dumps(header, allow_nan=False).encode()
        start = -(-(4 + len(text)) // 8) * 8
        head = (len(text).to_bytes(4, "little") + text).ljust(start, b"\0")
        return base64.b64encode(zlib.compress(head + b"".join(array.tobytes() for array in self._arrays), 6)).decode()


def codes(values: np.ndarray) -> np.ndarray:
    """Non-negative integers in as few bytes as they need."""
    most = int(values.max(initial=0))
    return values.astype(np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32)


def shown(text: str) -> str:
    """A text from a file: on one line, nothing hidden, nothing that turns the text around, and not too long."""
    return printable(text, MOST_CHARACTERS)


def pack_columns(table: pa.Table, rows: np.ndarray, names: tuple[str, ...]) -> str:
    """Columns of a table that holds these ``rows`` of a report, for the panel that shows a whole row."""
    packer, there = Packer(), report_columns(custom_names(table.column_names))
    columns = [_column(packer, column, table.column(column.name).combine_chunks()) for column in there if column.name in names]
    return packer.packed({"rows": packer.array(codes(rows)), "columns": columns})


def _column(packer: Packer, column: Column, values: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": column.name}
    if isinstance(values, pa.ChunkedArray):  # what an empty column becomes
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if values.null_count == len(values):
        return facts
    if values.null_count:
        facts["empty"] = packer.array(values.is_null().to_numpy(zero_copy_only=False).astype(np.uint8))
    if column.arrow_type == "float64":
        facts["numbers"] = packer.array(_short(column.name, values.fill_null(0).to_numpy()))
    elif column.arrow_type == "int64" and _fits(values.fill_null(0).to_numpy()):
        facts["numbers"] = packer.array(values.fill_null(0).to_numpy().astype(np.int32))
    else:
        encoded = values.cast(pa.string()).fill_null("").dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        facts["texts"] = [text.capitalize() if column.arrow_type == "bool" else shown(text) for text in texts]
        facts["codes"] = packer.array(codes(encoded.indices.to_numpy()))
    return facts


def _fits(values: np.ndarray) -> bool:
    return bool(((values >= -(1 << 31)) & (values < 1 << 31)).all())


def _short(name: str, values: np.ndarray) -> np.ndarray:
    """float32 where its range does for all of them."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    low, high = _FLOAT32_RANGE
    in_range = not len(sizes) or (sizes.min() > low and sizes.max() < high)
    return values.astype(np.float32) if in_range and name not in _IN_FULL else values.astype(np.float64)
