"""Pairs of channels that keep their norm and turn: a rotary position embedding of another position."""

from __future__ import annotations

from typing import Final

import numpy as np

from fastcmp.closeup.pattern import LEAST_ELEMENTS, Couple, Floats, Pattern, no, sample_positions

# How far the norm of a pair may be from golden's, as a share of what the values differ by.
_LEFT: Final = 0.05
_LEAST_PAIRS: Final = 8
_SAMPLE_ROWS: Final = 256
_BASES: Final = (10_000.0, 500_000.0, 1_000_000.0, 5_000_000.0, 10_000_000.0)
_MOST_POSITIONS: Final = 8192
# Mean distance on the unit circle between the turns found and those of a position.
_ON_CIRCLE: Final = 0.05


def rotated(couple: Couple) -> Pattern:
    """Every pair of channels keeps its norm, though its values differ."""
    name = "rotated pairs"
    channels = couple.shape[-1] if couple.shape else 0
    if channels < 2 or channels % 2 or not couple.has_enough or not couple.finite.all() or couple.golden.size < 2 * _LEAST_PAIRS:
        return no(name)
    rows = [side.reshape(-1, channels) for side in (couple.golden, couple.target)]
    turned = np.flatnonzero(np.any(rows[0] != rows[1], axis=1))
    few = Couple(*(side[turned[sample_positions(len(turned), _SAMPLE_ROWS)]] for side in rows))
    for size in _head_sizes(channels):
        for is_interleaved in (False, True):
            if is_interleaved and size != channels and size != 8:
                continue  # neighbours are the same pairs for heads of any size
            if len(turned) > _SAMPLE_ROWS and _norm_left(few, size, is_interleaved) is None:
                continue
            left = _norm_left(couple, size, is_interleaved)
            if left is None:
                continue
            golden, target = (_as_complex(side, size, is_interleaved) for side in (couple.golden, couple.target))
            layout = "neighbouring channels" if is_interleaved else f"channels i and i + {size // 2} of each {size}"
            before = couple.distance / couple.size
            text = f"the pairs of {layout} keep their norms to {left:.1g}, though the values are {before:.2g} apart"
            return Pattern("rotated pairs (RoPE)", True, f"{text}{_turns_text(golden, target)}")
    return no(name)


def _head_sizes(channels: int) -> list[int]:
    """Even divisors, the largest first: a smaller one never fits where a larger one is true."""
    return [size for size in range(channels, 7, -1) if channels % size == 0 and size % 2 == 0] or [channels]


def _as_complex(values: Floats, size: int, is_interleaved: bool) -> np.ndarray:
    """Pairs as complex numbers, shape (rows and heads, size / 2)."""
    heads = np.ascontiguousarray(values).reshape(-1, size)
    if is_interleaved:
        return heads[:, 0::2] + 1j * heads[:, 1::2]
    half = size // 2
    return heads[:, :half] + 1j * heads[:, half:]


def _norm_left(couple: Couple, size: int, is_interleaved: bool) -> float | None:
    """How far the norms of the pairs are apart, relative to golden; None where they are not kept, or where no pair turned."""
    golden, target = (_as_complex(side, size, is_interleaved) for side in (couple.golden, couple.target))
    turned = golden != target
    if np.count_nonzero(turned) < max(_LEAST_PAIRS, LEAST_ELEMENTS // 2):
        return None
    apart = float(np.linalg.norm(np.abs(golden) - np.abs(target)))
    limit = min(_LEFT * couple.distance, max(8.0 * couple.rounding * couple.size, 0.01 * couple.distance))
    if apart > limit:
        return None
    # Where one of two channels is zero, or both only changed sign, nothing was turned.
    cross = np.abs((np.conj(golden) * target).imag)
    return apart / couple.size if np.count_nonzero(cross > 1e-6 * np.abs(golden) ** 2) >= _LEAST_PAIRS else None


def _turns_text(golden: np.ndarray, target: np.ndarray) -> str:
    """By which angles the pairs turned, and as by how many positions."""
    rows = np.any(golden != target, axis=1)  # the tokens before the first wrong one did not turn
    golden, target = golden[rows], target[rows]
    turns = np.sum(np.conj(golden) * target, axis=0)
    sizes = np.sum(np.abs(golden) * np.abs(target), axis=0)
    if not np.all(np.abs(turns) >= 0.98 * sizes) or not sizes.all():
        return "; by angles that differ from row to row"
    angles = np.angle(turns)
    span = f"{angles[0]:.3g} rad in pair 0 to {angles[-1]:.2g} in pair {len(angles) - 1}"
    text = f"; turned by {span}, the same in all rows and heads that differ"
    positions = _positions(angles)
    return f"{text}: as by {positions:+d} position{'s' if abs(positions) > 1 else ''} of RoPE" if positions else text


def _positions(angles: Floats) -> int:
    """The number of positions that turns a head by these angles; 0 where there is none."""
    if len(angles) < 4:
        return 0
    shares = np.arange(len(angles)) / len(angles)
    best, found = _ON_CIRCLE, 0
    tried = np.arange(1, _MOST_POSITIONS + 1)
    for base in _BASES:
        rates = base**-shares
        for sign in (1, -1):
            apart = np.abs(np.exp(1j * sign * np.outer(tried, rates)) - np.exp(1j * angles)).mean(axis=1)
            at = int(np.argmin(apart))
            if apart[at] < best:
                best, found = float(apart[at]), int(sign * tried[at])
    return found
