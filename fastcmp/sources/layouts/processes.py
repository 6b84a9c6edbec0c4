"""The processes that wrote a tree: which rank each of them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.wording import listing


class Ranks(NamedTuple):
    """Of the processes of a tree.

    Attributes
    ----------
    by_process : mapping of str to str
    lone : str
        Which rank the only process is, where that is known: it counts where the other side has several.
    warnings : list of str
    """

    by_process: Mapping[str, str]
    lone: str
    warnings: list[str]


def ranks_of(processes: Iterable[str], rank_of: Callable[[str], str]) -> Ranks:
    """The rank of each process; and a warning where nothing tells them apart.

    One process alone has the rank "": on which device it ran says nothing about its tensors. Of several, each has the one that
    ``rank_of`` finds in its directory ("" for none); where two have the same, or one has none, its directory stands in for it.

    Parameters
    ----------
    processes : iterable of str
        Their directories; they may stand more than once.
    rank_of : callable
    """
    names = sorted(set(processes), key=natural_key)
    if len(names) < 2:
        return Ranks(dict.fromkeys(names, ""), rank_of(names[0]) if names else "", [])
    ranks = {name: rank_of(name) for name in names}
    counts = Counter(ranks.values())
    doubtful = [name for name in names if not ranks[name] or counts[ranks[name]] > 1]
    if not doubtful:
        return Ranks(ranks, "", [])
    known = {rank for rank, count in counts.items() if rank and count == 1}
    ends = {name: name.rpartition("/")[2] for name in doubtful}
    are_distinct = len(set(ends.values())) == len(doubtful) and known.isdisjoint(ends.values())
    labels = ends if are_distinct else {name: f"{name}/" if name in known else name for name in doubtful}
    count = f"{len(doubtful)} process{'es' if len(doubtful) > 1 else ''}"
    warning = (
        f"{count} and nothing that tells their ranks: each pairs only with a directory of the same name; "
        f"name one of them, to compare it alone: {listing([name or '.' for name in doubtful])}"
    )
    return Ranks({**ranks, **labels}, "", [warning])
