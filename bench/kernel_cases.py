"""The fused kernel over arrays in memory, beside one core that only looks at the same arrays."""

from __future__ import annotations

import functools

import numpy as np
from answers import WrongAnswer
from cases import FOR_THE_RECORD, Size, Target
from dumps import base_values, itemsize
from measure import Case, alternate, timed
from yardsticks import single_core_scan

from fastcmp.kernels.fold import fold_piece, rounding_dtype, warm
from fastcmp.kernels.sums import merge
from fastcmp.options import FoldOptions

ROW_LENGTH = 4096
PIECE_BYTES = 64 * 2**20
BLOCK_ELEMENTS = 2**21
NARROW = Target("ratio >= 0.9", at_least=0.9)
# golden, target, with KL, what is promised under which number
ROWS = (
    ("float32", "float32", False, Target("ratio >= 0.45", at_least=0.45), "P1"),
    ("float32", "float32", True, Target("ratio >= 0.2", at_least=0.2), "P2"),
    ("float16", "float16", False, FOR_THE_RECORD, ""),
    ("bfloat16", "bfloat16", False, FOR_THE_RECORD, ""),
    ("float32", "bfloat16", False, FOR_THE_RECORD, ""),
)


def kernel_cases(size: Size) -> list[Case]:
    """Both sides' GB/s for several dtypes; then the 16-bit floats with KL, element for element beside float32 with KL."""
    warm([(golden, target) for golden, target, *_ in ROWS], kl=True)
    return [*(scanned_case(size, *row) for row in ROWS), *(narrow_case(size, dtype) for dtype in ("float16", "bfloat16"))]


def scanned_case(size: Size, golden_dtype: str, target_dtype: str, kl: bool, target: Target, promise: str) -> Case:
    """The kernel beside one core that only looks at the same arrays."""
    golden, other = pair_of(size.kernel_bytes // max(itemsize(golden_dtype), itemsize(target_dtype)), golden_dtype, target_dtype)
    kind = golden_dtype if golden_dtype == target_dtype else f"{golden_dtype}/{target_dtype}"
    case = Case(f"kernel {kind}{', KL' if kl else ''}", "GB/s", "resident scan", target, promise)
    fold = functools.partial(fold_whole, golden, golden_dtype, other, target_dtype, kl)
    check_sums(fold(), golden, golden_dtype, case.name)
    work = (golden.nbytes + other.nbytes) / 1e9
    return alternate(case, size.rounds, work, lambda: timed(fold), lambda: single_core_scan([golden, other]))


def narrow_case(size: Size, dtype: str) -> Case:
    """A 16-bit float beside float32, the same number of elements: reading half the bytes must not cost more."""
    count = size.kernel_bytes // 4
    wide, narrow = pair_of(count, "float32", "float32"), pair_of(count, dtype, dtype)
    case = Case(f"kernel {dtype}, KL", "Gelem/s", "float32, KL", NARROW, "P3")
    fold = functools.partial(fold_whole, narrow[0], dtype, narrow[1], dtype, True)
    check_sums(fold(), narrow[0], dtype, case.name)
    fold_wide = functools.partial(fold_whole, wide[0], "float32", wide[1], "float32", True)
    return alternate(case, size.rounds, count / 1e9, lambda: timed(fold), lambda: timed(fold_wide))


def pair_of(count: int, golden_dtype: str, target_dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The same block again and again: what is in it does not matter to the speed, and making numbers takes time."""
    block = min(count, BLOCK_ELEMENTS)
    golden, target = base_values(block, golden_dtype)[0], base_values(block, target_dtype)[1]
    return np.tile(golden, count // block), np.tile(target, count // block)


def fold_whole(golden: np.ndarray, golden_dtype: str, target: np.ndarray, target_dtype: str, kl: bool) -> np.ndarray:
    """Sums of a whole pair, piece by piece as a worker does it."""
    step = PIECE_BYTES // max(golden.itemsize, target.itemsize)
    sums: np.ndarray | None = None
    for start in range(0, golden.size, step):
        part = fold_piece(
            storage(golden[start : start + step]),
            golden_dtype,
            storage(target[start : start + step]),
            target_dtype,
            start=start,
            element_count=golden.size,
            row_length=ROW_LENGTH,
            options=FoldOptions(kl=kl),
            rounding_dtype=rounding_dtype(golden_dtype, target_dtype),
        )
        sums = part if sums is None else merge(sums, part)
    assert sums is not None
    return sums.reshape(1)[0]


def storage(values: np.ndarray) -> np.ndarray:
    """The view that a payload would have: 16-bit floats as their bits."""
    return values.view(np.uint16) if values.itemsize == 2 else values


def check_sums(sums: np.ndarray, golden: np.ndarray, dtype: str, name: str) -> None:
    """The sum of squares beside numpy's, in float64."""
    widened = (golden.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else golden
    expected = float(np.square(widened, dtype=np.float64).sum())
    found = float(sums["sum_golden_squared"])
    if not abs(found - expected) <= 1e-9 * expected:
        raise WrongAnswer(f"{name}: sum of golden squares {found!r}, numpy says {expected!r}")
