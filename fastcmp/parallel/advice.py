"""What to do where one side has several ranks and nobody said whether they share tensors."""

from __future__ import annotations

from fastcmp.errors import UsageError
from fastcmp.options import ROLES, CompareOptions
from fastcmp.parallel.merging import with_ranks_of_directories
from fastcmp.sources import Dump, Role


def parallel_advice(golden: Dump, target: Dump, options: CompareOptions) -> str:
    """A sentence that names --parallel, if exactly one side has several ranks; "" where it was given, or they may stand alone."""
    if options.golden_parallel is not None or options.target_parallel is not None:
        return ""
    counts = _rank_count(golden, "golden"), _rank_count(target, "target")
    if min(counts) > 1 or max(counts) < 2:
        return ""
    side, other = ROLES if counts[0] > 1 else ROLES[::-1]
    if options.allow_unpaired in (side, "both"):
        return ""
    known = f"{side} has {max(counts)} ranks, {other} {'one' if min(counts) else 'none'}"
    return (
        f"{known}: if each rank holds a part of a tensor, --parallel FILE puts "
        f'them together, where FILE says in a table [{side}] how: ranks = "tp={max(counts)}"; see docs/parallel.md'
    )


def _rank_count(dump: Dump, role: Role) -> int:
    """How many ranks a dump tells apart, by its keys or by the directories of a plain one; 0 where it has none."""
    if dump.lone_rank:
        return 1
    try:
        tensors = with_ranks_of_directories(dump, role).tensors
    except UsageError:  # some files lie in a rank directory and some do not: nothing that could be put together
        return 0
    return len({tensor.key.rank for tensor in tensors} - {""})
