"""Outputs of operations of the acceleration library and outputs of torch modules, by a table of what stands for what."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice
from typing import Any, Final, Literal

from fastcmp.formats import TensorInfo, scan_batch
from fastcmp.name_expressions import OUTPUT
from fastcmp.pairing.candidates import MOST_TENSORS, row_length
from fastcmp.pairing.layer_numbers import Parsed, read_names, target_layers
from fastcmp.pairing.links import Link, Matching, Name, shown
from fastcmp.pairing.name_parts import NameParts
from fastcmp.pairing.token_shift import shifted
from fastcmp.pairing.two_models import prefill_and_decode
from fastcmp.sources.natural_order import natural_key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RULE: Final = "ops"
_TABLE: Final = "operations.toml"
_MOST_EXAMPLES: Final = 3
_AT_ONCE: Final = 2048
_MOST_KNOWN: Final = 65536
_DIGITS: Final = re.compile(r"[0-9]+")
# What a torch model computes together: where a dump has some of them only, the n-th operation is not known to be the n-th module.
_TOGETHER: Final = {
    "q_proj": ("k_proj", "v_proj"), "k_proj": ("q_proj", "v_proj"), "v_proj": ("q_proj", "k_proj"), "gate_proj": ("up_proj",),
}  # fmt: skip
_PARTS: Final[frozenset[str]] = frozenset(_TOGETHER).union(*_TOGETHER.values())
# How msprobe goes on behind the name of a module: ``mlp.down_proj.Linear.forward.0``.
_CALL: Final = re.compile(r"(?:^|\.)[^./]+\.forward\.[0-9]+$")


@dataclass
class Row:
    """One row of the table, see there."""

    operations: list[str]
    modules: list[str]
    inside: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    outputs: Literal["first", "each"] = "first"

    def __post_init__(self) -> None:
        # Both are asked for every name of every layer, and names of layers are alike.
        self._known: dict[tuple[str, ...], bool] = {}
        self._by_end: dict[str, list[tuple[int, str]]] = {}
        for number, module in enumerate(self.modules):
            self._by_end.setdefault(module.rpartition(".")[2], []).append((number, module))

    def is_operation(self, parts: NameParts) -> bool:
        """True for an output of an operation that this row speaks of."""
        if parts.number and self.outputs == "first":
            return False
        known = self._known.get(parts.words)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[parts.words] = self._speaks_of(parts.words)
        return known

    def _speaks_of(self, words: tuple[str, ...]) -> bool:
        *around, own = words
        return (
            _any(own, self.operations)
            and (not self.inside or any(_any(word, self.inside) for word in around))
            and not any(_any(word, self.outside) for word in around)
        )

    def module_number(self, parts: NameParts) -> int:
        """Where a module stands among those of the row; -1 for none of them, or another output than its first."""
        if parts.number:
            return -1
        path = _CALL.sub("", parts.path) if ".forward." in f".{parts.path}" else parts.path
        for number, module in self._by_end.get(path.rpartition(".")[2], ()):
            if path == module or (module and path.endswith(f".{module}")):
                return number
        return -1


@cache
def table() -> Mapping[str, tuple[Row, ...]]:
    """The rows for what lies in a ``layer``, and for the rest of the ``model``."""
    with open(os.path.join(os.path.dirname(__file__), _TABLE), "rb") as file:
        document: dict[str, list[dict[str, Any]]] = tomllib.load(file)
    return {scope: tuple(Row(**row) for row in rows) for scope, rows in document.items()}


def operation_links(matching: Matching) -> list[Link]:
    """A link for each output of an operation that the table finds a module for, whichever side has which.

    In one layer, a row links only as many outputs as modules, each kind of module once: else what belongs together is not known.
    """
    golden, target = (read_names(side.by_name) for side in (matching.golden, matching.target))
    layers = target_layers(matching, golden, target)
    of_golden = _outputs(golden, matching.golden.free)
    in_golden, in_target = _module_words(golden), _module_words(target)
    rows: dict[tuple[str, str, int, int], list[Link]] = {}
    uneven: list[str] = []
    for model, offset in prefill_and_decode(matching, golden, target) or [("", 0)]:
        of_target = _outputs(target, [name for name in matching.target.free if name[1].startswith(model)])
        for (rank, layer), ones in of_golden.items():
            others = of_target.get((rank, layers.get(layer, layer)), [])
            there = in_golden.get((rank, layer), frozenset()) | in_target.get((rank, layers.get(layer, layer)), frozenset())
            for golden_name, target_name, row in _linked(ones, others, golden, target, layer, there, uneven):
                rows.setdefault((model, rank, layer, row), []).append(Link(golden_name, target_name, RULE, offset))
    links = _of_one_size(matching, list(rows.values()), uneven)
    if uneven:
        more = f" and {len(uneven) - _MOST_EXAMPLES} more" if len(uneven) > _MOST_EXAMPLES else ""
        matching.warn([f"--pair-by ops: left alone, because which is which is not known: {'; '.join(uneven[:_MOST_EXAMPLES])}{more}"])
    return links


def _of_one_size(matching: Matching, rows: list[list[Link]], unlike: list[str]) -> list[Link]:
    """The links of all rows but those with a pair that differs in its number of elements and in the length of its rows.

    Where equally many outputs stand for other modules, as a fused projection for a plain one, their headers say so. The headers of one
    token are read; a tensor that cannot be read says nothing.
    """
    tensors = []
    for place, link in islice(((place, link) for place, links in enumerate(rows) for link in links), MOST_TENSORS):
        ones, others = matching.golden.by_name[link.golden], matching.target.by_name[link.target]
        shift = matching.options.token_offset + link.offset
        token = next((token for token in ones if shifted(token, shift) in others), None)
        if token is not None:
            tensors.append((place, link, ones[token].path, others[shifted(token, shift)].path))
    doubtful: set[int] = set()
    for start in range(0, len(tensors), _AT_ONCE):
        part = tensors[start : start + _AT_ONCE]
        infos = scan_batch([path for _, _, *both in part for path in both], matching.options.scan)
        for (place, link, _, _), one, other in zip(part, infos[::2], infos[1::2], strict=True):
            if isinstance(one, TensorInfo) and isinstance(other, TensorInfo) and _is_unlike(one, other):
                doubtful.add(place)
                unlike.append(f"{shown(link.golden)} has shape {one.shape} and {shown(link.target)} {other.shape}")
    return [link for place, links in enumerate(rows) if place not in doubtful for link in links]


def _is_unlike(one: TensorInfo, other: TensorInfo) -> bool:
    return one.element_count != other.element_count and row_length(one) != row_length(other)


def _outputs(parsed: Parsed, free: Iterable[Name]) -> dict[tuple[str, int], list[Name]]:
    """The free outputs, by rank and layer."""
    found: dict[tuple[str, int], list[Name]] = {}
    for name in free:
        parts = parsed[name]
        if parts.part == OUTPUT:
            found.setdefault((name[0], parts.layer), []).append(name)
    return found


def _linked(
    ones: Sequence[Name],
    others: Sequence[Name],
    golden: Parsed,
    target: Parsed,
    layer: int,
    there: frozenset[str],
    uneven: list[str],
) -> list[tuple[Name, Name, int]]:
    """Pairs of names of one layer, each with the number of the row that made it.

    Golden has the modules, or, with no module against an operation there, the operations. ``there`` are the modules of `_TOGETHER` that the
    layer has, whatever has been paired before.
    """
    found: list[tuple[Name, Name, int]] = []
    taken: set[Name] = set()
    odd: list[tuple[list[Name], str]] = []
    for modules, operations, swapped in ((ones, others, False), (others, ones, True)):
        of_module, of_operation = (target, golden) if swapped else (golden, target)
        left = [name for name in modules if not of_module[name].words]
        trees = sorted((name for name in operations if of_operation[name].words), key=lambda name: natural_key(name[1]))
        if not left or not trees:
            continue
        for place_of_row, row in enumerate(table()["model" if layer < 0 else "layer"]):
            numbered = sorted((number, place) for place, name in enumerate(left) if (number := row.module_number(of_module[name])) >= 0)
            named = [left[place] for _, place in numbered if left[place] not in taken]
            fitting = [name for name in trees if name not in taken and row.is_operation(of_operation[name])]
            kinds = {left[place]: number for number, place in numbered}
            pairs = None
            if len(named) == len(fitting) and all(there.issuperset(_TOGETHER.get(row.modules[kinds[name]], ())) for name in named):
                pairs = _told_apart(named, fitting, kinds, of_module, of_operation)
            if pairs is not None:
                taken.update(named, fitting)
                found += [(other, one, place_of_row) if swapped else (one, other, place_of_row) for one, other in pairs]
            elif named and fitting:
                where = f"layer {layer}" if layer >= 0 else "outside of layers"
                odd.append(
                    (named, f"{where}: {len(fitting)} outputs of {row.operations[0]} against {len(named)} modules, {shown(named[0])} first")
                )
    # A later row may have found what belongs together.
    uneven.extend(text for names, text in odd if not taken.issuperset(names))
    return found


def _told_apart(
    named: Sequence[Name], fitting: Sequence[Name], kinds: Mapping[Name, int], of_module: Parsed, of_operation: Parsed
) -> list[tuple[Name, Name]] | None:
    """Modules and as many operations of one row in their order; None where nobody knows which is which.

    Where a layer has a kind of module several times, as in experts, they pair inside what is around them alone, and only if that differs by
    its numbers alone on both sides.
    """
    if len({kinds[name] for name in named}) == len(named):
        return list(zip(named, fitting, strict=True))
    ones = _by_parent(named, lambda name: _CALL.sub("", of_module[name].path).rpartition(".")[0])
    others = _by_parent(fitting, lambda name: of_operation[name].path.rpartition("/")[0])
    if ones is None or others is None or len(ones) != len(others):
        return None
    found: list[tuple[Name, Name]] = []
    for modules, operations in zip(ones, others, strict=True):
        if len(modules) != len(operations) or len({kinds[name] for name in modules}) < len(modules):
            return None
        found += zip(modules, operations, strict=True)
    return found


def _module_words(parsed: Parsed) -> dict[tuple[str, int], frozenset[str]]:
    """The modules of `_TOGETHER` that each layer has, free or not, by rank and layer."""
    found: dict[tuple[str, int], set[str]] = {}
    for name, parts in parsed.items():
        if not parts.words:
            word = _CALL.sub("", parts.path).rpartition(".")[2]
            if word in _PARTS:
                found.setdefault((name[0], parts.layer), set()).add(word)
    return {place: frozenset(words) for place, words in found.items()}


def _by_parent(names: Sequence[Name], parent_of: Callable[[Name], str]) -> list[list[Name]] | None:
    """The names by what is around them, in the order of its numbers; None where it differs by more than those."""
    found: dict[str, list[Name]] = {}
    for name in names:
        found.setdefault(parent_of(name), []).append(name)
    if len({_DIGITS.sub("0", parent) for parent in found}) > 1:
        return None
    return [found[parent] for parent in sorted(found, key=natural_key)]


def _any(word: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(word, glob) for glob in globs)
