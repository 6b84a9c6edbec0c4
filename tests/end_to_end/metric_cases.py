"""Tables of tensor pairs whose metrics are easily got wrong, by name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from tensor_files import ALL_DTYPES, COMPLEX, INTEGERS, Tensor, tensor

INF, NAN = math.inf, math.nan
WIDE = ("float32", "float64", "float16", "bfloat16")


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def nonfinite_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    values = normal(5, 100)
    with_nan = values.copy()
    with_nan[1, 7] = NAN
    golden, target = values.copy(), values.copy()
    golden[0, 3] = target[0, 3] = NAN
    golden[1, 4] = target[1, 4] = INF
    golden[2, 5], target[2, 5] = INF, -INF
    golden[3, 0], target[3, 0] = NAN, INF
    target[4, 99] = -INF
    full = np.ones((4, 70))
    for dtype in (*WIDE, "float8_e5m2"):
        yield f"{dtype}: NaN in golden", (tensor(dtype, with_nan), tensor(dtype, values))
        yield f"{dtype}: NaN in target", (tensor(dtype, values), tensor(dtype, with_nan))
        yield f"{dtype}: NaN and Inf everywhere", (tensor(dtype, golden), tensor(dtype, target * 1.001))
        yield f"{dtype}: nothing but NaN", (tensor(dtype, full * NAN), tensor(dtype, full * NAN))
        yield f"{dtype}: NaN against numbers", (tensor(dtype, full * NAN), tensor(dtype, full))
        yield f"{dtype}: Inf of the other sign", (tensor(dtype, full * INF), tensor(dtype, full * -INF))
    yield "NaN in e4m3fn, which has no Inf", (tensor("float8_e4m3fn", with_nan), tensor("float8_e4m3fn", golden))
    for dtype in COMPLEX:
        left, right = values + 1j * normal(5, 100, seed=2), values * 1.01 + 1j * normal(5, 100, seed=2)
        yield f"{dtype}: finite", (tensor(dtype, left), tensor(dtype, right))
        left[0, :3] = complex(NAN, 1), complex(INF, NAN), complex(-INF, 1)
        right[0, :3] = complex(1, NAN), complex(INF, 0), complex(INF, 1)
        yield f"{dtype}: NaN and Inf", (tensor(dtype, left), tensor(dtype, right))
        yield f"{dtype}: the same NaN and Inf", (tensor(dtype, left), tensor(dtype, left))


def zero_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    values, zeros = normal(4, 70), np.zeros((4, 70))
    half = values * (np.arange(70) % 2)
    for dtype in WIDE:
        yield f"{dtype}: golden all zero", (tensor(dtype, zeros), tensor(dtype, values))
        yield f"{dtype}: target all zero", (tensor(dtype, values), tensor(dtype, zeros))
        yield f"{dtype}: 0 and -0", (tensor(dtype, zeros), tensor(dtype, -zeros))
        yield f"{dtype}: golden half zero", (tensor(dtype, half), tensor(dtype, half + 0.01 * values))
        yield f"{dtype}: constants", (tensor(dtype, zeros + 3.25), tensor(dtype, zeros + 3.5))
        yield f"{dtype}: equal constants", (tensor(dtype, zeros + 3.25), tensor(dtype, zeros + 3.25))


def magnitude_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    values, other = normal(3, 70), normal(3, 70, seed=2)
    ones = np.ones((3, 70))
    yield "1e-12 against 2e-12", (tensor("float32", ones * 1e-12), tensor("float32", ones * 2e-12))
    yield "1e30", (tensor("float32", values * 1e30), tensor("float32", other * 1e30))
    yield "float32 near its largest", (tensor("float32", ones * 3.4e38), tensor("float32", ones * -3.4e38))
    yield "float32 subnormal", (tensor("float32", values * 1e-42), tensor("float32", other * 1e-42))
    for exponent in (200, -200, 154, 155, -155, -162, 290, -290):
        size = 10.0**exponent
        yield f"float64 1e{exponent}, close", (tensor("float64", values * size), tensor("float64", values * size * (1 + 1e-3 * other)))
        yield f"float64 1e{exponent}, unrelated", (tensor("float64", values * size), tensor("float64", other * size))
        yield f"float64 1e{exponent}, constant", (tensor("float64", ones * size), tensor("float64", ones * 2 * size))
    yield "float64 against float32 at 1e30", (tensor("float64", values * 1e30), tensor("float32", other * 1e30))
    yield "float64 1e200 against 1e-200", (tensor("float64", values * 1e200), tensor("float64", other * 1e-200))
    yield "the largest float64", (tensor("float64", ones * 1.7e308), tensor("float64", ones * 1.6e308))
    yield "differences beyond float64", (tensor("float64", ones * 1.7e308), tensor("float64", ones * -1.7e308))
    yield "the smallest float64", (tensor("float64", ones * 5e-324), tensor("float64", ones * 1.5e-323))
    for noise in (1e-3, 1e-5, 1e-8, 1e-12, 1e-15):
        yield f"float64, noise {noise}", (tensor("float64", values), tensor("float64", values + noise * other))
    yield "opposite", (tensor("float64", values), tensor("float64", values * -3))
    yield "three times", (tensor("float32", values), tensor("float32", tensor_values("float32", values) * 3))
    yield "1 between 1e30 and -1e30", (tensor("float64", [1e30, 1.0, -1e30] + [0.0] * 97), tensor("float64", [1e30, -1e30] + [1.0] * 98))


def tensor_values(dtype: str, values: np.ndarray) -> np.ndarray:
    return np.array(tensor(dtype, values).values()).reshape(values.shape)


def integer_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    random = np.random.default_rng(3)
    yield "bool, flipped", (tensor("bool", normal(7, 65) > 0), tensor("bool", normal(7, 65) <= 0))
    yield "bool, equal", (tensor("bool", normal(7, 65) > 0), tensor("bool", normal(7, 65) > 0))
    yield "bool, any byte is true", (Tensor("bool", (4,), bytes([0, 1, 2, 255])), Tensor("bool", (4,), bytes([0, 255, 1, 0])))
    yield "int8 against float32", (tensor("int8", random.integers(-128, 128, (4, 70))), tensor("float32", normal(4, 70)))
    big = np.full((4, 70), 2**60)
    yield "int64, one off by one", (tensor("int64", big), tensor("int64", big + (np.arange(280) == 9).reshape(4, 70)))
    yield (
        "int64, off by one at every size",
        (
            tensor("int64", np.array([2**53 + 1, 2**62, -(2**63), 5] * 30)),
            tensor("int64", np.array([2**53, 2**62 + 1, 2**63 - 1, 5] * 30)),
        ),
    )
    unsigned = np.array([2**64 - 1, 2**63, 2**63 + 1, 0, 7], np.uint64)
    signed = np.array([-1, -(2**63), 2**63 - 1, -5, 7])
    yield "uint64 against int64", (tensor("uint64", unsigned), tensor("int64", signed))
    yield "int64 against uint64", (tensor("int64", signed), tensor("uint64", unsigned))
    yield "uint64", (tensor("uint64", unsigned), tensor("uint64", unsigned ^ np.uint64(1)))
    yield (
        "int64 beyond float64's integers",
        (tensor("int64", [2**53 + 1, 2**62 + 1, -5, 3]), tensor("float64", [2.0**53, 2.0**62, -5.5, 3])),
    )
    yield (
        "float64 against uint64",
        (tensor("float64", [2.0**53, 2.0**64, -5.5, 3]), tensor("uint64", np.array([2**53 + 1, 2**64 - 1, 5, 3], np.uint64))),
    )
    yield (
        "float64 against int64 at its ends",
        (tensor("float64", [2.0**63, -(2.0**63), INF, 1]), tensor("int64", [2**63 - 1, -(2**63), 1, -1])),
    )
    every = np.arange(-(2**63), 2**63 - 1, 2**55 + 12345)[:490].reshape(7, 70)
    yield "int64, any", (tensor("int64", every), tensor("int64", every[::-1]))
    yield "uint64, any", (tensor("uint64", every.astype(np.uint64)), tensor("uint64", every[::-1].astype(np.uint64)))


def shape_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    yield "transposed", (tensor("float32", normal(6, 70)), tensor("float32", normal(6, 70, seed=2), (70, 6)))
    yield "transposed but equal bytes", (tensor("float32", normal(6, 70)), tensor("float32", normal(6, 70), (70, 6)))
    yield "a leading axis of 1", (tensor("float32", normal(6, 70), (1, 6, 70)), tensor("float32", normal(6, 70)))
    yield "axes of 1 anywhere", (tensor("float32", normal(6, 70)), tensor("float32", normal(6, 70), (6, 1, 70, 1)))
    yield "one element, 0-d against 3-d", (tensor("float32", 2.5), tensor("float32", 2.5, (1, 1, 1)))
    for dtype in ("float32", "int8", "bool", "complex64", "bfloat16", "float4_e2m1fn"):
        yield f"{dtype}: empty", (tensor(dtype, np.zeros((0, 3))), tensor(dtype, np.zeros((0, 3))))
        yield f"{dtype}: empty, other shape", (tensor(dtype, np.zeros((0, 3))), tensor(dtype, np.zeros((3, 0))))
        yield f"{dtype}: 0-d", (tensor(dtype, np.ones(())), tensor(dtype, np.zeros(())))
        yield f"{dtype}: one element", (tensor(dtype, np.ones(1)), tensor(dtype, np.ones(1)))


def row_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    for shape in (
        (100, 3),
        (64, 1),
        (65, 1),
        (10, 63),
        (9, 64),
        (7, 5, 3),
        (1, 1),
        (3, 1),
        (700, 2),
        (5000, 1),
        (2, 40),
        (1, 40),
        (130, 33),
        (50,),
    ):
        yield f"rows of {shape}", (tensor("float32", normal(*shape)), tensor("float32", normal(*shape, seed=2)))
    for shape in ((12, 1000), (3, 5000), (2, 9001), (2, 4096), (3, 4095)):
        values = normal(*shape)
        noisy = values * (1 + 1e-3 * normal(*shape, seed=2))
        noisy[-2] *= 1.1
        yield f"rows over blocks {shape}", (tensor("bfloat16", values), tensor("bfloat16", noisy))
    whole, holed = normal(200, 64), normal(200, 64)
    holed[np.random.default_rng(1).permutation(200)[:36]] = 0
    yield "18 % of the rows zeroed", (tensor("float32", whole), tensor("float32", holed))
    one = normal(4096)
    one[1234] += 100
    yield "one outlier in 4096", (tensor("float32", normal(4096)), tensor("float32", one))
    short, nan, zero = normal(130, 33), normal(130, 33), normal(130, 33)
    nan[100, 2] = NAN
    zero[40:50] = 0
    yield "short rows, one not finite", (tensor("float32", short), tensor("float32", nan))
    yield "short rows, some zero", (tensor("float32", zero), tensor("float32", zero + 0.1))
    zero = normal(10, 64)
    zero[3] = 0
    yield "one row zero in golden", (tensor("float32", zero), tensor("float32", zero + 0.1))
    yield "equal rows", (tensor("float32", np.tile(normal(1, 70), (9, 1))), tensor("float32", np.tile(normal(1, 70, seed=2), (9, 1))))
    yield "no row to judge", (tensor("float32", np.zeros((3, 70))), tensor("float32", np.ones((3, 70))))


ROUNDINGS = [
    *itertools.product(("float64", "float32"), ("float16", "bfloat16", "float8_e5m2", "float8_e4m3fn", "float6_e3m2fn", "float4_e2m1fn")),
    ("float64", "float32"), ("float16", "bfloat16"), ("bfloat16", "float8_e4m3fn"), ("float8_e4m3fn", "float8_e5m2"),
    ("bfloat16", "float16"), ("float16", "float32"), ("float32", "float32"), ("float32", "int8"), ("float8_e5m2", "float8_e4m3fn"),
]  # fmt: skip


def rounding_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    values = normal(3, 128)
    values[0, :4] = 0.5, 1 + 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8  # ties, to even
    for (golden, target), size in itertools.product(ROUNDINGS, (1, 1e-6, 1e-30, 1e-41, 1e5)):
        if target != "int8" or size == 1:
            left, right = tensor(golden, values * size), tensor(target, (values * size).clip(-99, 99))
            yield f"{golden} rounded to {target} at {size}", (left, right)


def divergence_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    logits, noise, mask = 3 * normal(3, 130), normal(3, 130, seed=2), normal(3, 130, seed=3) < -0.5
    masked = np.where(mask, -INF, logits)
    whole_row = masked.copy()
    whole_row[2] = -INF
    peaks = np.eye(3, 130) * 60000
    for dtype in WIDE:
        yield f"{dtype}: logits", (tensor(dtype, logits), tensor(dtype, logits + 0.1 * noise))
        yield f"{dtype}: logits, noise 1e-5", (tensor(dtype, logits), tensor(dtype, logits + 1e-5 * noise))
        yield f"{dtype}: logits, masked", (tensor(dtype, masked), tensor(dtype, masked + 0.1 * noise))
        yield f"{dtype}: logits, masked in golden", (tensor(dtype, masked), tensor(dtype, logits))
        yield f"{dtype}: logits, a row masked", (tensor(dtype, whole_row), tensor(dtype, whole_row))
        yield f"{dtype}: logits, unrelated", (tensor(dtype, logits), tensor(dtype, 3 * noise))
        yield f"{dtype}: logits, shifted", (tensor(dtype, logits), tensor(dtype, logits + 1000))
        yield f"{dtype}: logits, constant", (tensor(dtype, logits * 0 + 10000), tensor(dtype, logits * 0 + 30000))
        yield f"{dtype}: logits, large", (tensor(dtype, 1e4 * logits), tensor(dtype, 1e4 * noise))
        yield f"{dtype}: logits, other peaks", (tensor(dtype, peaks), tensor(dtype, peaks[::-1]))
        yield f"{dtype}: logits, equal", (tensor(dtype, logits), tensor(dtype, logits))
    yield "logits, noise 1e-9", (tensor("float64", logits), tensor("float64", logits + 1e-9 * noise))
    yield "logits, shifted by 1e6", (tensor("float64", logits), tensor("float64", logits + 1e6 + 1e-3 * noise))
    yield "logits, 1e200", (tensor("float64", logits * 1e200), tensor("float64", noise * 1e200))
    yield "logits, 1e30", (tensor("float32", logits * 1e30), tensor("float32", noise * 1e30))
    yield "logits, short rows", (tensor("float32", normal(300, 3)), tensor("float32", normal(300, 3, seed=2)))
    yield "logits in fp8", (tensor("float8_e4m3fn", logits), tensor("float8_e4m3fn", logits + noise))


def dtype_cases() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Every storage dtype against every other."""
    for number, (golden, target) in enumerate(itertools.product(ALL_DTYPES, repeat=2)):
        values = normal(2, 67, seed=number)
        yield f"{golden} against {target}", (of_kind(golden, values), of_kind(target, values * 1.01))


def of_kind(dtype: str, values: np.ndarray) -> Tensor:
    """``values`` as what the dtype can hold."""
    if dtype in (*INTEGERS, "bool"):
        return tensor(dtype, np.abs(values * 3).round() % (2 if dtype in ("bool", "uint1") else 8))
    return tensor(dtype, values + 1j * values[::-1] if dtype in COMPLEX else values)
