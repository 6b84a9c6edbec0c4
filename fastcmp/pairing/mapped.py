"""Rules of ``--map`` to links: what each golden name is called by target, and what is ambiguous."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fastcmp.errors import UsageError
from fastcmp.pairing.links import Link, Matching, Name, shown
from fastcmp.pairing.map_files import MapRule
from fastcmp.pairing.name_pattern import Pattern
from fastcmp.sources.wording import printable


class _Candidate(NamedTuple):
    """What one rule says about a golden name, where target has such a name."""

    rule: MapRule
    golden: Name
    target: Name


def map_links(matching: Matching, rules: Sequence[MapRule]) -> list[Link]:
    """A link for each golden name that a rule gives a name of target; rules that give none are warned of.

    Raises
    ------
    UsageError
        If two rules give a golden name two names that target has, or two golden names get the same one.
    """
    names = _Names({data_id for _, data_id in matching.golden.free})
    ranks: dict[str, list[str]] = {}
    for rank, data_id in matching.golden.free:
        ranks.setdefault(data_id, []).append(rank)
    of_golden: dict[tuple[Name, int], _Candidate] = {}
    of_target: dict[Name, _Candidate] = {}
    warnings = []
    for rule in rules:
        fitting, wanted, has_linked = 0, "", False
        for data_id, target_id in _named(rule, names):
            fitting += 1
            wanted = wanted or target_id
            for rank in ranks[data_id]:
                if (rank, target_id) in matching.target.free:
                    has_linked = True
                    _add(_Candidate(rule, (rank, data_id), (rank, target_id)), of_golden, of_target)
        if not has_linked:
            warnings.append(_without_effect(rule, fitting, wanted))
    matching.warn(warnings)
    return [Link(one.golden, one.target, one.rule.name, one.rule.offset) for one in of_golden.values()]


def _add(found: _Candidate, of_golden: dict[tuple[Name, int], _Candidate], of_target: dict[Name, _Candidate]) -> None:
    earlier = of_golden.setdefault((found.golden, found.rule.offset), found)
    if earlier.target != found.target:
        rules = f"{earlier.rule.where} and {found.rule.where}"
        targets = f"{shown(earlier.target)!r} and {shown(found.target)!r}"
        raise UsageError(f"{rules}: golden {shown(found.golden)!r} is {targets}, expected one of them; let one rule alone fit that name")
    first = of_target.setdefault(found.target, found)
    if first.golden != found.golden:
        rules = first.rule.where if first.rule is found.rule else f"{first.rule.where} and {found.rule.where}"
        goldens = f"{shown(first.golden)!r} and {shown(found.golden)!r}"
        raise UsageError(f"{rules}: golden {goldens} are both {shown(found.target)!r} of target, expected one of them; narrow the pattern")
    if first.rule.offset != found.rule.offset:
        rules = f"{first.rule.where} and {found.rule.where}"
        offsets = f"{first.rule.offset} and {found.rule.offset}"
        raise UsageError(
            f"{rules}: golden {shown(found.golden)!r} is {shown(found.target)!r} of target by token offsets {offsets}, expected one"
        )


class _Names:
    """Golden names, to be found by how they begin or end: two thousand rules may well begin alike."""

    def __init__(self, names: Iterable[str]) -> None:
        self._forward = sorted(names)
        self._backward = sorted(name[::-1] for name in self._forward)

    def like(self, pattern: Pattern) -> Sequence[str]:
        """Those that begin or end as the pattern does, whichever are fewer, in order."""
        first, last = _range(self._forward, pattern.prefix)
        first_back, last_back = _range(self._backward, pattern.suffix[::-1])
        if last - first <= last_back - first_back:
            return self._forward[first:last]
        return sorted(name[::-1] for name in self._backward[first_back:last_back])


def _range(names: Sequence[str], prefix: str) -> tuple[int, int]:
    """Where those of the sorted names lie that begin so."""
    return (bisect_left(names, prefix), bisect_right(names, prefix, key=lambda name: name[: len(prefix)])) if prefix else (0, len(names))


def _named(rule: MapRule, names: _Names) -> Iterator[tuple[str, str]]:
    """The golden names that fit, each with the name that it has in target."""
    for data_id in names.like(rule.golden):
        captures = rule.golden.captures(data_id)
        target_id = None if captures is None else rule.target.filled(captures)
        if target_id is not None:
            yield data_id, target_id


def _without_effect(rule: MapRule, fitting: int, wanted: str) -> str:
    if not fitting:
        return f"{rule.where}: no golden name fits {printable(rule.golden.text)!r}; the rule does nothing"
    names = "1 golden name fits" if fitting == 1 else f"{fitting} golden names fit"
    return f"{rule.where}: {names}, but target has no free name that the rule gives, such as {printable(wanted)!r}; the rule does nothing"
