"""Names by what their tensors hold: the last resort, on request. Never silent: every link says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from fastcmp.errors import TensorError
from fastcmp.formats.decode import decode
from fastcmp.formats.payload import open_payload
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.name_expressions import INPUT, OUTPUT
from fastcmp.pairing.candidates import Candidate, ShapeClass, find_candidates
from fastcmp.pairing.layer_numbers import read_names
from fastcmp.pairing.links import Link, Matching, shown

RULE: Final = "content"
FLOOR: Final = 0.99
"""A cosine at or below it pairs nothing."""
# The runner-up must be at least so many times as far away, by 1 - cosine. Neighbours in a residual stream come as near as 0.99.
MARGIN: Final = 4.0
LEAST_ELEMENTS: Final = 64
SAMPLED_ELEMENTS: Final = 4096
_RUNS: Final = 16
# A tensor that does not lie as its elements follow is read whole for a sample; a larger one is left alone.
MOST_GATHERED_BYTES: Final = 16 * 1024 * 1024
MOST_OF_A_SHAPE: Final = 512
"""Names of one side, rank, slot and shape; more are left alone, with a warning."""
# 1 - cosine of equal tensors, but for rounding of the sums.
_NOTHING: Final = 1e-12

_Group = tuple[str, int, ShapeClass]


class _Sampled(NamedTuple):
    """Candidates, and of each a row of elements of length 1; positions that are not finite are 0."""

    candidates: list[Candidate]
    rows: np.ndarray


def content_links(matching: Matching) -> list[Link]:
    """A link for each two tensors of one shape that are each other's nearest, above `FLOOR`, with the next one `MARGIN` times as far.

    Of each tensor at most `SAMPLED_ELEMENTS` are read, the same of both sides, at one token. Ties and constants pair nothing.
    """
    golden, target = (read_names(side.by_name) for side in (matching.golden, matching.target))
    ones, others = find_candidates(matching, golden, target, RULE)
    of_golden, of_target = _groups(ones.readable), _groups(others.readable)
    links: list[Link] = []
    too_many: list[str] = []
    for group, mine in of_golden.items():
        theirs = of_target.get(group)
        if not theirs:
            continue
        if max(len(mine), len(theirs)) > MOST_OF_A_SHAPE:
            too_many.append(
                f"--pair-by content: {len(mine)} and {len(theirs)} names left of shape {mine[0].info.shape}, "
                f"more than {MOST_OF_A_SHAPE}; none of them is looked at"
            )
            continue
        links += _links(_sampled(mine, matching), _sampled(theirs, matching))
    matching.warn(too_many)
    return links


def _groups(candidates: Sequence[Candidate]) -> dict[_Group, list[Candidate]]:
    found: dict[_Group, list[Candidate]] = {}
    for one in candidates:
        if one.parts.part in (INPUT, OUTPUT) and one.info.element_count >= LEAST_ELEMENTS:
            found.setdefault((one.name[0], one.parts.part, one.shape_class), []).append(one)
    return found


def _links(ones: _Sampled, others: _Sampled) -> list[Link]:
    if not ones.candidates or not others.candidates:
        return []
    # Which are near is all that comes from here: the last digits of such a product depend on how many threads made it.
    cosines = ones.rows @ others.rows.T
    best, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    links = []
    for number, one in enumerate(ones.candidates):
        place = int(best[number])
        if int(back[place]) != number:
            continue
        distance = _distance(ones.rows[number], others.rows[place])
        next_best = _next_best(ones, others, cosines, number, place)
        if distance >= 1 - FLOOR or (next_best is not None and next_best[0] < MARGIN * max(distance, _NOTHING)):
            continue
        count = min(one.info.element_count, ones.rows.shape[1])
        behind = "no other of its shape" if next_best is None else f"next best {next_best[1]}, {1 - next_best[0]:.6g}"
        note = f"paired by content: cosine {1 - distance:.6g} over {count} elements; {behind}"
        links.append(Link(one.name, others.candidates[place].name, RULE, note=note))
    return links


def _next_best(ones: _Sampled, others: _Sampled, cosines: np.ndarray, number: int, place: int) -> tuple[float, str] | None:
    """How far the runner-up is, and its name: the nearest of the others to either side of a pair, which must not be clear for one alone."""
    found = []
    if cosines.shape[1] > 1:
        along = cosines[number].copy()
        along[place] = -np.inf
        other = int(along.argmax())
        found.append((_distance(ones.rows[number], others.rows[other]), f"{shown(others.candidates[other].name)} of target"))
    if cosines.shape[0] > 1:
        down = cosines[:, place].copy()
        down[number] = -np.inf
        one = int(down.argmax())
        found.append((_distance(ones.rows[one], others.rows[place]), f"{shown(ones.candidates[one].name)} of golden"))
    return min(found, default=None)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """1 - cosine of two rows of length 1, without cancellation, and the same wherever it is computed."""
    return float(np.sum((one - other) ** 2)) / 2


def _sampled(candidates: Sequence[Candidate], matching: Matching) -> _Sampled:
    kept, rows = [], []
    for one in candidates:
        row = _row(one.info, matching.options.scan.roots)
        if row is not None:
            kept.append(one)
            rows.append(row)
    return _Sampled(kept, np.array(rows))


def _row(info: TensorInfo, roots: tuple[str, ...]) -> np.ndarray | None:
    """The sampled elements as a vector of length 1; None for a tensor that cannot be read, is constant, or has too few finite elements."""
    if not info.is_direct and info.nbytes > MOST_GATHERED_BYTES:
        return None
    try:
        with open_payload(info, mapped=False, roots=roots) as payload:
            stored = np.concatenate([payload.piece(start, stop) for start, stop in sample_edges(info.element_count)])
    except TensorError:
        return None
    with np.errstate(over="ignore"):  # of complex numbers and of differences near the largest
        values = decode(stored, info.dtype)
        row = np.abs(values) if np.iscomplexobj(values) else values.astype(np.float64)
        is_finite = np.isfinite(row)
        if np.count_nonzero(is_finite) < LEAST_ELEMENTS or np.ptp(row[is_finite]) == 0:
            return None
    row = np.where(is_finite, row, 0.0)
    row /= np.abs(row).max()  # no square overflows
    return row / np.sqrt(np.sum(row * row))


def sample_edges(count: int) -> list[tuple[int, int]]:
    """Which elements are looked at: all, or runs that lie evenly between the first and the last."""
    if count <= SAMPLED_ELEMENTS:
        return [(0, count)]
    length = SAMPLED_ELEMENTS // _RUNS
    starts = [number * (count - length) // (_RUNS - 1) for number in range(_RUNS)]
    return [(start, start + length) for start in starts]
