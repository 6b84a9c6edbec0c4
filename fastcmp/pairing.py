"""Golden and target names to pairs, and the reason for every name left alone."""

from __future__ import annotations

from dataclasses import dataclass

from fastcmp.sources.named_tensor import NamedTensor, TensorKey


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the report to be. Exactly one side may be None (`E_UNPAIRED`)."""

    row: int
    key: TensorKey
    golden: NamedTensor | None
    target: NamedTensor | None
    rule: str
    execution_order: int
