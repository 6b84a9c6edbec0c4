"""More elements than an int32 counts, and more bytes than there is memory for: files of zeros that take no disk, with a few values in them."""

from __future__ import annotations

import csv
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy_format
from reliability_runs import ROOT, Sides, words
from tries import tries


def sparse(path: Path, kind: str, count: int, planted: dict[int, float]) -> Path:
    dtype = np.dtype(kind)
    with open(path, "wb") as file:
        npy_format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": (count,)})
        offset = file.tell()
        file.truncate(offset + dtype.itemsize * count)
        for index, value in planted.items():
            file.seek(offset + index * dtype.itemsize)
            file.write(np.array(value, dtype).tobytes())
    return path


def row_under_a_limit(sides: Sides, output: Path, *options: str) -> dict[str, str]:
    """The one row of the report of a run whose processes may have 3 GiB of addresses each, maps and all."""
    limited = f"ulimit -v {3 << 20}; exec " + " ".join(words(sides, output, "-q", *options))
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=800, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    with open(output / "cmp_report.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    return row


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-j2",), ("--executor", "serial")], ids=["workers", "serial"])
def test_more_than_two_to_31_elements_have_exact_counts_in_3_gib_of_address_space(tmp_path: Path, options: tuple[str, ...]) -> None:
    count = (1 << 31) + 16
    last = count - 1
    golden = sparse(tmp_path / "g.npy", "i1", count, {0: 1, 1 << 31: 3, last: 5})
    target = sparse(tmp_path / "t.npy", "i1", count, {0: 1, 1 << 31: 4, last: -5})
    began = time.monotonic()
    row = row_under_a_limit((golden, target), tmp_path / "r", *options)
    # A minute is promised; this machine has other things to do.
    assert time.monotonic() - began < 180
    assert (row["element_count"], row["mismatch_count"], row["bytes"]) == (str(count), "2", str(2 * count))
    assert (row["max_absolute_error"], row["max_absolute_error_index"]) == ("10", f"({last},)")
    assert (row["golden_max_value"], row["acl_min_value"], row["verdict"]) == ("5", "-5", "fail")


@pytest.mark.slow
def test_a_tensor_larger_than_its_memory_is_compared_in_pieces(tmp_path: Path) -> None:
    """Both sides together have several times the address space that each process may have."""
    count = tries("LARGE_GIB", 4) << 28
    golden = sparse(tmp_path / "g.npy", "<f4", count, {7: 1.0, count // 2: 2.0, count - 1: 4.0})
    target = sparse(tmp_path / "t.npy", "<f4", count, {7: 1.0, count // 2: 2.0, count - 1: 4.5})
    row = row_under_a_limit((golden, target), tmp_path / "r", "-j2")
    assert (row["element_count"], row["mismatch_count"], row["max_absolute_error"]) == (str(count), "1", "0.5")
    assert float(row["relative_euclidean_distance"]) == pytest.approx(0.5 / 21**0.5, rel=1e-12)
