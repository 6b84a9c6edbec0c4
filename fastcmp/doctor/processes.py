"""What the processes of the last run say: was anything asked, offered, saved, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from fastcmp.doctor.heartbeat import Heartbeat, LoadedLibrary
from fastcmp.doctor.nearest import explain_missing
from fastcmp.doctor.report import Finding, Section
from fastcmp.doctor.runs import Process, Run
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


# What a libacltransformer asks itself before it offers a tensor to anybody, and what it takes where the variable is not set.
_OLD_VARIABLES: Final = {
    "ACLTRANSFORMER_SAVE_TENSOR": "1 to offer any",
    "ACLTRANSFORMER_SAVE_TENSOR_MAX": "how many rounds, 1 where it is not set",
    "ACLTRANSFORMER_SAVE_TENSOR_RUNNER": "which operations, all where it is not set",
}
_HEARTBEAT: Final = "heartbeat (.fastcmp_probe.{pid}, the file in which the preload library says what it met)"
_MOST_SILENT_SHOWN: Final = 3


def examine_processes(
    run: Run, directories: list[str], is_named: bool, targets: Mapping[str, Target], environment: Mapping[str, str]
) -> Section:
    """Judge the last run.

    Parameters
    ----------
    run : Run
    directories : list of str
        Where it was looked for.
    is_named : bool
        The user named the directory: a program was run and should have left something there.
    targets : mapping of str to Target
        The programs and libraries that the heartbeats name, by path.
    environment : mapping of str to str
        That of the doctor, which may be the program's.
    """
    section = Section("processes")
    where = ", ".join(directories) or "any directory"
    silent = [one for one in run.processes if one.heartbeat is None]
    section.facts = {
        "directories": directories,
        "last_run": [_facts_of(one, one.heartbeat) for one in run.processes if one.heartbeat is not None],
        "without_heartbeat": [_facts_of_list(one) for one in silent],
        "earlier_count": run.other_count,
        "unread": run.unread,
        "foreign_count": run.foreign_count,
    }
    if len(silent) == len(run.processes):
        section.lines.append(f"no {_HEARTBEAT} in {where}")
        if is_named and not silent:
            evidence = f"{where}: no process has left a {_HEARTBEAT}: the preload library was not in it, or wrote elsewhere"
            evidence += f"; {_foreign(run)}" if run.foreign_count else ""
            section.find("no-heartbeat", evidence)
    section.lines.extend(f"{_list_of(one)}: {_registered(one)}, and no heartbeat" for one in silent)
    section.findings.extend(_why_silent([one for one in silent if one.missing], where))
    has_saved = any(one.saved_count for one in run.processes)
    others: list[Finding] = []
    for one in run.processes:
        if one.heartbeat is None:
            continue
        section.lines.append(_line_of(one, one.heartbeat))
        losses = _losses(one.heartbeat)
        section.findings.extend(losses)
        # A launcher whose workers do the work is never called, and that is well.
        if one.heartbeat.call_count or not has_saved or any(map(_leads_inside, one.heartbeat.libraries)):
            others.extend(_judged(one, one.heartbeat, run, targets, environment))
    section.findings.extend(others)
    if run.other_count:
        section.lines.append(f"and {run.other_count} of other runs, not judged")
    if run.foreign_count:
        section.lines.append(_foreign(run))
    section.lines.extend(f"{path}: ignored: {why}" for path, why in run.unread.items())
    return section


def _foreign(run: Run) -> str:
    return f"{run.foreign_count} heartbeats or lists of registered paths ignored: neither of this user nor of root"


def _why_silent(silent: list[Process], where: str) -> list[Finding]:
    """Lists of registered paths that no preload library has met: the program was started without it."""
    if not silent:
        return []
    shown = "; ".join(f"{_list_of(one)}: {_registered(one)}" for one in silent[:_MOST_SILENT_SHOWN])
    more = f"; and {len(silent) - _MOST_SILENT_SHOWN} more like it" if len(silent) > _MOST_SILENT_SHOWN else ""
    processes = f"process {silent[0].pid} has" if len(silent) == 1 else "these processes have"
    evidence = f"{shown}{more}; {processes} left no {_HEARTBEAT} in {where}: the preload library was not in it, or wrote elsewhere"
    return [Finding("no-heartbeat", evidence)]


def _judged(process: Process, one: Heartbeat, run: Run, targets: Mapping[str, Target], environment: Mapping[str, str]) -> list[Finding]:
    """What is wrong beside tensors that were lost on their way to the disk."""
    inside = [library for library in one.libraries if _leads_inside(library)]
    if inside:
        return _why_bound_inside(one, inside, targets)
    lost = sum(one.count(name) for name in _LOSSES)
    is_short = process.line_count - process.saved_line_count > lost or (not process.line_count and not process.saved_count and not lost)
    is_short = is_short and not one.count("list_refused")
    if process.state != "ended":  # what it has not counted, it may have met all the same
        if process.state == "running" or not is_short or (process.registered is None and _is_saved_by_others(process, run)):
            return []
        return [Finding("no-last-word", f"{_who(one)}: gone without a last word; {_tally(process, one)}")]
    if not one.call_count:
        return _why_never_called(one, targets, environment)
    if process.saved_count == 0 and not lost and one.call_count == one.calls.get("plain", 0):
        evidence = (
            f"{_who(one)}: functions without a string were called {one.call_count} times, those with one never: "
            "the library has another C++ ABI or other signatures"
        )
        return _of_libraries(one, targets, "abi") or [Finding("abi", evidence)]
    return _why_not_selected(process, one, run, environment) if is_short else []


def _why_not_selected(process: Process, one: Heartbeat, run: Run, environment: Mapping[str, str]) -> list[Finding]:
    who, count = _who(one), process.line_count
    if one.select == "environment" and count:
        return [Finding("environment", f"{who}: {count} paths are registered, but only its environment was to select (FASTCMP_SELECT)")]
    if one.selected_by == "environment":
        return [Finding("environment", f"{who}: its environment selects tensors, but none of the {one.count('offered')} offered")]
    if count and one.selected_by != "registered":
        return [Finding("list-refused", f"{who}: {count} paths are registered, but the preload library follows no list")]
    if count:
        if process.registered is None and _is_saved_by_others(process, run):
            return []
        return [Finding("not-registered", _not_offered(process, one, environment))]
    if one.selected_by == "registered":
        return [Finding("not-registered", f"{who}: a list of registered paths is followed, and it is empty")]
    if one.select == "registered":
        return [Finding("not-registered", f"{who}: only registered paths are saved (FASTCMP_SELECT), and none was registered")]
    return [Finding("environment", f"{who}: nothing was selected: no path is registered, and its environment selects nothing")]


def _is_saved_by_others(process: Process, run: Run) -> bool:
    """Processes that follow one list may share its paths among them."""
    return sum(other.saved_line_count for other in run.processes) >= process.line_count > 0 or (
        not process.line_count and any(other.saved_count for other in run.processes if other is not process)
    )


def _not_offered(process: Process, one: Heartbeat, environment: Mapping[str, str]) -> str:
    lacking = process.line_count - process.saved_line_count - sum(one.count(name) for name in _LOSSES)
    is_none = lacking == process.line_count
    which = f"none of {lacking} registered paths was" if is_none else f"{lacking} of {process.line_count} registered paths were not"
    evidence = (
        f"{_who(one)}: our hooks were called {one.call_count} times, so the preload library is at work; but {which} offered by the "
        f"acceleration library, of {one.count('offered')} tensors that were"
    )
    return "; ".join([evidence, *explain_missing(process.missing, process.lines, one.asked), *_old_variables(one, environment)])


def _old_variables(one: Heartbeat, environment: Mapping[str, str]) -> list[str]:
    if not any(os.path.basename(library.path).startswith("libacltransformer") for library in one.libraries):
        return []
    here = ", ".join(f"{name}={environment[name]}" for name in _OLD_VARIABLES if environment.get(name))
    asks = ", ".join(f"{name} ({meaning})" for name, meaning in _OLD_VARIABLES.items())
    return [f"a libacltransformer asks its own variables before it offers a tensor: {asks}; here {here or 'none of them is set'}"]


def _losses(one: Heartbeat) -> list[Finding]:
    lost: dict[str, list[str]] = {}
    for counter, (cause, words) in _LOSSES.items():
        if one.count(counter):
            lost.setdefault(cause, []).append(f"{one.count(counter)} {words}")
    last = f"; the last: {one.last_refusal}" if one.last_refusal else ""
    return [Finding(cause, f"{_who(one)}: {', '.join(parts)}{last}") for cause, parts in lost.items()]


def _why_never_called(one: Heartbeat, targets: Mapping[str, Target], environment: Mapping[str, str]) -> list[Finding]:
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
    evidence = f"{_who(one)}: it has loaded {names}, whose hooks lead to fastcmp, but has called none of them"
    return [Finding("never-called", "; ".join([evidence, *_old_variables(one, environment)]))]


def _leads_inside(library: LoadedLibrary) -> bool:
    return bool(library.bound_to_itself and not library.bound_here)


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


def _line_of(process: Process, one: Heartbeat) -> str:
    abis = [f"{name} {count}" for name, count in one.calls.items() if count]
    calls = f"called ({', '.join(abis)})" if abis else "never called"
    state = "gone without a last word" if process.state == "gone" else process.state
    return f"{_who(one)}, {state}: {calls}; {_tally(process, one)}"


def _tally(process: Process, one: Heartbeat) -> str:
    """What was offered and saved. Of a process that has not said its last word the numbers are lower bounds."""
    least = "" if process.state == "ended" else "at least "
    registered = f"; {least}{process.saved_line_count} of {process.line_count} registered paths" if process.line_count else ""
    queued = f", {one.queued} still queued" if one.queued else ""
    return f"{least}{one.count('offered')} offered, {least}{process.saved_count} saved{registered}{queued}"


def _list_of(process: Process) -> str:
    return process.registered.directory if process.registered is not None else ""


def _registered(process: Process) -> str:
    count = process.line_count
    return f"{count} path{' is' if count == 1 else 's are'} registered, {process.saved_line_count} of them on disk"


def _facts_of_list(process: Process) -> dict[str, object]:
    facts = {"registered_lines": process.line_count, "registered_saved": process.saved_line_count}
    return {"path": _list_of(process), "pid": process.pid, "state": process.state, **facts}


def _facts_of(process: Process, one: Heartbeat) -> dict[str, object]:
    return {
        "path": one.path,
        "pid": one.pid,
        "program": one.program,
        "started": one.started,
        "written": one.written,
        "ended": one.has_ended,
        "state": process.state,
        "calls": one.calls,
        "select": one.select,
        "selected_by": one.selected_by,
        "registered_lines": process.line_count,
        "registered_saved": process.saved_line_count,
        "counters": one.counters,
        "queued": one.queued,
        "last_refusal": one.last_refusal,
        "asked": list(one.asked),
    }
