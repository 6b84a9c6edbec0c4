"""Golden and target names to pairs, and the reason for every name left alone."""

from __future__ import annotations

from fastcmp.pairing.alone import Alone
from fastcmp.pairing.pairs import RULE_FILE, RULE_KEY, RULE_PATH, Pair, Paired, pair, pair_dumps

__all__ = ["RULE_FILE", "RULE_KEY", "RULE_PATH", "Alone", "Pair", "Paired", "pair", "pair_dumps"]
