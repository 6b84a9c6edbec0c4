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
        Dump of large tensors: so many pairs, each side so large. One pair alone takes as many bytes again.
    large_times : tuple of int
        Comparisons name every large file under so many tokens: what the last one takes longer than the first is work without start.
    small_pairs : int
        Dump of 8 KB tensors.
    kernel_bytes : int
        One side of what a kernel folds in memory.
    other_tool_bytes : int
        One side of a pair that other tools read.
    dump_calls, dump_programs : int
        So many 8 KB tensors are dumped by a program, and so many such programs run.
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
    large_times: tuple[int, ...]
    small_pairs: int
    kernel_bytes: int
    other_tool_bytes: int
    dump_calls: int
    dump_programs: int
    saved_bytes: int
    saved_tensors: int
    save_rounds: int
    offers: int
    rounds: int

    @property
    def large_bytes(self) -> int:
        """Both sides of the large tensors."""
        return 2 * self.large_pairs * self.large_tensor_bytes


SIZES: Final = {
    size.name: size
    for size in (
        Size(
            "short",
            large_pairs=12,
            large_tensor_bytes=8 * MiB,
            large_times=(1,),
            small_pairs=2_000,
            kernel_bytes=32 * MiB,
            other_tool_bytes=4 * MiB,
            dump_calls=2_000,
            dump_programs=1,
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
            large_times=(1, 2, 4, 8),
            small_pairs=20_000,
            kernel_bytes=128 * MiB,
            other_tool_bytes=16 * MiB,
            dump_calls=10_000,
            dump_programs=3,
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
            large_times=(1, 2, 4),
            small_pairs=100_000,
            kernel_bytes=256 * MiB,
            other_tool_bytes=64 * MiB,
            dump_calls=100_000,
            dump_programs=1,
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
SMALL_ELEMENTS: Final = 4096
SMALL_IDS_PER_TOKEN: Final = 200

ALL_SIZES: Final = ("short", "normal", "large")


@dataclass(frozen=True)
class Target:
    """What a case promises. Limits of a ratio are to the yardstick, in the same unit.

    Attributes
    ----------
    at_least, at_most : float or None
        Smallest and largest ratio.
    at_least_measured, at_most_measured : float or None
        Smallest and largest of what was measured, whatever the yardstick says.
    at_most_s : float or None
        Largest time.
    sizes : tuple of str
        The sizes at which it is a promise; elsewhere the row is for information.
    """

    text: str
    at_least: float | None = None
    at_most: float | None = None
    at_least_measured: float | None = None
    at_most_measured: float | None = None
    at_most_s: float | None = None
    sizes: tuple[str, ...] = ("normal", "large")


FOR_THE_RECORD: Final = Target("for the record")
# A miss smaller than this factor is noise as far as the exit code goes; the table shows every miss.
SLACK: Final = 1.5
# Rounds of the short form take a second on a machine that does other things too: only a wrong answer ends it with 1.
GATED_SIZES: Final = ("normal", "large")
