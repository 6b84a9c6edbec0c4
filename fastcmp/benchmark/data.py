"""Two dumps to measure with, in a directory that is removed afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fastcmp.dtypes import DTYPES
from fastcmp.errors import OutputError, UsageError

# Storage dtypes of the large pairs, in turn; small ones are float16.
LARGE_DTYPES: Final = ("float32", "float16", "bfloat16")
# Relative noise, well inside the default verdict of each dtype.
_NOISE: Final = {"float32": 1e-6, "float16": 1e-4, "bfloat16": 1e-3}
_ROW: Final = 4096
_BASE_ELEMENTS: Final = 2**18
_BLOCK: Final = 4096


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    large_pairs, large_bytes : int
        So many pairs, each side so large; whole rows of every dtype.
    repeats : int
        The longer comparison names every large file so often.
    small_pairs : int
        Pairs of 8 KB.
    kernel_bytes : int
        One side of what a kernel folds in memory.
    rounds : int
        Measurement and floor alternate so often.
    """

    large_pairs: int = 18
    large_bytes: int = 8 * 2**20
    repeats: int = 16
    small_pairs: int = 4000
    kernel_bytes: int = 64 * 2**20
    rounds: int = 5

    @property
    def disk_bytes(self) -> int:
        """What the files take, with a header each, in blocks of 4 KiB; and as much as a report may take."""
        small_file = 2 * _ROW + 2 * _BLOCK
        return 2 * self.large_pairs * (self.large_bytes + _BLOCK) + 2 * self.small_pairs * small_file + 8 * 2**20


@dataclass(frozen=True)
class Dump:
    """Both sides' metadata.json, and the files that they name, golden and target of a pair side by side."""

    golden: str
    target: str
    files: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The files by pair."""
        return list(zip(self.files[::2], self.files[1::2], strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(os.path.getsize(path) for path in self.files)


@contextlib.contextmanager
def fresh_directory(parent: str | None, need_bytes: int) -> Iterator[Path]:
    """A new directory below ``parent`` (None: where temporary files go), removed at the end, however that comes.

    Raises
    ------
    UsageError
        If there is no such parent, or less space in it than is needed.
    OutputError
        If nothing can be made in it.
    """
    if parent is None:
        parent = tempfile.gettempdir()
    if "\0" in parent or not os.path.isdir(parent):
        raise UsageError(f"--dir {parent}: is no directory; name one where files can be made")
    free = shutil.disk_usage(parent).free
    if free < need_bytes * 1.1:
        raise UsageError(f"{parent}: {free / 1e9:.2g} GB free, {need_bytes * 1.1 / 1e9:.2g} GB needed; --dir names another place")
    try:
        made = tempfile.mkdtemp(prefix="fastcmp-bench-", dir=parent)
    except OSError as error:
        raise OutputError(f"{parent}: no directory can be made there: {error.strerror}; --dir names another place") from error
    try:
        yield Path(made)
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith(made):
            raise
        raise OutputError(f"{error.filename}: {error.strerror}; --dir names another place") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def large_dump(directory: Path, size: Size) -> Dump:
    """Pairs of large tensors in the dtypes of `LARGE_DTYPES` by turns."""
    return _write(directory, size.large_pairs, size.large_bytes, LARGE_DTYPES)


def small_dump(directory: Path, size: Size) -> Dump:
    """Pairs of 8 KB float16 tensors."""
    return _write(directory, size.small_pairs, 2 * _ROW, ("float16",))


def repeated(dump: Dump, times: int) -> Dump:
    """The same files, each named under ``times`` tokens: more work, no more disk."""
    paths = []
    for path in map(Path, (dump.golden, dump.target)):
        names = json.loads(path.read_text(encoding="utf-8"))
        more = {data_id: {str(token): file for file in tokens.values() for token in range(times)} for data_id, tokens in names.items()}
        longer = path.with_name(f"metadata_{times}.json")
        longer.write_text(json.dumps(more), encoding="utf-8")
        paths.append(str(longer))
    return Dump(paths[0], paths[1], dump.files)


def values_of(dtype: str, nbytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Golden and target of so many bytes each, in storage form: normal numbers, and the same with a little noise."""
    random = np.random.default_rng(20240101)
    golden = random.standard_normal(_BASE_ELEMENTS, dtype=np.float32)
    target = golden * (1 + np.float32(_NOISE[dtype]) * random.standard_normal(_BASE_ELEMENTS, dtype=np.float32))
    count = nbytes * 8 // DTYPES[dtype].bits
    return np.resize(_stored(golden, dtype), count), np.resize(_stored(target, dtype), count)


def _stored(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float32":
        return values
    if dtype == "float16":
        return values.astype(np.float16).view(np.uint16)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _write(directory: Path, pairs: int, nbytes: int, dtypes: tuple[str, ...]) -> Dump:
    """Golden as .npy where numpy knows the dtype, all else as .bin; 200 pairs to a directory."""
    values = {dtype: values_of(dtype, nbytes) for dtype in dtypes}
    names: dict[str, dict[str, dict[str, str]]] = {"golden": {}, "target": {}}
    files = []
    for number in range(pairs):
        dtype = dtypes[number % len(dtypes)]
        token, data_id = str(number // 200), f"op.{number % 200}"
        for role, array in zip(names, values[dtype], strict=True):
            suffix = "npy" if role == "golden" and dtype != "bfloat16" else "bin"
            path = f"{role}/{token}/{data_id}.{suffix}"
            _write_file(directory / path, array, dtype)
            names[role].setdefault(data_id, {})[token] = path
            files.append(str(directory / path))
    for role, paths in names.items():
        (directory / f"{role}.json").write_text(json.dumps(paths), encoding="utf-8")
    return Dump(str(directory / "golden.json"), str(directory / "target.json"), tuple(files))


def _write_file(path: Path, array: np.ndarray, dtype: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shaped = array.reshape(-1, min(_ROW, array.size))
    if path.suffix == ".npy":
        np.save(path, shaped.view(dtype))
        return
    header = (
        f"$Version=1.0\n$Object.Count=1\n$Object.Length={array.nbytes}\nformat=2\ndtype={DTYPES[dtype].acl_code}\n"
        f"dims={','.join(map(str, shaped.shape))}\n$Object.data=0,{array.nbytes}\n$End=1\n"
    )
    with path.open("wb") as file:
        file.write(header.encode("ascii"))
        array.tofile(file)
