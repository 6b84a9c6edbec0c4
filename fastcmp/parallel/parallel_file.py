"""The file that ``--parallel`` names: how the ranks of each side divide the work, and how each tensor is divided."""

from __future__ import annotations

from typing import Any, Final

from fastcmp.errors import UsageError
from fastcmp.formats.dims import parse_dims
from fastcmp.options import ParallelSide
from fastcmp.parallel.rank_grid import parse_ranks
from fastcmp.toml_file import read_toml

_SIDES: Final = ("golden", "target")
_KEYS: Final = ("ranks", "dims")


def load_parallel(path: str) -> tuple[ParallelSide | None, ParallelSide | None]:
    """What a TOML file says about golden and about target.

    ::

        [target]
        ranks = "dp=2 tp=4"
        [target.dims]
        "*.q_proj.*" = "b s h[tp]"
        "*.o_proj.*" = "b s d # tp:partial"

    Raises
    ------
    UsageError
        With the table and the key, if it says something else.
    """
    document = read_toml(path)
    unknown = next((name for name in document if name not in _SIDES), None)
    if unknown is not None or not document:
        raise UsageError(f"{path}: expected the tables [golden] and [target], got {unknown!r}" if document else f"{path}: says nothing")
    golden, target = (_side(document[name], f"{path}: [{name}]") if name in document else None for name in _SIDES)
    return golden, target


def _side(table: Any, where: str) -> ParallelSide:
    if not isinstance(table, dict):
        raise UsageError(f"{where}: expected a table")
    unknown = next((name for name in table if name not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"{where}: {unknown!r}: expected {' and '.join(_KEYS)}")
    ranks, dims = table.get("ranks", ""), table.get("dims", {})
    if not isinstance(ranks, str):
        raise UsageError(f'{where}: ranks: expected a text such as "dp=2 tp=4", got {ranks!r}')
    if not isinstance(dims, dict) or not all(isinstance(text, str) for text in dims.values()):
        raise UsageError(f'{where}: dims: expected a table of texts, such as "*.q_proj.*" = "b s h[tp]"')
    side = ParallelSide(ranks, tuple(dims.items()))
    check_side(side, where)
    return side


def check_side(side: ParallelSide, where: str) -> None:
    """Refuse what no ranks and no notation can be.

    Raises
    ------
    UsageError
    """
    texts: list[object] = [side.ranks, *(text for pair in side.dims for text in pair)]
    if not all(isinstance(text, str) for text in texts):  # people write them in Python too
        raise UsageError(f"{where}: expected texts, ranks such as 'tp=4' and dims such as {{'*.q_proj.*': 'b s h[tp]'}}, got {side!r}")
    ways = {name for name, _ in parse_ranks(side.ranks, f"{where}: ranks")} if side.ranks else set()
    if not side.ranks and not side.dims:
        raise UsageError(f'{where}: says nothing; expected ranks, such as "tp=4"')
    for glob, text in side.dims:
        try:
            dims = parse_dims(text)
        except UsageError as error:
            raise UsageError(f"{where}: {glob!r}: {error}") from None
        for way in [way.name for dim in dims.dims for way in dim.ways] + [name for name, _ in dims.rest]:
            if way not in ways:
                known = " ".join(sorted(ways)) or "no way, for ranks is not given"
                raise UsageError(f"{where}: {glob!r}: dims {text!r} speaks of {way}, ranks of {known}")
