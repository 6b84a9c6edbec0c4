"""Locale, time zone, hash seed, directory, umask, warnings, another user: what a report says does not depend on where it is made."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from reliability_runs import PATIENCE_S, ROOT, TENSORS, Sides, one_of_each, write_document

from fastcmp.cli.main import main

NOBODY = 65534


@pytest.fixture(scope="module")
def odd_sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """A dozen pairs, two of them broken, and names that not every locale can write."""
    sides = one_of_each(tmp_path_factory.mktemp("odd"))
    for number, side in enumerate(sides):
        document = json.loads(side.read_text())
        document = {f"ü {data_id} 層" if int(data_id) % 2 else data_id: tokens for data_id, tokens in document.items()}
        side.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        (side.parent / TENSORS / f"{number}.npy").unlink()
        path = side.parent / TENSORS / f"{4 + number}.bin"
        path.write_bytes(path.read_bytes()[:-3])
    return sides


# id: options of the interpreter, variables, working directory, mask of new files, whether paths are given relative to that directory
SURROUNDINGS = {
    "plain C locale": (["-s"], {"LC_ALL": "C", "PYTHONUTF8": "0", "HOME": "/nonexistent", "PYTHONHASHSEED": "0"}, "/", 0o077, False),
    "decimal comma": (
        [],
        {"LC_ALL": "de_DE", "LANGUAGE": "de", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "77"},
        None,
        0o027,
        True,
    ),
    "development mode": (["-X", "dev", "-W", "error"], {"PYTHONMALLOC": "debug", "COLUMNS": "20", "LC_ALL": "tr_TR"}, "/tmp", 0o000, False),
}
# Locales that are made here, of the sources that come with the C library, and their character sets.
MADE = {"de_DE": "ISO-8859-1", "tr_TR": "ISO-8859-9"}
# Python itself takes over no more of a locale than its letters. This has every process of a run take over all, and know the decimal comma.
TAKE_OVER = """
import locale
locale.setlocale(locale.LC_ALL, "")
assert locale.localeconv()["decimal_point"] == ",", "another locale"
"""


def made_locale(place: Path, name: str) -> tuple[dict[str, str], str]:
    """The variables with which all of a run is in this locale, or else in that of C; and why it cannot be made."""
    try:
        subprocess.run(
            ["localedef", "-i", name, "-f", MADE[name], str(place / name)], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"LC_ALL": "C"}, f"the locale {name} cannot be made: {error} {getattr(error, 'stderr', None) or ''}"
    (place / "sitecustomize.py").write_text(TAKE_OVER)
    return {"LOCPATH": str(place), "PYTHONPATH": f"{place}:{ROOT}"}, ""


def assert_no_byte_changes(sides: Sides, wanted: tuple[bytes, bytes], place: Path, surroundings: str, executor: str = "serial") -> None:
    name = SURROUNDINGS[surroundings][1]["LC_ALL"]
    variables, missing = made_locale(place, name) if name in MADE else ({}, "")
    assert report_from(sides, place / "r", surroundings, executor, variables) == wanted
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (place / "r").iterdir()}
    assert set(files.values()) == {0o666 & ~SURROUNDINGS[surroundings][3]}, files
    if missing:  # everything else of these surroundings was asserted; that a machine has no sources of locales shall be seen, not pass
        pytest.skip(f"all but the locale was tried: {missing}")


def report_from(
    sides: Sides, output: Path, surroundings: str | None, executor: str = "serial", more: Mapping[str, str] | None = None
) -> tuple[bytes, bytes]:
    python, variables, directory, mask, relative = SURROUNDINGS[surroundings] if surroundings else ([], {}, None, 0o022, False)
    start = Path(directory or sides[0].parents[1])
    paths = [os.path.relpath(path, start) if relative else str(path) for path in (*sides, output)]
    kept = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *python, "-m", "fastcmp", "compare", *paths[:2], "-o", paths[2], "-q", "--executor", executor, "-j2"],
        capture_output=True, timeout=PATIENCE_S, check=False, cwd=start, umask=mask, env=os.environ | kept | variables | dict(more or {}),
    )  # fmt: skip
    assert (done.returncode, done.stderr.count(b"\n"), b"4 of 12 pairs" in done.stderr) == (2, 1, True), done.stderr.decode()
    return (output / "cmp_report.csv").read_bytes(), (output / "cmp_report.arrow").read_bytes()


@pytest.fixture(scope="module")
def wanted(odd_sides: Sides, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return report_from(odd_sides, tmp_path_factory.mktemp("wanted"), None)


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_surroundings_never_change_a_byte(odd_sides: Sides, wanted: tuple[bytes, bytes], tmp_path: Path, surroundings: str) -> None:
    assert_no_byte_changes(odd_sides, wanted, tmp_path, surroundings)


@pytest.mark.slow
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_surroundings_never_change_a_byte_of_the_workers(
    odd_sides: Sides, wanted: tuple[bytes, bytes], tmp_path: Path, surroundings: str
) -> None:
    assert_no_byte_changes(odd_sides, wanted, tmp_path, surroundings, "local")


# --- what an ordinary user may not read, or nobody can ------------------------------------------------------------------------------------


def unreadable(path: Path) -> None:
    path.chmod(0)


def in_a_closed_directory(path: Path) -> None:
    closed = path.with_suffix(".d")
    closed.mkdir()
    path.rename(closed / "x.npy")
    path.symlink_to(closed / "x.npy")
    closed.chmod(0o600)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o666)


def a_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    path.chmod(0o777)


def a_device(path: Path, kind: int, number: tuple[int, int]) -> None:
    path.unlink()
    os.mknod(path, kind | 0o666, os.makedev(*number))
    path.chmod(0o666)


def endless_zeros(path: Path) -> None:
    a_device(path, stat.S_IFCHR, (1, 5))


def a_block_device(path: Path) -> None:
    a_device(path, stat.S_IFBLK, (7, 250))


REFUSED = [
    (unreadable, "E_PERMISSION"),
    (in_a_closed_directory, "E_PERMISSION"),
    (a_directory, "E_NOT_REGULAR"),
    (a_fifo, "E_NOT_REGULAR"),
    (a_socket, "E_NOT_REGULAR"),
    (endless_zeros, "E_NOT_REGULAR"),
    (a_block_device, "E_NOT_REGULAR|E_PERMISSION"),  # whether there is such a device
    (Path.unlink, "E_MISSING"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user and makes devices")
@pytest.mark.parametrize("damaged", ["golden", "acl", "both"])
def test_what_an_ordinary_user_cannot_read_is_a_row_at_once(damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(tempfile.mkdtemp(prefix="fastcmp_test_"))
    try:
        place.chmod(0o755)
        documents = []
        for role in ("golden", "acl"):
            folder = place / role / TENSORS
            folder.mkdir(parents=True)
            names = [f"{number}.npy" for number in range(len(REFUSED) + 1)]
            for number, name in enumerate(names):
                np.save(folder / name, np.arange(20, dtype=np.float32))
                if number < len(REFUSED) and damaged in (role, "both"):
                    REFUSED[number][0](folder / name)
            documents.append(write_document(place / role, names))
        (place / "out").mkdir()
        os.chown(place / "out", NOBODY, NOBODY)
        words = ["compare", *map(str, documents), "--executor", "serial", "-q", "-o"]
        assert main([*words, str(place / "first")]) == 2  # what is imported must be there before: nobody may not read our interpreter
        capsys.readouterr()
        os.seteuid(NOBODY)
        try:
            began = time.monotonic()
            code = main([*words, str(place / "out")])
            taken = time.monotonic() - began
        finally:
            os.seteuid(0)
        assert code == 2 and capsys.readouterr().err.startswith(f"fastcmp: {len(REFUSED)} of {len(REFUSED) + 1} pairs")
        assert taken < 0.1 * len(REFUSED) + 0.5
        with open(place / "out" / "cmp_report.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for row, (damage, codes) in zip(rows, REFUSED, strict=False):
            found = re.findall(r"\[(E_\w+)\]$", row["cmp_fail_reason"])
            assert found and found[0] in codes.split("|"), (getattr(damage, "__name__", damage), row["cmp_fail_reason"])
            assert row["cmp_flag"] == "False" and row["cosine_similarity"] == ""
        assert (rows[-1]["cmp_flag"], rows[-1]["verdict"]) == ("True", "pass")
    finally:
        for path in place.rglob("*.d"):
            path.chmod(0o700)
        shutil.rmtree(place)
