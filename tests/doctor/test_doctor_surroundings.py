"""The installation, the preload library, the environment and the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastcmp
from fastcmp.doctor import examine
from fastcmp.doctor.disk import examine_disk
from fastcmp.doctor.environment import examine_environment, min_free_of, output_directories
from fastcmp.doctor.hooks import read_hooks
from fastcmp.doctor.installation import examine_installation
from fastcmp.doctor.preload import examine_preload
from fastcmp.doctor.report import CAUSES, Finding, Report, Section
from fastcmp.kernels.cache_dir import cache_key
from fastcmp.preload_library import LIBRARY_NAME, library_path


def test_a_cause_without_a_name_in_the_list_cannot_be_found() -> None:
    with pytest.raises(KeyError, match="cause 'bad-luck' is not in the closed list"):
        Section("x").find("bad-luck", "found it")
    assert all(name == name.lower() and " " not in name and advice for name, advice in CAUSES.items())


def test_a_report_is_json_and_its_exit_code_says_whether_something_was_found() -> None:
    report = Report((Section("acceleration library", {"path": "/x"}), Section("disk", findings=[Finding("disk-full", "/d: full")])))
    assert json.loads(json.dumps(report.as_json())) == {
        "fastcmp_doctor": 1,
        "exit_code": 1,
        "findings": [{"name": "disk-full", "evidence": "/d: full", "advice": CAUSES["disk-full"]}],
        "acceleration_library": {"path": "/x"},
        "disk": {},
    }
    assert Report(()).exit_code == 0


def test_looking_at_an_installation_imports_none_of_it() -> None:
    code = (
        "import sys\nfrom fastcmp.doctor import examine\nexamine()\n"
        "heavy = {'numpy', 'numba', 'pyarrow', 'torch', 'rich', 'cyclopts'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_first_comparison_is_said_to_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "fastcmp" / cache_key()
    section = examine_installation()
    assert section.facts["kernels_are_compiled"] is False
    assert section.lines[-1] == f"no compiled kernels in {cache} yet: the first comparison compiles them (about 10 s)"
    (cache / "kernels").mkdir()
    (cache / "kernels" / "fold.nbc").write_bytes(b"")
    section = examine_installation()
    assert section.facts["kernels_are_compiled"] is True and section.lines[-1] == f"compiled kernels: {cache}"
    assert section.lines[0].startswith(f"fastcmp {fastcmp.__version__}, numpy ")


def test_the_library_of_the_installation_is_loaded_and_asked() -> None:
    section, preload = examine_preload({})
    assert section.findings == [] and section.facts["path"] == library_path() and section.facts["version"] == fastcmp.__version__
    assert preload.environment is not None and preload.environment["dump"] is True
    assert preload.offered == preload.hooks.all and preload.hooks.abi0 and preload.hooks.abi1 and preload.hooks.plain
    assert "LD_PRELOAD is not set here (`fastcmp run` sets it)" in section.lines


def test_asking_the_library_leaves_no_heartbeat_and_prints_nothing(tmp_path: Path) -> None:
    allow_list = tmp_path / "paths.txt"
    allow_list.write_text("0/x.bin\n")
    allow_list.chmod(0o600)
    code = "from fastcmp.doctor.preload import examine_preload\nassert examine_preload({})[1].environment['allow_list']\n"
    environment = {**os.environ, "FASTCMP_ALLOWLIST": str(allow_list), "FASTCMP_DUMP_DIR": str(tmp_path), "FASTCMP_SELECT": "malformed"}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60, capture_output=True, text=True)
    assert done.stdout + done.stderr == "" and os.listdir(tmp_path) == ["paths.txt"]


def install(directory: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pretend that fastcmp is installed in ``directory``, with this preload library."""
    directory.mkdir(exist_ok=True)
    if content is not None:
        (directory / LIBRARY_NAME).write_bytes(content)
    monkeypatch.setattr(fastcmp, "__path__", [str(directory)])
    return str(directory / LIBRARY_NAME)


def test_an_installation_without_the_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install(tmp_path / "fastcmp", None, monkeypatch)
    (finding,) = examine_preload({})[0].findings
    assert finding == Finding("no-preload-library", f"{path}: this installation has no preload library; install fastcmp again, on Linux")
    assert [found.name for found in examine().findings] == ["no-preload-library"]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"not a library"])
def test_a_broken_installed_library_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install(tmp_path / "fastcmp", content, monkeypatch)
    (finding,) = examine_preload({})[0].findings
    assert finding.name == "preload-not-loadable" and finding.evidence.startswith(f"{path}: found ")


def test_a_library_that_cannot_be_asked_is_named(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install(tmp_path / "fastcmp", Path(build("libatb.so")).read_bytes(), monkeypatch)
    section, preload = examine_preload({})
    (finding,) = section.findings
    assert finding.name == "preload-not-loadable" and finding.evidence.startswith(f"{path}: ")
    assert "fastcmp_preload_environment" in finding.evidence and preload.environment is None


def test_another_library_before_ours_is_named(build: Any) -> None:
    other = build("libprobe.so", "-D_GLIBCXX_USE_CXX11_ABI=0")
    section, preload = examine_preload({"LD_PRELOAD": f"{other} {library_path()}"})
    (finding,) = section.findings
    assert finding.name == "preload-shadowed"
    assert finding.evidence == f"LD_PRELOAD: {other} comes before fastcmp's library and replaces 5 of the same functions"
    assert preload.offered >= preload.hooks.all
    section, _ = examine_preload({"LD_PRELOAD": f"{library_path()}:{other}"})
    assert section.findings == [] and "LD_PRELOAD names it" in section.lines


def test_another_library_instead_of_ours_offers_what_it_has(build: Any) -> None:
    other = build("libprobe.so", "-D_GLIBCXX_USE_CXX11_ABI=0")
    section, preload = examine_preload({"LD_PRELOAD": other})
    assert section.findings == [] and "LD_PRELOAD is set, but does not name it" in section.lines
    known = preload.offered & preload.hooks.all
    assert len(known) == 5 and known < preload.hooks.abi0 | preload.hooks.plain


def test_the_wrong_abi_is_found_where_an_old_library_is_preloaded(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", build("libprobe.so", "-D_GLIBCXX_USE_CXX11_ABI=0"))
    (finding,) = examine(library=build("libatb.so", "-D_GLIBCXX_USE_CXX11_ABI=1")).findings
    assert finding.name == "abi" and ", ABI 1)" in finding.evidence


def test_what_ld_preload_names_in_vain_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("text")
    section, _ = examine_preload({"LD_PRELOAD": f"/none.so {tmp_path}/text.so libm.so.6"})
    assert [finding.evidence for finding in section.findings] == [
        "LD_PRELOAD: /none.so: it cannot be opened: No such file or directory; the dynamic linker leaves it out",
        f"LD_PRELOAD: {tmp_path}/text.so: found no ELF file, expected a library; the dynamic linker leaves it out",
    ]


def test_a_copy_of_our_library_is_ours(tmp_path: Path) -> None:
    copy = shutil.copy(library_path(), tmp_path / "libtensorutil.so")
    section, _ = examine_preload({"LD_PRELOAD": str(copy)})
    assert section.findings == [] and "LD_PRELOAD names it" in section.lines
    assert read_hooks(str(copy))[1] == read_hooks(library_path())[1]


# --- the environment -------------------------------------------------------------------------------------------------------------------


def answer(**fields: Any) -> dict[str, Any]:
    return {
        "dump": True,
        "select": "auto",
        "era": "none",
        "selects": False,
        "reasons": [],
        "allow_list": "",
        "output": "/d/tensors",
    } | fields


@pytest.mark.parametrize(
    ("fields", "environment", "evidence"),
    [
        ({"dump": False}, {"FASTCMP_DUMP": "off"}, "saving is switched off: FASTCMP_DUMP=off"),
        ({"select": "environment", "reasons": ["ATB_SAVE_TENSOR is not set"]}, {}, "the environment selects no tensor: ATB_SAVE_TENSOR is not set"),
        ({"era": "atb", "reasons": ["a", "b"]}, {"ATB_SAVE_TENSOR": "1"}, "the environment selects no tensor: a; b"),
        ({"era": "atb"}, {"ATB_SAVE_TENSOR_RANGE": "1"}, "the environment selects no tensor: nothing is asked for"),
        ({}, {}, None),
        ({"allow_list": "/p"}, {"ATB_SAVE_TENSOR": "1"}, None),
        ({"select": "registered"}, {"ATB_SAVE_TENSOR": "1"}, None),
        ({"era": "atb", "selects": True}, {"ATB_SAVE_TENSOR": "1"}, None),
    ],
)  # fmt: skip
def test_an_environment_that_asks_and_selects_nothing_is_a_cause(
    fields: dict[str, Any], environment: dict[str, str], evidence: str | None
) -> None:
    findings = examine_environment(answer(**fields), environment).findings
    assert findings == ([] if evidence is None else [Finding("environment", evidence)])


def test_the_library_itself_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATB_SAVE_TENSOR", "1")
    (finding,) = examine().findings
    assert finding.name == "environment" and "ATB_SAVE_TENSOR_RANGE is not set" in finding.evidence
    monkeypatch.setenv("ATB_SAVE_TENSOR_RANGE", "0,3")
    monkeypatch.setenv("ATB_SAVE_TENSOR_PART", "2")
    assert examine().findings == []
    monkeypatch.setenv("FASTCMP_DUMP", "0")
    assert [finding.evidence for finding in examine().findings] == ["saving is switched off: FASTCMP_DUMP=0"]


def test_variables_are_shown_as_they_are() -> None:
    section = examine_environment(None, {"ATB_OUTPUT_DIR": "/d/", "FASTCMP_SELECT": "auto", "HOME": "/root"})
    assert section.lines == ["ATB_OUTPUT_DIR=/d/", "FASTCMP_SELECT=auto"] and section.findings == []


def test_output_directories_are_where_anything_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"FASTCMP_DUMP_DIR": "a", "ACLTRANSFORMER_HOME_PATH": str(tmp_path / "a")}
    assert output_directories(answer(output="/o/tensors", selects=True), environment, "d") == [
        f"{tmp_path}/d",
        f"{tmp_path}/a",
        "/o/tensors",
    ]
    assert output_directories(answer(output="/o/tensors"), {}, None) == [str(tmp_path)]  # registered tensors never go there
    assert output_directories(answer(output="/o/tensors"), {"FASTCMP_DUMP_DIR": "/d"}, None) == ["/d"]
    assert output_directories(None, {}, None) == [str(tmp_path)]
    assert output_directories(answer(output=7, selects=True), {}, None) == [str(tmp_path)]


# --- the disk --------------------------------------------------------------------------------------------------------------------------


def test_a_disk_with_too_little_room_is_named(tmp_path: Path) -> None:
    assert examine_disk([str(tmp_path / "not" / "yet")], 1).findings == []
    section = examine_disk([str(tmp_path / "not" / "yet")], 900 * 1000**4)
    (finding,) = section.findings
    assert finding.name == "disk-full"
    assert finding.evidence.startswith(f"{tmp_path}/not/yet: ")
    assert finding.evidence.endswith(" are free, and 900000.00 GB are to stay free: no tensor is saved")


def test_of_a_directory_that_does_not_exist_nobody_says_that_it_is_writable(tmp_path: Path) -> None:
    section = examine_disk([str(tmp_path / "not" / "yet"), str(tmp_path)], 0)
    facts = section.facts["directories"]
    assert facts[f"{tmp_path}/not/yet"].keys() == {"free", "exists", "can_be_made"} and not facts[f"{tmp_path}/not/yet"]["exists"]
    assert facts[str(tmp_path)].keys() == {"free", "exists", "is_writable"} and facts[str(tmp_path)]["exists"]
    assert section.lines[0].startswith(f"{tmp_path}/not/yet: does not exist yet; in {tmp_path} ")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"_MAX": "3"}, "offers no tensor at all: ACLTRANSFORMER_SAVE_TENSOR is not 1"),
        ({"": "1"}, "offers the first round only (ACLTRANSFORMER_SAVE_TENSOR_MAX is not set), whatever is registered"),
        ({"": "1", "_MAX": "3", "_RUNNER": "Norm"}, "offers the rounds before 3 of Norm..., whatever is registered"),
    ],
)
def test_what_an_old_library_asks_is_told_whoever_selects(variables: dict[str, str], line: str) -> None:
    environment = {f"ACLTRANSFORMER_SAVE_TENSOR{name}": value for name, value in variables.items()}
    assert f"a libacltransformer {line}" in examine_environment(answer(select="registered"), environment).lines


def test_the_seeds_variables_are_a_cause_only_where_they_let_nothing_through() -> None:
    environment = {"ACLTRANSFORMER_SAVE_TENSOR": "1", "ACLTRANSFORMER_SAVE_TENSOR_MAX": "5000"}
    assert examine_environment(answer(era="acltransformer"), environment).findings == []
    reasons = ["ACLTRANSFORMER_SAVE_TENSOR is 0: nothing is selected"]
    (finding,) = examine_environment(answer(era="acltransformer", reasons=reasons), {"ACLTRANSFORMER_SAVE_TENSOR": "0"}).findings
    assert finding.name == "environment" and finding.evidence.endswith(reasons[0])


def test_what_is_malformed_is_told_whoever_selects() -> None:
    for select in ("registered", "auto"):
        section = examine_environment(answer(select=select, reasons=["FASTCMP_MIN_FREE: found 'much', expected bytes", "other"]), {})
        assert "FASTCMP_MIN_FREE: found 'much', expected bytes" in section.lines and "other" not in section.lines


def test_the_limit_is_the_librarys() -> None:
    assert min_free_of(answer(min_free=7)) == 7
    assert min_free_of(None) == min_free_of(answer(min_free="7")) == 0


def test_a_directory_that_nobody_can_write_is_named() -> None:
    (finding,) = examine_disk(["/proc/fastcmp"], 0).findings
    assert finding.name in ("not-writable", "disk-full") and finding.evidence.startswith("/proc")
