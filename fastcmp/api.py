"""The main job as one call: load both dumps, pair them, compare, judge, report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastcmp.engine.executors import open_executor
from fastcmp.garbage import collector_paused
from fastcmp.live_progress import ProgressChoice, chosen
from fastcmp.option_changes import changed
from fastcmp.options import CompareOptions, check

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastcmp.option_changes import OptionChanges
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
    progress: ProgressChoice = None,
    **changes: Unpack[OptionChanges],
) -> Result:
    """Compare two dumps and leave the report in the directory ``output``, ``./fastcmp_report`` if none is named.

    Parameters
    ----------
    golden, target : path
        Each a metadata.json, a directory of dumps, or a single tensor file.
    options : CompareOptions, optional
    progress : bool, "notebook" or Progress, optional
        None: shown inside a notebook, silent elsewhere. True: shown elsewhere too, in lines on stderr. False: silent.
        An object with the methods of `fastcmp.progress.Progress` is told how far the run is.
    **changes
        Single options by name, such as ``executor="threads"`` or ``thresholds=["cosine_similarity >= 0.999"]``: every field of
        `CompareOptions` and of `ScanOptions`. They replace those of ``options``.

    Raises
    ------
    TypeError
        If there is no option of that name.
    UsageError
        If an argument, an option or a metadata.json cannot be used; no tensor was read.
    OutputError
        If the report cannot be written.
    """
    options = changed(options or CompareOptions(), changes, caller="compare")
    check(options)
    shown = chosen(progress)
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
                comparison = Comparison(dumps, pairs, rules, options, output, shown)
                del golden_dump, dumps, pairs  # it frees what it is done with
                return comparison.run(executor, on_plan=resume_collector)
