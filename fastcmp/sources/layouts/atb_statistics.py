"""``statistic.csv``, which msprobe leaves in the directory of an execution: statistics of tensors, and of some of them nothing else.

It names an operation by its numbers and its types, ``0_1`` and ``Model/Layer``: together they are the path that its tensors have.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from fastcmp.dtypes import DTYPES
from fastcmp.errors import UsageError
from fastcmp.formats.stated import MOST_AXES, Stated, bad_shape
from fastcmp.sources.json_document import read_bounded
from fastcmp.sources.layouts.atb_paths import order_of
from fastcmp.sources.layouts.layout import Entry, Reading
from fastcmp.sources.wording import listing, printable

STATISTIC_NAME: Final = "statistic.csv"

_MOST_BYTES: Final = 1 << 30
_DECIMALS: Final = 6
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
# Of a tensor without axes.
_NO_SHAPES: Final = ("", "N/A")
# Those of models known have fewer than ten.
_MOST_LEVELS: Final = 64
_COLUMNS: Final = (
    "Execution Count", "Op Name", "Op Id", "Input/Output", "Index", "Dtype", "Shape", "Max", "Min", "Mean", "Norm",
)  # fmt: skip
_MOMENTS: Final = {"input": ("before", "in"), "output": ("after", "out")}
_DTYPES: Final = {"float": "float32", "double": "float64", "bf16": "bfloat16"}


def stated_entries(reading: Reading) -> tuple[list[Entry], list[str]]:
    """What the files of statistics in a tree say, and warnings about lines that cannot be used."""
    rows: list[Entry] = []
    warnings = []
    for path in reading.marks:
        try:
            content = read_bounded(os.path.join(reading.tree.root, path), limit=_MOST_BYTES, roots=reading.options.scan.roots)
            found = list(_rows(content, path))
        except (UsageError, csv.Error) as error:
            warnings.append(f"{printable(path)}: not used: {error}")
            continue
        rows += _below_root([row for row in found if not isinstance(row, int)], path)
        if odd := [f"line {line}" for line in found if isinstance(line, int)]:
            warnings.append(f"{printable(path)}: lines that are no statistics of a tensor were ignored: {listing(odd)}")
    return rows, warnings


def _rows(content: bytes, path: str) -> Iterator[Entry | int]:
    """What lines state, and the numbers of lines that are no statistics of a tensor."""
    lines = csv.DictReader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    if not set(_COLUMNS) <= set(lines.fieldnames or ()):
        raise UsageError(f"expected the columns {', '.join(_COLUMNS)}")
    above = path.rpartition("/")[0].split("/")
    for line in lines:
        operation, moment = _operation(line), _MOMENTS.get(line["Input/Output"] or "")
        index, execution = line["Index"] or "", line["Execution Count"] or ""
        if operation is None or moment is None or not (_DIGITS.fullmatch(index) and _DIGITS.fullmatch(execution)):
            yield lines.line_num
            continue
        place = f"{operation}/{moment[0]}"
        process = "/".join(above[:-1]) if above[-1] == execution else "/".join(above)
        order = (order_of(place), moment[1], int(index), "")
        yield Entry(process, f"{place}/{moment[1]}tensor{int(index)}", execution, path, order, _stated(line))


def _below_root(rows: list[Entry], path: str) -> list[Entry]:
    """Without the execution where its directory is the root: the tensors there have no token then."""
    is_one = "/" not in path and len({row.token_id for row in rows}) == 1
    return [row._replace(token_id="") for row in rows] if is_one else rows


def _operation(line: dict[str, Any]) -> str | None:
    numbers, types = (line["Op Id"] or "").split("_"), (line["Op Name"] or "").split("/")
    if len(numbers) != len(types) or len(numbers) > _MOST_LEVELS or not all(map(_DIGITS.fullmatch, numbers)) or not all(types):
        return None
    return "/".join(f"{number}_{kind}" for number, kind in zip(numbers, types, strict=True))


def _stated(line: dict[str, Any]) -> Stated:
    written = line["Dtype"] or ""
    dtype = _DTYPES.get(written, written)
    said = line["Shape"] or ""
    extents = [] if said in _NO_SHAPES else said.split("x")
    is_shape = all(map(_DIGITS.fullmatch, extents)) and len(extents) <= MOST_AXES
    shape = tuple(map(int, extents)) if is_shape else ()
    numbers = {name: _number(line[column]) for name, column in (("max", "Max"), ("min", "Min"), ("mean", "Mean"), ("l2norm", "Norm"))}
    given = {name: value for name, value in numbers.items() if value is not None}
    fault = "" if is_shape else bad_shape(printable(repr(said), 80))
    return Stated(dtype if dtype in DTYPES else "", shape, given, _DECIMALS, fault=fault)


def _number(text: Any) -> float | None:
    """None for N/A and for the pairs of complex tensors."""
    try:
        value = float(text) if isinstance(text, str) and len(text) < 64 and "_" not in text else None
    except ValueError:
        return None
    return value if value is None or not math.isinf(value) or "inf" in str(text) else None
