"""The same tensors as files of other formats: what a comparison of them costs beside .npy, and what it costs to look into one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from answers import WrongAnswer
from cases import FOR_THE_RECORD, SMALL_ELEMENTS, Size, Target
from measure import Case, alternate, timed
from safetensors.numpy import save_file
from setting import Setting

from fastcmp.engine import compare_items
from fastcmp.formats import scan_batch
from fastcmp.options import FoldOptions, ScanOptions
from fastcmp.outcome import TaskResult
from fastcmp.plan import Task, WorkItem

AS_FAST_AS_NPY = Target("ratio >= 0.9", at_least=0.9)
FASTER_THAN_TORCH = Target("ratio >= 2", at_least=2)
LARGE_TENSORS = 8
SMALL_FILES = 500
LARGE_ROUNDS, SMALL_ROUNDS = 15, 9

Write = Callable[[Path, np.ndarray], None]
# Suffix to what writes such a file.
WRITERS: dict[str, Write] = {
    ".npy": np.save,
    ".pt": lambda path, values: torch.save(torch.from_numpy(values), path),
    ".safetensors": lambda path, values: save_file({"value": values}, path),
    ".npz": lambda path, values: np.savez(path, value=values),
}


def format_cases(setting: Setting) -> list[Case]:
    """By one process, in this one: no start, no report."""
    folder = setting.scratch / "formats"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    large, small = large_tasks(folder, setting.size), small_tasks(folder)
    cases = [*beside_npy("large", large, LARGE_ROUNDS), *beside_npy("small", small, SMALL_ROUNDS), looking_case(small[".pt"])]
    shutil.rmtree(folder)
    return cases


def large_tasks(folder: Path, size: Size) -> dict[str, Task]:
    """Pairs of float32, written at the same time for every format, as somebody has them who just dumped."""
    count = size.large_tensor_bytes // 4
    return tasks_of(folder / "large", LARGE_TENSORS, (count // 4096, 4096), "float32")


def small_tasks(folder: Path) -> dict[str, Task]:
    return tasks_of(folder / "small", SMALL_FILES, (1, SMALL_ELEMENTS), "float16")


def tasks_of(folder: Path, pairs: int, shape: tuple[int, int], dtype: str) -> dict[str, Task]:
    """For each format a task over the same pairs."""
    folder.mkdir()
    chance = np.random.default_rng(1)
    items: dict[str, list[WorkItem]] = {suffix: [] for suffix in WRITERS}
    for number in range(pairs):
        golden = chance.standard_normal(shape).astype(dtype)
        target = (golden * np.array(1.001, dtype)).astype(dtype)
        for suffix, write in WRITERS.items():
            paths = folder / f"{number}_golden{suffix}", folder / f"{number}_target{suffix}"
            for path, values in zip(paths, (golden, target), strict=True):
                write(path, values)
            items[suffix].append(WorkItem(number, str(paths[0]), str(paths[1]), FoldOptions()))
    return {suffix: Task(0, tuple(found), ScanOptions()) for suffix, found in items.items()}


def beside_npy(name: str, tasks: dict[str, Task], rounds: int) -> list[Case]:
    results = {suffix: compare_items.run_task(task) for suffix, task in tasks.items()}
    check_answers(results)
    pairs = len(tasks[".npy"].items)
    is_large = name == "large"
    work = results[".npy"].bytes_compared / 1e9 if is_large else pairs
    cases = []
    for suffix, task in tasks.items():
        if suffix == ".npy":
            continue
        case = Case(
            f"{name} {suffix} pairs",
            "GB/s" if is_large else "pairs/s",
            f"{name} .npy pairs",
            AS_FAST_AS_NPY if is_large else FOR_THE_RECORD,
        )
        cases.append(alternate(case, rounds, work, seconds_of(task), seconds_of(tasks[".npy"])))
    return cases


def seconds_of(task: Task) -> Callable[[], float]:
    return lambda: timed(lambda: compare_items.run_task(task))


def check_answers(results: dict[str, TaskResult]) -> None:
    """The sums are those of the .npy files, to the last bit."""
    for suffix, result in results.items():
        if any(result.error_codes) or result.sums.tobytes() != results[".npy"].sums.tobytes():
            raise WrongAnswer(f"{suffix}: {set(result.error_codes)}, expected what the same values in .npy files give")


def looking_case(task: Task) -> Case:
    """What a file holds and where, one after the other, beside torch's own way to it without reading the elements."""
    paths = [path for item in task.items for path in (item.golden_path, item.target_path)]
    case = Case("look into small .pt files", "files/s", "torch.load(mmap=True)", FASTER_THAN_TORCH)

    def ours() -> None:
        scan_batch(paths, ScanOptions())

    def theirs() -> None:
        for path in paths:
            torch.load(path, mmap=True, weights_only=True)

    return alternate(case, SMALL_ROUNDS, len(paths), lambda: timed(ours), lambda: timed(theirs))
