"""What the processes of the last run say: was anything asked, offered, saved, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from fastcmp.doctor.heartbeat import Heartbeat, Heartbeats, LoadedLibrary
from fastcmp.doctor.report import Finding, Section
from fastcmp.doctor.target import Target

# Counters that stand for tensors that were wanted and did not come, each with the cause it shows and its part of a sentence.
_LOSSES: Final[dict[str, tuple[str, str]]] = {
    "low_disk": ("disk-full", "skipped, because too little disk space was left"),
    "over_limit": ("limit-reached", "not saved: FASTCMP_DUMP_LIMIT was reached"),
    "write_failed": ("write-failed", "could not be written"),
    "stalled": ("stalled", "given up: the disk took too long"),
    "list_refused": ("list-refused", "lists of registered paths were refused"),
    "refused_path": ("refused", "refused for their paths"),
    "refused_size": ("refused", "refused for their sizes"),
    "refused_attributes": ("refused", "refused for their attributes"),
    "no_data": ("refused", "had no data"),
    "no_device_copy": ("no-device-copy", "could not be fetched from the device"),
    "internal_error": ("internal-error", "met an error of fastcmp itself"),
}


def examine_processes(found: Heartbeats, directories: list[str], is_named: bool, targets: Mapping[str, Target]) -> Section:
    """Judge the last run.

    Parameters
    ----------
    found : Heartbeats
    directories : list of str
        Where they were looked for.
    is_named : bool
        The user named the directory: a program was run and should have left something there.
    targets : mapping of str to Target
        The programs and libraries that the heartbeats name, by path.
    """
    section = Section("processes")
    where = ", ".join(directories) or "any directory"
    section.facts = {
        "directories": directories,
        "last_run": [_facts_of(one) for one in found.last_run],
        "earlier_count": found.earlier_count,
        "unread": found.unread,
    }
    if not found.last_run:
        section.lines.append(f"no heartbeat in {where}")
        if is_named:
            evidence = f"{where}: no process has left a heartbeat (.fastcmp_probe.*): the preload library was not in it, or wrote elsewhere"
            section.find("no-heartbeat", evidence)
    has_saved = any(one.saved for one in found.last_run)
    for one in found.last_run:
        section.lines.append(_line_of(one))
        # A launcher whose workers do the work is never called, and that is well.
        is_launcher = has_saved and not sum(one.calls.values())
        section.findings.extend(_losses(one) if is_launcher else _judged(one, targets))
    if found.earlier_count:
        section.lines.append(f"and {found.earlier_count} of earlier runs, not judged")
    section.lines.extend(f"{path}: not read: {why}" for path, why in found.unread.items())
    return section


def _judged(one: Heartbeat, targets: Mapping[str, Target]) -> list[Finding]:
    losses = _losses(one)
    if not sum(one.calls.values()):
        return [*losses, *_why_never_called(one, targets)]
    bound_inside = [library for library in one.libraries if library.bound_to_itself and not library.bound_here]
    findings = losses + _why_bound_inside(one, bound_inside, targets)
    if one.saved or findings:
        return findings
    who = _who(one)
    if not sum(count for name, count in one.calls.items() if name != "plain"):
        evidence = (
            f"{who}: functions without a string were called {one.calls.get('plain', 0)} times, those with one never: "
            "the library has another C++ ABI or other signatures"
        )
        return _of_libraries(one, targets, "abi") or [Finding("abi", evidence)]
    if one.selected_by == "registered":
        if not one.registered_lines:
            return [Finding("not-registered", f"{who}: a list of registered paths is followed, and it is empty")]
        evidence = (
            f"{who}: {one.registered_lines} paths are registered; {one.count('offered')} tensors were offered, none of these among them"
        )
        return [Finding("not-registered", evidence)]
    if one.selected_by == "environment":
        return [Finding("environment", f"{who}: its environment selects tensors, but none of the {one.count('offered')} offered")]
    if one.select == "registered":
        return [Finding("not-registered", f"{who}: only registered paths are saved (FASTCMP_SELECT), and none was registered")]
    return [Finding("environment", f"{who}: nothing was selected: no path is registered, and its environment selects nothing")]


def _losses(one: Heartbeat) -> list[Finding]:
    lost: dict[str, list[str]] = {}
    for counter, (cause, words) in _LOSSES.items():
        if one.count(counter):
            lost.setdefault(cause, []).append(f"{one.count(counter)} {words}")
    last = f"; the last: {one.last_refusal}" if one.last_refusal else ""
    return [Finding(cause, f"{_who(one)}: {', '.join(parts)}{last}") for cause, parts in lost.items()]


def _why_never_called(one: Heartbeat, targets: Mapping[str, Target]) -> list[Finding]:
    bound = _why_bound_inside(one, [library for library in one.libraries if library.bound_to_itself], targets)
    if bound:
        return bound
    known = _of_libraries(one, targets, "in-executable", "abi", "symbolic", "bound-inside", "hidden")
    if known:
        return known
    if not one.libraries:
        return [Finding("never-called", f"{_who(one)}: it has loaded no acceleration library that defines or uses our hooks")]
    names = ", ".join(library.path for library in one.libraries)
    if not any(library.bound_here or library.unbound for library in one.libraries):
        evidence = f"{_who(one)}: it has loaded {names}, which defines our hooks, but none of its calls goes through the dynamic linker"
        return [Finding("bound-inside", evidence)]
    return [Finding("never-called", f"{_who(one)}: it has loaded {names}, whose hooks lead to fastcmp, but has called none of them")]


def _why_bound_inside(one: Heartbeat, libraries: list[LoadedLibrary], targets: Mapping[str, Target]) -> list[Finding]:
    """References that lead back into the library itself: by its own build, as its file shows, or else by how it was loaded."""
    findings = []
    for library in libraries:
        target = targets.get(library.path)
        if target is not None and any(finding.name in ("symbolic", "hidden") for finding in target.findings):
            findings.extend(target.findings)
            continue
        unsure = "" if target is not None and target.facts is not None else " (or -Bsymbolic: the file can no longer be looked into)"
        evidence = (
            f"{_who(one)}: {library.bound_to_itself} references of {library.path} lead to itself though it was not linked so: "
            f"loaded with RTLD_DEEPBIND{unsure}"
        )
        findings.append(Finding("deepbind", evidence))
    return findings


def _of_libraries(one: Heartbeat, targets: Mapping[str, Target], *names: str) -> list[Finding]:
    """What the files themselves show, of the program and of all that it has loaded."""
    looked_into = [targets[path] for path in (one.program, *(library.path for library in one.libraries)) if path in targets]
    return [finding for target in looked_into for finding in target.findings if finding.name in names]


def _who(one: Heartbeat) -> str:
    return f"process {one.pid} ({os.path.basename(one.program) or 'unknown program'})"


def _line_of(one: Heartbeat) -> str:
    abis = [f"{name} {count}" for name, count in one.calls.items() if count]
    registered = f"; {one.registered_saved} of {one.registered_lines} registered paths" if one.registered_lines else ""
    state = "ended" if one.has_ended else "running" if os.path.exists(f"/proc/{one.pid}") else "gone without a last word"
    queued = f", {one.queued} still queued" if one.queued else ""
    calls = f"called ({', '.join(abis)})" if abis else "never called"
    return f"{_who(one)}, {state}: {calls}; {one.count('offered')} offered, {one.saved} saved{registered}{queued}"


def _facts_of(one: Heartbeat) -> dict[str, object]:
    return {
        "path": one.path,
        "pid": one.pid,
        "program": one.program,
        "started": one.started,
        "written": one.written,
        "ended": one.has_ended,
        "calls": one.calls,
        "select": one.select,
        "selected_by": one.selected_by,
        "registered_lines": one.registered_lines,
        "registered_saved": one.registered_saved,
        "counters": one.counters,
        "queued": one.queued,
        "last_refusal": one.last_refusal,
    }
