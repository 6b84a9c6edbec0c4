"""The acceleration library as a file: can a preloaded library take the place of its functions?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fastcmp.doctor.elf import ElfFacts, UnreadableElf, read_elf
from fastcmp.doctor.hooks import Hooks, deciding, qualified_name
from fastcmp.doctor.report import Finding

_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Target:
    """What was seen in one library.

    Attributes
    ----------
    path : str
    facts : ElfFacts or None
        None where it could not be read.
    defined, imported : frozenset of str
        Those of our hooks that it defines for others to see, and those that it only uses.
    abis : list of int
        The C++ ABIs that these belong to; empty where none has a string among its arguments.
    findings : list of Finding
    """

    path: str
    facts: ElfFacts | None = None
    defined: frozenset[str] = frozenset()
    imported: frozenset[str] = frozenset()
    abis: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def examine_target(path: str, ours: ElfFacts, hooks: Hooks, offered: frozenset[str]) -> Target:
    """Look into one library.

    Parameters
    ----------
    path : str
    ours : ElfFacts
        Our own library.
    hooks : Hooks
        The functions it knows.
    offered : frozenset of str
        The symbols that the libraries of LD_PRELOAD offer together.
    """
    try:
        facts = read_elf(path, hooks.namespaces)
    except UnreadableElf as error:
        return Target(path, findings=[Finding("unreadable-library", f"{path}: {error}")])
    if facts.machine != ours.machine:
        evidence = f"{path}: found a library for {facts.machine}, but this installation is for {ours.machine}"
        return Target(path, facts, findings=[Finding("other-machine", evidence)])
    visible = facts.exported | facts.protected
    seen = hooks.all & (visible | facts.imported)
    target = Target(path, facts, hooks.all & visible, hooks.all & facts.imported, hooks.abis_of(seen))
    target.findings.extend(_judged(target, facts, hooks, offered))
    return target


def _judged(target: Target, facts: ElfFacts, hooks: Hooks, offered: frozenset[str]) -> list[Finding]:
    """The first thing that is wrong; what comes behind it would be its consequence."""
    path = target.path
    visible = facts.exported | facts.protected | facts.imported
    # A form that fastcmp does not know and nothing calls is no more than a leftover of the compiler.
    known_or_called = visible & (hooks.all | facts.imported | facts.referenced)
    decide = deciding(symbol for symbol in known_or_called if qualified_name(symbol) in hooks.names)
    inside = deciding(symbol for symbol in facts.hidden if qualified_name(symbol) in hooks.names)
    defined_here = {symbol for forms in decide.values() for symbol in forms if symbol not in facts.imported}
    if facts.is_executable and (defined_here or inside):
        return [Finding("in-executable", f"{path}: this program itself defines {_named(decide or inside)}")]
    if inside and (not decide or (any(map(_is_probe, inside)) and not any(map(_is_probe, decide)))):
        return [Finding("hidden", f"{path}: defines {_named(inside)}, but hides them from other libraries")]
    if not decide:
        return [_nothing_there(path, facts, hooks)]
    strange = {name: forms for name, forms in decide.items() if not offered & set(forms)}
    if strange and (any(map(_is_probe, strange)) or len(strange) == len(decide)):
        form = min(forms[0] for forms in strange.values())
        evidence = f"{path}: needs {_named(strange)} in a form that no preloaded library has ({form}{_abi_of(form, hooks)})"
        return [Finding("abi", f"{evidence}; functions of other forms are replaced, so it runs, and saves nothing")]
    if facts.is_symbolic and defined_here:
        return [Finding("symbolic", f"{path}: is linked with -Bsymbolic (DF_SYMBOLIC): its calls of {_named(decide)} stay inside")]
    protected = {name: forms for name, forms in decide.items() if facts.protected & set(forms)}
    if protected:
        return [Finding("hidden", f"{path}: {_named(protected)}: found protected visibility, so its own calls stay inside")]
    bound = {name: forms for name, forms in decide.items() if defined_here & set(forms) and not facts.referenced & set(forms)}
    if bound and (any(map(_is_probe, bound)) or len(bound) == len(decide)):
        evidence = f"{path}: defines {_named(bound)}, but nothing in it calls them through the dynamic linker: bound when it was linked"
        return [Finding("bound-inside", evidence)]
    return []


def _nothing_there(path: str, facts: ElfFacts, hooks: Hooks) -> Finding:
    """A stripped library that hides our functions looks like any other library, but for its neighbours in their namespaces."""
    names = filter(None, map(qualified_name, facts.exported | facts.imported))
    namespaces = sorted({name.partition("::")[0] for name in names})
    none = f"none of our {len(hooks.all)} hooks is visible in it, defined or used"
    if namespaces and not facts.is_executable:
        evidence = f"{path}: has functions of namespace {', '.join(namespaces)}, but {none}: hidden, or in another of its libraries"
        return Finding("hidden", evidence)
    kind = "a statically linked program" if facts.is_static else "a program" if facts.is_executable else "a library"
    return Finding("no-hooks", f"{path}: found {kind}, and {none}")


def _is_probe(name: str) -> bool:
    return name.startswith("atb::Probe::")


def _abi_of(form: str, hooks: Hooks) -> str:
    known = hooks.abis_of([form])
    return f", ABI {known[0]}" if known else ", a signature that fastcmp does not know"


def _named(names: Iterable[str]) -> str:
    """``a, b and 3 more``."""
    every = sorted(names)
    shown = every[:_NAMES_SHOWN]
    more = len(every) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
