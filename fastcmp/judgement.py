"""New verdicts for a comparison that was made before: from its saved report, no tensor is read again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, check
from fastcmp.pairing import RULE_PATH
from fastcmp.result import Result
from fastcmp.results.execution_order import execution_orders
from fastcmp.results.findings import find_blind_spots, find_first_divergence
from fastcmp.results.judging import judged_again
from fastcmp.results.output_dir import prepare
from fastcmp.results.report_files import write_report
from fastcmp.results.saved import SavedReport, load_saved
from fastcmp.results.schema import custom_names
from fastcmp.results.totals import Totals, count
from fastcmp.verdict import Rules

# What rows are judged by, of all the options of a comparison; the others are kept as the run had them.
_JUDGING: Final = ("thresholds", "rules", "allow_unpaired")


def judge_saved(directory: str, options: CompareOptions | None = None, *, output: str = "") -> Result:
    """The result of a comparison as it would have been by other thresholds.

    Parameters
    ----------
    directory : str
        Of a report, or of a comparison that still runs or was ended.
    options : CompareOptions, optional
        ``thresholds``, ``rules`` and ``allow_unpaired`` are used, nothing else. What the run itself was judged by does not count.
    output : str
        Where to write the report with the new verdicts, which may be ``directory`` itself; "" writes nothing.

    Raises
    ------
    UsageError
        If there is no report, a threshold or rule cannot be read, or an incomplete report was to be written.
    OutputError
        If the report is damaged, or cannot be written.
    """
    options = options or CompareOptions()
    check(options)
    saved = load_saved(directory)
    rules = Rules.from_options(options, custom_names(saved.table.schema.names))
    if not output:
        return _result(saved, *_judged(saved, rules), directory)
    if not saved.is_complete:
        raise UsageError(f"{directory}: not complete, the comparison runs or was ended; it can be judged, but not written as a report")
    with prepare(output) as place:
        saved = load_saved(directory)  # again, now that nobody else can write there
        table, totals = _judged(saved, rules)
        given = _options_of(saved)
        facts = _facts(saved.facts, given, options, totals)
        write_report(place, table, facts, csv_raw=given.get("csv_raw") is True, parquet=given.get("parquet") is True)
    return _result(saved, table, totals, output)


def _judged(saved: SavedReport, rules: Rules) -> tuple[Any, Totals]:
    """The table with new verdicts, and what there is of each. How integers were scaled, and what the distance is, the run decided."""
    given = _options_of(saved)
    rules = dataclasses.replace(rules, scale_known=given.get("scale") is not None, legacy_euclid=given.get("compat_euclid") == "legacy")
    table = judged_again(saved.table, rules)
    return table, _totals(table, saved.facts)


def _result(saved: SavedReport, table: Any, totals: Totals, output: str) -> Result:
    orders = execution_orders(table)
    first = find_first_divergence(table, orders)
    return Result(
        table,
        totals,
        first,
        find_blind_spots(table, orders, first),
        _order_is_known(saved),
        output,
        _warnings(saved.facts),
        is_complete=saved.is_complete,
    )


def _options_of(saved: SavedReport) -> Mapping[str, Any]:
    """The options that the run had; while it runs its journal has those that decide its numbers."""
    options = saved.facts.get("options") if saved.is_complete else saved.facts
    return options if isinstance(options, dict) else {}


def _facts(facts: Mapping[str, Any], given: Mapping[str, Any], options: CompareOptions, totals: Totals) -> dict[str, Any]:
    asked = dataclasses.asdict(options)
    return {**facts, "options": {**given, **{name: asked[name] for name in _JUDGING}}, "totals": dataclasses.asdict(totals)}


def _totals(table: Any, facts: Mapping[str, Any]) -> Totals:
    said = facts.get("totals")
    said = said if isinstance(said, dict) else {}
    compared = table.column("cmp_flag").to_numpy()
    sizes = table.column("bytes").fill_null(0).to_numpy()
    return count(
        table,
        int(np.sum(sizes[compared.astype(bool)])),
        _number(said.get("elapsed_s")),
        resumed=int(_number(said.get("resumed"))),
        resumed_bytes=int(_number(said.get("resumed_bytes"))),
    )


def _number(value: object) -> float:
    """A number of a foreign file, 0 for anything else."""
    return value if isinstance(value, int | float) and math.isfinite(value) and 0 <= value < 2**62 else 0


def _order_is_known(saved: SavedReport) -> bool:
    known = saved.facts.get("order_is_known")
    return known if isinstance(known, bool) else RULE_PATH not in saved.table.column("pair_rule").unique().to_pylist()


def _warnings(facts: Mapping[str, Any]) -> tuple[str, ...]:
    warnings = facts.get("warnings")
    return tuple(text for text in warnings if isinstance(text, str)) if isinstance(warnings, list) else ()
