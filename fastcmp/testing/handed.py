"""What may be handed to `assert_close`, as something that gives its elements piece by piece, without a copy of the whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from math import prod
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.dump.values import wider_dtype
from fastcmp.formats import scan
from fastcmp.formats.payload import open_payload
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import ScanOptions

_NO_FILE: Final = FileIdentity(0, 0, 0, 0)
_EXPECTED: Final = "a torch tensor, a numpy array, a number, an object with __dlpack__ or __array__, or the path of a tensor file"
# As what torch sees elements that numpy has no dtype for; the bytes stay the same.
_TORCH_VIEWS: Final = {"bfloat16": "int16", "complex32": "int32"}


class Pieces(Protocol):
    """Entered before the first piece is asked for."""

    def __enter__(self) -> Pieces: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...

    def piece(self, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) in logical C order, in the ``view`` dtype of `fastcmp.dtypes`, one-dimensional and contiguous."""


class Handed(NamedTuple):
    """One side: what it is, where its elements come from, and whether it was a plain Python number."""

    info: TensorInfo
    pieces: Pieces
    is_number: bool = False


def handed(value: Any, role: str) -> Handed:
    """A value as a `Handed`; ``role`` is golden or target, for messages.

    Raises
    ------
    TypeError
        If it is nothing that has elements, or they are no plain numbers.
    TensorError
        If it is the path of a file that cannot be used.
    """
    if isinstance(value, str | os.PathLike):
        info = scan(os.fspath(value), ScanOptions())
        return Handed(info, open_payload(info))
    if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic):
        return _of_array(np.asarray(value), role)._replace(is_number=True)
    if isinstance(value, np.ndarray | np.generic):
        return _of_array(np.asarray(value), role)
    tensor_type = getattr(sys.modules.get("torch"), "Tensor", None)
    if isinstance(tensor_type, type) and isinstance(value, tensor_type):
        return _of_torch(value, role)
    if hasattr(type(value), "__dlpack__") or hasattr(type(value), "__array__"):
        return _of_array(_by_protocol(value, role), role)
    raise TypeError(f"{role}: found a {type(value).__name__}, expected {_EXPECTED}")


def _by_protocol(value: Any, role: str) -> np.ndarray:
    reasons = []
    for protocol, convert in (("__dlpack__", np.from_dlpack), ("__array__", np.asarray)):
        if hasattr(type(value), protocol):
            try:
                return convert(value)
            except Exception as error:  # each library refuses a device, a dtype or a read-only array in its own words
                reasons.append(f"{protocol}: {error}")
    raise TypeError(f"{role}: a {type(value).__name__} that gives no array: {'; '.join(reasons)}; hand over a copy in main memory")


class _InMemory:
    """Pieces of an array or tensor that is in memory, of this machine or of a device."""

    def __init__(self, source: Any, view: str, is_contiguous: Callable[[Any], bool], stored: Callable[[Any], np.ndarray]) -> None:
        self._source, self._view, self._is_contiguous, self._stored = source, np.dtype(view), is_contiguous, stored

    def __enter__(self) -> _InMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def piece(self, start: int, stop: int) -> np.ndarray:
        """See `Pieces`; of a contiguous array in main memory it is a view."""
        runs = [self._stored(run) for run in flat_runs(self._source, start, stop, self._is_contiguous)]
        if not runs:
            return np.empty(0, self._view)
        whole = runs[0] if len(runs) == 1 else np.concatenate(runs)
        return np.ascontiguousarray(whole).view(self._view)


def flat_runs(source: Any, start: int, stop: int, is_contiguous: Callable[[Any], bool]) -> Iterator[Any]:
    """Elements [start, stop) of an array or tensor in logical C order, as one-dimensional parts: views wherever that is possible."""
    if start >= stop:
        return
    if source.ndim <= 1 or is_contiguous(source):
        yield source.reshape(-1)[start:stop]
        return
    inner = prod(source.shape[1:])
    first, end = start // inner, stop // inner
    if first == (stop - 1) // inner:
        yield from flat_runs(source[first], start - first * inner, stop - first * inner, is_contiguous)
        return
    if start % inner:
        yield from flat_runs(source[first], start - first * inner, inner, is_contiguous)
        first += 1
    if first < end:
        yield source[first:end].reshape(-1)
    if stop % inner:
        yield from flat_runs(source[end], 0, stop - end * inner, is_contiguous)


def _info(dtype: str, shape: tuple[int, ...]) -> TensorInfo:
    return TensorInfo("", 0, DTYPES[dtype].payload_bytes(prod(shape)), dtype, shape, _NO_FILE)


def _of_array(array: np.ndarray, role: str) -> Handed:
    name = "bfloat16" if array.dtype == np.dtype("V2") else array.dtype.name
    wider = "" if name in DTYPES else wider_dtype(name)
    dtype = wider or name
    if dtype not in DTYPES:
        raise TypeError(f"{role}: found an array of {array.dtype}, expected plain numbers of at most 64 bits")

    def stored(run: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # a signalling NaN would warn
            return run.astype(wider) if wider else run if run.dtype.isnative else run.astype(run.dtype.newbyteorder("="))

    return Handed(_info(dtype, array.shape), _InMemory(array, DTYPES[dtype].view, lambda part: part.flags.c_contiguous, stored))


def _of_torch(tensor: Any, role: str) -> Handed:
    torch = sys.modules["torch"]
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    name = str(tensor.dtype).removeprefix("torch.")
    wider = "" if name in DTYPES else wider_dtype(name)
    dtype = wider or name
    if dtype not in DTYPES or tensor.device.type == "meta":
        raise TypeError(f"{role}: found a tensor of {tensor.dtype} on {tensor.device}, expected plain numbers with data")
    seen_as = _TORCH_VIEWS.get(dtype, "uint8" if dtype.startswith("float8_") else "")

    def stored(run: Any) -> np.ndarray:
        run = run.to(getattr(torch, wider)) if wider else run.resolve_conj().resolve_neg()
        if seen_as:
            run = run.contiguous().view(getattr(torch, seen_as))
        return run.cpu().numpy()

    return Handed(_info(dtype, tuple(tensor.shape)), _InMemory(tensor, DTYPES[dtype].view, lambda part: part.is_contiguous(), stored))
