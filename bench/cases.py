"""What is measured, at which sizes, and what counts as met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MiB: Final = 2**20


@dataclass(frozen=True)
class Size:
    """How much data one kind of run takes.

    Attributes
    ----------
    large_pairs, large_tensor_bytes : int
        Dump of large tensors: so many pairs, each side so large.
    small_pairs : int
        Dump of 8 KB tensors.
    kernel_bytes : int
        One side of what a kernel folds in memory.
    saved_bytes, saved_tensors : int
        What the preload library saves in a round at most, but one tensor a thread.
    save_rounds : int
        So many such rounds. They take milliseconds, so that one of them says little.
    offers : int
        So many tensors that nobody selected are offered to it by each thread.
    rounds : int
        Measurement and yardstick alternate so often.
    """

    name: str
    large_pairs: int
    large_tensor_bytes: int
    small_pairs: int
    kernel_bytes: int
    saved_bytes: int
    saved_tensors: int
    save_rounds: int
    offers: int
    rounds: int

    @property
    def disk_bytes(self) -> int:
        """Roughly what the dumps take, small files rounded up to three 4 KiB blocks."""
        return 2 * self.large_pairs * self.large_tensor_bytes + 2 * self.small_pairs * 12 * 1024


SIZES: Final = {
    size.name: size
    for size in (
        Size(
            "short",
            large_pairs=12,
            large_tensor_bytes=8 * MiB,
            small_pairs=2_000,
            kernel_bytes=32 * MiB,
            saved_bytes=32 * MiB,
            saved_tensors=32,
            save_rounds=5,
            offers=20_000,
            rounds=3,
        ),
        Size(
            "normal",
            large_pairs=64,
            large_tensor_bytes=16 * MiB,
            small_pairs=20_000,
            kernel_bytes=128 * MiB,
            saved_bytes=128 * MiB,
            saved_tensors=64,
            save_rounds=15,
            offers=200_000,
            rounds=4,
        ),
        Size(
            "large",
            large_pairs=256,
            large_tensor_bytes=16 * MiB,
            small_pairs=100_000,
            kernel_bytes=256 * MiB,
            saved_bytes=256 * MiB,
            saved_tensors=128,
            save_rounds=15,
            offers=200_000,
            rounds=4,
        ),
    )
}

# Storage dtypes of the large pairs, in turn.
LARGE_DTYPES: Final = ("float32", "float16", "bfloat16", "float16")
# A second comparison names every large file under so many tokens: what it takes longer is work without start.
LARGE_REPEATS: Final = 4
SMALL_ELEMENTS: Final = 4096
SMALL_IDS_PER_TOKEN: Final = 200


@dataclass(frozen=True)
class Target:
    """What a case promises.

    Attributes
    ----------
    at_least : float or None
        Smallest ratio to the yardstick, both in `unit`.
    at_most_s : float or None
        Largest time.
    sizes : tuple of str
        The sizes at which it is a promise; elsewhere the row is for information.
    """

    text: str
    at_least: float | None = None
    at_most_s: float | None = None
    sizes: tuple[str, ...] = ("normal", "large")


# A miss smaller than this factor is noise as far as the exit code goes; the table shows every miss.
SLACK: Final = 1.5
