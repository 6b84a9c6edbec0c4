"""Both dumps of a comparison; one whose ranks share each tensor as the dump of a single rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, ParallelSide
from fastcmp.parallel.inference import infer, words
from fastcmp.parallel.merging import Orders, axis_orders, merged, notations, ranks_of, with_ranks_of_directories
from fastcmp.parallel.parallel_file import check_side
from fastcmp.sources import Dump, Role, load
from fastcmp.sources.wording import listing, printable


def load_dumps(golden: str, target: str, options: CompareOptions, *, working_directory: str = "") -> tuple[Dump, Dump]:
    """Both dumps as they are now, as `fastcmp.sources.load` has them; what ``options`` says is divided is put together.

    Raises
    ------
    UsageError
        If one of them cannot be used, or its ranks are not those that ``options`` speaks of.
    """
    check_sides(options)
    one = load(golden, "golden", options, working_directory=working_directory)
    return put_together(one, load(target, "target", options, one, working_directory=working_directory), options)


def check_sides(options: CompareOptions) -> None:
    """Refuse what cannot be meant by what ``options`` says is divided, before anything is loaded.

    Raises
    ------
    UsageError
    """
    for side, name in ((options.golden_parallel, "golden_parallel"), (options.target_parallel, "target_parallel")):
        if side is not None:
            check_side(side, name)


def put_together(one: Dump, other: Dump, options: CompareOptions) -> tuple[Dump, Dump]:
    """Golden and target, with what ``options`` says is divided put together; as `load_dumps`."""
    sides = options.golden_parallel, options.target_parallel
    if sides == (None, None):
        return one, other
    one, other = _of_one_rank(one, sides[0], "golden"), _of_one_rank(other, sides[1], "target")
    one = _put_together(one, "golden", sides[0], {}, None if _is_divided(sides[1]) else other, options)
    orders = axis_orders(sides[0], [tensor.key.data_id for tensor in one.tensors])
    return one, _put_together(other, "target", sides[1], orders, one, options)


def _is_divided(side: ParallelSide | None) -> bool:
    return side is not None and side.ranks != ""


def _of_one_rank(dump: Dump, side: ParallelSide | None, role: Role) -> Dump:
    """A plain directory that holds one rank directory, beside a dump that is put together: its names without that."""
    if _is_divided(side):
        return dump
    found = with_ranks_of_directories(dump, role)
    return found if len({tensor.key.rank for tensor in found.tensors}) == 1 else dump


def _put_together(dump: Dump, role: Role, side: ParallelSide | None, orders: Orders, other: Dump | None, options: CompareOptions) -> Dump:
    if side is None:
        return dump
    idle: list[str] = []
    said = notations(side, [tensor.key.data_id for tensor in dump.tensors], idle) if not side.ranks else {}
    warnings = list(dump.warnings)
    if side.ranks:
        names, ways = ranks_of(dump, side, role)
        said = notations(side, [data_id for data_id, _ in names], idle)
        whole: dict[tuple[str, str], str | None] = dict.fromkeys(names)
        if other is not None:
            whole = {(tensor.key.data_id, tensor.key.token_id): tensor.path for tensor in other.tensors}
        answers = infer({name: held for name, held in names.items() if name[0] not in said}, ways, whole, options.scan)
        found = merged(dump, names, ways, said, orders, answers)
        warnings += words(answers, role)
    else:
        found = _viewed(dump, role, said, orders)
    if idle:
        warnings.append(f"{role}: globs of --parallel that match no data_id: {listing(idle)}")
    return replace(found, warnings=warnings)


def _viewed(dump: Dump, role: Role, said: Mapping[str, str], orders: Orders) -> Dump:
    """A dump of one rank, of which notations say what is compared, and in which order of the axes."""
    ranks = {tensor.key.rank for tensor in dump.tensors}
    if len(ranks) > 1:
        raise UsageError(
            f'--parallel: {role}: {printable(dump.path)} has {len(ranks)} ranks; say how they divide the work: ranks = "tp={len(ranks)}"'
        )
    names = {(tensor.key.data_id, tensor.key.token_id): {0: tensor} for tensor in dump.tensors if tensor.key.data_id in said}
    by_name = {(tensor.key.data_id, tensor.key.token_id): tensor for tensor in merged(dump, names, (), said, orders, {}).tensors}
    tensors = [
        by_name[key]._replace(key=tensor.key) if (key := (tensor.key.data_id, tensor.key.token_id)) in by_name else tensor
        for tensor in dump.tensors
    ]
    return replace(dump, tensors=tensors)
