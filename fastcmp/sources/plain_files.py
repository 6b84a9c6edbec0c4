"""A directory without metadata to named tensors: each file by its path, each tensor inside a file by its name behind that."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fastcmp.errors import TensorError
from fastcmp.formats import list_members
from fastcmp.formats.places import member_place, shown_place, split_place
from fastcmp.formats.suffixes import LISTING_SUFFIXES, MEMBER_SUFFIXES, SUFFIXES
from fastcmp.options import CompareOptions
from fastcmp.sources.named_tensor import KnownKeys, NamedTensor, TensorKey
from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.tree import Tree
from fastcmp.sources.wording import NOT_LISTED, printable

# One model in several files: which of them a tensor is in says nothing about the tensor.
_SHARD: Final = re.compile(r"-[0-9]{5}-of-[0-9]{5}(?=\.safetensors$)", re.IGNORECASE)


def tensors_of_files(
    tree: Tree, prefix: str, options: CompareOptions, keys: KnownKeys, unread: list[TensorError]
) -> tuple[list[NamedTensor], list[str]]:
    """The tensors of the files below ``prefix``, and the paths whose name another file has too. Files in natural order, their tensors
    `as_listed`.

    ``unread`` gets why the names in a file are not known: it is one tensor then.

    A name is the relative path without extension; of a file that holds several tensors, theirs follow behind a slash. The second of
    two files of one name keeps its extension.
    """
    by_name: dict[str, list[tuple[str, str]]] = {}
    for name, relative, member in _named(tree, prefix, options, unread):
        by_name.setdefault(name, []).append((relative, member))
    root = os.path.join(os.path.abspath(tree.root), "")
    tensors, collisions = [], []
    taken = set(by_name)
    for name, found in by_name.items():
        found.sort(key=lambda one: (SUFFIXES.index(os.path.splitext(one[0])[1].lower()), natural_key(one[0])))
        for relative, member in found:
            data_id = name
            if (relative, member) != found[0]:
                collisions.append(relative)
                data_id = f"{relative}/{member}" if member else relative
                while data_id in taken:
                    data_id += "#"
                taken.add(data_id)
            key = TensorKey("", data_id.removeprefix(prefix), "")
            key = keys.get(key, key)
            tensors.append(inside(key, relative, root + relative, member) if member else NamedTensor(key, relative, root, tail_start=0))
    return tensors, list(dict.fromkeys(collisions))


def not_listed(unread: list[TensorError]) -> str:
    """The warning about files whose tensors are not known."""
    more = f" and {len(unread) - 1} more files" if len(unread) > 1 else ""
    return f"{NOT_LISTED}{printable(str(unread[0]), 400)}{more}"


def as_listed(path: str, members: Sequence[str]) -> Sequence[str]:
    """The tensors of a file in the order in which it lists them; in natural order where that says nothing."""
    return members if path.lower().endswith(LISTING_SUFFIXES) else sorted(members, key=natural_key)


def are_listed(tensors: Iterable[NamedTensor]) -> bool:
    """True if one of them is in a file of several whose order says something."""
    return any(member and file.lower().endswith(LISTING_SUFFIXES) for file, member in (split_place(tensor.path) for tensor in tensors))


def inside(key: TensorKey, written: str, path: str, member: str) -> NamedTensor:
    """One tensor of a file that holds several."""
    return NamedTensor(key, shown_place(member_place(written, member)), member_place(path, member))


def _named(tree: Tree, prefix: str, options: CompareOptions, unread: list[TensorError]) -> Iterator[tuple[str, str, str]]:
    """Name, relative path and member of every tensor; a file that cannot be read is one tensor, so that it gets its row."""
    relatives = [relative for relative in tree.tensor_paths if relative.startswith(prefix)]
    several = [relative for relative in relatives if relative.lower().endswith(MEMBER_SUFFIXES)]
    members = dict(zip(several, list_members([os.path.join(tree.root, one) for one in several], options.scan), strict=True))
    for relative in relatives:
        names = members.get(relative, ("",))
        stem = os.path.splitext(_SHARD.sub("", relative))[0]
        if isinstance(names, TensorError):
            unread.append(names)
            yield os.path.splitext(relative)[0], relative, ""
            continue
        if not names:
            unread.append(TensorError("E_MEMBER", os.path.join(tree.root, relative), "holds no tensor"))
        for member in as_listed(relative, names):
            yield f"{stem}/{member}" if member else stem, relative, member
