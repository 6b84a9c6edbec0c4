"""Ranks where one side has only one, or does not say which."""

from __future__ import annotations

from fastcmp.sources.dump import Dump
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.sources.wording import printable

Tensors = dict[TensorKey, NamedTensor]


def common_ranks(golden: tuple[Dump, Tensors], target: tuple[Dump, Tensors]) -> tuple[tuple[Tensors, Tensors], list[str]]:
    """The tensors of both sides by keys that can meet, and a warning where the ranks are known and not the same.

    Where only one side knows a rank, and just one, the other side gets it. The only process of a tree is the rank that its directory
    says, if the other side has several; if that has one too, they are a pair whatever they are called.
    """
    (one, left), (other, right) = golden, target
    left_ranks, right_ranks = {key.rank for key in left}, {key.rank for key in right}
    if left_ranks == {""} and right_ranks != {""}:
        rank = next(iter(right_ranks)) if len(right_ranks) == 1 else one.lone_rank
        return (_with_rank(left, rank, right), right), _unlike(one.lone_rank, rank)
    if right_ranks == {""} and left_ranks != {""}:
        rank = next(iter(left_ranks)) if len(left_ranks) == 1 else other.lone_rank
        return (left, _with_rank(right, rank, left)), _unlike(rank, other.lone_rank)
    return (left, right), _unlike(one.lone_rank, other.lone_rank)


def _with_rank(tensors: Tensors, rank: str, others: Tensors) -> Tensors:
    """What the other side has without a rank too, such as a file beside the processes, stays."""
    if not rank:
        return tensors
    return {key if key in others else key._replace(rank=rank): tensor for key, tensor in tensors.items()}


def _unlike(golden: str, target: str) -> list[str]:
    if not golden or not target or golden == target:
        return []
    return [
        f"golden has rank {printable(golden, 40)} only, target rank {printable(target, 40)} only: compared with each other all the same"
    ]
