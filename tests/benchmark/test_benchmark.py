"""`fastcmp bench`, with next to nothing to measure: every row is there, every file goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from fastcmp.benchmark import data, run
from fastcmp.benchmark.run import Row
from fastcmp.cli.main import main
from fastcmp.errors import OutputError, UsageError

TINY = data.Size(large_pairs=3, large_bytes=2**20, repeats=2, small_pairs=20, kernel_bytes=2**20, rounds=1)


def test_every_rate_stands_beside_its_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(data, "Size", lambda: TINY)
    assert main(["bench", "--json", "--dir", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    names = [row["name"] for row in told["rows"]]
    kernels = [f"kernel {dtype}{kl}" for dtype in data.LARGE_DTYPES for kl in ("", ", KL")]
    assert names[1:7] == kernels and names[0].startswith("scan of files") and names[7].startswith("pairs of 8 KB")
    assert names[8].startswith("start and compare") and told["cores"] == len(os.sched_getaffinity(0))
    for row in told["rows"]:
        assert set(row) == {"name", "unit", "rate", "floor", "floor_rate", "ratio", "rounds"}
        assert row["floor"] and row["rate"] > 0 and row["floor_rate"] > 0 and row["ratio"] > 0
    assert f"go to {tmp_path}/fastcmp-bench-" in shown.err and list(tmp_path.iterdir()) == []


def test_a_pipe_gets_plain_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("scan", "GB/s", "one core", [(2.0, 1.0)]), Row("a longer name", "pairs/s", "none", [(12345.0, 54321.0)])]
    monkeypatch.setattr(run, "measure", lambda directory, size, tell: iter(rows))
    assert main(["bench", "--dir", str(tmp_path)]) == 0
    machine, *lines = capsys.readouterr().out.splitlines()
    assert "of its cores; fastcmp " in machine
    assert lines == [
        "measured                 rate  floor           its rate  ratio",
        "scan                   2 GB/s  one core          1 GB/s   2.00",
        "a longer name  12 300 pairs/s  none      54 300 pairs/s   0.23",
    ]


def test_the_ratio_is_that_of_neighbours() -> None:
    row = Row("x", "GB/s", "y", [(1.0, 2.0), (10.0, 20.0), (3.0, 4.0)])
    assert (row.rate, row.floor_rate, row.ratio) == (3.0, 4.0, 0.5)


def test_the_files_take_what_was_said(tmp_path: Path) -> None:
    data.large_dump(tmp_path / "large", TINY)
    data.small_dump(tmp_path / "small", TINY)
    taken = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert TINY.disk_bytes / 8 < taken <= TINY.disk_bytes


def test_a_table_for_a_terminal_has_the_same_cells() -> None:
    from fastcmp.cli.bench_command import _cells, _drawn, _plain

    cells = [_cells(Row("x", "pairs/s", "y", [(12345.0, 0.5)]))]
    assert cells == [("x", "12 300 pairs/s", "y", "0.5 pairs/s", "24690.00")]
    assert all(text in _drawn(cells) and text in _plain(cells) for text in cells[0])


@pytest.mark.parametrize(
    ("parent", "message"),
    [("nowhere", "--dir nowhere: is no directory"), ("", "--dir : is no directory"), ("a\0b", "is no directory")],
)
def test_a_wrong_directory_is_refused(parent: str, message: str) -> None:
    with pytest.raises(UsageError, match=message), data.fresh_directory(parent, 1):
        pass


def test_a_full_disk_is_refused_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(data.shutil, "disk_usage", lambda path: usage(10**9, 9 * 10**8, 10**8))
    with (
        pytest.raises(UsageError, match=r"0\.1 GB free, 0\.22 GB needed; --dir names another place"),
        data.fresh_directory(str(tmp_path), 2 * 10**8),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_gets_full_is_said_so(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left on device; --dir names another place"),
        data.fresh_directory(str(tmp_path), 1) as made,
    ):
        raise OSError(28, "No space left on device", str(made / "x"))
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import dataclasses, sys
sys.path.insert(0, {here!r})
from test_benchmark import TINY
from fastcmp.benchmark import data
from fastcmp.cli.main import main
endless = dataclasses.replace(TINY, rounds=10**6)
data.Size = lambda: endless
sys.exit(main(["bench", "--dir", {directory!r}]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = PROGRAM.format(here=str(Path(__file__).parent), directory=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "removed afterwards" in said and len(list(tmp_path.iterdir())) == 1
        said += process.stderr.readline()
        process.send_signal(number)
        process.communicate()
    finally:
        guard.cancel()
    assert process.returncode == code, said
    assert list(tmp_path.iterdir()) == []
