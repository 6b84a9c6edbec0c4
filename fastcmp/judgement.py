"""New verdicts for a comparison that was made before: from its saved report, no tensor is read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, check
from fastcmp.result import Result, result_of_saved, totals_of_saved
from fastcmp.results.judging import judged_again
from fastcmp.results.output_dir import prepare
from fastcmp.results.page_file import remove_earlier_page
from fastcmp.results.report_files import write_report
from fastcmp.results.saved import SavedReport, load_saved
from fastcmp.results.schema import custom_names
from fastcmp.results.stated_rows import stated_count
from fastcmp.results.totals import Totals
from fastcmp.verdict import Rules, is_about_rules

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
        return _with_warnings(result_of_saved(saved, *_judged(saved, rules), directory), rules)
    if not saved.is_complete:
        raise UsageError(f"{directory}: not complete, the comparison runs or was ended; it can be judged, but not written as a report")
    with prepare(output) as place:
        saved = load_saved(directory)  # again, now that nobody else can write there
        table, totals = _judged(saved, rules)
        given = _options_of(saved)
        facts = _facts(saved.facts, given, options, totals)
        write_report(
            place,
            table,
            facts,
            csv_raw=given.get("csv_raw") is True,
            parquet=given.get("parquet") is True,
            columns="msprobe" if given.get("columns") == "msprobe" else "",
        )
        remarks = remove_earlier_page(place)
    result = _with_warnings(result_of_saved(saved, table, totals, output), rules)
    return dataclasses.replace(result, warnings=(*result.warnings, *remarks))


def _with_warnings(result: Result, rules: Rules) -> Result:
    """The warnings of the dumps, as the run had them, and those about the rules of today and the rows that they do not reach."""
    remarks = rules.remarks(result.table.column("data_id").to_pylist())
    kept = [warning for warning in result.warnings if not is_about_rules(warning)]
    return dataclasses.replace(result, warnings=(*kept, *remarks, *_not_judged(result)))


def _not_judged(result: Result) -> tuple[str, ...]:
    count = stated_count(result.table)
    if not count:
        return ()
    pairs = f"{count} pairs without data keep their verdicts" if count > 1 else "1 pair without data keeps its verdict"
    return (f"{pairs}: statistics and checksums are judged where the files are; for other limits on them run fastcmp compare again",)


def _judged(saved: SavedReport, rules: Rules) -> tuple[Any, Totals]:
    """The table with new verdicts, and what there is of each. How integers were scaled, and what the distance is, the run decided."""
    given = _options_of(saved)
    rules = dataclasses.replace(rules, scale_known=given.get("scale") is not None, legacy_euclid=given.get("compat_euclid") == "legacy")
    table = judged_again(saved.table, rules)
    return table, totals_of_saved(table, saved.facts)


def _options_of(saved: SavedReport) -> Mapping[str, Any]:
    """The options that the run had; while it runs its journal has those that decide its numbers."""
    options = saved.facts.get("options") if saved.is_complete else saved.facts
    return options if isinstance(options, dict) else {}


def _facts(facts: Mapping[str, Any], given: Mapping[str, Any], options: CompareOptions, totals: Totals) -> dict[str, Any]:
    asked = dataclasses.asdict(options)
    return {**facts, "options": {**given, **{name: asked[name] for name in _JUDGING}}, "totals": dataclasses.asdict(totals)}
