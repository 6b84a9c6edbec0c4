"""What seldom happens where a cluster is asked: another one is connected already, nobody has a core, one side lies nowhere."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cluster_dumps import write_rank
from pretend_nodes import needs_mounts, pretend_cluster

from fastcmp.engine import ray_executor
from fastcmp.engine.cluster_link import Node
from fastcmp.engine.node_dumps import NodeDisks, _joined, _Listing, load_dumps
from fastcmp.errors import UsageError
from fastcmp.executor_choice import parse_executor
from fastcmp.options import CompareOptions, ParallelSide, ScanOptions
from fastcmp.pairing.pairs import Pair
from fastcmp.sources import NamedTensor, TensorKey, load


def connected_to(address: str) -> Any:
    """A ray that this process is connected to already."""
    return SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: SimpleNamespace(gcs_address=address))


@pytest.mark.parametrize(
    ("chosen", "present"),
    [("ray", "10.0.0.7:6379"), ("ray://10.0.0.7:6379", "10.0.0.7:6379"), ("ray://localhost:6379", "10.0.0.7:6379")],
)
def test_a_connection_of_this_process_is_used_and_stays(chosen: str, present: str) -> None:
    assert ray_executor._connect(connected_to(present), parse_executor(chosen)) is False


@pytest.mark.parametrize("present", ["10.0.0.8:6379", "10.0.0.7:6380"])
def test_another_connection_of_this_process_is_not_taken_for_it(present: str) -> None:
    with pytest.raises(UsageError, match=rf"connected to the Ray at {present} already; use --executor ray for that one"):
        ray_executor._connect(connected_to(present), parse_executor("ray://10.0.0.7:6379"))


@pytest.mark.parametrize("name", ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_token_of_the_user_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), name: "mine"})
    ray_executor._keep_token_in_memory()
    assert os.environ == {"HOME": str(tmp_path), name: "mine"}
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path)})
    ray_executor._keep_token_in_memory()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64 and not any(tmp_path.iterdir())


def test_handlers_are_kept_in_the_main_thread_and_left_alone_in_any_other() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ray_executor._signal_handlers_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
    passed: list[bool] = []

    def elsewhere() -> None:
        with ray_executor._signal_handlers_kept():
            passed.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert passed == [True]


@pytest.mark.parametrize("nodes", [[], [{"Alive": False, "Resources": {"CPU": 8}}], [{"Alive": True, "Resources": {"GPU": 1}}]])
def test_a_ray_without_a_core_is_refused(nodes: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="ray://a:1: none of its nodes has a core to work with; start one with `ray start"):
        ray_executor._start(SimpleNamespace(nodes=lambda: nodes), "ray://a:1", None, CompareOptions())


def test_a_tensor_of_one_side_alone_is_not_apart_and_has_no_words() -> None:
    one = NamedTensor(TensorKey("", "x", "0"), "x.npy", "/x.npy")
    disks = NodeDisks(SimpleNamespace(nodes=[Node("a", 1), Node("b", 1)]), {"/x.npy": (1, (1, 2, 3))})
    for golden, target in ((one, None), (None, one)):
        pair = Pair(0, one.key, golden, target, "", 0)
        assert not disks.is_apart(pair) and disks.words(pair, ScanOptions()) is None
    assert disks.words(Pair(0, one.key, one, one, "key", 0), ScanOptions()) == (1, 2, 3, 1, 2, 3)


def test_dumps_of_two_kinds_are_not_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "plain").mkdir()
    np.save(tmp_path / "plain/x.npy", np.zeros(3))
    listings = [
        _Listing(name, load(path, "golden", CompareOptions()), [(1, number, 3)], [number])
        for number, (name, path) in enumerate({"a": tmp_path / "x.npy", "b": tmp_path / "plain"}.items())
    ]
    with pytest.raises(UsageError, match="expected one kind of dump everywhere, found a file on a, a directory on b"):
        _joined(listings, str(tmp_path), "golden")


@needs_mounts
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pair_by": ("content",)}, "--pair-by content: looks into files from this machine, but found them on disks of the nodes"),
        ({"golden_parallel": ParallelSide("tp=2")}, "can only be put together where all nodes and this machine see all files"),
    ],
)
def test_what_needs_all_files_in_one_place_is_refused_where_they_are_not(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    place = tmp_path / "dumps"
    place.mkdir()
    disks = [tmp_path / "a", tmp_path / "b"]
    for rank, folder in enumerate(disks):
        folder.mkdir()
        write_rank(folder, rank)
    executor = pretend_cluster(disks, place)
    try:
        with pytest.raises(UsageError, match=message):
            load_dumps(executor, str(place / "golden"), str(place / "target"), CompareOptions(**changes))
    finally:
        executor.kill()
