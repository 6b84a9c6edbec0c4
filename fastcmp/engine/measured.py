"""Statistics and the checksum of a tensor that is there, where of the other side only those are known."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES
from fastcmp.errors import STATED_CODES, NoDataError
from fastcmp.formats.composed_payload import ComposedPayload
from fastcmp.formats.decode import decode
from fastcmp.formats.payload import Payload
from fastcmp.formats.stated import XOR, checksum_kind
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.outcome import NOTHING_READ, InputRecord, input_record

# Decoded they take 8 bytes each: the memory this needs, whatever the size of the tensor.
_ELEMENTS_AT_ONCE: Final = 1 << 20
Opened = Payload | ComposedPayload


@dataclass(frozen=True, slots=True)
class Measured:
    """max, min, mean and l2norm over all elements (of complex ones, their moduli); NaN where one is NaN. The checksum as it is stated of
    the other side, if it is that of this one too; else a CRC-32 of the bytes, or their xor beside an xor."""

    statistics: dict[str, float]
    checksum: str


def measured_beside(
    golden: TensorInfo | Exception,
    target: TensorInfo | Exception,
    open_payload: Callable[[TensorInfo], Opened],
    on_bytes: Callable[[int], None],
) -> Measured | None:
    """What can be measured of the one side that is there; None where neither or both are, or nothing is stated of the other."""
    for info, other in ((golden, target), (target, golden)):
        if isinstance(info, TensorInfo) and isinstance(other, NoDataError) and other.code in STATED_CODES:
            return _measured(info, other.checksum, open_payload, on_bytes)
    return None


def stated_record(golden: TensorInfo | Exception, target: TensorInfo | Exception) -> InputRecord:
    """Which files a pair was judged by that has no data on a side."""
    if not isinstance(golden, TensorInfo | NoDataError) or not isinstance(target, TensorInfo | NoDataError):
        return NOTHING_READ
    if golden.identity is None or target.identity is None:
        return NOTHING_READ
    return input_record(FileIdentity._make(golden.identity), FileIdentity._make(target.identity))


def _measured(info: TensorInfo, stated: str, open_payload: Callable[[TensorInfo], Opened], on_bytes: Callable[[int], None]) -> Measured:
    sums = _Sums()
    checksums = _Checksums(info, stated)
    with open_payload(info) as payload:
        for piece in _pieces(info, payload):
            sums.add(decode(piece, info.dtype))
            if stated:
                checksums.add(piece)
            on_bytes(piece.nbytes)
    return Measured(sums.found(info.element_count), checksums.found())


class _Checksums:
    """Checksums of a tensor as one might have been stated of it: a CRC-32, or an xor where that is what the other side has."""

    def __init__(self, info: TensorInfo, stated: str) -> None:
        self.stated = stated
        # Without axes a tensor is its own xor, in words that depend on the version.
        self.is_xor = checksum_kind(stated) == XOR and bool(info.shape) and not DTYPES[info.dtype].is_sub_byte
        self.is_wide = info.dtype == "bfloat16" and not self.is_xor
        self.as_stored = self.widened = 0

    def add(self, piece: NDArray[Any]) -> None:
        content = piece.tobytes()
        if self.is_xor:  # pieces but the last are whole words
            words = np.frombuffer(content + bytes(-len(content) % 8), "<u8")
            self.as_stored ^= int(np.bitwise_xor.reduce(words))
            return
        self.as_stored = zlib.crc32(content, self.as_stored)
        if self.is_wide:  # older versions of msprobe widened it first, for numpy has no such dtype
            self.widened = zlib.crc32((piece.astype(np.uint32) << 16).tobytes(), self.widened)

    def found(self) -> str:
        """As stated, if that is one of them; "" where none is."""
        if not self.stated:
            return ""
        texts = [f"0x{self.as_stored:016x}" if self.is_xor else f"{self.as_stored:08x}"]
        if self.is_wide:
            texts.append(f"{self.widened:08x}")
        return self.stated if self.stated.lower() in texts else texts[0]


def _pieces(info: TensorInfo, payload: Opened) -> Iterator[NDArray[Any]]:
    edges = [*range(0, info.element_count, _ELEMENTS_AT_ONCE), info.element_count]
    for start, stop in pairwise(edges):
        yield payload.piece(start, stop)


class _Sums:
    def __init__(self) -> None:
        self.highest, self.lowest = -math.inf, math.inf
        self.total: list[float] = []
        self.squares: list[float] = []

    def add(self, values: NDArray[Any]) -> None:
        if not values.size:
            return
        if values.dtype.kind == "c":
            values = np.abs(values)
        floats = values.astype(np.float64)
        # np.maximum carries a NaN on, max() of Python does not.
        self.highest = float(np.maximum(self.highest, floats.max()))
        self.lowest = float(np.minimum(self.lowest, floats.min()))
        with np.errstate(over="ignore", invalid="ignore"):
            self.total.append(float(floats.sum()))
            self.squares.append(float(np.square(floats).sum()))

    def found(self, count: int) -> dict[str, float]:
        if not count:
            return {}
        with np.errstate(over="ignore", invalid="ignore"):
            total, squares = float(np.sum(self.total)), float(np.sum(self.squares))
        return {"max": self.highest, "min": self.lowest, "mean": total / count, "l2norm": math.sqrt(squares) if squares >= 0 else math.nan}
