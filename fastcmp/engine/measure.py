"""What planning must know about the files: sizes of all, headers of the large ones, dtypes of a few."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import Final

from fastcmp.engine.pieces import edges_of
from fastcmp.errors import TensorError
from fastcmp.formats import scan_batch
from fastcmp.formats.layout import reconcile
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions
from fastcmp.pairing import Pair
from fastcmp.plan import PIECE_BYTES, PairSize

SAMPLE_COUNT: Final = 64


def measure(pairs: Iterable[Pair], options: ScanOptions) -> list[PairSize]:
    """The size of every pair; a file that is missing or is no regular file has 0 bytes.

    Headers are read only where a side is larger than one piece: only such a pair can be split.
    """
    return [_pair_size(pair, options) for pair in pairs]


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


def _pair_size(pair: Pair, options: ScanOptions) -> PairSize:
    if pair.golden is None or pair.target is None:
        return PairSize(0, 0)
    golden_bytes, target_bytes = _file_bytes(pair.golden.path), _file_bytes(pair.target.path)
    if max(golden_bytes, target_bytes) <= PIECE_BYTES:
        return PairSize(golden_bytes, target_bytes)
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


def _file_bytes(path: str) -> int:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
