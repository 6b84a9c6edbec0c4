"""`.bin` files for tests, built byte by byte and not by the code under test."""

from __future__ import annotations

import struct

F6 = struct.pack("<6f", 1, 2, 3, -4, 5, 6)


def header(length: int, format_code: int, dtype: int, dims: str, objects: str) -> bytes:
    count = int("$Object" in objects)
    return (
        f"$Version=1.0\n$Object.Count={count}\n$Object.Length={length}\nformat={format_code}\ndtype={dtype}\ndims={dims}\n{objects}$End=1\n"
    ).encode()


def record(payload: bytes, dtype: int, dims: str, format_code: int = 2) -> bytes:
    return header(len(payload), format_code, dtype, dims, f"$Object.data=0,{len(payload)}\n") + payload


OK_2X3 = record(F6, 0, "2,3")
OK_SCALAR = record(F6[:4], 0, "")
OK_EMPTY = header(0, 2, 0, "0,3", "")
OK_UPPER = OK_2X3.replace(b"$End=1", b"$END=1")
OK_WITHOUT_OBJECTS = b"dtype=0\ndims=2,3\n$End=1\n" + F6
