"""Planning: every pair in exactly one place, pieces that depend on the tensors alone."""

from __future__ import annotations

import dataclasses
import math
import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.options import CompareOptions, FoldOptions
from fastcmp.pairing import Pair
from fastcmp.plan import BATCH_COUNT, PIECE_BYTES, PairSize, Task, WorkItem, piece_edges, plan, wants_kl
from fastcmp.sources.named_tensor import NamedTensor, TensorKey

OPTIONS = CompareOptions()


def make_pair(row: int, data_id: str = "x", sides: str = "gt", path: str = "/d/x.npy") -> Pair:
    key = TensorKey("", data_id, str(row))
    golden = NamedTensor(key, path, path) if "g" in sides else None
    target = NamedTensor(key, path, path) if "t" in sides else None
    return Pair(row, key, golden, target, "name", row)


# Not st.builds: it also fills fields that have defaults, and a piece count of 10^11 takes all memory there is.
def sizes_between(least: int, most: int, most_pieces: int = 1) -> st.SearchStrategy[PairSize]:
    return st.tuples(st.integers(least, most), st.integers(least, most), st.integers(1, most_pieces)).map(lambda fields: PairSize(*fields))


sizes_of = st.one_of(sizes_between(0, 1 << 20), sizes_between(0, 1 << 28), sizes_between(1 << 26, 1 << 34, most_pieces=80))


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(sizes_of, st.sampled_from(["gt", "gt", "g", "t"])), max_size=60), st.integers(1, 64))
def test_every_pair_is_in_exactly_one_place(drawn: list[tuple[PairSize, str]], worker_count: int) -> None:
    pairs = [make_pair(row, sides=sides) for row, (_, sides) in enumerate(drawn)]
    sizes = [size for size, _ in drawn]
    planned = plan(pairs, sizes, OPTIONS, worker_count=worker_count)
    whole: list[int] = []
    ranges: dict[int, list[tuple[int, int]]] = {}
    for task in planned.tasks:
        assert len(task.items) == 1 or all(item.first_piece is None for item in task.items)
        for item in task.items:
            if item.first_piece is None:
                whole.append(item.row)
            else:
                assert item.stop_piece is not None
                ranges.setdefault(item.row, []).append((item.first_piece, item.stop_piece))
    assert sorted([*whole, *ranges]) == [pair.row for pair in pairs if pair.golden and pair.target]
    for row, spans in ranges.items():
        assert spans[0][0] == 0 and spans[-1][1] == sizes[row].piece_count
        assert all(left[1] == right[0] for left, right in pairwise(spans))
    assert [task.index for task in planned.tasks] == list(range(len(planned.tasks)))
    assert planned.total_bytes == sum(size.nbytes for pair, size in zip(pairs, sizes, strict=True) if pair.golden and pair.target)
    assert planned.pair_count == len(whole) + len(ranges)


@settings(max_examples=examples(500), deadline=None)
@given(st.integers(0, 1 << 36), st.sampled_from([4, 8, 16, 32, 64, 128]), st.sampled_from([4, 8, 16, 32, 64, 128]), st.integers(0, 1 << 27))
def test_pieces_cover_exactly_and_none_is_too_large(count: int, golden_bits: int, target_bits: int, row: int) -> None:
    edges = piece_edges(count, golden_bits, target_bits, row)
    assert edges[0] == 0 and edges[-1] == count
    itemsize = max(golden_bits, target_bits, 8) // 8
    assert all(0 <= right - left <= PIECE_BYTES // itemsize for left, right in pairwise(edges))
    assert all(edge % 4096 == 0 for edge in edges[1:-1])
    assert len(set(edges)) == len(edges) or count == 0
    if row and math.lcm(max(row, 64 if row < 64 else row), 4096) <= PIECE_BYTES // itemsize and row >= 64:
        assert all(edge % row == 0 for edge in edges[1:-1])


def test_an_empty_tensor_is_one_empty_piece() -> None:
    assert piece_edges(0, 32, 32, 0) == [0, 0]


def test_pieces_hold_whole_rows_where_they_fit() -> None:
    edges = piece_edges(5120 * 20000, 32, 16, 5120)
    assert len(edges) > 2
    assert all(edge % 5120 == 0 and edge % 4096 == 0 for edge in edges[1:-1])


def test_small_pairs_share_tasks_by_count_and_by_bytes() -> None:
    tiny = plan([make_pair(row) for row in range(10_000)], [PairSize(8192, 8192)] * 10_000, OPTIONS, worker_count=2)
    assert max(len(task.items) for task in tiny.tasks) == BATCH_COUNT
    medium = plan([make_pair(row) for row in range(1000)], [PairSize(1 << 20, 1 << 20)] * 1000, OPTIONS, worker_count=2)
    assert {len(task.items) for task in medium.tasks} == {8}


def test_the_largest_task_comes_first() -> None:
    sizes = [PairSize(1 << 20, 1 << 20), PairSize(1 << 27, 1 << 27), PairSize(1 << 25, 1 << 25)] * 5
    planned = plan([make_pair(row) for row in range(15)], sizes, OPTIONS, worker_count=2)
    assert list(planned.task_bytes) == sorted(planned.task_bytes, reverse=True)


@pytest.mark.parametrize("worker_count", [1, 2, 8, 64])
def test_one_huge_pair_gives_every_worker_something(worker_count: int) -> None:
    planned = plan([make_pair(0)], [PairSize(1 << 32, 1 << 32, 64)], OPTIONS, worker_count=worker_count)
    assert len(planned.tasks) >= worker_count
    assert sum(planned.task_bytes) == 1 << 33


def test_a_pair_whose_headers_are_unknown_stays_whole() -> None:
    planned = plan([make_pair(0)], [PairSize(1 << 32, 1 << 32)], OPTIONS, worker_count=8)
    assert [item.first_piece for task in planned.tasks for item in task.items] == [None]


@pytest.mark.parametrize(
    ("data_id", "path", "expected"),
    [
        ("model.lm_head", "/d/1.npy", True),
        ("Softmax_3", "/d/1.npy", True),
        ("7", "/d/out_LOGITS.npy", True),
        ("7", "/d/attention.npy", False),
    ],
)
def test_auto_takes_kl_from_words_in_the_name_or_path(data_id: str, path: str, expected: bool) -> None:
    assert wants_kl(make_pair(0, data_id, path=path), "auto") is expected
    assert wants_kl(make_pair(0, data_id, path=path), "all")
    assert not wants_kl(make_pair(0, data_id, path=path), "none")


def test_options_of_the_fold_reach_every_item() -> None:
    options = dataclasses.replace(OPTIONS, kl="all", relative_floor=0.5, scale=3.0)
    planned = plan([make_pair(0)], [PairSize(8, 8)], options)
    assert (planned.tasks[0].items[0].fold.kl, planned.tasks[0].items[0].fold.relative_floor) == (True, 0.5)
    assert planned.tasks[0].items[0].fold.scale == 3.0


def test_a_task_is_the_same_after_its_way_to_a_worker() -> None:
    items = (
        WorkItem(0, "/g/0", "/t/0", FoldOptions()),
        WorkItem(3, "/g/3", "/t/3", FoldOptions(kl=True), "bfloat16", "", 2, 4, (1, 2, 3, 4), None),
    )
    for task in (Task(7, items, OPTIONS.scan), Task(8, items[1:], OPTIONS.scan), Task(9, (), OPTIONS.scan)):
        back = pickle.loads(pickle.dumps(task))
        assert back == task and all(type(item) is WorkItem for item in back.items)


def test_a_task_is_the_same_each_time_it_is_asked_for() -> None:
    sizes = [PairSize(1 << 20, 1 << 20), PairSize(1 << 32, 1 << 32, 64)] * 20
    planned = plan([make_pair(row) for row in range(40)], sizes, OPTIONS, worker_count=2)
    tasks = list(planned.tasks)
    assert len(tasks) == len(planned.tasks) == len(planned.split_rows) == len(planned.task_bytes)
    assert list(planned.tasks[2:5]) == tasks[2:5] and planned.tasks[-1] == tasks[-1]
    rows = [None if task.items[0].first_piece is None else task.items[0].row for task in tasks]
    assert list(planned.split_rows) == rows and None in rows and len(set(rows)) > 2
    with pytest.raises(IndexError, match="out of range"):
        planned.tasks[len(tasks)]
