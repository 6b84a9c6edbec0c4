"""Why is nothing dumped? What is installed? What would be slow?

Looks at files, at the environment and at what processes left behind; starts no program and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastcmp.doctor.disk import examine_disk
from fastcmp.doctor.environment import examine_environment, min_free_of, output_directories
from fastcmp.doctor.heartbeat import heartbeat_directories
from fastcmp.doctor.installation import examine_installation
from fastcmp.doctor.preload import Preload, examine_preload
from fastcmp.doctor.processes import examine_processes
from fastcmp.doctor.report import CAUSES, Finding, Report, Section
from fastcmp.doctor.runs import find_run
from fastcmp.doctor.target import Target, examine_target

__all__ = ["CAUSES", "Finding", "Report", "Section", "examine"]

# Where an installation says that its library lies; the first of a pair is the variable, the second the file below it.
_USUAL_PLACES = (("ATB_HOME_PATH", "lib/libatb.so"), ("ACLTRANSFORMER_HOME_PATH", "lib/libacltransformer.so"))
_MOST_TARGETS = 16


def examine(directory: str | None = None, library: str | None = None) -> Report:
    """Examine this installation, environment and machine.

    Parameters
    ----------
    directory : str, optional
        Where a run has left its heartbeats, or the dump of one process; by default wherever it would leave them in this environment.
    library : str, optional
        The acceleration library; by default those that the environment names.
    """
    environment = dict(os.environ)
    preload_section, preload = examine_preload(environment)
    directories = heartbeat_directories(directory, environment)
    run = find_run(directories, environment, directory)
    heartbeats = [one.heartbeat for one in run.processes if one.heartbeat is not None]
    named = [os.path.abspath(library)] if library is not None else _usual_libraries(environment)
    met = [path for one in heartbeats for path in (*(loaded.path for loaded in one.libraries), one.program) if os.path.isabs(path)]
    targets = _targets([*named, *met], preload)
    return Report(
        (
            examine_installation(),
            preload_section,
            examine_environment(preload.environment, environment),
            _library_section(named, targets),
            examine_processes(run, directories, directory is not None, targets, environment),
            examine_disk(output_directories(preload.environment, environment, directory), min_free_of(preload.environment)),
        )
    )


def _usual_libraries(environment: Mapping[str, str]) -> list[str]:
    places = [os.path.join(environment[variable], below) for variable, below in _USUAL_PLACES if environment.get(variable)]
    return [place for place in places if os.path.exists(place)]


def _targets(paths: list[str], preload: Preload) -> dict[str, Target]:
    if preload.facts is None:
        return {}
    some = list(dict.fromkeys(paths))[:_MOST_TARGETS]
    return {path: examine_target(path, preload.facts, preload.hooks, preload.offered) for path in some}


def _library_section(paths: list[str], targets: Mapping[str, Target]) -> Section:
    section = Section("acceleration library")
    if not paths:
        section.lines.append("none is named (--lib FILE), and neither ATB_HOME_PATH nor ACLTRANSFORMER_HOME_PATH leads to one")
    for path in paths:
        if path not in targets:
            section.lines.append(f"{path}: not looked into, without a preload library to compare it with")
            continue
        target = targets[path]
        abi = " and ".join(f"C++ ABI {abi}" for abi in target.abis) or "C++ ABI unknown"
        section.lines.append(f"{path}: {abi}; defines {len(target.defined)} of our hooks, uses {len(target.imported)} of another library")
        section.facts[path] = {"abis": target.abis, "defined": sorted(target.defined), "imported": sorted(target.imported)}
        section.findings.extend(target.findings)
    return section
