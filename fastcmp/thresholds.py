"""Thresholds: a small grammar for what the user asks, and the defaults for what was not asked."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from fastcmp.dtypes import DTYPES, narrower
from fastcmp.errors import UsageError

# What a threshold may speak about: every number of a row that grows or shrinks with the error.
JUDGED_METRICS: Final[tuple[str, ...]] = (
    "cosine_similarity",
    "max_relative_error",
    "mean_relative_error",
    "relative_euclidean_distance",
    "max_absolute_error",
    "mean_absolute_error",
    "kl_divergence",
    "root_mean_square_error",
    "signal_to_noise_db",
    "within_one_thousandth_ratio",
    "within_five_thousandths_ratio",
    "mismatch_count",
    "worst_row_distance",
    "kl_divergence_row_max",
    "kl_divergence_row_mean",
    "golden_nan_count",
    "golden_inf_count",
    "target_nan_count",
    "target_inf_count",
    "nonfinite_mismatch_count",
    "near_zero_golden_count",
    "rounding_floor",
)

# Those that grow or shrink for other reasons than that both tensors differ.
_NO_MEASURES: Final = frozenset(
    (
        "golden_nan_count", "golden_inf_count", "target_nan_count", "target_inf_count", "nonfinite_mismatch_count",
        "near_zero_golden_count", "rounding_floor",
    )
)  # fmt: skip

# Metrics that are better when they are larger; all others are 0 where both tensors are equal.
LARGER_IS_BETTER: Final = frozenset(
    ("cosine_similarity", "signal_to_noise_db", "within_one_thousandth_ratio", "within_five_thousandths_ratio")
)
_FAILS_EQUAL: Final = "pairs that are equal fail it; is it the wrong way round?"
FAILS_EQUAL_PAIRS: Final = re.compile(rf".*: {re.escape(_FAILS_EQUAL)}", re.DOTALL)
"""What `equal_pairs_fail` says."""


def measures_error(metric: str) -> bool:
    """True for a metric that says how far both tensors are apart; of the user's own ones that is taken for granted."""
    return metric not in _NO_MEASURES


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_OPPOSITE: Final[dict[str, str]] = {">=": "<", "<=": ">", "==": "!=", ">": "<=", "<": ">="}

_GRAMMAR: Final = re.compile(
    r"\s*(?P<metric>[A-Za-z_][A-Za-z_0-9]*)\s*(?P<symbol>>=|<=|==|>|<)\s*"
    r"(?P<limit>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One comparison that a row must pass.

    Attributes
    ----------
    metric : str
        One of `JUDGED_METRICS`, or of the user's own.
    symbol : {">=", "<=", "==", ">", "<"}
    limit : float
    rule : str
        Where it comes from, as the reason shows it: ``default float16`` or ``--threshold``.
    """

    metric: str
    symbol: str
    limit: float
    rule: str

    def holds(self, values: Any) -> Any:
        """Elementwise truth of the comparison; NaN (an empty metric included) never holds."""
        return _OPERATORS[self.symbol](values, self.limit)

    def broken_by(self, value: float) -> str:
        """Why ``value`` fails, such as ``relative_euclidean_distance 0.031 > 0.01 (rule: default float16)``."""
        if value != value:
            return f"{self.metric} is empty, expected {self.symbol} {self.limit:.12g} (rule: {self.rule})"
        return f"{self.metric} {self._enough_digits(value)} {_OPPOSITE[self.symbol]} {self.limit:.12g} (rule: {self.rule})"

    def _enough_digits(self, value: float) -> str:
        """The shortest of a few renderings that still shows on which side of the limit the value is."""
        for digits in (3, 6, 12):
            text = f"{value:.{digits}g}"
            if not self.holds(float(text)):
                return text
        return repr(float(value))


def equal_pairs_fail(thresholds: Iterable[Threshold]) -> list[str]:
    """A warning for each threshold that two equal tensors fail, as ``cosine_similarity <= 0.99``; none for metrics of the user's own."""
    return [
        f"{threshold.metric} {threshold.symbol} {threshold.limit:.12g} (rule: {threshold.rule}): {_FAILS_EQUAL}"
        for threshold in thresholds
        if threshold.metric in JUDGED_METRICS and measures_error(threshold.metric) and not threshold.holds(_of_equal(threshold.metric))
    ]


def _of_equal(metric: str) -> float:
    """What a metric is where both tensors are equal."""
    if metric == "signal_to_noise_db":
        return math.inf
    return 1.0 if metric in LARGER_IS_BETTER else 0.0


def parse_threshold(text: str, *, where: str = "", rule: str = "--threshold", custom: Sequence[str] = ()) -> Threshold:
    """The threshold that ``text`` says, such as ``cosine_similarity >= 0.999``.

    Parameters
    ----------
    text : str
    where : str
        What an error begins with; the option and the text if left out.
    rule : str
        See `Threshold`.
    custom : sequence of str
        Names of the user's own metrics.

    Raises
    ------
    UsageError
        If it is not ``metric op number``, or no metric has this name.
    """
    where = where or f"--threshold {text!r}"
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise UsageError(f"{where}: expected 'metric op number' with one of >= > <= < ==, such as 'cosine_similarity >= 0.999'")
    metric = match["metric"]
    check_metric(metric, where, custom)
    return Threshold(metric, match["symbol"], float(match["limit"]), rule)


def check_metric(metric: str, where: str, custom: Sequence[str] = (), others: Sequence[str] = ()) -> None:
    """`UsageError` for what is no metric, ours or ``custom``; ``others`` may stand in its place, and are offered too."""
    known = (*JUDGED_METRICS, *custom)
    if metric in known:
        return
    close = get_close_matches(metric, (*known, *others), n=3, cutoff=0.4)
    keys = f"the keys are {', '.join(others)} and the metrics" if others else "the metrics are"
    hint = f"did you mean {', '.join(close)}?" if close else f"{keys} {', '.join(known)}"
    raise UsageError(f"{where}: no metric is called {metric!r}; {hint}")


# Largest relative_euclidean_distance by significand bits of the narrower storage dtype, hidden bit included: float32 has 24, float16 11,
# bfloat16 8, the fp8 formats 4 and fewer. Scaled integers have no row of their own and fall in by their bits, int8 (7) beside bfloat16.
_DISTANCE_LIMITS: Final[tuple[tuple[int, float], ...]] = ((24, 1e-4), (11, 1e-2), (7, 5e-2), (0, 1.5e-1))


def _distance_limit(dtype: str) -> float:
    bits = DTYPES[dtype].significand_bits
    return next(limit for least_bits, limit in _DISTANCE_LIMITS if bits >= least_bits)


def needs_scale(golden_dtype: str, target_dtype: str) -> bool:
    """True for an integer against a float or complex dtype: what an integer step is worth is not in the files."""
    kinds = {DTYPES[golden_dtype].kind, DTYPES[target_dtype].kind}
    return "int" in kinds and bool(kinds & {"float", "complex"})


def default_threshold(golden_dtype: str, target_dtype: str, *, legacy_euclid: bool = False) -> Threshold:
    """What a pair of these storage dtypes must meet when the user says nothing.

    Integers and bool must be equal; floats and complex numbers (by the width of one part) are judged by relative_euclidean_distance
    with a limit for the narrower dtype. ``legacy_euclid`` squares the limit, as that metric is then without its square root.
    """
    kinds = {DTYPES[golden_dtype].kind, DTYPES[target_dtype].kind}
    name = narrower(golden_dtype, target_dtype)
    if kinds <= {"int", "bool"} or "bool" in kinds:
        return Threshold("mismatch_count", "==", 0.0, f"default {name}")
    limit = _distance_limit(name)
    return Threshold("relative_euclidean_distance", "<=", limit * limit if legacy_euclid else limit, f"default {name}")
