"""Entries of a layout to named tensors: ranks, order, the tensors inside of files, and names that stand twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

from fastcmp.errors import TensorError
from fastcmp.formats import list_members
from fastcmp.formats.places import member_place, shown_place
from fastcmp.formats.stated import stated_place
from fastcmp.formats.suffixes import MEMBER_SUFFIXES
from fastcmp.sources.layouts.layout import Entry, Reading
from fastcmp.sources.layouts.processes import ranks_of
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.sources.natural_order import token_key
from fastcmp.sources.plain_files import as_listed, not_listed
from fastcmp.sources.wording import listing

# Of an entry and a member of its file ("" where that is one tensor): what is to be added to the data_id.
MemberName = Callable[[str], str]


class Named(NamedTuple):
    """The tensors of a tree, every key once; which rank they are of where there is one process and that is known; and warnings."""

    tensors: list[NamedTensor]
    lone_rank: str
    warnings: list[str]


def tensors_of_entries(
    entries: Sequence[Entry], reading: Reading, rank_of: Callable[[str], str], member_name: MemberName = lambda member: f"/{member}"
) -> Named:
    """Named tensors by rank, then as the layout orders the data_ids, then by token.

    The second of two files of one key has its name behind the data_id, and a number where that is not enough.
    """
    ranks, lone_rank, warnings = ranks_of((entry.process for entry in entries), rank_of)
    root = os.path.join(os.path.abspath(reading.tree.root), "")
    tensors: list[NamedTensor] = []
    taken: set[TensorKey] = set()
    held: set[TensorKey] = set()  # by a file, which counts more than what is stated
    repeated: list[str] = []
    numbers: dict[TensorKey, int] = {}
    unread: list[TensorError] = []
    for entry, member in _with_members(_ordered(entries, ranks.__getitem__), reading, unread):
        data_id = (f"{entry.data_id}{member_name(member)}" if entry.data_id else member) if member else entry.data_id or entry.path
        key = TensorKey(ranks[entry.process], data_id, entry.token_id)
        if key in held and entry.stated is not None:
            continue
        if key in taken:
            repeated.append(entry.path)
            key = _numbered(key._replace(data_id=f"{data_id} ({entry.path.rpartition('/')[2]})"), taken, numbers)
        key = reading.keys.get(key, key)
        taken.add(key)
        if entry.stated is None:
            held.add(key)
        tensors.append(_named(key, entry, member, root))
    if unread:
        warnings.append(not_listed(unread))
    if repeated:
        warnings.append(f"names that stand twice, the second has its file behind it: {listing(list(dict.fromkeys(repeated)))}")
    return Named(tensors, lone_rank, warnings)


def _numbered(key: TensorKey, taken: Container[TensorKey], numbers: dict[TensorKey, int]) -> TensorKey:
    """A key that is not taken; ``numbers`` knows the last one of each, as a line may stand a hundred thousand times."""
    free = key
    while free in taken:
        number = numbers[key] = numbers.get(key, 1) + 1
        free = key._replace(data_id=f"{key.data_id}#{number}")
    return free


def _named(key: TensorKey, entry: Entry, member: str, root: str) -> NamedTensor:
    path = entry.path
    if entry.stated is not None:
        return NamedTensor(key, f"{path}:{key.data_id}", stated_place(root + path, entry.stated), notes=entry.notes)
    if member:
        return NamedTensor(key, shown_place(member_place(path, member)), member_place(root + path, member), notes=entry.notes)
    return NamedTensor(key, path, root, notes=entry.notes, tail_start=0)


def _ordered(entries: Sequence[Entry], rank_of: Callable[[str], str]) -> list[Entry]:
    # Integers sort faster than keys, and there are far fewer processes, names and tokens than entries.
    process = _positions({entry.process for entry in entries}, lambda name: token_key(rank_of(name)))
    token = _positions({entry.token_id for entry in entries}, token_key)
    first: dict[str, Entry] = {}
    for entry in entries:
        known = first.setdefault(entry.data_id, entry)
        if entry.order < known.order:
            first[entry.data_id] = entry
    name = _positions(set(first), lambda data_id: first[data_id].order)
    return sorted(entries, key=lambda entry: (process[entry.process], name[entry.data_id], token[entry.token_id], entry.order))


def _positions(names: set[str], key: Callable[[str], Any]) -> dict[str, int]:
    ordered = sorted(sorted(names), key=key)
    return {name: position for position, name in enumerate(ordered)}


def _with_members(entries: Sequence[Entry], reading: Reading, unread: list[TensorError]) -> Iterator[tuple[Entry, str]]:
    """Each entry once for every tensor in its file; a file that cannot be read is one tensor, so that it gets its row."""
    several = [entry.path for entry in entries if entry.path.lower().endswith(MEMBER_SUFFIXES)]
    found = list_members([os.path.join(reading.tree.root, path) for path in several], reading.options.scan)
    members = dict(zip(several, found, strict=True))
    for entry in entries:
        names = members.get(entry.path, ("",))
        if isinstance(names, TensorError):
            unread.append(names)
            yield entry, ""
            continue
        if not names:
            unread.append(TensorError("E_MEMBER", os.path.join(reading.tree.root, entry.path), "holds no tensor"))
        for member in as_listed(entry.path, names):
            yield entry, member
