"""How the parts of a tensor that several ranks hold make up the whole, in a small notation: ``"b s h[tp] d"``.

One word for each axis of the tensor, in the order of its shape. Behind a name, in brackets, the ways in which ranks divide the work:

| written | means |
|---|---|
| ``h[tp]`` | each rank of ``tp`` holds a part of the axis, in the order of the ranks |
| ``s[cp,sp]`` | parts of parts; the way that is named first varies slowest |
| ``s[cp:zigzag]`` | 2n chunks of one length; rank i holds chunk i and chunk 2n-1-i, as causal context parallelism has it |
| ``d[tp:partial]`` | each rank holds a summand of the whole axis |
| ``# tp:replicated`` | behind all axes: each rank holds the whole, and all must be equal |
| ``# tp:partial`` | behind all axes: each rank holds a summand |
| ``# tp:first`` | behind all axes: each rank holds the whole, and the first counts, unchecked |
| ``v[tp]=32000`` | what is beyond the first 32000 is padding, and left out |
| ``b=1:3`` | only positions 1 and 2 are compared |

A name may be any word, also with ``*``, ``(`` and ``)`` in it (``(heads*width)[tp]``); an axis of length 1 may be written ``1``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple, cast

from fastcmp.errors import UsageError
from fastcmp.formats.malformed import shortened

Division = Literal["part", "zigzag", "partial"]
Rest = Literal["replicated", "partial", "first"]

_MAX_TEXT: Final = 500
_WORD: Final = re.compile(r"(?P<name>[\w*()]+)(?:\[(?P<ways>[^\[\]]*)\])?(?:=(?:(?P<start>[0-9]{1,18}):)?(?P<stop>[0-9]{1,18}))?", re.ASCII)
_WAY: Final = re.compile(r"([A-Za-z]\w{0,30})(?::(zigzag|partial))?", re.ASCII)
_REST: Final = re.compile(r"([A-Za-z]\w{0,30}):(replicated|partial|first)", re.ASCII)


def _shown(text: str) -> str:
    return shortened(text, 120)


class Way(NamedTuple):
    """One way in which ranks divide an axis."""

    name: str
    division: Division


class Dim(NamedTuple):
    """One axis of the whole tensor; positions [start, stop) of it are compared, all where ``stop`` is None."""

    name: str
    ways: tuple[Way, ...] = ()
    start: int = 0
    stop: int | None = None


class Dims(NamedTuple):
    """A notation, read.

    Attributes
    ----------
    dims : tuple of Dim
    rest : tuple of (str, str)
        Ways that divide no axis, and what each rank of them holds.
    """

    dims: tuple[Dim, ...]
    rest: tuple[tuple[str, Rest], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the axes, in their order."""
        return tuple(dim.name for dim in self.dims)


@lru_cache(maxsize=256)
def parse_dims(text: str) -> Dims:
    """Read a notation.

    Raises
    ------
    UsageError
        With the word that is wrong.
    """
    if len(text) > _MAX_TEXT:
        raise UsageError(f"dims: {len(text)} characters, expected at most {_MAX_TEXT}")
    axes, _, rest = text.partition("#")
    dims = tuple(_dim(word, text) for word in axes.split())
    others = tuple(_rest(word, text) for word in rest.split())
    names = [dim.name for dim in dims if dim.name != "1"]
    ways = [way.name for dim in dims for way in dim.ways] + [name for name, _ in others]
    for kind, listed in (("axis", names), ("way to divide", ways)):
        twice = next((name for name in listed if listed.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"dims {_shown(text)}: {kind} {_shown(twice)} stands twice")
    if not ways and not dims:
        raise UsageError(f"dims {_shown(text)}: expected one word for each axis, such as 'b s h[tp] d'")
    return Dims(dims, others)


def _dim(word: str, text: str) -> Dim:
    found = _WORD.fullmatch(word)
    if found is None:
        raise UsageError(f"dims {_shown(text)}: {_shown(word)}: expected a name, such as h, h[tp], s[cp:zigzag] or v[tp]=32000")
    start, stop = int(found["start"] or 0), int(found["stop"]) if found["stop"] else None
    if stop is not None and start >= stop:
        raise UsageError(f"dims {_shown(text)}: {_shown(word)}: expected positions start:stop with start below stop")
    ways = () if found["ways"] is None else tuple(_way(way.strip(), word, text) for way in found["ways"].split(","))
    if any(way.division == "zigzag" for way in ways) and sum(way.division != "partial" for way in ways) > 1:
        raise UsageError(f"dims {_shown(text)}: {_shown(word)}: an axis in zigzag chunks cannot be divided in another way too")
    return Dim(found["name"], ways, start, stop)


def _way(way: str, word: str, text: str) -> Way:
    found = _WAY.fullmatch(way)
    if found is None:
        raise UsageError(
            f"dims {_shown(text)}: {_shown(word)}: expected a way to divide, such as tp, cp:zigzag or tp:partial, got {_shown(way)}"
        )
    return Way(found[1], cast(Division, found[2] or "part"))


def _rest(word: str, text: str) -> tuple[str, Rest]:
    found = _REST.fullmatch(word)
    if found is None:
        raise UsageError(f"dims {_shown(text)}: {_shown(word)}: expected behind '#' such as tp:replicated, tp:partial or tp:first")
    return found[1], cast(Rest, found[2])
