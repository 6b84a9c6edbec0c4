"""What the first `aclcmp` did with a pair, written again from its formulas: one float32 expression after the other over whole tensors.

It is the yardstick of somebody who comes from there, not a reference for the numbers: float32 sums are good to three or four digits.
"""

from __future__ import annotations

import numpy as np
import torch


def compare_pair(golden_path: str, target_path: str, *, kl: bool) -> dict[str, float]:
    """Load both, widen both to float32, then each figure by itself."""
    golden, target = (torch.from_numpy(np.load(path)).reshape(-1).to(torch.float32) for path in (golden_path, target_path))
    figures = {"golden_max_value": golden.max(), "golden_min_value": golden.min(), "golden_mean_value": golden.mean()}
    figures |= {"acl_max_value": target.max(), "acl_min_value": target.min(), "acl_mean_value": target.mean()}
    figures["cosine_similarity"] = cosine_similarity(golden, target)
    figures["max_relative_error"] = relative_errors(golden, target).max()
    figures["mean_relative_error"] = relative_errors(golden, target).mean()
    figures["relative_euclidean_distance"] = relative_euclidean_distance(golden, target)
    figures["max_absolute_error"] = (target - golden).abs().max()
    figures["mean_absolute_error"] = (target - golden).abs().mean()
    if kl:
        figures["kl_divergence"] = kl_divergence(golden, target)
    return {name: float(value) for name, value in figures.items()}


def cosine_similarity(golden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of both as flat vectors."""
    return (golden * target).sum() / (golden.square().sum().sqrt() * target.square().sum().sqrt())


def relative_errors(golden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """|t/g - 1|, and 0 where golden is 0."""
    return torch.where(golden == 0, torch.zeros_like(golden), (target / golden - 1).abs())


def relative_euclidean_distance(golden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """sqrt(sum (t-g)^2 / sum g^2)."""
    return ((target - golden).square().sum() / golden.square().sum()).sqrt()


def kl_divergence(golden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Sum of p log(p/q) over the softmaxes of the whole tensors."""
    p, q = torch.softmax(golden, 0), torch.softmax(target, 0)
    return (p * (p / q).log()).sum()
