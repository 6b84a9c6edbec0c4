"""The committed seeds through the functions that are fuzzed, and the machinery of `make fuzz` itself."""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import fuzz_run
import fuzz_search
import numpy as np
import pytest
from fuzz_run import Result, Target
from fuzz_seeds import CPP_SEEDS, PYTHON_SEEDS, ROOT, Bomb, all_seeds, npy_seeds
from fuzz_targets import BOMB_MARKER, TARGETS, only_these_are_opened

SEEDS = sorted(path for directory in PYTHON_SEEDS.iterdir() for path in directory.iterdir())
LARGEST_ALLOCATION = 8 * 2**20


@pytest.mark.parametrize("path", SEEDS, ids=[f"{path.parent.name}-{path.name}" for path in SEEDS])
def test_every_seed_is_answered_and_takes_little_memory(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a bomb would leave its marker
    data = path.read_bytes()
    TARGETS[path.parent.name](data)  # what is imported and cached at the first call is not the file's
    tracemalloc.start()
    try:
        TARGETS[path.parent.name](data)
        assert tracemalloc.get_traced_memory()[1] < LARGEST_ALLOCATION
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []


def test_the_bomb_among_the_seeds_is_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.load(io.BytesIO(npy_seeds()["pickle_bomb"]), allow_pickle=True)
    assert (tmp_path / BOMB_MARKER).is_dir() and Bomb().__reduce__()[1] == (BOMB_MARKER,)


def test_what_is_evaluated_or_opened_meanwhile_is_seen(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_bytes(b"")
    with only_these_are_opened(str(here)):
        here.read_bytes()
    for act in (
        lambda: compile("1", "x", "eval"),
        lambda: (tmp_path / "x").mkdir(),
        lambda: here.with_name("other").touch(),
        lambda: open("/dev/null").close(),
    ):
        with pytest.raises(AssertionError, match="a file made this happen"), only_these_are_opened(str(here)):
            act()


def test_the_seeds_are_those_that_are_made_and_small() -> None:
    for path, content in all_seeds().items():
        assert path.is_file() and path.read_bytes() == content, f"{path}: python tests/fuzz/fuzz_seeds.py"
    sizes = [path.stat().st_size for base in (CPP_SEEDS, PYTHON_SEEDS) for path in base.rglob("*") if path.is_file()]
    assert len(sizes) > 150 and sum(sizes) < 400_000


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    text = (ROOT / "cpp" / "fuzz" / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = {name for names in re.findall(r"FASTCMP_FUZZ_TARGETS ([a-z ]+)\)", text) for name in names.split()}
    assert listed == {path.stem.removeprefix("fuzz_") for path in CPP_SEEDS.parent.glob("fuzz_*.cpp")}
    assert listed == {path.name for path in CPP_SEEDS.iterdir()}
    assert set(TARGETS) == {path.name for path in PYTHON_SEEDS.iterdir()}
    assert {target.label for target in (*fuzz_run.cpp_targets(), *fuzz_run.python_targets())} == {
        *(f"cpp-{name}" for name in listed),
        *(f"python-{name}" for name in TARGETS),
    }


def test_targets_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert [target.label for target in fuzz_run.chosen(["python-npy", "cpp-scan"])] == ["cpp-scan", "python-npy"]
    assert fuzz_run.chosen([]) == [*fuzz_run.cpp_targets(), *fuzz_run.python_targets()]
    assert fuzz_run.main(["1", "cpp-scan", "npy"]) == 2
    assert capsys.readouterr().out.startswith("fuzz: found no target npy, expected some of cpp-header cpp-lists ")


def test_random_mutations_find_a_planted_defect_and_keep_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def target(data: bytes) -> None:
        assert data[:1] != b"b", "planted"

    code = fuzz_search.search_without_coverage(target, [b"abc", b"xyz"], 30, f"{tmp_path}/")
    (found,) = tmp_path.iterdir()
    assert code == fuzz_search.FINDING and found.name.startswith("crash-") and found.read_bytes()[:1] == b"b"
    told = capfd.readouterr().err
    assert fuzz_search.WITHOUT_COVERAGE in told and "planted" in told
    assert fuzz_search.search_without_coverage(len, [b"abc"], 0.05, f"{tmp_path}/") == 0


def test_mutations_differ_and_stay_small() -> None:
    made = {fuzz_search.mutated([b"abcdef" * 700, b"12"], random.Random(number)) for number in range(300)}
    assert len(made) > 200 and max(map(len, made)) <= 4096


def searched(tmp_path: Path, script: str) -> Result:
    program = tmp_path / "program.py"
    program.write_text(script)
    seeds = tmp_path / "seeds"
    seeds.mkdir(exist_ok=True)
    return fuzz_run.search(Target("cpp", "planted", (sys.executable, str(program)), seeds), 1, tmp_path / "corpus", tmp_path / "findings")


FINDS = """
import sys
prefix = next(word for word in sys.argv if word.startswith("-artifact_prefix="))[17:]
open(prefix + "crash-1", "wb").write(b"x")
print("INFO: Loaded 1 modules   (20 inline 8-bit counters)")
print("#7  NEW    cov: 12 ft: 13")
print("stat::number_of_executed_units: 7")
sys.exit(77)
"""


def test_a_finding_is_told_with_how_to_see_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = searched(tmp_path, FINDS)
    assert (result.executions, result.edges, [path.name for path in result.findings]) == (7, "12 of 20", ["crash-1"])
    assert fuzz_run.report([result]) == 1
    told = capsys.readouterr().out
    assert f"{tmp_path}/findings/cpp-planted/crash-1" in told and "again: " in told and f"keep:  cp {tmp_path}" in told
    shown = fuzz_run.table([result])
    assert shown.splitlines()[0].split() == "target executions a second covered edges findings".split()
    assert re.search(r"cpp-planted +7 +\d+ +12 of 20 +1\n", shown) and re.search(r"all +7 +1$", shown)


def test_a_target_that_does_not_run_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz_run.report([searched(tmp_path, "import sys; sys.exit('no such library')")]) == 2
    assert "no such library" in capsys.readouterr().out
    good = searched(tmp_path, "print('stat::number_of_executed_units: 3')")
    assert fuzz_run.report([good]) == 0 and "not guided" in fuzz_run.table([good])


@pytest.mark.parametrize("is_without", [False, True], ids=["as it is", "without atheris"])
def test_one_target_is_searched_and_replayed_by_its_command(tmp_path: Path, is_without: bool) -> None:
    corpus, blocked = tmp_path / "corpus", tmp_path / "blocked"
    corpus.mkdir()
    blocked.mkdir()
    if is_without:
        (blocked / "atheris.py").write_text("raise ImportError")
    command = [sys.executable, str(fuzz_run.SEARCH), "threshold"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(blocked)}
    searching = ["-max_total_time=1", f"-artifact_prefix={tmp_path}/", str(corpus), str(PYTHON_SEEDS / "threshold")]
    for rest in (searching, [str(PYTHON_SEEDS / "threshold" / "00")]):
        done = subprocess.run([*command, *rest], capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        assert not is_without or (fuzz_search.WITHOUT_COVERAGE in done.stderr) == (rest is searching)
