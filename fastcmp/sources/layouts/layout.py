"""What a layout is: how files of a tree are told to be of it, and how they become named tensors. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastcmp.formats.stated import Stated
from fastcmp.options import CompareOptions
from fastcmp.sources.dump import Listed
from fastcmp.sources.named_tensor import KnownKeys, NamedTensor
from fastcmp.sources.tree import Tree


class Claim(NamedTuple):
    """What of a tree is of a layout.

    Attributes
    ----------
    holds : callable
        Given directory and name of a tensor file, relative to the root.
    marks : tuple of str
        Other files that only this layout has.
    marks_suffice : bool
        They say something about tensors by themselves.
    holds_if_asked : callable, optional
        In the place of ``holds`` where the layout is asked for: what is too weak to be found out by.
    """

    holds: Callable[[str, str], bool]
    marks: tuple[str, ...] = ()
    marks_suffice: bool = True
    holds_if_asked: Callable[[str, str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a layout gets to read.

    Attributes
    ----------
    tree : Tree
    paths : sequence of str
        The tensor files that are of the layout, relative to the root, in natural order.
    marks : sequence of str
        The other files that show the layout.
    options : CompareOptions
    keys : mapping
        See `fastcmp.sources.named_tensor.KnownKeys`.
    """

    tree: Tree
    paths: Sequence[str]
    marks: Sequence[str]
    options: CompareOptions
    keys: KnownKeys


@dataclass
class Found:
    """What a layout made of its files.

    Attributes
    ----------
    tensors : list of NamedTensor
        Every key once.
    evidence : str
        What the layout was recognised by, for people.
    warnings : list of str
        Without the path of the root.
    is_in_execution_order : bool
    left_out : dict of str to int
        What the files list and is no tensor: a reason, and how many.
    lone_rank, listed : str
        See `fastcmp.sources.dump.Dump`.
    """

    tensors: list[NamedTensor]
    evidence: str
    warnings: list[str] = field(default_factory=list)
    is_in_execution_order: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    lone_rank: str = ""
    listed: Listed = ""


class Layout(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    name : str
        What ``--layout`` calls it.
    shape : str
        What such a tree looks like, for messages.
    hints : tuple of str
        One of them is in the path of each of its tensor files: of a hundred thousand paths, few must be taken apart to know.
    claim : callable
        Given the tree and the options.
    read : callable
    """

    name: str
    shape: str
    hints: tuple[str, ...]
    claim: Callable[[Tree, CompareOptions], Claim]
    read: Callable[[Reading], Found]


class Entry(NamedTuple):
    """One tensor file on its way to its name.

    Attributes
    ----------
    process : str
        Which of the processes that dumped it is of: the directory of that.
    data_id, token_id : str
    path : str
        Relative to the root.
    order : any
        Where the data_id stands among the others; comparable within a layout.
    stated : Stated or None
        What the file says of a tensor that it does not hold. Where there is a file of the same key, that one counts.
    notes : tuple of str
    """

    process: str
    data_id: str
    token_id: str
    path: str
    order: Any
    stated: Stated | None = None
    notes: tuple[str, ...] = ()
