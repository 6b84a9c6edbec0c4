"""Options by keyword, as `fastcmp.compare` takes them: names checked, then one `CompareOptions`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from fastcmp.options import (
    AllowUnpaired,
    CompareOptions,
    CompatEuclid,
    FormatPolicy,
    KLChoice,
    MultiRecord,
    PairWay,
    ParallelSide,
    ReportColumns,
    Rule,
    ScanOptions,
)

# What the command line calls them, where that is another word.
_BY_COMMAND_LINE: Final = {
    "jobs": "workers",
    "stall": "stall_s",
    "threshold": "thresholds",
    "metric": "metrics",
    "map": "maps",
    "root": "roots",
    "as": "columns",
}


class OptionChanges(TypedDict, total=False):
    """Every field of `CompareOptions` and of `ScanOptions`, for type checkers and editors."""

    output: str | os.PathLike[str]
    thresholds: Sequence[str]
    rules: Sequence[Rule]
    include: Sequence[str]
    exclude: Sequence[str]
    maps: Sequence[str | os.PathLike[str]]
    pair_by: Sequence[PairWay]
    token_offset: int
    allow_unpaired: AllowUnpaired
    kl: KLChoice
    relative_floor: float
    compat_euclid: CompatEuclid
    scale: float | None
    mask_fill: bool
    metrics: Sequence[str]
    metric_max_bytes: int
    golden_parallel: ParallelSide | None
    target_parallel: ParallelSide | None
    workers: int
    executor: str
    stall_s: float
    csv_raw: bool
    parquet: bool
    fresh: bool
    layout: str
    columns: ReportColumns
    scan: ScanOptions
    multi_record: MultiRecord
    format_policy: FormatPolicy
    roots: Sequence[str | os.PathLike[str]]


def changed(options: CompareOptions, changes: Mapping[str, Any], *, caller: str) -> CompareOptions:
    """``options`` with the fields that ``changes`` names replaced; fields of ``options.scan`` are named like the others.

    Raises
    ------
    TypeError
        If there is no option of that name, as ``caller`` would say it of a keyword.
    """
    if not changes:
        return options
    own = {field.name for field in fields(CompareOptions)}
    of_scan = {field.name for field in fields(ScanOptions)}
    for name in changes:
        if name not in own | of_scan:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}; {_nearest(name, sorted(own | of_scan))}")
    plain = {name: _plain(name, value) for name, value in changes.items()}
    options = replace(options, **{name: value for name, value in plain.items() if name in own})
    scan_changes = {name: value for name, value in plain.items() if name in of_scan}
    return replace(options, scan=replace(options.scan, **scan_changes)) if scan_changes else options


def _plain(name: str, value: Any) -> Any:
    """Paths as text, lists as tuples; anything else is for `fastcmp.options.check` to refuse."""
    if name == "output" and isinstance(value, os.PathLike):
        return os.fspath(value)
    if name in ("roots", "maps") and isinstance(value, list | tuple):
        return tuple(os.fspath(path) if isinstance(path, os.PathLike) else path for path in value)
    return value


def _nearest(name: str, known: list[str]) -> str:
    close = [_BY_COMMAND_LINE[name]] if name in _BY_COMMAND_LINE else get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(known)}"
