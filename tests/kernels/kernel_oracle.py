"""Slow truth for the metrics: exact fractions and 60 digits, written from the formulas and not from the kernels."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np

from fastcmp.kernels.fold import fold_piece, rounding_dtype
from fastcmp.metrics import finish
from fastcmp.options import CompareOptions, FoldOptions

mpmath.mp.dps = 60

NUMPY_OF = {
    "float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "float8_e5m2": ml_dtypes.float8_e5m2, "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e8m0fnu": ml_dtypes.float8_e8m0fnu,
    "float6_e3m2fn": ml_dtypes.float6_e3m2fn, "float6_e2m3fn": ml_dtypes.float6_e2m3fn, "float4_e2m1fn": ml_dtypes.float4_e2m1fn,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "bool": np.bool_, "complex64": np.complex64, "complex128": np.complex128,
}  # fmt: skip
STORAGE = {"float16": np.uint16, "bfloat16": np.uint16, "bool": np.uint8}


def storage(values: Any, dtype: str) -> np.ndarray:
    """Values as the flat storage view that a reader would hand to a kernel."""
    with np.errstate(all="ignore"):
        array = np.asarray(values).astype(NUMPY_OF[dtype]).reshape(-1)
    if "_e" in dtype:
        return array.view(np.uint8)
    return array.view(STORAGE.get(dtype, array.dtype))


def exact(piece: np.ndarray, dtype: str) -> list[Any]:
    """Elements as int, float or complex Python numbers, without any rounding."""
    if dtype == "bool":
        return [int(value != 0) for value in piece.tolist()]
    if dtype.startswith(("bfloat", "float")):
        return [float(value) for value in piece.view(NUMPY_OF[dtype]).astype(np.float64)]
    return list(piece.tolist())


def measured(
    golden: np.ndarray, golden_dtype: str, target: np.ndarray, target_dtype: str, shape: tuple[int, ...], **options: Any
) -> dict[str, Any]:
    """The same through the kernels, as plain Python values; None where a metric is empty."""
    compat = options.pop("compat_euclid", "sqrt")
    sums = fold_piece(
        golden, golden_dtype, target, target_dtype, start=0, element_count=golden.size, row_length=shape[-1] if shape else 1,
        options=FoldOptions(**options), rounding_dtype=rounding_dtype(golden_dtype, target_dtype),
    )  # fmt: skip
    return plain(sums, golden_dtype, target_dtype, shape, CompareOptions(compat_euclid=compat))


def plain(
    sums: np.ndarray, golden_dtype: str, target_dtype: str, shape: tuple[int, ...], options: CompareOptions | None = None
) -> dict[str, Any]:
    """Metrics of one record as plain Python values."""
    columns = finish(sums, [golden_dtype], [target_dtype], [shape], [shape], options or CompareOptions())
    return {name: column.tolist()[0] if isinstance(column, np.ndarray) else column[0] for name, column in columns.items()}


def _number(value: Fraction | float | int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _root(value: Fraction) -> Any:
    return mpmath.sqrt(mpmath.mpf(value.numerator) / value.denominator)


def _ratio_root(numerator: Fraction, denominator: Fraction) -> float:
    if numerator == 0:
        return 0.0
    return math.inf if denominator == 0 else float(_root(numerator / denominator))


def _finite(value: Any) -> bool:
    return math.isfinite(value)


def reference(golden: list[Any], target: list[Any], shape: tuple[int, ...], floor: float = 2.0**-23, kl: bool = False) -> dict[str, Any]:
    """Every metric of two lists of real Python numbers (ints or floats), but for rounding_floor."""
    n = len(golden)
    both = [i for i in range(n) if _finite(golden[i]) and _finite(target[i])]
    g, t = {i: Fraction(golden[i]) for i in both}, {i: Fraction(target[i]) for i in both}
    d = {i: t[i] - g[i] for i in both}
    out: dict[str, Any] = {"element_count": n, "near_zero_golden_count": sum(abs(g[i]) <= floor for i in both)}
    out["mismatch_count"] = sum(golden[i] != target[i] and not (golden[i] != golden[i] and target[i] != target[i]) for i in range(n))
    out["nonfinite_mismatch_count"] = out["mismatch_count"] - sum(d[i] != 0 for i in both)
    for side, values, prefix in (("golden", golden, "golden"), ("target", target, "acl")):
        own = [value for value in values if _finite(value)]
        out[f"{side}_nan_count"] = sum(value != value for value in values)
        out[f"{side}_inf_count"] = sum(value == value and not _finite(value) for value in values)
        out[f"{prefix}_max_value"] = _number(max(own)) if own else None
        out[f"{prefix}_min_value"] = _number(min(own)) if own else None
        out[f"{prefix}_mean_value"] = _number(sum(map(Fraction, own), Fraction(0)) / len(own)) if own else None
    squares = {name: sum((x * y for x, y in pairs), Fraction(0)) for name, pairs in _products(g, t, d).items()}
    out.update(_of_sums(squares, both))
    out.update(_of_elements(g, d, both, floor, shape, golden, target))
    out.update(_rows(golden, target, g, d, shape))
    if kl:
        out.update(_divergences(golden, target, shape))
    return out


def _products(g: dict[int, Fraction], t: dict[int, Fraction], d: dict[int, Fraction]) -> dict[str, list[tuple[Fraction, Fraction]]]:
    return {
        "gg": [(x, x) for x in g.values()], "tt": [(x, x) for x in t.values()], "dd": [(x, x) for x in d.values()],
        "gt": list(zip(g.values(), t.values(), strict=True)),
    }  # fmt: skip


def _of_sums(s: dict[str, Fraction], both: list[int]) -> dict[str, Any]:
    if not both:
        return dict.fromkeys(("cosine_similarity", "relative_euclidean_distance", "root_mean_square_error", "signal_to_noise_db"))
    if s["gg"] == 0 or s["tt"] == 0:
        cosine = 1.0 if s["gg"] == s["tt"] else 0.0
    else:
        cosine = float(mpmath.mpf(s["gt"].numerator) / s["gt"].denominator / (_root(s["gg"]) * _root(s["tt"])))
    decibel = math.inf
    if s["dd"] and s["gg"]:
        decibel = float(20 * mpmath.log10(_root(s["gg"] / s["dd"])))
    elif s["dd"]:
        decibel = -math.inf
    return {
        "cosine_similarity": cosine,
        "relative_euclidean_distance": _ratio_root(s["dd"], s["gg"]),
        "root_mean_square_error": float(_root(s["dd"] / len(both))),
        "signal_to_noise_db": decibel,
    }


def _of_elements(
    g: Any, d: Any, both: list[int], floor: float, shape: tuple[int, ...], golden: list[Any], target: list[Any]
) -> dict[str, Any]:
    names = ("max_relative_error", "mean_relative_error", "max_absolute_error", "mean_absolute_error", "within_one_thousandth_ratio")
    names += ("within_five_thousandths_ratio", "max_absolute_error_index", "max_absolute_error_golden", "max_absolute_error_target")
    if not both:
        return dict.fromkeys(names)
    ratios = [abs(d[i]) / abs(g[i]) for i in both if abs(g[i]) > floor]
    worst = max(both, key=lambda i: (_number(abs(d[i])), -i))  # differences are formed in float64: equal after rounding is equal
    sizes = [(_number(abs(d[i])), max(abs(_number(g[i])), 2.0**-23)) for i in both]
    index = np.unravel_index(worst, shape) if shape else ()
    return {
        "max_relative_error": _number(max(ratios, default=0)),
        "mean_relative_error": _number(sum(ratios, Fraction(0)) / len(both)),
        "max_absolute_error": _number(abs(d[worst])),
        "mean_absolute_error": _number(sum(map(abs, d.values()), Fraction(0)) / len(both)),
        "within_one_thousandth_ratio": sum(difference < 0.001 * size for difference, size in sizes) / len(both),
        "within_five_thousandths_ratio": sum(difference < 0.005 * size for difference, size in sizes) / len(both),
        "max_absolute_error_index": str(tuple(int(part) for part in index)),
        "max_absolute_error_golden": _number(golden[worst]),
        "max_absolute_error_target": _number(target[worst]),
    }


def _rows(golden: list[Any], target: list[Any], g: Any, d: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    length = shape[-1] if shape else 1
    rows_together = math.ceil(64 / length) if 0 < length < 64 else 1
    step = max(length * rows_together, 1)
    best: tuple[Fraction, int] | None = None
    for start in range(0, len(golden), step):
        run = range(start, min(len(golden), start + step))
        if any(i not in g for i in run):
            continue
        golden_squares = sum((g[i] ** 2 for i in run), Fraction(0))
        if golden_squares == 0:
            continue
        share = sum((d[i] ** 2 for i in run), Fraction(0)) / golden_squares
        if best is None or share > best[0]:
            best = share, start // step * rows_together
    return {"worst_row_distance": None if best is None else float(_root(best[0])), "worst_row": None if best is None else best[1]}


def divergence(golden: list[float], target: list[float]) -> float | None:
    """KL of the softmaxes over the positions that are finite on both sides, at 60 digits."""
    pairs = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(golden, target, strict=True) if _finite(a) and _finite(b)]
    if not pairs:
        return None
    top_g, top_t = max(a for a, _ in pairs), max(b for _, b in pairs)
    lse_g = top_g + mpmath.log(mpmath.fsum(mpmath.exp(a - top_g) for a, _ in pairs))
    lse_t = top_t + mpmath.log(mpmath.fsum(mpmath.exp(b - top_t) for _, b in pairs))
    return float(mpmath.fsum(mpmath.exp(a - lse_g) * ((a - lse_g) - (b - lse_t)) for a, b in pairs))


def _divergences(golden: list[float], target: list[float], shape: tuple[int, ...]) -> dict[str, Any]:
    length = max(shape[-1] if shape else 1, 1)
    rows = [divergence(golden[i : i + length], target[i : i + length]) for i in range(0, len(golden), length)]
    present = [row for row in rows if row is not None]
    return {
        "kl_divergence": divergence(golden, target),
        "kl_divergence_row_max": max(present, default=None),
        "kl_divergence_row_mean": math.fsum(present) / len(present) if present else None,
    }


_EXACT = ("count", "max_value", "min_value", "_index", "error_golden", "error_target")


def assert_close_metrics(found: dict[str, Any], expected: dict[str, Any], scale: float = 1.0) -> None:
    """Counts and extrema exact; sums to 1e-9; cosine to 1e-12; divergences to 1e-6 or 1e-12. ``scale`` is a typical magnitude."""
    for name, want in expected.items():
        have = found[name]
        if want is None or have is None or name.endswith(_EXACT):
            assert have == want, f"{name}: {have} instead of {want}"
        elif name == "cosine_similarity":
            assert abs(have - want) <= 1e-12, f"{name}: {have} instead of {want}"
        elif name.startswith("kl_"):
            assert have >= 0 and abs(have - want) <= max(1e-12, 1e-6 * abs(want)), f"{name}: {have} instead of {want}"
        elif name.endswith("mean_value"):
            assert math.isclose(have, want, rel_tol=1e-9, abs_tol=1e-12 * scale), f"{name}: {have} instead of {want}"
        elif name == "signal_to_noise_db":
            assert have == want or abs(have - want) <= 1e-8 + 1e-12 * abs(want), f"{name}: {have} instead of {want}"
        elif name == "worst_row":
            continue  # decided by worst_row_distance, whose last digit two nearly equal rows share
        else:
            assert math.isclose(have, want, rel_tol=1e-9, abs_tol=0.0), f"{name}: {have} instead of {want}"
