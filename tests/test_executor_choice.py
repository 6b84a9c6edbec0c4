"""What ``--executor`` takes, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest

import fastcmp
from fastcmp.errors import UsageError
from fastcmp.executor_choice import ExecutorChoice, parse_executor
from fastcmp.options import CompareOptions, ScanOptions, check


@pytest.mark.parametrize(
    ("text", "choice", "address", "shown"),
    [
        ("local", ExecutorChoice("local"), "", "local"),
        ("threads", ExecutorChoice("threads"), "", "threads"),
        ("serial", ExecutorChoice("serial"), "", "serial"),
        ("ray", ExecutorChoice("ray"), "", "ray"),
        ("ray://head:6379", ExecutorChoice("ray", "head", 6379), "head:6379", "ray://head:6379"),
        ("ray://10.0.0.1:6379/", ExecutorChoice("ray", "10.0.0.1", 6379), "10.0.0.1:6379", "ray://10.0.0.1:6379"),
        ("dask://a-b.c_d:8786", ExecutorChoice("dask", "a-b.c_d", 8786), "a-b.c_d:8786", "dask://a-b.c_d:8786"),
        ("dask://[::1]:8786", ExecutorChoice("dask", "::1", 8786), "[::1]:8786", "dask://[::1]:8786"),
    ],
)
def test_a_name_or_an_address_is_taken(text: str, choice: ExecutorChoice, address: str, shown: str) -> None:
    found = parse_executor(text)
    assert found == choice and found.address == address and str(found) == shown
    assert found.is_cluster == text.startswith(("ray", "dask"))


EXPECTED = "expected local, threads, serial, ray, ray://HOST:PORT or dask://HOST:PORT"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f"--executor '': {EXPECTED}"),
        ("Local", f"--executor 'Local': {EXPECTED}"),
        ("rays://h:1", f"--executor 'rays://h:1': {EXPECTED}"),
        ("ray://h:1/x", f"--executor 'ray://h:1/x': {EXPECTED}"),
        ("ray://user@h:1", f"--executor 'ray://user@h:1': {EXPECTED}"),
        ("ray://h:1\n", f"--executor 'ray://h:1\\n': {EXPECTED}"),
        ("ray://", f"--executor 'ray://': {EXPECTED}"),
        ("ray://-h:1", f"--executor 'ray://-h:1': {EXPECTED}"),
        ("dask", "--executor dask: found no address; name the scheduler that `dask scheduler` prints, dask://HOST:PORT"),
        ("dask://h", "--executor 'dask://h': found no port, expected 1 to 65535; name dask://HOST:PORT"),
        ("ray://h:0", "--executor 'ray://h:0': port 0, expected 1 to 65535; name ray://HOST:PORT"),
        ("ray://h:65536", "--executor 'ray://h:65536': port 65536, expected 1 to 65535; name ray://HOST:PORT"),
        (None, f"--executor None: {EXPECTED}"),
        (4, f"--executor 4: {EXPECTED}"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_executor(text)
    assert str(caught.value) == said


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(UsageError) as caught:
        parse_executor("ray://" + "h" * 100_000 + ":1")
    assert len(str(caught.value)) < 500


def test_it_is_checked_with_the_other_options_before_anything_is_looked_at() -> None:
    with pytest.raises(UsageError, match="--executor 'cluster': expected local"):
        fastcmp.compare("/nowhere/golden", "/nowhere/target", executor="cluster")
    with pytest.raises(UsageError, match="--root: expected absolute paths with --executor ray://h:1, for they are looked up on its nodes"):
        check(CompareOptions(executor="ray://h:1", scan=ScanOptions(roots=("/a", "b"))))
    check(CompareOptions(executor="threads", scan=ScanOptions(roots=("b",))))


def test_watching_needs_the_disks_of_this_machine() -> None:
    from fastcmp.watching import watch

    with pytest.raises(UsageError, match="watching cannot look at the disks of other machines; expected local, threads or serial, got ray"):
        watch("golden", "target", options=CompareOptions(executor="ray"))
