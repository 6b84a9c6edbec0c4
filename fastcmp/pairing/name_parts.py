"""What one name says of its place: the layer, the operation inside it, and which of its tensors it is.

As `fastcmp.analysis.names`, by the same expressions, without Arrow.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from fastcmp import name_expressions as expressions
from fastcmp.name_expressions import INPUT, INSIDE, MOST_DIGITS, OUTPUT, STALE, operation

# A longer name says nothing: an expression may look at it once for each of its characters.
LONGEST_NAME: Final = 1000
_DIGITS: Final = re.compile(r"[0-9]+")
_LAYERS: Final = tuple(re.compile(expression) for expression in (expressions.NUMBER_FIRST, expressions.NUMBER_LAST))
_PART: Final = re.compile(expressions.PART)
_SAVED_WHEN: Final = re.compile(expressions.SAVED_WHEN)
_SEPARATORS: Final = re.compile(expressions.SEPARATORS)
_INDEX_IN_BRACKETS: Final = re.compile(r"\[[^\[\]]*\]$")
_INDEX: Final = re.compile(r"([0-9]{1,6})\]?$")
# One operation of an op tree: ``0_LinearOperation``.
_NUMBERED: Final = re.compile(r"(?:^|/)[0-9]{1,6}_([^/]+)$")
# The layer of an op tree in a name itself, not in its pattern.
_TREE_LAYER: Final = re.compile(expressions.NUMBER_FIRST.replace("(?P<layer>0)", "(?P<layer>[0-9]{1,6})"))


class NameParts(NamedTuple):
    """What a name says.

    Attributes
    ----------
    layer : int
        -1 where the name has none.
    part : int
        OUTPUT (also where the name does not say), INPUT, INSIDE or STALE.
    number : int
        Of several inputs or outputs, which; 0 where the name does not say.
    path : str
        The operation inside its layer, ``self_attn.q_proj`` or ``1_Attention/0_LinearOperation``; "" is the layer itself.
    words : tuple of str
        Of an op tree the operations of the path without their numbers, in small letters, outermost first; () for a name of another kind.
    """

    layer: int
    part: int
    number: int
    path: str
    words: tuple[str, ...]


def parts_of(name: str) -> NameParts:
    """Read one name."""
    if len(name) > LONGEST_NAME:
        return NameParts(-1, OUTPUT, 0, name, ())
    owner, part, said = _split(name)
    index = _INDEX.search(said)
    path = operation(owner)
    is_tree = _NUMBERED.search(owner) is not None
    words = tuple(word.partition("_")[2].lower() if word[:1].isdigit() else word.lower() for word in path.split("/")) if is_tree else ()
    return NameParts(_layer(name), part, int(index[1]) if index else 0, path, words if path else ("",) * is_tree)


def model_of(name: str) -> str:
    """Of an op tree what stands before the layer, ``0_Prefill/`` of ``0_Prefill/3_DecoderLayer/1_Attention``; "" for nothing."""
    found = _TREE_LAYER.match(name) if len(name) <= LONGEST_NAME else None
    return found["before"] if found else ""


def _layer(name: str) -> int:
    run = _layer_run(_DIGITS.sub("0", name))
    if run < 0:
        return -1
    digits: str = _DIGITS.findall(name)[run]
    return int(digits) if len(digits) <= MOST_DIGITS else -1


@lru_cache(maxsize=4096)
def _layer_run(pattern: str) -> int:
    """The how manyth number of such a name is its layer; -1 for none."""
    for expression in _LAYERS:
        found = expression.match(pattern)
        if found:
            return found["before"].count("0")
    return -1


def _split(name: str) -> tuple[str, int, str]:
    """The operation that a tensor belongs to, which part of it the tensor is, and how the name says that."""
    found = _PART.match(name)
    if found is None:
        owner = _INDEX_IN_BRACKETS.sub("", name)
        return _SEPARATORS.sub("", owner), OUTPUT, name[len(owner) :]
    saved = _SAVED_WHEN.match(found["owner"])
    owner, when = (saved["owner"], saved["when"].lower()) if saved else (found["owner"], "")
    word = found["word"].lower()
    if word not in ("in", "out") or (word == "in" and when == "after"):
        part = INSIDE
    elif word == "in":
        part = INPUT
    else:
        part = STALE if when == "before" else OUTPUT
    return _SEPARATORS.sub("", owner), part, name[found.start("word") :]
