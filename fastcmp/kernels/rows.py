"""Distances of single rows, or of runs of short ones, while a piece is walked through in order."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

from fastcmp.kernels.blocks import row_sums
from fastcmp.kernels.sums import slot
from fastcmp.kernels.vector import advance

from numba import njit  # isort: skip

WORST_ROW_DISTANCE, WORST_ROW = slot("worst_row_distance"), slot("worst_row")
ROW_HEAD_DIFFERENCE, ROW_HEAD_GOLDEN, ROW_HEAD_NONFINITE = (
    slot("row_head_difference"),
    slot("row_head_golden"),
    slot("row_head_nonfinite"),
)
ROW_TAIL_DIFFERENCE, ROW_TAIL_GOLDEN, ROW_TAIL_NONFINITE = (
    slot("row_tail_difference"),
    slot("row_tail_golden"),
    slot("row_tail_nonfinite"),
)
ROWS_NONFINITE, ROWS_ZERO = slot("rows_nonfinite"), slot("rows_zero")
START, STOP, ELEMENT_COUNT = slot("start"), slot("stop"), slot("element_count")
GOLDEN_EXPONENT, TARGET_EXPONENT = slot("golden_exponent"), slot("target_exponent")


@njit(error_model="numpy", fastmath=False)
def add_row_part(f, c, end, group, difference_squared, golden_squared, nonfinite):
    """Add a run that ends before element ``end`` of the tensor to the open row, and close the row where it ends."""
    f[ROW_TAIL_DIFFERENCE] += difference_squared
    f[ROW_TAIL_GOLDEN] += golden_squared
    c[ROW_TAIL_NONFINITE] += nonfinite
    if end % group != 0 and end != c[ELEMENT_COUNT]:
        return
    row = (end - 1) // group
    if row * group < c[START]:
        f[ROW_HEAD_DIFFERENCE] = f[ROW_TAIL_DIFFERENCE]
        f[ROW_HEAD_GOLDEN] = f[ROW_TAIL_GOLDEN]
        c[ROW_HEAD_NONFINITE] = c[ROW_TAIL_NONFINITE]
    elif c[ROW_TAIL_NONFINITE] > 0:
        c[ROWS_NONFINITE] += 1
    elif f[ROW_TAIL_GOLDEN] == 0.0:
        c[ROWS_ZERO] += 1
    else:
        exponent = max(c[GOLDEN_EXPONENT], c[TARGET_EXPONENT]) - c[GOLDEN_EXPONENT]
        distance = math.ldexp(math.sqrt(f[ROW_TAIL_DIFFERENCE] / f[ROW_TAIL_GOLDEN]), exponent)
        if distance > f[WORST_ROW_DISTANCE]:
            f[WORST_ROW_DISTANCE] = distance
            c[WORST_ROW] = row
    f[ROW_TAIL_DIFFERENCE] = 0.0
    f[ROW_TAIL_GOLDEN] = 0.0
    c[ROW_TAIL_NONFINITE] = 0


@njit(error_model="numpy", fastmath=False)
def settle_open_row(f, c, group):
    """At the end of a piece: an open row that began in an earlier piece belongs to the head."""
    stop = c[STOP]
    if stop % group != 0 and stop != c[ELEMENT_COUNT] and (stop // group) * group < c[START]:
        f[ROW_HEAD_DIFFERENCE] = f[ROW_TAIL_DIFFERENCE]
        f[ROW_HEAD_GOLDEN] = f[ROW_TAIL_GOLDEN]
        c[ROW_HEAD_NONFINITE] = c[ROW_TAIL_NONFINITE]
        f[ROW_TAIL_DIFFERENCE] = 0.0
        f[ROW_TAIL_GOLDEN] = 0.0
        c[ROW_TAIL_NONFINITE] = 0


@njit(error_model="numpy", fastmath=False)
def add_runs(f, c, g, t, n, begin, group):
    """Rows shorter than `ROW_BLOCKS` of a finite block."""
    at = 0
    while at < n:
        end = min(n, ((begin + at) // group + 1) * group - begin)
        sums = row_sums(advance(g, at), advance(t, at), end - at)
        add_row_part(f, c, begin + end, group, sums[0], sums[1], 0)
        at = end
