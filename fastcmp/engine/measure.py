"""What planning must know about the files: sizes of all, headers of the large ones, dtypes of a few."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from fastcmp.engine.pieces import edges_of
from fastcmp.errors import TensorError
from fastcmp.formats import place_sizes, scan_batch
from fastcmp.formats.layout import reconcile
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions
from fastcmp.pairing import Pair
from fastcmp.plan import PIECE_BYTES, PairSize
from fastcmp.sources import NamedTensor

SAMPLE_COUNT: Final = 64
# How many times larger one side of a pair can be: complex128 against packed bits.
WIDEST: Final = 128
# The target of so small a golden is at most one piece, if it has as many elements.
SMALL_BYTES: Final = PIECE_BYTES // WIDEST
# The reader copies the paths that it is given: of a million at once, 150 MB.
_PATHS_AT_ONCE: Final = 16384


def measure(pairs: Sequence[Pair], options: ScanOptions) -> list[PairSize]:
    """The size of every pair; a file that is missing or is no regular file has 0 bytes.

    Of small pairs it is an estimate: only the first target of a data_id is looked at. The others are as many times as large as their
    golden, for they have its elements, and the dtype of the first. Headers are read only where a side is larger than one piece: only such
    a pair can be split.
    """
    whole = [pair for pair in pairs if pair.golden is not None and pair.target is not None]
    golden_bytes = _sizes_of((pair.golden for pair in whole), options)
    target_bytes = _target_bytes(whole, golden_bytes, options)
    # Small pairs of one size share one object: most dumps have few sizes, and a million pairs are 120 MB otherwise.
    known: dict[tuple[int, int], PairSize] = {}
    sizes: list[PairSize] = []
    for pair, both in zip(whole, zip(golden_bytes, target_bytes, strict=True), strict=True):
        size = known.get(both)
        if size is None:
            is_small = max(both) <= PIECE_BYTES
            size = PairSize(*both) if is_small else _large_pair(pair, *both, options)
            if is_small:
                known[both] = size
        sizes.append(size)
    if len(whole) == len(pairs):
        return sizes
    following, nothing = iter(sizes), PairSize(0, 0)
    return [nothing if pair.golden is None or pair.target is None else next(following) for pair in pairs]


def _target_bytes(whole: Sequence[Pair], golden_bytes: Sequence[int], options: ScanOptions) -> Sequence[int]:
    """Sizes of the targets: looked up for large pairs and for the first of each data_id, the others made from golden's (a stat is 2 us)."""
    first: dict[str, int] = {}
    asked = array(
        "q",
        (
            position
            for position, (pair, golden) in enumerate(zip(whole, golden_bytes, strict=True))
            if not 0 < golden <= SMALL_BYTES or first.setdefault(pair.key.data_id, position) == position
        ),
    )
    found = _sizes_of((whole[position].target for position in asked), options)
    if len(found) == len(whole):
        return found
    target_bytes = array("q", [-1]) * len(whole)
    for position, nbytes in zip(asked, found, strict=True):
        target_bytes[position] = nbytes
    times = {data_id: min(target_bytes[position] / golden_bytes[position], WIDEST) or 1.0 for data_id, position in first.items()}
    for position, (pair, golden) in enumerate(zip(whole, golden_bytes, strict=True)):
        if target_bytes[position] < 0:
            target_bytes[position] = int(golden * times[pair.key.data_id])
    return target_bytes


def _sizes_of(tensors: Iterable[NamedTensor | None], options: ScanOptions) -> array[int]:
    """Sizes of their files, or what they take of one that they share."""
    paths = (tensor.path for tensor in tensors if tensor is not None)
    sizes = array("q")
    while batch := list(islice(paths, _PATHS_AT_ONCE)):
        sizes.extend(place_sizes(batch, options))
    return sizes


def dtype_pairs(pairs: Sequence[Pair], options: ScanOptions) -> list[tuple[str, str]]:
    """The (golden, target) storage dtypes of a sample of the pairs, for compiling kernels before they are needed."""
    whole = [pair for pair in pairs if pair.golden is not None and pair.target is not None]
    sample = whole[:: max(1, len(whole) // SAMPLE_COUNT)]
    paths = [side.path for pair in sample for side in (pair.golden, pair.target) if side is not None]
    found = scan_batch(paths, options)
    seen: dict[tuple[str, str], None] = {}
    for golden, target in zip(found[::2], found[1::2], strict=True):
        if isinstance(golden, TensorInfo) and isinstance(target, TensorInfo):
            seen[golden.dtype, target.dtype] = None
    return list(seen)


def _large_pair(pair: Pair, golden_bytes: int, target_bytes: int, options: ScanOptions) -> PairSize:
    assert pair.golden is not None and pair.target is not None
    golden, target = scan_batch([pair.golden.path, pair.target.path], options)
    try:
        if isinstance(golden, TensorError) or isinstance(target, TensorError):
            return PairSize(golden_bytes, target_bytes)
        golden, target, _ = reconcile(golden, target, options.format_policy)
    except TensorError:
        return PairSize(golden_bytes, target_bytes)
    if golden.element_count != target.element_count:
        return PairSize(golden_bytes, target_bytes)
    pieces = len(edges_of(golden, target)) - 1
    return PairSize(golden_bytes, target_bytes, pieces, golden.identity, target.identity)
