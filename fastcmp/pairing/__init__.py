"""Golden and target names to pairs, and the reason for every name left alone."""

from __future__ import annotations

from fastcmp.pairing.pairs import RULE_FILE, RULE_KEY, RULE_PATH, Pair, pair

__all__ = ["RULE_FILE", "RULE_KEY", "RULE_PATH", "Pair", "pair"]
