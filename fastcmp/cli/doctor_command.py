"""``fastcmp doctor``: why is nothing dumped, what is installed, what would be slow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fastcmp.cli.endings import say
from fastcmp.cli.shown import counted, one_line
from fastcmp.errors import UsageError

if TYPE_CHECKING:
    from fastcmp.doctor import Report


def doctor(
    directory: str | None = None,
    /,
    *,
    lib: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say why nothing is dumped, what is installed, and what would be slow.

    Exit code: 0 nothing wrong was found; 1 something was; 2 wrong arguments.

    Parameters
    ----------
    directory
        Where a program was to dump, or its {pid}_cmp_dump_data there; by default wherever it would with the environment as it is now. The
        preload library leaves a heartbeat there, the file .fastcmp_probe.{pid}, in which it says what it met in the process.
    lib
        The acceleration library, such as libatb.so; by default the one that ATB_HOME_PATH or ACLTRANSFORMER_HOME_PATH leads to.
    json
        One JSON object.
    """
    if directory is not None and ("\0" in directory or not os.path.isdir(directory)):
        raise UsageError(f"{directory}: is no directory; name the one where a program was to dump")
    if lib is not None and ("\0" in lib or not os.path.lexists(lib)):
        raise UsageError(f"--lib {lib}: does not exist; name an acceleration library, such as libatb.so")
    from fastcmp.doctor import examine  # no other command needs it, and it takes 40 ms

    report = examine(directory, lib)
    if json:
        from json import dumps

        say(dumps(report.as_json()))
    else:
        say("\n".join(_lines(report)))
    return report.exit_code


def _lines(report: Report) -> list[str]:
    """The report for a person: the facts by section, then what is wrong and what to do."""
    lines = []
    for section in report.sections:
        lines.append(section.title)
        lines.extend(f"  {one_line(line)}" for line in section.lines)
    if not report.findings:
        return [*lines, "", "nothing found wrong"]
    lines += ["", f"{counted(len(report.findings), 'cause')} found"]
    for finding in report.findings:
        lines += [f"  {finding.name}: {one_line(finding.evidence)}", f"    what to do: {one_line(finding.advice)}"]
    return lines
