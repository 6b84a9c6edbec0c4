"""What a parser raises inside: it knows the byte, and whoever called it knows the path."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Final

from fastcmp.errors import TensorError

_PLAIN: Final = (int, float, bool, type(None))


class Malformed(Exception):
    """A file, or one tensor of it, cannot be used: an error code, and where and what in words."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail

    def __str__(self) -> str:
        return self.detail

    def of(self, path: str) -> TensorError:
        """The same about the file at ``path``."""
        return TensorError(self.code, path, self.detail)


def shortened(value: object, limit: int = 60) -> str:
    """Its repr on one line, cut where it is longer than ``limit`` characters.

    Of text, bytes, a number or a flat row of such; of whatever else may hold itself, or more than anybody can write down, only what it is.
    """
    if isinstance(value, tuple | list):
        is_flat = all(type(part) in _PLAIN for part in value[: limit + 1])
        value = f"a {type(value).__name__}" if not is_flat else value[: limit + 1]
        text = repr(value) if is_flat else str(value)
    elif isinstance(value, str | bytes):
        text = repr(value[: limit + 1])
    else:
        text = repr(value) if type(value) in _PLAIN else f"a {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def no_such_member(path: str, member: str, names: Collection[str]) -> TensorError:
    """E_MEMBER: no tensor of the file is meant by this name, or several are by none; with the first of those that there are."""
    wanted = f"a tensor {shortened(member)}" if member else "the name of one tensor"
    some = ", ".join(shortened(name) for name in islice(names, 3))
    return TensorError("E_MEMBER", path, f"expected {wanted}, the file holds {len(names)}{f' ({some} ...)' if some else ''}")
