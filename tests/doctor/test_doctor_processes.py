"""From what processes say of themselves to the cause, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from heartbeats import heartbeat, write_heartbeat, write_list

from fastcmp.doctor.elf import ElfFacts
from fastcmp.doctor.processes import examine_processes
from fastcmp.doctor.report import Finding, Section
from fastcmp.doctor.runs import find_run
from fastcmp.doctor.target import Target

SILENT = {"abi0": 0, "abi1": 0, "plain": 0, "legacy_abi0": 0, "legacy_abi1": 0}
NOTHING = {"offered": 900, "not_selected": 900}


def judged(
    directory: Path, *heartbeats: dict[str, Any], targets: dict[str, Target] | None = None, is_named: bool = False, **variables: str
) -> Section:
    for fields in heartbeats:
        write_heartbeat(directory, fields)
    run = find_run([str(directory)], variables)
    return examine_processes(run, [str(directory)], is_named, targets or {}, variables)


def library(bound_here: int, bound_to_itself: int, unbound: int = 0) -> list[dict[str, Any]]:
    return [{"path": "/x/libatb.so", "defines": 30, "bound_here": bound_here, "bound_to_itself": bound_to_itself, "unbound": unbound}]


def test_a_run_in_which_all_is_well_has_no_cause(tmp_path: Path) -> None:
    section = judged(tmp_path, heartbeat())
    assert section.findings == []
    assert section.lines == ["process 71 (model), ended: called (abi1 812, plain 90); 900 offered, 40 saved; 40 of 40 registered paths"]


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
            "our hooks were called 902 times, so the preload library is at work; but none of 40 registered paths was offered by the acceleration library, of 900 tensors that were",
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
            heartbeat(registered_saved=38),
            "not-registered",
            "our hooks were called 902 times, so the preload library is at work; but 2 of 40 registered paths were not offered by the acceleration library, of 900 tensors that were",
        ),
        (
            heartbeat({"offered": 900, "saved": 32, "low_disk": 8}, registered_saved=32),
            "disk-full",
            "8 skipped, because too little disk space was left",
        ),
        (
            heartbeat({"offered": 900, "low_disk": 40}, registered_saved=0),
            "disk-full",
            "40 skipped, because too little disk space was left",
        ),
        (heartbeat({"offered": 9, "over_limit": 3}, registered_lines=0), "limit-reached", "3 not saved: FASTCMP_DUMP_LIMIT was reached"),
        (
            heartbeat({"offered": 9, "write_failed": 3}, registered_lines=0, last_refusal="/d/x.bin: Read-only file system"),
            "write-failed",
            "3 could not be written; the last: /d/x.bin: Read-only file system",
        ),
        (heartbeat({"offered": 9, "stalled": 1}, registered_lines=0), "stalled", "1 given up: the disk took too long"),
        (heartbeat({"offered": 9, "list_refused": 1}), "list-refused", "1 lists of registered paths were refused"),
        (
            heartbeat({"offered": 9, "refused_path": 1, "refused_size": 2}, registered_lines=0),
            "refused",
            "1 refused for their paths, 2 refused for their sizes",
        ),
        (heartbeat({"offered": 9, "no_device_copy": 1}, registered_lines=0), "no-device-copy", "1 could not be fetched from the device"),
        (heartbeat({"offered": 9, "internal_error": 1}, registered_lines=0), "internal-error", "1 met an error of fastcmp itself"),
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
    assert section.findings == [] and section.lines[-1] == "and 1 of other runs, not judged"


def test_no_heartbeat_is_a_cause_only_where_one_was_expected(tmp_path: Path) -> None:
    assert judged(tmp_path).findings == []
    (finding,) = judged(tmp_path, is_named=True).findings
    assert finding.name == "no-heartbeat"
    assert finding.evidence == (
        f"{tmp_path}: no process has left a heartbeat (.fastcmp_probe.{{pid}}, the file in which the preload library says what it met): "
        "the preload library was not in it, or wrote elsewhere"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_other_users_left_is_counted_and_not_judged(tmp_path: Path) -> None:
    os.chown(write_heartbeat(tmp_path, heartbeat(NOTHING, registered_saved=0)), 65534, -1)
    os.chown(write_list(tmp_path, 72, "0/x.bin") / "allow_list" / "paths.txt", 65534, -1)
    told = "2 heartbeats or lists of registered paths ignored: neither of this user nor of root"
    section = judged(tmp_path, is_named=True)
    assert [finding.name for finding in section.findings] == ["no-heartbeat"] and section.findings[0].evidence.endswith(f"; {told}")
    assert section.lines[-1] == told and section.facts["foreign_count"] == 2
    section = judged(tmp_path, heartbeat(pid=73), is_named=True)
    assert section.findings == [] and section.lines[1:] == [told]


def test_a_heartbeat_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".fastcmp_probe.9").write_text("{")
    assert judged(tmp_path, heartbeat()).lines[-1] == f"{tmp_path}/.fastcmp_probe.9: ignored: found no JSON"


# --- gone without a last word ----------------------------------------------------------------------------------------------------------

NOBODY = 2**22 + 7
PATHS = tuple(f"{token}/0_Model/{layer}_Layer/6_NormOpsRunner/after/outTensor0.bin" for token in range(3) for layer in range(5))


def test_of_a_process_that_was_killed_no_cause_is_made_of_zeros(tmp_path: Path) -> None:
    killed = heartbeat({"offered": 0}, ended=False, pid=NOBODY, registered_lines=5, registered_saved=0, queued=3)
    section = judged(tmp_path, killed)
    (finding,) = section.findings
    assert finding == Finding(
        "no-last-word",
        "process 4194311 (model): gone without a last word; at least 0 offered, at least 0 saved; at least 0 of 5 registered paths, 3 still queued",
    )
    assert section.lines == [
        f"process {NOBODY} (model), gone without a last word: called (abi1 812, plain 90); {finding.evidence.partition('; ')[2]}"
    ]


def test_of_a_process_that_was_killed_the_files_on_disk_count(tmp_path: Path) -> None:
    killed = heartbeat({"offered": 1}, ended=False, pid=NOBODY, registered_lines=5, registered_saved=0)
    write_list(tmp_path, NOBODY, *PATHS, saved=PATHS)
    section = judged(tmp_path, killed)
    assert section.findings == []
    assert section.lines[0].endswith(
        "), gone without a last word: called (abi1 812, plain 90); at least 1 offered, at least 15 saved; at least 15 of 15 registered paths"
    )


def test_what_was_counted_is_a_cause_also_of_a_process_that_was_killed(tmp_path: Path) -> None:
    full = heartbeat({"offered": 15, "low_disk": 12}, ended=False, pid=NOBODY, registered_lines=15, registered_saved=0)
    write_list(tmp_path, NOBODY, *PATHS, saved=PATHS[:3])
    assert [finding.name for finding in judged(tmp_path, full).findings] == ["disk-full"]
    calls = heartbeat({"offered": 15, "low_disk": 2}, ended=False, pid=NOBODY, registered_lines=15, registered_saved=0)
    assert [finding.name for finding in judged(tmp_path, calls).findings] == ["disk-full", "no-last-word"]


def test_losses_come_before_what_was_never_offered(tmp_path: Path) -> None:
    first = heartbeat(NOTHING, registered_saved=0, pid=1)
    second = heartbeat({"offered": 900, "low_disk": 40}, registered_saved=0, pid=2, started=heartbeat()["started"] + 1)
    assert [finding.name for finding in judged(tmp_path, first, second).findings] == ["disk-full", "not-registered"]


def test_of_a_process_that_runs_no_cause_is_made_of_zeros(tmp_path: Path) -> None:
    running = heartbeat({"offered": 0}, ended=False, pid=1, registered_lines=5, registered_saved=0)
    section = judged(tmp_path, running)
    assert section.findings == []
    assert section.lines[0].startswith("process 1 (model), running: called (abi1 812, plain 90); at least 0 offered")
    # It began long after a heartbeat that says 1970: that process is gone.
    assert [one.name for one in judged(tmp_path, running | {"started": 1000, "written": 1001}).findings] == ["no-last-word"]


def test_a_library_that_leads_to_itself_is_seen_before_the_end(tmp_path: Path) -> None:
    silent = heartbeat({}, SILENT, libraries=library(0, 12), ended=False, pid=NOBODY)
    assert [finding.name for finding in judged(tmp_path, silent).findings] == ["deepbind"]


# --- registered paths ------------------------------------------------------------------------------------------------------------------


def test_registered_paths_without_a_heartbeat_are_a_cause_in_any_form(tmp_path: Path) -> None:
    dump = write_list(tmp_path, 71, *PATHS)
    for is_named in (False, True):
        (finding,) = judged(tmp_path, is_named=is_named).findings
        assert finding.name == "no-heartbeat"
        assert finding.evidence.startswith(
            f"{dump}: 15 paths are registered, 0 of them on disk; process 71 has left no heartbeat (.fastcmp_probe."
        )
        assert finding.evidence.endswith(f") in {tmp_path}: the preload library was not in it, or wrote elsewhere")


def test_registered_paths_that_are_all_on_disk_need_no_heartbeat(tmp_path: Path) -> None:
    write_list(tmp_path, 71, *PATHS, saved=PATHS)
    section = judged(tmp_path)
    assert section.findings == [] and section.lines[-1].endswith("15 paths are registered, 15 of them on disk, and no heartbeat")


def test_of_many_lists_without_a_heartbeat_some_are_named(tmp_path: Path) -> None:
    for pid in range(100, 120):
        write_list(tmp_path, pid, *PATHS, started=1000 + pid, ended=2000)
    (finding,) = judged(tmp_path).findings
    assert (
        finding.evidence.count(": 15 paths are registered") == 3 and "; and 17 more like it; these processes have left" in finding.evidence
    )


def test_a_list_of_before_the_last_run_is_not_judged(tmp_path: Path) -> None:
    write_list(tmp_path, 5, *PATHS, started=1000)
    section = judged(tmp_path, heartbeat())
    assert section.findings == [] and section.lines[-1] == "and 1 of other runs, not judged"


def test_a_heartbeat_of_an_earlier_process_with_this_pid_is_not_its_heartbeat(tmp_path: Path) -> None:
    path = write_heartbeat(tmp_path, heartbeat(started=1000, written=1001))
    os.utime(path, (1001, 1001))
    write_list(tmp_path, 71, *PATHS)
    assert [finding.name for finding in judged_again(tmp_path).findings] == ["no-heartbeat"]


def judged_again(directory: Path) -> Section:
    return examine_processes(find_run([str(directory)], {}), [str(directory)], False, {}, {})


def test_the_list_itself_is_counted(tmp_path: Path) -> None:
    write_list(tmp_path, 71, *PATHS, saved=PATHS[:5])
    old = heartbeat({"offered": 5, "saved": 5}, registered_lines=5, registered_saved=5, libraries=OLD_LIBRARY)
    section = judged(tmp_path, old, ACLTRANSFORMER_SAVE_TENSOR_MAX="1")
    assert section.lines[0].endswith("5 offered, 5 saved; 5 of 15 registered paths")
    (finding,) = section.findings
    assert finding.name == "not-registered" and "10 of 15 registered paths were not offered" in finding.evidence
    assert f"10 were saved of other tokens, {PATHS[0][2:]!r} of '0', but not of '1', '2'" in finding.evidence
    assert "a libacltransformer asks its own variables" in finding.evidence and "ACLTRANSFORMER_SAVE_TENSOR_RUNNER" in finding.evidence
    assert finding.evidence.endswith("; here ACLTRANSFORMER_SAVE_TENSOR_MAX=1")


OLD_LIBRARY = [{"path": "/x/libacltransformer.so", "defines": 4, "bound_here": 2, "bound_to_itself": 0, "unbound": 2}]


def test_a_list_that_nobody_follows_is_named(tmp_path: Path) -> None:
    write_list(tmp_path, 71, *PATHS)
    plain = heartbeat(NOTHING, registered_lines=0, registered_saved=0, selected_by="nothing")
    (finding,) = judged(tmp_path, plain).findings
    assert finding == Finding("list-refused", "process 71 (model): 15 paths are registered, but the preload library follows no list")
    (finding,) = judged(tmp_path, plain | {"select": "environment"}).findings
    assert finding == Finding(
        "environment", "process 71 (model): 15 paths are registered, but only its environment was to select (FASTCMP_SELECT)"
    )


def test_processes_that_follow_one_list_may_share_its_paths(tmp_path: Path) -> None:
    halves = [heartbeat({"offered": 20, "saved": 20}, registered_saved=20, pid=pid) for pid in (71, 72)]
    assert judged(tmp_path, *halves).findings == []
    halves[1]["registered_saved"] = 19
    assert [finding.name for finding in judged(tmp_path, *halves).findings] == ["not-registered"] * 2


def test_a_forked_child_saves_what_its_parent_registered(tmp_path: Path) -> None:
    write_list(tmp_path, 71, *PATHS, saved=PATHS[:5])
    for line in PATHS[5:]:
        tensor = tmp_path / "tensors" / "thread_72" / line
        tensor.parent.mkdir(parents=True, exist_ok=True)
        tensor.touch()
    parent = heartbeat({"offered": 5, "saved": 5}, registered_lines=15, registered_saved=5)
    child = heartbeat({"offered": 10, "saved": 10}, registered_lines=15, registered_saved=10, pid=72)
    assert judged(tmp_path, parent, child).findings == []
