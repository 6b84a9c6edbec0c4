"""Pairs that lie on the disks of different machines: no task has pairs of two homes, and no home has to wait for another."""

from __future__ import annotations

from fastcmp.options import CompareOptions
from fastcmp.pairing import Pair
from fastcmp.plan import BATCH_BYTES, PairSize, plan
from fastcmp.sources import NamedTensor, TensorKey


def pairs_of(count: int) -> list[Pair]:
    pairs = []
    for row in range(count):
        key = TensorKey("", "x", str(row))
        pairs.append(Pair(row, key, NamedTensor(key, f"g{row}", f"/g{row}"), NamedTensor(key, f"t{row}", f"/t{row}"), "key", row))
    return pairs


def test_a_task_has_one_home_and_says_which() -> None:
    homes = [(row % 3) for row in range(100)]
    planned = plan(pairs_of(100), [PairSize(1000, 1000, home=home) for home in homes], CompareOptions(), worker_count=2)
    found = {item.row: task.home for task in planned.tasks for item in task.items}
    assert found == dict(enumerate(homes))


def test_homes_are_begun_at_one_pace_however_they_lie_in_the_order_of_rows() -> None:
    size = BATCH_BYTES // 4
    sizes = [PairSize(size, size, home=1 if row < 60 else 2) for row in range(80)]
    homes = [task.home for task in plan(pairs_of(80), sizes, CompareOptions()).tasks]
    assert len(homes) == 40 and homes.count(2) == 10
    for place in range(4, 40):
        begun = homes[:place].count(2) / place
        assert 0.15 <= begun <= 0.45, homes


def test_without_homes_the_order_is_that_of_size() -> None:
    sizes = [PairSize(BATCH_BYTES + row, 0) for row in range(20)]
    rows = [task.items[0].row for task in plan(pairs_of(20), sizes, CompareOptions()).tasks]
    assert rows == list(range(19, -1, -1))


def test_a_split_pair_keeps_its_home_in_every_part() -> None:
    planned = plan(pairs_of(1), [PairSize(2**30, 2**30, 16, home=4)], CompareOptions(), worker_count=4)
    assert len(planned.tasks) > 1 and {task.home for task in planned.tasks} == {4}


def test_larger_batches_are_fewer_tasks_of_the_same_pairs() -> None:
    sizes = [PairSize(2**20, 2**20) for _ in range(400)]
    small, large = (plan(pairs_of(400), sizes, CompareOptions(), batch_bytes=batch) for batch in (BATCH_BYTES, 8 * BATCH_BYTES))
    assert len(large.tasks) * 4 < len(small.tasks) and large.pair_count == small.pair_count == 400
