"""What the preload library costs a program: a tensor that it saves, and one that nobody asked for.

The program is the stand-in of an acceleration library (cpp/tests/standin), which takes both times by itself.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from answers import WrongAnswer
from cases import MiB, Size, Target
from measure import ROOT, Case

from fastcmp.formats import scan
from fastcmp.formats.payload import open_payload
from fastcmp.options import ScanOptions
from fastcmp.preload_library import library_path

HOST = ROOT / "build/standin/standin/standin_host_abi1"
# Nothing of the caller's own dumps.
OTHERS = ("FASTCMP_", "ATB_", "ACLTRANSFORMER_", "ASDOPS_", "AIT_", "LD_PRELOAD")
KEPT = Target("ratio >= 0.77", at_least=1 / 1.3)
NOT_SELECTED = Target("<= 1 us", at_most_s=1e-6)
# bytes of a tensor, threads that save, what is promised
SAVES = (
    *((nbytes, 1, KEPT) for nbytes in (8192, MiB, 16 * MiB, 64 * MiB)),
    *((nbytes, 4, KEPT) for nbytes in (8192, MiB, 16 * MiB)),
)
TO_COME = "job/rank0/71_cmp_dump_data/allow_list/paths.txt"
LAYERS = 8
LISTED, WILDCARDS, PATTERNS = 990, 10, 10_000
# name, options of the host, the list that is followed; both ask before they offer, the older one less. As long as a list is to come the
# environment selects, so that each question looks for it.
OFFERS = (
    ("1000 lines", (), "lines"),
    ("1000 lines, older libatb", ("--older",), "lines"),
    ("10000 patterns", (), "patterns"),
    ("10000 patterns, older libatb", ("--older",), "patterns"),
    ("a list to come", (), "missing"),
    ("environment", (), ""),
)


def preload_cases(size: Size, directory: Path) -> list[Case]:
    """Saving, at several sizes and from several threads, beside plain writes; then offers beside those to a library without ours."""
    if not HOST.is_file():
        raise SystemExit(f"bench: {HOST}: not there; `make bench` builds this stand-in for an acceleration library")
    directory.mkdir(parents=True)
    directory.chmod(0o700)  # a list that others could replace is refused
    saves = [save_case(size, directory, *row) for row in SAVES]
    (directory / TO_COME).parent.mkdir(parents=True)
    lists = {"lines": write_lines(directory), "patterns": write_patterns(directory), "missing": directory / TO_COME}
    offers = [offer_case(size, directory, name, options, lists.get(kind), threads) for name, options, kind in OFFERS for threads in (1, 4)]
    return [*saves, *offers]


def save_case(size: Size, directory: Path, nbytes: int, threads: int, target: Target) -> Case:
    """Until all is written, beside plain open, write and close of files in a tree of the same kind, by as many threads."""
    unit, scale = ("tensors/s", 1) if nbytes < MiB else ("GB/s", nbytes / 1e9)
    case = Case(f"save {size_text(nbytes)}{', 4 threads' if threads > 1 else ''}", unit, "plain tree", target)
    per_thread = max(min(size.saved_bytes // nbytes, size.saved_tensors) // threads, 1)
    layers = min(LAYERS, per_thread)
    tokens = per_thread // layers
    place = directory / f"saves-{nbytes}-{threads}"
    timing = run_host(
        *("--throughput", "--directory", str(place), "--rounds", str(size.save_rounds), "--threads", str(threads)),
        *("--bytes", str(nbytes), "--tokens", str(tokens), "--layers", str(layers)),
        directory=directory,
        preload=True,
        settings={"ATB_OUTPUT_DIR": f"{place}/", "ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_RANGE": "all", "ATB_SAVE_TENSOR_PART": "1"},
    )
    check_saves(case.name, timing, place, (1 + size.save_rounds) * tokens * layers * threads, tokens, layers)
    work = tokens * layers * threads * scale
    case.seconds = timing["saved_s"]
    case.rounds = [(work / saved, work / plain) for saved, plain in zip(timing["saved_s"], timing["plain_s"], strict=True)]
    case.aside = f"beside a tree with the copy {beside(timing, 'copied_s'):.2f}, one flat directory {beside(timing, 'flat_s'):.2f}"
    return case


def beside(timing: dict[str, Any], yardstick: str) -> float:
    """The median ratio to another yardstick of the same rounds."""
    return statistics.median(plain / saved for saved, plain in zip(timing["saved_s"], timing[yardstick], strict=True))


def check_saves(name: str, timing: dict[str, Any], place: Path, expected: int, tokens: int, layers: int) -> None:
    """Every tensor was saved and counted, nothing else happened, and those of the last round hold what they held in memory."""
    counters = {counter: value for counter, value in timing["status"]["counters"].items() if value}
    numbers = {"offered": expected, "saved": expected, "tensor_bytes": expected * timing["bytes_per_tensor"]}
    if counters != numbers or timing["status"]["queued"]:
        raise WrongAnswer(f"{name}: counted {counters}, expected {numbers}")
    newest = max(place.glob("msit_dump/tensors/*/*"), key=lambda directory: int(directory.name))
    token = int(newest.name)
    for layer in sorted({0, layers // 2, layers - 1}):
        for path in newest.glob(f"*_TimedTorch/{layer}_TimedLayer/0_SavedRunner/after/outtensor0.bin"):
            check_saved(path, first=token * layers + layer, nbytes=timing["bytes_per_tensor"])
    saved_tokens = len(list(newest.parent.iterdir()))
    if saved_tokens % tokens:
        raise WrongAnswer(f"{name}: {saved_tokens} tokens in {newest.parent}, expected a multiple of {tokens}")


def check_saved(path: Path, *, first: int, nbytes: int) -> None:
    """The file as fastcmp reads it: 1, 2, 3, ... behind a number of its own."""
    info = scan(str(path), ScanOptions())
    with open_payload(info) as payload:
        values = payload.piece(0, info.element_count).copy()
    if info.dtype != "int32" or info.shape != (1, nbytes // 4):
        raise WrongAnswer(f"{path}: {info.dtype} {info.shape}, expected int32 {(1, nbytes // 4)}")
    expected = np.arange(nbytes // 4, dtype=np.int32)
    expected[0] = first
    if not np.array_equal(values, expected):
        raise WrongAnswer(f"{path}: element {int(np.argmax(values != expected))} is not what was saved")


def offer_case(size: Size, directory: Path, name: str, options: tuple[str, ...], followed: Path | None, threads: int) -> Case:
    """What one offer costs, the library's questions included; the yardstick is the same without the preload library."""
    case = Case(f"not selected: {name}{', 4 threads' if threads > 1 else ''}", "offers/s", "not preloaded", NOT_SELECTED)
    environment = {"ATB_SAVE_TENSOR": "1", "ATB_SAVE_TENSOR_RANGE": "all", "ATB_SAVE_TENSOR_RUNNER": "saved,other"}
    is_there = followed is not None and followed.exists()
    settings = ({} if is_there else environment) | ({"FASTCMP_ALLOWLIST": str(followed)} if followed else {})
    lines = len(followed.read_bytes().splitlines()) if followed and is_there else 0
    command = ("--not-selected", str(size.offers), "--threads", str(threads), *options)
    for number in range(size.rounds + 1):
        timing = run_host(*command, directory=directory, preload=True, settings=settings)
        floor = run_host(*command, directory=directory, preload=False, settings={})
        check_offers(case.name, timing, lines)
        if number == 0:
            continue  # warms up
        case.seconds.append(processor_seconds(timing))
        case.rounds.append((1 / processor_seconds(timing), 1 / processor_seconds(floor)))
    return case


def processor_seconds(timing: dict[str, Any]) -> float:
    """Of an offer, not counting that threads wait for a core."""
    return statistics.mean(timing["processor_ns_per_offer"]) * 1e-9


def check_offers(name: str, timing: dict[str, Any], lines: int) -> None:
    """The library was asked each time, knew the list and saved nothing."""
    status = timing["status"]
    counters, calls = status["counters"], sum(status["calls"].values())
    offers = timing["threads"] * timing["offers_per_thread"]
    if calls < offers or counters["offered"] != counters["not_selected"] or counters["saved"] or status["registered_lines"] != lines:
        raise WrongAnswer(f"{name}: {calls} calls for {offers} offers, {status['registered_lines']} lines, counted {counters}")


def write_lines(directory: Path) -> Path:
    """Paths of the token that is offered, a few of them with a star; none is what is offered."""
    lines = [f"0/0_TimedTorch/{number}_TimedLayer/{number % 64}_OtherRunner/after/outtensor0.bin" for number in range(LISTED)]
    lines += [f"0/0_TimedTorch/*_TimedLayer/{number}_WildRunner/after/outtensor0.bin" for number in range(WILDCARDS)]
    return write_allow_list(directory / "lines.txt", lines)


def write_patterns(directory: Path) -> Path:
    """Patterns of the token that is offered, with the names of what is offered; none fits, since they have other numbers."""
    numbers = range(1000, 1000 + PATTERNS)
    lines = [f"0/*_TimedTorch/0_TimedLayer/{number}_NotSelectedRunner/after/outtensor0.bin" for number in numbers]
    return write_allow_list(directory / "patterns.txt", lines)


def write_allow_list(path: Path, lines: list[str]) -> Path:
    """A private list, or it would be refused."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    path.chmod(0o600)
    return path


def run_host(*arguments: str, directory: Path, preload: bool, settings: dict[str, str]) -> dict[str, Any]:
    """Run the stand-in host, which leaves word of itself in ``directory``; the JSON that it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)} | settings
    if preload:
        environment["LD_PRELOAD"] = library_path()
    done = subprocess.run([HOST, *arguments], env=environment, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise WrongAnswer(f"{HOST.name} {' '.join(arguments)}: exit status {done.returncode}: {done.stderr.strip()}")
    timing: dict[str, Any] = json.loads(done.stdout)
    return timing


def size_text(nbytes: int) -> str:
    return f"{nbytes // MiB} MiB tensors" if nbytes >= MiB else f"{nbytes // 1024} KiB tensors"
