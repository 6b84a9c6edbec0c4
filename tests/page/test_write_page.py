"""Where the page goes: complete or not at all, and over nothing that is not a page."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_reports import made_report, save_report

from fastcmp.cli.main import main
from fastcmp.errors import OutputError, UsageError
from fastcmp.page.plots import require_bokeh
from fastcmp.page.write import write_page
from fastcmp.results.journal import JournalWriter, next_journal_path
from fastcmp.results.output_dir import prepare, write_whole
from fastcmp.results.page_file import GENERATOR, PAGE_NAME, remove_earlier_page
from fastcmp.results.schema import arrow_schema


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return save_report(made_report(5, 2), tmp_path / "report")


def test_the_command_writes_a_page_and_writes_it_again(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["report", str(directory)]) == 0
        assert capsys.readouterr().out == f"page: {directory / PAGE_NAME}\n"
    assert GENERATOR in (directory / PAGE_NAME).read_text(encoding="utf-8")[:512]
    assert sorted(os.listdir(directory)) == ["cmp_report.arrow", PAGE_NAME, "run.json"]


def test_of_a_run_that_goes_on_there_is_a_page(tmp_path: Path) -> None:
    found = made_report(25, 4).slice(8, 40)
    columns = [pa.array(range(8, 48)), *(column.combine_chunks() for column in found.columns)]
    batch = pa.RecordBatch.from_arrays(columns, schema=arrow_schema(with_row=True))
    with JournalWriter(next_journal_path(str(tmp_path)), {"golden": "g", "target": "t", "kl": "auto"}) as journal:
        journal.append(0, batch)
        page = Path(write_page(str(tmp_path))).read_text(encoding="utf-8")  # while it is being written
    assert "This page is incomplete: the comparison was still running, or was ended, and had found 40 rows." in page
    assert "<h1>so far 1 of 39 pairs failed</h1>" in page and "<th>kl</th>" in page


def test_what_is_no_page_is_never_replaced(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = directory / PAGE_NAME
    path.write_text("mine")
    assert main(["report", str(directory)]) == 2
    assert "exists and is no page of fastcmp; move it away, or name another file with -o" in capsys.readouterr().err
    assert (
        main(["report", str(directory), "-o", str(path)]) == 2 and main(["report", str(directory), "-o", str(directory / "run.json")]) == 2
    )
    assert path.read_text() == "mine"
    path.unlink()
    for _ in range(2):  # a page of ours is
        assert main(["report", str(directory), "-o", str(path)]) == 0
        assert GENERATOR in path.read_text(encoding="utf-8")


def test_a_link_is_replaced_and_not_followed(directory: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    link = tmp_path / "link.html"
    link.symlink_to(mine)
    assert write_page(str(directory), str(link)) == str(link)
    assert mine.read_text() == "mine" and not link.is_symlink()


def test_a_directory_is_no_place_for_a_page(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a file; name the file that is to be written"):
        write_page(str(directory), str(tmp_path))
    with pytest.raises(OutputError, match="could not be written after 0 bytes: No such file"):
        write_page(str(directory), str(tmp_path / "nowhere" / "page.html"))
    with pytest.raises(OutputError, match="null byte"):
        write_page(str(directory), str(tmp_path / "a\0b"))


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_page_that_fails_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "page.html"
    path.write_text("earlier")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError, match="could not be written after 3 bytes: No space left on device; free some space"):
        write_whole(str(path), b"new")
    monkeypatch.undo()
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == ["page.html"]


def test_without_a_report_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no cmp_report\.arrow in it"):
        write_page(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_without_bokeh_there_is_a_hint(directory: Path) -> None:
    program = f"import sys; sys.modules['bokeh'] = None; from fastcmp.cli.main import main; sys.exit(main(['report', {str(directory)!r}]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "fastcmp: the page is drawn by Bokeh, which is not installed; pip install 'fastcmp[report]'\n"


def test_an_old_bokeh_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bokeh.__version__", "2.4.3")
    with pytest.raises(UsageError, match=r"needs Bokeh 3\.4 or later, this is 2\.4\.3; pip install -U"):
        require_bokeh()


def test_settings_of_bokeh_bring_nothing_from_elsewhere_into_the_page(directory: Path) -> None:
    program = f"import sys; from fastcmp.cli.main import main; sys.exit(main(['report', {str(directory)!r}]))"
    environment = {**os.environ, "BOKEH_RESOURCES": "cdn", "BOKEH_CDN_VERSION": "1.0.0", "BOKEH_MINIFIED": "no", "BOKEH_LOG_LEVEL": "trace"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    page = (directory / PAGE_NAME).read_text(encoding="utf-8")
    assert "<script src" not in page and len(page) < 10_000_000


@pytest.fixture
def compared(tmp_path: Path) -> tuple[list[str], Path]:
    """A comparison of a tensor with itself, and the directory of its report, which has a page."""
    np.save(tmp_path / "a.npy", np.arange(4, dtype=np.float32))
    output = tmp_path / "compared"
    command = ["compare", str(tmp_path / "a.npy"), str(tmp_path / "a.npy"), "-o", str(output), "--executor", "serial"]
    assert main(command) == 0
    write_page(str(output))
    return command, output


@pytest.mark.parametrize("command", ["compare", "judge"])
def test_a_page_of_an_earlier_report_does_not_stay_and_that_is_told(
    command: str, compared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    compare, output = compared
    capsys.readouterr()
    assert main(compare if command == "compare" else ["judge", str(output), "--write"]) == 0
    said = f"fastcmp: {output / PAGE_NAME} was the page of an earlier report and is removed; fastcmp report writes one of this"
    assert said in capsys.readouterr().err.splitlines()
    assert PAGE_NAME not in os.listdir(output)


def test_what_is_no_page_stays_beside_a_new_report(compared: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    command, output = compared
    path = output / PAGE_NAME
    page = path.rename(output / "mine.html")
    path.symlink_to(page)
    assert main(command) == 0 and path.is_symlink() and page.exists()
    path.unlink()
    path.write_text("<html>mine</html>")
    assert main(command) == 0 and path.read_text() == "<html>mine</html>"
    path.unlink()
    os.mkfifo(path)
    assert main(command) == 0 and path.is_fifo()
    assert "earlier report" not in capsys.readouterr().err


def test_the_page_of_a_report_elsewhere_stays(
    compared: tuple[list[str], Path], directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, output = compared
    page = output / PAGE_NAME
    write_page(str(directory), str(page))
    written = page.read_bytes()
    assert main(command) == 0 and page.read_bytes() == written
    assert main(["report", str(output)]) == 0 and main(command) == 0 and not page.exists()
    write_page(str(directory), str(page))
    monkeypatch.chdir(output)
    assert main(["report", ".", "-o", PAGE_NAME]) == 0 and main(command) == 0 and not page.exists()
    assert capsys.readouterr().err.count("was the page of an earlier report") == 2


def test_a_page_that_cannot_be_removed_is_told(compared: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, output = compared

    def refuse(path: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", path)

    with prepare(str(output)) as place:
        monkeypatch.setattr(os, "unlink", refuse)
        told = remove_earlier_page(place)
        monkeypatch.undo()
    why = "could not be removed: Operation not permitted; fastcmp report replaces it"
    assert told == (f"{output / PAGE_NAME} is the page of an earlier report and {why}",)
