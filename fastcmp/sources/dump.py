"""The tensors of one run, as its metadata or its directories name them. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fastcmp.sources.named_tensor import NamedTensor

Role = Literal["golden", "target"]
Kind = Literal["metadata", "tree", "directory", "file"]
Listed = Literal["", "file", "files"]
RunOrder = Literal["computed", "file", "files", "name"]
"""What "first" means: as the tensors were computed, as the one file lists them, files by name and in each as it lists them, or by name."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What one of the two arguments of a comparison holds.

    Attributes
    ----------
    path : str
        As the user gave it.
    kind : {"metadata", "tree", "directory", "file"}
        Where the names come from: one or several metadata.json, a tree that a known tool wrote, the paths in a directory, or one
        tensor file.
    tensors : list of NamedTensor
        In the dump's own order (metadata.json: as written; directories: natural sort; files of several tensors: as they list them, or
        natural sort where that says nothing); every key once.
    warnings : list of str
        One line each, for the user and for `run.json`.
    is_in_execution_order : bool
        The order of ``tensors`` is that in which they were computed.
    layout : str
        ``metadata``, ``file``, ``plain`` (by path), or the name of a row of `fastcmp.sources.layouts`.
    evidence : str
        What it was recognised by.
    left_out : mapping of str to int
        What is no tensor of this dump and was passed by: a reason, and how many files.
    lone_rank : str
        Which rank the only process of a tree is, where its directory says it. The keys do not have it: where both sides have one process,
        it does not matter.
    listed : {"", "file", "files"}
        Where nothing says in which order tensors were computed: one file, or files, of several tensors list theirs in an order.
    """

    path: str
    kind: Kind
    tensors: list[NamedTensor]
    warnings: list[str]
    is_in_execution_order: bool = True
    layout: str = "metadata"
    evidence: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    lone_rank: str = ""
    listed: Listed = ""

    @property
    def run_order(self) -> RunOrder:
        """What the order of ``tensors`` is."""
        return "computed" if self.is_in_execution_order else self.listed or "name"
