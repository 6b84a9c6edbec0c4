from __future__ import annotations

import math

import kernel_oracle as oracle
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.dtypes import DTYPES
from fastcmp.kernels.fold import fold_piece
from fastcmp.options import FoldOptions

FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn", "float6_e3m2fn", "float4_e2m1fn")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
NAN, INF = math.nan, math.inf


def check(golden: np.ndarray, golden_dtype: str, target: np.ndarray, target_dtype: str, shape: tuple[int, ...], **options: object) -> dict:
    found = oracle.measured(golden, golden_dtype, target, target_dtype, shape, **options)
    g, t = oracle.exact(golden, golden_dtype), oracle.exact(target, target_dtype)
    scale = max([abs(float(value)) for value in (*g, *t) if math.isfinite(value)], default=1.0)
    oracle.assert_close_metrics(found, oracle.reference(g, t, shape, kl=bool(options.get("kl"))), scale)
    return found


TABLE = [
    ("zero golden", [0.0, 0.0], [0.0, 1.0]),
    ("zero target", [1.0, 2.0], [0.0, 0.0]),
    ("both zero", [0.0, -0.0], [0.0, 0.0]),
    ("nan on one side", [1.0, NAN, 3.0], [1.0, 2.0, 3.0]),
    ("nan on both sides", [1.0, NAN, 3.0], [1.0, NAN, 3.5]),
    ("same infinities", [INF, -INF, 3.0], [INF, -INF, 3.5]),
    ("opposite infinities", [INF, -INF, 3.0], [-INF, INF, 3.5]),
    ("infinity against nan", [INF, 1.0], [NAN, 1.0]),
    ("nothing finite", [NAN, INF], [NAN, INF]),
    ("golden half zero", [0.0, 1.0, 0.0, 1.0], [0.5, 1.0, 0.5, 1.0]),
    ("tiny", [1e-12, 1e-12], [2e-12, 1e-12]),
    ("large", [1e30, -1e30], [1.5e30, -1e30]),
    ("constant", [7.0] * 9, [7.0] * 9),
    ("subnormal", [1e-45, 3e-45], [3e-45, 1e-45]),
    ("largest", [3.4028234663852886e38], [-3.4028234663852886e38]),
    ("one element", [2.0], [2.5]),
    ("empty", [], []),
]


@pytest.mark.parametrize(("golden", "target"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_odd_values_have_the_defined_metrics(dtype: str, golden: list[float], target: list[float]) -> None:
    check(oracle.storage(golden, dtype), dtype, oracle.storage(target, dtype), dtype, (len(golden),), kl=True)


@pytest.mark.parametrize("golden_dtype", FLOATS)
@pytest.mark.parametrize("target_dtype", FLOATS)
def test_every_pair_of_float_dtypes_is_widened_exactly(golden_dtype: str, target_dtype: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(300)
    golden = oracle.storage(values, golden_dtype)
    target = oracle.storage(values + rng.standard_normal(300) * 0.01, target_dtype)
    check(golden, golden_dtype, target, target_dtype, (3, 100), kl=True)


@pytest.mark.parametrize("golden_dtype", INTEGERS)
@pytest.mark.parametrize("target_dtype", (*INTEGERS, "float32", "float64"))
def test_integers_are_compared_exactly(golden_dtype: str, target_dtype: str) -> None:
    rng = np.random.default_rng(4)
    golden = rng.integers(0, 100, 200)
    target = golden + rng.integers(0, 2, 200)
    check(oracle.storage(golden, golden_dtype), golden_dtype, oracle.storage(target, target_dtype), target_dtype, (2, 100))
    check(oracle.storage(target, target_dtype), target_dtype, oracle.storage(golden, golden_dtype), golden_dtype, (2, 100))


WIDE = [
    ("int64", [2**53, 2**53 + 1, -(2**63), 2**63 - 1], "int64", [2**53 + 1, 2**53 + 1, 2**63 - 1, -(2**63)]),
    ("uint64", [2**64 - 1, 2**63 + 1, 0], "uint64", [2**64 - 2, 2**63 + 1, 2**64 - 1]),
    ("int64", [-(2**63), -1, 5], "uint64", [2**64 - 1, 2**64 - 1, 5]),
    ("uint64", [2**64 - 1, 2**63], "int64", [-(2**63), -1]),
    ("uint64", [2**64 - 1, 2**64 - 1024], "float64", [2.0**64, 2.0**64]),
    ("int64", [2**53 + 1, 2**53, -(2**63), 2**63 - 1], "float64", [2.0**53, 2.0**53, -(2.0**63), 2.0**63]),
    ("int64", [1, 2, 3], "float32", [math.nan, math.inf, 3.0]),
    ("int64", [2**40, -3], "bool", [1, 1]),
]


@pytest.mark.parametrize(("golden_dtype", "golden", "target_dtype", "target"), WIDE)
def test_integers_beyond_two_to_53_keep_their_last_unit(golden_dtype: str, golden: list, target_dtype: str, target: list) -> None:
    g = np.array(golden, dtype=oracle.NUMPY_OF[golden_dtype])
    t = oracle.storage(np.array(target, dtype=oracle.NUMPY_OF[target_dtype]), target_dtype)
    found = oracle.measured(g, golden_dtype, t, target_dtype, (len(golden),))
    expected = oracle.reference(oracle.exact(g, golden_dtype), oracle.exact(t, target_dtype), (len(golden),))
    # Values are reported to the nearest float64, so differences against floats are of those.
    for name in ("mismatch_count", "nonfinite_mismatch_count", "golden_max_value", "golden_min_value", "acl_max_value", "acl_min_value"):
        assert found[name] == expected[name], name
    if DTYPES[target_dtype].kind != "float":
        oracle.assert_close_metrics(found, expected)


def test_off_by_one_beyond_two_to_53_is_a_mismatch_of_one() -> None:
    golden = np.array([2**53, 10], dtype=np.int64)
    found = oracle.measured(golden, "int64", golden + np.array([1, 0]), "int64", (2,))
    assert (found["mismatch_count"], found["max_absolute_error"], found["max_absolute_error_index"]) == (1, 1.0, "(0,)")


def test_any_byte_but_zero_is_true() -> None:
    found = oracle.measured(np.array([1, 2, 0], dtype=np.uint8), "bool", np.array([255, 1, 1], dtype=np.uint8), "bool", (3,))
    assert found["mismatch_count"] == 1


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_tensors_are_compared_by_modulus(dtype: str) -> None:
    rng = np.random.default_rng(5)
    golden = (rng.standard_normal(130) + 1j * rng.standard_normal(130)).astype(oracle.NUMPY_OF[dtype])
    target = (golden + 0.01 * rng.standard_normal(130)).astype(oracle.NUMPY_OF[dtype])
    found = oracle.measured(golden, dtype, target, dtype, (130,))
    g, t = golden.astype(np.complex128), target.astype(np.complex128)
    assert found["max_absolute_error"] == pytest.approx(np.abs(t - g).max(), rel=1e-14)
    assert found["mean_relative_error"] == pytest.approx(np.mean(np.abs(t - g) / np.abs(g)), rel=1e-12)
    cosine = np.sum((g * t.conj()).real) / np.sqrt(np.sum(np.abs(g) ** 2) * np.sum(np.abs(t) ** 2))
    assert found["cosine_similarity"] == pytest.approx(cosine, abs=1e-12)
    assert found["golden_max_value"] == pytest.approx(np.abs(g).max(), rel=1e-15)
    assert found["kl_divergence"] is None and found["notes"] == ("complex: values are moduli",)


def test_a_complex_nan_is_no_number() -> None:
    golden = np.array([complex(math.nan, 1), complex(math.inf, 0), complex(1, 1)])
    target = np.array([complex(math.nan, 1), complex(-math.inf, 0), complex(math.nan, 1)])
    found = oracle.measured(golden, "complex128", target, "complex128", (3,))
    assert (found["golden_nan_count"], found["target_nan_count"], found["golden_inf_count"]) == (1, 2, 1)
    assert found["nonfinite_mismatch_count"] == 2


def test_complex32_is_two_halves() -> None:
    golden = np.array([1.5, -2.0, 0.25, 4.0], dtype=np.float16).view(np.uint32)
    found = oracle.measured(golden, "complex32", np.array([1.5 - 2j, 0.25 + 3j], dtype=np.complex64), "complex64", (2,))
    assert found["max_absolute_error"] == 1.0 and found["mismatch_count"] == 1


EXTREME = [
    ("huge", [1e200, -3e250, 2e180], [1e200, -3.1e250, 2e180]),
    ("tiny", [1e-200, -3e-250, 2e-180], [1e-200, -3e-250, 2.5e-180]),
    ("largest of opposite signs", [1.7e308, 1.0], [-1.7e308, 1.0]),
    ("subnormal", [5e-324, 1e-320], [1e-320, 5e-324]),
    ("huge against ordinary", [1.0, 2.0], [1e200, 2e200]),
    ("tiny against ordinary", [1e-200, 2e-200], [1.0, 2.0]),
    ("tiny against zero", [0.0, 0.0], [1e-200, 1e-201]),
]


@pytest.mark.parametrize(("golden", "target"), [row[1:] for row in EXTREME], ids=[row[0] for row in EXTREME])
def test_squares_beyond_float64_are_scaled(golden: list[float], target: list[float]) -> None:
    check(np.array(golden), "float64", np.array(target), "float64", (len(golden),))


def rounded_by_ml_dtypes(values: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype(oracle.NUMPY_OF[dtype]).astype(np.float64)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn", "float6_e3m2fn", "float6_e2m3fn", "float4_e2m1fn"]
)
def test_rounding_floor_is_the_rounding_of_ml_dtypes(dtype: str) -> None:
    """Per element: every half-way point and its neighbours of the narrow dtypes, golden being float64."""
    if dtype in ("float32", "float16", "bfloat16"):
        values = np.random.default_rng(6).standard_normal(2000) * np.exp2(np.random.default_rng(7).integers(-30, 15, 2000))
    else:
        codes = np.arange(256, dtype=np.uint8) & ((1 << DTYPES[dtype].bits) - 1)
        exact = np.unique(codes.view(oracle.NUMPY_OF[dtype]).astype(np.float64))
        exact = exact[np.isfinite(exact)]
        middle = (exact[1:] + exact[:-1]) / 2
        values = np.concatenate([exact, middle, np.nextafter(middle, 1e9), np.nextafter(middle, -1e9)])
    rounded = rounded_by_ml_dtypes(values, dtype)
    keep = np.isfinite(rounded) & (values != 0)
    for value, want in zip(values[keep], rounded[keep], strict=True):
        found = oracle.measured(np.array([value]), "float64", oracle.storage([0.0], dtype), dtype, (1,))["rounding_floor"]
        assert found == pytest.approx(abs(want - value) / abs(value), rel=1e-12, abs=1e-300), value


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_floor_of_float32_golden(dtype: str) -> None:
    values = (np.random.default_rng(8).standard_normal(5000) * 3).astype(np.float32)
    rounded = rounded_by_ml_dtypes(values, dtype)
    want = math.sqrt(math.fsum((rounded - values) ** 2) / math.fsum(values.astype(float) ** 2))
    found = oracle.measured(values, "float32", oracle.storage(values, dtype), dtype, (5, 1000))
    assert found["rounding_floor"] == pytest.approx(want, rel=1e-12)
    assert found["relative_euclidean_distance"] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("golden", "target"), [("float16", "float32"), ("float32", "float32"), ("float32", "int8"), ("float32", "float8_e8m0fnu")]
)
def test_rounding_floor_is_empty_where_target_is_not_a_narrower_float(golden: str, target: str) -> None:
    found = oracle.measured(oracle.storage([1.1, 2.2], golden), golden, oracle.storage([1.0, 2.0], target), target, (2,))
    assert found["rounding_floor"] is None


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-7, 1e-5, 1e-3, 0.1, 5.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [0.0, 37.5])
def test_divergence_keeps_its_digits_at_any_noise(noise: float, dtype: str, shift: float) -> None:
    rng = np.random.default_rng(9)
    golden = (rng.standard_normal(600) * 4).astype(dtype)
    target = (golden + rng.standard_normal(600) * noise + shift).astype(dtype)
    for shape in ((600,), (20, 30)):
        check(golden, dtype, target, dtype, shape, kl=True)


@pytest.mark.parametrize("jump", [0.01, 0.03, 0.1, 0.24, 0.26])
def test_divergence_of_a_flat_row_whose_largest_element_alone_jumps(jump: float) -> None:
    """Every delta is as large as the jump then, though nearly all elements agree."""
    rng = np.random.default_rng(12)
    golden = rng.standard_normal(3000) * 1e-3
    golden[1234] = 5e-3
    target = golden + rng.standard_normal(3000) * 1e-6
    target[1234] += jump
    check(golden, "float64", target, "float64", (3000,), kl=True)


@pytest.mark.parametrize("spread", [30.0, 300.0, 1e5])
def test_divergence_of_unrelated_tensors(spread: float) -> None:
    rng = np.random.default_rng(10)
    golden, target = (rng.standard_normal(700) * spread for _ in range(2))
    check(golden, "float64", target, "float64", (7, 100), kl=True)


def test_divergence_leaves_out_masked_positions() -> None:
    rng = np.random.default_rng(11)
    golden = rng.standard_normal(1200).astype(np.float32)
    target = (golden + rng.standard_normal(1200) * 1e-3).astype(np.float32)
    golden[::3] = target[::3] = -INF
    golden[600:700] = NAN
    for shape in ((1200,), (12, 100), (2, 600)):
        check(golden, "float32", target, "float32", shape, kl=True)


@pytest.mark.parametrize("shape", [(8, 100), (2, 3, 40), (3, 700), (100, 8), (5000,), (2, 5000), (7, 1), (), (1, 63), (3, 64)])
def test_the_worst_row_is_found_whatever_its_length(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(12)
    golden = rng.standard_normal(math.prod(shape)).astype(np.float32)
    target = (golden + rng.standard_normal(golden.size).astype(np.float32) * 1e-3).astype(np.float32)
    target[golden.size // 2] += 1
    found = check(golden, "float32", target, "float32", shape)
    expected = oracle.reference(golden.astype(float).tolist(), target.astype(float).tolist(), shape)
    assert found["worst_row"] == expected["worst_row"]


def test_rows_that_say_nothing_are_skipped_and_noted() -> None:
    golden = np.ones((6, 100), dtype=np.float32)
    target = golden.copy()
    golden[1] = 0
    target[1] = 5
    target[3, 7] = NAN
    target[4, 0] = 1.5
    found = check(golden.ravel(), "float32", target.ravel(), "float32", (6, 100))
    assert (found["worst_row"], found["worst_row_distance"]) == (4, pytest.approx(0.05))
    assert found["notes"] == (
        "worst_row_distance leaves out 1 row that is not finite",
        "worst_row_distance leaves out 1 row that is all zero in golden",
    )


def test_zeroed_rows_cannot_hide() -> None:
    """18 % of the rows zeroed: the cosine looks fine, worst_row_distance does not."""
    golden = np.random.default_rng(13).standard_normal((100, 256)).astype(np.float32)
    target = golden.copy()
    target[5::6] = 0
    found = check(golden.ravel(), "float32", target.ravel(), "float32", golden.shape)
    assert found["cosine_similarity"] > 0.9 and found["worst_row_distance"] == 1.0 and found["worst_row"] == 5


def test_one_outlier_in_a_block_is_found_and_named() -> None:
    golden = np.random.default_rng(14).standard_normal(4096).astype(np.float32)
    target = golden.copy()
    target[3071] += 100
    found = check(golden, "float32", target, "float32", (4, 1024))
    assert found["max_absolute_error_index"] == "(2, 1023)"


def test_the_first_of_equal_worst_elements_wins() -> None:
    golden, target = np.zeros(20000, np.float32), np.zeros(20000, np.float32)
    target[[5000, 5001, 9000, 19999]] = (-3, 3, 3, 3)
    found = oracle.measured(golden, "float32", target, "float32", (20000,))
    assert (found["max_absolute_error_index"], found["max_absolute_error_target"]) == ("(5000,)", -3.0)


@given(
    st.sampled_from(["float32", "float16", "bfloat16", "float64"]),
    st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), max_size=150),
    st.integers(1, 150),
)
@settings(max_examples=examples(150), deadline=None)
def test_any_floats_have_the_metrics_of_the_slow_truth(dtype: str, pairs: list[tuple[float, float]], row: int) -> None:
    length = min(row, len(pairs)) or 1
    pairs = pairs[: len(pairs) // length * length]
    golden, target = (oracle.storage([pair[k] for pair in pairs], dtype) for k in (0, 1))
    check(golden, dtype, target, dtype, (len(pairs) // length, length))


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False)), max_size=40))
@settings(max_examples=examples(60), deadline=None)
def test_float64_of_any_magnitude_loses_no_count(pairs: list[tuple[float, float]]) -> None:
    golden, target = (np.array([pair[k] for pair in pairs], dtype=np.float64) for k in (0, 1))
    found = oracle.measured(golden, "float64", target, "float64", (len(pairs),))
    expected = oracle.reference(golden.tolist(), target.tolist(), (len(pairs),))
    for name in ("mismatch_count", "near_zero_golden_count", "golden_max_value", "acl_min_value"):
        assert found[name] == expected[name], name
    # Differences are kept in units of the largest value, once that is beyond 2^400: below 2**-1020 of it they are zero.
    largest = max((abs(value) for pair in pairs for value in pair), default=0.0)
    assert found["max_absolute_error"] == expected["max_absolute_error"] or expected["max_absolute_error"] < largest * 2.0**-1020
    if pairs:
        assert -1 <= found["cosine_similarity"] <= 1 and not math.isnan(found["relative_euclidean_distance"])


def test_bfloat16_and_float16_codes_widen_exhaustively() -> None:
    codes = np.arange(65536, dtype=np.uint16)
    for dtype, numpy_dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
        with np.errstate(all="ignore"):
            values = codes.view(numpy_dtype).astype(np.float32)
        found = oracle.measured(codes, dtype, values, "float32", (256, 256))
        assert (found["mismatch_count"], found["golden_nan_count"]) == (0, int(np.isnan(values).sum()))
        assert found["golden_max_value"] == np.max(values[np.isfinite(values)])


@pytest.mark.parametrize("dtype", [name for name in oracle.NUMPY_OF if "_e" in name])
def test_narrow_float_codes_widen_exhaustively(dtype: str) -> None:
    codes = np.arange(256, dtype=np.uint8) & ((1 << DTYPES[dtype].bits) - 1)
    values = codes.astype(np.uint8).view(oracle.NUMPY_OF[dtype]).astype(np.float64)
    found = oracle.measured(codes.astype(np.uint8), dtype, values, "float64", (256,))
    assert (found["mismatch_count"], found["golden_nan_count"]) == (0, int(np.isnan(values).sum()))


def test_int4_is_signed_and_uint1_is_not() -> None:
    int4 = oracle.measured(np.arange(16, dtype=np.uint8), "int4", np.array([*range(8), *range(-8, 0)], dtype=np.int8), "int8", (16,))
    uint1 = oracle.measured(np.array([0, 1], dtype=np.uint8), "uint1", np.array([0, 1], dtype=np.int32), "int32", (2,))
    assert (int4["mismatch_count"], uint1["mismatch_count"]) == (0, 0)


def test_scale_multiplies_the_integer_side() -> None:
    floats = np.array([0.5, -1.0, 2.0], dtype=np.float32)
    integers = np.array([2, -4, 9], dtype=np.int8)
    found = oracle.measured(floats, "float32", integers, "int8", (3,), scale=0.25)
    assert (found["max_absolute_error"], found["mismatch_count"]) == (0.25, 1)
    wide = oracle.measured(integers.astype(np.int64), "int64", floats, "float32", (3,), scale=0.25)
    assert (wide["golden_max_value"], wide["mismatch_count"]) == (2.25, 1)


def values_of(codes: np.ndarray, dtype: str) -> np.ndarray:
    return codes.view(np.float16 if dtype == "float16" else ml_dtypes.bfloat16).astype(np.float64)


def neighbours(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of 16-bit codes whose difference is next to 1 or 5 thousandths of the first, or of the least that counts as its size."""
    codes = np.arange(0x7C00 if dtype == "float16" else 0x7F80, dtype=np.uint16)
    near = [(codes, np.clip(codes.astype(np.int32) + step, 0, codes[-1])) for step in range(-24, 25)]
    values = values_of(codes, dtype)
    for share in (0.001, 0.005):
        limit = share * np.maximum(values, 2.0**-23)
        for sign in (-1, 1):
            with np.errstate(over="ignore"):
                close = oracle.storage(np.clip(values + sign * limit, -values[-1], values[-1]), dtype)
            near += [(codes, close.astype(np.int32) + step) for step in (-1, 0, 1)]
    golden = np.concatenate([first for first, _ in near])
    target = np.concatenate([np.clip(second, 0, 0xFFFF) for _, second in near]).astype(np.uint16)
    finite = np.isfinite(values_of(target, dtype))
    return golden[finite], target[finite]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kl", [False, True], ids=["one pass", "two passes"])
@pytest.mark.parametrize("floor", [2.0**-23, 0.1, 0.0, 1e-30])
def test_counts_of_16_bit_floats_are_those_of_float64(dtype: str, floor: float, kl: bool) -> None:
    golden, target = neighbours(dtype)
    g, t = values_of(golden, dtype), values_of(target, dtype)
    sums = fold_piece(
        golden, dtype, target, dtype, start=0, element_count=g.size, row_length=g.size, options=FoldOptions(kl=kl, relative_floor=floor)
    )
    difference, reference = np.abs(t - g), np.maximum(np.abs(g), 2.0**-23)
    expected = {
        "within_one_thousandth_count": difference < 0.001 * reference,
        "within_five_thousandths_count": difference < 0.005 * reference,
        "near_zero_golden_count": ~(np.abs(g) > floor),
        "mismatch_count": g != t,
    }
    assert {name: sums[name][0] for name in expected} == {name: np.count_nonzero(flags) for name, flags in expected.items()}
    assert golden.size > 1_000_000 and 0 < sums["within_one_thousandth_count"] < sums["within_five_thousandths_count"] < golden.size
