"""What stands in the containers of a pickle: tensors by their path in it.

A path is the keys and positions from the outermost container on, joined by dots: ``state.layers.0.weight``, ``0.hidden``; of a tensor
that is alone it is "". Where two tensors would have one name, as those of ``{"a.b": x, "a": {"b": y}}``, theirs are written so that they
differ: a dot in a text becomes ``\\.``, and a key that is no text stands in brackets: ``a\\.b`` and ``a.b``, ``[0]`` and ``0``. What a path
of a report cannot hold is written as an escape: a NUL as ``\\x00``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.pt_values import DTypeName, Mapping, Refused, Storage, Tensor, Unordered, kind_of

MOST_TENSORS: Final = 2**17
MOST_DEPTH: Final = 64
LONGEST_NAME: Final = 1024
# Containers may be parts of one another in so many ways that nobody can list what is in them.
MOST_VALUES: Final = 2**20
# One tensor may stand at a hundred thousand places under a long key.
MOST_CHARACTERS: Final = 2**25

_Path = tuple[object, ...]
# In a path, behind the keys that lead to a set: what is in it has no name.
_IN_A_SET: Final = object()


def named_tensors(root: object) -> dict[str, Tensor | Refused]:
    """All tensors in the order of their containers, by name.

    Tensors without a name, those of a set, and elements without a shape, which are a storage, are Refused.

    Raises
    ------
    Malformed
        E_PICKLE if there are too many, a name is too long, all of them are, one is no name, or names two of them.
    """
    paths: list[_Path] = []
    tensors: list[Tensor | Refused] = []
    for path, value in _leaves(root):
        if isinstance(value, Tensor | Refused | Storage):
            if _IN_A_SET in path:
                path = path[: path.index(_IN_A_SET)]
                if paths and paths[-1] == path:
                    continue
                value = _OF_A_SET
            elif isinstance(value, Storage):
                value = _BARE_STORAGE
            if len(tensors) == MOST_TENSORS:
                raise Malformed("E_PICKLE", f"more than {MOST_TENSORS} tensors")
            paths.append(path)
            tensors.append(value)
    names = _names(paths)
    named = dict(zip(names, tensors, strict=True))
    if len(named) < len(tensors):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise Malformed("E_PICKLE", f"two tensors have the name {shortened(twice)}, expected one for each")
    return named


def _leaves(root: object) -> Iterator[tuple[_Path, object]]:
    """Every value that is no container, with the keys that lead to it."""
    following: list[Iterator[tuple[object, object]]] = [iter([("", root)])]
    path: list[object] = []
    left = MOST_VALUES
    while following:
        step = next(following[-1], None)
        if step is None:
            following.pop()
            if path:
                path.pop()
            continue
        left -= 1
        if left < 0:
            raise Malformed("E_PICKLE", f"more than {MOST_VALUES} values, counting those that stand in several containers once for each")
        key, value = step
        inside = _items(value)
        if type(value) is Mapping:  # equal keys cost time, too
            left -= max(0, len(value.keys) - MOST_TENSORS)
        if inside is None:
            yield (*path, key)[1:], value
            continue
        if len(following) > MOST_DEPTH:
            raise Malformed("E_PICKLE", f"containers are nested deeper than {MOST_DEPTH}")
        following.append(inside)
        path.append(key)


def _items(value: object) -> Iterator[tuple[object, object]] | None:
    if type(value) is Mapping:
        latest: dict[object, object] = {_key(key): item for key, item in zip(value.keys, value.values, strict=True)}
        return iter(latest.items())
    if type(value) is Unordered:
        return ((_IN_A_SET, item) for item in value.values)
    return enumerate(value) if type(value) is list or type(value) is tuple else None


_OF_A_SET: Final = Refused(
    "E_TENSOR_KIND", "a set that holds tensors, which have no names in it, expected a list, a tuple or a dict; save a list of them"
)
_BARE_STORAGE: Final = Refused("E_TENSOR_KIND", "a storage, which has no shape, expected a tensor of it; save the tensor that it is from")


@dataclass(frozen=True, slots=True)
class _Word:
    """A key that is written as ``text`` and is none: a dtype."""

    text: str

    def __repr__(self) -> str:
        return self.text


class _NoName:
    """A key that no name can be made of; each is one of its own."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def _key(key: object) -> object:
    """The key, if it can be written down and compared quickly: text, a number, None, or a short tuple of those."""
    if key is None or type(key) in (str, int, float, bool):
        return key
    if type(key) is tuple and len(key) <= MOST_DEPTH and all(part is None or type(part) in (str, int, float, bool) for part in key):
        return key
    return _Word(f"torch.{key}") if type(key) is DTypeName else _NoName(kind_of(key))


def _names(paths: Iterable[_Path]) -> list[str]:
    paths = list(paths)
    names = []
    left = MOST_CHARACTERS
    for path in paths:
        name = _name(path)
        left -= len(name)
        if left < 0:
            raise Malformed("E_PICKLE", f"the names of all tensors together have more than {MOST_CHARACTERS} characters")
        names.append(name)
    if len(set(names)) < len(names):
        counts = Counter(names)
        names = [name if counts[name] == 1 else _name(path, is_exact=True) for name, path in zip(names, paths, strict=True)]
    return names


def _name(path: _Path, *, is_exact: bool = False) -> str:
    length = 0
    parts: list[str] = []
    for key in path:
        if isinstance(key, _NoName):
            raise Malformed("E_PICKLE", f"a tensor stands under a key of kind {shortened(key.kind)}, expected text or a number")
        # A tuple may hold one long text many times.
        length += 1 + (
            len(key) if isinstance(key, str) else sum(len(part) for part in key if type(part) is str) if type(key) is tuple else 0
        )
        if length > LONGEST_NAME + 1:
            raise _too_long(length - 1)
        part = key if isinstance(key, str) else repr(key)
        if is_exact:
            part = part.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[") if isinstance(key, str) else f"[{part}]"
        parts.append(part)
    name = ".".join(parts)
    if len(name) > LONGEST_NAME:
        raise _too_long(len(name))
    # Half of a surrogate pair is no character of any path or report, and a NUL ends the path in the place of a tensor.
    return name.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _too_long(length: int) -> Malformed:
    return Malformed("E_PICKLE", f"the name of a tensor has {length} characters or more, expected at most {LONGEST_NAME}")
