"""What may be handed to `dump_data`, as an array that a ``.npy`` file can hold without loss."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np


class Storable(NamedTuple):
    """A tensor ready to be written.

    Attributes
    ----------
    array : ndarray
        Any strides, any byte order; may share the memory of what was handed in.
    descr : str
        The dtype as the ``.npy`` header names it; ``<V2`` for bfloat16.
    dtype : str
        The dtype that the program had.
    stored : str
        The wider dtype of ``array`` where a ``.npy`` file cannot hold ``dtype``, else "".
    """

    array: np.ndarray[Any, Any]
    descr: str
    dtype: str
    stored: str = ""


def storable(value: object) -> Storable:
    """Turn a torch tensor, a numpy array or scalar, or anything with ``__dlpack__`` or ``__array__`` into a `Storable`.

    Raises
    ------
    TypeError
        If the value is none of these, or its dtype is not a plain number.
    Exception
        Whatever the value's own conversion raises.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return _of_array(np.asarray(value))
    tensor_type = getattr(sys.modules.get("torch"), "Tensor", None)
    if isinstance(tensor_type, type) and isinstance(value, tensor_type):
        return _of_torch(value)
    if hasattr(type(value), "__dlpack__") or hasattr(type(value), "__array__"):
        return _of_array(_by_protocol(value))
    raise TypeError(f"found a {type(value).__name__}, expected a torch tensor, a numpy array or an object with __dlpack__ or __array__")


def wider_dtype(name: str) -> str:
    """The dtype in which a ``.npy`` file holds every value of a narrow one, "" where the dtype needs none."""
    if name == "float8_e8m0fnu":
        return "float32"  # reaches from 2**-127 to 2**127
    if name.startswith(("float8_", "float6_", "float4_")):
        return "float16"
    return {"int1": "int8", "int2": "int8", "int4": "int8", "uint1": "uint8", "uint2": "uint8", "uint4": "uint8"}.get(name, "")


def _by_protocol(value: Any) -> np.ndarray[Any, Any]:
    if hasattr(type(value), "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except Exception:  # bfloat16, a read-only or a device array: numpy versions refuse each in their own words
            if not hasattr(type(value), "__array__"):
                raise
    return np.asarray(value)


class _Storage(NamedTuple):
    """How arrays of one dtype are stored: the dtype's name, what it is widened to ("" not at all), and the header's word for it."""

    dtype: str
    wider: str
    descr: str


@lru_cache(maxsize=256)
def _storage(dtype: np.dtype[Any]) -> _Storage:
    # Remembered, since numpy puts the name of a dtype together anew each time: 12 us, a third of np.save.
    # Narrow dtypes of ml_dtypes call themselves "V" or "f" from one version to the next, so they are told by name first.
    if dtype.name == "bfloat16" or dtype == np.dtype("V2"):
        return _Storage("bfloat16", "", "<V2")
    wider = wider_dtype(dtype.name)
    if wider:
        return _Storage(dtype.name, wider, np.dtype(wider).str)
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise TypeError(f"found an array of {dtype}, expected plain numbers of at most 64 bits")
    return _Storage(dtype.name, "", dtype.str)


def _of_array(array: np.ndarray[Any, Any]) -> Storable:
    dtype, wider, descr = _storage(array.dtype)
    if wider:
        with np.errstate(all="ignore"):  # a signalling NaN would warn, and under -W error raise
            array = array.astype(wider)
    elif descr == "<V2":
        array = array.view("V2")
    return Storable(array, descr, dtype, wider)


def _of_torch(tensor: Any) -> Storable:
    torch = sys.modules["torch"]
    if tensor.device.type != "cpu" and _is_capturing(torch, tensor.device.type):
        raise TypeError("found a tensor of a graph that is being captured, expected one that is computed; run without graphs to dump it")
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.device.type != "cpu":
        tensor = tensor.cpu()
    if tensor.dtype is torch.bfloat16:
        # Seen as integers, since numpy has no bfloat16; the bytes are the same, NaN payloads included.
        return Storable(tensor.view(torch.int16).numpy().view("V2"), "<V2", "bfloat16")
    name = str(tensor.dtype).removeprefix("torch.")
    wider = "complex64" if name == "complex32" else wider_dtype(name)
    if wider:
        tensor = tensor.to(getattr(torch, wider))
    array = tensor.resolve_conj().resolve_neg().numpy()
    return Storable(array, array.dtype.str, name, wider)


def _is_capturing(torch: Any, device: str) -> bool:
    """True while a CUDA graph, or its like on another device, is recorded: a copy to the CPU would break the recording."""
    ask = getattr(getattr(torch, device, None), "is_current_stream_capturing", None)
    return ask is not None and bool(ask())
