"""Both dumps of a comparison; one whose ranks share each tensor as the dump of a single rank."""

from __future__ import annotations

from dataclasses import replace

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, ParallelSide
from fastcmp.parallel.inference import Inference
from fastcmp.parallel.merging import axis_orders, merged, notations, ranks_of
from fastcmp.sources import Dump, Role, load
from fastcmp.sources.wording import printable


def load_dumps(golden: str, target: str, options: CompareOptions, *, working_directory: str = "") -> tuple[Dump, Dump]:
    """Both dumps as they are now, as `fastcmp.sources.load` has them; what ``options`` says is divided is put together.

    Raises
    ------
    UsageError
        If one of them cannot be used, or its ranks are not those that ``options`` speaks of.
    """
    one = load(golden, "golden", options, working_directory=working_directory)
    other = load(target, "target", options, one, working_directory=working_directory)
    sides = options.golden_parallel, options.target_parallel
    if sides == (None, None):
        return one, other
    one = _put_together(one, "golden", sides[0], {}, other if sides[1] is None else None, options)
    orders = axis_orders(sides[0], [tensor.key.data_id for tensor in one.tensors])
    return one, _put_together(other, "target", sides[1], orders, one, options)


def _put_together(
    dump: Dump, role: Role, side: ParallelSide | None, orders: dict[str, tuple[str, ...]], other: Dump | None, options: CompareOptions
) -> Dump:
    if side is None:
        return dump
    if not side.ranks:
        return _viewed(dump, role, side, orders)
    names, ways = ranks_of(dump, side, role)
    whole = (
        {(tensor.key.data_id, tensor.key.token_id): tensor.path for tensor in other.tensors} if other is not None else dict.fromkeys(names)
    )
    inference = Inference(whole, options.scan)
    found = merged(dump, names, ways, side, orders, inference)
    return replace(found, warnings=[*found.warnings, *inference.words(role)])


def _viewed(dump: Dump, role: Role, side: ParallelSide, orders: dict[str, tuple[str, ...]]) -> Dump:
    """A dump of one rank, of which notations say what is compared, and in which order of the axes."""
    ranks = {tensor.key.rank for tensor in dump.tensors}
    if len(ranks) > 1:
        raise UsageError(
            f'--parallel: {role}: {printable(dump.path)} has {len(ranks)} ranks; say how they divide the work: ranks = "tp={len(ranks)}"'
        )
    said = notations(side, [tensor.key.data_id for tensor in dump.tensors])
    names = {(tensor.key.data_id, tensor.key.token_id): {0: tensor} for tensor in dump.tensors if tensor.key.data_id in said}
    of_one = {tensor.key: tensor for tensor in merged(dump, names, (), side, orders, lambda *_: ("", "")).tensors}
    by_name = {(key.data_id, key.token_id): tensor for key, tensor in of_one.items()}
    tensors = [
        by_name[key]._replace(key=tensor.key) if (key := (tensor.key.data_id, tensor.key.token_id)) in by_name else tensor
        for tensor in dump.tensors
    ]
    return replace(dump, tensors=tensors)
