"""How the parts of a name make up the whole, by their shapes and that of the other side: only where there is just one answer."""

from __future__ import annotations

from collections.abc import Mapping

from fastcmp.errors import TensorError
from fastcmp.formats import scan_batch
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import ScanOptions
from fastcmp.parallel.merging import Ranks
from fastcmp.parallel.rank_grid import Ways, numbers_of
from fastcmp.sources.wording import listing

Shape = tuple[int, ...]


class Inference:
    """Asked for each name; the first token of a data_id answers for all.

    Parameters
    ----------
    whole : mapping
        Places of the other side, by data_id and token_id; None where that is divided too and no notation says how.
    options : ScanOptions
    """

    def __init__(self, whole: Mapping[tuple[str, str], str | None], options: ScanOptions) -> None:
        self._whole, self._options = whole, options
        self._answers: dict[str, tuple[str, str]] = {}

    def __call__(self, data_id: str, token_id: str, held: Ranks, ways: Ways) -> tuple[str, str]:
        """A notation, or "" and why there is none."""
        answer = self._answers.get(data_id)
        if answer is None:
            answer = self._answers[data_id] = self._infer(data_id, token_id, held, ways)
        return answer

    def words(self, role: str) -> list[str]:
        """What was inferred, a line for each notation, as it could stand in a file for --parallel."""
        by_dims: dict[str, list[str]] = {}
        by_reason: dict[str, list[str]] = {}
        for data_id, (dims, reason) in self._answers.items():
            (by_dims if dims else by_reason).setdefault(dims or reason, []).append(data_id)
        said = [f"{role}: inferred from shapes: {dims!r} for {_names(names)}" for dims, names in by_dims.items()]
        return said + [f"{role}: no notation for {_names(names)}: {reason}" for reason, names in by_reason.items()]

    def _infer(self, data_id: str, token_id: str, held: Ranks, ways: Ways) -> tuple[str, str]:
        numbers = {rank: numbers_of(rank, ways) for rank in held}
        varied = [name for at, (name, _) in enumerate(ways) if len({one[at] for one in numbers.values()}) > 1]
        if len(varied) > 1:
            return "", f"{' and '.join(varied)} divide it, which shapes cannot tell apart"
        if (data_id, token_id) not in self._whole:
            return "", "the other side has no tensor of that name to infer it from"
        place = self._whole[data_id, token_id]
        if place is None:
            return "", "both sides are divided, so that neither says what the whole is"
        whole, *parts = scan_batch([place, *(held[rank].path for rank in sorted(held))], self._options)
        unreadable = next((one for one in (whole, *parts) if isinstance(one, TensorError)), None)
        if unreadable is not None:
            return "", f"nothing can be inferred from a file that cannot be read: {unreadable.code}"
        shapes = [part.shape for part in parts if isinstance(part, TensorInfo)]
        assert isinstance(whole, TensorInfo)
        return _by_shapes(shapes, whole.shape, varied[0] if varied else "")


def _by_shapes(shapes: list[Shape], whole: Shape, way: str) -> tuple[str, str]:
    names = [f"d{axis}" for axis in range(len(whole))] or ["1"]
    if len({len(shape) for shape in (*shapes, whole)}) > 1:
        return "", f"the other side has shape {whole}, with another number of axes"
    if not way:
        return (" ".join(names), "") if whole else ("", "a scalar of one rank")
    if all(shape == whole for shape in shapes):
        return f"{' '.join(names) if whole else ''} # {way}:replicated".strip(), ""
    fitting = [axis for axis, extent in enumerate(whole) if sum(shape[axis] for shape in shapes) == extent and _agree(shapes, whole, axis)]
    if len(fitting) != 1:
        return "", f"no axis along which its parts make up {whole}" if not fitting else f"its parts make up {whole} along several axes"
    names[fitting[0]] += f"[{way}]"
    return " ".join(names), ""


def _agree(shapes: list[Shape], whole: Shape, axis: int) -> bool:
    return all((*shape[:axis], *shape[axis + 1 :]) == (*whole[:axis], *whole[axis + 1 :]) for shape in shapes)


def _names(names: list[str]) -> str:
    return f"{len(names)} name{'s' if len(names) > 1 else ''} ({listing(names, 3)})"
