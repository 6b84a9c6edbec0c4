"""Our own library: is it there, can it be loaded, what does it offer, and what does it make of the environment."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastcmp.doctor.elf import ElfFacts, UnreadableElf, read_elf
from fastcmp.doctor.hooks import Hooks, hooks_of, read_hooks
from fastcmp.doctor.report import Section
from fastcmp.preload_library import PreloadLibraryError, is_same_library, library_path, preload_entries


@dataclass
class Preload:
    """What the other checks need to know of it.

    Attributes
    ----------
    facts : ElfFacts or None
        None where there is no library, or it cannot be read.
    hooks : Hooks
    offered : frozenset of str
        The hooks that the libraries of LD_PRELOAD offer together; ours where none of them offers any.
    environment : dict or None
        The library's own words on what the environment selects; None where it could not be asked.
    """

    facts: ElfFacts | None = None
    hooks: Hooks = field(default_factory=Hooks)
    offered: frozenset[str] = frozenset()
    environment: dict[str, Any] | None = None


def examine_preload(environment: Mapping[str, str]) -> tuple[Section, Preload]:
    """Look at the installed library and at what LD_PRELOAD names."""
    section, preload = Section("preload library"), Preload()
    try:
        path = library_path()
    except PreloadLibraryError as error:
        section.find("no-preload-library", str(error))
        return section, preload
    section.facts["path"] = path
    try:
        preload.facts, preload.hooks = read_hooks(path)
    except UnreadableElf as error:
        section.find("preload-not-loadable", f"{path}: {error}")
        return section, preload
    preload.offered = preload.hooks.all
    try:
        preload.environment = _asked(path)
        version = str(preload.environment.get("version", "unknown"))
    except (OSError, AttributeError, ValueError) as error:
        section.find("preload-not-loadable", f"{path}: {error}")
        version = ""
    hooks = preload.hooks
    section.facts |= {"version": version, "hooks": {"abi0": len(hooks.abi0), "abi1": len(hooks.abi1), "plain": len(hooks.plain)}}
    section.lines += [
        f"{path}" + (f", version {version}" if version else ""),
        f"replaces {len(hooks.abi0)} functions of ABI 0, {len(hooks.abi1)} of ABI 1, and {len(hooks.plain)} that are alike in both",
    ]
    _examine_entries(section, preload, path, preload_entries(environment.get("LD_PRELOAD", "")))
    return section, preload


def _examine_entries(section: Section, preload: Preload, library: str, entries: list[str]) -> None:
    section.facts["LD_PRELOAD"] = entries
    if not entries:
        section.lines.append("LD_PRELOAD is not set here (`fastcmp run` sets it)")
        return
    has_ours = [is_same_library(entry, library) for entry in entries]
    section.lines.append(f"LD_PRELOAD {'names it' if any(has_ours) else 'is set, but does not name it'}")
    offered: set[str] = set()
    for position, entry in enumerate(entries):
        if has_ours[position]:
            offered |= preload.hooks.all
            continue
        if "/" not in entry:  # searched where the dynamic linker searches; what is not there it says itself
            continue
        try:
            others = hooks_of(read_elf(entry, preload.hooks.namespaces).exported, preload.hooks.names)
        except UnreadableElf as error:
            section.find("preload-not-loadable", f"LD_PRELOAD: {entry}: {error}; the dynamic linker leaves it out")
            continue
        offered |= others.all
        same = others.all & preload.hooks.all
        if same and any(has_ours[position:]):
            evidence = f"LD_PRELOAD: {entry} comes before fastcmp's library and replaces {len(same)} of the same functions"
            section.find("preload-shadowed", evidence)
    if offered:
        preload.offered = frozenset(offered)


def _asked(path: str) -> dict[str, Any]:
    """What the library says of itself and of the environment. It reads both afresh: no list is followed, nothing is printed.

    Raises
    ------
    OSError, AttributeError, ValueError
        If the library cannot be loaded, lacks the function, or writes something else.
    """
    function = ctypes.CDLL(path).fastcmp_preload_environment
    function.argtypes, function.restype = (ctypes.c_char_p, ctypes.c_size_t), ctypes.c_size_t
    size = 1 << 16
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = function(buffer, size)
        if length < size:
            answer = json.loads(buffer.raw[:length])
            if not isinstance(answer, dict):
                raise ValueError(f"fastcmp_preload_environment: found {type(answer).__name__}, expected an object")
            return answer
        size = length + 1
