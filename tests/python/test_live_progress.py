"""Progress of a comparison that was started from Python: live in a notebook, nowhere else unless asked for."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from written_dumps import save_side

import fastcmp
from fastcmp import live_progress
from fastcmp.errors import UsageError
from fastcmp.live_progress import LineProgress, NotebookProgress, chosen
from fastcmp.progress import Silent

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J"


class Cell:
    """What a notebook shows below a cell: the first display, and what became of it."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.displays = 0

    def display(self, shown: object, *, display_id: bool) -> Cell:
        assert display_id
        self.displays += 1
        self.update(shown)
        return self

    def update(self, shown: object) -> None:
        self.shown.append(shown.data)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    cell = Cell()
    display = types.ModuleType("IPython.display")
    display.HTML, display.display = (lambda data: types.SimpleNamespace(data=data)), cell.display
    module = types.ModuleType("IPython")
    module.get_ipython, module.display = (lambda: types.SimpleNamespace(kernel=object())), display
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    yield cell


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    golden = {(f"{HOSTILE}{number}", "0"): np.ones(8, np.float32) for number in range(3)}
    target = {key: array + 1 for key, array in golden.items()}
    return save_side(tmp_path / "g", golden), save_side(tmp_path / "t", target)


def test_what_stands_alone_is_not_counted_among_the_pairs(tmp_path: Path) -> None:
    class Heard(Silent):
        def __init__(self) -> None:
            self.said: list[tuple[int, int]] = []

        def start(self, total_bytes: int, total_pairs: int) -> None:
            self.said.append((0, total_pairs))

        def advance(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
            self.said.append((pairs_done, 2))

    one = {(name, "0"): np.ones(8, np.float32) for name in ("a", "b", "only golden")}
    other = {(name, "0"): np.ones(8, np.float32) for name in ("a", "b", "one", "two", "three")}
    golden, target, heard = save_side(tmp_path / "g", one), save_side(tmp_path / "t", other), Heard()
    result = fastcmp.compare(golden, target, output=tmp_path / "r", executor="serial", progress=heard)
    assert result.totals.unpaired == 4 and result.totals.pairs == 2
    assert heard.said[0] == (0, 2) and heard.said[-1] == (2, 2)


def test_a_plain_script_is_silent(capfd: pytest.CaptureFixture[str], sides: tuple[Path, Path], tmp_path: Path) -> None:
    fastcmp.compare(*sides, output=tmp_path / "r", executor="serial")
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_it_by_itself(cell: Cell, sides: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fastcmp.compare(*sides, output=tmp_path / "r", executor="serial")
    assert cell.displays == 1 and len(cell.shown) >= 2
    assert "0 of 3 pairs" in cell.shown[0] and '<progress value="0.0" max="100">' in cell.shown[0]
    assert "3 of 3 pairs" in cell.shown[-1] and "3 failed, worst" in cell.shown[-1]
    assert "<img" not in cell.shown[-1] and "&lt;img src=x onerror=alert(1)&gt;\\x1b[2J" in cell.shown[-1]
    assert capfd.readouterr() == ("", "")


def test_false_is_silent_in_a_notebook_too(cell: Cell, sides: tuple[Path, Path], tmp_path: Path) -> None:
    fastcmp.compare(*sides, output=tmp_path / "r", executor="serial", progress=False)
    assert cell.displays == 0


def test_true_prints_lines_outside_of_a_notebook(capfd: pytest.CaptureFixture[str], sides: tuple[Path, Path], tmp_path: Path) -> None:
    fastcmp.compare(*sides, output=tmp_path / "r", executor="serial", progress=True)
    out, err = capfd.readouterr()
    assert (
        out == "" and err.splitlines()[0].startswith("0 %, 0 of 3 pairs") and "3 of 3 pairs" in err.splitlines()[-1] and "\x1b" not in err
    )


def test_a_notebook_that_goes_away_does_not_end_the_run(
    cell: Cell, sides: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(shown: object) -> None:
        raise RuntimeError("the kernel has no client")

    monkeypatch.setattr(cell, "update", fail)
    assert fastcmp.compare(*sides, output=tmp_path / "r", executor="serial", progress="notebook").totals.failed == 3


def test_updates_come_no_faster_than_four_a_second(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(live_progress.time, "monotonic", lambda: clock[0])
    progress = NotebookProgress()
    progress.start(1000, 1000)
    for step in range(1000):
        clock[0] += 0.01
        progress.advance(step, step, 0, "")
    progress.stop()
    assert 35 <= len(cell.shown) <= 42 and "999 of 1000 pairs" in cell.shown[-1]


def test_notes_are_kept_below_the_bar(cell: Cell) -> None:
    progress = NotebookProgress()
    progress.start(0, 5)
    for number in range(30):
        progress.note(f"<b>remark {number}</b>")
    assert "&lt;b&gt;remark 29&lt;/b&gt;" in cell.shown[-1] and cell.shown[-1].count("<br>") == 20


@pytest.mark.parametrize(
    ("choice", "kind"),
    [(None, Silent), (False, Silent), (True, LineProgress), ("notebook", NotebookProgress)],
    ids=["none", "false", "true", "notebook"],
)
def test_what_is_chosen_in_a_terminal(choice: object, kind: type) -> None:
    assert type(chosen(choice)) is kind


def test_an_object_of_ones_own_is_used_as_it_is() -> None:
    own = Silent()
    assert chosen(own) is own


def test_a_notebook_without_ipython_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(UsageError, match=r"^progress='notebook': IPython cannot be imported"):
        chosen("notebook")


def test_a_real_kernel_shell_is_a_notebook_and_a_terminal_is_none() -> None:
    program = """
import sys
from fastcmp.live_progress import in_notebook
assert "IPython" not in sys.modules and not in_notebook()
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
assert not in_notebook()
shell.kernel = object()
assert in_notebook()
from IPython.utils.capture import capture_output
from fastcmp.live_progress import NotebookProgress
with capture_output() as shown:
    progress = NotebookProgress()
    progress.start(10, 2)
    progress.stop()
print([output.data["text/html"].count("<progress") for output in shown.outputs])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[1, 1]"
