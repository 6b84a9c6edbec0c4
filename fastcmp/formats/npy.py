"""`.npy` files: a header parser of our own. Nothing is evaluated, nothing unpickled, nothing believed that the file cannot hold.

Stricter than numpy: no duplicate keys, no escapes, no comments, no blanks but spaces and line feeds, dtypes only in the spelling that
`np.save` writes, and a header of 10 000 bytes at most, whatever `max_header_size` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.open_file import read_heads
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import ScanOptions

SUFFIXES = (".npy",)
MAGICS = (b"\x93NUMPY",)

_MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 10_000
_MAX_AXES: Final = 64
# np.save pads the header of any plain array to 128 bytes.
_FIRST_READ: Final = 128
_VERSIONS: Final = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}  # to the bytes of the length field

_DTYPE_NAMES: Final = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8", "u2": "uint16", "u4": "uint32",
    "u8": "uint64", "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128",
}  # fmt: skip
# Around the braces as Python, and so numpy, takes it: what stands behind a line feed is a line of its own, and needs one too.
_AROUND: Final = re.compile(r" *\{.*\}(?:(?: *\n)+| *)", re.DOTALL)
_TOKEN: Final = re.compile(r"'[^'\\\n]*'|\"[^\"\\\n]*\"|-?[0-9]+|True|False|[{}()\[\],:]|[ \n]+|.", re.DOTALL)


class Header(NamedTuple):
    """What a header says; ``data_offset`` counts from its own beginning."""

    dtype: str
    big_endian: bool
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    data_offset: int
    nbytes: int


# A dump repeats a handful of headers ten thousand times: 6 us to parse one, 0.1 us to look it up.
_KNOWN_LIMIT: Final = 4096
_known: dict[bytes, Header] = {}


def scan_batch(paths: Sequence[str], options: ScanOptions, kept: KeptFiles | None = None) -> list[TensorInfo | TensorError]:
    """What each header says, or why it cannot be used."""
    heads = read_heads(paths, _FIRST_READ, options.roots, kept)
    return [
        head if isinstance(head, TensorError) else _describe(path, head[0], head[1], options.roots, kept)
        for path, head in zip(paths, heads, strict=True)
    ]


def _describe(path: str, head: bytes, identity: FileIdentity, roots: tuple[str, ...], kept: KeptFiles | None) -> TensorInfo | TensorError:
    try:
        end = header_end(head)
        if end > len(head):  # a long header, or one that is cut
            opened = read_heads((path,), end, roots, kept)[0]
            if isinstance(opened, TensorError):
                return opened
            head, identity = opened
            end = header_end(head)
        if end > len(head):
            raise Malformed("E_TRUNCATED", f"byte {len(head)}: the file ends inside its header, expected {end} bytes")
        header = _known.get(head[:end]) or _remember(head[:end])  # as `parse_header`, without a call more: this is passed twice a pair
        warnings = check_size(header, identity.size)
    except Malformed as error:
        return error.of(path)
    return TensorInfo(
        path, header.data_offset, header.nbytes, header.dtype, header.shape, identity, header.strides, header.big_endian, warnings=warnings
    )


def header_end(head: bytes) -> int:
    """Where the data begins, or how many bytes it takes to know."""
    if not head.startswith(_MAGIC[: len(head)]):
        raise Malformed("E_BAD_MAGIC", f"byte 0: expected {_MAGIC!r}, got {head[:6]!r}")
    if len(head) < 8:
        return 8
    field = _VERSIONS.get(head[6:8])
    if field is None:
        raise Malformed("E_NPY_VERSION", f"byte 6: expected version 1.0, 2.0 or 3.0, got {head[6]}.{head[7]}")
    if len(head) < 8 + field:
        return 8 + field
    length = int.from_bytes(head[8 : 8 + field], "little")
    if length > _MAX_HEADER:
        raise Malformed("E_NPY_HEADER", f"byte 8: expected a header of at most {_MAX_HEADER} bytes, got {length}")
    return 8 + field + length


def check_size(header: Header, size: int) -> tuple[str, ...]:
    """Warnings about a file of ``size`` bytes; Malformed E_TRUNCATED if it ends before its payload does."""
    have = size - header.data_offset
    if have < header.nbytes:
        raise Malformed(
            "E_TRUNCATED",
            f"byte {header.data_offset}: shape {header.shape} in {header.dtype} needs {header.nbytes} bytes, the file has {have} left",
        )
    return () if have == header.nbytes else (f"W_TRAILING: {have - header.nbytes} bytes follow the payload",)


def parse_header(prefix: bytes) -> Header:
    """From the first bytes, up to `header_end`; Malformed with the code and the byte."""
    return _known.get(prefix) or _remember(prefix)


def _remember(prefix: bytes) -> Header:
    header = _parse(prefix, 8 + _VERSIONS[prefix[6:8]])
    if len(_known) >= _KNOWN_LIMIT:
        _known.clear()
    _known[prefix] = header
    return header


def _parse(prefix: bytes, start: int) -> Header:
    text = prefix[start:].decode("latin-1")
    fields = _parse_fields(_Tokens(text, start))
    if not _AROUND.fullmatch(text):
        raise Malformed("E_NPY_HEADER", f"byte {start}: expected a header that begins with '{{' and ends in a line feed, got other blanks")
    dtype, big_endian = _parse_descr(fields["descr"])
    shape = fields["shape"]
    if not isinstance(shape, tuple) or not isinstance(fields["fortran_order"], bool):
        raise Malformed("E_NPY_HEADER", f"byte {start}: expected a tuple as shape and True or False as fortran_order")
    if len(shape) > _MAX_AXES or min(shape, default=0) < 0:
        raise Malformed("E_BAD_DIMS", f"byte {start}: expected at most {_MAX_AXES} axes of 0 or more, got {shortened(shape)}")
    nbytes = DTYPES[dtype].bits // 8
    for extent in shape:
        nbytes *= extent
    if nbytes >= 2**63:
        raise Malformed("E_BAD_DIMS", f"byte {start}: shape {shortened(shape)} in {dtype} exceeds 2^63-1 bytes")
    strides = _fortran_strides(shape) if fields["fortran_order"] else None
    return Header(dtype, big_endian, shape, strides, len(prefix), nbytes)


def _fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """None where both orders are the same: at most one axis longer than 1."""
    if sum(extent > 1 for extent in shape) < 2 or 0 in shape:
        return None
    strides = [1]
    for extent in shape[:-1]:
        strides.append(strides[-1] * extent)
    return tuple(strides)


def _parse_descr(descr: object) -> tuple[str, bool]:
    if not isinstance(descr, str):
        raise Malformed("E_NPY_HEADER", f"descr: expected a string, got {shortened(descr)}")
    order, kind = descr[:1], descr[1:]
    if kind[:1] == "O" or descr == "O":
        raise Malformed("E_NPY_PICKLE", f"descr: expected a number, got {descr!r}, pickled objects")
    name = _DTYPE_NAMES.get(kind)
    if descr == "<V2":  # how np.save writes the bfloat16 of ml_dtypes; a true void of 2 bytes is |V2
        return "bfloat16", False
    if name is None or (order != "|" if kind.endswith("1") else order not in ("<", ">")):
        raise Malformed("E_NPY_KIND", f"descr: expected a plain number such as '<f4', got {shortened(descr)}")
    return name, order == ">"


class _Tokens:
    """The header's tokens without blanks, each with its byte in the file."""

    def __init__(self, text: str, start: int) -> None:
        # Not isspace(): that takes a no-break space for a blank, which numpy does not.
        self._matches: Iterator[re.Match[str]] = (match for match in _TOKEN.finditer(text) if match[0][0] not in " \n")
        self._start = start
        self.offset = start

    def next(self) -> str:
        match = next(self._matches, None)
        if match is None:
            return ""
        self.offset = self._start + match.start()
        return match[0]

    def expect(self, wanted: str) -> None:
        token = self.next()
        if token != wanted:
            raise self.unexpected(token, repr(wanted))

    def unexpected(self, token: str, wanted: str) -> Malformed:
        return Malformed(
            "E_NPY_HEADER", f"byte {self.offset}: expected {wanted}, got {shortened(token) if token else 'the end of the header'}"
        )


def _parse_fields(tokens: _Tokens) -> dict[str, object]:
    """``{'descr': ..., 'fortran_order': ..., 'shape': ...}`` in any order, each exactly once."""
    fields: dict[str, object] = {}
    tokens.expect("{")
    token = tokens.next()
    while token != "}":
        key = token[1:-1]
        if token[:1] not in ("'", '"') or key not in ("descr", "fortran_order", "shape") or key in fields:
            raise tokens.unexpected(token, "descr, fortran_order and shape, each once")
        tokens.expect(":")
        fields[key] = _parse_value(tokens)
        token = tokens.next()
        if token not in (",", "}"):
            raise tokens.unexpected(token, "',' or '}'")
        if token == ",":
            token = tokens.next()
    tokens.expect("")
    if len(fields) != 3:
        raise Malformed(
            "E_NPY_HEADER", f"byte {tokens.offset}: expected descr, fortran_order and shape, got {', '.join(fields) or 'none of them'}"
        )
    return fields


def _parse_value(tokens: _Tokens) -> object:
    token = tokens.next()
    if token in ("True", "False"):
        return token == "True"
    if token[:1] in ("'", '"') and len(token) > 1:
        return token[1:-1]
    if token == "[":
        raise Malformed("E_NPY_KIND", f"byte {tokens.offset}: expected a plain number, got a structured dtype")
    if token != "(":
        raise tokens.unexpected(token, "a string, True, False or a tuple of integers")
    return _parse_shape(tokens)


def _parse_shape(tokens: _Tokens) -> tuple[int, ...]:
    extents: list[int] = []
    token = tokens.next()
    while token != ")":
        digits = token.removeprefix("-")
        if not digits.isdecimal() or (digits[0] == "0" and len(digits) > 1):
            raise tokens.unexpected(token, "an integer")
        if len(digits) > 19:
            raise Malformed("E_BAD_DIMS", f"byte {tokens.offset}: expected a length below 2^63, got {shortened(token)}")
        extents.append(int(token))
        token = tokens.next()
        if token == ")" and len(extents) == 1:
            raise tokens.unexpected(token, "',' (a tuple of one)")
        if token not in (",", ")"):
            raise tokens.unexpected(token, "',' or ')'")
        if token == ",":
            token = tokens.next()
    return tuple(extents)
