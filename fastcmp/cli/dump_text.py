"""A loaded dump in words: as what it was recognised and why, and how much is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from fastcmp.cli.shown import grouped, one_line, shortened, visible
from fastcmp.errors import NoDataError, TensorError

if TYPE_CHECKING:
    from fastcmp.formats.tensor_info import TensorInfo
    from fastcmp.sources import Dump, NamedTensor
    from fastcmp.sources.dump import RunOrder

_MOST_SHOWN: Final = 8
_MOST_DATA_IDS: Final = 5
_NAME_WIDTH: Final = 100
_ORDERS: Final[dict[RunOrder, str]] = {
    "computed": "known: as the tensors were computed",
    "file": "as the file lists its tensors",
    "files": "files in natural order, in each as it lists its tensors",
    "name": "not known: names are in natural order",
}


def first_of_data_ids(dump: Dump) -> list[NamedTensor]:
    """A tensor of each of the first few data_ids, whose headers `dump_in_lines` is to be given."""
    found: dict[str, NamedTensor] = {}
    for tensor in dump.tensors:
        if tensor.key.data_id not in found:
            if len(found) == _MOST_DATA_IDS:
                break
            found[tensor.key.data_id] = tensor
    return list(found.values())


def dump_in_lines(dump: Dump, headers: Sequence[TensorInfo | TensorError]) -> str:
    """One line for each fact, and for each of the first few data_ids."""
    facts = (*_facts(dump), *_data_ids(dump, headers), *(("warning", warning) for warning in dump.warnings))
    return "\n".join(f"{label:<9} {one_line(text)}" for label, text in facts)


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
        "data_ids": _count_data_ids(dump),
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


def _data_ids(dump: Dump, headers: Sequence[TensorInfo | TensorError]) -> Iterator[tuple[str, str]]:
    """The first data_ids with their tokens, as they name rows of a report, and what the header of the first tensor of each says."""
    tokens: dict[str, dict[str, None]] = {tensor.key.data_id: {} for tensor in first_of_data_ids(dump)}
    for tensor in dump.tensors:
        if tensor.key.data_id in tokens:
            tokens[tensor.key.data_id][tensor.key.token_id] = None
    for (name, of_it), header in zip(tokens.items(), headers, strict=True):
        noun = "token" if len(of_it) == 1 else "tokens"
        at = "" if list(of_it) == [""] else f", {noun} {_first_few(list(of_it))}"
        yield "data_id", f"{shortened(name, _NAME_WIDTH)}{at}{_described(header)}"
    more = _count_data_ids(dump) - len(tokens)
    if more:
        yield "", f"and {grouped(more)} more"


def _count_data_ids(dump: Dump) -> int:
    return len({tensor.key.data_id for tensor in dump.tensors})


def _described(header: TensorInfo | TensorError) -> str:
    if isinstance(header, NoDataError):
        return f": {header.dtype or 'unknown dtype'} {header.shape}"
    return f" [{header.code}]" if isinstance(header, TensorError) else f": {header.dtype} {header.shape}"


def _listed(names: list[str], nothing: str) -> str:
    if names == [""]:
        return nothing
    return f"{grouped(len(names))}: {_first_few(names)}"


def _first_few(names: list[str]) -> str:
    shown = ", ".join(visible(name) or "(none)" for name in names[:_MOST_SHOWN])
    more = f" and {grouped(len(names) - _MOST_SHOWN)} more" if len(names) > _MOST_SHOWN else ""
    return f"{shown}{more}"


def _ranks_and_tokens(dump: Dump) -> tuple[list[str], list[str]]:
    from fastcmp.sources.natural_order import token_key

    ranks, tokens = ({tensor.key.rank for tensor in dump.tensors}, {tensor.key.token_id for tensor in dump.tensors})
    return sorted(ranks, key=token_key), sorted(tokens, key=token_key)
