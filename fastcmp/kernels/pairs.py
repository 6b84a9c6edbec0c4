"""The fused kernel: one pass over both sides of a piece, every sum of the report.

A block of any storage dtype is first widened into float32 or float64. If its elements are all finite it goes through
`block_stats`, which may reorder additions and is vectorised; any other block is prepared element by element into a scratch
of finite positions, and folded from there. Compensation is between blocks, in functions without fast-math flags (with them
it would be optimised away: error 4e-16 becomes 2e-1).

Callers see to it that payloads are read-only one-dimensional uint8 arrays of enough bytes.

Only what is called from Python is cached: what a kernel calls would come out of the cache as machine code that cannot be
inlined, and its sums would end in other digits than those of a kernel that was made all at once.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from fastcmp.kernels import divergence
from fastcmp.kernels.blocks import block_stats, first_position, narrow_stats, rounding_squared, same_stats
from fastcmp.kernels.prepare import DIFFERENCE, GOLDEN, PLAIN_GOLDEN, PLAIN_TARGET, PRODUCT, RATIO, TARGET, prepare
from fastcmp.kernels.rows import add_row_part, add_runs, settle_open_row
from fastcmp.kernels.sums import BLOCK_ELEMENTS, slot
from fastcmp.kernels.vector import advance, load, pointer, reinterpret
from fastcmp.kernels.widen_block import BFLOAT16, FLOAT16, NATIVE, same_bytes, widened

from numba import njit  # isort: skip

# From this row length on a block never crosses a row, so its sums are the row's; shorter rows take a second pass
# over the block while it is in L1. A pass costs a quarter of the block, the end of a block about 150 elements.
ROW_BLOCKS = 512
# What `load_value` knows float16 and bfloat16 by.
HALF, BRAIN = np.uint16(0), np.int16(0)
# As many and of the same types as `block_stats` returns.
NO_STATS = (0.0,) * 14 + (0,) * 4 + (False,)

# What `fold_many` is told about a piece. Positions in the payloads are in bytes; a table is the number of a row of the tables.
GOLDEN_AT, TARGET_AT, COUNT, GROUP, GOLDEN_STORED, TARGET_STORED, GOLDEN_BYTES, TARGET_BYTES = range(8)
GOLDEN_TABLE, TARGET_TABLE, MAY_BE_SAME, IS_CAREFUL = range(8, 12)
FLOOR, GRID, SMALLEST, LARGEST, GOLDEN_FACTOR, TARGET_FACTOR = range(6)
SUM_GOLDEN, SUM_TARGET = slot("sum_golden"), slot("sum_target")
SUM_GOLDEN_SQUARED, SUM_TARGET_SQUARED = slot("sum_golden_squared"), slot("sum_target_squared")
SUM_PRODUCT, SUM_DIFFERENCE_SQUARED = slot("sum_product"), slot("sum_difference_squared")
SUM_ABSOLUTE, SUM_RELATIVE, SUM_ROUNDING_SQUARED = slot("sum_absolute"), slot("sum_relative"), slot("sum_rounding_squared")
GOLDEN_MAX, GOLDEN_MIN, TARGET_MAX, TARGET_MIN = slot("golden_max"), slot("golden_min"), slot("target_max"), slot("target_min")
MAX_ABSOLUTE, MAX_RELATIVE, MAX_ABSOLUTE_INDEX = slot("max_absolute"), slot("max_relative"), slot("max_absolute_index")
MAX_ABSOLUTE_GOLDEN, MAX_ABSOLUTE_TARGET = slot("max_absolute_golden"), slot("max_absolute_target")
START, STOP, ELEMENT_COUNT, ROW_LENGTH = slot("start"), slot("stop"), slot("element_count"), slot("row_length")
GOLDEN_EXPONENT, TARGET_EXPONENT = slot("golden_exponent"), slot("target_exponent")
FINITE_COUNT = slot("finite_count")
GOLDEN_FINITE_COUNT, TARGET_FINITE_COUNT = slot("golden_finite_count"), slot("target_finite_count")
MISMATCH_COUNT, NEAR_ZERO = slot("mismatch_count"), slot("near_zero_golden_count")
WITHIN_ONE, WITHIN_FIVE = slot("within_one_thousandth_count"), slot("within_five_thousandths_count")
HAS_KL, HAS_ROUNDING = slot("has_kl"), slot("has_rounding")


@njit(error_model="numpy", fastmath=False)
def add_compensated(f, place, value):
    """Add to a (hi, lo) pair without losing what the sum rounds away."""
    before = f[place]
    total = before + value
    f[place] = total
    if math.isfinite(total):
        rest = total - before
        f[place + 1] += (before - (total - rest)) + (value - rest)


@njit(error_model="numpy", fastmath=False)
def add_block(f, c, g, t, n, begin, stats):
    """Add what `block_stats` found about a block that is finite; ``begin`` is its first element in the tensor."""
    add_compensated(f, SUM_GOLDEN, stats[0])
    add_compensated(f, SUM_TARGET, stats[1])
    add_compensated(f, SUM_GOLDEN_SQUARED, stats[2])
    add_compensated(f, SUM_TARGET_SQUARED, stats[3])
    add_compensated(f, SUM_PRODUCT, stats[4])
    add_compensated(f, SUM_DIFFERENCE_SQUARED, stats[5])
    add_compensated(f, SUM_ABSOLUTE, stats[6])
    add_compensated(f, SUM_RELATIVE, stats[7])
    f[GOLDEN_MAX] = max(f[GOLDEN_MAX], stats[8])
    f[GOLDEN_MIN] = min(f[GOLDEN_MIN], stats[9])
    f[TARGET_MAX] = max(f[TARGET_MAX], stats[10])
    f[TARGET_MIN] = min(f[TARGET_MIN], stats[11])
    f[MAX_RELATIVE] = max(f[MAX_RELATIVE], stats[13])
    c[NEAR_ZERO] += stats[14]
    c[MISMATCH_COUNT] += stats[15]
    c[WITHIN_ONE] += stats[16]
    c[WITHIN_FIVE] += stats[17]
    c[FINITE_COUNT] += n
    c[GOLDEN_FINITE_COUNT] += n
    c[TARGET_FINITE_COUNT] += n
    if stats[12] > f[MAX_ABSOLUTE]:
        first = first_position(g, t, n, stats[12])
        f[MAX_ABSOLUTE] = stats[12]
        c[MAX_ABSOLUTE_INDEX] = begin + first
        f[MAX_ABSOLUTE_GOLDEN] = load(g, first)
        f[MAX_ABSOLUTE_TARGET] = load(t, first)


@njit(error_model="numpy", fastmath=False)
def add_prepared(f, c, scratch, index, m, begin):
    """Add the m finite positions that `prepare` put into the scratch; counts and each side's own values are in already."""
    if m == 0:
        return
    worst = 0
    golden_squared = target_squared = product = difference_squared = absolute = relative = 0.0
    lost = 0.0
    for i in range(m):
        golden_squared += scratch[GOLDEN, i] * scratch[GOLDEN, i]
        target_squared += scratch[TARGET, i] * scratch[TARGET, i]
        product += scratch[PRODUCT, i]
        difference_squared += scratch[DIFFERENCE, i] * scratch[DIFFERENCE, i]
        absolute += scratch[DIFFERENCE, i]
        relative += scratch[RATIO, i]
        if scratch[DIFFERENCE, i] > scratch[DIFFERENCE, worst]:
            worst = i
        lost = max(lost, scratch[RATIO, i])
    add_compensated(f, SUM_GOLDEN_SQUARED, golden_squared)
    add_compensated(f, SUM_TARGET_SQUARED, target_squared)
    add_compensated(f, SUM_PRODUCT, product)
    add_compensated(f, SUM_DIFFERENCE_SQUARED, difference_squared)
    add_compensated(f, SUM_ABSOLUTE, absolute)
    add_compensated(f, SUM_RELATIVE, relative)
    f[MAX_RELATIVE] = max(f[MAX_RELATIVE], lost)
    c[FINITE_COUNT] += m
    difference = math.ldexp(scratch[DIFFERENCE, worst], max(c[GOLDEN_EXPONENT], c[TARGET_EXPONENT]))
    if difference > f[MAX_ABSOLUTE]:
        f[MAX_ABSOLUTE] = difference
        c[MAX_ABSOLUTE_INDEX] = begin + index[worst]
        f[MAX_ABSOLUTE_GOLDEN] = scratch[PLAIN_GOLDEN, worst]
        f[MAX_ABSOLUTE_TARGET] = scratch[PLAIN_TARGET, worst]


@njit(error_model="numpy", fastmath=False)
def add_prepared_runs(f, c, scratch, index, m, begin, n, group, kl):
    """Rows, and KL runs, of a prepared block: positions that are not finite are missing from it."""
    first = 0
    at = 0
    while at < n:
        end = min(n, ((begin + at) // group + 1) * group - begin)
        difference_squared = golden_squared = 0.0
        stop = first
        while stop < m and index[stop] < end:
            difference_squared += scratch[DIFFERENCE, stop] * scratch[DIFFERENCE, stop]
            golden_squared += scratch[GOLDEN, stop] * scratch[GOLDEN, stop]
            stop += 1
        add_row_part(f, c, begin + end, group, difference_squared, golden_squared, (end - at) - (stop - first))
        first = stop
        at = end
    if not kl:
        return
    golden = pointer(scratch[PLAIN_GOLDEN].view(np.uint8), np.float64(0))
    target = pointer(scratch[PLAIN_TARGET].view(np.uint8), np.float64(0))
    first = 0
    at = 0
    while at < n:
        end = min(n, ((begin + at) // c[ROW_LENGTH] + 1) * c[ROW_LENGTH] - begin)
        stop = first
        while stop < m and index[stop] < end:
            stop += 1
        divergence.add_run(f, c, begin + end, divergence.run_state(advance(golden, first), advance(target, first), stop - first, np.inf))
        first = stop
        at = end


@njit(error_model="numpy", fastmath=False)
def add_kl_runs(f, c, g, t, n, begin, max_absolute):
    """Softmax sums of a finite block, row by row."""
    length = c[ROW_LENGTH]
    at = 0
    while at < n:
        end = min(n, ((begin + at) // length + 1) * length - begin)
        divergence.add_run(f, c, begin + end, divergence.run_state(advance(g, at), advance(t, at), end - at, max_absolute))
        at = end


@njit(error_model="numpy", fastmath=False)
def block_end(position, begin, n, group):
    """Where the block that starts at ``position`` of the piece ends; long rows end their block."""
    end = min(n, position + BLOCK_ELEMENTS)
    if group >= ROW_BLOCKS:
        end = min(end, position + group - begin % group)
    return end


@njit(error_model="numpy", fastmath=False)
def fold_finite_block(f, c, g, t, count, begin, group, rounding, stats):
    """Fold one block of which `block_stats` or `same_stats` found that it is finite."""
    add_block(f, c, g, t, count, begin, stats)
    if group >= ROW_BLOCKS:
        add_row_part(f, c, begin + count, group, stats[5], stats[2], 0)
        if c[HAS_KL]:
            state = divergence.state_below(g, t, count, stats[8], stats[10], stats[12])
            divergence.add_run(f, c, begin + count, state)
    else:
        add_runs(f, c, g, t, count, begin, group)
        if c[HAS_KL]:
            add_kl_runs(f, c, g, t, count, begin, stats[12])
    if c[HAS_ROUNDING]:
        add_compensated(f, SUM_ROUNDING_SQUARED, rounding_squared(g, count, rounding[0], rounding[1], rounding[2], 1.0))


@njit(error_model="numpy", fastmath=False)
def fold_prepared_block(f, c, g, t, count, begin, group, floor, rounding, scratch, index):
    """Fold one block element by element."""
    m = prepare(f, c, g, t, count, floor, scratch, index)
    add_prepared(f, c, scratch, index, m, begin)
    add_prepared_runs(f, c, scratch, index, m, begin, count, group, c[HAS_KL] != 0)
    if c[HAS_ROUNDING]:
        plain = pointer(scratch[PLAIN_GOLDEN].view(np.uint8), np.float64(0))
        factor = math.ldexp(1.0, -c[GOLDEN_EXPONENT])
        error = rounding_squared(plain, m, rounding[0], rounding[1], rounding[2], factor)
        add_compensated(f, SUM_ROUNDING_SQUARED, error)


@njit(error_model="numpy", fastmath=False)
def settle_open_rows(f, c, group):
    """At the end of a piece."""
    settle_open_row(f, c, group)
    if c[HAS_KL]:
        divergence.settle_open_row(f, c, c[STOP])


# What is known of a block after the first pass: nothing, its sums, or its sums while the rooms hold both sides.
UNKNOWN, KNOWN, KNOWN_AND_WIDENED = range(3)


@njit(error_model="numpy", fastmath=False)
def stats_where_they_lie(g, t, golden_stored, target_stored, golden_room, target_room, tag, n, floor, widens):
    """What is known now, and `block_stats`: of the commonest pairs of dtypes, which are read as they are stored.

    ``widens``: the rooms will be wanted.
    """
    if golden_stored == NATIVE and target_stored == NATIVE:
        return KNOWN, block_stats(reinterpret(g, tag), reinterpret(t, tag), n, floor)
    if golden_stored == NATIVE and target_stored == FLOAT16:
        return KNOWN, block_stats(reinterpret(g, tag), reinterpret(t, HALF), n, floor)
    if golden_stored == NATIVE and target_stored == BFLOAT16:
        return KNOWN, block_stats(reinterpret(g, tag), reinterpret(t, BRAIN), n, floor)
    if golden_stored == FLOAT16 and target_stored == FLOAT16:
        halves = reinterpret(g, HALF), reinterpret(t, HALF)
        if widens:
            return KNOWN_AND_WIDENED, narrow_stats(halves[0], halves[1], n, floor, golden_room, target_room)
        return KNOWN, block_stats(halves[0], halves[1], n, floor)
    if golden_stored == BFLOAT16 and target_stored == BFLOAT16:
        brains = reinterpret(g, BRAIN), reinterpret(t, BRAIN)
        if widens:
            return KNOWN_AND_WIDENED, narrow_stats(brains[0], brains[1], n, floor, golden_room, target_room)
        return KNOWN, block_stats(brains[0], brains[1], n, floor)
    return UNKNOWN, NO_STATS


@njit(error_model="numpy", fastmath=False)
def fold_floats(f, c, golden, target, tag, job, numbers, tables, scratch, index, rooms):
    """Fold one piece of `fold_many`, block by block, the fast way wherever a block is finite."""
    n, group, floor = job[COUNT], job[GROUP], numbers[FLOOR]
    golden_stored, target_stored = job[GOLDEN_STORED], job[TARGET_STORED]
    golden_table, target_table = tables[job[GOLDEN_TABLE]], tables[job[TARGET_TABLE]]
    golden_room, target_room = pointer(rooms[0], tag), pointer(rooms[1], tag)
    rounding = (numbers[GRID], numbers[SMALLEST], numbers[LARGEST])
    takes_passes = c[HAS_KL] != 0 or c[HAS_ROUNDING] != 0 or group < ROW_BLOCKS
    position = 0
    while position < n:
        begin = c[START] + position
        end = block_end(position, begin, n, group)
        count = end - position
        g_raw = advance(golden, job[GOLDEN_AT] + position * job[GOLDEN_BYTES])
        t_raw = advance(target, job[TARGET_AT] + position * job[TARGET_BYTES])
        g, t = golden_room, target_room
        is_same = job[MAY_BE_SAME] != 0 and same_bytes(g_raw, t_raw, count * job[GOLDEN_BYTES])
        known, stats = UNKNOWN, NO_STATS
        if not is_same:
            known, stats = stats_where_they_lie(
                g_raw, t_raw, golden_stored, target_stored, golden_room, target_room, tag, count, floor, takes_passes
            )
        is_used_again = takes_passes or stats[18] or stats[12] > f[MAX_ABSOLUTE] or job[IS_CAREFUL] != 0
        if known == UNKNOWN or (known == KNOWN and is_used_again):
            g = widened(g_raw, golden_stored, golden_table, numbers[GOLDEN_FACTOR], golden_room, tag, count)
            t = g if is_same else widened(t_raw, target_stored, target_table, numbers[TARGET_FACTOR], target_room, tag, count)
        if is_same:
            stats = same_stats(g, count, floor)
        elif known == UNKNOWN:
            stats = block_stats(g, t, count, floor)
        if stats[18] or job[IS_CAREFUL] != 0:
            fold_prepared_block(f, c, g, t, count, begin, group, floor, rounding, scratch, index)
        else:
            fold_finite_block(f, c, g, t, count, begin, group, rounding, stats)
        position = end
    settle_open_rows(f, c, group)


@njit(cache=True, error_model="numpy", fastmath=False)
def fold_many(floats, counts, golden, target, tag, jobs, numbers, tables, scratch, index, rooms):
    """Fold pieces of any number of pairs whose values are all exact in the type of ``tag``.

    Parameters
    ----------
    floats, counts : ndarray of float64 and of int64, shape (k, words)
        Two views of k records of `SUMS_DTYPE`, empty but for where each piece stands.
    golden, target : ndarray of uint8
        Payloads of all pieces; may be the same array.
    tag : float32 or float64
    jobs : ndarray of int64, shape (k, 12)
    numbers : ndarray of float64, shape (k, 6)
    tables : ndarray of float64, shape (any, 256)
    scratch, index, rooms
        Room for one block: see `prepare`; for each side as much as a block of the type of ``tag`` takes.
    """
    g_base, t_base = pointer(golden, np.uint8(0)), pointer(target, np.uint8(0))
    for k in range(jobs.shape[0]):
        fold_floats(floats[k], counts[k], g_base, t_base, tag, jobs[k], numbers[k], tables, scratch, index, rooms)


@njit(cache=True, error_model="numpy", fastmath=False)
def fold_prepared(f, c, golden, target, golden_tag, target_tag, n, group, floor, rounding, scratch, index):
    """Fold a piece of n elements element by element: 64-bit integers and complex numbers."""
    g_base = pointer(golden, golden_tag)
    t_base = pointer(target, target_tag)
    position = 0
    while position < n:
        begin = c[START] + position
        end = block_end(position, begin, n, group)
        fold_prepared_block(
            f, c, advance(g_base, position), advance(t_base, position), end - position, begin, group, floor, rounding, scratch, index
        )
        position = end
    settle_open_rows(f, c, group)
