"""How the error grew: over what ran before, over the token before, and over the inputs of the same operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.analysis.order import Order
from fastcmp.dtypes import DTYPES
from fastcmp.name_expressions import INPUT, OUTPUT, STALE
from fastcmp.verdict import FAIL

# Rounding to p significand bits moves a tensor by this times 2^-p on average (measured: 0.0016 to 0.0017 for bfloat16, p = 8).
_MEAN_ROUNDING: Final = 0.43
# What the order of a long float32 sum moves, whatever dtype the result is stored in: a thousand products, added one by one.
_SUM_ROUNDING: Final = 2.0**-20
_SUM_ROUNDING_FLOAT64: Final = 2.0**-49
_FLOAT64_BITS: Final = 53
NARROW_VALUES: Final = "W_NARROW_VALUES"

# What an error tells of: a distance that is a number, or why it is inf.
NUMBER, VAST, ZEROS, INTEGER, NONFINITE, SHAPE = range(6)


@dataclass(frozen=True)
class Growth:
    """Errors and what they grew from; arrays with an entry per row of the report, NaN where there is nothing to say.

    Attributes
    ----------
    error : ndarray of float64
        relative_euclidean_distance, with its square root always; inf where golden is all zeros and target is not, for integers that are
        not all equal, where a NaN or infinity meets something else, and where the shapes differ. NaN: not compared.
    cause : ndarray of int8
        `NUMBER`, or of an error that is inf, which of these: `VAST` (beyond the largest number), `ZEROS`, `INTEGER`, `NONFINITE`,
        `SHAPE`; of several the last.
    floor : ndarray of float64
        What one rounding of the pair's narrower dtype does by itself.
    inherited : ndarray of float64
        The largest error among the inputs of the same operation; NaN for inputs, and where none was dumped.
    added : ndarray of float64
        What the operation itself added: sqrt(error² - inherited²), 0 where it took away.
    before : ndarray of float64
        The largest error that had been seen in the same step (token and rank) before this row; 0 for its first.
    previous : ndarray of float64
        The error of the row that ran just before it in the same step.
    previous_token : ndarray of float64
        The error of the same tensor at the token before.
    is_integer : ndarray of bool
    """

    error: np.ndarray
    cause: np.ndarray
    floor: np.ndarray
    inherited: np.ndarray
    added: np.ndarray
    before: np.ndarray
    previous: np.ndarray
    previous_token: np.ndarray
    is_integer: np.ndarray

    @property
    def reference(self) -> np.ndarray:
        """What an error is to be seen beside: that of its inputs, or else the largest before it."""
        return np.where(np.isnan(self.inherited), self.before, self.inherited)


def find_growth(table: pa.Table, order: Order) -> Growth:
    """The growth of every row of a report table."""
    golden, target = _dtype_facts(table, "golden_dtype"), _dtype_facts(table, "acl_dtype")
    is_integer = golden.is_integer & target.is_integer
    error, cause = _errors(table, is_integer)
    bits = np.minimum(np.minimum(golden.bits, target.bits), narrow_bits(table))
    floor = np.fmax(np.where(is_integer, 0.0, _MEAN_ROUNDING * 0.5**bits), numbers(table, "rounding_floor"))
    floor = np.maximum(floor, np.where(bits >= _FLOAT64_BITS, _SUM_ROUNDING_FLOAT64, _SUM_ROUNDING))
    part = order.names.part[order.name]
    # What nothing is known about, and what the memory held before, is nobody's cause.
    known = np.where(np.isnan(error) | (part == STALE), 0.0, error)
    inherited = _inherited(order, part, error)
    with np.errstate(invalid="ignore"):  # inf - inf: nothing can be told apart
        added = np.sqrt(np.maximum(error * error - inherited * inherited, 0.0))
    in_steps = order.rows[np.argsort(order.step[order.rows], kind="stable")]
    return Growth(
        error=error,
        cause=cause,
        floor=floor,
        inherited=inherited,
        added=added,
        before=_running_maximum(known, order.step, in_steps),
        previous=_one_before(error, order.step, in_steps),
        previous_token=_one_before(error, order.rank * len(order.names.texts) + order.name, _by_token(order)),
        is_integer=is_integer,
    )


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A numeric column as float64, NaN where it is empty."""
    return table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)


def texts_equal(table: pa.Table, name: str, text: str) -> np.ndarray:
    """Where a text column says ``text``."""
    return pc.fill_null(pc.equal(table.column(name), text), False).to_numpy(zero_copy_only=False)


def narrow_bits(table: pa.Table) -> np.ndarray:
    """Significand bits of the values that a note says are narrower than their dtype; inf where none does."""
    bits = np.full(table.num_rows, np.inf)
    notes = table.column("notes")
    if not pc.any(pc.fill_null(pc.match_substring(notes, NARROW_VALUES), False)).as_py():
        return bits
    for dtype in ("float16", "bfloat16"):  # the narrower last: of two sides it is what counts
        said = pc.fill_null(pc.match_substring_regex(notes, rf"{NARROW_VALUES}: [^;]* {dtype}(;|$)"), False)
        bits[said.to_numpy(zero_copy_only=False).astype(bool)] = DTYPES[dtype].significand_bits
    return bits


@dataclass(frozen=True)
class _DTypeFacts:
    bits: np.ndarray
    is_integer: np.ndarray


def _dtype_facts(table: pa.Table, column: str) -> _DTypeFacts:
    encoded = table.column(column).combine_chunks().fill_null("").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    rows: list[Any] = [DTYPES.get(name) for name in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    bits = np.array([24 if row is None else row.significand_bits for row in rows], dtype=np.float64)
    is_integer = np.array([row is not None and row.kind in ("int", "bool") for row in rows], dtype=bool)
    return _DTypeFacts(bits[codes], is_integer[codes])


def _errors(table: pa.Table, is_integer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `Growth.error` and `Growth.cause`."""
    compared = table.column("cmp_flag").to_numpy(zero_copy_only=False).astype(bool)
    # Not the distance itself, of which --compat-euclid legacy leaves the square.
    with np.errstate(over="ignore"):
        error = 10.0 ** (-numbers(table, "signal_to_noise_db") / 20)
    error[is_integer] = np.where(numbers(table, "mismatch_count")[is_integer] > 0, np.inf, 0.0)
    empty = compared & np.isnan(error)  # no element, or none that is finite on both sides
    error[empty] = 0.0
    is_zero = (numbers(table, "golden_max_value") == 0) & (numbers(table, "golden_min_value") == 0)
    for name in ("golden_nan_count", "golden_inf_count"):
        is_zero &= ~(numbers(table, name) > 0)  # the largest and the smallest are those of what is finite
    cause = np.select([is_integer, is_zero], [INTEGER, ZEROS], VAST).astype(np.int8)
    cause[compared & (numbers(table, "nonfinite_mismatch_count") > 0)] = NONFINITE
    reason = pc.fill_null(pc.match_substring(table.column("verdict_reason"), "[E_SHAPE]"), False).to_numpy(zero_copy_only=False)
    cause[texts_equal(table, "verdict", FAIL) & reason] = SHAPE
    error[cause >= NONFINITE] = np.inf
    error[~compared & ~np.isinf(error)] = np.nan
    return error, np.where(np.isinf(error), cause, NUMBER)


def _inherited(order: Order, part: np.ndarray, error: np.ndarray) -> np.ndarray:
    """For outputs, the largest known error among the inputs of the same call."""
    owner = order.names.owner[order.name]
    calls, call = np.unique(order.step * (int(owner.max(initial=0)) + 1) + owner, return_inverse=True)
    largest = np.full(len(calls), -1.0)
    is_known_input = (part == INPUT) & ~np.isnan(error)
    np.maximum.at(largest, call[is_known_input], error[is_known_input])
    inherited = largest[call]
    return np.where((part == OUTPUT) & (inherited >= 0), inherited, np.nan)


def _running_maximum(values: np.ndarray, group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each row the largest value of its group before it; ``rows`` has the groups one after the other."""
    if not len(rows):
        return np.zeros(0)
    # A running maximum of ranks: those of a later group are above all of an earlier one, so that it begins anew.
    distinct, ranks = np.unique(values[rows], return_inverse=True)
    groups = np.cumsum(np.diff(group[rows], prepend=group[rows][0]) != 0)
    highest = np.maximum.accumulate(ranks + groups * len(distinct))
    before = np.empty(len(rows))
    before[0] = 0.0
    before[1:] = np.where(np.diff(groups) == 0, distinct[highest[:-1] - groups[:-1] * len(distinct)], 0.0)
    result = np.empty(len(rows))
    result[rows] = before
    return result


def _by_token(order: Order) -> np.ndarray:
    """Rows so that those of one tensor stand together, its tokens in their order."""
    return np.lexsort((order.token, order.name, order.rank))


def _one_before(values: np.ndarray, group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each row the value of the one before it in its group; NaN for the first."""
    result = np.full(len(rows), np.nan)
    same = group[rows[1:]] == group[rows[:-1]]
    result[rows[1:][same]] = values[rows[:-1][same]]
    return result
