"""Dumps that lie on the disks of nodes: each node has its own directory at one path, in a mount namespace of its own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cluster_dumps import report, write_rank
from pretend_nodes import needs_mounts, pretend_cluster

import fastcmp
from fastcmp import api
from fastcmp.comparison import Comparison
from fastcmp.engine.cluster import ClusterExecutor
from fastcmp.engine.disks import HERE
from fastcmp.engine.node_dumps import NodeDisks, _joined, _Listing
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.progress import Silent
from fastcmp.result import Result
from fastcmp.results.output_dir import prepare
from fastcmp.sources import load
from fastcmp.verdict import Rules

sys.path.insert(0, str(Path(__file__).parent.parent / "sources"))
from layout_makers import alias_bytes, bin_bytes, write_tree

MakeCluster = Callable[..., ClusterExecutor]


@pytest.fixture
def clusters() -> Iterator[MakeCluster]:
    made: list[ClusterExecutor] = []

    def make(*arguments: object, **more: object) -> ClusterExecutor:
        made.append(pretend_cluster(*arguments, **more))
        return made[-1]

    yield make
    for executor in made:
        executor.kill()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where every node has its disk. Empty on this machine."""
    folder = tmp_path / "dumps"
    folder.mkdir()
    return folder


def disk(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def compare(executor: ClusterExecutor, golden: Path | str, target: Path | str, output: Path, **changes: object) -> Result:
    """As `fastcmp.compare`, with an executor that is there already."""
    options = CompareOptions(output=str(output), **changes)
    dumps, pairs = api.load_pairs(str(golden), str(target), options, executor)
    with prepare(options.output) as directory:
        return Comparison(dumps, pairs, Rules.from_options(options), options, directory, Silent()).run(executor)


def local(root: Path, output: Path) -> dict[str, bytes]:
    fastcmp.compare(root / "golden", root / "target", output=output, executor="serial")
    return report(output)


def test_a_shared_file_system_is_listed_once_and_here(clusters: MakeCluster, tmp_path: Path) -> None:
    for rank in range(2):
        write_rank(tmp_path, rank)
    executor = clusters(2)
    compare(executor, tmp_path / "golden", tmp_path / "target", tmp_path / "r")
    assert executor.disks is HERE
    assert report(tmp_path / "r") == local(tmp_path, tmp_path / "here")


def test_one_tensor_of_a_shared_file_is_compared(clusters: MakeCluster, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(3), b=np.ones(3))
    executor = clusters(2)
    assert compare(executor, tmp_path / "x.npz:a", tmp_path / "x.npz:b", tmp_path / "r").totals.passed == 1
    assert executor.disks is HERE


@needs_mounts
def test_ranks_on_the_disks_of_two_nodes_are_compared_where_they_lie(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    both = disk(tmp_path, "both")
    for rank in (1, 0):
        write_rank(disks[1 - rank], rank)
        write_rank(both, rank)
    executor = clusters(disks, place)
    result = compare(executor, place / "golden", place / "target", tmp_path / "r")
    assert result.totals.errors == 0 and result.totals.pairs == 24 and not result.warnings
    assert report(tmp_path / "r") == local(both, tmp_path / "here")
    assert isinstance(executor.disks, NodeDisks)


@needs_mounts
def test_one_side_is_shared_and_the_other_is_not(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    both = disk(tmp_path, "both")
    for rank in range(2):
        write_rank(both, rank)
        write_rank(disks[rank], rank, sides=("target",))
    executor = clusters(disks, place)
    result = compare(executor, both / "golden", place / "target", tmp_path / "r")
    assert result.totals.errors == 0
    assert report(tmp_path / "r") == local(both, tmp_path / "here")


@needs_mounts
def test_a_list_here_may_name_files_that_only_nodes_have(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    """One metadata.json on this machine; what it names lies on two disks, and one file nowhere."""
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    for side in ("golden", "target"):
        names = {}
        for number in range(6):
            np.save(disks[number % 2] / f"{side}{number}.npy", np.full(100, number, np.float32))
            names[str(number)] = {"0": str(place / f"{side}{number}.npy")}
        names["gone"] = {"0": str(place / f"{side}_gone.npy")}
        (tmp_path / f"{side}.json").write_text(json.dumps(names))
    executor = clusters(disks, place)
    result = compare(executor, tmp_path / "golden.json", tmp_path / "target.json", tmp_path / "r")
    rows = {row["data_id"]: row for row in result.to_arrow().to_pylist()}
    assert all(rows[str(number)]["cmp_flag"] for number in range(6))
    assert "E_MISSING" in rows["gone"]["cmp_fail_reason"] and result.totals.errors == 1


@needs_mounts
def test_sides_on_different_nodes_are_errors_and_are_said_to_be(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    write_rank(disks[0], 0)
    write_rank(disks[0], 1, sides=("golden",))
    write_rank(disks[1], 1, sides=("target",))
    result = compare(clusters(disks, place), place / "golden", place / "target", tmp_path / "r")
    assert result.totals.errors == 12
    said = "12 pairs have their two files on different nodes, which no node can read both: they are errors; put both sides of a rank on"
    assert any(said in warning and warning.endswith("the first is 1/layer.0/0") for warning in result.warnings)


@needs_mounts
def test_copies_on_every_node_are_one_tensor_and_any_node_may_read_it(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    first = disk(tmp_path, "a")
    write_rank(first, 0)
    shutil.copytree(first, tmp_path / "b", copy_function=shutil.copy2)
    executor = clusters([first, tmp_path / "b"], place)
    assert compare(executor, place / "golden", place / "target", tmp_path / "r").totals.pairs == 12
    assert report(tmp_path / "r") == local(first, tmp_path / "here")


@needs_mounts
def test_two_dumps_of_one_name_are_refused(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    for number, one in enumerate(disks):
        write_rank(one, 0, names=4 + number)
        stamp = 1_700_000_000 + number
        for path in one.rglob("*.npy"):
            os.utime(path, (stamp, stamp))
    with pytest.raises(
        UsageError, match=r"golden rank0/layer\.0/0: found \S+/rank0/0/0\.npy of \d+ bytes on n0 and \S+ of \d+ bytes on n1"
    ):
        compare(clusters(disks, place), place / "golden", place / "target", tmp_path / "r")


@needs_mounts
def test_a_dump_that_one_node_cannot_read_is_refused_with_its_name(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    for rank in range(2):
        write_rank(disks[rank], rank)
    (disks[1] / "golden" / "rank1" / "metadata.json").write_text("{")
    with pytest.raises(UsageError, match=r"pretend://here: node n1: .*metadata\.json: line 1 column 2: not JSON"):
        compare(clusters(disks, place), place / "golden", place / "target", tmp_path / "r")


@needs_mounts
def test_an_empty_disk_takes_no_part_and_none_at_all_is_refused(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    write_rank(disks[0], 0)
    for side in ("golden", "target"):
        (disks[1] / side).mkdir()
    executor = clusters(disks, place)
    assert compare(executor, place / "golden", place / "target", tmp_path / "r").totals.errors == 0
    with pytest.raises(UsageError, match=r"nothing: neither this machine nor any of the 2 nodes has it; name a metadata\.json"):
        compare(executor, place / "nothing", place / "target", tmp_path / "r")


@needs_mounts
def test_what_was_done_on_nodes_is_gone_on_with_and_what_changed_there_is_done_again(
    clusters: MakeCluster, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    for rank in range(2):
        write_rank(disks[rank], rank)
    executor = clusters(disks, place)
    with monkeypatch.context() as patch:
        patch.setattr("fastcmp.comparison.write_report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            compare(executor, place / "golden", place / "target", tmp_path / "r")
    changed = disks[1] / "golden" / "rank1" / "0" / "0.npy"
    np.save(changed, np.load(changed) + 1)
    result = compare(executor, place / "golden", place / "target", tmp_path / "r")
    assert result.totals.resumed == 23 and result.totals.errors == 0


@needs_mounts
def test_what_a_file_on_a_node_names_is_gone_on_with_until_that_changes(
    clusters: MakeCluster, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    for rank, side in itertools.product(range(2), ("golden", "target")):
        values = np.arange(6, dtype=np.float32) + rank
        names = {f"op{number}": f"data/0_71/3/{number}_Op/before/intensor0.bin" for number in range(1, 6)}
        tree = {
            "data/0_71/3/0_Model/after/outtensor0.bin": values,
            **dict.fromkeys(names.values(), alias_bytes(values, "0_outtensor0.bin")),
        }
        folder = write_tree(disks[rank] / side / f"rank{rank}", tree)
        (folder / "metadata.json").write_text(json.dumps({name: {"0": path} for name, path in names.items()}))
    executor = clusters(disks, place)

    def compared() -> Result:
        return compare(executor, place / "golden", place / "target", tmp_path / "r")

    def end_early() -> None:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("fastcmp.comparison.write_report", interrupt)
            compared()

    end_early()
    assert compared().totals.resumed == 10
    end_early()
    named = disks[1] / "golden/rank1/data/0_71/3/0_Model/after/outtensor0.bin"
    named.write_bytes(bin_bytes(np.zeros(6, np.float32)))
    result = compared()
    assert (result.totals.resumed, result.totals.failed) == (5, 5)


@needs_mounts
def test_a_lost_disk_costs_the_rows_that_lay_on_it_alone(clusters: MakeCluster, tmp_path: Path, place: Path) -> None:
    disks = [disk(tmp_path, "a"), disk(tmp_path, "b")]
    for rank in range(2):
        write_rank(disks[rank], rank)
    executor = clusters(disks, place)
    options = CompareOptions(output=str(tmp_path / "r"))
    dumps, pairs = api.load_pairs(str(place / "golden"), str(place / "target"), options, executor)
    executor._link.nodes[1].kill()
    with prepare(options.output) as directory:
        result = Comparison(dumps, pairs, Rules.from_options(options), options, directory, Silent()).run(executor)
    rows = result.to_arrow().to_pylist()
    assert {row["rank"] for row in rows if "E_NODE_LOST" in row["cmp_fail_reason"]} == {"1"}
    assert sum(row["cmp_flag"] for row in rows) == 12 and result.exit_code == 2


def interrupt(*arguments: object, **more: object) -> None:
    raise KeyboardInterrupt


def test_processes_alone_on_their_disks_have_the_ranks_of_their_directories(tmp_path: Path) -> None:
    listings = []
    for node, rank in (("a", 1), ("b", 0)):
        file = tmp_path / node / f"step0/rank{rank}/dump_tensor_data/x.npy"
        file.parent.mkdir(parents=True)
        np.save(file, np.full(3, rank))
        dump = load(tmp_path / node, "golden", CompareOptions())
        listings.append(_Listing(node, dump, [(1, rank + 2, 3)], [rank]))
    joined = _joined(listings, str(tmp_path), "golden")
    assert [(tensor.key.rank, tensor.key.data_id) for tensor in joined.tensors] == [("0", "x"), ("1", "x")]
    assert joined.lone_rank == ""
