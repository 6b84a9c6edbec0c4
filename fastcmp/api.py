"""The main job as one call: load both dumps, pair them, compare, judge, report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastcmp.engine.executors import open_executor
from fastcmp.garbage import collector_paused
from fastcmp.options import CompareOptions, check
from fastcmp.progress import Progress, Silent

if TYPE_CHECKING:
    from fastcmp.result import Result

__all__ = ["compare"]


def _check_metrics(options: CompareOptions) -> None:
    """The user's own metrics can be called, and have names that no other column has."""
    if not options.metrics:
        return
    from fastcmp.metric_functions import load_function, parse_metrics
    from fastcmp.results.schema import report_columns

    metrics = parse_metrics(options.metrics)
    report_columns([metric.name for metric in metrics])
    for metric in metrics:
        load_function(metric)


def compare(
    golden: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    options: CompareOptions | None = None,
    progress: Progress | None = None,
) -> Result:
    """Compare two dumps and leave the report in ``options.output``.

    Parameters
    ----------
    golden, target : path
        Each a metadata.json, a directory of dumps, or a single tensor file.
    options : CompareOptions, optional
    progress : Progress, optional
        Told how far the run is.

    Raises
    ------
    UsageError
        If an argument, an option or a metadata.json cannot be used; no tensor was read.
    OutputError
        If the report cannot be written.
    """
    options = options or CompareOptions()
    check(options)
    _check_metrics(options)
    with open_executor(options) as executor:
        # Not before: numpy, pyarrow and the listing of the dumps take a quarter of a second, which the workers need to start, too.
        from fastcmp.comparison import Comparison
        from fastcmp.pairing import pair
        from fastcmp.results.output_dir import prepare
        from fastcmp.sources import load
        from fastcmp.verdict import Rules

        rules = Rules.from_options(options)
        with collector_paused() as resume_collector:
            golden_dump = load(os.fspath(golden), "golden", options)
            dumps = golden_dump, load(os.fspath(target), "target", options, golden_dump)
            pairs = pair(*dumps, options)
            with prepare(options.output) as output:
                comparison = Comparison(dumps, pairs, rules, options, output, progress or Silent())
                del golden_dump, dumps, pairs  # it frees what it is done with
                return comparison.run(executor, on_plan=resume_collector)
