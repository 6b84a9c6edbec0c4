"""A tensor that several ranks hold, described as one: a tree whose leaves are the tensors of the ranks. Nothing is merged in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from fastcmp.dtypes import DTYPES
from fastcmp.errors import TensorError, UsageError
from fastcmp.formats.composition import Composition, Part
from fastcmp.formats.dims import Dim, Dims, parse_dims
from fastcmp.formats.layout import ND, format_name, is_row_major
from fastcmp.formats.places import shown_place
from fastcmp.formats.tensor_info import FileIdentity, TensorInfo
from fastcmp.options import FormatPolicy

MOST_PARTS: Final = 4096

Shape = tuple[int, ...]


class Leaf(NamedTuple):
    """The tensor of one rank."""

    shape: Shape
    info: TensorInfo
    number: int


class Slab(NamedTuple):
    """Positions [at, at + length) of an axis of the whole are [start, start + length) of a node's."""

    at: int
    length: int
    node: Node
    start: int


class Concatenation(NamedTuple):
    """Parts side by side along one axis."""

    shape: Shape
    axis: int
    slabs: tuple[Slab, ...]


class Sum(NamedTuple):
    """Summands, added in float64 (integers in int64) and rounded once."""

    shape: Shape
    nodes: tuple[Node, ...]


class Replicas(NamedTuple):
    """The same tensor several times; the first counts."""

    shape: Shape
    nodes: tuple[Node, ...]
    ranks: tuple[str, ...]


class View(NamedTuple):
    """Axis i is axis ``order[i]`` of the node, from ``starts[order[i]]`` on."""

    shape: Shape
    node: Node
    order: tuple[int, ...]
    starts: tuple[int, ...]


Node = Leaf | Concatenation | Sum | Replicas | View


class _Contradiction(Exception):
    """Why the parts do not make up what the notation says."""


def compose(composition: Composition, infos: Sequence[TensorInfo | TensorError], policy: FormatPolicy) -> TensorInfo | TensorError:
    """One description from those of the parts, in their order; the error of the first part that has one, or E_SHARDS, E_FORMAT."""
    where = shown_place(composition.parts[0].place)
    for part, info in zip(composition.parts, infos, strict=True):
        if isinstance(info, TensorError):
            return TensorError(info.code, info.path, f"rank {part.rank}: {info.detail}")
    found = [info for info in infos if isinstance(info, TensorInfo)]
    try:
        node, words = _tree(composition, found)
    except (_Contradiction, UsageError) as error:
        return TensorError("E_SHARDS", where, str(error))
    codes = {info.format_code for info in found}
    unordered = next((code for code in sorted(codes) if not is_row_major(code) and policy == "strict"), None)
    if unordered is not None and any(info.layout == "plain" for info in found if info.format_code == unordered):
        return TensorError("E_FORMAT", where, f"{format_name(unordered)}: parts of a tensor in this order cannot be put together")
    differ = (f"W_FORMAT_DIFFERS: its ranks have {' and '.join(map(format_name, sorted(codes)))}",) if len(codes) > 1 else ()
    return TensorInfo(
        where,
        0,
        sum(info.nbytes for info in found),
        found[0].dtype,
        node.shape,
        combined_identity([info.identity for info in found]),
        format_code=max(codes) if len(codes) == 1 else ND,
        warnings=(f"W_MERGED: {words}", *differ, *dict.fromkeys(warning for info in found for warning in info.warnings)),
        composed=node,
    )


def combined_identity(identities: Iterable[FileIdentity]) -> FileIdentity:
    """One identity for several files: another as soon as one of them is another."""
    listed = list(identities)
    text = json.dumps([(one.inode, one.size, one.mtime_ns) for one in listed]).encode()
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "little") >> 1
    return FileIdentity(0, number, sum(one.size for one in listed), max(one.mtime_ns for one in listed))


def leaves_of(node: Node) -> list[Leaf]:
    """All tensors of ranks that a tree is made of."""
    if isinstance(node, Leaf):
        return [node]
    if isinstance(node, View):
        return leaves_of(node.node)
    below = [slab.node for slab in node.slabs] if isinstance(node, Concatenation) else node.nodes
    return [leaf for one in below for leaf in leaves_of(one)]


def _tree(composition: Composition, infos: Sequence[TensorInfo]) -> tuple[Node, str]:
    shapes = _shapes_text(composition.parts, infos)
    if composition.dims is None:
        raise _Contradiction(f"{composition.reason or 'nothing says how its parts make up the whole'}; {shapes}")
    dims = parse_dims(composition.dims) if composition.dims else Dims(())
    said = f"dims {composition.dims!r}"
    if len({info.dtype for info in infos}) > 1:
        raise _Contradiction(f"its ranks hold it in several dtypes: {', '.join(sorted({info.dtype for info in infos}))}")
    if any(len(info.shape) != len(dims.dims) for info in infos):
        raise _Contradiction(f"{said} names {len(dims.dims)} axes; {shapes}")
    for axis, dim in enumerate(dims.dims):
        if dim.name == "1" and any(info.shape[axis] != 1 for info in infos):
            raise _Contradiction(f"{said} says that axis {axis} has length 1; {shapes}")
    nodes: dict[tuple[int, ...], Node] = {
        part.numbers: Leaf(info.shape, info, number) for number, (part, info) in enumerate(zip(composition.parts, infos, strict=True))
    }
    words = []
    ranks = {part.numbers: part.rank for part in composition.parts}
    for way, merge, word in _steps(dims, infos[0].dtype, said):
        nodes, ranks = _merged(nodes, ranks, composition.ways, way, merge, said, shapes)
        words.append(word)
    if len(nodes) > 1:
        varied = [name for at, (name, _) in enumerate(composition.ways) if len({numbers[at] for numbers in nodes}) > 1]
        raise _Contradiction(f"{said} does not say how {' and '.join(varied)} divide it; {shapes}")
    (node,) = nodes.values()
    if len(leaves_of(node)) > MOST_PARTS:
        raise _Contradiction(f"{len(leaves_of(node))} ranks hold it, expected at most {MOST_PARTS}")
    node = _viewed(node, dims, composition.order, said)
    return node, f"{', '.join(words) or 'one rank'}; {said}{', inferred from shapes' if composition.is_inferred else ''}"


_Merge = Callable[[list[Node], list[str]], Node]


def _steps(dims: Dims, dtype: str, said: str) -> list[tuple[str, _Merge, str]]:
    """What is merged first comes first: replicas, then summands, then parts of parts, then parts."""
    steps: list[tuple[str, _Merge, str]] = []
    for name, kind in dims.rest:
        if kind == "first":
            steps.append((name, _first, f"{name} the first of equals"))
        elif kind == "replicated":
            steps.append((name, _replicas, f"{name} replicated"))
    partial = [name for name, kind in dims.rest if kind == "partial"]
    partial += [way.name for dim in dims.dims for way in dim.ways if way.division == "partial"]
    if partial and DTYPES[dtype].kind not in ("float", "int", "complex"):
        raise _Contradiction(f"{said}: {dtype} has no sums")
    if partial and (DTYPES[dtype].is_sub_byte or (DTYPES[dtype].kind == "float" and DTYPES[dtype].bits < 16)):
        raise _Contradiction(f"{said}: sums of {dtype} are not defined, for no unit rounds to it")
    steps += [(name, _sum, f"{name} summed") for name in partial]
    for axis, dim in enumerate(dims.dims):
        for way in reversed([way for way in dim.ways if way.division != "partial"]):
            merge = _zigzag(axis) if way.division == "zigzag" else _concatenation(axis)
            steps.append((way.name, merge, f"{way.name} {'in zigzag ' if way.division == 'zigzag' else ''}along {dim.name} (axis {axis})"))
    return steps


def _merged(
    nodes: dict[tuple[int, ...], Node],
    ranks: dict[tuple[int, ...], str],
    ways: tuple[tuple[str, int], ...],
    way: str,
    merge: _Merge,
    said: str,
    shapes: str,
) -> tuple[dict[tuple[int, ...], Node], dict[tuple[int, ...], str]]:
    """All nodes that differ in their number of one way only become one."""
    at = next((at for at, (name, _) in enumerate(ways) if name == way), None)
    if at is None:
        raise _Contradiction(f"{said} speaks of {way}, but the ranks are divided by {' '.join(f'{name}={count}' for name, count in ways)}")
    groups: dict[tuple[int, ...], dict[int, tuple[int, ...]]] = {}
    for numbers in nodes:
        groups.setdefault((*numbers[:at], 0, *numbers[at + 1 :]), {})[numbers[at]] = numbers
    merged, first = {}, {}
    for key, group in groups.items():
        if len(group) != ways[at][1] and merge is not _first:
            held = ", ".join(ranks[group[number]] for number in sorted(group))
            raise _Contradiction(f"{said}: {way} has {ways[at][1]} ranks, but only {len(group)} hold it: {held}")
        members = [group[number] for number in sorted(group)]
        try:
            merged[key] = merge([nodes[one] for one in members], [ranks[one] for one in members])
        except _Contradiction as error:
            raise _Contradiction(f"{said}: {way}: {error}; {shapes}") from None
        first[key] = ranks[members[0]]
    return merged, first


def _of_one_shape(nodes: list[Node]) -> Shape:
    if len({node.shape for node in nodes}) > 1:
        raise _Contradiction("expected one shape on all of them")
    return nodes[0].shape


def _replicas(nodes: list[Node], ranks: list[str]) -> Node:
    return Replicas(_of_one_shape(nodes), tuple(nodes), tuple(ranks))


def _first(nodes: list[Node], ranks: list[str]) -> Node:
    _of_one_shape(nodes)
    return nodes[0]


def _sum(nodes: list[Node], ranks: list[str]) -> Node:
    return Sum(_of_one_shape(nodes), tuple(nodes))


def _concatenation(axis: int) -> _Merge:
    def merge(nodes: list[Node], ranks: list[str]) -> Node:
        if len({(*node.shape[:axis], *node.shape[axis + 1 :]) for node in nodes}) > 1:
            raise _Contradiction(f"expected shapes that differ in axis {axis} only")
        slabs, at = [], 0
        for node in nodes:
            slabs.append(Slab(at, node.shape[axis], node, 0))
            at += node.shape[axis]
        return Concatenation((*nodes[0].shape[:axis], at, *nodes[0].shape[axis + 1 :]), axis, tuple(slabs))

    return merge


def _zigzag(axis: int) -> _Merge:
    def merge(nodes: list[Node], ranks: list[str]) -> Node:
        shape = _of_one_shape(nodes)
        chunk, odd = divmod(shape[axis], 2)
        if odd:
            raise _Contradiction(f"expected an even length of axis {axis}, two chunks a rank")
        count = len(nodes)
        slabs = [Slab(number * chunk, chunk, nodes[number], 0) for number in range(count)]
        slabs += [Slab(number * chunk, chunk, nodes[2 * count - 1 - number], chunk) for number in range(count, 2 * count)]
        return Concatenation((*shape[:axis], 2 * count * chunk, *shape[axis + 1 :]), axis, tuple(slabs))

    return merge


def _viewed(node: Node, dims: Dims, order: tuple[str, ...], said: str) -> Node:
    """Without padding and what is not compared, and with the axes as the other side has them."""
    lengths = tuple(_length(dim, extent, said) for dim, extent in zip(dims.dims, node.shape, strict=True))
    moved = tuple(range(len(lengths)))
    if order and order != dims.names:
        if sorted(order) != sorted(dims.names) or len(set(order)) != len(order):
            raise _Contradiction(f"{said} names other axes than the other side, {' '.join(order)}")
        moved = tuple(dims.names.index(name) for name in order)
    if lengths == node.shape and moved == tuple(range(len(lengths))):
        return node
    return View(tuple(lengths[axis] for axis in moved), node, moved, tuple(dim.start for dim in dims.dims))


def _length(dim: Dim, extent: int, said: str) -> int:
    if dim.stop is None:
        return extent
    if dim.stop > extent:
        raise _Contradiction(f"{said}: expected at least {dim.stop} positions in {dim.name}, the parts make {extent}")
    return dim.stop - dim.start


def _shapes_text(parts: Sequence[Part], infos: Sequence[TensorInfo]) -> str:
    """Which ranks hold which shapes."""
    by_shape: dict[Shape, list[str]] = {}
    for part, info in zip(parts, infos, strict=True):
        by_shape.setdefault(info.shape, []).append(part.rank)
    said = [f"{_some(ranks)} {'hold' if len(ranks) > 1 else 'holds'} {shape}" for shape, ranks in by_shape.items()]
    return ", ".join(said[:4]) + (f" and {len(said) - 4} more shapes" if len(said) > 4 else "")


def _some(ranks: list[str]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"ranks {', '.join(ranks[:8])}{f' and {len(ranks) - 8} more' if len(ranks) > 8 else ''}"
