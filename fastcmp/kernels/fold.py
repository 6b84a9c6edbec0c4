"""A piece of a pair into one record of sums: which kernel runs over which arrays."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.kernels.cache_dir import cache_lock
from fastcmp.kernels.pairs import fold_finite, fold_prepared
from fastcmp.kernels.prepare import SCRATCH_ROWS
from fastcmp.kernels.sums import BLOCK_ELEMENTS, SUMS_DTYPE, as_record, empty_words, merge, row_group, slot
from fastcmp.kernels.widen import largest_finite, widen
from fastcmp.options import FoldOptions

# The numba type that stands for a storage dtype in the fused kernels.
_CARRIERS: Final[dict[str, Any]] = {
    "float32": np.float32(0),
    "float16": np.uint16(0),
    "bfloat16": np.int16(0),
}
# Elements that are widened at a time: both buffers stay in L3, and the merge of two records (about 60 us) is spread thin.
WIDEN_ELEMENTS: Final = 32 * BLOCK_ELEMENTS
# Outside of these magnitudes squares, or squares of a last digit, would leave the range of float64.
_LARGEST_PLAIN: Final = 2.0**400
_SMALLEST_PLAIN: Final = 2.0**-400
_NO_ROUNDING: Final = (0.0, 0.0, 0.0)

_START, _STOP, _ELEMENT_COUNT, _ROW_LENGTH = slot("start"), slot("stop"), slot("element_count"), slot("row_length")
_HAS_KL, _HAS_ROUNDING = slot("has_kl"), slot("has_rounding")
_GOLDEN_EXPONENT, _TARGET_EXPONENT = slot("golden_exponent"), slot("target_exponent")


@dataclass(frozen=True, slots=True)
class _Route:
    """How one pair of storage dtypes is folded: the kernel, the carrier tags, and what each side is widened to (or not)."""

    kernel: Callable[..., None]
    golden_tag: Any
    target_tag: Any
    golden_buffer: str | None = None
    target_buffer: str | None = None
    may_scale: bool = False
    takes_kl: bool = True


_WIDE_TAGS: Final[dict[str, Any]] = {"f8": np.float64(0), "i8": np.int64(0), "u8": np.uint64(0), "c16": np.complex128(0)}


@functools.cache
def _route(golden: str, target: str, scaled: bool) -> _Route:
    kinds = (DTYPES[golden].kind, DTYPES[target].kind)
    takes_kl = kinds == ("float", "float")
    if golden in _CARRIERS and target in _CARRIERS:
        return _Route(fold_finite, _CARRIERS[golden], _CARRIERS[target])
    if golden == target == "float64":
        return _Route(fold_finite, np.float64(0), np.float64(0), may_scale=True)
    if "complex" in kinds:
        return _Route(fold_prepared, _WIDE_TAGS["c16"], _WIDE_TAGS["c16"], "c16", "c16", may_scale=True, takes_kl=False)
    has_wide = any(name in ("int64", "uint64") for name in (golden, target))
    if has_wide and not (scaled and "float" in kinds):
        buffers = ["u8" if name == "uint64" else "f8" if DTYPES[name].kind == "float" else "i8" for name in (golden, target)]
        tags = [_WIDE_TAGS[buffer] for buffer in buffers]
        return _Route(fold_prepared, tags[0], tags[1], buffers[0], buffers[1], takes_kl=False)
    return _Route(fold_finite, np.float64(0), np.float64(0), "f8", "f8", may_scale=True, takes_kl=takes_kl)


def rounding_dtype(golden: str, target: str) -> str:
    """The dtype whose rounding the rounding floor describes: the target's where it is a narrower float, else ""."""
    g, t = DTYPES[golden], DTYPES[target]
    if g.kind == t.kind == "float" and t.significand_bits < g.significand_bits and target != "float8_e8m0fnu":
        return target
    return ""


@functools.cache
def _rounding_parameters(dtype: str) -> tuple[float, float, float]:
    if not dtype:
        return _NO_ROUNDING
    info = DTYPES[dtype]
    return 1.5 * 2.0 ** (53 - info.significand_bits), 2.0**info.min_exponent, largest_finite(dtype)


_local = threading.local()


def _scratch() -> tuple[np.ndarray, np.ndarray]:
    """Room for one prepared block, one per thread."""
    try:
        return _local.scratch
    except AttributeError:
        _local.scratch = np.empty((SCRATCH_ROWS, BLOCK_ELEMENTS)), np.empty(BLOCK_ELEMENTS, np.int64)
        return _local.scratch


def _as_bytes(piece: np.ndarray) -> np.ndarray:
    """The same memory as read-only bytes: one numba type for any storage dtype, alignment and writability."""
    raw = piece.view(np.uint8)
    if raw.flags.writeable:
        raw = raw.view()
        raw.flags.writeable = False
    return raw


def fold_piece(
    golden: np.ndarray,
    golden_dtype: str,
    target: np.ndarray,
    target_dtype: str,
    *,
    start: int,
    element_count: int,
    row_length: int,
    options: FoldOptions,
    rounding_dtype: str = "",
) -> np.ndarray:
    """Sums of elements ``start`` to ``start + golden.size`` of a pair.

    Parameters
    ----------
    golden, target : ndarray
        Storage views of `fastcmp.dtypes.DTYPES`, one-dimensional, contiguous, equal in length; any alignment, never copied.
    golden_dtype, target_dtype : str
        Names of their storage dtypes.
    start : int
        Where in the tensor, in logical order, the piece begins.
    element_count, row_length : int
        Of the whole tensor; a row is its last logical axis. 1 for a 0-d tensor.
    options : FoldOptions
    rounding_dtype : str
        What `rounding_dtype` said about the true storage dtypes of the pair; "" computes no rounding floor.

    Returns
    -------
    ndarray of SUMS_DTYPE, shape (1,)
        For `fastcmp.kernels.sums.merge` and `fastcmp.metrics.finish`.

    Raises
    ------
    ValueError
        If the sides differ in length.
    """
    if golden.size != target.size:
        raise ValueError(f"golden has {golden.size} elements but target has {target.size}")
    # A bool is not a number of steps, and neither side may be scaled where both are integers.
    kinds = {DTYPES[golden_dtype].kind, DTYPES[target_dtype].kind}
    scale = options.scale if "int" in kinds and not kinds <= {"int", "bool"} else None
    route = _route(golden_dtype, target_dtype, scale is not None)
    piece = _Piece(start, element_count, max(row_length, 1), options, rounding_dtype)
    if route.golden_buffer is None:
        return _fold_arrays(route, _as_bytes(golden), _as_bytes(target), golden.size, piece)
    return _fold_widened(route, golden, golden_dtype, target, target_dtype, scale, piece)


@dataclass(slots=True)
class _Piece:
    """Where a run of elements stands in its tensor, and what is wanted of it."""

    start: int
    element_count: int
    row_length: int
    options: FoldOptions
    rounding_dtype: str


def _fold_arrays(route: _Route, golden: np.ndarray, target: np.ndarray, count: int, piece: _Piece) -> np.ndarray:
    sums = _run(route, route.kernel, golden, target, count, piece, (0, 0))
    if route.may_scale and count:
        exponents = _exponents(sums[0])
        if exponents != (0, 0):
            sums = _run(route, fold_prepared, golden, target, count, piece, exponents)
    return sums


_made: set[tuple[object, type, type]] = set()
_NOTHING: Final = contextlib.nullcontext()


def _made_once(kernel: Callable[..., None], route: _Route) -> contextlib.AbstractContextManager[None]:
    """Around a call that may compile: the first of each specialisation holds the lock of the kernel cache."""
    specialisation = (kernel, type(route.golden_tag), type(route.target_tag))
    if specialisation in _made:
        return _NOTHING
    _made.add(specialisation)
    return cache_lock()


def _run(
    route: _Route,
    kernel: Callable[..., None],
    golden: np.ndarray,
    target: np.ndarray,
    count: int,
    piece: _Piece,
    exponents: tuple[int, int],
) -> np.ndarray:
    counts = empty_words()
    counts[_START] = piece.start
    counts[_STOP] = piece.start + count
    counts[_ELEMENT_COUNT] = piece.element_count
    counts[_ROW_LENGTH] = piece.row_length
    counts[_HAS_KL] = piece.options.kl and route.takes_kl
    counts[_HAS_ROUNDING] = piece.rounding_dtype != ""
    counts[_GOLDEN_EXPONENT], counts[_TARGET_EXPONENT] = exponents
    scratch, index = _scratch()
    with _made_once(kernel, route):
        kernel(
            counts.view(np.float64),
            counts,
            golden,
            target,
            route.golden_tag,
            route.target_tag,
            count,
            row_group(piece.row_length),
            float(piece.options.relative_floor),
            _rounding_parameters(piece.rounding_dtype),
            scratch,
            index,
        )
    return as_record(counts)


def _exponents(sums: np.void) -> tuple[int, int]:
    """Powers of two to divide the sides by so that their squares stay in range; (0, 0) nearly always."""
    golden, target = _side_exponent(sums, "golden"), _side_exponent(sums, "target")
    # A side that is all zero follows the other, and so does not spoil the differences' exponent.
    if golden is None:
        golden = target or 0
    return golden, golden if target is None else target


def _side_exponent(sums: np.void, side: str) -> int | None:
    """0 for ordinary magnitudes; None for a side without a value other than zero."""
    largest = max(abs(sums[f"{side}_max"]), abs(sums[f"{side}_min"])) if sums[f"{side}_finite_count"] else 0.0
    if largest == 0.0:
        return None
    if _SMALLEST_PLAIN <= largest <= _LARGEST_PLAIN:
        return 0
    return 1000 if math.isinf(largest) else max(-1000, min(1000, math.frexp(largest)[1]))


def _fold_widened(
    route: _Route, golden: np.ndarray, golden_dtype: str, target: np.ndarray, target_dtype: str, scale: float | None, piece: _Piece
) -> np.ndarray:
    sums: np.ndarray | None = None
    length = min(golden.size, WIDEN_ELEMENTS)
    golden_buffer, target_buffer = np.empty(length, route.golden_buffer), np.empty(length, route.target_buffer)
    for first in range(0, max(golden.size, 1), WIDEN_ELEMENTS):
        stop = min(golden.size, first + WIDEN_ELEMENTS)
        g, t = golden_buffer[: stop - first], target_buffer[: stop - first]
        widen(golden[first:stop], golden_dtype, g)
        widen(target[first:stop], target_dtype, t)
        if scale is not None:
            integer_side = g if DTYPES[golden_dtype].kind == "int" else t
            with np.errstate(over="ignore", invalid="ignore"):
                integer_side *= scale
        part = _Piece(piece.start + first, piece.element_count, piece.row_length, piece.options, piece.rounding_dtype)
        folded = _fold_arrays(route, _as_bytes(g), _as_bytes(t), stop - first, part)
        sums = folded if sums is None else merge(sums, folded)
    assert sums is not None
    return sums


def warm(dtype_pairs: Iterable[tuple[str, str]], kl: bool = False) -> None:
    """Compile, or load from the cache, what folding these pairs of storage dtypes will need.

    To be called once before worker processes exist: several that fill one cache at a time may crash.
    KL is part of every kernel, so ``kl`` costs nothing more; it is here so that callers need not know.
    """
    options = FoldOptions(kl=kl)
    for golden, target in set(dtype_pairs):
        g, t = np.zeros(1, DTYPES[golden].view), np.zeros(1, DTYPES[target].view)
        fold_piece(g, golden, t, target, start=0, element_count=1, row_length=1, options=options)
        if golden == target == "float64":
            _run(_route(golden, target, False), fold_prepared, _as_bytes(g), _as_bytes(t), 1, _Piece(0, 1, 1, options, ""), (0, 0))


__all__ = ["SUMS_DTYPE", "fold_piece", "rounding_dtype", "warm"]
