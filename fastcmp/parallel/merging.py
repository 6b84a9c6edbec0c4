"""A dump of several ranks as one: each name once, its place a composition of what the ranks hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from fastcmp.errors import UsageError
from fastcmp.formats.composed import Composition, Part, composed_place
from fastcmp.formats.dims import parse_dims
from fastcmp.globs import any_glob_mask
from fastcmp.options import ParallelSide
from fastcmp.parallel.rank_grid import Ways, numbers_of, parse_ranks, rank_count
from fastcmp.sources import Dump, NamedTensor, Role, TensorKey
from fastcmp.sources.wording import listing, printable

Ranks = dict[int, NamedTensor]
Names = dict[tuple[str, str], Ranks]
"""data_id and token_id to what each rank holds."""

Guess = Callable[[str, str, Ranks, Ways], tuple[str, str]]
"""data_id, token_id, what the ranks hold: a notation, or "" and why there is none."""

_EXAMPLE: Final = "such as 'tp=4'"
_RANK_DIRECTORY: Final = re.compile(r"(?<![^/])rank[_-]?([0-9]{1,7})/", re.IGNORECASE)


def ranks_of(dump: Dump, side: ParallelSide, role: Role) -> tuple[Names, Ways]:
    """What each rank of a dump holds, by name, in the order of the dump.

    Raises
    ------
    UsageError
        If the ranks of the dump are not those that ``side.ranks`` speaks of.
    """
    dump = _with_ranks_of_directories(dump)
    option = f"--parallel: {role}: ranks"
    ways = parse_ranks(side.ranks, option)
    expected = rank_count(ways)
    found = {tensor.key.rank for tensor in dump.tensors}
    numbers = {rank: int(rank) for rank in found if rank.isdecimal() and rank.isascii() and len(rank) < 8}
    if len(found) != expected or set(numbers.values()) != set(range(expected)):
        shown = listing(sorted(found)) if found - {""} else "none"
        raise UsageError(
            f"{option} = {side.ranks!r} speaks of ranks 0 to {expected - 1}, but {printable(dump.path)} has {shown}; "
            f"say which ranks there are, {_EXAMPLE}"
        )
    names: Names = {}
    for tensor in dump.tensors:
        names.setdefault((tensor.key.data_id, tensor.key.token_id), {})[numbers[tensor.key.rank]] = tensor
    return names, ways


def _with_ranks_of_directories(dump: Dump) -> Dump:
    """A plain directory has no ranks, but names in which one may stand: ``rank0/x``, ``step1/rank0/x``."""
    if any(tensor.key.rank or not _RANK_DIRECTORY.search(tensor.key.data_id) for tensor in dump.tensors):
        return dump
    tensors = []
    for tensor in dump.tensors:
        found = _RANK_DIRECTORY.search(tensor.key.data_id)
        assert found is not None
        name = tensor.key.data_id[: found.start()] + tensor.key.data_id[found.end() :]
        tensors.append(tensor._replace(key=TensorKey(found[1], name, tensor.key.token_id)))
    return replace(dump, tensors=tensors)


def merged(dump: Dump, names: Names, ways: Ways, side: ParallelSide, orders: dict[str, tuple[str, ...]], guess: Guess) -> Dump:
    """One tensor for each name.

    Parameters
    ----------
    dump : Dump
        Whose tensors ``names`` holds.
    names, ways
        See `ranks_of`.
    side : ParallelSide
    orders : dict
        The names of the axes on the other side, by data_id, as far as a notation says them.
    guess : callable
        For names that no notation speaks of.
    """
    said = notations(side, [data_id for data_id, _ in names])
    tensors = []
    for (data_id, token_id), held in names.items():
        ranks = sorted(held)
        dims, reason = (said[data_id], "") if data_id in said else guess(data_id, token_id, held, ways)
        order = orders.get(data_id, ()) if dims else ()
        parts = tuple(Part(str(rank), numbers_of(rank, ways), held[rank].path) for rank in ranks)
        first = held[ranks[0]]
        key = TensorKey("", data_id, token_id)
        written = f"{first.written_path} (ranks {_runs(ranks)})" if len(ranks) > 1 else first.written_path
        notes = tuple(dict.fromkeys(note for rank in ranks for note in held[rank].notes))
        place = composed_place(Composition(dims, ways, order, parts, reason))
        tensors.append(NamedTensor(key, written, place, first.dtype, notes, any(held[rank].is_unmatched for rank in ranks)))
    return replace(dump, tensors=tensors)


def notations(side: ParallelSide, data_ids: Sequence[str]) -> dict[str, str]:
    """The notation of every name that one speaks of: of several globs that match, the last.

    Raises
    ------
    UsageError
        If a notation is none.
    """
    names = list(dict.fromkeys(data_ids))
    said: dict[str, str] = {}
    for glob, dims in side.dims:
        parse_dims(dims)
        for name, is_meant in zip(names, any_glob_mask((glob,), names).tolist(), strict=True):
            if is_meant:
                said[name] = dims
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
