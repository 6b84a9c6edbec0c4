"""A loaded dump in words: as what it was recognised and why, and how much is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from fastcmp.cli.shown import grouped, one_line, visible

if TYPE_CHECKING:
    from fastcmp.sources import Dump
    from fastcmp.sources.dump import RunOrder

_MOST_SHOWN: Final = 8
_ORDERS: Final[dict[RunOrder, str]] = {
    "computed": "known: as the tensors were computed",
    "file": "as the file lists its tensors",
    "files": "files in natural order, in each as it lists its tensors",
    "name": "not known: names are in natural order",
}


def dump_in_lines(dump: Dump) -> str:
    """One line for each fact."""
    return "\n".join(f"{label:<9} {one_line(text)}" for label, text in _facts(dump))


def dump_as_json(dump: Dump) -> str:
    """The same as a JSON object, with all ranks and tokens."""
    import json

    ranks, tokens = _ranks_and_tokens(dump)
    facts: dict[str, Any] = {
        "dump": dump.path,
        "layout": dump.layout,
        "evidence": dump.evidence,
        "order_is_known": dump.is_in_execution_order,
        "run_order": dump.run_order,
        "ranks": ranks,
        "tokens": tokens,
        "tensors": len(dump.tensors),
        "left_out": dict(dump.left_out),
        "warnings": dump.warnings,
    }
    return json.dumps(facts)


def _facts(dump: Dump) -> Iterator[tuple[str, str]]:
    yield "layout", f"{dump.layout}: {dump.evidence}"
    yield "order", _ORDERS[dump.run_order]
    ranks, tokens = _ranks_and_tokens(dump)
    yield "ranks", _listed(ranks, "one, without a name")
    yield "tokens", _listed(tokens, "none are told apart")
    yield "tensors", grouped(len(dump.tensors))
    for what, count in dump.left_out.items():
        yield "left out", f"{grouped(count)} {what}"
    for warning in dump.warnings:
        yield "warning", warning


def _listed(names: list[str], nothing: str) -> str:
    if names == [""]:
        return nothing
    shown = ", ".join(visible(name) or "(none)" for name in names[:_MOST_SHOWN])
    more = f" and {grouped(len(names) - _MOST_SHOWN)} more" if len(names) > _MOST_SHOWN else ""
    return f"{grouped(len(names))}: {shown}{more}"


def _ranks_and_tokens(dump: Dump) -> tuple[list[str], list[str]]:
    from fastcmp.sources.natural_order import token_key

    ranks, tokens = ({tensor.key.rank for tensor in dump.tensors}, {tensor.key.token_id for tensor in dump.tensors})
    return sorted(ranks, key=token_key), sorted(tokens, key=token_key)
