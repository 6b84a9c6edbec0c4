"""JSON from strangers: bounded in size and depth, keys that stand twice merged, every complaint on one line with its place."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fastcmp.errors import UsageError, reason_and_advice
from fastcmp.sources.wording import listing, printable

MAX_FILE_BYTES: Final = 2 * 1024**3
# Three levels are used. json.loads recurses, so anything deep is refused before it is parsed.
MAX_DEPTH: Final = 64

_CHUNK: Final = 1 << 20
_NOT_STRUCTURE: Final = bytes(sorted(set(range(256)) - set(b'"{}[]')))
# Not blocking on a FIFO, and never making a terminal our own.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass
class _DuplicateMerger:
    """`object_pairs_hook` that keeps what `json.loads` would drop: ``{"0": {"1": a}, "0": {"2": b}}`` names two tensors."""

    merged_keys: dict[str, None] = field(default_factory=dict)

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        merged: dict[str, Any] = {}
        self._merge(merged, pairs)
        return merged

    def _merge(self, into: dict[str, Any], pairs: Sequence[tuple[str, Any]]) -> None:
        for key, value in pairs:
            earlier = into.get(key)
            if key in into:
                self.merged_keys[key] = None
            if isinstance(earlier, dict) and isinstance(value, dict):
                self._merge(earlier, list(value.items()))
            else:
                into[key] = value


def read_bounded(path: str, *, limit: int = MAX_FILE_BYTES, roots: tuple[str, ...] = ()) -> bytes:
    """The bytes of a regular file that is no larger than ``limit`` and, if ``roots`` are given, lies inside one of them.

    Raises
    ------
    UsageError
        If it does not exist, may not be read, is not a regular file, is too large, or lies outside.
    """
    name = printable(path)
    if roots and not any(is_inside(path, root) for root in roots):
        raise UsageError(f"{name}: lies outside the allowed roots; add --root for it, if it is trusted [E_PATH_OUTSIDE]")
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{name}: not a regular file; name a metadata.json, a directory or a tensor file")
            if found.st_size > limit:
                raise UsageError(f"{name}: {found.st_size} bytes, expected at most {limit}; is this a metadata.json?")
            # What it asks for is allocated before anything is read, so not the limit at once.
            content = file.read(found.st_size + 1)
            while len(content) <= limit and (more := file.read(_CHUNK)):
                content += more
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name}: cannot be read: {reason_and_advice(error, 'check the path')}") from error
    if len(content) > limit:
        raise UsageError(f"{name}: more than {limit} bytes; is this a metadata.json?")
    return content


def is_inside(path: str, root: str) -> bool:
    """True if the real path of ``path`` is ``root``'s real path or lies below it."""
    real_root = os.path.realpath(root)
    real_path = os.path.realpath(path)
    return real_path == real_root or real_path.startswith(real_root.rstrip("/") + "/")


def parse(content: bytes, path: str) -> tuple[Any, list[str]]:
    """The JSON value, and a warning if keys stood twice.

    Objects under a key that stands twice are merged; of two other values the later one stays. A byte order mark is skipped,
    bytes that are not UTF-8 become surrogate escapes (a file name may hold them), ``NaN`` is a float like any other.

    Raises
    ------
    UsageError
        With line and column, if this is not JSON or is nested deeper than `MAX_DEPTH`.
    """
    name = printable(path)
    content = content.removeprefix(b"\xef\xbb\xbf")
    if _deepest_level(content) > MAX_DEPTH:
        raise UsageError(
            f"{name}: nested deeper than {MAX_DEPTH} levels, expected {{data_id: {{token_id: path}}}}; is this a metadata.json?"
        )
    merger = _DuplicateMerger()
    try:
        # Numbers are never valid here; as floats they cannot trip over the digit limit of int().
        value = json.loads(content.decode("utf-8", "surrogateescape"), object_pairs_hook=merger, parse_int=float)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise UsageError(f"{name}: {where}: not JSON: {error.msg}; the file is cut short or damaged, repair it or dump again") from error
    except MemoryError as error:
        raise UsageError(f"{name}: {len(content)} bytes of JSON do not fit into memory") from error
    warnings = []
    if merger.merged_keys:
        keys = listing(list(merger.merged_keys))
        warnings.append(f"{name}: keys that stand twice were merged, of two paths the later one counts: {keys}")
    return value, warnings


def _deepest_level(content: bytes) -> int:
    """How deep brackets nest outside strings; never less than what a parser would descend."""
    unescaped = content.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in content else content
    skeleton = np.frombuffer(unescaped.translate(None, _NOT_STRUCTURE), dtype=np.uint8)
    quotes = level = deepest = 0
    for start in range(0, skeleton.size, _CHUNK):
        chunk = skeleton[start : start + _CHUNK]
        quotes_before = quotes + np.cumsum(chunk == ord('"'))
        opening = (chunk == ord("{")) | (chunk == ord("["))
        closing = (chunk == ord("}")) | (chunk == ord("]"))
        steps = (opening.astype(np.int8) - closing.astype(np.int8)) * (quotes_before % 2 == 0)
        levels = level + np.cumsum(steps, dtype=np.int64)
        quotes, level, deepest = int(quotes_before[-1]), int(levels[-1]), max(deepest, int(levels.max()))
    return deepest
