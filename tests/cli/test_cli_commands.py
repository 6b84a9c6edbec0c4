"""The commands as a user runs them, as far as no tensor has to be compared."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcmp.cli.app import build
from fastcmp.cli.help_page import HELP_PAGE
from fastcmp.cli.main import COMMANDS, main
from fastcmp.errors import CODES


def fastcmp(*arguments: str, module: str = "fastcmp.cli", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom fastcmp.cli.main import main\nassert main(['--help']) == 0\n"
        "heavy = {'numpy', 'numba', 'pyarrow', 'torch', 'rich', 'cyclopts'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == HELP_PAGE


def test_help_page_fits_a_terminal_and_names_every_command() -> None:
    assert max(map(len, HELP_PAGE.splitlines())) <= 80
    for command in COMMANDS:
        assert f"\n  {command} " in HELP_PAGE
    assert [name for name in build() if not name.startswith("-")] == list(COMMANDS)


def test_help_page_knows_only_real_options_of_compare(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--help"]) == 0
    real = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", HELP_PAGE)) - {"--debug", "--help", "-h", "--version"}
    assert named <= real, named - real
    assert {
        "--csv-raw",
        "--stall",
        "--scale",
        "--relative-floor",
        "--compat-euclid",
        "--multi-record",
        "--format-policy",
    } <= real
    # What a user of two tools or several ranks would not look for elsewhere.
    assert {"--map", "--pair-by", "--token-offset", "--parallel", "--layout", "--as", "--executor"} <= named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "there"], "fastcmp: nope: GOLDEN does not exist; name a metadata.json, a directory of dumps or a tensor file"),
        (["compare", ".", "nope"], "fastcmp: nope: TARGET does not exist; name a metadata.json, a directory of dumps or a tensor file"),
        (["nope\nmore", "x"], "fastcmp: nope more: GOLDEN does not exist; name a metadata.json, a directory of dumps or a tensor file"),
        ([".", ".", "-j", "-3"], "fastcmp: -j -3: expected a number of workers, 1 to 4096, or 0 for one per core"),
        ([".", ".", "-j", "99999999999"], "fastcmp: -j 99999999999: expected a number of workers, 1 to 4096, or 0 for one per core"),
        ([".", ".", "--root", ""], "fastcmp: --root '': expected the name of a directory"),
        ([".", ".", "--stall", "0"], "fastcmp: --stall 0: expected seconds, more than 0"),
        ([".", ".", "--scale", "0"], "fastcmp: --scale 0: expected what one integer step is worth, not 0"),
        ([".", ".", "--relative-floor", "nan"], "fastcmp: --relative-floor nan: expected a number, 0 or more"),
        ([".", ".", "-o", ""], "fastcmp: -o '': expected the name of a directory"),
        (
            [".", ".", "--threshold", "cosine >= 1"],
            "fastcmp: --threshold 'cosine >= 1': no metric is called 'cosine'; did you mean cosine_similarity",
        ),
        (["compre", "a", "b"], "fastcmp: no command 'compre', and no file of that name; did you mean compare?"),
        (["Doctor"], "fastcmp: no command 'Doctor', and no file of that name; did you mean doctor?"),
        (["preloadpath"], "fastcmp: no command 'preloadpath', and no file of that name; did you mean preload-path?"),
        (["./compre", "a"], "fastcmp: ./compre: GOLDEN does not exist"),
        (["run1", "run2"], "fastcmp: run1: GOLDEN does not exist"),
        (["a.pt:x", "."], "fastcmp: a.pt:x: GOLDEN does not exist"),
        (["inspect", "a.pt:x"], "fastcmp: a.pt:x: does not exist; name a tensor file"),
        (["inspect", "nope"], "fastcmp: nope: does not exist; name a tensor file, a metadata.json or a directory"),
        (["explain", "E_TRUNCATE"], "fastcmp: no error code is called 'E_TRUNCATE'; did you mean E_TRUNCATED"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_two(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(message) and shown.err.count("\n") == 1


def test_a_file_with_nearly_the_name_of_a_command_is_golden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compre").mkdir()
    assert main(["compre", "nope"]) == 2
    assert capsys.readouterr().err.startswith("fastcmp: nope: TARGET does not exist")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_usage_line_has_names(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    usage = capsys.readouterr().out.splitlines()[0]
    assert usage.startswith(f"Usage: fastcmp {command}") and "ARGS" not in usage


@pytest.mark.parametrize(
    "arguments", [["compare", "--foo"], ["compare", "a", "b", "c"], ["compare", "a"], [".", ".", "--kl", "some"], [".", ".", "-j", "x"]]
)
def test_wrong_arguments_are_one_line_and_exit_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("fastcmp: ") and shown.count("\n") == 1 and "See fastcmp compare --help." in shown


@pytest.mark.parametrize(("program", "command"), [("fastcmp", "show"), ("fastcmp", "inspect"), ("ait", "debug compare aclcmp")])
def test_what_is_refused_points_to_the_page_that_has_it(program: str, command: str) -> None:
    module = "fastcmp.cli.ait" if program == "ait" else "fastcmp.cli"
    page = "ait" if program == "ait" else f"fastcmp {command}"
    done = fastcmp(*command.split(), "--bogus", module=module)
    assert (done.returncode, done.stdout) == (2, "") and f"See {page} --help." in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_page_says_nothing_of_what_is_empty_and_everything_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    page = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert not re.search(r"\[default: (\(\)|\"\"|False|None)?\]", page) and "[choices: ," not in page
    variables = re.findall(r"\[env var: ([^]]*)\]", page)
    assert not any("," in one for one in variables) and len(variables) == len(set(variables))


def test_a_help_page_has_frames_that_can_be_shown() -> None:
    lines = fastcmp("explain", "--help", PYTHONIOENCODING="ascii").stdout.splitlines()
    assert lines[4].startswith("+- Arguments ---") and lines[5].startswith("| CODE ") and "\\u" not in "".join(lines)


def test_nothing_to_do_shows_the_help_and_exits_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out == HELP_PAGE


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"fastcmp \S+\n", capsys.readouterr().out)


def test_debug_shows_the_traceback() -> None:
    done = fastcmp("nope", "there", "--debug")
    assert "Traceback" in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in fastcmp("nope", "there").stderr


@pytest.mark.parametrize("word", ["E_MISSING", "e_missing", "[E_MISSING]"])
def test_explain_says_what_and_what_to_do(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 0
    info = CODES["E_MISSING"]
    assert capsys.readouterr().out == f"E_MISSING: {info.meaning}\nWhat to do: {info.advice}\n"


def test_explain_alone_lists_every_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} >= set(CODES)


def test_environment_and_project_file_set_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.fastcmp]\njobs = -7\n")
    assert main([".", "."]) == 2
    assert "-j -7: expected" in capsys.readouterr().err
    monkeypatch.setenv("FASTCMP_JOBS", "-8")
    assert main([".", "."]) == 2
    assert "-j -8: expected" in capsys.readouterr().err
    assert main([".", ".", "-j", "-9"]) == 2
    assert "-j -9: expected" in capsys.readouterr().err
    assert main(["explain", "E_MISSING"]) == 0
    (tmp_path / "pyproject.toml").write_text('[tool.fastcmp]\nmetric = ["x.py:f"]\n')
    monkeypatch.delenv("FASTCMP_JOBS")
    assert main([".", "."]) == 2
    assert (
        "[tool.fastcmp]: metric: code is run only where the command line names it (--metric), or FASTCMP_METRIC" in capsys.readouterr().err
    )


def test_thresholds_in_the_environment_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FASTCMP_THRESHOLD", "cosine_similarity >= 0.9, bogus_metric < 1")
    assert main([".", "."]) == 2
    assert "--threshold 'bogus_metric < 1': no metric is called 'bogus_metric'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--golden-path", "nope", "--my-path", "."], "ait: nope: GOLDEN does not exist"),
        (["--golden-path", ".", "--acl-path", "nope"], "ait: nope: TARGET does not exist"),
        (["-gp", ".", "-mp", "nope", "-o", "x"], "ait: nope: TARGET does not exist"),
        (["--golden-path", "."], "ait: "),
    ],
)
def test_ait_takes_the_originals_flags(arguments: list[str], message: str) -> None:
    done = fastcmp("debug", "compare", "aclcmp", *arguments, module="fastcmp.cli.ait")
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


def test_ait_knows_no_other_command() -> None:
    done = fastcmp("debug", "dump", module="fastcmp.cli.ait")
    assert (done.returncode, done.stderr) == (2, "ait: ait debug dump: this ait knows only: ait debug compare aclcmp\n")
    assert fastcmp("--help", module="fastcmp.cli.ait").stdout.startswith("Usage: ait debug compare aclcmp --golden-path GOLDEN")


def npy(path: Path, shape: tuple[int, ...]) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, np.float32))
    path.write_bytes(buffer.getvalue())
    return path


def test_inspect_shows_one_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = npy(tmp_path / "x.npy", (2, 3))
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"file      {path}\ndtype     float32\nshape     (2, 3)\nelements  6\npayload   24 bytes at byte 128\n"
        "layout    C-contiguous, native byte order\n"
    )
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [2, 3]


def test_inspect_shows_one_tensor_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3), np.float32), b=np.zeros(4))
    path = f"{tmp_path}/x.npz"
    assert main(["inspect", f"{path}:a"]) == 0
    assert capsys.readouterr().out.startswith(f"file      {path}:a\ndtype     float32\nshape     (2, 3)\n")
    assert main(["inspect", f"{path}:c"]) == 2
    assert capsys.readouterr().out.startswith(f"{path}: expected a tensor 'c', the file holds 2 ('a', 'b' ...); name one that it holds")
    assert main([f"{path}:a", f"{path}:a", "-o", str(tmp_path / "r"), "-q"]) == 0


def test_inspect_lists_a_directory_and_counts_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npy(tmp_path / "a.npy", (4,))
    (tmp_path / "b\x1b[31m.npy").write_bytes(b"")
    assert main(["inspect", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "layout    plain: 2 tensor files of no known layout: names are paths",
        "order     not known: names are in natural order",
        "ranks     one, without a name",
        "tokens    none are told apart",
        "tensors   2",
    ]
    assert lines[5:7] == ["data_id   a: float32 (4,)", "data_id   b\\x1b[31m [E_EMPTY_FILE]"]
    assert lines[7] == "a.npy  float32  (4,)  16 B"
    assert lines[8].startswith("b\\x1b[31m.npy  ") and lines[8].endswith("[E_EMPTY_FILE]")
    assert lines[9] == "2 tensors, 1 cannot be read"


def test_a_closed_pipe_is_quiet_and_the_exit_code_honest() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "fastcmp.cli", "explain"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["explain"], ["--help"], ["compare", "--help"]])
def test_results_that_cannot_be_written_are_one_line_and_exit_two(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fastcmp.cli", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "fastcmp: standard output: cannot be written: No space left on device; free some space or redirect it\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_no_exit_code(closed: str, tmp_path: Path) -> None:
    npy(tmp_path / "a.npy", (2, 3))
    for arguments, code in ((f"inspect {tmp_path}/a.npy", 0), (f"inspect {tmp_path}/none", 2), ("compare --help", 0)):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m fastcmp.cli {arguments} {closed}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        assert "internal error" not in done.stdout + done.stderr
        if code == 2:
            assert done.stdout == ""  # a message for stderr never comes out on stdout


def test_a_closed_pipe_of_a_help_page_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fastcmp.cli", "compare", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_that_cannot_show_a_letter_shows_its_number(tmp_path: Path) -> None:
    npy(tmp_path / "\u00fc.npy", (2, 3))
    done = fastcmp("inspect", str(tmp_path), PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.splitlines()[5:7] == ["data_id   \\xfc: float32 (2, 3)", "\\xfc.npy  float32  (2, 3)  24 B"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_project_file_that_is_no_file_is_not_opened(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pyproject.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    assert fastcmp("nope", "there").stderr.startswith("fastcmp: nope: GOLDEN does not exist")


def test_a_terminal_that_went_away_is_quiet_and_the_exit_code_honest() -> None:
    ours, theirs = os.openpty()
    os.close(ours)
    done = subprocess.run([sys.executable, "-m", "fastcmp.cli", "explain"], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
