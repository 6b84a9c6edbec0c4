"""Sums to named numbers; the one place that says what NaN, zero and empty mean.

* A metric that was not computed, or that nothing could be said about, is *masked* in its column. NaN and infinity are values.
* Nothing finite: every error, the cosine and each side's own values are masked; the counts speak.
* No golden value above the relative floor: the relative errors are 0, and near_zero_golden_count says why.
* Golden all zero: relative_euclidean_distance is 0 if target is all zero too, else inf; equal tensors have an infinite signal_to_noise_db.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.kernels.sums import SHORTEST_ROW
from fastcmp.options import CompareOptions

# Shares of Sigma g^2 below which the cosine is computed from the difference: there 1 - cos keeps all its digits.
_CLOSE: Final = 0.25

# From so many on, numpy takes indices apart sooner than Python does one by one.
_LEAST_TOGETHER: Final = 16

_COUNT_COLUMNS: Final = (
    "mismatch_count",
    "golden_nan_count",
    "golden_inf_count",
    "target_nan_count",
    "target_inf_count",
    "nonfinite_mismatch_count",
    "near_zero_golden_count",
    "element_count",
)


def finish(
    sums: np.ndarray,
    golden_dtypes: Sequence[str],
    target_dtypes: Sequence[str],
    golden_shapes: Sequence[tuple[int, ...]],
    target_shapes: Sequence[tuple[int, ...]],
    options: CompareOptions,
) -> dict[str, Any]:
    """Metric columns of n compared pairs.

    Parameters
    ----------
    sums : ndarray of SUMS_DTYPE, shape (n,)
        Of whole pairs.
    golden_dtypes, target_dtypes : sequence of str, n
        Storage dtypes.
    golden_shapes, target_shapes : sequence of tuple of int, n
        Logical shapes. Indices are of golden's; target's are taken so that callers need not choose.
    options : CompareOptions

    Returns
    -------
    dict of str to column
        Floats are masked arrays of float64 (masked: not computed), counts int64 arrays, ``worst_row`` a masked int64 array,
        ``max_absolute_error_index`` a list of str or None, such as ``"(1, 2)"``. ``notes`` is a list of n tuples of sentences.
    """
    with np.errstate(all="ignore"):
        columns: dict[str, Any] = {name: sums[name].copy() for name in _COUNT_COLUMNS}
        columns.update(_side_columns(sums, "golden", "golden"))
        columns.update(_side_columns(sums, "target", "acl"))
        columns.update(_distance_columns(sums, options))
        columns.update(_error_columns(sums))
        columns.update(_row_columns(sums))
        columns.update(_divergence_columns(sums))
    columns["max_absolute_error_index"] = _index_texts(sums["max_absolute_index"], golden_shapes)
    columns["notes"] = _notes(sums, golden_dtypes, target_dtypes)
    return columns


def cosine_similarity(sums: np.ndarray) -> np.ndarray:
    r"""Cosine of the angle between two tensors read as flat vectors, shape (n,).

    Where the tensors are close, ``1 - cos = (Σ(t-g)² - (|t|-|g|)²) / 2|g||t|``, which is exactly 0 for equal ones and loses no
    digits to cancellation; elsewhere ``Σgt / |g||t|``, clamped to [-1, 1]. 1.0 if both are all zero, 0.0 if just one is.
    """
    golden, target = np.sqrt(_total(sums, "sum_golden_squared")), np.sqrt(_total(sums, "sum_target_squared"))
    cosine = np.clip(_total(sums, "sum_product") / golden / target, -1.0, 1.0)
    common = np.maximum(sums["golden_exponent"], sums["target_exponent"])
    scaled_golden = np.ldexp(golden, sums["golden_exponent"] - common)
    scaled_target = np.ldexp(target, sums["target_exponent"] - common)
    difference = _total(sums, "sum_difference_squared")
    # The squares are subtracted part by part: their high parts are nearly equal.
    gap = _gap_of_squares(sums) / (golden + target)
    close = (sums["golden_exponent"] == sums["target_exponent"]) & (
        difference < _CLOSE * np.minimum(scaled_golden * scaled_golden, scaled_target * scaled_target)
    )
    near_one = np.clip(1.0 - (difference - gap * gap) / (2.0 * golden * target), -1.0, 1.0)
    cosine = np.where(close, near_one, cosine)
    golden_zero, target_zero = golden == 0.0, target == 0.0
    return np.where(golden_zero & target_zero, 1.0, np.where(golden_zero | target_zero, 0.0, cosine))


def _gap_of_squares(sums: np.ndarray) -> np.ndarray:
    """Sum of target's squares minus golden's."""
    high = sums["sum_target_squared"] - sums["sum_golden_squared"]
    return high + (sums["sum_target_squared_lo"] - sums["sum_golden_squared_lo"])


def _total(sums: np.ndarray, name: str) -> np.ndarray:
    return sums[name] + sums[name + "_lo"]


def _masked(values: np.ndarray, present: np.ndarray) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.MaskedArray(values, mask=~present)


def _side_columns(sums: np.ndarray, side: str, prefix: str) -> dict[str, Any]:
    """A side's own values, over its own finite elements."""
    count = sums[f"{side}_finite_count"]
    mean = np.ldexp(_total(sums, f"sum_{side}") / count, sums[f"{side}_exponent"])
    values = {"max": sums[f"{side}_max"], "min": sums[f"{side}_min"], "mean": mean}
    return {f"{prefix}_{name}_value": _masked(value, count > 0) for name, value in values.items()}


def _distance_columns(sums: np.ndarray, options: CompareOptions) -> dict[str, Any]:
    """Metrics made of sums of squares."""
    present = sums["finite_count"] > 0
    common = np.maximum(sums["golden_exponent"], sums["target_exponent"])
    difference, golden = _total(sums, "sum_difference_squared"), _total(sums, "sum_golden_squared")
    distance = np.ldexp(np.sqrt(difference / golden), common - sums["golden_exponent"])
    distance = np.where(difference == 0.0, 0.0, np.where(golden == 0.0, np.inf, distance))
    rounding = np.sqrt(_total(sums, "sum_rounding_squared") / golden)
    rounding = np.where(golden == 0.0, 0.0, rounding)
    decibel = 10.0 * np.log10(golden / difference) + 20.0 * np.log10(2.0) * (sums["golden_exponent"] - common)
    decibel = np.where(difference == 0.0, np.inf, decibel)
    legacy = options.compat_euclid == "legacy"
    return {
        "cosine_similarity": _masked(cosine_similarity(sums), present),
        "relative_euclidean_distance": _masked(distance * distance if legacy else distance, present),
        "signal_to_noise_db": _masked(decibel, present),
        "root_mean_square_error": _masked(np.ldexp(np.sqrt(difference / sums["finite_count"]), common), present),
        "rounding_floor": _masked(rounding, present & (sums["has_rounding"] != 0)),
    }


def _error_columns(sums: np.ndarray) -> dict[str, Any]:
    """Metrics per element, over the positions where both sides are finite."""
    count = sums["finite_count"]
    present = count > 0
    common = np.maximum(sums["golden_exponent"], sums["target_exponent"])
    return {
        "max_relative_error": _masked(sums["max_relative"], present),
        "mean_relative_error": _masked(_mean(sums, "sum_relative"), present),
        "max_absolute_error": _masked(sums["max_absolute"], present),
        "mean_absolute_error": _masked(np.ldexp(_mean(sums, "sum_absolute"), common), present),
        "max_absolute_error_golden": _masked(sums["max_absolute_golden"], present),
        "max_absolute_error_target": _masked(sums["max_absolute_target"], present),
        "within_one_thousandth_ratio": _masked(sums["within_one_thousandth_count"] / count, present),
        "within_five_thousandths_ratio": _masked(sums["within_five_thousandths_count"] / count, present),
    }


def _mean(sums: np.ndarray, name: str) -> np.ndarray:
    mean: np.ndarray = _total(sums, name) / sums["finite_count"]
    return mean


def _row_columns(sums: np.ndarray) -> dict[str, Any]:
    """The worst row, or the first row of the worst run of short rows."""
    present = sums["worst_row"] >= 0
    length = np.maximum(sums["row_length"], 1)
    rows_per_group = -(-SHORTEST_ROW // length)
    return {
        "worst_row_distance": _masked(sums["worst_row_distance"], present),
        "worst_row": _masked(sums["worst_row"] * rows_per_group, present),
    }


def _divergence_columns(sums: np.ndarray) -> dict[str, Any]:
    rows = sums["kl_row_count"]
    total = sums["has_kl"].astype(bool) & (sums["kl_total_count"] > 0)
    by_row = total & (rows > 0)
    return {
        "kl_divergence": _masked(sums["kl_total_divergence"], total),
        "kl_divergence_row_max": _masked(sums["kl_row_max"], by_row),
        "kl_divergence_row_mean": _masked(_total(sums, "kl_row_sum") / rows, by_row),
    }


def _index_texts(indices: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[str | None]:
    """Flat indices as the texts of index tuples; None where there is none (-1). Indices into one shape are taken apart together."""
    distinct = set(shapes)
    if len(distinct) == 1 and len(indices) >= _LEAST_TOGETHER and indices.min() >= 0:
        return list(map(str, _index_tuples(indices, shapes[0])))
    texts: list[str | None] = [None] * len(indices)
    groups: dict[tuple[int, ...], list[int]] = {shape: [] for shape in distinct}
    for position, shape in enumerate(shapes):
        groups[shape].append(position)
    for shape, positions in groups.items():
        present = [position for position in positions if indices[position] >= 0] if indices[positions].min() < 0 else positions
        left = indices[present] if len(present) >= _LEAST_TOGETHER else indices[present].tolist()
        for position, index in zip(present, _index_tuples(left, shape), strict=True):
            texts[position] = str(index)
    return texts


def _index_tuples(left: Any, shape: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """Flat indices, an array or a short list, as index tuples of ``shape``."""
    if not isinstance(left, np.ndarray):
        return [_index_tuple(index, shape) for index in left]
    axes = []
    for extent in reversed(shape):
        left, part = np.divmod(left, max(extent, 1))
        axes.append(part.tolist())
    return zip(*reversed(axes), strict=True) if axes else [()] * len(left)


def _index_tuple(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    parts: list[int] = []
    for extent in reversed(shape):
        index, part = divmod(index, max(extent, 1))
        parts.append(part)
    return tuple(reversed(parts))


def _notes(
    sums: np.ndarray,
    golden_dtypes: Sequence[str],
    target_dtypes: Sequence[str],
) -> list[tuple[str, ...]]:
    """Sentences about what a number leaves out or means otherwise; for most pairs none."""
    notes: list[tuple[str, ...]] = [()] * len(sums)
    complex_dtypes = {name for name in {*golden_dtypes, *target_dtypes} if DTYPES[name].kind == "complex"}
    is_complex = np.zeros(len(sums), dtype=bool)
    if complex_dtypes:
        is_complex[:] = [g in complex_dtypes or t in complex_dtypes for g, t in zip(golden_dtypes, target_dtypes, strict=True)]
    noted = ["rows_nonfinite", "rows_zero", "golden_exponent", "target_exponent", "mask_fill_count"]
    worth = np.logical_or.reduce([sums[name] != 0 for name in noted]) | is_complex
    for position in np.flatnonzero(worth):
        record, said = sums[position], []
        if record["mask_fill_count"]:
            count = int(record["mask_fill_count"])
            where = f"{count} position{'s' if count > 1 else ''}"
            said.append(f"mask: minus infinity meets the most negative number at {where}, no mismatch by --mask-fill")
        unit = "row" if record["row_length"] >= SHORTEST_ROW else "run of rows"
        for name, fault in (("rows_nonfinite", "not finite"), ("rows_zero", "all zero in golden")):
            if record[name]:
                said.append(f"worst_row_distance leaves out {_counted(int(record[name]), unit)} {fault}")
        if is_complex[position]:
            said.append("complex: values are moduli")
        if record["golden_exponent"] or record["target_exponent"]:
            said.append("values whose squares leave the range of float64 were scaled while summed")
        notes[position] = tuple(said)
    return notes


def _counted(count: int, unit: str) -> str:
    """``1 row that is``, ``3 runs of rows that are``."""
    if count == 1:
        return f"1 {unit} that is"
    first, *rest = unit.split(" ", 1)
    return " ".join([f"{count} {first}s", *rest, "that are"])
