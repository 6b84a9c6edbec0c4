"""How the parts of a name make up the whole, by their shapes and that of the other side: only where one answer fits.

Shapes say nothing about an order: that parts lie in the order of their ranks is assumed, and said. Zigzag chunks, and blocks that are
fused on each rank (q, k and v of one projection), have the shapes of plain parts; a notation must say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from fastcmp.errors import TensorError
from fastcmp.formats import scan_batch
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions
from fastcmp.parallel.merging import Names, Ranks
from fastcmp.parallel.rank_grid import Ways, numbers_of
from fastcmp.sources.wording import listing

Shape = tuple[int, ...]
Name = tuple[str, str]
Answer = tuple[str | None, str]

# Names whose headers are read together.
_AT_ONCE: Final = 1000


def infer(names: Names, ways: Ways, whole: Mapping[Name, str | None], options: ScanOptions) -> dict[Name, Answer]:
    """A notation for each name, or None and why there is none.

    Parameters
    ----------
    names : dict
        What the ranks hold, of those names that no notation speaks of.
    ways : tuple of (str, int)
    whole : mapping
        Places of the other side; None where that is divided too.
    options : ScanOptions
    """
    varied = {name: _varied(held, ways) for name, held in names.items()}
    dividing = {way for ways_of_name in varied.values() for way in ways_of_name}
    answers: dict[Name, Answer] = {}
    asked: list[Name] = []
    for name, held in names.items():
        reason = _hopeless(name, held, varied[name], dividing, whole)
        if reason:
            answers[name] = None, reason
        else:
            asked.append(name)
    for some in _batches(asked):
        places = [[whole[name] or "", *(names[name][rank].path for rank in sorted(names[name]))] for name in some]
        infos = iter(scan_batch([place for listed in places for place in listed], options))
        for name, listed in zip(some, places, strict=True):
            answers[name] = _by_headers(list(islice(infos, len(listed))), varied[name])
    return answers


def words(answers: Mapping[Name, Answer], role: str) -> list[str]:
    """What was inferred, a line for each notation, as it could stand in a file for --parallel."""
    by_dims: dict[str, dict[str, None]] = {}
    by_reason: dict[str, dict[str, None]] = {}
    for (data_id, _), (dims, reason) in answers.items():
        (by_reason if dims is None else by_dims).setdefault(reason if dims is None else dims, {})[data_id] = None
    said = [f"{role}: inferred from shapes, in the order of the ranks: {dims!r} for {_names(list(ids))}" for dims, ids in by_dims.items()]
    return said + [f"{role}: no notation for {_names(list(ids))}: {reason}" for reason, ids in by_reason.items()]


def _varied(held: Ranks, ways: Ways) -> tuple[str, ...]:
    """The ways in which the ranks that hold a name differ."""
    numbers = [numbers_of(rank, ways) for rank in held]
    return tuple(name for at, (name, _) in enumerate(ways) if len({one[at] for one in numbers}) > 1)


def _hopeless(name: Name, held: Ranks, varied: Sequence[str], dividing: set[str], whole: Mapping[Name, str | None]) -> str:
    """Why nothing can be inferred, whatever the headers say; "" where they must be read."""
    missing = sorted(dividing - set(varied))
    if len(varied) > 1:
        return f"{' and '.join(varied)} divide it, which shapes cannot tell apart"
    if not varied and missing:
        (rank,) = held
        lone = f"only rank {rank} holds it, other names are on every rank of {' and '.join(missing)}"
        return f"{lone}; was it lost on the others? if not, say '# {missing[0]}:first'"
    if name not in whole:
        return "the other side has no tensor of that name and token to infer it from (--map comes later); give it a notation"
    return "both sides are divided, so that neither says what the whole is" if whole[name] is None else ""


def _batches(names: Sequence[Name]) -> Iterator[Sequence[Name]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _by_headers(infos: Sequence[TensorInfo | TensorError], varied: Sequence[str]) -> Answer:
    unreadable = next((info for info in infos if isinstance(info, TensorError)), None)
    if unreadable is not None:
        return None, f"nothing can be inferred from a file that cannot be read: {unreadable.code}"
    whole, *shapes = [info.shape for info in infos if isinstance(info, TensorInfo)]
    return _by_shapes(shapes, whole, varied[0] if varied else "")


def _by_shapes(shapes: list[Shape], whole: Shape, way: str) -> Answer:
    names = [f"d{axis}" for axis in range(len(whole))]
    if len({len(shape) for shape in (*shapes, whole)}) > 1:
        return None, f"the other side has shape {whole}, with another number of axes"
    if all(shape == whole for shape in shapes):
        return (f"{' '.join(names)} # {way}:replicated" if way else " ".join(names)).strip(), ""
    fitting = [axis for axis, extent in enumerate(whole) if sum(shape[axis] for shape in shapes) == extent and _agree(shapes, whole, axis)]
    if len(fitting) != 1 or not way:
        return None, f"its parts make up {whole} along several axes" if len(
            fitting
        ) > 1 else f"no axis along which its parts make up {whole}"
    names[fitting[0]] += f"[{way}]"
    return " ".join(names), ""


def _agree(shapes: list[Shape], whole: Shape, axis: int) -> bool:
    return all((*shape[:axis], *shape[axis + 1 :]) == (*whole[:axis], *whole[axis + 1 :]) for shape in shapes)


def _names(names: list[str]) -> str:
    return f"{len(names)} name{'s' if len(names) > 1 else ''} ({listing(names, 3)})"
