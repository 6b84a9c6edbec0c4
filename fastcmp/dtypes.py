"""One row per dtype: how it lies in a file, what it is worth, and what each format calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["float", "int", "bool", "complex"]


@dataclass(frozen=True, slots=True)
class DType:
    """A storage dtype.

    Attributes
    ----------
    name : str
        The word used in reports, options and `TensorInfo.dtype`.
    kind : {"float", "int", "bool", "complex"}
    bits : int
        Of one element as stored in packed form (4 for int4); complex counts both parts.
    view : str
        numpy dtype (native order) in which one element's bytes are mapped; sub-byte types when unpacked one to a byte.
    significand_bits : int
        Including the hidden bit; of one part for complex; value bits for integers. The narrower dtype of a pair is the one with fewer.
    min_exponent, max_exponent : int
        Floats: exponents of the smallest and the largest normal value; 0 for others.
    acl_code : int or None
        Code in the `dtype=` attribute of a `.bin` file (aclDataType).
    experimental : bool
        The packing order has not been checked against real hardware.
    """

    name: str
    kind: Kind
    bits: int
    view: str
    significand_bits: int
    min_exponent: int = 0
    max_exponent: int = 0
    acl_code: int | None = None
    experimental: bool = False

    @property
    def is_sub_byte(self) -> bool:
        """True if several elements may share a byte."""
        return self.bits % 8 != 0

    def payload_bytes(self, element_count: int, *, packed: bool = False) -> int:
        """Bytes that ``element_count`` elements take in a file, packed or one element to a byte."""
        if self.is_sub_byte and not packed:
            return element_count
        return (element_count * self.bits + 7) // 8


_ROWS: Final = (
    DType("float64", "float", 64, "f8", 53, -1022, 1023, acl_code=11),
    DType("float32", "float", 32, "f4", 24, -126, 127, acl_code=0),
    DType("float16", "float", 16, "u2", 11, -14, 15, acl_code=1),
    DType("bfloat16", "float", 16, "u2", 8, -126, 127, acl_code=27),
    DType("float8_e5m2", "float", 8, "u1", 3, -14, 15, acl_code=35),
    DType("float8_e4m3fn", "float", 8, "u1", 4, -6, 8, acl_code=36),
    DType("float8_e8m0fnu", "float", 8, "u1", 1, -127, 127, acl_code=37),
    DType("float6_e3m2fn", "float", 6, "u1", 3, -2, 4, acl_code=38, experimental=True),
    DType("float6_e2m3fn", "float", 6, "u1", 4, 0, 2, acl_code=39, experimental=True),
    DType("float4_e2m1fn", "float", 4, "u1", 2, 0, 2, acl_code=40, experimental=True),
    DType("int8", "int", 8, "i1", 7, acl_code=2),
    DType("int16", "int", 16, "i2", 15, acl_code=6),
    DType("int32", "int", 32, "i4", 31, acl_code=3),
    DType("int64", "int", 64, "i8", 63, acl_code=9),
    DType("uint8", "int", 8, "u1", 8, acl_code=4),
    DType("uint16", "int", 16, "u2", 16, acl_code=7),
    DType("uint32", "int", 32, "u4", 32, acl_code=8),
    DType("uint64", "int", 64, "u8", 64, acl_code=10),
    DType("int4", "int", 4, "u1", 3, acl_code=29, experimental=True),
    DType("uint1", "int", 1, "u1", 1, acl_code=30, experimental=True),
    DType("bool", "bool", 8, "u1", 1, acl_code=12),
    DType("complex32", "complex", 32, "u4", 11, -14, 15, acl_code=33),
    DType("complex64", "complex", 64, "c8", 24, -126, 127, acl_code=16),
    DType("complex128", "complex", 128, "c16", 53, -1022, 1023, acl_code=17),
)

DTYPES: Final[dict[str, DType]] = {row.name: row for row in _ROWS}
BY_ACL_CODE: Final[dict[int, DType]] = {row.acl_code: row for row in _ROWS if row.acl_code is not None}


def narrower(first: str, second: str) -> str:
    """The name of the dtype with fewer significand bits; the first where they are equal."""
    return second if DTYPES[second].significand_bits < DTYPES[first].significand_bits else first
