"""Where kernels are compiled, kept and loaded."""

from __future__ import annotations

import fcntl
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tries import tries

from fastcmp.kernels import cache_dir, making, pairs

# Prints what the first call did, and sums whose last digits tell in which order a kernel adds.
PROGRAM = """
import hashlib, sys
import numpy as np
from fastcmp.kernels import fold, pairs
from fastcmp.options import FoldOptions
if "alone" in sys.argv: sys.executable = ""
fold.warm([(dtype, dtype) for dtype in sys.argv[1].split(",")], kl=True)
print(sum(pairs.fold_many.stats.cache_hits.values()), sum(pairs.fold_many.stats.cache_misses.values()))
random, digest = np.random.default_rng(0), hashlib.sha256()
for dtype in ("float32", "float16", "float64"):
    golden = random.standard_normal((3, 137))
    target = golden + random.standard_normal(golden.shape) * 1e-3
    sides = [side.astype(dtype).ravel() for side in (golden, target)]
    if dtype == "float16":
        sides = [side.view(np.uint16) for side in sides]
    where = dict(start=0, element_count=411, row_length=137, options=FoldOptions(kl=True))
    digest.update(fold.fold_piece(sides[0], dtype, sides[1], dtype, **where).tobytes())
    if dtype == "float16" and "float64" not in sys.argv[1]: break
print(digest.hexdigest())
"""


def run(cache: Path, *arguments: str) -> list[str]:
    """Cache hits, cache misses, digest of the sums."""
    environment = {"XDG_CACHE_HOME": str(cache), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(pairs.__file__).parents[2])}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=300).stdout.split()


def test_whoever_has_a_kernel_made_runs_the_same_code_as_whoever_finds_it(tmp_path: Path) -> None:
    first, second = run(tmp_path, "float32"), run(tmp_path, "float32")
    assert first == second and first[:2] == ["1", "0"]
    (directory,) = (tmp_path / "fastcmp").iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700 and directory.name == cache_dir.cache_key()


@pytest.mark.slow
def test_no_order_in_which_kernels_are_made_moves_a_digit(tmp_path: Path) -> None:
    all_orders = [",".join(order) for order in itertools.permutations(("float32", "float64", "int64"))]
    orders = (all_orders[::2] + all_orders[1::2])[: tries("KERNEL_ORDERS", 2)]  # each dtype is the first once before it is twice
    digests = {run(tmp_path / str(number), order)[2] for number, order in enumerate(orders)}
    assert len(digests) == 1


def test_a_kernel_is_compiled_on_the_spot_where_no_process_can_be_started(tmp_path: Path) -> None:
    assert run(tmp_path, "float32", "alone")[:2] == ["0", "1"]


def test_what_compiles_ends_with_whoever_wanted_it() -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", "from fastcmp.kernels.making import become_maker; become_maker(); import time; time.sleep(60)"],
        stdin=subprocess.PIPE,
    )
    assert maker.stdin is not None
    maker.stdin.close()
    assert maker.wait(20) == 1


def test_a_kernel_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Maker(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **rest: object) -> None:
            started.append(command[-3:])
            super().__init__(["true"], stdin=subprocess.PIPE)

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(making.subprocess, "Popen", Maker)
    for _ in range(2):  # two processes, as far as this goes
        monkeypatch.setattr(making, "_made", set())
        for _ in range(2):
            with making.made(("fold_many", "f4", "f4")):
                pass
    assert started == [["fold_many", "f4", "f4"]]


def test_a_maker_that_fails_leaves_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(making, "_made", set())
    with making.made(("no_such_kernel", "f4", "f4")):
        pass
    assert not list(tmp_path.glob(".made-*"))


def test_edited_kernels_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    source = tmp_path / "making.py"
    (tmp_path / "pairs.py").write_text("a = 1")
    monkeypatch.setattr(making, "__file__", str(source))
    before = making._marker(("fold_many", "f4", "f4"))
    os.utime(tmp_path / "pairs.py", (1, 1))
    after = making._marker(("fold_many", "f4", "f4"))
    assert before is not None and after is not None and before != after and before.parent == tmp_path


def test_one_process_at_a_time_fills_the_kernel_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    with cache_dir.cache_lock():
        lock = os.open(cache_dir.lock_path(), os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)


def test_another_installation_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    with cache_dir.cache_lock():
        monkeypatch.setattr(cache_dir, "__file__", str(tmp_path / "another" / "fastcmp" / "kernels" / "cache_dir.py"))
        began = time.monotonic()
        with cache_dir.cache_lock():
            assert time.monotonic() - began < 10
    assert len(list(tmp_path.glob(".compiling-*"))) == 2


def test_who_holds_the_lock_for_too_long_is_waited_for_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache_dir, "COMPILER_PATIENCE_S", 0.3)
    holder = os.open(cache_dir.lock_path(), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(holder, fcntl.LOCK_EX)
    began = time.monotonic()
    with cache_dir.cache_lock():
        assert 0.3 <= time.monotonic() - began < 30
    os.close(holder)
    with cache_dir.cache_lock():
        with pytest.raises(BlockingIOError):
            fcntl.flock(other := os.open(cache_dir.lock_path(), os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_cache_that_cannot_be_locked_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "nowhere"))
    with cache_dir.cache_lock():
        pass
