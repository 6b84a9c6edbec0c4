"""Pairs of tensor files whose values do not matter, and the tasks over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.options import FoldOptions, ScanOptions
from fastcmp.plan import Task, WorkItem

ROW = 4096


def write_bin(path: Path, dtype: str, count: int) -> str:
    """A .bin file of zeros, its payload a hole in the file, so that any size is made at once."""
    nbytes = count * DTYPES[dtype].bits // 8
    dims = f"{count // ROW},{ROW}" if count % ROW == 0 else str(count)
    header = (
        f"$Version=1.0\n$Object.Count=1\n$Object.Length={nbytes}\nformat=2\ndtype={DTYPES[dtype].acl_code}\n"
        f"dims={dims}\n$Object.data=0,{nbytes}\n$End=1\n"
    ).encode("ascii")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + nbytes)
    return str(path)


def write_npy(path: Path, array: np.ndarray) -> str:
    """As numpy lays it out, in C or in Fortran order."""
    np.save(path, array)
    return str(path)


def pt_pair(directory: Path, dtype: str, count: int) -> tuple[str, str]:
    """Golden and target, both by `torch.save`."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    paths = str(directory / "golden.pt"), str(directory / "target.pt")
    for path in paths:
        torch.save(torch.zeros(count // ROW, ROW, dtype=getattr(torch, dtype)), path)
    return paths


def safetensors_pair(directory: Path, dtype: str, count: int) -> tuple[str, str]:
    """Golden and target, each the second tensor of a file of two."""
    import torch
    from safetensors.torch import save_file

    from fastcmp.formats.places import member_place

    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / "golden.safetensors", directory / "target.safetensors"]
    for path in paths:
        save_file({"a": torch.zeros(8), "b": torch.zeros(count // ROW, ROW, dtype=getattr(torch, dtype))}, path)
    golden, target = (member_place(str(path), "b") for path in paths)
    return golden, target


def bin_pair(directory: Path, dtype: str, count: int) -> tuple[str, str]:
    """Golden and target, both .bin."""
    directory.mkdir(parents=True, exist_ok=True)
    return write_bin(directory / "golden.bin", dtype, count), write_bin(directory / "target.bin", dtype, count)


def task_over(pairs: Sequence[tuple[str, str]], kl: bool = True) -> Task:
    """One task with an item for each (golden, target)."""
    items = tuple(WorkItem(row, golden, target, FoldOptions(kl=kl)) for row, (golden, target) in enumerate(pairs))
    return Task(0, items, ScanOptions())
