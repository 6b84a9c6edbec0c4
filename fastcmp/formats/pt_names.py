"""What stands in the containers of a pickle: tensors by their path in it, and plain values beside them.

A path is the keys and positions from the outermost container on, joined by dots: ``state.layers.0.weight``, ``0.hidden``; of a tensor
that is alone it is "". Where two tensors would have one name, as those of ``{"a.b": x, "a": {"b": y}}``, theirs are written so that they
differ: a dot in a text becomes ``\\.``, and a key that is no text stands in brackets: ``a\\.b`` and ``a.b``, ``[0]`` and ``0``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.pt_values import Mapping, Refused, Tensor, kind_of

MOST_TENSORS: Final = 2**17
MOST_DEPTH: Final = 64
LONGEST_NAME: Final = 1024
# Containers may be parts of one another in so many ways that nobody can list what is in them.
MOST_VALUES: Final = 2**20
MOST_PLAIN_VALUES: Final = 1000
LONGEST_PLAIN_TEXT: Final = 4096

PlainValue = str | int | float | bool
_Path = tuple[object, ...]


def named_tensors(root: object) -> dict[str, Tensor | Refused]:
    """All tensors in the order of their containers, by name.

    Raises
    ------
    Malformed
        E_PICKLE if there are too many, a name is too long, is no name, or names two of them.
    """
    paths: list[_Path] = []
    tensors: list[Tensor | Refused] = []
    for path, value in _leaves(root):
        if isinstance(value, Tensor | Refused):
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


def plain_values(root: object) -> dict[str, PlainValue]:
    """Texts of up to 4096 characters, numbers and bools, by path as tensors are named; the first 1000 of them. Any others are left out."""
    found: dict[str, PlainValue] = {}
    for path, value in _leaves(root):
        if type(value) not in (str, int, float, bool) or (type(value) is str and len(value) > LONGEST_PLAIN_TEXT):
            continue
        try:
            name = _name(path)
        except Malformed:
            continue
        found[name] = value  # type: ignore[assignment]
        if len(found) == MOST_PLAIN_VALUES:
            break
    return found


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
    return enumerate(value) if type(value) is list or type(value) is tuple else None


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
    return str(key) if isinstance(key, str) else _NoName(kind_of(key))


def _names(paths: Iterable[_Path]) -> list[str]:
    paths = list(paths)
    names = [_name(path) for path in paths]
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
        part = key if isinstance(key, str) else repr(key)
        if is_exact:
            part = part.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[") if isinstance(key, str) else f"[{part}]"
        parts.append(part)
        length += len(part) + 1
    if length > LONGEST_NAME + 1:
        raise Malformed("E_PICKLE", f"the name of a tensor has {length - 1} characters, expected at most {LONGEST_NAME}")
    # Half of a surrogate pair is no character of any path or report.
    return ".".join(parts).encode("utf-8", "backslashreplace").decode()
