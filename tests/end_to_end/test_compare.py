"""The main job from two metadata.json files to the report, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from dumps import LAYERS, TOKENS, bin_bytes, path_of, write_side

import fastcmp
from fastcmp import CompareOptions
from fastcmp.errors import OutputError
from fastcmp.progress import Silent
from fastcmp.results.journal import JournalWriter

OPTIONS = CompareOptions(executor="serial")


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    return write_side(tmp_path / "g", "golden", 1, 0.0), write_side(tmp_path / "t", "acl", 2, 1e-6, binary=True)


def run(sides: tuple[Path, Path], output: Path, **changes: object) -> fastcmp.Result:
    return fastcmp.compare(str(sides[0]), str(sides[1]), options=replace(OPTIONS, output=str(output), **changes))


def csv_rows(output: Path) -> list[dict[str, str]]:
    with open(output / "cmp_report.csv", newline="") as file:
        return list(csv.DictReader(file))


def command(*arguments: object, **extra: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastcmp", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **extra
    )


def test_equal_but_for_noise_passes(sides, tmp_path):
    result = run(sides, tmp_path / "r")
    assert result.ok and result.exit_code == 0 and result.first_divergence is None
    assert result.totals.pairs == LAYERS * TOKENS == result.totals.passed
    rows = csv_rows(tmp_path / "r")
    assert [(row["data_id"], row["token_id"]) for row in rows] == [(str(d), str(t)) for d in range(LAYERS) for t in range(TOKENS)]
    assert all(row["cmp_flag"] == "True" and row["cmp_fail_reason"] == "" for row in rows)


def test_the_report_holds_what_numpy_says(sides, tmp_path):
    run(sides, tmp_path / "r")
    for row in csv_rows(tmp_path / "r"):
        golden = np.load(path_of(sides[0], int(row["data_id"]), int(row["token_id"]))).astype(np.float64)
        target_file = path_of(sides[1], int(row["data_id"]), int(row["token_id"]))
        target = np.frombuffer(target_file.read_bytes()[-golden.size * 4 :], np.float32).astype(np.float64).reshape(golden.shape)
        assert float(row["max_absolute_error"]) == np.abs(target - golden).max()
        distance = np.sqrt(((target - golden) ** 2).sum() / (golden**2).sum())
        assert float(row["relative_euclidean_distance"]) == pytest.approx(distance, rel=1e-9)
        assert float(row["golden_mean_value"]) == pytest.approx(golden.mean(), rel=1e-9)
        assert row["golden_shape"] == "(3, 129)" and row["acl_dtype"] == "float32"


def test_every_executor_and_worker_count_writes_the_same_bytes(sides, tmp_path):
    values = np.load(path_of(sides[0], 2, 1))
    values[1] = np.nan
    np.save(path_of(sides[0], 2, 1), values)
    path_of(sides[1], 3, 0).unlink()
    reports = {}
    for name, changes in {
        "serial": {"executor": "serial"},
        "threads": {"executor": "threads", "workers": 3},
        "-j1": {"executor": "local", "workers": 1},
        "-j2": {"executor": "local", "workers": 2},
        "-j7": {"executor": "local", "workers": 7},
    }.items():
        run(sides, tmp_path / name, **changes)
        reports[name] = (tmp_path / name / "cmp_report.csv").read_bytes()
    assert len(set(reports.values())) == 1, {name: len(report) for name, report in reports.items()}


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def truncate(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def lie_about_dims(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"dims=3,129", b"dims=4294967296,4294967296"))


def pickle_bomb(path: Path, tmp_path: Path) -> None:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (118 - 1 - len(header)) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickle.dumps([Bomb(tmp_path / "marker")]))


def become_a_fifo(path: Path, tmp_path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def remove(path: Path, tmp_path: Path) -> None:
    path.unlink()


def other_count(path: Path, tmp_path: Path) -> None:
    path.write_bytes(bin_bytes(np.zeros((3, 128), np.float32)))


@pytest.mark.parametrize(
    ("side", "damage", "code", "exit_code", "reason"),
    [
        (1, truncate, "E_TRUNCATED", 2, ""),
        (1, lie_about_dims, "E_BAD_DIMS", 2, ""),
        (0, pickle_bomb, "E_NPY_PICKLE", 2, ""),
        (1, become_a_fifo, "E_NOT_REGULAR", 2, ""),
        (0, remove, "E_MISSING", 2, "golden_data_path is not exist. "),
        (1, remove, "E_MISSING", 2, "acl_data_path is not exist. "),
        (1, other_count, "E_SHAPE", 1, "data shape doesn't match. "),
    ],
)
def test_a_bad_tensor_costs_its_row_and_no_other(sides, tmp_path, side, damage, code, exit_code, reason):
    clean = run(sides, tmp_path / "clean")
    assert clean.exit_code == 0
    damage(path_of(sides[side], 4, 2), tmp_path)
    result = run(sides, tmp_path / "r")
    assert result.exit_code == exit_code
    assert not (tmp_path / "marker").exists()
    before = (tmp_path / "clean" / "cmp_report.csv").read_bytes().splitlines()
    after = (tmp_path / "r" / "cmp_report.csv").read_bytes().splitlines()
    changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert changed == [1 + 4 * TOKENS + 2]
    row = csv_rows(tmp_path / "r")[4 * TOKENS + 2]
    assert row["cmp_flag"] == "False" and row["cosine_similarity"] == ""
    assert row["cmp_fail_reason"].startswith(reason) and f"[{code}]" in row["cmp_fail_reason"]


def test_a_key_on_one_side_is_a_row(sides, tmp_path):
    metadata = json.loads(sides[1].read_text())
    metadata["only here"] = {"0": "./nowhere.bin"}
    del metadata["1"]["2"]
    sides[1].write_text(json.dumps(metadata))
    result = run(sides, tmp_path / "r")
    assert result.exit_code == 1 and result.totals.unpaired == 2
    rows = {(row["data_id"], row["token_id"]): row for row in csv_rows(tmp_path / "r")}
    assert len(rows) == LAYERS * TOKENS + 1
    assert "[E_UNPAIRED]" in rows["1", "2"]["cmp_fail_reason"] and "[E_UNPAIRED]" in rows["only here", "0"]["cmp_fail_reason"]
    assert run(sides, tmp_path / "r2", allow_unpaired="both", thresholds=["cosine_similarity >= 0.5"]).exit_code == 0
    assert "--allow-unpaired" not in {row["data_id"]: row for row in csv_rows(tmp_path / "r2")}["only here"]["cmp_fail_reason"]


def test_the_first_divergence_is_by_token_then_layer(sides, tmp_path):
    for layer, token in ((1, 3), (4, 2), (5, 2)):
        path_of(sides[1], layer, token).write_bytes(bin_bytes(np.ones((3, 129), np.float32)))
    result = run(sides, tmp_path / "r")
    assert result.exit_code == 1
    assert (result.first_divergence.data_id, result.first_divergence.token_id) == ("4", "2")


def test_what_ran_before_the_divergence_and_was_not_compared_is_said(sides, tmp_path):
    for layer, token in ((1, 3), (4, 2)):
        path_of(sides[1], layer, token).write_bytes(bin_bytes(np.ones((3, 129), np.float32)))
    path_of(sides[1], 5, 0).write_bytes(b"")
    path_of(sides[1], 5, 3).unlink()
    result = run(sides, tmp_path / "r")
    spots = result.blind_spots
    assert result.first_divergence.name == "token 2, data_id 4" and (spots.count, spots.before_divergence) == (2, 1)
    assert [(row.name, row.error_code) for row in spots.first] == [
        ("token 0, data_id 5", "E_EMPTY_FILE"),
        ("token 3, data_id 5", "E_MISSING"),
    ]
    assert "first divergence: token 2, data_id 4" in repr(result) and result.order_is_known
    done = command("compare", *sides, "-o", tmp_path / "q", "-q")
    assert done.returncode == 2 and done.stderr.startswith("fastcmp: 2 of 24 pairs could not be compared; see ")


def test_progress_is_put_away_also_when_the_journal_cannot_be_written(sides, tmp_path, monkeypatch):
    class Watcher(Silent):
        stops = 0

        def stop(self) -> None:
            self.stops += 1

    def full_disk(self, *arguments):
        raise OutputError("journal: could not be written")

    monkeypatch.setattr(JournalWriter, "append", full_disk)
    watcher = Watcher()
    with pytest.raises(OutputError, match="journal"):
        fastcmp.compare(str(sides[0]), str(sides[1]), options=replace(OPTIONS, output=str(tmp_path / "r")), progress=watcher)
    assert watcher.stops == 1
    assert not (tmp_path / "r" / "cmp_report.csv").exists()


def test_the_arrow_report_is_the_csv_typed(sides, tmp_path):
    run(sides, tmp_path / "r")
    table = pa.ipc.open_file(tmp_path / "r" / "cmp_report.arrow").read_all()
    rows = csv_rows(tmp_path / "r")
    assert table.column_names == list(rows[0])
    for name in ("cosine_similarity", "max_absolute_error", "worst_row_distance"):
        assert [repr(value) for value in table[name].to_pylist()] == [repr(float(row[name])) for row in rows]


def one_row(golden: Path, target: Path, output: Path, **changes: object) -> dict[str, str]:
    run((golden, target), output, **changes)
    (row,) = csv_rows(output)
    return row


def test_memory_formats_are_reordered_or_refused(tmp_path):
    values = np.random.default_rng(1).standard_normal((20, 40)).astype(np.float32)
    padded = np.zeros((32, 48), np.float32)
    padded[:20, :40] = values
    np.save(tmp_path / "g.npy", values)
    fractal = padded.reshape(32, 3, 16).transpose(1, 0, 2)[None]
    (tmp_path / "t.bin").write_bytes(bin_bytes(np.ascontiguousarray(fractal), memory_format=29))
    row = one_row(tmp_path / "g.npy", tmp_path / "t.bin", tmp_path / "nz")
    assert (row["mismatch_count"], row["acl_shape"], row["verdict"]) == ("0", "(20, 40)", "pass")

    (tmp_path / "t.bin").write_bytes(bin_bytes(values.reshape(1, 1, 20, 40), memory_format=3))
    row = one_row(tmp_path / "g.npy", tmp_path / "t.bin", tmp_path / "blocked")
    assert row["cmp_flag"] == "False" and "[E_FORMAT]" in row["cmp_fail_reason"]
    row = one_row(tmp_path / "g.npy", tmp_path / "t.bin", tmp_path / "flat", scan=fastcmp.ScanOptions(format_policy="flat"))
    assert row["mismatch_count"] == "0" and "W_FORMAT_DIFFERS" in row["notes"]


def test_a_file_of_statistics_says_what_it_knows(tmp_path):
    np.save(tmp_path / "g.npy", np.ones((2, 3), np.float32))
    header = (
        bin_bytes(np.ones((2, 3), np.float32))
        .partition(b"$Object.data")[0]
        .replace(b"Count=1", b"Count=0")
        .replace(b"Length=24", b"Length=0")
    )
    (tmp_path / "t.bin").write_bytes(header + b"max=6.000000\nmin=-4.000000\nmean=N/A\nl2norm=9.539392\n$End=1\n")
    row = one_row(tmp_path / "g.npy", tmp_path / "t.bin", tmp_path / "r")
    assert (row["cmp_flag"], row["acl_dtype"], row["acl_shape"]) == ("False", "float32", "(2, 3)")
    assert (row["acl_max_value"], row["acl_min_value"], row["acl_mean_value"], row["golden_max_value"]) == ("6", "-4", "", "1")
    assert (row["verdict"], row["cosine_similarity"]) == ("fail", "")
    assert (
        row["cmp_fail_reason"]
        == "only statistics are known: max 1 against 6; min 1 against -4; l2norm 2.44948974 against 9.539392 [E_STATS_ONLY]"
    )


def test_large_pairs_are_split_and_merge_to_the_same_bytes(tmp_path):
    sides = []
    for role, noise in (("g", 0.0), ("t", 1e-3)):
        random = np.random.default_rng(3)
        values = random.standard_normal((330, 65537), dtype=np.float32)
        values += noise * np.random.default_rng(4).standard_normal(values.shape, dtype=np.float32)
        sides.append(tmp_path / f"{role}.npy")
        np.save(sides[-1], values)
    reports = set()
    for name, changes in {
        "serial": {},
        "threads": {"executor": "threads", "workers": 2},
        "-j2": {"executor": "local", "workers": 2},
    }.items():
        run((sides[0], sides[1]), tmp_path / name, **changes)
        reports.add((tmp_path / name / "cmp_report.csv").read_bytes())
    assert len(reports) == 1


def worker_pids(parent: int) -> list[int]:
    """All live descendants of a process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if stat[0] != "Z":
                children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [parent]
    while queue:
        new = children.get(queue.pop(), [])
        found += new
        queue += new
    return found


def test_killed_workers_change_nothing(tmp_path):
    sides = tuple(
        write_side(tmp_path / role, role, seed, 1e-6 * seed, rows=400, columns=4096) for role, seed in (("golden", 0), ("acl", 2))
    )
    clean = command("compare", *sides, "-o", tmp_path / "clean", "-j2")
    assert clean.returncode == 0, clean.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "fastcmp", "compare", *map(str, sides), "-o", str(tmp_path / "killed"), "-j2", "-q"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    kills = 0
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and kills < 4:
        victims = [pid for pid in worker_pids(process.pid) if pid not in (process.pid,)]
        if len(victims) >= 3:  # the nursery and both workers
            try:
                os.kill(max(victims), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
        time.sleep(0.03)
    _, stderr = process.communicate(timeout=60)
    assert kills >= 1
    assert process.returncode in (0, 2), stderr
    killed = (tmp_path / "killed" / "cmp_report.csv").read_bytes()
    if process.returncode == 0:
        assert killed == (tmp_path / "clean" / "cmp_report.csv").read_bytes()
    else:  # the same pair was hit twice: an error row that says so
        assert b"[E_WORKER_DIED]" in killed
        assert killed.count(b"\n") == (tmp_path / "clean" / "cmp_report.csv").read_bytes().count(b"\n")
    assert worker_pids(process.pid) == []


def test_ctrl_c_ends_with_130_and_leaves_no_process(tmp_path):
    sides = tuple(write_side(tmp_path / role, role, seed, 0.0, rows=100, columns=4096) for role, seed in (("golden", 0), ("acl", 2)))
    process = subprocess.Popen(
        [sys.executable, "-m", "fastcmp", "compare", *map(str, sides), "-o", str(tmp_path / "r"), "-j2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said = b""
    while b"comparing" not in said:  # planned; the workers are still starting
        said += os.read(process.stderr.fileno(), 4096) or pytest.fail(said.decode())
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.splitlines()[-1:] == [b"fastcmp: interrupted"]
    assert not (tmp_path / "r" / "cmp_report.csv").exists()
    assert worker_pids(process.pid) == []


def test_the_original_command_line_works_word_for_word(sides, tmp_path):
    program = "import sys; from fastcmp.cli.ait import main; sys.exit(main())"
    path_of(sides[1], 0, 0).unlink()
    for option in ("--my-path", "--acl-path"):
        arguments = ["debug", "compare", "aclcmp", "--golden-path", sides[0], option, sides[1], "--output", tmp_path / "out"]
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert len(list(csv.DictReader(io.StringIO((tmp_path / "out" / "cmp_report.csv").read_text())))) == LAYERS * TOKENS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nowhere.json", "nowhere.json"], "nowhere.json"),
        (["compare", "{golden}", "{target}", "--threshold", "cosine_similarity !! 1"], "cosine_similarity !! 1"),
        (["compare", "{golden}", "{target}", "--threshold", "cosin >= 1"], "cosine_similarity"),
        (["compare", "{golden}", "{target}", "-o", "/proc/version/x"], "/proc/version/x"),
        (["compare", "{broken}", "{target}"], "line 1"),
        (["compare", "{golden}", "{target}", "--include", "none of them"], "no pair"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(sides, tmp_path, arguments, message):
    (tmp_path / "broken.json").write_text('{"0": {"0": "./a')
    names = {"golden": sides[0], "target": sides[1], "broken": tmp_path / "broken.json"}
    done = command(*(argument.format(**names) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def limited(limit: str, sides: tuple[Path, Path], output: Path) -> subprocess.CompletedProcess[str]:
    """A comparison under a limit of the shell's ``ulimit``."""
    words = f"ulimit {limit}; exec {sys.executable} -m fastcmp compare {sides[0]} {sides[1]} -q -o {output}"
    return subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=120, check=False)


def test_little_address_space_is_enough(sides: tuple[Path, Path], tmp_path: Path) -> None:
    done = limited("-v 1500000", sides, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("limit", ["-n 6", "-n 9", "-n 13"])
def test_too_few_descriptors_are_one_line(sides: tuple[Path, Path], tmp_path: Path, limit: str) -> None:
    done = limited(limit, sides, tmp_path / "out")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("fastcmp: the local worker pool cannot start: ")
    assert "Too many open files" in done.stderr and "(ulimit -n raises the limit)" in done.stderr


@pytest.mark.parametrize("executor", ["local", "serial"])
def test_a_removed_working_directory_does_no_harm(sides: tuple[Path, Path], tmp_path: Path, executor: str) -> None:
    command = f"{sys.executable} -m fastcmp compare {sides[0]} {sides[1]} -q -o {tmp_path}/out --root {tmp_path} --executor {executor}"
    words = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec {command}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("delay_s", [0.15, 0.3, 0.45])
def test_ctrl_c_while_everything_starts_is_one_word(sides: tuple[Path, Path], tmp_path: Path, delay_s: float) -> None:
    """The whole group gets the signal, as from a terminal: the process that is still importing must not show a traceback."""
    words = [sys.executable, "-m", "fastcmp", "compare", *map(str, sides), "-q", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    if process.returncode == 130:
        assert errors == "fastcmp: interrupted\n"
    assert "fastcmp/engine" not in errors
