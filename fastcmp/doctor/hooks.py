"""Which functions of an acceleration library the preload library takes the place of.

There is no list here: the hooks are what the installed library exports, so that the doctor and the library cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from fastcmp.doctor.elf import ElfFacts, read_elf

# The functions without which no tensor comes: the questions that precede a save, and the save.
_PROBE: Final = "atb::Probe"
_PROBE_DECIDES: Final = frozenset(f"{_PROBE}::{name}" for name in ("IsTensorNeedSave", "IsExecuteCountInRange", "SaveTensor"))
_SAVE: Final = "SaveTensor"

_COMPONENT = re.compile(r"[1-9][0-9]{0,3}")


def qualified_name(symbol: str) -> str:
    """``atb::Probe::SaveTensor`` of ``_ZN3atb5Probe10SaveTensorE...``; "" for what is no plain function of a class.

    >>> qualified_name("_ZN3atb5Probe12IsSaveTilingEv")
    'atb::Probe::IsSaveTiling'
    """
    if not symbol.startswith("_ZN"):
        return ""
    at, parts = 3, []
    while (match := _COMPONENT.match(symbol, at)) is not None:
        at = match.end() + int(match[0])
        parts.append(symbol[match.end() : at])
    return "::".join(parts) if len(parts) > 1 and symbol[at : at + 1] == "E" else ""


@dataclass(frozen=True)
class Hooks:
    """The symbols that one library offers to take the place of.

    Attributes
    ----------
    abi0, abi1 : frozenset of str
        Functions with a std::string of the old and of the C++11 ABI among their arguments.
    plain : frozenset of str
        Functions without one: the same symbol in both.
    """

    abi0: frozenset[str] = frozenset()
    abi1: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()

    @cached_property
    def all(self) -> frozenset[str]:
        return self.abi0 | self.abi1 | self.plain

    @cached_property
    def names(self) -> frozenset[str]:
        """Qualified names, one for all forms of a function."""
        return frozenset(map(qualified_name, self.all))

    @cached_property
    def namespaces(self) -> tuple[str, ...]:
        """How every symbol of the namespaces of the hooks begins: ``_ZN3atb`` and so on."""
        first = {name.partition("::")[0] for name in self.names}
        return tuple(sorted(f"_ZN{len(name)}{name}" for name in first))

    def abis_of(self, symbols: Iterable[str]) -> list[int]:
        """Which C++ ABIs the symbols belong to: [], [0], [1] or both. Hooks without a string say nothing."""
        found = set(symbols)
        return [abi for abi, hooks in enumerate((self.abi0, self.abi1)) if hooks & found]


def hooks_of(symbols: Iterable[str], names: frozenset[str] | None = None) -> Hooks:
    """Sort exported symbols by ABI: where a function has a form with ``__cxx11``, its other form is the old one.

    Parameters
    ----------
    symbols : iterable of str
        Mangled names.
    names : frozenset of str, optional
        Only functions with these qualified names; all by default.
    """
    named = {symbol: name for symbol in symbols if (name := qualified_name(symbol)) and (names is None or name in names)}
    abi1 = {symbol for symbol in named if "__cxx11" in symbol}
    # A library of one ABI has no other form to compare with; there the old std::string is known by its abbreviation.
    in_two_forms = {named[symbol] for symbol in abi1}
    abi0 = {s for s, name in named.items() if s not in abi1 and (name in in_two_forms or _has_old_string(s))}
    return Hooks(frozenset(abi0), frozenset(abi1), frozenset(set(named) - abi0 - abi1))


def _has_old_string(symbol: str) -> bool:
    """True if ``Ss``, the old std::string, stands among the arguments."""
    arguments = symbol[len("_ZN") :]
    at = 0
    while (match := _COMPONENT.match(arguments, at)) is not None:
        at = match.end() + int(match[0])
    return re.search(r"(?:^E|[KR]|_)Ss", arguments[at:]) is not None


def read_hooks(library: str) -> tuple[ElfFacts, Hooks]:
    """The facts about a preload library and its hooks; `UnreadableElf` where it is broken."""
    facts = read_elf(library, ("_ZN",))
    return facts, hooks_of(facts.exported)


def deciding(symbols: Iterable[str]) -> dict[str, list[str]]:
    """The symbols that decide whether anything is saved, by name: those of ``atb::Probe`` if there are any, else every SaveTensor."""
    named: dict[str, list[str]] = {}
    for symbol in symbols:
        if name := qualified_name(symbol):
            named.setdefault(name, []).append(symbol)
    of_probe = {name: forms for name, forms in named.items() if name in _PROBE_DECIDES}
    return of_probe or {name: forms for name, forms in named.items() if name.endswith(f"::{_SAVE}")}
