"""``fastcmp report``: one HTML page from what a comparison has left."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from fastcmp.cli.endings import say
from fastcmp.cli.shown import visible


def report(directory: str = "./fastcmp_report", /, *, output: Annotated[str | None, Parameter(name=("--output", "-o"))] = None) -> int:
    """Write one HTML page about a comparison: verdicts, first divergence, heat map, errors along layers and tokens, the worst tensors.

    The page needs nothing else and loads nothing. Of a comparison that still runs it shows what has been found so far.

    Parameters
    ----------
    directory
        Of a report, as given to the -o of compare.
    output
        The page; cmp_report.html in that directory if not given.
    """
    from fastcmp.page.write import write_page

    say(f"page: {visible(write_page(directory, output))}")
    return 0
