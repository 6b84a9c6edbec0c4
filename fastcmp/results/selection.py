"""Rows of a report by what their cells say: ``verdict == fail``, ``max_absolute_error > 1e-3``, ``data_id ~ *.mlp.*``. Never evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.errors import UsageError
from fastcmp.globs import glob_mask
from fastcmp.results.execution_order import execution_orders
from fastcmp.results.findings import worst_order
from fastcmp.thresholds import LARGER_IS_BETTER

_GRAMMAR: Final = re.compile(r"\s*(?P<column>[A-Za-z_][A-Za-z_0-9]*)\s*(?P<symbol>>=|<=|==|!=|>|<|~)\s*(?P<value>.*?)\s*", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(?:inf|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.IGNORECASE)
_SHOWN: Final = "such as 'relative_euclidean_distance > 1e-3', 'verdict == fail' or 'data_id ~ *.mlp.*'"

# Orders beside those by one column.
WORST: Final = "worst"
RAN: Final = "ran"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison that a row must pass.

    Attributes
    ----------
    column : str
    symbol : {">=", "<=", "==", "!=", ">", "<", "~"}
        ``~`` matches a glob, case-sensitive.
    value : str
    """

    column: str
    symbol: str
    value: str


def parse_condition(text: str) -> Condition:
    """The condition that ``text`` says; whether the column exists is seen when it is applied.

    Raises
    ------
    UsageError
    """
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text!r}: expected 'column op value' with one of >= > <= < == != ~, {_SHOWN}")
    return Condition(match["column"], match["symbol"], match["value"])


def matching_rows(table: pa.Table, conditions: Sequence[Condition]) -> np.ndarray:
    """Numbers of the rows that pass all conditions, in report order; an empty cell passes none but ``!=``.

    Raises
    ------
    UsageError
        If there is no such column, or the operator does not fit it.
    """
    passes = np.ones(table.num_rows, dtype=bool)
    for condition in conditions:
        passes &= _passes(table, condition)
    return np.flatnonzero(passes)


def _passes(table: pa.Table, condition: Condition) -> np.ndarray:
    column = _column(table, condition.column, "--where")
    shown = f"--where '{condition.column} {condition.symbol} {condition.value}'"
    if pa.types.is_string(column.type):
        return _text_passes(column, condition, shown)
    if pa.types.is_boolean(column.type):
        if condition.symbol not in ("==", "!=") or condition.value.lower() not in ("true", "false"):
            raise UsageError(f"{shown}: {condition.column} is True or False, expected == or != and one of them")
        return _truth(pc.equal(column, condition.value.lower() == "true"), negated=condition.symbol == "!=")
    if _NUMBER.fullmatch(condition.value) is None or condition.symbol == "~":
        raise UsageError(f"{shown}: {condition.column} is a number, expected one of >= > <= < == != and a number")
    limit = pa.scalar(float(condition.value))
    compare = {">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less, "==": pc.equal, "!=": pc.equal}[condition.symbol]
    return _truth(compare(column.cast(pa.float64()), limit), negated=condition.symbol == "!=")


def _text_passes(column: pa.ChunkedArray, condition: Condition, shown: str) -> np.ndarray:
    if condition.symbol == "~":
        encoded = column.combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):  # what an empty table becomes
            encoded = encoded.combine_chunks()
        fits = np.append(glob_mask(condition.value, encoded.dictionary.to_pylist()), False)
        return fits[pc.fill_null(encoded.indices, len(fits) - 1).to_numpy(zero_copy_only=False)]
    if condition.symbol not in ("==", "!="):
        raise UsageError(f"{shown}: {condition.column} is text, expected == or != and a text, or ~ and a glob")
    return _truth(pc.equal(column, condition.value), negated=condition.symbol == "!=")


def _truth(values: pa.ChunkedArray, *, negated: bool) -> np.ndarray:
    truth = pc.fill_null(values, False).to_numpy().astype(bool)
    return ~truth if negated else truth


def sorted_rows(table: pa.Table, rows: np.ndarray, order: str) -> np.ndarray:
    """``rows`` in another order.

    Parameters
    ----------
    table : pyarrow.Table
    rows : ndarray of int
    order : str
        ``worst``: failed ones first, then by distance; ``ran``: in the order in which they ran; the name of a column: its worst values
        first, text in the order of letters, empty cells last.

    Raises
    ------
    UsageError
        If there is no such order.
    """
    if order == WORST:
        return worst_order(table, rows)
    if order == RAN:
        return rows[np.argsort(execution_orders(table)[rows], kind="stable")]
    column = _column(table, order, "--sort").combine_chunks()
    direction = "ascending" if pa.types.is_string(column.type) or order in LARGER_IS_BETTER else "descending"
    chosen = pa.table({"value": column.take(pa.array(rows)), "row": pa.array(rows)})
    if pa.types.is_floating(column.type):  # a NaN is worse than any number
        is_nan = pc.fill_null(pc.is_nan(chosen.column("value")), False)
        chosen = chosen.append_column("nan", pc.cast(is_nan, pa.int8()))
        keys = [("nan", "descending"), ("value", direction), ("row", "ascending")]
    else:
        keys = [("value", direction), ("row", "ascending")]
    places = pc.sort_indices(chosen, sort_keys=keys).to_numpy(zero_copy_only=False)
    return rows[places]


def _column(table: pa.Table, name: str, option: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        close = get_close_matches(name, [*table.column_names, *((WORST, RAN) if option == "--sort" else ())], n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else f"the columns are {', '.join(table.column_names)}"
        raise UsageError(f"{option} {name!r}: no column is called so; {hint}")
    return table.column(name)
