"""``fastcmp judge``: new verdicts from a saved report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from fastcmp.cli.compare_command import comma_separated, tell
from fastcmp.cli.endings import complain
from fastcmp.cli.project_file import chosen_rules
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions

if TYPE_CHECKING:
    from fastcmp.result import Result

# Of [tool.fastcmp]; the rest of it is about how to compare.
PROJECT_OPTIONS: Final = frozenset({"threshold", "rules", "allow_unpaired", "allow-unpaired"})


def judge(
    directory: str,
    /,
    *,
    threshold: Annotated[tuple[str, ...], Parameter(negative="", env_var="FASTCMP_THRESHOLD", env_var_split=comma_separated)] = (),
    rules: Annotated[str, Parameter(env_var="FASTCMP_RULES")] = "",
    allow_unpaired: Annotated[Literal["none", "golden", "target", "both"], Parameter(env_var="FASTCMP_ALLOW_UNPAIRED")] = "none",
    output: Annotated[str, Parameter(name=("--output", "-o"))] = "",
    write: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> int:
    """Judge a finished comparison by other thresholds, from its report: no tensor is read again.

    Says what compare would have said, and ends with the same exit code; 2 as well while the comparison is not complete.
    What the run itself was judged by does not count. Nothing is written unless asked for.

    Parameters
    ----------
    directory
        The directory that fastcmp compare wrote its report to.
    threshold
        A rule that every pair must meet, such as 'cosine_similarity >= 0.999'; replaces the default for that metric. Repeatable.
    rules
        A TOML file with [[rule]] tables for pairs of some names and dtypes; instead of those in pyproject.toml.
    allow_unpaired
        The side that may have tensors of its own without failing the run.
    output
        Write the report with the new verdicts to this directory.
    write
        Write it in the place of the one that was judged.
    json
        One JSON object on stdout instead of the summary.
    quiet
        Nothing but errors and the exit code.
    """
    if write and output:
        raise UsageError("--write and -o: give one of them; --write is -o with the directory that is judged")
    from fastcmp.judgement import judge_saved
    from fastcmp.results.saved import saved_custom_names

    custom = saved_custom_names(directory)
    options = CompareOptions(thresholds=threshold, rules=chosen_rules(rules, custom), allow_unpaired=allow_unpaired)
    result = judge_saved(directory, options, output=directory if write else output)
    if not result.is_complete:
        complain("fastcmp", f"{directory}: not complete, the comparison runs or was ended; this is what it has found so far")
    if not quiet:
        is_written = bool(write or output)
        tell(result, as_json=json, closing="" if is_written else _left_as_it_is(result))
        if json and not is_written:
            complain("fastcmp", f"nothing was written, the files in {directory} keep their verdicts; -o DIR or --write writes these")
    return result.exit_code


def _left_as_it_is(result: Result) -> str:
    """What was judged, where nothing was written: its files have the verdicts of before."""
    from fastcmp.cli.summary import report_path

    if not result.is_complete:
        return f"judged: {result.output}, as far as it is; nothing was written"
    return f"judged: {report_path(result)}, left as it is; --write or -o DIR writes the new verdicts"
