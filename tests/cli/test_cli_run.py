"""`fastcmp run` and `fastcmp preload-path`: another program in this one's place, its environment, and what is refused before."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastcmp
from fastcmp.cli.launch import export_lines, preload_environment, split_command
from fastcmp.cli.main import main
from fastcmp.preload_library import LIBRARY_NAME, PreloadLibraryError, library_path, with_library_first

OURS = library_path()


def run(*arguments: str, environment: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """`fastcmp run` in a process of its own; the environment is free of what fastcmp and the acceleration libraries read."""
    before = {
        name: value for name, value in os.environ.items() if not name.startswith(("FASTCMP_", "ATB_", "ACLTRANSFORMER_", "LD_PRELOAD"))
    }
    return subprocess.run(
        [sys.executable, "-m", "fastcmp.cli", "run", *arguments],
        capture_output=True, text=True, check=False, timeout=60, env=before | (environment or {}), **options,
    )  # fmt: skip


# --- where the library is --------------------------------------------------------------------------------------------------------------


def test_preload_path_prints_the_path_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preload-path"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"{OURS}\n", "")
    assert os.path.isabs(OURS) and os.path.isfile(OURS)


def test_preload_path_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom fastcmp.cli.main import main\nassert main(['preload-path']) == 0\n"
        "heavy = {'numpy', 'numba', 'pyarrow', 'torch', 'rich', 'cyclopts', 'elftools'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{OURS}\n"), done.stderr


@pytest.mark.parametrize("command", [["preload-path"], ["run", "--show"], ["run", "--", "true"]], ids=" ".join)
def test_an_installation_without_the_library_says_so(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fastcmp, "__path__", [str(tmp_path)])
    assert main(command) == 2
    message = f"fastcmp: {tmp_path}/{LIBRARY_NAME}: this installation has no preload library; install fastcmp again, on Linux\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("name", ["with space", "with:colon"])
def test_a_path_that_ld_preload_cannot_name_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    shutil.copy(OURS, tmp_path / name)
    monkeypatch.setattr(fastcmp, "__path__", [str(tmp_path / name)])
    with pytest.raises(PreloadLibraryError, match=f"{name}/{LIBRARY_NAME}: LD_PRELOAD cannot name a path with a space or a colon; install"):
        library_path()


def test_the_first_place_that_has_the_library_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastcmp, "__path__", [str(tmp_path), os.path.dirname(OURS)])
    assert library_path() == OURS
    (tmp_path / LIBRARY_NAME).mkdir()  # no file
    assert library_path() == OURS


# --- the environment -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", OURS),
        ("/x.so", f"{OURS}:/x.so"),
        ("/x.so /y.so:z.so", f"{OURS}:/x.so:/y.so:z.so"),
        (OURS, OURS),
        (f"/x.so:{OURS} ", f"{OURS}:/x.so"),
        (" : ", OURS),
    ],
)
def test_our_library_comes_first_once_and_the_others_stay(before: str, after: str) -> None:
    assert with_library_first(before, OURS) == after


def test_a_copy_of_our_library_under_the_older_name_is_not_loaded_twice(tmp_path: Path) -> None:
    copy = shutil.copy(OURS, tmp_path / "libtensorutil.so")
    (tmp_path / "link.so").symlink_to(OURS)
    (tmp_path / "other.so").write_bytes(b"x" * os.path.getsize(OURS))
    assert with_library_first(f"{copy}:{tmp_path}/link.so:{tmp_path}/other.so", OURS) == f"{OURS}:{tmp_path}/other.so"


def added(before: dict[str, str], **options: str) -> dict[str, str]:
    """What `fastcmp run` adds to or changes in an environment, beside LD_PRELOAD."""
    after = preload_environment("/l.so", before, **options)
    assert after.pop("LD_PRELOAD") == "/l.so"
    return {name: value for name, value in after.items() if before.get(name) != value}


def test_without_options_what_is_registered_is_saved_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert added({}) == {
        "FASTCMP_SELECT": "registered",
        "ACLTRANSFORMER_HOME_PATH": str(tmp_path),
        "ACLTRANSFORMER_SAVE_TENSOR": "1",
        "ACLTRANSFORMER_SAVE_TENSOR_MAX": "2147483647",
    }


def test_options_become_absolute_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changed = added({"FASTCMP_DUMP_DIR": "/old"}, dump_dir="new", tokens="0,3-5")
    assert changed["FASTCMP_DUMP_DIR"] == changed["ACLTRANSFORMER_HOME_PATH"] == f"{tmp_path}/new"
    assert changed["FASTCMP_DUMP_TOKENS"] == "0,3-5"


def test_what_the_user_has_set_stays() -> None:
    mine = {
        "ACLTRANSFORMER_HOME_PATH": "/h",
        "ACLTRANSFORMER_SAVE_TENSOR": "0",
        "ACLTRANSFORMER_SAVE_TENSOR_MAX": "3",
        "FASTCMP_DUMP_DIR": "/d",
    }
    assert added(mine) == {"FASTCMP_SELECT": "registered"}


ATB = ("ATB_SAVE_TENSOR", "ATB_SAVE_TENSOR_RANGE")


@pytest.mark.parametrize(
    ("before", "select", "after"),
    [
        ({}, "", "registered"),
        ({}, "environment", "environment"),
        ({}, "auto", None),
        ({"ATB_SAVE_TENSOR": "1"}, "", None),
        ({"ATB_SAVE_TENSOR_RANGE": "0,1"}, "", None),
        ({"ATB_SAVE_TENSOR": ""}, "", "registered"),
        ({"ATB_SAVE_TENSOR": "1"}, "registered", "registered"),
        ({"FASTCMP_SELECT": "environment"}, "", "environment"),
        ({"FASTCMP_SELECT": "environment"}, "auto", None),
        ({"FASTCMP_SELECT": ""}, "", "registered"),
    ],
)
def test_registered_paths_are_selected_unless_the_user_selects(before: dict[str, str], select: str, after: str | None) -> None:
    environment = preload_environment("/l.so", before, select=select)
    assert environment.get("FASTCMP_SELECT") == after
    # With these set, a selection by environment would be everything that a library of 2023 has.
    assert ("ACLTRANSFORMER_SAVE_TENSOR" in environment) == (after != "environment" and not any(before.get(name) for name in ATB))


@pytest.mark.parametrize("before", ["Registered", " registered "])
def test_the_selection_is_read_as_the_library_reads_it(before: str) -> None:
    environment = preload_environment("/l.so", {"FASTCMP_SELECT": before})
    assert environment["FASTCMP_SELECT"] == before and environment["ACLTRANSFORMER_SAVE_TENSOR"] == "1"


def test_auto_lets_an_old_library_offer_what_may_be_registered() -> None:
    for before, select in (
        ({"FASTCMP_SELECT": "auto"}, ""),
        ({"FASTCMP_SELECT": "registered"}, "auto"),
        ({"FASTCMP_SELECT": "nonsense"}, "auto"),
    ):
        assert preload_environment("/l.so", before, select=select)["ACLTRANSFORMER_SAVE_TENSOR"] == "1"


def test_a_selection_without_a_meaning_is_refused_wherever_it_comes_from() -> None:
    for arguments, environment in ((["--show"], {}), (["true"], {}), (["--select", "nonsense", "true"], {"FASTCMP_SELECT": "auto"})):
        done = run(*arguments, environment={"FASTCMP_SELECT": "nonsense", **environment})
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
        if not environment:
            assert done.stderr == "fastcmp: FASTCMP_SELECT=nonsense: expected registered, environment or auto\n"
    assert run("--select", "auto", "true", environment={"FASTCMP_SELECT": "nonsense"}).returncode == 0


def test_a_shell_reads_what_show_prints(tmp_path: Path) -> None:
    dump_dir = tmp_path / "it's $HOME; a dump"
    done = run("--dump-dir", str(dump_dir), "--tokens", "0", "--show", "--", "false", environment={"ATB_SAVE_TENSOR": "1"})
    assert done.returncode == 0 and not dump_dir.exists()
    assert [line.split("=")[0] for line in done.stdout.splitlines()] == [
        "export LD_PRELOAD", "export FASTCMP_DUMP_DIR", "export FASTCMP_DUMP_TOKENS", "export ACLTRANSFORMER_HOME_PATH",
    ]  # fmt: skip
    told = subprocess.run(
        ["sh", "-c", f'{done.stdout}unset LD_PRELOAD; printf %s "$FASTCMP_DUMP_DIR"'], capture_output=True, text=True, check=True
    )
    assert told.stdout == str(dump_dir)


def test_show_takes_away_what_auto_takes_away() -> None:
    before = {"FASTCMP_SELECT": "environment"}
    lines = export_lines(before, preload_environment("/l.so", before, select="auto"))
    assert lines[-1] == "unset FASTCMP_SELECT"


# --- the command -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options", "command"),
    [
        ("--show -- ls -l", "--show", "ls -l"),
        ("ls --show", "", "ls --show"),
        ("--dump-dir d ls --dump-dir e", "--dump-dir d", "ls --dump-dir e"),
        ("--dump-dir=d --tokens 0 ls", "--dump-dir=d --tokens 0", "ls"),
        ("--select auto -- ls -- -l", "--select auto", "ls -- -l"),
        ("-- -x", "", "-x"),
        ("-- -- x", "", "-- x"),
        ("--dump-dir -- ls", "--dump-dir --", "ls"),
        ("--dump-dir", "--dump-dir", ""),
        ("--", "", ""),
        ("", "", ""),
    ],
)
def test_options_end_where_the_command_begins(words: str, options: str, command: str) -> None:
    assert split_command(words.split()) == (options.split(), command.split())


def test_the_program_gets_its_arguments_as_they_are() -> None:
    arguments = ["--debug", "--help", "--", "--show", "", "a b", "-x", "--dump-dir=y"]
    program = "import sys; print(sys.argv[1:])"
    done = run("--", sys.executable, "-c", program, *arguments)
    assert (done.stdout, done.stderr) == (f"{arguments}\n", "")
    assert run(sys.executable, "-c", program, *arguments).stdout == f"{arguments}\n"


def test_the_program_runs_under_the_library_in_its_environment(tmp_path: Path) -> None:
    program = f"import os, sys; print(os.environ['FASTCMP_DUMP_DIR']); print({OURS!r} in open('/proc/self/maps').read())"
    done = run("--dump-dir", str(tmp_path / "a" / "b"), sys.executable, "-c", program)
    assert done.stdout == f"{tmp_path}/a/b\nTrue\n"
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_programs(code: int) -> None:
    assert run("--", "sh", "-c", f"exit {code}").returncode == code


def test_a_signal_ends_it_as_it_ends_the_program() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        assert run("sh", "-c", f"kill -{number.value} $$").returncode == -number


def test_the_program_has_our_process_id_and_our_input() -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "fastcmp.cli", "run", "sh", "-c", "cat; echo $$"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    out, _ = started.communicate("typed\n", timeout=60)
    assert out == f"typed\n{started.pid}\n"


def test_the_program_ignores_no_signal_that_python_ignores() -> None:
    ignored = int(run("grep", "SigIgn", "/proc/self/status").stdout.split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


def not_a_program(directory: Path, name: str, content: str, mode: int) -> str:
    path = directory / name
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_what_cannot_be_run_is_one_line_and_exit_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = not_a_program(tmp_path, "plain", "text", 0o600)
    wordless = not_a_program(tmp_path, "wordless", "\x7f\x01", 0o700)
    gone = not_a_program(tmp_path, "gone", "#!/none/interpreter\n", 0o700)
    for arguments, message in (
        ([], "expected a command, as in: fastcmp run -- python model.py"),
        (["--"], "expected a command, as in: fastcmp run -- python model.py"),
        (["--", "no-such-program"], "no-such-program: not found in PATH"),
        (["--", ""], "'': not found in PATH"),
        (["./none"], "./none: does not exist"),
        ([str(tmp_path)], f"{tmp_path}: cannot be executed: it is a directory, or lacks the permission"),
        ([plain], f"{plain}: cannot be executed: it is a directory, or lacks the permission"),
        ([wordless], f"{wordless}: cannot be started: Exec format error"),
        ([gone], f"{gone}: cannot be started: No such file or directory"),
        (["--tokens", "5-3", "true"], "--tokens 5-3: expected a range that ascends, such as 3-5"),
        (["--dump-dir", plain, "true"], f"--dump-dir {plain}: cannot be made: File exists; name a directory that can"),
        (["--dump-dir", f"{plain}/x", "true"], f"--dump-dir {plain}/x: cannot be made: Not a directory; name a directory that can"),
        (["--dump-dir", "/proc/x", "true"], "--dump-dir /proc/x: cannot be made: No such file or directory; name a directory that can"),
        (["--select", "some", "true"], None),
        (["--dump-dir"], None),
        (["--bogus", "true"], None),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("fastcmp: ") and done.stderr.count("\n") == 1, done.stderr
        assert message is None or done.stderr == f"fastcmp: {message}\n"


def test_nothing_is_made_for_a_command_that_does_not_exist(tmp_path: Path) -> None:
    assert run("--dump-dir", str(tmp_path / "d"), "no-such-program").returncode == 2
    assert not (tmp_path / "d").exists()


def test_the_command_is_looked_for_where_the_program_will_look(tmp_path: Path) -> None:
    not_a_program(tmp_path, "greet", "#!/bin/sh\necho hello\n", 0o700)
    assert run("greet", environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}).stdout == "hello\n"


def test_a_command_that_may_not_be_executed_is_not_called_missing(tmp_path: Path) -> None:
    not_a_program(tmp_path, "greet", "#!/bin/sh\n", 0o600)
    (tmp_path / "place").mkdir()
    path = {"PATH": f"/none:{tmp_path}:/usr/bin:/bin"}
    for name in ("greet", "place"):
        assert (
            run(name, environment=path).stderr == f"fastcmp: {name}: found in PATH as {tmp_path}/{name}, which this user may not execute\n"
        )


def test_run_has_a_help_page_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    assert "Run a program under the preload library" in capsys.readouterr().out


def test_debug_before_the_command_is_ours() -> None:
    done = run("--debug", "--", "no-such-program", "--debug")
    assert done.returncode == 2 and "Traceback" in done.stderr
    assert shlex.join(["--debug"]) not in done.stderr.splitlines()[-1]
