"""Memory formats: which order the elements of a `.bin` payload lie in, and when two sides may be compared.

FRACTAL_NZ keeps a matrix ``[..., H, W]`` as blocks of ``c0`` columns: ``[..., ceil(W / c0), ceil16(H), c0]``. A header has one
list of dims and no word on which shape it is, so this is assumed:

* 4 axes that end in ``[..., multiple of 16, c0]`` are the physical shape, as ATB collapses it; 5 and more that end in
  ``[W1, H1, 16, c0]`` are the physical shape before that. Rows and columns of padding cannot be told from data by the header
  alone; `reconcile` crops them where the other side has the smaller shape.
* 2 or 3 axes are the logical shape (as the torch bridge writes it); the payload then is the start of the blocks and can
  only be reordered if nothing was padded: ``H % 16 == 0`` and ``W % c0 == 0``. Else it is E_NZ_LOGICAL, never a number.
* ``c0`` is 16, 32 for one-byte dtypes, or what the name of the format says.
"""

from __future__ import annotations

from math import prod
from typing import Final, Literal, NamedTuple

from fastcmp.dtypes import DType
from fastcmp.errors import TensorError
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import FormatPolicy

ND: Final = 2
FRACTAL_ROWS: Final = 16

NAMES: Final[dict[int, str]] = {
    0: "NCHW", 1: "NHWC", 2: "ND", 3: "NC1HWC0", 4: "FRACTAL_Z", 12: "NC1HWC0_C04", 16: "HWCN", 27: "NDHWC", 29: "FRACTAL_NZ",
    30: "NCDHW", 32: "NDC1HWC0", 33: "FRACTAL_Z_3D", 35: "NC", 47: "NCL", 50: "FRACTAL_NZ_C0_16", 51: "FRACTAL_NZ_C0_32",
    52: "FRACTAL_NZ_C0_2", 53: "FRACTAL_NZ_C0_4", 54: "FRACTAL_NZ_C0_8",
}  # fmt: skip
_ROW_MAJOR: Final = frozenset({0, 1, 2, 16, 27, 30, 35, 47})
_FRACTAL_NZ_C0: Final = {29: 0, 50: 16, 51: 32, 52: 2, 53: 4, 54: 8}


class Layout(NamedTuple):
    """Logical shape of a payload and how its elements lie."""

    shape: tuple[int, ...]
    layout: Literal["plain", "fractal_nz"]
    c0: int


def format_name(code: int) -> str:
    """Such as ``NHWC (1)``."""
    return f"{NAMES.get(code, 'unknown')} ({code})"


def is_row_major(code: int) -> bool:
    """True for a memory format whose elements lie in the order of their indices."""
    return code in _ROW_MAJOR


def place(path: str, dtype: DType, dims: tuple[int, ...], format_code: int, policy: FormatPolicy) -> Layout:
    """How a payload of ``dims`` in this memory format lies.

    Formats whose order is not known (FRACTAL_Z and its like) come back as plain: whether they may be compared is a question
    of the pair, answered by `reconcile`.

    Raises
    ------
    TensorError
        E_NZ_LOGICAL, or E_FORMAT for a code that is no memory format.
    """
    if policy == "flat" or format_code in _ROW_MAJOR:
        return Layout(dims, "plain", 0)
    if format_code not in NAMES:
        raise TensorError("E_FORMAT", path, f"expected a known memory format, got code {format_code}")
    if format_code not in _FRACTAL_NZ_C0 or 0 in dims:
        return Layout(dims, "plain", 0)
    if dtype.is_sub_byte:
        raise TensorError("E_FORMAT", path, f"the order of {dtype.name} in {format_name(format_code)} is not known")
    c0 = _FRACTAL_NZ_C0[format_code] or (32 if dtype.bits == 8 else 16)
    return Layout(_logical_shape(path, dims, c0), "fractal_nz", c0)


def _logical_shape(path: str, dims: tuple[int, ...], c0: int) -> tuple[int, ...]:
    if len(dims) == 4 and dims[3] == c0 and dims[2] % FRACTAL_ROWS == 0:
        return (dims[0], dims[2], dims[1] * c0)
    if len(dims) > 4 and dims[-1] == c0 and dims[-2] == FRACTAL_ROWS:
        return (*dims[:-4], dims[-3] * FRACTAL_ROWS, dims[-4] * c0)
    if len(dims) in (2, 3) and dims[-2] % FRACTAL_ROWS == 0 and dims[-1] % c0 == 0:
        return dims
    raise TensorError(
        "E_NZ_LOGICAL",
        path,
        f"dims {dims} are no FRACTAL_NZ shape: expected rows in multiples of {FRACTAL_ROWS} and columns in multiples of {c0}",
    )


def reconcile(golden: TensorInfo, target: TensorInfo, policy: FormatPolicy) -> tuple[TensorInfo, TensorInfo, tuple[str, ...]]:
    """Both sides of a pair as they may be compared, with the notes that the memory formats call for.

    A FRACTAL_NZ side whose shape is the other's, padded to whole blocks, is cropped to it.

    Raises
    ------
    TensorError
        E_FORMAT where an order is unknown, unless both sides have the same code and shape, or ``policy`` is flat.
    """
    golden, target = _cropped(golden, target.shape), _cropped(target, golden.shape)
    codes = (_order(golden), _order(target))
    unknown = [side for side, code in zip((golden, target), codes, strict=True) if code not in _ROW_MAJOR]
    if unknown and policy == "strict" and (codes[0] != codes[1] or golden.shape != target.shape):
        raise TensorError(
            "E_FORMAT",
            unknown[0].path,
            f"{format_name(codes[0])} {golden.shape} and {format_name(codes[1])} {target.shape}: "
            "expected the same format and shape on both sides",
        )
    if codes[0] != codes[1]:
        return golden, target, (f"W_FORMAT_DIFFERS: golden is {format_name(codes[0])}, target is {format_name(codes[1])}",)
    if unknown:
        return golden, target, (f"W_FORMAT_FLAT: both sides are {format_name(codes[0])}",)
    return golden, target, ()


def _order(info: TensorInfo) -> int:
    return ND if info.layout == "fractal_nz" else info.format_code


def _cropped(info: TensorInfo, shape: tuple[int, ...]) -> TensorInfo:
    if info.layout != "fractal_nz" or len(shape) < 2 or 0 in shape:
        return info
    padded = (_round_up(shape[-2], FRACTAL_ROWS), _round_up(shape[-1], info.c0))
    if info.shape[-2:] != padded or prod(info.shape[:-2]) != prod(shape[:-2]):
        return info
    return info._replace(shape=shape)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
