"""Rows of a report against their truth, column by column, each with the accuracy that is promised for it."""

from __future__ import annotations

import math
from typing import Any

import mpmath
from metrics_truth import Truth
from tensor_files import COMPLEX, FLOATS, Tensor

EXACT = frozenset(
    "golden_max_value golden_min_value acl_max_value acl_min_value max_relative_error max_absolute_error max_absolute_error_golden "
    "max_absolute_error_target max_absolute_error_index within_one_thousandth_ratio within_five_thousandths_ratio mismatch_count "
    "golden_nan_count golden_inf_count target_nan_count target_inf_count nonfinite_mismatch_count near_zero_golden_count element_count "
    "bytes".split()
)
SUMS = frozenset(
    "golden_mean_value acl_mean_value mean_relative_error relative_euclidean_distance mean_absolute_error root_mean_square_error "
    "worst_row_distance rounding_floor".split()
)
DIVERGENCES = frozenset(("kl_divergence", "kl_divergence_row_max", "kl_divergence_row_mean"))
# A modulus is a square root of a sum, and a quotient or difference of 64-bit integers comes of rounded numbers: no last digit is right.
LAST_DIGITS = 1e-15
# A sum with signs may cancel: what is left of 1e30 - 1e30 is as good as the digits of 1e30.
CANCELLATION = 1e-14


def agrees(name: str, said: Any, true: Any, *, last_digits: float = 0.0) -> bool:
    """True if a cell says what it must, within the accuracy of its column."""
    if said is None or true is None or isinstance(true, str) or math.isinf(true) or said != said:
        return bool(said == true)
    error = abs(said - true)
    if name == "cosine_similarity":
        return -1 <= said <= 1 and error <= 1e-12
    if name in DIVERGENCES:
        return said >= 0 and error <= max(1e-6 * true, 1e-12)
    if name == "signal_to_noise_db":
        return error <= 10 * math.log10(1 + 2e-9)
    if name in SUMS:
        return error <= 1e-9 * abs(true)
    assert name in EXACT, name
    return error <= last_digits * abs(true)


def disagreements(row: dict[str, Any], golden: Tensor, target: Tensor, truth: Truth) -> list[str]:
    """What a row says wrong, empty if nothing."""
    plain = {golden.dtype, target.dtype} <= set(FLOATS)
    wrong = []
    for name, true in truth.columns.items():
        if name in truth.mean_sizes and true is not None:
            if row[name] is None or not abs(row[name] - true) <= max(1e-9 * abs(true), CANCELLATION * truth.mean_sizes[name]):
                wrong.append(f"{name}: {row[name]!r}, expected {true!r}")
            continue
        loose = {golden.dtype, target.dtype} & set(COMPLEX) or (name in ("max_relative_error", "max_absolute_error") and not plain)
        if not agrees(name, row[name], true, last_digits=LAST_DIGITS if loose else 0.0):
            wrong.append(f"{name}: {row[name]!r}, expected {true!r}")
    return wrong + worst_row_disagreements(row["worst_row"], golden, target, truth)


def worst_row_disagreements(said: int | None, golden: Tensor, target: Tensor, truth: Truth) -> list[str]:
    """The row must have the largest distance (two within the accuracy of a sum are equally good) and be the first of its equals."""
    distances = truth.distances
    known = [value for value in distances if value is not None]
    if said is None or not known:
        return [] if said is None and not known else [f"worst_row: {said!r}, expected {'a row' if known else 'none'}"]
    run, rest = divmod(said, truth.row_step)
    if rest or not 0 <= run < len(distances) or distances[run] is None:
        return [f"worst_row: {said!r} is no row that counts"]
    largest = max(known)
    if distances[run] != largest and not (largest < mpmath.inf and distances[run] >= largest * (1 - 1e-9)):
        return [f"worst_row: {said!r} has {distances[run]}, the largest is {largest}"]
    length = (golden.shape[-1] if len(golden.shape) > 1 else golden_count(golden)) * truth.row_step
    rows = [row_bytes(golden, target, index, length) for index in range(run + 1)]
    return [] if rows.index(rows[run]) == run else [f"worst_row: {said!r}, but an equal row stands before it"]


def golden_count(golden: Tensor) -> int:
    return math.prod(golden.shape)


def row_bytes(golden: Tensor, target: Tensor, run: int, length: int) -> tuple[bytes, bytes]:
    """The bytes of one run of rows of both sides."""
    count = golden_count(golden)
    sides = []
    for side in (golden, target):
        itemsize = len(side.payload) // count
        sides.append(side.payload[run * length * itemsize : (run + 1) * length * itemsize])
    return sides[0], sides[1]
