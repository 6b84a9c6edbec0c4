"""What every metric column must say, from its definition alone: exact integers for sums, mpmath for the rest; slow and plain.

A finite value is an integer divided by a power of two that all values of a pair share, so that differences, products and sums have no
rounding at all. Only what is defined on float64 differences (maxima, quotients, counts) is rounded, once per step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import mpmath
from tensor_files import COMPLEX, INTEGERS, Shape, Tensor, Value

FLOOR = 2.0**-23
SHORT_ROW = 64
# Significand bits with the hidden one (value bits for integers), and the exponent of the smallest normal value.
PRECISION = {
    "float64": (53, -1022), "float32": (24, -126), "float16": (11, -14), "bfloat16": (8, -126), "float8_e5m2": (3, -14),
    "float8_e4m3fn": (4, -6), "float6_e3m2fn": (3, -2), "float6_e2m3fn": (4, 0), "float4_e2m1fn": (2, 0),
}  # fmt: skip
LARGEST = {
    "float64": 1.7976931348623157e308, "float32": 3.4028234663852886e38, "float16": 65504.0, "bfloat16": 3.3895313892515355e38,
    "float8_e5m2": 57344.0, "float8_e4m3fn": 448.0, "float6_e3m2fn": 28.0, "float6_e2m3fn": 7.5, "float4_e2m1fn": 6.0,
}  # fmt: skip
VALUE_BITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64, "int4": 3, "uint1": 1}

Exact = tuple[int, int]  # real and imaginary part, both to be divided by 2**shift


@dataclass
class Truth:
    """What one row of the report must say.

    ``columns``: None is an empty cell. ``mean_sizes``: the mean of |x| of each side, by the column of its mean. ``distances``: of every
    row, or run of ``row_step`` short rows; None where it is left out.
    """

    columns: dict[str, float | int | str | None]
    mean_sizes: dict[str, float]
    distances: list[mpmath.mpf | None]
    row_step: int


def nearest(numerator: int, denominator: int) -> float:
    """The float64 nearest to a quotient of integers, inf beyond the largest."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def as_float(value: mpmath.mpf) -> float:
    """The float64 nearest to ``value``, inf beyond the largest."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def is_nan(value: Value) -> bool:
    return value != value


def is_finite(value: Value) -> bool:
    return isinstance(value, int) or (math.isfinite(value.real) and math.isfinite(value.imag))


def scaled(side: list[Value], dtype: str, other: str, scale: float | None) -> list[Value]:
    """An integer side beside floats is multiplied by the scale; beside complex numbers it is one of float64 parts anyway."""
    if dtype not in INTEGERS or other in (*INTEGERS, "bool") or (scale is None and other not in COMPLEX):
        return side
    return [float(value) * (1.0 if scale is None else scale) for value in side]


def to_integers(values: Sequence[Value]) -> tuple[list[Exact], int]:
    """Finite values as integers over one power of two."""
    quotients = [(value.real.as_integer_ratio(), value.imag.as_integer_ratio()) for value in values]
    shift = max((ratio[1].bit_length() - 1 for pair in quotients for ratio in pair), default=0)
    unit = 1 << shift
    return [(real[0] * (unit // real[1]), imaginary[0] * (unit // imaginary[1])) for real, imaginary in quotients], shift


def square(value: Exact) -> int:
    return value[0] * value[0] + value[1] * value[1]


def modulus(value: Exact, unit: int) -> float:
    """Of an exact value, as float64; the nearest one for real values."""
    if value[1] == 0:
        return nearest(abs(value[0]), unit)
    return as_float(mpmath.sqrt(mpmath.mpf(square(value))) / unit)


def distance(differences: int, golden: int) -> mpmath.mpf:
    """sqrt of a quotient of two sums of squares, with the rule for a golden that is all zero."""
    if golden == 0:
        return mpmath.mpf(0) if differences == 0 else mpmath.inf
    return mpmath.sqrt(mpmath.mpf(differences) / golden)


def round_to(value: Fraction, dtype: str) -> Fraction | None:
    """``value`` in a narrower float dtype, ties to even; None beyond its largest."""
    if value == 0:
        return value
    precision, least = PRECISION[dtype]
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, least) - precision + 1)
    rounded = round(value / quantum) * quantum
    return rounded if abs(rounded) <= LARGEST[dtype] else None


def significand_bits(dtype: str) -> int:
    return PRECISION[dtype][0] if dtype in PRECISION else VALUE_BITS.get(dtype, 0)


def divergence(golden: Sequence[mpmath.mpf], target: Sequence[mpmath.mpf]) -> mpmath.mpf:
    """Kullback-Leibler divergence of the softmaxes of two sequences."""
    shift_g, shift_t = max(golden), max(target)
    log_g = mpmath.log(mpmath.fsum(mpmath.exp(value - shift_g) for value in golden)) + shift_g
    log_t = mpmath.log(mpmath.fsum(mpmath.exp(value - shift_t) for value in target)) + shift_t
    return mpmath.fsum(mpmath.exp(g - log_g) * ((g - log_g) - (t - log_t)) for g, t in zip(golden, target, strict=True))


def side_columns(prefix: str, values: list[Value], moduli: bool) -> dict[str, float | int | None]:
    """Extremes and mean of the finite values of one side, or of their moduli, and how many are not finite."""
    finite, shift = to_integers([value for value in values if is_finite(value)])
    unit = 1 << shift
    sizes = [modulus(value, unit) if moduli else nearest(value[0], unit) for value in finite]
    if moduli:
        mean = as_float(mpmath.fsum(mpmath.sqrt(mpmath.mpf(square(value))) for value in finite) / (unit * len(finite))) if finite else None
    else:
        mean = nearest(sum(value[0] for value in finite), unit * len(finite)) if finite else None
    role = "golden" if prefix == "golden" else "target"
    nans = sum(map(is_nan, values))
    return {
        f"{prefix}_max_value": max(sizes, default=None),
        f"{prefix}_min_value": min(sizes, default=None),
        f"{prefix}_mean_value": mean,
        f"{role}_nan_count": nans,
        f"{role}_inf_count": len(values) - len(finite) - nans,
    }


def mean_size(values: list[Value]) -> float:
    """Mean of |x| over the finite values, 0 if there is none."""
    finite, shift = to_integers([value for value in values if is_finite(value)])
    return nearest(sum(abs(value[0]) + abs(value[1]) for value in finite), len(finite) << shift) if finite else 0.0


def equal(golden: Value, target: Value) -> bool:
    return golden == target or (is_nan(golden) and is_nan(target))


def truth(golden: Tensor, target: Tensor, *, kl: bool = False, floor: float = FLOOR, scale: float | None = None) -> Truth:
    """All columns of the pair; the tensors hold equally many elements."""
    with mpmath.workdps(60):
        return _Pair(golden, target, floor, scale).truth(kl)


class _Pair:
    def __init__(self, golden: Tensor, target: Tensor, floor: float, scale: float | None) -> None:
        self.golden, self.target, self.floor = golden, target, floor
        # Both sides by their moduli where one is complex: a note of the row says so.
        self.moduli = bool({golden.dtype, target.dtype} & set(COMPLEX))
        self.left = scaled(golden.values(), golden.dtype, target.dtype, scale)
        self.right = scaled(target.values(), target.dtype, golden.dtype, scale)
        self.count = len(self.left)
        self.finite = [i for i in range(self.count) if is_finite(self.left[i]) and is_finite(self.right[i])]
        both, shift = to_integers([self.left[i] for i in self.finite] + [self.right[i] for i in self.finite])
        self.unit = 1 << shift
        half = len(self.finite)
        self.g = dict(zip(self.finite, both[:half], strict=True))
        self.t = dict(zip(self.finite, both[half:], strict=True))
        self.d = {i: (self.t[i][0] - self.g[i][0], self.t[i][1] - self.g[i][1]) for i in self.finite}
        self.error = {i: modulus(self.d[i], self.unit) for i in self.finite}
        self.size = {i: modulus(self.g[i], self.unit) for i in self.finite}

    def truth(self, kl: bool) -> Truth:
        columns = {
            **side_columns("golden", self.left, self.moduli),
            **side_columns("acl", self.right, self.moduli),
            **self.counts(),
            **self.sums(),
            **self.errors(),
            **self.divergences(kl),
            "rounding_floor": self.rounding_floor(),
            "element_count": self.count,
            "bytes": len(self.golden.payload) + len(self.target.payload),
        }
        distances, step = self.row_distances()
        known = [value for value in distances if value is not None]
        columns["worst_row_distance"] = as_float(max(known)) if known else None
        sizes = {"golden_mean_value": mean_size(self.left), "acl_mean_value": mean_size(self.right)}
        return Truth(columns, sizes, distances, step)

    def counts(self) -> dict[str, int]:
        pairs = list(zip(self.left, self.right, strict=True))
        return {
            "mismatch_count": sum(not equal(g, t) for g, t in pairs),
            "nonfinite_mismatch_count": sum(not (is_finite(g) and is_finite(t)) and not equal(g, t) for g, t in pairs),
            "near_zero_golden_count": sum(self.size[i] <= self.floor for i in self.finite),
        }

    def sums(self) -> dict[str, float | None]:
        names = ("cosine_similarity", "relative_euclidean_distance", "root_mean_square_error", "signal_to_noise_db")
        if not self.finite:
            return dict.fromkeys(names)
        gg, tt, dd = (sum(square(side[i]) for i in self.finite) for side in (self.g, self.t, self.d))
        gt = sum(self.g[i][0] * self.t[i][0] + self.g[i][1] * self.t[i][1] for i in self.finite)
        if gg == 0 or tt == 0:
            cosine = 1.0 if gg == tt else 0.0
        else:
            cosine = float(gt / mpmath.sqrt(mpmath.mpf(gg) * tt))
        if dd == 0:
            decibels = math.inf
        else:
            decibels = float(10 * mpmath.log10(mpmath.mpf(gg) / dd)) if gg else -math.inf
        deviation = as_float(mpmath.sqrt(mpmath.mpf(dd) / len(self.finite)) / self.unit)
        return dict(zip(names, (cosine, as_float(distance(dd, gg)), deviation, decibels), strict=True))

    def errors(self) -> dict[str, float | str | None]:
        names = (
            "max_relative_error", "mean_relative_error", "max_absolute_error", "mean_absolute_error", "within_one_thousandth_ratio",
            "within_five_thousandths_ratio", "max_absolute_error_index", "max_absolute_error_golden", "max_absolute_error_target",
        )  # fmt: skip
        if not self.finite:
            return dict.fromkeys(names)
        count = len(self.finite)
        relative = [self.quotient(i) for i in self.finite if self.size[i] > self.floor]
        within = [sum(self.error[i] < r * max(self.size[i], FLOOR) for i in self.finite) / count for r in (0.001, 0.005)]
        worst = max(self.finite, key=lambda i: (self.error[i], -i))
        values = (
            max(relative, default=0.0), mean_of(relative, count), max(self.error.values()), mean_of(self.error.values(), count), *within,
            str(self.index(worst)), self.shown(self.g[worst]), self.shown(self.t[worst]),
        )  # fmt: skip
        return dict(zip(names, values, strict=True))

    def quotient(self, position: int) -> float:
        """|t-g|/|g|, of the exact difference where that is beyond the largest float64."""
        error, golden = self.error[position], self.g[position]
        return error / self.size[position] if math.isfinite(error) else nearest(abs(self.d[position][0]), abs(golden[0]))

    def shown(self, value: Exact) -> float:
        return modulus(value, self.unit) if self.moduli else nearest(value[0], self.unit)

    def index(self, position: int) -> Shape:
        index = []
        for extent in reversed(self.golden.shape):
            position, place = divmod(position, extent)
            index.append(place)
        return tuple(reversed(index))

    def row_distances(self) -> tuple[list[mpmath.mpf | None], int]:
        """One per row, or per run of short rows; and how many rows are in a run."""
        shape = self.golden.shape
        length = shape[-1] if len(shape) > 1 else self.count
        if not self.count:
            return [], 1
        step = -(-SHORT_ROW // length) if len(shape) > 1 and length < SHORT_ROW else 1
        distances: list[mpmath.mpf | None] = []
        for start in range(0, self.count, length * step):
            row = range(start, min(start + length * step, self.count))
            if not all(i in self.g for i in row) or not any(square(self.g[i]) for i in row):
                distances.append(None)
            else:
                distances.append(distance(sum(square(self.d[i]) for i in row), sum(square(self.g[i]) for i in row)))
        return distances, step

    def divergences(self, kl: bool) -> dict[str, float | None]:
        names = ("kl_divergence", "kl_divergence_row_max", "kl_divergence_row_mean")
        exact = {self.golden.dtype, self.target.dtype} & {*INTEGERS, "bool", *COMPLEX}
        if not kl or exact or not self.finite:
            return dict.fromkeys(names)
        g, t = ({i: mpmath.mpf(side[i][0]) / self.unit for i in self.finite} for side in (self.g, self.t))
        length = self.golden.shape[-1] if self.golden.shape else 1
        rows: dict[int, list[int]] = {}
        for i in self.finite:
            rows.setdefault(i // length, []).append(i)
        by_row = [divergence([g[i] for i in row], [t[i] for i in row]) for row in rows.values()]
        whole = divergence(list(g.values()), list(t.values()))
        return dict(zip(names, map(as_float, (whole, max(by_row), mpmath.fsum(by_row) / len(by_row))), strict=True))

    def rounding_floor(self) -> float | None:
        """A value beyond target's largest adds nothing: it is counted elsewhere, and the floor is a lower bound. Only among floats."""
        if self.golden.dtype not in PRECISION or self.target.dtype not in PRECISION or not self.finite:
            return None
        if significand_bits(self.target.dtype) >= significand_bits(self.golden.dtype):
            return None
        total = Fraction(0)
        for i in self.finite:
            value = Fraction(self.g[i][0], self.unit)
            rounded = round_to(value, self.target.dtype)
            total += 0 if rounded is None else (rounded - value) ** 2
        golden = Fraction(sum(square(self.g[i]) for i in self.finite), self.unit**2)
        if golden == 0:
            return 0.0
        quotient = total / golden
        return as_float(mpmath.sqrt(mpmath.mpf(quotient.numerator) / quotient.denominator))


def mean_of(values: Sequence[float], count: int) -> float:
    """Of float64 values whose sum may pass the largest float64."""
    if any(math.isinf(value) for value in values):
        return math.inf
    exact, shift = to_integers(list(values))
    return nearest(sum(value[0] for value in exact), count << shift)
