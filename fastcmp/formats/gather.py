"""Elements that do not lie as a kernel needs them: strides, foreign byte order, packed bits, FRACTAL_NZ.

Memory is bounded by the piece that is asked for and a fixed window, whatever the size of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, prod
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES
from fastcmp.formats.tensor_info import TensorInfo

StoredBytes = Callable[[int, int], NDArray[np.uint8]]
"""(offset, count) to the bytes of a payload."""

# Where bytes are read rather than mapped, a gap of so many is as dear as one more read: 8 us at 5 GB/s.
_READ_WORTH_BYTES: Final = 40_000

# Bytes of payload looked at together. Transposing a 4096 x 4096 float32 in windows of 16 MiB is no slower than at once.
_WINDOW_BYTES: Final = 16 * 2**20
# A multiple of 8, so that every block of packed elements begins on a byte.
_BLOCK_ELEMENTS: Final = 2**18


class _Strided(NamedTuple):
    """Elements as axes over the payload; their C order is the logical order.

    ``most_gap``: bytes that may be asked for in vain for each run of elements that lie together.
    """

    extents: tuple[int, ...]
    strides: tuple[int, ...]
    stored: np.dtype[Any]
    most_gap: float = inf


def gather(info: TensorInfo, stored_bytes: StoredBytes, start: int, stop: int, *, is_mapped: bool = True) -> NDArray[Any]:
    """A copy of the elements [start, stop) in logical C order, 1-D, native byte order, in the dtype's ``view``.

    ``is_mapped``: bytes that are asked for and not looked at cost nothing. The caller has checked that
    ``0 <= start < stop <= info.element_count``.
    """
    if info.packed:
        return _unpack(info, stored_bytes, start, stop)
    view = np.dtype(DTYPES[info.dtype].view)
    stored = view.newbyteorder(">") if info.big_endian else view
    out: NDArray[Any] = np.empty(stop - start, view)
    if info.layout == "fractal_nz":
        _gather_fractal(info, stored, stored_bytes, start, out)
    elif info.strides is None:
        _gather_strided(_Strided((info.element_count,), (1,), stored), stored_bytes, start, out)
    else:
        most_gap = inf if is_mapped else _READ_WORTH_BYTES
        _gather_strided(_Strided(info.shape, info.strides, stored, most_gap), stored_bytes, start, out)
    return out


def _gather_strided(array: _Strided, stored_bytes: StoredBytes, start: int, out: NDArray[Any]) -> None:
    """Fill ``out`` with the logical elements from ``start`` on."""
    kept = [(extent, stride) for extent, stride in zip(array.extents, array.strides, strict=True) if extent > 1]
    extents = tuple(extent for extent, _ in kept) or (1,)
    strides = tuple(stride for _, stride in kept) or (1,)
    done = 0
    for base, axis_extents, axis_strides in _slabs(extents, strides, start, start + out.size):
        count = prod(axis_extents)
        _copy_slab(out[done : done + count].reshape(axis_extents), base, axis_strides, array, stored_bytes)
        done += count


def _slabs(
    extents: tuple[int, ...], strides: tuple[int, ...], start: int, stop: int
) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """A run of the logical order as rectangular boxes, in order: (first element, extents, strides). At most two per axis."""
    inner = prod(extents[1:])
    first, head = divmod(start, inner)
    last, tail = divmod(stop, inner)
    if first == last:
        for base, box, box_strides in _slabs(extents[1:], strides[1:], head, tail):
            yield first * strides[0] + base, box, box_strides
        return
    if head:
        for base, box, box_strides in _slabs(extents[1:], strides[1:], head, inner):
            yield first * strides[0] + base, box, box_strides
        first += 1
    if first < last:
        yield first * strides[0], (last - first, *extents[1:]), strides
    if tail:
        for base, box, box_strides in _slabs(extents[1:], strides[1:], 0, tail):
            yield last * strides[0] + base, box, box_strides


def _copy_slab(out: NDArray[Any], base: int, strides: tuple[int, ...], array: _Strided, stored_bytes: StoredBytes) -> None:
    """Copy one box, cut along its widest axis until it spans no more than the window, and has no gaps that are dearer than a read."""
    stored = array.stored
    reach = [(extent - 1) * stride for extent, stride in zip(out.shape, strides, strict=True)]
    span = sum(reach) + 1
    runs = out.size // max((extent for extent, stride in zip(out.shape, strides, strict=True) if stride == 1), default=1)
    gap = (span - out.size) * stored.itemsize / runs
    if (span * stored.itemsize > _WINDOW_BYTES or gap > array.most_gap) and span > 1:
        axis = reach.index(max(reach))
        half = out.shape[axis] // 2
        lower, upper = [slice(None)] * out.ndim, [slice(None)] * out.ndim
        lower[axis], upper[axis] = slice(None, half), slice(half, None)
        _copy_slab(out[tuple(lower)], base, strides, array, stored_bytes)
        _copy_slab(out[tuple(upper)], base + half * strides[axis], strides, array, stored_bytes)
        return
    window = stored_bytes(base * stored.itemsize, span * stored.itemsize)
    byte_strides = tuple(stride * stored.itemsize for stride in strides)
    out[...] = np.ndarray(out.shape, stored, window, 0, byte_strides)


def _gather_fractal(info: TensorInfo, stored: np.dtype[Any], stored_bytes: StoredBytes, start: int, out: NDArray[Any]) -> None:
    """Rows of ``[..., H, W]`` from blocks ``[..., W1, H1, c0]``; padding rows and columns are left out."""
    *leading, rows, columns = info.shape
    padded_rows, blocks, c0 = -(-rows // 16) * 16, -(-columns // info.c0), info.c0
    block_stride = padded_rows * c0
    array = _Strided((prod(leading), rows, blocks, c0), (blocks * block_stride, c0, block_stride, 1), stored)
    width = blocks * c0
    if width == columns:
        _gather_strided(array, stored_bytes, start, out)
        return
    rows_at_once = max(1, _BLOCK_ELEMENTS // width)
    position, stop = start, start + out.size
    while position < stop:
        row, column = divmod(position, columns)
        if column == 0 and stop - position >= columns:
            row_count = min(rows_at_once, (stop - position) // columns)
            padded = np.empty(row_count * width if row_count > 1 else columns, out.dtype)
            _gather_strided(array, stored_bytes, row * width, padded)
            taken = padded.reshape(row_count, -1)[:, :columns]
        else:
            taken = np.empty((1, min(columns - column, stop - position)), out.dtype)
            _gather_strided(array, stored_bytes, row * width + column, taken[0])
        out[position - start : position - start + taken.size] = taken.reshape(-1)
        position += taken.size


def _unpack(info: TensorInfo, stored_bytes: StoredBytes, start: int, stop: int) -> NDArray[np.uint8]:
    """One element to a byte; element i is the bits [i * bits, (i + 1) * bits) of the payload, low bits first."""
    bits = DTYPES[info.dtype].bits
    out = np.empty(stop - start, np.uint8)
    weights = (1 << np.arange(bits)).astype(np.uint8)
    for first in range(start, stop, _BLOCK_ELEMENTS):
        last = min(first + _BLOCK_ELEMENTS, stop)
        first_byte, skipped = divmod(first * bits, 8)
        packed = stored_bytes(first_byte, -(-last * bits // 8) - first_byte)
        lone = np.unpackbits(packed, bitorder="little")[skipped : skipped + (last - first) * bits]
        np.dot(lone.reshape(-1, bits), weights, out=out[first - start : last - start])
    return out
