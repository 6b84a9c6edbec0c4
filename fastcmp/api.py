"""The main job as one call: load both dumps, pair them, compare, judge, report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fastcmp.engine.abilities import ReadsElsewhere
from fastcmp.engine.executors import open_executor
from fastcmp.garbage import collector_paused
from fastcmp.live_progress import ProgressChoice, chosen
from fastcmp.option_changes import changed
from fastcmp.options import CompareOptions, check

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastcmp.option_changes import OptionChanges
    from fastcmp.pairing import Pair
    from fastcmp.result import Result
    from fastcmp.sources import Dump
    from fastcmp.verdict import Rules

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


@contextmanager
def open_run(options: CompareOptions) -> Iterator[tuple[Executor, Rules]]:
    """What every kind of comparison needs before it looks at a dump: options that were checked, workers that start, and the rules.

    Raises
    ------
    UsageError
        If an option cannot be used.
    """
    check(options)
    _check_metrics(options)
    if options.maps:
        from fastcmp.pairing.map_files import load_maps

        load_maps(options.maps)
    with open_executor(options) as executor:
        # Not before: numpy, pyarrow and the listing of the dumps take a quarter of a second, which the workers need to start, too.
        from fastcmp.verdict import Rules

        yield executor, Rules.from_options(options)


def load_pairs(golden: str, target: str, options: CompareOptions, executor: object = None) -> tuple[tuple[Dump, Dump], list[Pair]]:
    """Both dumps as they are now, and the pairs they make; where ``executor`` has other machines, as those have them.

    Raises
    ------
    UsageError
        If one of them, or what they hold together, cannot be used.
    """
    from fastcmp.pairing import pair_dumps
    from fastcmp.parallel.loading import load_dumps

    elsewhere = executor if isinstance(executor, ReadsElsewhere) else None
    load = elsewhere.load_dumps if elsewhere else load_dumps
    golden_dump, target_dump = load(golden, target, options)
    paired = pair_dumps(golden_dump, target_dump, options)
    remarks = [*paired.warnings, *(elsewhere.remarks(paired.pairs) if elsewhere else ())]
    if remarks:
        target_dump = replace(target_dump, warnings=[*target_dump.warnings, *remarks])
    return (golden_dump, target_dump), paired.pairs


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
    shown = chosen(progress)
    with open_run(options) as (executor, rules):
        from fastcmp.comparison import Comparison
        from fastcmp.results.output_dir import prepare

        with collector_paused() as resume_collector:
            dumps, pairs = load_pairs(os.fspath(golden), os.fspath(target), options, executor)
            with prepare(options.output) as output:
                comparison = Comparison(dumps, pairs, rules, options, output, shown)
                del dumps, pairs  # it frees what it is done with
                return comparison.run(executor, on_plan=resume_collector)
