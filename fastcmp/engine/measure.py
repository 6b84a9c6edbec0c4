"""What planning must know about the files: sizes of all, headers of the large ones, dtypes of a few."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from fastcmp.engine.disks import HERE, Disks
from fastcmp.engine.pieces import edges_of
from fastcmp.errors import TensorError
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
_HEADERS_AT_ONCE: Final = 512


def measure(pairs: Sequence[Pair], options: ScanOptions, disks: Disks = HERE) -> list[PairSize]:
    """The size of every pair; a file that is missing or is no regular file has 0 bytes.

    Of small pairs it is an estimate: only the first target of a data_id is looked at. The others are as many times as large as their
    golden, for they have its elements, and the dtype of the first. Headers are read only where a side is larger than one piece: only such
    a pair can be split.
    """
    whole = [pair for pair in pairs if pair.golden is not None and pair.target is not None]
    golden_bytes = _sizes_of((pair.golden for pair in whole), options, disks)
    target_bytes = _target_bytes(whole, golden_bytes, options, disks)
    # Pairs of one size share one object: most dumps have few sizes, and a million pairs are 120 MB otherwise.
    known: dict[tuple[int, int, int], PairSize] = {}
    sizes: list[PairSize] = []
    for pair, golden, target in zip(whole, golden_bytes, target_bytes, strict=True):
        which = golden, target, disks.home(pair)
        size = known.get(which)
        if size is None:
            size = known[which] = PairSize(golden, target, home=which[2])
        sizes.append(size)
    _look_at_large(whole, sizes, options, disks)
    if len(whole) == len(pairs):
        return sizes
    following, nothing = iter(sizes), PairSize(0, 0)
    return [nothing if pair.golden is None or pair.target is None else next(following) for pair in pairs]


def _target_bytes(whole: Sequence[Pair], golden_bytes: Sequence[int], options: ScanOptions, disks: Disks) -> Sequence[int]:
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
    found = _sizes_of((whole[position].target for position in asked), options, disks)
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


def _sizes_of(tensors: Iterable[NamedTensor | None], options: ScanOptions, disks: Disks) -> array[int]:
    """Sizes of their files, or what they take of one that they share."""
    paths = (tensor.path for tensor in tensors if tensor is not None)
    sizes = array("q")
    while batch := list(islice(paths, _PATHS_AT_ONCE)):
        sizes.extend(disks.sizes(batch, options))
    return sizes


def dtype_pairs(pairs: Sequence[Pair], options: ScanOptions, disks: Disks = HERE) -> list[tuple[str, str]]:
    """The (golden, target) storage dtypes of a sample of the pairs, for compiling kernels before they are needed."""
    whole = [pair for pair in pairs if pair.golden is not None and pair.target is not None]
    sample = whole[:: max(1, len(whole) // SAMPLE_COUNT)]
    paths = [side.path for pair in sample for side in (pair.golden, pair.target) if side is not None]
    found = disks.scan(paths, options)
    seen: dict[tuple[str, str], None] = {}
    for golden, target in zip(found[::2], found[1::2], strict=True):
        if isinstance(golden, TensorInfo) and isinstance(target, TensorInfo):
            seen[golden.dtype, target.dtype] = None
    return list(seen)


def _look_at_large(whole: Sequence[Pair], sizes: list[PairSize], options: ScanOptions, disks: Disks) -> None:
    """Say of the pairs that may be split how many pieces they have."""
    large = [position for position, size in enumerate(sizes) if max(size.golden_bytes, size.target_bytes) > PIECE_BYTES]
    for start in range(0, len(large), _HEADERS_AT_ONCE):
        positions = large[start : start + _HEADERS_AT_ONCE]
        sides = [side for position in positions for side in (whole[position].golden, whole[position].target)]
        found = disks.scan([side.path for side in sides if side is not None], options)
        for position, golden, target in zip(positions, found[::2], found[1::2], strict=True):
            sizes[position] = _in_pieces(sizes[position], golden, target, options)


def _in_pieces(size: PairSize, golden: TensorInfo | TensorError, target: TensorInfo | TensorError, options: ScanOptions) -> PairSize:
    try:
        if isinstance(golden, TensorError) or isinstance(target, TensorError):
            return size
        golden, target, _ = reconcile(golden, target, options.format_policy)
    except TensorError:
        return size
    if golden.element_count != target.element_count:
        return size
    pieces = len(edges_of(golden, target)) - 1
    return size._replace(piece_count=pieces, golden_identity=golden.identity, target_identity=target.identity)
