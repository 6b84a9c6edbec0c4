"""What a pickle of torch's is turned into: descriptions, never objects of torch's or anybody's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from fastcmp.dtypes import DTYPES
from fastcmp.formats.malformed import Malformed, shortened

MOST_AXES: Final = 64
# A tensor of one stored element may be expanded to any shape. Beyond so many bytes, and so many times what is stored, nobody meant it.
_LARGE_BYTES: Final = 2**30
_MOST_TIMES: Final = 2**16


class Storage(NamedTuple):
    """Elements that one or several tensors are views of.

    Attributes
    ----------
    key : str
        Which storage of the file it is.
    dtype : str
        Of its elements: a key of `DTYPES`, or the name of one that cannot be read.
    numel : int
        Elements of the whole storage.
    first, length : int
        The part of it that may be viewed; all of it, but for files of torch before 0.4.
    """

    key: str
    dtype: str
    numel: int
    first: int
    length: int


class Tensor(NamedTuple):
    """One tensor, whose last element lies in its storage.

    Attributes
    ----------
    storage : Storage
    dtype : str
        A key of `DTYPES`.
    shape : tuple of int
    strides : tuple of int or None
        In elements; None means C-contiguous.
    first_byte, nbytes : int
        From its first element in the storage to the end of its last.
    """

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    first_byte: int
    nbytes: int


class Refused(NamedTuple):
    """A tensor that is in the file and cannot be compared: error code, and why."""

    code: str
    detail: str


class Mapping:
    """A dict as pairs: nothing is hashed, for the hash of a tuple of tuples of ... may take for ever.

    ``keys`` and ``values`` are equally long; where a key stands twice, the last one counts.
    """

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.keys: list[object] = []
        self.values: list[object] = []


class Unordered:
    """A set: what is in it has no name. ``values`` in the order of the pickle."""

    __slots__ = ("values",)

    def __init__(self, values: Iterable[object] = ()) -> None:
        self.values = list(values)


class Opaque:
    """A value that is no tensor and holds none: a device, a range, bytes."""


OPAQUE: Final = Opaque()


class DTypeName(str):
    """The name of a dtype of torch's, as a value or an argument."""

    __slots__ = ()


def integers(value: object, what: str) -> tuple[int, ...]:
    """A tuple or list of at most 64 integers of 0 or more; Malformed for anything else."""
    if not isinstance(value, tuple | list):
        raise Malformed("E_PICKLE", f"expected a tuple of integers as {what} of a tensor, got {kind_of(value)}")
    if len(value) > MOST_AXES:
        raise Malformed("E_BAD_DIMS", f"expected at most {MOST_AXES} numbers as {what} of a tensor, got {len(value)}")
    if not all(type(number) is int for number in value):
        raise Malformed("E_PICKLE", f"expected a tuple of integers as {what} of a tensor, got one with {kind_of(value[0])}")
    if min(value, default=0) < 0:
        raise Malformed("E_BAD_DIMS", f"expected numbers of 0 or more as {what} of a tensor, got {shortened(tuple(value))}")
    return tuple(value)


def kind_of(value: object) -> str:
    """What a value is, in a word that does not depend on how large or deep it is."""
    return "dict" if type(value) is Mapping else type(value).__name__


def view(storage: Storage, first: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Tensor | Refused:
    """A tensor over a storage, or why there is none: E_DTYPE, E_BAD_DIMS or E_OBJ_RANGE."""
    row = DTYPES.get(dtype)
    # Of elements below a byte nothing here says how they are packed: torch has one to a byte.
    if row is None or row.is_sub_byte or storage.dtype not in DTYPES:
        return Refused("E_DTYPE", f"elements of torch.{storage.dtype if storage.dtype not in DTYPES else dtype}, which no kernel compares")
    itemsize = row.bits // 8
    count, last = 1, 0
    for extent, stride in zip(shape, strides, strict=True):
        count *= max(extent, 1)
        last += (extent - 1) * stride
    if max(count, last + 1, first) * itemsize >= 2**63:
        return Refused("E_BAD_DIMS", f"shape {shortened(shape)} with strides {shortened(strides)} in {dtype} exceeds 2^63-1 bytes")
    stored = storage.length * (DTYPES[storage.dtype].bits // 8)
    if 0 in shape:
        return Tensor(storage, dtype, shape, None, 0, 0)
    if (first + last + 1) * itemsize > stored:
        return Refused(
            "E_OBJ_RANGE",
            f"shape {shortened(shape)} with strides {shortened(strides)} from element {first} in {dtype} ends at byte "
            f"{(first + last + 1) * itemsize} of a storage of {stored}",
        )
    if count * itemsize > _LARGE_BYTES and count > _MOST_TIMES * (last + 1):
        return Refused(
            "E_BAD_DIMS", f"{last + 1} stored elements are expanded to shape {shortened(shape)}, more than {_MOST_TIMES} times as many"
        )
    return Tensor(
        storage,
        dtype,
        shape,
        None if _is_contiguous(shape, strides) else strides,
        (storage.first + first) * itemsize,
        (last + 1) * itemsize,
    )


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """In C order, whatever the strides of axes of length 1."""
    expected = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent > 1:
            if stride != expected:
                return False
            expected *= extent
    return True
