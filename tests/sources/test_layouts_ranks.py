"""Which process of one tree is which of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from layout_makers import empty_tree

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import Paired, pair_dumps
from fastcmp.sources import load

OPTIONS = CompareOptions()
NAME = "dump_tensor_data/Torch.a.0.forward.input.0.npy"


def paired(root: Path, golden: list[str], target: list[str]) -> Paired:
    sides = [empty_tree(root / role, *paths) for role, paths in (("golden", golden), ("target", target))]
    return pair_dumps(load(sides[0], "golden", OPTIONS), load(sides[1], "target", OPTIONS), OPTIONS)


def rows(found: Paired) -> list[tuple[str, bool]]:
    """The rank of each row, and whether both sides have it."""
    return [(pair.key.rank, pair.golden is not None and pair.target is not None) for pair in found.pairs]


def test_a_process_alone_is_the_rank_that_its_directory_says_where_the_other_side_has_several(tmp_path: Path) -> None:
    several = [f"rank{rank}/{NAME}" for rank in (0, 1)]
    assert rows(paired(tmp_path / "a", [several[0]], several)) == [("0", True), ("1", False)]
    assert rows(paired(tmp_path / "b", several, [several[1]])) == [("0", False), ("1", True)]


def test_two_processes_alone_are_compared_and_their_ranks_named_where_they_differ(tmp_path: Path) -> None:
    found = paired(tmp_path / "a", [f"rank3/{NAME}"], [f"rank0/{NAME}"])
    assert rows(found) == [("", True)]
    assert found.warnings == ["golden has rank 3 only, target rank 0 only: compared with each other all the same"]
    assert paired(tmp_path / "b", [f"rank3/{NAME}"], [f"rank3/{NAME}"]).warnings == []
    assert paired(tmp_path / "c", [f"rank3/{NAME}"], [f"proc7/{NAME}"]).warnings == []


def test_a_file_beside_the_processes_does_not_rename_them(tmp_path: Path) -> None:
    several = [f"rank{rank}/{NAME}" for rank in (0, 1)]
    found = paired(tmp_path, [*several, "dump_tensor_data/x.npy"], several)
    assert rows(found) == [("0", True), ("1", True), ("", False)]
    (warning,) = load(tmp_path / "golden", "golden", OPTIONS).warnings[1:]
    assert warning == (
        f"{tmp_path}/golden: 1 process and nothing that tells their ranks: each pairs only with a directory of the same name; "
        "name one of them, to compare it alone: ."
    )


def test_of_two_processes_of_one_rank_a_third_keeps_its_own(tmp_path: Path) -> None:
    tree = [f"{run}/0/0_X/after/outtensor0.bin" for run in ("a/0_71", "b/0_72", "b/1_73")]
    ranks = {tensor.key.rank for tensor in load(empty_tree(tmp_path, *tree), "golden", OPTIONS).tensors}
    assert ranks == {"0_71", "0_72", "1"}


def test_a_directory_that_is_called_like_a_rank_is_not_that_rank(tmp_path: Path) -> None:
    tree = [f"{run}/0/0_X/after/outtensor0.bin" for run in ("x/71", "x/71_9")]
    ranks = [tensor.key.rank for tensor in load(empty_tree(tmp_path, *tree), "golden", OPTIONS).tensors]
    assert ranks == ["71", "x/71"]


def test_where_nothing_pairs_the_warnings_of_the_dumps_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        paired(tmp_path, [f"proc1/{NAME}", f"proc2/{NAME}"], [f"proc3/{NAME}", f"proc4/{NAME}"])
    message = str(refused.value)
    for role, names in (("golden", "proc1, proc2"), ("target", "proc3, proc4")):
        said = f"; {role}: {tmp_path}/{role}: 2 processes and nothing that tells their ranks: each pairs only with a directory of the same"
        assert said in message and f"to compare it alone: {names}" in message
    assert "\n" not in message
