"""The tensors of one run, as its metadata or its directories name them. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastcmp.sources.named_tensor import NamedTensor

Role = Literal["golden", "target"]
Kind = Literal["metadata", "directory", "file"]


@dataclass(frozen=True, slots=True)
class Dump:
    """What one of the two arguments of a comparison holds.

    Attributes
    ----------
    path : str
        As the user gave it.
    kind : {"metadata", "directory", "file"}
        Where the names come from: one or several metadata.json, a directory tree, or one tensor file.
    tensors : list of NamedTensor
        In the dump's own order (metadata.json: as written; directories and files of several tensors: natural sort); every key once.
    warnings : list of str
        One line each, for the user and for `run.json`.
    is_in_execution_order : bool
        The order of ``tensors`` is that in which they were computed.
    """

    path: str
    kind: Kind
    tensors: list[NamedTensor]
    warnings: list[str]
    is_in_execution_order: bool = True
