"""Where a metadata.json may lead: regular files only, and with --root nothing outside is opened, as the kernel tells it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from reliability_runs import ROOT, tree_state, words
from tries import tries

from fastcmp.cli.main import main

# What each comes to, anywhere and below --root: one code, or "" for a tensor.
HOSTILE = {
    "/dev/zero": "E_NOT_REGULAR",
    "/dev/full": "E_NOT_REGULAR",
    "/dev/stdin": "E_NOT_REGULAR",
    "/proc/self/mem": "E_EMPTY_FILE",
    "/proc/self/environ": "E_EMPTY_FILE",
    "/proc/kmsg": "E_EMPTY_FILE" if os.access("/proc/kmsg", os.R_OK) else "E_PERMISSION",
    "/": "E_NOT_REGULAR",
    "": "E_NOT_REGULAR",  # the directory of the metadata.json
    "a\0b.npy": "E_PATH",
    "x" * 5000: "E_PATH",
    "./in/loop.npy": "E_LOOP",
    "./in/dangling.npy": "E_MISSING",
    "./in/x.npy/more.npy": "E_MISSING",
    "./in/x.npy": "",
    "./in/good.npy": "",
    "./in/../in/x.npy": "",
}
# Good files outside, and what they come to below --root.
OUTSIDE = {
    "../outside/x.npy": "E_PATH_OUTSIDE",
    "{base}/outside/x.npy": "E_PATH_OUTSIDE",
    "/proc/self/cwd/../outside/x.npy": "E_PATH_OUTSIDE",
    "./in/away.npy": "E_LINK_OUTSIDE",
    "./in/folder/x.npy": "E_LINK_OUTSIDE",
}


def plant(base: Path) -> tuple[Path, dict[str, tuple[str, str]]]:
    """A metadata.json with hostile paths in a directory, something to steal beside it, and what each path must come to: anywhere, by --root."""
    inside, outside = base / "root" / "in", base / "outside"
    inside.mkdir(parents=True)
    outside.mkdir()
    for folder in (inside, outside):
        np.save(folder / "x.npy", np.arange(6, dtype=np.float32))
    (inside / "loop.npy").symlink_to("loop.npy")
    (inside / "dangling.npy").symlink_to("nowhere.npy")
    (inside / "away.npy").symlink_to(outside / "x.npy")
    (inside / "folder").symlink_to(outside)
    (inside / "good.npy").symlink_to("x.npy")
    expected = {path.format(base=base): ("", code) for path, code in OUTSIDE.items()}
    for path, code in HOSTILE.items():
        expected[path] = (code, "E_PATH_OUTSIDE" if path.startswith("/") else code)
    document = base / "root" / "metadata.json"
    document.write_text(json.dumps({str(number): {"0": path} for number, path in enumerate(expected)}))
    return document, expected


def codes_of(output: Path) -> list[str]:
    with open(output / "cmp_report.csv", newline="") as file:
        return ["".join(re.findall(r"\[(E_\w+)\]$", row["cmp_fail_reason"])) for row in csv.DictReader(file)]


@pytest.mark.parametrize("confined", [True, False], ids=["with --root", "without"])
def test_hostile_paths_are_rows_and_never_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confined: bool) -> None:
    """Without --root a good file is read wherever it lies."""
    document, expected = plant(tmp_path)
    monkeypatch.chdir(tmp_path / "root")
    began = time.monotonic()
    root = ["--root", str(tmp_path / "root")] if confined else []
    assert main(["compare", str(document), str(document), "-o", str(tmp_path / "r"), "-q", "--executor", "serial", *root]) == 2
    assert time.monotonic() - began < 20
    assert dict(zip(expected, codes_of(tmp_path / "r"), strict=True)) == {path: codes[confined] for path, codes in expected.items()}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace tells what is opened")
@pytest.mark.parametrize("executor", ["serial", "local"])
def test_the_kernel_sees_nothing_opened_outside_while_links_are_swapped(tmp_path: Path, executor: str) -> None:
    """A neighbour swaps what links lead to, inside and outside, as fast as it can; comparisons run under strace meanwhile."""
    document, _ = plant(tmp_path)
    inside, outside, stop = tmp_path / "root" / "in", tmp_path / "outside", threading.Event()
    for number in range(200):
        (inside / f"s{number}.npy").symlink_to(inside / "x.npy")
    entries = json.loads(document.read_text()) | {f"s{number}": {"0": f"./in/s{number}.npy"} for number in range(200)}
    document.write_text(json.dumps(entries))
    before = tree_state(document, inside / "x.npy", outside / "x.npy")
    swaps = [0]

    def swap() -> None:
        while not stop.is_set():
            for number in range(200):
                os.symlink((inside, outside)[swaps[0] % 2] / "x.npy", inside / "new")
                os.rename(inside / "new", inside / f"s{number}.npy")
                swaps[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    log = tmp_path / "log"
    opened = runs = 0
    deadline = time.monotonic() + tries("SWAPPING_S", 10)
    try:
        while time.monotonic() < deadline:
            under = ["strace", "-f", "-qq", "-y", "-e", "trace=open,openat,openat2", "-o", str(log)]
            command = words((document, document), tmp_path / f"r{runs}", "-q", "--root", tmp_path / "root", "--executor", executor, "-j2")
            done = subprocess.run([*under, *command], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
            assert done.returncode == 2 and "could not be compared" in done.stderr, done.stderr
            lines = log.read_text(errors="replace").splitlines()
            outcome = [line.rpartition(" = ")[2] for line in lines]
            assert [line for line in outcome if f"<{outside}" in line] == []
            opened += sum(f"<{inside}/x.npy" in line for line in outcome)
            runs += 1
    finally:
        stop.set()
        thread.join()
    print(f"{executor}: {runs} runs, {swaps[0]} swaps, {opened} files opened inside, none outside")
    assert opened > 0 and swaps[0] > 1000
    assert tree_state(document, inside / "x.npy", outside / "x.npy") == before
