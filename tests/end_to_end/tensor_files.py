"""Tensors of every storage dtype: raw codes in files, and their exact values by ml_dtypes and numpy, never by the code under test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

Value = int | float | complex
Shape = tuple[int, ...]

# Name to (code in a .bin header, how its elements are read). bool and uint1 are read by hand.
_FLOATS = {
    "float64": (11, np.float64),
    "float32": (0, np.float32),
    "float16": (1, np.float16),
    "bfloat16": (27, ml_dtypes.bfloat16),
    "float8_e5m2": (35, ml_dtypes.float8_e5m2),
    "float8_e4m3fn": (36, ml_dtypes.float8_e4m3fn),
    "float8_e8m0fnu": (37, ml_dtypes.float8_e8m0fnu),
    "float6_e3m2fn": (38, ml_dtypes.float6_e3m2fn),
    "float6_e2m3fn": (39, ml_dtypes.float6_e2m3fn),
    "float4_e2m1fn": (40, ml_dtypes.float4_e2m1fn),
}
_INTEGERS = {
    "int8": (2, np.int8),
    "int16": (6, np.int16),
    "int32": (3, np.int32),
    "int64": (9, np.int64),
    "uint8": (4, np.uint8),
    "uint16": (7, np.uint16),
    "uint32": (8, np.uint32),
    "uint64": (10, np.uint64),
    "int4": (29, ml_dtypes.int4),
}
_COMPLEX = {"complex32": (33, np.float16), "complex64": (16, np.float32), "complex128": (17, np.float64)}
_CODES = {name: row[0] for table in (_FLOATS, _INTEGERS, _COMPLEX) for name, row in table.items()} | {"bool": 12, "uint1": 30}

FLOATS = tuple(_FLOATS)
INTEGERS = (*_INTEGERS, "uint1")
COMPLEX = tuple(_COMPLEX)
ALL_DTYPES = (*FLOATS, *INTEGERS, "bool", *COMPLEX)
_NUMPY = {"float64", "float32", "float16", *(set(_INTEGERS) - {"int4"}), "bool", "complex64", "complex128"}


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in a file: ``payload`` is the C-order bytes of all elements, sub-byte types one to a byte."""

    dtype: str
    shape: Shape
    payload: bytes

    def values(self) -> list[Value]:
        """The exact values: int, float or complex."""
        with np.errstate(invalid="ignore"):  # signalling NaNs
            return self._values()

    def _values(self) -> list[Value]:
        if self.dtype == "bool":
            return [int(byte != 0) for byte in self.payload]
        if self.dtype == "uint1":
            return [byte & 1 for byte in self.payload]
        if self.dtype in _INTEGERS:
            codes = np.frombuffer(self.payload, _INTEGERS[self.dtype][1])
            return (codes.astype(np.int64) if self.dtype == "int4" else codes).tolist()
        if self.dtype in _FLOATS:
            return np.frombuffer(self.payload, _FLOATS[self.dtype][1]).astype(np.float64).tolist()
        parts = np.frombuffer(self.payload, _COMPLEX[self.dtype][1]).astype(np.float64)
        return [complex(real, imaginary) for real, imaginary in parts.reshape(-1, 2).tolist()]

    def write(self, path: Path) -> None:
        """As `.npy` or `.bin`, by the suffix."""
        if path.suffix == ".npy":
            view = np.dtype(self.dtype) if self.dtype in _NUMPY else np.dtype("V1")
            np.save(path, np.frombuffer(self.payload, view).reshape(self.shape))
            return
        dims = ",".join(map(str, self.shape))
        size = len(self.payload)
        item = f"$Object.data=0,{size}\n" if size else ""
        header = f"$Version=1.0\n$Object.Count={int(size > 0)}\n$Object.Length={size}\nformat=2\ndtype={_CODES[self.dtype]}\ndims={dims}\n"
        path.write_bytes(f"{header}{item}$End=1\n".encode() + self.payload)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The file formats that can hold it."""
        return (".bin", ".npy") if self.dtype in _NUMPY else (".bin",)


def tensor(dtype: str, values: object, shape: Shape | None = None) -> Tensor:
    """``values`` rounded to ``dtype``; integers must fit."""
    array = np.asarray(values)
    shape = array.shape if shape is None else shape
    with np.errstate(all="ignore"):
        if dtype in _COMPLEX:
            parts = np.stack([array.real, array.imag], axis=-1).astype(_COMPLEX[dtype][1])
            return Tensor(dtype, shape, parts.tobytes())
        if dtype == "bool":
            return Tensor(dtype, shape, (array != 0).astype(np.uint8).tobytes())
        if dtype == "uint1":
            return Tensor(dtype, shape, (array.astype(np.int64) & 1).astype(np.uint8).tobytes())
        kind = (_FLOATS | _INTEGERS)[dtype][1]
        return Tensor(dtype, shape, array.astype(kind).tobytes())


def write_dumps(root: Path, pairs: Sequence[tuple[Tensor, Tensor]], names: Sequence[str] | None = None) -> tuple[Path, Path]:
    """Two metadata.json whose data_ids are ``names`` or the positions of ``pairs``."""
    documents = []
    for side, role in enumerate(("golden", "acl")):
        folder = root / f"{role}_tensor"
        folder.mkdir(parents=True)
        metadata = {}
        for position, pair in enumerate(pairs):
            suffixes = pair[side].suffixes
            path = folder / f"{position}{suffixes[(position + side) % len(suffixes)]}"
            pair[side].write(path)
            metadata[names[position] if names else str(position)] = {"0": f"./{path.name}"}
        (folder / "metadata.json").write_text(json.dumps(metadata))
        documents.append(folder / "metadata.json")
    return documents[0], documents[1]
