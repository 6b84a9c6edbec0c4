"""A whole tensor in memory, for people and tests; the comparison itself never needs one."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastcmp.dtypes import DTYPES
from fastcmp.errors import UsageError
from fastcmp.formats import scan
from fastcmp.formats.decode import decode
from fastcmp.formats.payload import open_payload
from fastcmp.formats.places import member_place
from fastcmp.options import ScanOptions


def read_tensor(path: str | os.PathLike[str], *, member: str = "", options: ScanOptions | None = None) -> NDArray[Any]:
    """A copy of the tensor in ``path``, with its shape and in its own dtype.

    Parameters
    ----------
    path : path of a tensor file
    member : str
        Which tensor of a file that holds several, such as a `.safetensors` file.
    options : ScanOptions, optional
        Which record of a multi-record file, which memory formats, which roots.

    Returns
    -------
    ndarray, writable, C-contiguous
        bfloat16, float8, float6 and float4 in the dtypes of `ml_dtypes`; int4 as int8, uint1 as uint8 and complex32 as
        complex64, which numpy has no dtype for.

    Raises
    ------
    TensorError
        With the code, the byte and the reason, if the file cannot be read.
    UsageError
        If the installed `ml_dtypes` is older than the dtype.
    """
    info = scan(member_place(os.fspath(path), member), options or ScanOptions())
    with open_payload(info) as payload:
        stored = payload.piece(0, info.element_count)
        values = _in_own_dtype(stored, info.dtype)
    return values.reshape(info.shape)


def _in_own_dtype(stored: NDArray[Any], name: str) -> NDArray[Any]:
    row = DTYPES[name]
    if name == "int4":
        return decode(stored, name).astype(np.int8)
    if name == "uint1":
        return decode(stored, name).astype(np.uint8)
    if name == "complex32":
        return decode(stored, name).astype(np.complex64)
    if row.kind == "bool":
        return stored != 0
    if row.kind != "float" or row.bits >= 32:
        return stored.copy()
    if name == "float16":
        return stored.copy().view(np.float16)
    import ml_dtypes  # 10 ms, and only for dtypes that numpy lacks

    if not hasattr(ml_dtypes, name):
        raise UsageError(f"{name}: ml_dtypes {ml_dtypes.__version__} has no such dtype; install ml_dtypes 0.5 or newer")
    return stored.copy().view(getattr(ml_dtypes, name))
