"""Kullback-Leibler divergence of two softmaxes over a run of elements, in one pass that never subtracts large from large.

With ``u = g - max g``, ``v = t - max t`` and ``delta = u - v``:

    A = sum e^u,  D = sum e^u (e^-delta - 1 + delta),  E = sum e^u delta,  x = (D - E) / A
    KL = D / A - (x - log(1 + x))

Every term of D is >= 0, and x is what the target's sum exceeds golden's by.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from fastcmp.kernels.blocks import FAST
from fastcmp.kernels.sums import join_kl_states, slot
from fastcmp.kernels.vector import (
    choose,
    larger,
    load_value,
    multiply_add,
    plain_add,
    plain_subtract,
    scale_by_magic,
    subtract_multiple,
)  # sets the cache directory first

from numba import njit  # isort: skip

LOG2_E = 1.4426950408889634
# ln 2 in two parts; products of the first with an integer below 2**20 are exact.
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
LN2 = LN2_HIGH + LN2_LOW
# 1.5 * 2**52: adding it leaves a rounded integer in the low bits.
MAGIC = 6755399441055744.0
# Below it exp() is a subnormal, and counts as zero.
LOWEST_EXPONENT = -708.0
# Keeps differences of shifted values finite.
LOWEST = -1e300
# Where |delta| is below this the series of e^-delta - 1 + delta loses nothing, and above it the plain expression loses at most 4e-12.
SERIES_LIMIT = 0.015625
# For 1e-11 of itself the same series needs five terms where |delta| is up to the first of these, eleven up to the second.
VERY_CLOSE = 0.03125
CLOSE = 0.5

START = slot("start")
ELEMENT_COUNT = slot("element_count")
ROW_LENGTH = slot("row_length")
TOTAL, HEAD, TAIL = slot("kl_total_lse"), slot("kl_head_lse"), slot("kl_tail_lse")
TOTAL_COUNT, HEAD_COUNT, TAIL_COUNT = slot("kl_total_count"), slot("kl_head_count"), slot("kl_tail_count")
ROW_MAX, ROW_SUM, ROW_COUNT = slot("kl_row_max"), slot("kl_row_sum"), slot("kl_row_count")

join = njit(error_model="numpy", fastmath=False)(join_kl_states)


@njit(error_model="numpy", fastmath=FAST)
def exponential(x):
    """``e**x`` for x <= 0, good to 4e-16 relative; 0.0 below `LOWEST_EXPONENT`."""
    shifted = plain_add(x * LOG2_E, MAGIC)
    r = subtract_multiple(x, plain_subtract(shifted, MAGIC), LN2_HIGH, LN2_LOW)
    # Taylor to degree 12 for |r| <= ln(2)/2: the next term is 1.7e-16.
    p = 1 / 39916800 + r * (1 / 479001600)
    p = 1 / 3628800 + r * p
    p = 1 / 362880 + r * p
    p = 1 / 40320 + r * p
    p = 1 / 5040 + r * p
    p = 1 / 720 + r * p
    p = 1 / 120 + r * p
    p = 1 / 24 + r * p
    p = 1 / 6 + r * p
    p = 0.5 + r * p
    p = 1.0 + r * p
    p = 1.0 + r * p
    return choose(x < LOWEST_EXPONENT, 0.0, scale_by_magic(p, shifted))


@njit(error_model="numpy", fastmath=FAST)
def weight(x):
    """``e**x`` for x <= 0, good to 2e-9 relative: enough where it only weighs terms that are exact by themselves.

    Not less than ``exp(LOWEST_EXPONENT)``, 3e-308.
    """
    x = larger(x, LOWEST_EXPONENT)
    shifted = multiply_add(x, LOG2_E, MAGIC)
    r = multiply_add(plain_subtract(shifted, MAGIC), -LN2, x)
    # Minimax of degree 6 for |r| <= ln(2)/2.
    p = 0.008374824050589383 + r * 0.0013836835742475305
    p = 0.04166822618929449 + r * p
    p = 0.16666420072125315 + r * p
    p = 0.4999999207508873 + r * p
    p = 1.000000036344721 + r * p
    p = 1.0000000005546077 + r * p
    return scale_by_magic(p, shifted)


@njit(error_model="numpy", fastmath=FAST)
def maxima(g, t, n):
    """Largest golden and largest target value of n >= 1 finite elements."""
    golden = load_value(g, 0)
    target = load_value(t, 0)
    for i in range(n):
        golden = larger(load_value(g, i), golden)
        target = larger(load_value(t, i), target)
    return np.float64(golden), np.float64(target)


@njit(error_model="numpy", fastmath=FAST)
def softmax_sums(g, t, n, golden_max, target_max):
    """A, sum e^v, D and E of n finite elements."""
    a_sum = b_sum = d_sum = e_sum = 0.0
    for i in range(n):
        u = larger(np.float64(load_value(g, i)) - golden_max, LOWEST)
        v = larger(np.float64(load_value(t, i)) - target_max, LOWEST)
        delta = u - v
        p = exponential(u)
        q = exponential(v)
        pd = p * delta
        series = pd * delta * (0.5 - delta * (1 / 6 - delta * (1 / 24 - delta * (1 / 120 - delta * (1 / 720)))))
        a_sum += p
        b_sum += q
        e_sum += pd
        d_sum += choose(abs(delta) < SERIES_LIMIT, series, plain_add(plain_subtract(q, p), pd))
    return a_sum, b_sum, d_sum, e_sum


@njit(error_model="numpy", fastmath=FAST)
def very_close_softmax_sums(g, t, n, golden_max, target_max):
    """A, D and E of n finite elements with every ``|delta| <= VERY_CLOSE``: a third of the work, one short exponential each."""
    a_sum = d_sum = e_sum = 0.0
    for i in range(n):
        u = np.float64(load_value(g, i)) - golden_max
        delta = plain_subtract(u, np.float64(load_value(t, i)) - target_max)
        p = weight(u)
        pd = p * delta
        # The series of (e^-delta - 1 + delta) / delta^2.
        series = 1 / 120 - delta * (1 / 720)
        series = 1 / 24 - delta * series
        series = 1 / 6 - delta * series
        series = 0.5 - delta * series
        a_sum += p
        e_sum += pd
        d_sum += pd * delta * series
    return a_sum, d_sum, e_sum


@njit(error_model="numpy", fastmath=FAST)
def close_softmax_sums(g, t, n, golden_max, target_max):
    """`very_close_softmax_sums` for every ``|delta| <= CLOSE``: the same with more terms."""
    a_sum = d_sum = e_sum = 0.0
    for i in range(n):
        u = np.float64(load_value(g, i)) - golden_max
        delta = plain_subtract(u, np.float64(load_value(t, i)) - target_max)
        p = weight(u)
        pd = p * delta
        series = 1 / 39916800 - delta * (1 / 479001600)
        series = 1 / 3628800 - delta * series
        series = 1 / 362880 - delta * series
        series = 1 / 40320 - delta * series
        series = 1 / 5040 - delta * series
        series = 1 / 720 - delta * series
        series = 1 / 120 - delta * series
        series = 1 / 24 - delta * series
        series = 1 / 6 - delta * series
        series = 0.5 - delta * series
        a_sum += p
        e_sum += pd
        d_sum += pd * delta * series
    return a_sum, d_sum, e_sum


@njit(error_model="numpy", fastmath=FAST)
def softmax_sum(g, n, golden_max):
    """A of n finite elements, as the two functions above find it."""
    a_sum = 0.0
    for i in range(n):
        a_sum += weight(np.float64(load_value(g, i)) - golden_max)
    return a_sum


@njit(error_model="numpy", fastmath=False)
def run_state(g, t, n, max_absolute):
    """KL state (see `join_kl_states`) of n finite elements of one row that differ by ``max_absolute`` at most."""
    if n == 0:
        return 0, 0.0, 0.0, 0.0
    golden_max, target_max = maxima(g, t, n)
    return state_below(g, t, n, golden_max, target_max, max_absolute)


@njit(error_model="numpy", fastmath=False)
def state_below(g, t, n, golden_max, target_max, max_absolute):
    """`run_state` of n >= 1 elements whose maxima are known."""
    if max_absolute == 0.0:
        return n, golden_max + math.log(softmax_sum(g, n, golden_max)), 0.0, 0.0
    # The maxima differ by max_absolute at most, too.
    if max_absolute <= 0.5 * CLOSE:
        if max_absolute <= 0.5 * VERY_CLOSE:
            a_sum, d_sum, e_sum = very_close_softmax_sums(g, t, n, golden_max, target_max)
        else:
            a_sum, d_sum, e_sum = close_softmax_sums(g, t, n, golden_max, target_max)
        x = (d_sum - e_sum) / a_sum
    else:
        a_sum, b_sum, d_sum, e_sum = softmax_sums(g, t, n, golden_max, target_max)
        x = (d_sum - e_sum) / a_sum
        if not abs(x) < 0.5:
            x = (b_sum - a_sum) / a_sum
    gap = x - math.log1p(x)
    if abs(x) < 0.05:
        gap = 0.0
        for k in range(14, 1, -1):
            gap = 1.0 / k - x * gap
        gap *= x * x
    divergence = max(d_sum / a_sum - gap, 0.0)
    return n, golden_max + math.log(a_sum), (golden_max - target_max) - math.log1p(x), divergence


@njit(error_model="numpy", fastmath=False)
def add_run(f, c, end, state):
    """Add the state of a run that ends before element ``end`` of the tensor to the tensor's and to its row's."""
    row_length = c[ROW_LENGTH]
    total = join((c[TOTAL_COUNT], f[TOTAL], f[TOTAL + 1], f[TOTAL + 2]), state)
    c[TOTAL_COUNT], f[TOTAL], f[TOTAL + 1], f[TOTAL + 2] = total
    row = join((c[TAIL_COUNT], f[TAIL], f[TAIL + 1], f[TAIL + 2]), state)
    c[TAIL_COUNT], f[TAIL], f[TAIL + 1], f[TAIL + 2] = row
    if end % row_length == 0:
        if (end - row_length) < c[START]:
            c[HEAD_COUNT], f[HEAD], f[HEAD + 1], f[HEAD + 2] = row
        elif row[0] > 0:
            c[ROW_COUNT] += 1
            f[ROW_MAX] = max(f[ROW_MAX], row[3])
            total_before = f[ROW_SUM]
            f[ROW_SUM] += row[3]
            f[ROW_SUM + 1] += row[3] - (f[ROW_SUM] - total_before)
        c[TAIL_COUNT], f[TAIL], f[TAIL + 1], f[TAIL + 2] = 0, 0.0, 0.0, 0.0


@njit(error_model="numpy", fastmath=False)
def settle_open_row(f, c, stop):
    """At the end of a piece: an open row that began in an earlier piece belongs to the head."""
    if stop % c[ROW_LENGTH] != 0 and (stop // c[ROW_LENGTH]) * c[ROW_LENGTH] < c[START]:
        c[HEAD_COUNT], f[HEAD], f[HEAD + 1], f[HEAD + 2] = c[TAIL_COUNT], f[TAIL], f[TAIL + 1], f[TAIL + 2]
        c[TAIL_COUNT], f[TAIL], f[TAIL + 1], f[TAIL + 2] = 0, 0.0, 0.0, 0.0
