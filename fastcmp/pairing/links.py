"""Which name of target belongs to which name of golden, where they are not the same. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from fastcmp.options import CompareOptions
from fastcmp.sources.dump import Dump
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.sources.wording import printable

MOST_WARNINGS = 20

Name = tuple[str, str]
"""rank and data_id."""


class Link(NamedTuple):
    """One name of each side.

    Attributes
    ----------
    golden, target : (rank, data_id)
    rule : str
        What made it, as the column ``pair_rule`` has it.
    offset : int
        Target's token is golden's and this.
    note : str
        For the report; "" for nothing.
    """

    golden: Name
    target: Name
    rule: str
    offset: int = 0
    note: str = ""


@dataclass
class Side:
    """The tensors of one side; ``free`` are the names that nothing has taken yet, in the order of the dump."""

    dump: Dump
    tensors: Mapping[TensorKey, NamedTensor]
    free: dict[Name, None] = field(init=False)

    def __post_init__(self) -> None:
        self.free = dict.fromkeys((key.rank, key.data_id) for key in self.tensors)

    @cached_property
    def by_name(self) -> dict[Name, dict[str, NamedTensor]]:
        """Of each name the tensors by their tokens."""
        found: dict[Name, dict[str, NamedTensor]] = {}
        for key, tensor in self.tensors.items():
            found.setdefault((key.rank, key.data_id), {})[key.token_id] = tensor
        return found


@dataclass
class Matching:
    """Both sides while their names are linked, one way after another."""

    golden: Side
    target: Side
    options: CompareOptions
    equal_rule: str
    warnings: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def take(self, links: list[Link]) -> None:
        """Let the names of these links be free no longer."""
        self.links += links
        for link in links:
            self.golden.free.pop(link.golden, None)
            self.target.free.pop(link.target, None)

    def warn(self, texts: list[str]) -> None:
        """Say them, not more than a person reads."""
        self.warnings += texts[:MOST_WARNINGS]
        if len(texts) > MOST_WARNINGS:
            self.warnings.append(f"and {len(texts) - MOST_WARNINGS} more of this kind")


def shown(name: Name) -> str:
    """A name in a message."""
    rank, data_id = name
    return printable(f"rank{rank}/{data_id}" if rank else data_id, 120)
