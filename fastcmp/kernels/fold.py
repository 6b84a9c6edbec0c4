"""Pieces of pairs into records of sums: which kernel runs over which arrays."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.kernels.making import become_maker, made
from fastcmp.kernels.pairs import IS_CAREFUL, MAY_BE_SAME, fold_many, fold_prepared
from fastcmp.kernels.prepare import SCRATCH_ROWS
from fastcmp.kernels.sums import BLOCK_ELEMENTS, SUMS_DTYPE, as_record, empty_words, merge, row_group, slot
from fastcmp.kernels.widen import float_table, integer_table, largest_finite, widen
from fastcmp.kernels.widen_block import BYTE, NATIVE, STORED_AS
from fastcmp.options import FoldOptions

# Elements that `widen` takes at a time: both buffers stay in L3, and the merge of two records (about 60 us) is spread thin.
WIDEN_ELEMENTS: Final = 32 * BLOCK_ELEMENTS
# Outside of these magnitudes squares, or squares of a last digit, would leave the range of float64.
_LARGEST_PLAIN: Final = 2.0**400
_SMALLEST_PLAIN: Final = 2.0**-400
_NO_ROUNDING: Final = (0.0, 0.0, 0.0)

_START, _STOP, _ELEMENT_COUNT, _ROW_LENGTH = slot("start"), slot("stop"), slot("element_count"), slot("row_length")
_HAS_KL, _HAS_ROUNDING = slot("has_kl"), slot("has_rounding")
_GOLDEN_EXPONENT, _TARGET_EXPONENT = slot("golden_exponent"), slot("target_exponent")

# The numba types of what a kernel sees.
_TAGS: Final[dict[str, Any]] = {
    "f4": np.float32(0),
    "f8": np.float64(0),
    "i8": np.int64(0),
    "u8": np.uint64(0),
    "c16": np.complex128(0),
}
# Storage dtypes whose every value is a float32.
_IN_FLOAT32: Final = frozenset(
    name for name, dtype in DTYPES.items() if dtype.kind != "complex" and dtype.significand_bits <= 24 and dtype.bits <= 32
)


class _Route(NamedTuple):
    """How a pair of storage dtypes is folded.

    Attributes
    ----------
    golden, target : str
        What elements become: "f4" or "f8", the same for both, block by block in `fold_many`; else numpy widens
        them a buffer at a time for `fold_prepared`.
    is_floats : bool
        `fold_many` takes it.
    takes_kl : bool
        There is a divergence of such dtypes.
    """

    golden: str
    target: str
    is_floats: bool
    takes_kl: bool


@functools.cache
def _route(golden: str, target: str, scaled: bool) -> _Route:
    kinds = (DTYPES[golden].kind, DTYPES[target].kind)
    takes_kl = kinds == ("float", "float")
    if "complex" in kinds:
        return _Route("c16", "c16", False, takes_kl=False)
    has_wide = any(name in ("int64", "uint64") for name in (golden, target))
    if has_wide and not (scaled and "float" in kinds):
        buffers = ["u8" if name == "uint64" else "f8" if DTYPES[name].kind == "float" else "i8" for name in (golden, target)]
        return _Route(buffers[0], buffers[1], False, takes_kl=False)
    wide = "f4" if not scaled and golden in _IN_FLOAT32 and target in _IN_FLOAT32 else "f8"
    return _Route(wide, wide, True, takes_kl)


def scale_of(golden: str, target: str, options: FoldOptions) -> float | None:
    """What integers are multiplied with. A bool is not a number of steps, and neither side may be scaled where both are integers."""
    kinds = {DTYPES[golden].kind, DTYPES[target].kind}
    return options.scale if "int" in kinds and not kinds <= {"int", "bool"} else None


class _Stored(NamedTuple):
    """How `widened` is to take a storage dtype."""

    stored: int
    nbytes: int
    table: int
    factor: float


@functools.cache
def _stored(dtype: str, wide: str, scale: float | None) -> _Stored:
    info = DTYPES[dtype]
    nbytes = np.dtype(info.view).itemsize
    factor = 1.0 if scale is None or info.kind != "int" else scale
    if nbytes == 1:
        return _Stored(BYTE, 1, _table_number(dtype, factor), 1.0)
    if np.dtype(info.view).kind == "f" and info.view == wide:
        return _Stored(NATIVE, nbytes, 0, 1.0)
    return _Stored(STORED_AS[dtype], nbytes, 0, factor)


_tables: Final[dict[tuple[str, float], int]] = {}
_table_rows: list[np.ndarray] = [np.zeros(256)]
_table_array: np.ndarray = np.zeros((1, 256))


def _table_number(dtype: str, factor: float) -> int:
    """The row of the tables with the value of each byte, times the factor."""
    global _table_array
    with _making:
        number = _tables.get((dtype, factor))
        if number is None:
            number = len(_table_rows)
            values = float_table(dtype) if DTYPES[dtype].kind == "float" else integer_table(dtype).astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                _table_rows.append(values * factor)
            _table_array = np.stack(_table_rows)
            _tables[dtype, factor] = number
    return number


_making: Final = threading.Lock()


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


class _Room(NamedTuple):
    """Room for one block: one prepared, and both sides widened."""

    scratch: np.ndarray
    positions: np.ndarray
    rooms: np.ndarray


def _room() -> _Room:
    """One per thread."""
    try:
        return _local.room
    except AttributeError:
        _local.room = _Room(
            np.empty((SCRATCH_ROWS, BLOCK_ELEMENTS)), np.empty(BLOCK_ELEMENTS, np.int64), np.empty((2, BLOCK_ELEMENTS), np.float64)
        )
        return _local.room


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
    scale = scale_of(golden_dtype, target_dtype, options)
    route = _route(golden_dtype, target_dtype, scale is not None)
    job = Job(0, golden_dtype, 0, target_dtype, start, golden.size, element_count, row_length, options, rounding_dtype)
    if not route.is_floats:
        return _fold_widened(route, golden, target, job)
    return _fold_floats(_as_bytes(golden), _as_bytes(target), [job])


class Job(NamedTuple):
    """One piece of a pair for `fold_arena`.

    Attributes
    ----------
    golden_at, target_at : int
        The bytes of the arena at which its sides begin.
    golden_dtype, target_dtype : str
        As what they are stored.
    start, length : int
        Its first element, and how many.
    element_count, row_length : int
        Of the whole tensor.
    options : FoldOptions
    rounding_dtype : str
        See `fold_piece`.
    """

    golden_at: int
    golden_dtype: str
    target_at: int
    target_dtype: str
    start: int
    length: int
    element_count: int
    row_length: int
    options: FoldOptions
    rounding_dtype: str = ""


def fold_arena(arena: np.ndarray, jobs: Sequence[Job]) -> np.ndarray:
    """Sums of many pieces whose payloads lie in one array, in one call where the dtypes allow it.

    Parameters
    ----------
    arena : ndarray of uint8, one-dimensional
    jobs : sequence of Job

    Returns
    -------
    ndarray of SUMS_DTYPE, shape (len(jobs),)
        What `fold_piece` gives for each of them, bit for bit.

    Raises
    ------
    ValueError
        If a piece does not lie in the arena.
    """
    arena = _as_bytes(arena)
    by_width: dict[str, list[int]] = {}
    sums = np.empty(len(jobs), SUMS_DTYPE)
    for number, job in enumerate(jobs):
        scale = scale_of(job.golden_dtype, job.target_dtype, job.options)
        route = _route(job.golden_dtype, job.target_dtype, scale is not None)
        golden, target = sides_of(arena, job)
        if route.is_floats:
            by_width.setdefault(route.golden, []).append(number)
        else:
            sums[number] = _fold_widened(route, golden, target, job)[0]
    for numbers in by_width.values():
        sums[numbers] = _fold_floats(arena, arena, [jobs[number] for number in numbers])
    return sums


def sides_of(arena: np.ndarray, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of a piece in an arena, as `fold_piece` takes them."""
    golden = _elements_of(arena, job.golden_at, job.length, job.golden_dtype)
    return golden, _elements_of(arena, job.target_at, job.length, job.target_dtype)


def _elements_of(arena: np.ndarray, at: int, count: int, dtype: str) -> np.ndarray:
    view = np.dtype(DTYPES[dtype].view)
    stop = at + count * view.itemsize
    if not 0 <= at <= stop <= arena.size:
        raise ValueError(f"bytes [{at}, {stop}) do not lie in an arena of {arena.size}")
    return arena[at:stop].view(view)


def _fold_floats(golden: np.ndarray, target: np.ndarray, jobs: Sequence[Job], *, is_careful: bool = False) -> np.ndarray:
    """Records of pieces of one width ("f4" or "f8"), all in one call; careful means element by element."""
    words, wide = empty_words(len(jobs)), ""
    places, job_words, job_numbers = [], [], []
    for job in jobs:
        fixed = _fixed_part(job.golden_dtype, job.target_dtype, job.row_length, job.options, job.rounding_dtype)
        wide = fixed.wide
        places.append((job.start, job.start + job.length, job.element_count, *fixed.place))
        job_words.append((job.golden_at, job.target_at, job.length, *fixed.words, is_careful))
        job_numbers.append(fixed.numbers)
    _place(words, places)
    call = _Call(golden, target, wide, np.array(job_words, np.int64), np.array(job_numbers, np.float64))
    if is_careful:
        call.job_words[:, MAY_BE_SAME] = 0
    call.run(words)
    if wide == "f8":
        for number, record in enumerate(as_record(words)):
            exponents = _exponents(record)
            if exponents != (0, 0):
                again = slice(number, number + 1)
                words[again] = empty_words(1)
                _place(words[again], places[again])
                words[number, [_GOLDEN_EXPONENT, _TARGET_EXPONENT]] = exponents
                call.job_words[number, [IS_CAREFUL, MAY_BE_SAME]] = 1, 0
                call.run(words, again)
    return as_record(words)


class _FixedPart(NamedTuple):
    """What thousands of small pairs have in common."""

    wide: str
    place: tuple[int, ...]
    words: tuple[int, ...]
    numbers: tuple[float, ...]


@functools.lru_cache(maxsize=1024)
def _fixed_part(golden: str, target: str, row_length: int, options: FoldOptions, rounding_dtype: str) -> _FixedPart:
    scale = scale_of(golden, target, options)
    route = _route(golden, target, scale is not None)
    g, t = _stored(golden, route.golden, scale), _stored(target, route.golden, scale)
    length = max(row_length, 1)
    place = (length, int(options.kl and route.takes_kl), int(rounding_dtype != ""))
    words = (row_group(length), g.stored, t.stored, g.nbytes, t.nbytes, g.table, t.table, int(golden == target))
    return _FixedPart(route.golden, place, words, (options.relative_floor, *_rounding_parameters(rounding_dtype), g.factor, t.factor))


def _place(words: np.ndarray, places: Sequence[tuple[int, ...]]) -> None:
    """Write into empty records where their pieces stand, and what is wanted of them."""
    words[:, [_START, _STOP, _ELEMENT_COUNT, _ROW_LENGTH, _HAS_KL, _HAS_ROUNDING]] = places


class _Call(NamedTuple):
    """The arguments of `fold_many` that are made once for a list of jobs."""

    golden: np.ndarray
    target: np.ndarray
    wide: str
    job_words: np.ndarray
    job_numbers: np.ndarray

    def run(self, words: np.ndarray, rows: slice = slice(None)) -> None:
        """Add the pieces of some rows to their records."""
        counts, tag, tables = words[rows], _TAGS[self.wide], _table_array
        with made(("fold_many", self.wide, self.wide)):
            fold_many(
                counts.view(np.float64),
                counts,
                self.golden,
                self.target,
                tag,
                self.job_words[rows],
                self.job_numbers[rows],
                tables,
                *_room(),
            )


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


def _fold_widened(route: _Route, golden: np.ndarray, target: np.ndarray, job: Job) -> np.ndarray:
    """64-bit integers and complex numbers: widened by numpy, a bounded buffer at a time."""
    sums: np.ndarray | None = None
    scale = scale_of(job.golden_dtype, job.target_dtype, job.options)
    length = min(golden.size, WIDEN_ELEMENTS)
    golden_buffer, target_buffer = np.empty(length, route.golden), np.empty(length, route.target)
    for first in range(0, max(golden.size, 1), WIDEN_ELEMENTS):
        stop = min(golden.size, first + WIDEN_ELEMENTS)
        g, t = golden_buffer[: stop - first], target_buffer[: stop - first]
        widen(golden[first:stop], job.golden_dtype, g)
        widen(target[first:stop], job.target_dtype, t)
        if scale is not None:  # an integer beside a complex number
            integer_side = g if DTYPES[job.golden_dtype].kind == "int" else t
            with np.errstate(over="ignore", invalid="ignore"):
                integer_side *= scale
        folded = _fold_prepared(route, g, t, job._replace(start=job.start + first, length=stop - first))
        sums = folded if sums is None else merge(sums, folded)
    assert sums is not None
    return sums


def _fold_prepared(route: _Route, golden: np.ndarray, target: np.ndarray, job: Job) -> np.ndarray:
    sums = _run_prepared(route, golden, target, job, (0, 0))
    if route.golden == "c16" and golden.size:
        exponents = _exponents(sums[0])
        if exponents != (0, 0):
            sums = _run_prepared(route, golden, target, job, exponents)
    return sums


def _run_prepared(route: _Route, golden: np.ndarray, target: np.ndarray, job: Job, exponents: tuple[int, int]) -> np.ndarray:
    words, length = empty_words(1), max(job.row_length, 1)
    _place(words, [(job.start, job.start + job.length, job.element_count, length, 0, int(job.rounding_dtype != ""))])
    counts = words[0]
    counts[[_GOLDEN_EXPONENT, _TARGET_EXPONENT]] = exponents
    room = _room()
    with made(("fold_prepared", route.golden, route.target)):
        fold_prepared(
            counts.view(np.float64),
            counts,
            _as_bytes(golden),
            _as_bytes(target),
            _TAGS[route.golden],
            _TAGS[route.target],
            job.length,
            row_group(length),
            float(job.options.relative_floor),
            _rounding_parameters(job.rounding_dtype),
            room.scratch,
            room.positions,
        )
    return as_record(words)


def warm(dtype_pairs: Iterable[tuple[str, str]], kl: bool = False) -> None:
    """Compile, or load from the cache, what folding these pairs of storage dtypes will need.

    To be called once before worker processes exist: several that fill one cache at a time may crash.
    KL is part of every kernel, so ``kl`` costs nothing more; it is here so that callers need not know.
    """
    options = FoldOptions(kl=kl)
    for golden, target in set(dtype_pairs):
        g, t = np.zeros(1, DTYPES[golden].view), np.zeros(1, DTYPES[target].view)
        fold_piece(g, golden, t, target, start=0, element_count=1, row_length=1, options=options)


# A storage dtype that is widened to each.
_WIDE_DTYPES: Final = {"f4": "float32", "f8": "float64", "i8": "int64", "u8": "uint64", "c16": "complex128"}


def make_here(kernel: str, golden: str, target: str) -> None:
    """Compile one kernel into the cache; for a process that does nothing else."""
    become_maker()
    warm([(_WIDE_DTYPES[golden], _WIDE_DTYPES[target])])
    made_here = fold_many if kernel == "fold_many" else fold_prepared
    if not made_here.signatures:
        raise ValueError(f"{kernel} is not the kernel of {golden} and {target}")


__all__ = ["SUMS_DTYPE", "Job", "fold_arena", "fold_piece", "make_here", "rounding_dtype", "scale_of", "sides_of", "warm"]
