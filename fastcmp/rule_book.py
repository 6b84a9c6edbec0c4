"""Which rules speak of which of many pairs, and what the last word about each metric is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from fastcmp.dtypes import narrower
from fastcmp.errors import UsageError
from fastcmp.globs import any_glob_mask
from fastcmp.options import Rule
from fastcmp.rules import MOST_RULES, compiled, rule_name
from fastcmp.thresholds import Threshold

IDLE_RULE: Final = re.compile(r"rule [0-9]+ \(.*\) matches none of the data_ids: check its globs", re.DOTALL)
"""What `RuleBook.idle` says."""


class RuleBook:
    """Rules in their order, to be asked about pairs; ``custom`` are the names of the user's own metrics.

    Raises
    ------
    UsageError
        If a rule speaks of no metric or dtype that there is, or its comparison is none.
    """

    def __init__(self, rules: Sequence[Rule] = (), custom: Sequence[str] = ()) -> None:
        if len(rules) > MOST_RULES:
            raise UsageError(f"rules: {len(rules)} of them, expected at most {MOST_RULES}")
        self._names = tuple(rule_name(rule) for rule in rules)
        self._rules = tuple(compiled(rule, f"rules: rule {number}", custom) for number, rule in enumerate(rules, 1))

    @property
    def ask_for_names(self) -> bool:
        """True if a rule is for pairs of some names only."""
        return any(rule.match for rule in self._rules)

    @property
    def thresholds(self) -> list[Threshold]:
        """Of all rules, in their order."""
        return [threshold for rule in self._rules for _, thresholds in rule.by_metric for threshold in thresholds]

    def classes(self, data_ids: Sequence[str]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
        """Names parted by the rules that match them.

        Parameters
        ----------
        data_ids : sequence of str, n

        Returns
        -------
        class_of : ndarray of intp, shape (n,)
        matched : list of tuple of int
            For each class the numbers of the rules that match, in their order.
        """
        if not self.ask_for_names:
            return np.zeros(len(data_ids), np.intp), [tuple(range(len(self._rules)))]
        place: dict[str, int] = {}
        name_of = np.fromiter((place.setdefault(name, len(place)) for name in data_ids), np.intp, len(data_ids))
        names = list(place)
        matches = np.stack([any_glob_mask(rule.match, names) for rule in self._rules], axis=1)
        packed = np.packbits(matches, axis=1)
        rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).reshape(-1)
        _, first, class_of_name = np.unique(rows, return_index=True, return_inverse=True)
        return class_of_name.reshape(-1)[name_of], [tuple(np.flatnonzero(matches[row]).tolist()) for row in first.tolist()]

    def idle(self, data_ids: Sequence[str]) -> list[str]:
        """A warning for each rule that is for some names and matches none of these: nearly always a slip in a glob."""
        if not self.ask_for_names:
            return []
        _, classes = self.classes(data_ids)
        used = {number for matched in classes for number in matched}
        return [
            f"rule {number} ({name}) matches none of the data_ids: check its globs"
            for number, (name, rule) in enumerate(zip(self._names, self._rules, strict=True), 1)
            if rule.match and number - 1 not in used
        ]

    def said(self, matched: Sequence[int], golden_dtype: str, target_dtype: str) -> dict[str, tuple[Threshold, ...]]:
        """What the rules ``matched`` by name say about a pair of these storage dtypes: for each metric the last one; nothing is off."""
        dtype = narrower(golden_dtype, target_dtype)
        by_metric: dict[str, tuple[Threshold, ...]] = {}
        for number in matched:
            rule = self._rules[number]
            if dtype in rule.dtypes:
                for metric, thresholds in rule.by_metric:
                    by_metric.pop(metric, None)  # so that reasons stand in the order of the rules that decide
                    by_metric[metric] = thresholds
        return by_metric
