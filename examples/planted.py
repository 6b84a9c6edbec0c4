"""The defect that the demo plants in the target: a norm whose epsilon is wrong from one token on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """An epsilon of 1e-3 would drown in bfloat16 rounding; this one cannot, and neither can what it leaves in the KV cache."""

    layer: int = 3
    token: int = 3
    epsilon: float = 2.0

    @property
    def data_id(self) -> str:
        """The name under which the broken module is dumped."""
        return f"layers.{self.layer}.post_attention_layernorm"


DEFECT = Defect()
