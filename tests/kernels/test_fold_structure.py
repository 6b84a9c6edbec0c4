from __future__ import annotations

import math
import re
from functools import reduce
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import kernel_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.dtypes import DTYPES
from fastcmp.kernels import cache_dir, prepare
from fastcmp.kernels.fold import Job, _fold_floats, fold_arena, fold_piece, rounding_dtype, warm
from fastcmp.kernels.pairs import fold_many, fold_prepared
from fastcmp.kernels.sums import BLOCK_ELEMENTS, SUMS_DTYPE, empty, merge
from fastcmp.metrics import finish
from fastcmp.options import CompareOptions, FoldOptions

FUSED = ("float32", "float16", "bfloat16", "float64")
OPTIONS = FoldOptions(kl=True)


def noisy(count: int, dtype: str, seed: int = 0, noise: float = 1e-2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    golden = rng.standard_normal(count)
    return oracle.storage(golden, dtype), oracle.storage(golden + rng.standard_normal(count) * noise, dtype)


def fold(
    golden: np.ndarray, target: np.ndarray, dtype: str, start: int, stop: int, row_length: int, options: FoldOptions = OPTIONS
) -> np.ndarray:
    return fold_piece(
        golden[start:stop], dtype, target[start:stop], dtype, start=start, element_count=golden.size, row_length=row_length,
        options=options, rounding_dtype="bfloat16" if dtype == "float32" else "",
    )  # fmt: skip


def assert_same(found: np.ndarray, expected: np.ndarray, dtype: str, shape: tuple[int, ...]) -> None:
    have, want = (oracle.plain(sums, dtype, dtype, shape) for sums in (found, expected))
    for name, value in want.items():
        if name.startswith("kl_") and value is not None:
            assert math.isclose(have[name], value, rel_tol=1e-7, abs_tol=1e-12), (name, have[name], value)
        elif isinstance(value, float) and math.isfinite(value):
            assert math.isclose(have[name], value, rel_tol=1e-11, abs_tol=1e-13), (name, have[name], value)
        else:
            assert have[name] == value or (value != value and have[name] != have[name]), (name, have[name], value)


@given(
    st.sampled_from(FUSED), st.integers(1, 60), st.integers(1, 700), st.lists(st.floats(0, 1), max_size=6), st.booleans(), st.integers(0, 9)
)
@settings(max_examples=examples(80), deadline=None)
def test_pieces_make_the_whole(dtype: str, rows: int, length: int, cuts: list[float], spoiled: bool, seed: int) -> None:
    golden, target = noisy(rows * length, dtype, seed)
    if spoiled:
        bad = np.random.default_rng(seed).integers(0, golden.size, 3)
        target[bad] = oracle.storage([math.nan, math.inf, 0.0], dtype)
        golden[bad[1:]] = oracle.storage([math.inf, 0.0], dtype)
        golden[: golden.size // 3] = 0
    edges = sorted({0, golden.size, *(int(cut * golden.size) for cut in cuts)})
    pieces = [fold(golden, target, dtype, a, b, length) for a, b in pairwise(edges)]
    assert_same(reduce(merge, pieces), fold(golden, target, dtype, 0, golden.size, length), dtype, (rows, length))


@given(st.lists(st.integers(1, 900), min_size=3, max_size=5), st.integers(1, 300), st.integers(1, 3))
@settings(max_examples=examples(60), deadline=None)
def test_merging_is_associative(sizes: list[int], length: int, split: int) -> None:
    count = -(-sum(sizes) // length) * length
    golden, target = noisy(count, "float32", len(sizes))
    edges = [0, *np.cumsum(sizes).tolist(), count]
    pieces = [fold(golden, target, "float32", a, b, length) for a, b in pairwise(edges) if a < b]
    split = min(split, len(pieces) - 1)
    left = reduce(merge, pieces)
    right = merge(reduce(merge, pieces[:split]), reduce(merge, pieces[split:]))
    assert_same(right, left, "float32", (count // length, length))


def test_empty_is_the_neutral_element() -> None:
    golden, target = noisy(100, "float32")
    sums = fold(golden, target, "float32", 0, 100, 10)
    assert merge(empty(), sums).tobytes() == sums.tobytes()


def test_pieces_that_are_not_neighbours_are_refused() -> None:
    golden, target = noisy(100, "float32")
    parts = fold(golden, target, "float32", 0, 40, 10), fold(golden, target, "float32", 50, 100, 10)
    with pytest.raises(ValueError, match="one stops at element 40, the next begins at 50"):
        merge(*parts)


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="golden has 3 elements but target has 4"):
        fold_piece(np.zeros(3, "f4"), "float32", np.zeros(4, "f4"), "float32", start=0, element_count=3, row_length=3, options=OPTIONS)


@pytest.mark.parametrize(("left", "right"), [(1.0, 1e200), (1e-200, 1.0), (1e-200, 1e-190), (0.0, 1e-200), (1e-200, 0.0), (1e250, 1e200)])
def test_pieces_of_very_different_magnitude_merge(left: float, right: float) -> None:
    golden = np.repeat([left, right], 100)
    target = golden * 1.25
    pieces = fold(golden, target, "float64", 0, 100, 200), fold(golden, target, "float64", 100, 200, 200)
    found = oracle.plain(merge(*pieces), "float64", "float64", (200,))
    oracle.assert_close_metrics(found, oracle.reference(golden.tolist(), target.tolist(), (200,)), max(left, right))


@pytest.mark.parametrize("dtype", FUSED)
@pytest.mark.parametrize("length", [10, 100, 1000, 5000])
@pytest.mark.parametrize("is_same", [False, True])
def test_the_fast_paths_equal_the_careful_path(dtype: str, length: int, is_same: bool) -> None:
    golden, target = (array.view(np.uint8) for array in noisy(20000, dtype, 5))
    target = golden.copy() if is_same else target
    rounding = "bfloat16" if dtype in ("float32", "float64") else ""
    jobs = [Job(0, dtype, 0, dtype, 0, 20000, 20000, length, OPTIONS, rounding)]
    fast, careful = (_fold_floats(golden, target, jobs, is_careful=is_careful) for is_careful in (False, True))
    assert_same(fast, careful, dtype, (20000 // length, length))


@pytest.mark.parametrize("dtype", FUSED)
@pytest.mark.parametrize("count", [1, 7, 4096])
def test_the_sums_of_a_tensor_beside_itself_are_those_of_any_pair(dtype: str, count: int) -> None:
    """To the last bit but for the order of additions, so that no report shows which path a block took."""
    golden, _ = noisy(count, dtype, 3)
    same = fold(golden, golden.copy(), dtype, 0, count, count)
    nearly = golden.copy()
    nearly[-1] = 0
    pair = fold(golden, nearly, dtype, 0, count, count)
    for name in ("sum_golden", "sum_golden_squared", "golden_max", "golden_min", "near_zero_golden_count"):
        assert same[name][0] == pytest.approx(pair[name][0], rel=1e-14, abs=1e-12)
    assert same["sum_target"] == same["sum_golden"] and same["sum_product"] == same["sum_golden_squared"] == same["sum_target_squared"]
    assert same["max_absolute"] == same["max_relative"] == same["sum_difference_squared"] == same["mismatch_count"] == 0
    assert same["within_one_thousandth_count"] == same["within_five_thousandths_count"] == count
    assert same["max_absolute_index"] == 0 and same["max_absolute_golden"] == same["max_absolute_target"]
    assert same["kl_total_divergence"] == 0 and same["kl_total_lse"] == pytest.approx(pair["kl_total_lse"][0], abs=1)


def test_many_pairs_in_one_array_have_the_sums_of_each_alone() -> None:
    """Bit for bit, whatever they are stored as; also with a scale, and where squares leave the range."""
    rng = np.random.default_rng(11)
    arena = rng.integers(0, 256, 1 << 16).astype(np.uint8)
    arena[-16:] = np.array([1e300, 3.0]).view(np.uint8)
    options = FoldOptions(kl=True), FoldOptions(scale=0.25)
    jobs, expected = [], []
    for number, (golden, target) in enumerate(product(DTYPES, DTYPES)):
        count, at, other = 1 + number % 50, int(rng.integers(0, 5000)), int(rng.integers(0, 5000))
        jobs.append(Job(at, golden, other, target, 0, count, count, 7, options[number % 2], rounding_dtype(golden, target)))
    jobs.append(Job(arena.size - 16, "float64", arena.size - 16, "float64", 0, 2, 2, 2, options[0]))
    for job in jobs:
        sides = [
            arena[at : at + job.length * np.dtype(DTYPES[dtype].view).itemsize].view(DTYPES[dtype].view)
            for at, dtype in ((job.golden_at, job.golden_dtype), (job.target_at, job.target_dtype))
        ]
        expected.append(
            fold_piece(
                sides[0], job.golden_dtype, sides[1], job.target_dtype, start=0, element_count=job.length, row_length=job.row_length,
                options=job.options, rounding_dtype=job.rounding_dtype,
            )
        )  # fmt: skip
    found = fold_arena(arena, jobs)
    different = [job[1:4:2] for job, one, other in zip(jobs, found, expected, strict=True) if one.tobytes() != other.tobytes()]
    assert not different and len(jobs) == len(DTYPES) ** 2 + 1


def test_a_piece_outside_of_its_array_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("bytes [8, 16) do not lie in an arena of 12")):
        fold_arena(np.zeros(12, np.uint8), [Job(8, "float32", 0, "float32", 0, 2, 2, 2, OPTIONS)])


@pytest.mark.parametrize("dtype", FUSED)
def test_unaligned_and_read_only_payloads_are_neither_copied_nor_compiled_again(dtype: str) -> None:
    golden, target = noisy(9000, dtype)
    expected = fold(golden, target, dtype, 0, 9000, 300)
    compiled = len(fold_many.signatures)
    for offset in (0, 1, 3):
        for writeable in (True, False):
            memory = np.zeros(golden.nbytes + 8, np.uint8)
            memory[offset : offset + golden.nbytes] = golden.view(np.uint8)
            moved = memory[offset : offset + golden.nbytes].view(golden.dtype)
            moved.flags.writeable = writeable
            assert np.shares_memory(memory, moved)
            assert fold(moved, target, dtype, 0, 9000, 300).tobytes() == expected.tobytes()
    assert len(fold_many.signatures) == compiled


@pytest.mark.parametrize("position", [0, 1, 4095, 4096, 8191, 9999])
@pytest.mark.parametrize("dtype", FUSED)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_nonfinite_value_is_lost(dtype: str, position: int, value: float) -> None:
    golden, target = noisy(10000, dtype)
    target[position] = oracle.storage([value], dtype)[0]
    found = oracle.plain(fold(golden, target, dtype, 0, 10000, 100), dtype, dtype, (100, 100))
    assert found["target_nan_count"] + found["target_inf_count"] == found["nonfinite_mismatch_count"] == 1
    assert math.isfinite(found["acl_max_value"]) and math.isfinite(found["relative_euclidean_distance"])


def test_every_nan_pattern_counts() -> None:
    """Quiet and signalling, both signs, smallest and largest payload."""
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000], dtype=np.uint32)
    found = oracle.measured(bits.view(np.float32), "float32", np.ones(6, np.float32), "float32", (6,))
    assert (found["golden_nan_count"], found["golden_inf_count"]) == (4, 2)


def test_sums_are_compensated_between_blocks() -> None:
    """A large first block, then many that a plain running sum would round away."""
    golden = np.full(2000 * BLOCK_ELEMENTS, 2.0**-30, dtype=np.float32)
    golden[0] = 2.0**30
    sums = fold_piece(
        golden, "float32", golden, "float32", start=0, element_count=golden.size, row_length=golden.size, options=FoldOptions()
    )
    total = sums["sum_golden_squared"][0] + sums["sum_golden_squared_lo"][0]
    assert total == 2.0**60 + 0.0 and sums["sum_golden_squared_lo"][0] == pytest.approx((golden.size - 1) * 2.0**-60, rel=1e-3)


def test_the_cache_falls_back_to_a_directory_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(cache_dir.tempfile, "gettempdir", lambda: str(tmp_path))
    chosen = Path(cache_dir.choose_cache_dir())
    assert chosen.is_dir() and chosen.parent.parent == tmp_path and chosen.parent.stat().st_mode & 0o077 == 0


def test_a_cache_directory_of_the_user_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere/else")
    assert cache_dir.use_cache_dir() == "/somewhere/else"


def test_warming_leaves_nothing_to_compile() -> None:
    warm([("float32", "bfloat16"), ("float64", "float64"), ("int8", "float32")], kl=True)
    compiled = len(fold_many.signatures), len(fold_prepared.signatures)
    golden, target = noisy(100, "float32")[0], noisy(100, "bfloat16")[1]
    fold_piece(golden, "float32", target, "bfloat16", start=0, element_count=100, row_length=10, options=FoldOptions())
    huge = np.full(10, 1e300)
    fold_piece(huge, "float64", huge, "float64", start=0, element_count=10, row_length=10, options=FoldOptions())
    assert (len(fold_many.signatures), len(fold_prepared.signatures)) == compiled


def test_scratch_rows_are_all_named() -> None:
    names = {"GOLDEN", "TARGET", "DIFFERENCE", "RATIO", "PRODUCT", "PLAIN_GOLDEN", "PLAIN_TARGET"}
    assert sorted(getattr(prepare, name) for name in names) == list(range(prepare.SCRATCH_ROWS))


def metrics_of(golden: np.ndarray, target: np.ndarray, shape: tuple[int, ...] | None = None, **options: Any) -> dict[str, Any]:
    return oracle.measured(golden, "float32", target, "float32", shape or (golden.size,), **options)


@given(st.integers(1, 3000), st.integers(0, 99), st.sampled_from([1e-8, 1e-3, 1.0]))
@settings(max_examples=examples(60), deadline=None)
def test_metrics_keep_their_symmetries(count: int, seed: int, noise: float) -> None:
    """Equal is exactly 1; swapping sides, scaling by two, and reordering move the cosine by rounding only."""
    golden, target = noisy(count, "float32", seed, noise)
    assert metrics_of(golden, golden)["cosine_similarity"] == 1.0
    assert metrics_of(golden, golden)["relative_euclidean_distance"] == 0.0
    found = metrics_of(golden, target)
    order = np.random.default_rng(seed).permutation(count)
    shuffled = metrics_of(golden[order], target[order])
    assert -1.0 <= found["cosine_similarity"] <= 1.0
    assert metrics_of(target, golden)["cosine_similarity"] == pytest.approx(found["cosine_similarity"], abs=1e-12)
    doubled = metrics_of(golden * 2, target * 2)
    for name in ("cosine_similarity", "relative_euclidean_distance", "signal_to_noise_db"):
        assert doubled[name] == found[name]
    for name, absolute, relative in (
        ("cosine_similarity", 1e-12, 0),
        ("relative_euclidean_distance", 0, 1e-12),
        ("signal_to_noise_db", 1e-12, 0),  # a logarithm: what is a factor there is a summand here
    ):
        assert shuffled[name] == pytest.approx(found[name], rel=relative, abs=absolute)
    for name in ("mismatch_count", "max_absolute_error", "max_relative_error", "near_zero_golden_count", "golden_max_value"):
        assert shuffled[name] == found[name]


def test_many_pairs_are_finished_at_once() -> None:
    records, singles = [], []
    for seed in range(5):
        golden, target = noisy(640, "float32", seed)
        records.append(fold(golden, target, "float32", 0, 640, 64))
        singles.append(oracle.plain(records[-1], "float32", "float32", (10, 64)))
    n = len(records)
    columns = finish(np.concatenate(records), ["float32"] * n, ["float32"] * n, [(10, 64)] * n, [(10, 64)] * n, CompareOptions())
    assert np.concatenate(records).dtype == SUMS_DTYPE
    for name, column in columns.items():
        values = column.tolist() if isinstance(column, np.ndarray) else column
        assert values == [single[name] for single in singles], name
