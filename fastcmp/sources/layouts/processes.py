"""The processes that wrote a tree: which rank each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.wording import listing


def ranks_of(processes: Iterable[str], rank_of: Callable[[str], str]) -> tuple[Mapping[str, str], list[str]]:
    """The rank of each process; and a warning where nothing tells them apart.

    One process alone has the rank "": on which device it ran says nothing about its tensors. Of several, each has the one that
    ``rank_of`` finds in its directory ("" for none); if two have the same, or one has none, the directory stands in for it.

    Parameters
    ----------
    processes : iterable of str
        Their directories; they may stand more than once.
    rank_of : callable
    """
    names = sorted(set(processes), key=natural_key)
    if len(names) < 2:
        return dict.fromkeys(names, ""), []
    ranks = {name: rank_of(name) for name in names}
    if all(ranks.values()) and len(set(ranks.values())) == len(names):
        return ranks, []
    ends = {name: name.rpartition("/")[2] for name in names}
    labels = ends if len(set(ends.values())) == len(names) else {name: name for name in names}
    warning = (
        f"{len(names)} processes and nothing that tells their ranks: each pairs only with a directory of the same name; "
        f"name one of them, to compare it alone: {listing(names)}"
    )
    return labels, [warning]
