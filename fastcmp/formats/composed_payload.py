"""The elements of a tensor that several ranks hold, piece by piece: taken from where they lie, in memory that the piece bounds."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError
from fastcmp.formats.composed import Concatenation, Leaf, Node, Replicas, Sum, View
from fastcmp.formats.decode import decode
from fastcmp.formats.encode import encode
from fastcmp.formats.payload import Payload
from fastcmp.formats.tensor_info import TensorInfo

# Elements of the whole that are gathered together: their summands are 16 MiB in float64, and stay in the cache for two or three ranks.
_BOX_ELEMENTS: Final = 2**21

# Parts that are open at a time: each is a file, or, where it is small, in memory as a whole (512 KiB).
_MOST_OPEN: Final = 32

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Where it begins on each axis, and how far it goes."""


class ComposedPayload:
    """As `fastcmp.formats.payload.Payload`, of a tensor whose ``composed`` says how it is made up.

    Raises
    ------
    TensorError
        What the payloads of the parts raise, and E_REPLICAS where parts that must be equal are not.
    """

    def __init__(self, info: TensorInfo, mapped: bool, roots: tuple[str, ...]) -> None:
        assert info.composed is not None
        self.info = info
        self._node: Node = info.composed
        self._dtype = np.dtype(DTYPES[info.dtype].view)
        self._mapped, self._roots = mapped, roots
        # The parts that are open, the one that was used last behind the others.
        self._open: dict[int, Payload] = {}

    def __enter__(self) -> ComposedPayload:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        failure: BaseException | None = None
        while self._open:
            _, payload = self._open.popitem()
            try:
                payload.__exit__(kind, value, trace)
            except TensorError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _payload(self, leaf: Leaf) -> Payload:
        """The open payload of a part; another one is closed for it where many are open, and looked at whether it is still the same."""
        payload = self._open.pop(leaf.number, None)
        if payload is None:
            if len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open))).__exit__(None, None, None)
            payload = Payload(leaf.info, self._mapped, self._roots)
            payload.__enter__()
        self._open[leaf.number] = payload
        return payload

    def piece(self, start: int, stop: int) -> NDArray[Any]:
        """Elements [start, stop) in logical C order, as stored; a copy, read-only.

        Raises
        ------
        IndexError
            If the range does not lie in the tensor.
        """
        self.info.check_run(start, stop)
        out: NDArray[Any] = np.empty(stop - start, self._dtype)
        done = 0
        for starts, extents in boxes_of_run(self.info.shape, start, stop):
            size = prod(extents)
            self._fill(self._node, starts, out[done : done + size].reshape(extents))
            done += size
        out.flags.writeable = False
        return out

    def _fill(self, node: Node, starts: tuple[int, ...], out: NDArray[Any]) -> None:
        """Copy the box of a node that begins at ``starts`` and has the shape of ``out``."""
        if isinstance(node, Leaf):
            self._fill_leaf(node, starts, out)
        elif isinstance(node, Concatenation):
            self._fill_concatenation(node, starts, out)
        elif isinstance(node, Sum):
            self._fill_sum(node, starts, out)
        elif isinstance(node, Replicas):
            self._fill_replicas(node, starts, out)
        else:
            self._fill_view(node, starts, out)

    def _fill_leaf(self, leaf: Leaf, starts: tuple[int, ...], out: NDArray[Any]) -> None:
        shape = leaf.shape
        inner = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
        first = sum(start * step for start, step in zip(starts, inner, strict=True))
        span = sum((extent - 1) * step for extent, step in zip(out.shape, inner, strict=True)) + 1
        if span > 2 * max(out.size, _BOX_ELEMENTS):  # a few columns of many rows: not all of it at once
            axis = next(axis for axis, extent in enumerate(out.shape) if extent > 1)
            half = out.shape[axis] // 2
            index: list[slice] = [slice(None)] * out.ndim
            index[axis] = slice(None, half)
            self._fill_leaf(leaf, starts, out[tuple(index)])
            index[axis] = slice(half, None)
            self._fill_leaf(leaf, (*starts[:axis], starts[axis] + half, *starts[axis + 1 :]), out[tuple(index)])
            return
        run = self._payload(leaf).piece(first, first + span)
        out[...] = np.ndarray(out.shape, run.dtype, run, 0, tuple(step * run.itemsize for step in inner))

    def _fill_concatenation(self, node: Concatenation, starts: tuple[int, ...], out: NDArray[Any]) -> None:
        axis = node.axis
        begin, end = starts[axis], starts[axis] + out.shape[axis]
        for slab in node.slabs:
            low, high = max(begin, slab.at), min(end, slab.at + slab.length)
            if low < high:
                index = (slice(None),) * axis + (slice(low - begin, high - begin),)
                self._fill(slab.node, (*starts[:axis], slab.start + low - slab.at, *starts[axis + 1 :]), out[index])

    def _fill_sum(self, node: Sum, starts: tuple[int, ...], out: NDArray[Any]) -> None:
        total: NDArray[Any] | None = None
        summand = np.empty(out.shape, out.dtype)
        with np.errstate(all="ignore"):  # infinities and their NaN are values like others
            for one in node.nodes:
                self._fill(one, starts, summand)
                values = np.asarray(decode(summand, self.info.dtype))
                total = values if total is None else np.add(total, values, out=total)
        assert total is not None
        out[...] = encode(total, self.info.dtype)

    def _fill_replicas(self, node: Replicas, starts: tuple[int, ...], out: NDArray[Any]) -> None:
        self._fill(node.nodes[0], starts, out)
        other = np.empty(out.shape, out.dtype)
        for one, rank in zip(node.nodes[1:], node.ranks[1:], strict=True):
            self._fill(one, starts, other)
            differ = (_bits(other) != _bits(np.ascontiguousarray(out))).any(-1)
            if differ.any():
                first = np.unravel_index(int(differ.argmax()), out.shape)
                index = tuple(int(at) + start for at, start in zip(first, starts, strict=True))
                raise TensorError(
                    "E_REPLICAS",
                    self.info.path,
                    f"ranks {node.ranks[0]} and {rank} were expected to hold the same tensor, they differ first at {index}",
                )

    def _fill_view(self, node: View, starts: tuple[int, ...], out: NDArray[Any]) -> None:
        below = list(node.starts)
        for at, axis in enumerate(node.order):
            below[axis] += starts[at]
        self._fill(node.node, tuple(below), out.transpose(np.argsort(node.order)))


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """By bytes, with another axis behind: a NaN equals itself, and -0 is not 0."""
    return values.reshape(*values.shape, 1).view(np.uint8)


def boxes_of_run(shape: tuple[int, ...], start: int, stop: int, most: int = _BOX_ELEMENTS) -> Iterator[Box]:
    """The elements [start, stop) of a C order as boxes, in order, none of more than ``most`` elements."""
    if start >= stop:
        return
    if not shape:
        yield (), ()
        return
    inner = prod(shape[1:])
    if inner == 1 and len(shape) == 1:
        for low in range(start, stop, most):
            yield (low,), (min(most, stop - low),)
        return
    first, head = divmod(start, inner)
    last, tail = divmod(stop, inner)
    if first == last:
        yield from _below(first, shape, head, tail, most)
        return
    if head:
        yield from _below(first, shape, head, inner, most)
        first += 1
    if inner > most:
        for row in range(first, last):
            yield from _below(row, shape, 0, inner, most)
    else:
        rows = max(1, most // inner)
        for low in range(first, last, rows):
            yield (low, *([0] * (len(shape) - 1))), (min(rows, last - low), *shape[1:])
    if tail:
        yield from _below(last, shape, 0, tail, most)


def _below(row: int, shape: tuple[int, ...], start: int, stop: int, most: int) -> Iterator[Box]:
    for starts, extents in boxes_of_run(shape[1:], start, stop, most):
        yield (row, *starts), (1, *extents)
