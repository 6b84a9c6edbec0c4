"""What a kernel accumulates about one piece of a pair, and how the sums of neighbouring pieces become one.

A record is flat: every field is eight bytes, floats first, so that a kernel can see it as one float64 and one int64 array
over the same memory. Sums come as (hi, lo) pairs whose true value is ``hi + lo``.

Where squares of a side would leave the float64 range, its values were multiplied by ``2**-exponent`` before they were added:
``golden_exponent`` holds for everything made of golden alone, ``target_exponent`` for target alone, their sum for the product,
and the larger of both (of the sides that are not all zero: `difference_exponent`) for everything made of the difference.
Both are 0 for any dtype but float64 and complex128.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

# Fixed, not a setting: block edges decide the rounding, so a size that varied
# with the machine would make the last digits of a report vary too.
BLOCK_ELEMENTS: Final = 4096
# Rows shorter than this are judged in runs of whole rows, or the worst of a million tiny rows would be noise.
SHORTEST_ROW: Final = 64

_PAIRED: Final = (
    "sum_golden",
    "sum_target",
    "sum_golden_squared",
    "sum_target_squared",
    "sum_product",
    "sum_difference_squared",
    "sum_absolute",
    "sum_relative",
    "sum_rounding_squared",
)
_KL_STATES: Final = ("kl_total", "kl_head", "kl_tail")
FLOAT_FIELDS: Final[tuple[str, ...]] = (
    *(name + part for name in _PAIRED for part in ("", "_lo")),
    "golden_max",
    "golden_min",
    "target_max",
    "target_min",
    "max_absolute",
    "max_absolute_golden",
    "max_absolute_target",
    "max_relative",
    "worst_row_distance",
    "row_head_difference",
    "row_head_golden",
    "row_tail_difference",
    "row_tail_golden",
    # For a run of elements: log sum exp of golden; the same minus that of target; the divergence.
    *(state + part for state in _KL_STATES for part in ("_lse", "_delta", "_divergence")),
    "kl_row_max",
    "kl_row_sum",
    "kl_row_sum_lo",
)
INT_FIELDS: Final[tuple[str, ...]] = (
    "start",
    "stop",
    "element_count",
    "row_length",
    "golden_exponent",
    "target_exponent",
    "finite_count",
    "golden_finite_count",
    "target_finite_count",
    "golden_nan_count",
    "golden_inf_count",
    "target_nan_count",
    "target_inf_count",
    "nonfinite_mismatch_count",
    "mismatch_count",
    "near_zero_golden_count",
    "within_one_thousandth_count",
    "within_five_thousandths_count",
    "max_absolute_index",
    "worst_row",
    "row_head_nonfinite",
    "row_tail_nonfinite",
    "rows_nonfinite",
    "rows_zero",
    # Elements behind each KL state; the next field must stay _KL_STATES's order.
    *(state + "_count" for state in _KL_STATES),
    "kl_row_count",
    "has_kl",
    "has_rounding",
    # Filled in behind the kernels, see `fastcmp.kernels.masks`.
    "mask_fill_count",
)
SUMS_DTYPE: Final = np.dtype([(name, "f8") for name in FLOAT_FIELDS] + [(name, "i8") for name in INT_FIELDS])
_SLOTS: Final = {name: index for index, name in enumerate((*FLOAT_FIELDS, *INT_FIELDS))}

# Summed by plain addition: exact integers.
_COUNTS: Final = tuple(name for name in INT_FIELDS if name.endswith("_count") and name not in ("element_count",)) + (
    "rows_nonfinite",
    "rows_zero",
)


def slot(name: str) -> int:
    """Position of a field among the eight-byte words of a record."""
    return _SLOTS[name]


def row_group(row_length: int) -> int:
    """Elements of one row, or of the shortest run of whole rows that has `SHORTEST_ROW` elements."""
    if row_length <= 0:
        return SHORTEST_ROW
    return row_length * -(-SHORTEST_ROW // row_length) if row_length < SHORTEST_ROW else row_length


def _make_empty_words() -> np.ndarray:
    record = np.zeros(1, SUMS_DTYPE)
    for name in ("golden_max", "target_max", "max_absolute", "max_relative", "worst_row_distance", "kl_row_max"):
        record[name] = -math.inf
    for name in ("golden_min", "target_min"):
        record[name] = math.inf
    for name in ("max_absolute_index", "worst_row"):
        record[name] = -1
    return record.view(np.int64).reshape(1, -1).copy()


_EMPTY_WORDS: Final = _make_empty_words()


def empty_words(count: int) -> np.ndarray:
    """The words of empty records, int64, shape (count, words), to be seen as floats too: much faster to make than records."""
    return np.repeat(_EMPTY_WORDS, count, axis=0)


def as_record(words: np.ndarray) -> np.ndarray:
    """The records, shape (count,), over the same words."""
    record: np.ndarray = np.ndarray((words.shape[0],), SUMS_DTYPE, words)
    return record


def empty() -> np.ndarray:
    """Sums of no element at all, shape (1,): the left neutral element of `merge`."""
    return as_record(empty_words(1))


def merge(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sums of two neighbouring runs of elements, ``right`` beginning where ``left`` stops.

    Parameters
    ----------
    left, right : ndarray of SUMS_DTYPE, one element
        Of the same tensors and options. `empty` may stand on the left.

    Returns
    -------
    ndarray of SUMS_DTYPE, shape (1,)
        Counts and extrema are exact; the order of the merges moves sums by rounding only.

    Raises
    ------
    ValueError
        If the runs are not neighbours.
    """
    a: dict[str, Any] = dict(zip(SUMS_DTYPE.names or (), left.reshape(1)[0].item(), strict=True))
    b: dict[str, Any] = dict(zip(SUMS_DTYPE.names or (), right.reshape(1)[0].item(), strict=True))
    if a["element_count"] == 0 and a["stop"] == 0:
        return right.reshape(1).copy()
    if a["stop"] != b["start"]:
        raise ValueError(f"pieces that are not neighbours: one stops at element {a['stop']}, the next begins at {b['start']}")
    _rescale_to_common(a, b)
    out = dict(b)
    for name in _COUNTS:
        out[name] = a[name] + b[name]
    for name in (*_PAIRED, "kl_row_sum"):
        out[name], error = _two_sum(a[name], b[name])
        out[name + "_lo"] = a[name + "_lo"] + b[name + "_lo"] + error
    for name in ("golden_max", "target_max", "max_relative", "kl_row_max"):
        out[name] = max(a[name], b[name])
    for name in ("golden_min", "target_min"):
        out[name] = min(a[name], b[name])
    if a["max_absolute"] >= b["max_absolute"]:
        for name in ("max_absolute", "max_absolute_index", "max_absolute_golden", "max_absolute_target"):
            out[name] = a[name]
    if a["worst_row_distance"] >= b["worst_row_distance"]:
        out["worst_row_distance"], out["worst_row"] = a["worst_row_distance"], a["worst_row"]
    out["start"] = a["start"]
    _join_rows(a, b, out)
    if b["has_kl"]:
        _join_kl(a, b, out)
    merged = np.empty(1, SUMS_DTYPE)
    merged[0] = tuple(out[name] for name in SUMS_DTYPE.names or ())
    return merged


def difference_exponent(golden_exponent: int, target_exponent: int) -> int:
    """Power of two that differences were divided by."""
    return max(golden_exponent, target_exponent)


def _two_sum(a: float, b: float) -> tuple[float, float]:
    total = a + b
    if not math.isfinite(total):
        return total, 0.0
    rest = total - a
    return total, (a - (total - rest)) + (b - rest)


def _rescale_to_common(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Bring both records to the larger exponents; a side that is all zero fits any, and does not vote."""
    common = []
    for side in ("golden", "target"):
        said = [record[f"{side}_exponent"] for record in (a, b) if not _is_silent(record, side)]
        common.append(max(said) if said else max(a[f"{side}_exponent"], b[f"{side}_exponent"]))
    for record in (a, b):
        if (record["golden_exponent"], record["target_exponent"]) != tuple(common):
            _rescale(record, *common)


def _is_silent(record: dict[str, Any], side: str) -> bool:
    return record[f"{side}_finite_count"] == 0 or record[f"{side}_max"] == 0 == record[f"{side}_min"]


def _rescale(record: dict[str, Any], golden: int, target: int) -> None:
    by_golden = record["golden_exponent"] - golden
    by_target = record["target_exponent"] - target
    by_difference = difference_exponent(record["golden_exponent"], record["target_exponent"]) - difference_exponent(golden, target)
    shifts = {
        "sum_golden": by_golden,
        "sum_target": by_target,
        "sum_golden_squared": 2 * by_golden,
        "sum_target_squared": 2 * by_target,
        "sum_product": by_golden + by_target,
        "sum_difference_squared": 2 * by_difference,
        "sum_absolute": by_difference,
        "sum_rounding_squared": 2 * by_golden,
    }
    for name, shift in shifts.items():
        for part in (name, name + "_lo"):
            record[part] = _ldexp(record[part], shift)
    for place in ("head", "tail"):
        record[f"row_{place}_difference"] = _ldexp(record[f"row_{place}_difference"], 2 * by_difference)
        record[f"row_{place}_golden"] = _ldexp(record[f"row_{place}_golden"], 2 * by_golden)
    record["golden_exponent"], record["target_exponent"] = golden, target


def _ldexp(value: float, shift: int) -> float:
    try:
        return math.ldexp(value, shift)
    except OverflowError:
        return math.copysign(math.inf, value)


def _has_boundary(record: dict[str, Any], length: int) -> bool:
    """True if a row ends inside this run or at its end."""
    return record["stop"] == record["element_count"] or record["stop"] // length > record["start"] // length


def _join_rows(a: dict[str, Any], b: dict[str, Any], out: dict[str, Any]) -> None:
    length = row_group(a["row_length"])
    a_closed, b_closed = _has_boundary(a, length), _has_boundary(b, length)
    parts = ("difference", "golden", "nonfinite")
    from_boundary = a_closed or a["start"] % length == 0
    place = "tail" if from_boundary else "head"
    open_row = {part: a[f"row_{place}_{part}"] for part in parts}
    # Where b begins at a boundary, its open row is a tail and a left nothing open.
    if a["stop"] % length:
        for part in parts:
            open_row[part] += b[f"row_head_{part}"]
    for part in parts:
        out[f"row_head_{part}"] = a[f"row_head_{part}"]
    if a["stop"] % length == 0:
        return
    if not from_boundary:
        for part in parts:
            out[f"row_head_{part}"] = open_row[part]
        return
    if not b_closed:
        for part in parts:
            out[f"row_tail_{part}"] = open_row[part]
        return
    _close_row(open_row, a["stop"] // length, out)


def _close_row(row: dict[str, Any], index: int, out: dict[str, Any]) -> None:
    if row["nonfinite"]:
        out["rows_nonfinite"] += 1
        return
    if row["golden"] == 0.0:
        out["rows_zero"] += 1
        return
    exponent = difference_exponent(out["golden_exponent"], out["target_exponent"]) - out["golden_exponent"]
    distance = _ldexp(math.sqrt(row["difference"] / row["golden"]), exponent)
    best = out["worst_row_distance"]
    if distance > best or (distance == best and index < out["worst_row"]):
        out["worst_row_distance"], out["worst_row"] = distance, index


KLState = tuple[int, float, float, float]


def join_kl_states(a: KLState, b: KLState) -> KLState:
    """Chain rule: divergence of the union of two runs of elements; every term of it is >= 0.

    A state is (elements, log-sum-exp of golden, that minus the one of target, divergence of the softmaxes of the run).
    The divergence is the mean of both, weighted by golden's softmax over the two runs, plus the divergence of those two weights.
    Plain arithmetic and no helper, because the kernels compile this very function.
    """
    if a[0] == 0:
        return b
    if b[0] == 0:
        return a
    first_target, second_target = a[1] - a[2], b[1] - b[2]
    golden_max, target_max = max(a[1], b[1]), max(first_target, second_target)
    shift = golden_max - target_max
    if a[1] >= b[1] and first_target >= second_target:
        shift = a[2]
    elif b[1] >= a[1] and second_target >= first_target:
        shift = b[2]
    p, q = math.exp(a[1] - golden_max), math.exp(b[1] - golden_max)
    first, second = a[2] - shift, b[2] - shift
    # p * (exp(-first) - 1 + first), without cancellation where first is small and without overflow where it is not.
    if abs(first) < 0.015625:
        excess = p * first * first * (0.5 - first * (1 / 6 - first * (1 / 24 - first * (1 / 120 - first / 720))))
    else:
        excess = math.exp(first_target - target_max) - p + p * first
    if abs(second) < 0.015625:
        excess += q * second * second * (0.5 - second * (1 / 6 - second * (1 / 24 - second * (1 / 120 - second / 720))))
    else:
        excess += math.exp(second_target - target_max) - q + q * second
    total = p + q
    x = (excess - p * first - q * second) / total
    # x - log1p(x), by its series where that would cancel.
    gap = x - math.log1p(x)
    if abs(x) < 0.05:
        gap = 0.0
        for k in range(14, 1, -1):
            gap = 1.0 / k - x * gap
        gap *= x * x
    divergence = (p * a[3] + q * b[3]) / total + max(excess / total - gap, 0.0)
    return a[0] + b[0], golden_max + math.log(total), shift - math.log1p(x), divergence


def _state(record: dict[str, Any], name: str) -> KLState:
    return record[name + "_count"], record[name + "_lse"], record[name + "_delta"], record[name + "_divergence"]


def _put_state(record: dict[str, Any], name: str, state: KLState) -> None:
    record[name + "_count"], record[name + "_lse"], record[name + "_delta"], record[name + "_divergence"] = state


def _join_kl(a: dict[str, Any], b: dict[str, Any], out: dict[str, Any]) -> None:
    _put_state(out, "kl_total", join_kl_states(_state(a, "kl_total"), _state(b, "kl_total")))
    _put_state(out, "kl_head", _state(a, "kl_head"))
    _put_state(out, "kl_tail", _state(b, "kl_tail"))
    length = max(a["row_length"], 1)
    if a["stop"] % length == 0:
        return
    from_boundary = _has_boundary(a, length) or a["start"] % length == 0
    joined = join_kl_states(_state(a, "kl_tail" if from_boundary else "kl_head"), _state(b, "kl_head"))
    if not from_boundary:
        _put_state(out, "kl_head", joined)
    elif not _has_boundary(b, length):
        _put_state(out, "kl_tail", joined)
    elif joined[0]:
        out["kl_row_count"] += 1
        out["kl_row_max"] = max(out["kl_row_max"], joined[3])
        out["kl_row_sum"], error = _two_sum(out["kl_row_sum"], joined[3])
        out["kl_row_sum_lo"] += error
