"""A tensor cut into boxes that are contiguous in memory: the elements of each are one run of the C order. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple


class Box(NamedTuple):
    """A contiguous run of elements that is rectangular.

    Attributes
    ----------
    start, stop : int
        The half-open run in logical C order.
    origin : tuple of int
        Index of the first element, one number an axis.
    extents : tuple of int
        As many as the tensor has axes; their product is ``stop - start``.
    """

    start: int
    stop: int
    origin: tuple[int, ...]
    extents: tuple[int, ...]


def boxes(shape: tuple[int, ...], most: int) -> Iterator[Box]:
    """All elements of a tensor in order, at most ``most`` at a time; none for an empty one."""
    count = prod(shape)
    if not count:
        return
    axis, at_once = _cut(shape, most)
    leading, inner = shape[:axis], prod(shape[axis + 1 :])
    length = shape[axis] if shape else 1
    for outer in range(prod(leading)):
        index = _unraveled(outer, leading)
        for first in range(0, length, at_once):
            run = min(at_once, length - first)
            start = (outer * length + first) * inner
            if not shape:
                yield Box(0, 1, (), ())
                continue
            rest = shape[axis + 1 :]
            yield Box(start, start + run * inner, (*index, first, *(0 for _ in rest)), (*(1 for _ in leading), run, *rest))


def box_around(shape: tuple[int, ...], position: int, most: int) -> Box:
    """A box of at most ``most`` elements that holds the one at ``position``, in its middle where there is room; all of an empty tensor."""
    axis, at_once = _cut(shape, most)
    if not shape:
        return Box(0, 1, (), ())
    if not prod(shape):
        return Box(0, 0, tuple(0 for _ in shape), shape)
    inner, length = prod(shape[axis + 1 :]), shape[axis]
    outer, rest = divmod(position, length * inner)
    run = min(at_once, length)
    first = max(0, min(rest // inner - run // 2, length - run))
    start = (outer * length + first) * inner
    after = shape[axis + 1 :]
    origin = (*_unraveled(outer, shape[:axis]), first, *(0 for _ in after))
    return Box(start, start + run * inner, origin, (*(1 for _ in shape[:axis]), run, *after))


def _cut(shape: tuple[int, ...], most: int) -> tuple[int, int]:
    """The axis to cut along, and how many of its indices make a box: the first axis of which one index has no more than ``most``."""
    for axis in range(len(shape)):
        inner = prod(shape[axis + 1 :])
        if inner <= most:
            return axis, max(1, most // max(1, inner))
    return 0, 1


def _unraveled(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for extent in reversed(shape):
        position, one = divmod(position, extent)
        index.append(one)
    return tuple(reversed(index))
