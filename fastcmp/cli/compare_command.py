"""``fastcmp compare``: arguments to options to the API to a summary."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal, cast

from cyclopts import Parameter

from fastcmp.cli.endings import complain
from fastcmp.cli.paths import is_there
from fastcmp.cli.project_file import chosen_rules
from fastcmp.errors import UsageError
from fastcmp.executor_choice import parse_executor
from fastcmp.metric_functions import parse_metrics
from fastcmp.options import CompareOptions, ScanOptions, check
from fastcmp.thresholds import parse_threshold

if TYPE_CHECKING:
    from fastcmp.options import PairWay, ParallelSide
    from fastcmp.progress import Progress
    from fastcmp.result import Result


def comma_separated(kind: object, text: str, *, delimiter: str | None = None) -> list[str]:
    """A list in an environment variable; thresholds hold spaces, so only commas part them."""
    return [part.strip() for part in text.split(",") if part.strip()]


def ways(texts: tuple[str, ...]) -> tuple[PairWay, ...]:
    """What ``--pair-by`` names, in one text or in several; `fastcmp.options.check` refuses what is none."""
    return tuple(cast("PairWay", part.strip()) for text in texts for part in text.split(",") if part.strip())


_Many = Parameter(negative="", env_var_split=comma_separated)
_Flag = Parameter(negative="")


def compare(
    golden: str,
    target: str,
    /,
    *,
    output: Annotated[str, Parameter(name=("--output", "-o"))] = "./fastcmp_report",
    threshold: Annotated[tuple[str, ...], _Many] = (),
    rules: str = "",
    include: Annotated[tuple[str, ...], _Many] = (),
    exclude: Annotated[tuple[str, ...], _Many] = (),
    maps: Annotated[tuple[str, ...], Parameter(name="--map", negative="", env_var_split=comma_separated)] = (),
    pair_by: Annotated[tuple[str, ...], Parameter(negative="", env_var_split=comma_separated, show_default=",".join)] = ("key",),
    token_offset: int = 0,
    allow_unpaired: Literal["none", "golden", "target", "both"] = "none",
    kl: Literal["auto", "all", "none"] = "auto",
    relative_floor: float = 2.0**-23,
    scale: float | None = None,
    mask_fill: Annotated[bool, _Flag] = False,
    metric: Annotated[tuple[str, ...], _Many] = (),
    metric_max_bytes: int = 2**30,
    parallel: str = "",
    compat_euclid: Literal["sqrt", "legacy"] = "sqrt",
    root: Annotated[tuple[str, ...], _Many] = (),
    multi_record: Literal["error", "first", "last"] = "error",
    format_policy: Literal["strict", "flat"] = "strict",
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 0,
    executor: str = "local",
    stall: float = 120.0,
    csv_raw: Annotated[bool, _Flag] = False,
    parquet: Annotated[bool, _Flag] = False,
    layout: str = "auto",
    as_: Annotated[Literal["", "msprobe"], Parameter(name="--as", show_choices=False)] = "",
    fresh: Annotated[bool, _Flag] = False,
    watch: Annotated[bool, _Flag] = False,
    watch_quiet: float = 60.0,
    json: Annotated[bool, _Flag] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> int:
    """Compare two dumps and write a report.

    Every option can also be set as FASTCMP_NAME in the environment (lists separated by commas) or in [tool.fastcmp] of pyproject.toml.

    Parameters
    ----------
    golden
        The reference: a metadata.json, a directory of dumps, a tensor file, or FILE:NAME, one tensor of a file that holds several.
    target
        The candidate, likewise.
    output
        Directory of the report.
    threshold
        A rule that every pair must meet, such as 'cosine_similarity >= 0.999'; replaces the default for that metric. Repeatable.
    rules
        A TOML file with [[rule]] tables for pairs of some names and dtypes; instead of those in pyproject.toml.
    include
        Compare only data_ids that match this glob. Repeatable.
    exclude
        Leave out data_ids that match this glob. Repeatable.
    maps
        A file of rules, GOLDEN -> TARGET, that say what golden's names are called by target; also TOML and YAML. Repeatable.
    pair_by
        How names find each other, one way after another: key, md5, ops, position, content; separated by commas.
    token_offset
        Target's token_id is golden's and this number.
    allow_unpaired
        The side that may have tensors of its own without failing the run.
    kl
        Which pairs get kl_divergence; auto: names that say logits, probs, softmax, lm_head.
    relative_floor
        Golden values at or below it take no part in relative errors.
    scale
        What one integer step is worth when integers meet floats.
    mask_fill
        Take minus infinity against the most negative number of the other side's dtype for a mask, not for a mismatch.
    metric
        A metric of your own, FILE.py:NAME: a function of two arrays, golden and target, that returns a number. Repeatable.
    metric_max_bytes
        What both arrays may take together; a larger pair has no such number.
    parallel
        A TOML file that says how the ranks of a side share each tensor: ranks = "tp=4" and dims in [golden] or [target].
    compat_euclid
        legacy: relative_euclidean_distance without its square root, as the original of 2023.
    root
        Open nothing whose real path is outside of this directory. Repeatable.
    multi_record
        Which record of a .bin file that holds several.
    format_policy
        flat: compare memory formats without a known order as they lie.
    jobs
        Worker processes, of all machines together; 0 is one per core.
    executor
        What runs the work: local (processes), threads, serial, ray (on this machine), or a cluster: ray://HOST:PORT, dask://HOST:PORT.
    stall
        Seconds without progress after which a worker is stopped.
    csv_raw
        Leave cells that a spreadsheet would run as a formula as they are.
    parquet
        Write cmp_report.parquet too.
    layout
        How directories are read, where that is not to be found out: auto, metadata, plain, atb, msit, msprobe, sglang or hook; or
        golden=NAME,target=NAME.
    as_
        msprobe: write compare_result_msprobe.csv too, the report in msprobe's columns.
    fresh
        Start over, even where an earlier run was ended and could be gone on with.
    watch
        Compare while the dumps are being written, each pair as soon as it is there; the report comes when that is over.
    watch_quiet
        With --watch: over after so many seconds in which nothing was written, from the first pair on, while no process is seen to dump.
    json
        One JSON object on stdout instead of the summary.
    quiet
        Nothing but errors and the exit code.
    """
    custom = [one.name for one in parse_metrics(metric)]
    golden_parallel, target_parallel = _load_parallel(parallel) if parallel else (None, None)
    options = CompareOptions(
        golden_parallel=golden_parallel, target_parallel=target_parallel,
        output=output, thresholds=threshold, rules=chosen_rules(rules, custom), include=include, exclude=exclude,
        maps=maps, pair_by=ways(pair_by), token_offset=token_offset, allow_unpaired=allow_unpaired,
        kl=kl, relative_floor=relative_floor, compat_euclid=compat_euclid, scale=scale,
        mask_fill=mask_fill, metrics=metric, metric_max_bytes=metric_max_bytes, workers=jobs, executor=executor, stall_s=stall,
        csv_raw=csv_raw, parquet=parquet, fresh=fresh, layout=layout, columns=as_,
        scan=ScanOptions(multi_record=multi_record, format_policy=format_policy, roots=root),
    )  # fmt: skip
    result = run_comparison(golden, target, options, silent=quiet, watch_quiet_s=watch_quiet if watch else None)
    if not quiet:
        tell(result, as_json=json)
    elif result.totals.errors:
        complain(
            "fastcmp", f"{result.totals.errors} of {result.totals.pairs} pairs could not be compared; see {result.output}/cmp_report.csv"
        )
    return result.exit_code


def _load_parallel(path: str) -> tuple[ParallelSide | None, ParallelSide | None]:
    from fastcmp.parallel.parallel_file import load_parallel  # numpy comes with it, for which the workers should not wait

    return load_parallel(path)


def run_comparison(golden: str, target: str, options: CompareOptions, *, silent: bool, watch_quiet_s: float | None = None) -> Result:
    """Compare with progress on stderr. What can be refused without numpy is refused first, so that a typing error costs no start-up.

    ``watch_quiet_s`` not None: while the dumps are written, which need not be there yet.
    """
    check(options)
    choice = parse_executor(options.executor)
    if watch_quiet_s is not None and choice.is_cluster:
        raise UsageError(f"--watch: cannot look at the disks of other machines; leave it out with --executor {choice}, or use local")
    for role, path in (("GOLDEN", golden), ("TARGET", target)):
        # What a cluster compares may lie on the disks of its nodes only.
        may_be_absent = watch_quiet_s is not None or choice.is_cluster
        if "\0" in path or (not may_be_absent and not is_there(path)):
            raise UsageError(f"{path}: {role} does not exist; name a metadata.json, a directory of dumps or a tensor file")
    metrics = parse_metrics(options.metrics)
    for text in options.thresholds:
        parse_threshold(text, custom=[metric.name for metric in metrics])
    progress = _progress(options, silent=silent)
    if watch_quiet_s is not None:
        from fastcmp.watching import watch

        return watch(golden, target, options=options, progress=progress, quiet_s=watch_quiet_s)
    from fastcmp import api

    return api.compare(golden, target, options=options, progress=progress)


def _progress(options: CompareOptions, *, silent: bool) -> Progress:
    if silent:
        from fastcmp.progress import Silent

        return Silent()
    from fastcmp.cli.progress import progress_for

    return progress_for(sys.stderr, options.output)


def tell(result: Result, *, as_json: bool, closing: str = "") -> None:
    """The result on stdout; ``closing`` as in `fastcmp.cli.summary.summary_lines`."""
    from fastcmp.cli import summary

    for warning in result.warnings:
        complain("fastcmp", warning)
    if as_json:
        summary.print_json(result)
    else:
        summary.print_summary(result, closing)
