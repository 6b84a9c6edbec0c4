"""`.safetensors` files: many tensors behind one JSON header. What that states is checked before it is used.

    8 bytes, little endian: the length of the header
    the header: {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {text: text}}
    the payloads; offsets count from behind the header

The header is read entry by entry, so that none can be made of anything but descriptions, whatever it is made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

from fastcmp.dtypes import DTYPES
from fastcmp.formats.file_parts import Container, FileParts
from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.tensor_info import TensorInfo

SUFFIXES = (".safetensors",)
# The length of a header has no fixed beginning: such files are known by their name.
MAGICS: tuple[bytes, ...] = ()

_LENGTH_BYTES: Final = 8
_MAX_HEADER: Final = 100_000_000  # as the format's own reader has it
_MAX_TENSORS: Final = 2**20
_MAX_ENTRY: Final = 4096
_MAX_NAME: Final = 4096
_MAX_AXES: Final = 64
_METADATA: Final = "__metadata__"
_FIELDS: Final = ("dtype", "shape", "data_offsets")

_DTYPE_NAMES: Final = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32", "U64": "uint64",
    "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn",
    "F4": "float4_e2m1fn", "C64": "complex64",
}  # fmt: skip

# The fields of a tensor hold no objects, and no text with a brace in it.
_BODY: Final = re.compile(r"\{[^{}]*\}")
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


class _Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    warnings: tuple[str, ...] = ()
    error: str = ""


_Entries = dict[str, _Entry]


class _Header(NamedTuple):
    entries: _Entries
    data_offset: int


def _open(parts: FileParts) -> _Header:
    head = bytes(parts.read(0, min(_LENGTH_BYTES, parts.size)))
    length = _header_length(head, parts.size)
    return _parse(bytes(parts.read(_LENGTH_BYTES, length)), parts.size)


def _header_length(head: bytes, size: int) -> int:
    if size < _LENGTH_BYTES:
        raise Malformed("E_TRUNCATED", f"byte {size}: the file ends inside the length of its header, expected {_LENGTH_BYTES} bytes")
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    if length > _MAX_HEADER:
        raise Malformed("E_SAFETENSORS", f"byte 0: expected a header of at most {_MAX_HEADER} bytes, got {length}")
    if length > size - _LENGTH_BYTES:
        raise Malformed("E_TRUNCATED", f"byte {_LENGTH_BYTES}: the header takes {length} bytes, the file has {size - _LENGTH_BYTES} left")
    return length


def _parse(header: bytes, size: int) -> _Header:
    """All tensors of a header, in its order."""
    text = _Text(header.decode("latin-1"))  # a byte a character, whatever stands there; names are read as UTF-8
    data_offset = _LENGTH_BYTES + len(header)
    entries: _Entries = {}
    for name in text.names():
        if name == _METADATA:
            text.skip_metadata()
            continue
        if name in entries or not name or "\0" in name:
            raise text.unexpected(f"a name that no other tensor has, got {shortened(name)}")
        entries[name] = _entry(name, text.body(), size - data_offset)
        if len(entries) > _MAX_TENSORS:
            raise text.unexpected(f"at most {_MAX_TENSORS} tensors")
    text.expect_end()
    _refuse_overlaps(entries)
    return _Header(entries, data_offset)


class _Text:
    """The header as text, and how far it is read. Never more is made of it than one name or one body."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._is_metadata = False
        self._decoder = json.JSONDecoder()

    def names(self) -> Iterator[str]:
        """Every name of an object; the caller reads what stands behind it."""
        self._take("{")
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            yield self._string()
            if self._take(",}") == "}":
                return

    def body(self) -> str:
        """An object behind a colon, as it stands there."""
        self._take(":")
        self._peek()
        found = _BODY.match(self._text, self._at, self._at + _MAX_ENTRY)
        if found is None:
            raise self.unexpected("{dtype, shape, data_offsets}")
        self._at = found.end()
        return found[0]

    def skip_metadata(self) -> None:
        """An object of texts behind a colon."""
        self._take(":")
        self._is_metadata = True
        for _ in self.names():
            self._take(":")
            self._string()
        self._is_metadata = False

    def expect_end(self) -> None:
        """Nothing but blanks follows, which writers pad with."""
        if self._peek():
            raise self.unexpected("the end of the header")

    def unexpected(self, expected: str) -> Malformed:
        """What stands here instead of what was expected."""
        offset = _LENGTH_BYTES + self._at
        found = shortened(self._text[self._at : self._at + 40]) if self._at < len(self._text) else "the end"
        return Malformed("E_SAFETENSORS", f"byte {offset}: expected {expected}, before {found}")

    def _peek(self) -> str:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None
        self._at = blanks.end()
        return self._text[self._at : self._at + 1]

    def _take(self, wanted: str) -> str:
        found = self._peek()
        if not found or found not in wanted:
            raise self.unexpected(" or ".join(map(repr, wanted)))
        self._at += 1
        return found

    def _string(self) -> str:
        if self._peek() != '"':
            raise self.unexpected("a text in quotes")
        try:
            _, end = self._decoder.raw_decode(self._text, self._at)
            quoted = self._text[self._at : end]
            text = str(json.loads(quoted.encode("latin-1"))) if end - self._at <= _MAX_NAME else None
            if text is not None:
                text.encode("utf-8")
        except ValueError:
            raise self.unexpected("a text in quotes") from None
        if text is None and not self._is_metadata:
            raise self.unexpected(f"a name of at most {_MAX_NAME} bytes")
        self._at = end
        return text or ""


def _entry(name: str, body: str, payload_bytes: int) -> _Entry:
    where = f"tensor {shortened(name)}"
    fields = _fields_of(body, where)
    dtype, shape, offsets = (fields[field] for field in _FIELDS)
    stored = _DTYPE_NAMES.get(dtype) if isinstance(dtype, str) else None
    if not _are_lengths(shape) or len(shape) > _MAX_AXES:
        raise Malformed("E_BAD_DIMS", f"{where}: expected at most {_MAX_AXES} axes of 0 or more, got {shortened(shape)}")
    if not _are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Malformed("E_OBJ_RANGE", f"{where}: expected [begin, end] in data_offsets, got {shortened(offsets)}")
    begin, end = offsets
    if end > payload_bytes:
        raise Malformed("E_TRUNCATED", f"{where}: expected bytes up to {end} of the payload, the file has {payload_bytes}")
    if stored is None:  # that one tensor cannot be read, the others can
        return _Entry("", tuple(shape), begin, end, error=f"{where}: expected one of {', '.join(_DTYPE_NAMES)}, got {shortened(dtype)}")
    count = 1
    for extent in shape:
        count *= extent
    needed = DTYPES[stored].payload_bytes(count, packed=True)
    if needed >= 2**63:
        raise Malformed("E_BAD_DIMS", f"{where}: shape {shortened(shape)} in {dtype} exceeds 2^63-1 bytes")
    if needed != end - begin:
        code = "E_SIZE_SHORT" if needed > end - begin else "E_SIZE_LONG"
        raise Malformed(code, f"{where}: shape {tuple(shape)} in {dtype} needs {needed} bytes, data_offsets give {end - begin}")
    is_packed = DTYPES[stored].is_sub_byte
    return _Entry(stored, tuple(shape), begin, end, (f"W_PACKING_ASSUMED: {stored}, low bits first",) if is_packed else ())


def _fields_of(body: str, where: str) -> dict[str, Any]:
    try:
        pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise Malformed("E_SAFETENSORS", f"{where}: not JSON: {shortened(body)}") from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or set(fields) != set(_FIELDS):
        raise Malformed("E_SAFETENSORS", f"{where}: expected {', '.join(_FIELDS)}, each once, got {shortened(', '.join(map(str, fields)))}")
    return fields


def _are_lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)


def _refuse_overlaps(entries: _Entries) -> None:
    in_order = sorted((entry.begin, entry.end, name) for name, entry in entries.items() if entry.end > entry.begin)
    for (_, end, before), (begin, _, name) in pairwise(in_order):
        if begin < end:
            raise Malformed(
                "E_OBJ_RANGE", f"tensor {shortened(name)}: begins at byte {begin}, inside {shortened(before)}, which ends at {end}"
            )


def _describe(parts: FileParts, header: _Header, member: str) -> TensorInfo:
    entry = header.entries[member]
    if entry.error:
        raise Malformed("E_DTYPE", entry.error)
    return TensorInfo(
        parts.path,
        header.data_offset + entry.begin,
        entry.end - entry.begin,
        entry.dtype,
        entry.shape,
        parts.identity,
        packed=DTYPES[entry.dtype].is_sub_byte,
        warnings=entry.warnings,
    )


SAFETENSORS: Final = Container(_open, lambda header: header.entries, _describe)
