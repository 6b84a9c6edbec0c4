"""The MD5 of a weight: equal names in two metadata files, and marker files in a tree of the acceleration library."""

from __future__ import annotations

from hashlib import md5
from pathlib import Path

import pytest
from pairing_dumps import found, names

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair, pair_dumps
from fastcmp.sources import Dump, NamedTensor, TensorKey

MD5 = CompareOptions(pair_by=("md5",))
A, B, C = (md5(text).hexdigest() for text in (b"a", b"b", b"c"))


def tree(root: Path, operations: dict[str, tuple[str, ...]], outputs: int = 1) -> Dump:
    """A tree as the library leaves it: of each operation outputs, and files named by the sums of its inputs."""
    tensors = []
    for operation, sums in operations.items():
        directory = root / operation / "after"
        directory.mkdir(parents=True)
        for one in sums:
            (directory / one).touch()
        for number in range(outputs):
            name = f"{operation}/after/outTensor{number}"
            tensors.append(NamedTensor(TensorKey("", name, "0"), f"{name}.bin", str(root / f"{name}.bin")))
    return Dump(str(root), "directory", tensors, [], True)


def test_equal_sums_are_pairs_by_md5_without_being_asked() -> None:
    both = names(A, f"{A}#1", "x")
    assert found(pair(both, both, CompareOptions())) == {A: (A, "md5"), f"{A}#1": (f"{A}#1", "md5"), "x": ("x", "key")}
    assert found(pair(both, both, CompareOptions(pair_by=("key", "ops")))) == found(pair(both, both, CompareOptions()))
    assert found(pair(both, both, CompareOptions(pair_by=("md5", "key")))) == {
        A: (A, "md5"),
        f"{A}#1": (f"{A}#1", "md5"),
        "x": ("x", "key"),
    }


@pytest.mark.parametrize("odd", [A[:-1], f"{A}#", f"{A}#0", f"{A}x", A.replace(A[0], "g")])
def test_what_is_no_sum_is_a_key(odd: str) -> None:
    assert found(pair(names(odd), names(odd), CompareOptions())) == {odd: (odd, "key")}


def test_the_operation_that_read_a_weight_is_its_module(tmp_path: Path) -> None:
    target = tree(tmp_path, {"0_Layer/0_Linear": (B, "0" * 32), "0_Layer/1_Linear": (A,)}, outputs=2)
    expected = {A: ("0_Layer/1_Linear/after/outTensor0", "md5"), B: ("0_Layer/0_Linear/after/outTensor0", "md5")}
    assert found(pair(names(A, B), target, MD5)) == expected
    assert found(pair(target, names(A, B), MD5)) == {other: (one, "md5") for one, (other, _) in expected.items()}


def test_sums_beside_the_inputs_before_the_operation_count_too(tmp_path: Path) -> None:
    target = tree(tmp_path, {"0_Linear": ()})
    (tmp_path / "0_Linear" / "before").mkdir()
    (tmp_path / "0_Linear" / "before" / f"{A.upper()}.bin").touch()
    assert found(pair(names(A), target, MD5)) == {A: ("0_Linear/after/outTensor0", "md5")}


def test_a_weight_that_is_used_twice_pairs_in_order_with_as_many(tmp_path: Path) -> None:
    target = tree(tmp_path, {"10_Linear": (A,), "2_Linear": (A,)})
    expected = {A: ("2_Linear/after/outTensor0", "md5"), f"{A}#1": ("10_Linear/after/outTensor0", "md5")}
    assert found(pair(names(f"{A}#1", A), target, MD5)) == expected


def test_more_readers_than_names_pair_nothing_and_are_said(tmp_path: Path) -> None:
    target = tree(tmp_path, {"0_Linear": (A,), "1_Linear": (A,), "2_Linear": (B,)})
    paired = pair_dumps(names(A, B), target, MD5)
    assert found(paired.pairs) == {B: ("2_Linear/after/outTensor0", "md5")}
    assert paired.warnings == [
        f"--pair-by md5: {A} is read by 2 operations (0_Linear/after/outTensor0, 1_Linear/after/outTensor0), expected 1; left alone"
    ]


def test_an_operation_that_read_two_of_the_weights_pairs_with_neither(tmp_path: Path) -> None:
    target = tree(tmp_path, {"0_QkvLinear": (A, B), "1_Linear": (C,)})
    for one, other in ((names(A, B, C), target), (target, names(A, B, C))):
        paired = pair_dumps(one, other, MD5)
        assert set(found(paired.pairs).items()) in (
            {(C, ("1_Linear/after/outTensor0", "md5"))},
            {("1_Linear/after/outTensor0", (C, "md5"))},
        )
        assert paired.warnings == [
            f"--pair-by md5: {name} is read by 0_QkvLinear/after/outTensor0 together with another of these weights; left alone"
            for name in (A, B)
        ]


def test_where_nothing_pairs_the_reasons_are_said(tmp_path: Path) -> None:
    target = tree(tmp_path, {"0_QkvLinear": (A, B)})
    with pytest.raises(UsageError, match=f"no pair at all: .*; --pair-by md5: {A} is read by 0_QkvLinear/after/outTensor0 together with"):
        pair(names(A, B), target, MD5)
