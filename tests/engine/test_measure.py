"""Which sizes planning knows, and which it believes."""

from __future__ import annotations

from pathlib import Path

from fastcmp.engine.measure import SMALL_BYTES, measure
from fastcmp.options import ScanOptions
from fastcmp.pairing import Pair
from fastcmp.plan import PIECE_BYTES
from fastcmp.sources import NamedTensor, TensorKey


def pairs_of(folder: Path, sizes: list[tuple[str, int | None, int | None]]) -> list[Pair]:
    """Pairs of files without content: data_id, and the size of either side, None for a file that is missing."""
    pairs = []
    for row, (data_id, *both) in enumerate(sizes):
        key = TensorKey("", data_id, str(row))
        paths = [folder / f"{row}.{side}" for side in ("g", "t")]
        for path, size in zip(paths, both, strict=True):
            if size is not None:
                with path.open("wb") as file:
                    file.truncate(size)
        golden, target = (NamedTensor(key, str(path), str(path)) for path in paths)
        pairs.append(Pair(row, key, golden, target, "key", row))
    return pairs


def measured(folder: Path, sizes: list[tuple[str, int | None, int | None]]) -> list[tuple[int, int]]:
    return [(size.golden_bytes, size.target_bytes) for size in measure(pairs_of(folder, sizes), ScanOptions())]


def test_small_targets_are_believed_to_be_as_the_first_of_their_name(tmp_path: Path) -> None:
    drawn = [("a", 100, 200), ("b", 100, 100), ("a", 300, 601), ("b", 50, 7), ("a", 300, None)]
    assert measured(tmp_path, drawn) == [(100, 200), (100, 100), (300, 600), (50, 50), (300, 600)]


def test_a_first_target_that_is_missing_says_nothing_about_the_others(tmp_path: Path) -> None:
    assert measured(tmp_path, [("a", 100, None), ("a", 300, 600)]) == [(100, 0), (300, 300)]


def test_targets_of_missing_and_of_large_goldens_are_looked_at(tmp_path: Path) -> None:
    large = SMALL_BYTES + 1
    drawn = [("a", 100, 100), ("a", None, 700), ("a", 0, 700), ("a", large, 5), ("a", 5, PIECE_BYTES)]
    assert measured(tmp_path, drawn) == [(100, 100), (0, 700), (0, 700), (large, 5), (5, 5)]


def test_no_small_pair_is_believed_to_be_large_enough_to_split(tmp_path: Path) -> None:
    drawn = [("a", 1, 10 * PIECE_BYTES), ("a", SMALL_BYTES, SMALL_BYTES)]
    assert measured(tmp_path, drawn)[1] == (SMALL_BYTES, PIECE_BYTES)


def test_a_pair_with_one_side_has_no_size(tmp_path: Path) -> None:
    alone, both = pairs_of(tmp_path, [("a", 5, 5), ("a", 6, 6)])
    alone = Pair(alone.row, alone.key, alone.golden, None, "", 0)
    assert [size.nbytes for size in measure([alone, both], ScanOptions())] == [0, 12]
