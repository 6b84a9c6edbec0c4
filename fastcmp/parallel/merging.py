"""A dump of several ranks as one: each name once, its place a composition of what the ranks hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from fastcmp.errors import UsageError
from fastcmp.formats.composition import Composition, Part, composed_place
from fastcmp.formats.dims import parse_dims
from fastcmp.formats.places import split_place
from fastcmp.globs import any_glob_mask
from fastcmp.options import ParallelSide
from fastcmp.parallel.rank_grid import Ways, numbers_of, parse_ranks, rank_count
from fastcmp.sources import Dump, NamedTensor, Role, TensorKey
from fastcmp.sources.tree import RANK_NAME
from fastcmp.sources.wording import listing, printable

Ranks = dict[int, NamedTensor]
Names = dict[tuple[str, str], Ranks]
"""data_id and token_id to what each rank holds."""

Orders = Mapping[str, tuple[str, ...]]
Inferred = Mapping[tuple[str, str], tuple[str | None, str]]
"""data_id and token_id to a notation, or None and why there is none."""

_RANK_DIRECTORY: Final = re.compile(f"(?<![^/]){RANK_NAME}/", re.IGNORECASE)


def ranks_of(dump: Dump, side: ParallelSide, role: Role) -> tuple[Names, Ways]:
    """What each rank of a dump holds, by name, in the order of the dump.

    Raises
    ------
    UsageError
        If the ranks of the dump are not those that ``side.ranks`` speaks of.
    """
    dump = with_ranks_of_directories(dump, role)
    option = f"--parallel: {role}: ranks"
    ways = parse_ranks(side.ranks, option)
    expected = rank_count(ways)
    found = {tensor.key.rank for tensor in dump.tensors}
    numbers = {rank: int(rank) for rank in found if rank.isdecimal() and rank.isascii() and len(rank) < 8}
    if len(found) != expected or set(numbers.values()) != set(range(expected)):
        shown = listing(sorted(found)) if found - {""} else "none"
        raise UsageError(
            f"{option} = {side.ranks!r} speaks of ranks 0 to {expected - 1}, but {printable(dump.path)} has {shown}; "
            f"say which ranks there are{_as_one_way(len(found))}"
        )
    names: Names = {}
    for tensor in dump.tensors:
        held = names.setdefault((tensor.key.data_id, tensor.key.token_id), {})
        rank = numbers[tensor.key.rank]
        if rank in held:
            twice = f"{printable(held[rank].written_path)} and {printable(tensor.written_path)}"
            raise UsageError(f"{option}: {twice} are both {printable(tensor.key.data_id)} of rank {rank}; rename or move one of them")
        held[rank] = tensor
    return names, ways


def _as_one_way(count: int) -> str:
    return f', if one way divides them: ranks = "tp={count}"' if count > 1 else ""


def with_ranks_of_directories(dump: Dump, role: Role) -> Dump:
    """A plain directory has no ranks, but names in which one may stand: ``rank0/x``, ``step1/rank0/x``.

    Raises
    ------
    UsageError
        If it stands in some of them only.
    """
    if dump.kind != "directory" or any(tensor.key.rank for tensor in dump.tensors):
        return dump
    found = [_RANK_DIRECTORY.search(tensor.key.data_id, 0, _path_length(tensor)) for tensor in dump.tensors]
    stray = next((tensor for tensor, match in zip(dump.tensors, found, strict=True) if match is None), None)
    if stray is not None:
        if not any(found):
            return dump
        where = f"{printable(dump.path)}: {printable(stray.written_path)} is in no rank directory, others are"
        raise UsageError(f"--parallel: {role}: {where}; move it away, or leave it out by naming another directory")
    tensors = []
    for tensor, match in zip(dump.tensors, found, strict=True):
        assert match is not None
        name = tensor.key.data_id[: match.start()] + tensor.key.data_id[match.end() :]
        tensors.append(tensor._replace(key=TensorKey(match[1].lstrip("0") or "0", name, tensor.key.token_id)))
    return replace(dump, tensors=tensors)


def _path_length(tensor: NamedTensor) -> int:
    """How much of a data_id is a path; the name of a tensor inside a file follows."""
    member = split_place(tensor.path)[1]
    return len(tensor.key.data_id) - len(member) if member else len(tensor.key.data_id)


def merged(
    dump: Dump, names: Names, ways: Ways, said: Mapping[str, str], orders: Mapping[str, tuple[str, ...]], inferred: Inferred
) -> Dump:
    """One tensor for each name.

    Parameters
    ----------
    dump : Dump
        Whose tensors ``names`` holds.
    names, ways
        See `ranks_of`.
    said : mapping
        The notation of a data_id, see `notations`.
    orders : mapping
        The names of the axes on the other side, by data_id, as far as a notation says them.
    inferred : mapping
        For names that no notation speaks of.
    """
    tensors = []
    for (data_id, token_id), held in names.items():
        ranks = sorted(held)
        is_said = data_id in said
        dims, reason = (said[data_id], "") if is_said else inferred[data_id, token_id]
        dtypes = sorted({tensor.dtype or "as it is stored" for tensor in held.values()})
        if len(dtypes) > 1:
            dims, reason = None, f"its ranks were of several dtypes: {', '.join(dtypes)}"
        order = orders.get(data_id, ()) if is_said else ()
        parts = tuple(Part(str(rank), numbers_of(rank, ways), held[rank].path) for rank in ranks)
        first = held[ranks[0]]
        key = TensorKey("", data_id, token_id)
        written = f"{first.written_path} (ranks {_runs(ranks)})" if len(ranks) > 1 else first.written_path
        notes = tuple(dict.fromkeys(note for rank in ranks for note in held[rank].notes))
        place = composed_place(Composition(dims, ways, order, parts, reason, not is_said))
        tensors.append(NamedTensor(key, written, place, first.dtype, notes, any(held[rank].is_unmatched for rank in ranks)))
    return replace(dump, tensors=tensors)


def notations(side: ParallelSide, data_ids: Sequence[str], idle: list[str] | None = None) -> dict[str, str]:
    """The notation of every name that one speaks of: of several globs that match, the last. ``idle`` gets the globs that match none.

    Raises
    ------
    UsageError
        If a notation is none.
    """
    names = list(dict.fromkeys(data_ids))
    said: dict[str, str] = {}
    for glob, dims in side.dims:
        parse_dims(dims)
        meant = any_glob_mask((glob,), names)
        said.update({name: dims for name, is_meant in zip(names, meant.tolist(), strict=True) if is_meant})
        if idle is not None and not meant.any():
            idle.append(glob)
    return said


def axis_orders(side: ParallelSide | None, data_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names of the axes of every name that a notation speaks of."""
    return {} if side is None else {name: parse_dims(dims).names for name, dims in notations(side, data_ids).items()}


def _runs(ranks: Sequence[int]) -> str:
    """0-3, 8-11."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
