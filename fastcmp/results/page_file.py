"""The file of an HTML page beside a report: what it is called, how it is known, and that none of an earlier report stays."""

from __future__ import annotations

import os
import stat
from typing import Final

from fastcmp.results.output_dir import OutputDirectory

PAGE_NAME: Final = "cmp_report.html"

GENERATOR: Final = '<meta name="generator" content="fastcmp report">'
"""In the first bytes of every page: what a later page, or a later report, may replace."""

_HEAD_BYTES: Final = 512


def is_page(path: str) -> bool:
    """True for a file that was written as a page. What cannot be read is none; no FIFO is waited for."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return GENERATOR.encode() in file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return False


def remove_earlier_page(output: OutputDirectory) -> tuple[str, ...]:
    """Remove the page of an earlier report, which would be taken for this one's; what was done, in a sentence, nothing where there is none.

    A file of that name that is no page stays, and so does a link.
    """
    path = output.join(PAGE_NAME)
    if os.path.islink(path) or not is_page(path):
        return ()
    try:
        os.unlink(path)
    except OSError as error:
        return (f"{path} is the page of an earlier report and could not be removed: {error.strerror or error}; fastcmp report replaces it",)
    return (f"{path} was the page of an earlier report and is removed; fastcmp report writes one of this",)
