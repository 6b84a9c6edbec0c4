"""From what processes say of themselves to the cause, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from heartbeats import heartbeat, write_heartbeat

from fastcmp.doctor.elf import ElfFacts
from fastcmp.doctor.heartbeat import find_heartbeats
from fastcmp.doctor.processes import examine_processes
from fastcmp.doctor.report import Finding, Section
from fastcmp.doctor.target import Target

SILENT = {"abi0": 0, "abi1": 0, "plain": 0, "legacy_abi0": 0, "legacy_abi1": 0}
NOTHING = {"offered": 900, "not_selected": 900}


def judged(directory: Path, *heartbeats: dict[str, Any], targets: dict[str, Target] | None = None, is_named: bool = False) -> Section:
    for fields in heartbeats:
        write_heartbeat(directory, fields)
    return examine_processes(find_heartbeats([str(directory)]), [str(directory)], is_named, targets or {})


def library(bound_here: int, bound_to_itself: int, unbound: int = 0) -> list[dict[str, Any]]:
    return [{"path": "/x/libatb.so", "defines": 30, "bound_here": bound_here, "bound_to_itself": bound_to_itself, "unbound": unbound}]


def test_a_run_in_which_all_is_well_has_no_cause(tmp_path: Path) -> None:
    section = judged(tmp_path, heartbeat())
    assert section.findings == []
    assert section.lines == ["process 71 (model), ended: called (abi1 812, plain 90); 900 offered, 38 saved; 38 of 40 registered paths"]


@pytest.mark.parametrize(
    ("fields", "cause", "evidence"),
    [
        (
            heartbeat({}, SILENT, libraries=[]),
            "never-called",
            "it has loaded no acceleration library that defines or uses our hooks",
        ),
        (
            heartbeat({}, SILENT),
            "never-called",
            "it has loaded /x/libatb.so, whose hooks lead to fastcmp, but has called none of them",
        ),
        (
            heartbeat({}, SILENT, libraries=library(0, 0)),
            "bound-inside",
            "it has loaded /x/libatb.so, which defines our hooks, but none of its calls goes through the dynamic linker",
        ),
        (
            heartbeat({}, SILENT, libraries=library(0, 12)),
            "deepbind",
            (
                "12 references of /x/libatb.so lead to itself though it was not linked so: loaded with RTLD_DEEPBIND"
                " (or -Bsymbolic: the file can no longer be looked into)"
            ),
        ),
        (
            heartbeat({}, SILENT | {"plain": 90}),
            "abi",
            "functions without a string were called 90 times, those with one never: the library has another C++ ABI or other signatures",
        ),
        (
            heartbeat(NOTHING, registered_lines=0, registered_saved=0),
            "not-registered",
            "a list of registered paths is followed, and it is empty",
        ),
        (
            heartbeat(NOTHING, registered_lines=0, registered_saved=0, selected_by="nothing", select="registered"),
            "not-registered",
            "only registered paths are saved (FASTCMP_SELECT), and none was registered",
        ),
        (
            heartbeat(NOTHING, registered_saved=0),
            "not-registered",
            "40 paths are registered; 900 tensors were offered, none of these among them",
        ),
        (
            heartbeat(NOTHING, selected_by="environment", registered_lines=0),
            "environment",
            "its environment selects tensors, but none of the 900 offered",
        ),
        (
            heartbeat(NOTHING, selected_by="nothing", registered_lines=0),
            "environment",
            "nothing was selected: no path is registered, and its environment selects nothing",
        ),
        (
            heartbeat({"offered": 900, "saved": 30, "low_disk": 8}),
            "disk-full",
            "8 skipped, because too little disk space was left",
        ),
        (heartbeat({"offered": 900, "low_disk": 40}), "disk-full", "40 skipped, because too little disk space was left"),
        (heartbeat({"offered": 9, "over_limit": 3}), "limit-reached", "3 not saved: FASTCMP_DUMP_LIMIT was reached"),
        (
            heartbeat({"offered": 9, "write_failed": 3}, last_refusal="/d/x.bin: Read-only file system"),
            "write-failed",
            "3 could not be written; the last: /d/x.bin: Read-only file system",
        ),
        (heartbeat({"offered": 9, "stalled": 1}), "stalled", "1 given up: the disk took too long"),
        (heartbeat({"offered": 9, "list_refused": 1}), "list-refused", "1 lists of registered paths were refused"),
        (
            heartbeat({"offered": 9, "refused_path": 1, "refused_size": 2}),
            "refused",
            "1 refused for their paths, 2 refused for their sizes",
        ),
        (heartbeat({"offered": 9, "no_device_copy": 1}), "no-device-copy", "1 could not be fetched from the device"),
        (heartbeat({"offered": 9, "internal_error": 1}), "internal-error", "1 met an error of fastcmp itself"),
    ],
)
def test_each_cause_has_its_name(fields: dict[str, Any], cause: str, evidence: str, tmp_path: Path) -> None:
    assert judged(tmp_path, fields).findings == [Finding(cause, f"process 71 (model): {evidence}")]


def test_the_file_of_the_library_says_more_than_its_heartbeat(tmp_path: Path) -> None:
    symbolic = Finding("symbolic", "/x/libatb.so: is linked with -Bsymbolic")
    facts = ElfFacts("/x/libatb.so", "x86-64")
    silent = heartbeat({}, SILENT, libraries=library(0, 12))
    section = judged(tmp_path, silent, targets={"/x/libatb.so": Target("/x/libatb.so", facts, findings=[symbolic])})
    assert section.findings == [symbolic]
    (finding,) = judged(tmp_path, silent, targets={"/x/libatb.so": Target("/x/libatb.so", facts)}).findings
    assert finding.name == "deepbind" and finding.evidence.endswith("loaded with RTLD_DEEPBIND")


def test_functions_in_the_program_itself_are_named_where_nothing_was_called(tmp_path: Path) -> None:
    inside = Finding("in-executable", "/usr/bin/model: this program itself defines atb::Probe::SaveTensor")
    target = Target("/usr/bin/model", ElfFacts("/usr/bin/model", "x86-64", is_executable=True), findings=[inside])
    assert judged(tmp_path, heartbeat({}, SILENT, libraries=[]), targets={"/usr/bin/model": target}).findings == [inside]


def test_a_launcher_is_never_called_and_that_is_well(tmp_path: Path) -> None:
    launcher = heartbeat({}, SILENT, pid=70, libraries=[])
    assert judged(tmp_path, launcher, heartbeat()).findings == []
    assert [finding.name for finding in judged(tmp_path, launcher, heartbeat({}, SILENT)).findings] == ["never-called", "never-called"]


def test_runs_before_the_last_are_counted_and_not_judged(tmp_path: Path) -> None:
    old = heartbeat({}, SILENT, pid=5, started=1000, written=1001)
    section = judged(tmp_path, old, heartbeat())
    assert section.findings == [] and section.lines[-1] == "and 1 of earlier runs, not judged"


def test_no_heartbeat_is_a_cause_only_where_one_was_expected(tmp_path: Path) -> None:
    assert judged(tmp_path).findings == []
    (finding,) = judged(tmp_path, is_named=True).findings
    assert finding.name == "no-heartbeat"
    assert finding.evidence.startswith(f"{tmp_path}: no process has left a heartbeat (.fastcmp_probe.*): the preload library was not in it")


def test_a_heartbeat_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".fastcmp_probe.9").write_text("{")
    assert judged(tmp_path, heartbeat()).lines[-1] == f"{tmp_path}/.fastcmp_probe.9: not read: found no JSON"


def test_a_process_that_was_killed_left_no_last_word(tmp_path: Path) -> None:
    section = judged(tmp_path, heartbeat(ended=False, pid=2**22 + 7, queued=3))
    assert section.lines[0].startswith("process 4194311 (model), gone without a last word: ") and section.lines[0].endswith(
        ", 3 still queued"
    )
