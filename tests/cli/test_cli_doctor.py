"""`fastcmp doctor` as a user sees it; what it finds is tested in tests/doctor."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from fastcmp.cli.main import main
from fastcmp.doctor import CAUSES
from fastcmp.preload_library import library_path


@pytest.fixture(autouse=True)
def plain_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and no variable that the doctor would judge."""
    for name in [name for name in os.environ if name.startswith(("FASTCMP_", "ATB_", "ACLTRANSFORMER_", "LD_PRELOAD"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_where_nothing_is_wrong_it_says_so_and_exits_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "nothing found wrong"
    titles = [line for line in lines[:-2] if not line.startswith(" ")]
    assert titles == ["installation", "preload library", "environment", "acceleration library", "processes", "disk"]
    assert any(line.startswith(f"  {library_path()}") for line in lines)


def test_a_cause_has_its_name_its_evidence_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("1 cause found")
    assert lines[at + 1].startswith(f"  no-heartbeat: {tmp_path}: no process has left a heartbeat")
    assert lines[at + 2] == f"    what to do: {CAUSES['no-heartbeat']}"


def test_registered_paths_without_a_heartbeat_are_found_without_being_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "dump" / "71_cmp_dump_data" / "allow_list"
    place.mkdir(parents=True)
    (place / "paths.txt").write_text("0/0_Model/after/outTensor0.bin\n")
    assert main(["doctor"]) == 0  # further down than anybody looks
    capsys.readouterr()
    for arguments, variable, directory in (
        ([], "dump", "."),
        (["--lib", library_path()], "dump", "."),
        ([], "", "dump"),
        (["dump"], "", "."),
    ):
        monkeypatch.setenv("FASTCMP_DUMP_DIR", variable)
        monkeypatch.chdir(tmp_path / directory)
        assert main(["doctor", *arguments]) == 1
        assert f"  no-heartbeat: {place.parent}: 1 path is registered, 0 of them on disk" in capsys.readouterr().out


def test_a_heartbeat_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explained = "heartbeat (.fastcmp_probe.{pid}, the file in which the preload library says what it met)"
    assert main(["doctor"]) == 0 and explained in capsys.readouterr().out
    assert main(["doctor", str(tmp_path)]) == 1 and explained in capsys.readouterr().out.partition("1 cause found")[2]
    assert main(["doctor", "--help"]) == 0 and ".fastcmp_probe.{pid}" in capsys.readouterr().out


def test_scripts_get_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--lib", sys.executable, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["exit_code"] == 1 and [finding["name"] for finding in facts["findings"]] == ["no-hooks"]
    assert facts["preload_library"]["path"] == library_path()
    assert facts["installation"]["packages"]["fastcmp"] and facts["disk"]["directories"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "nope: is no directory; name the one where a program was to dump"),
        (["/etc/hostname"], "/etc/hostname: is no directory; name the one where a program was to dump"),
        (["--lib", "nope.so"], "--lib nope.so: does not exist; name an acceleration library, such as libatb.so"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_two(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *arguments]) == 2
    assert capsys.readouterr().err == f"fastcmp: {message}\n"


def test_names_that_a_file_makes_up_do_not_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"fastcmp_preload": 1, "pid": 7, "program": "/x/\x1b[31mevil\nnothing found wrong", "written": 2**30, "ended": True}
    (tmp_path / ".fastcmp_probe.7").write_text(json.dumps(fields))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\nnothing found wrong" not in shown and "\\x1b[31mevil nothing found wrong" in shown
