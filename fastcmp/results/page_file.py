"""The file of an HTML page beside a report: what it is called, how it is known, and that none of an earlier report stays."""

from __future__ import annotations

import os
import stat
from typing import Final

from fastcmp.results.output_dir import OutputDirectory

PAGE_NAME: Final = "cmp_report.html"

GENERATOR: Final = '<meta name="generator" content="fastcmp report">'
"""In the first bytes of every page: what a later page may replace."""

BESIDE: Final = '<meta name="fastcmp-page" content="of the report beside it">'
"""Behind it, in a page that was written beside its report: what a later report there removes."""

_HEAD_BYTES: Final = 512


def is_page(path: str) -> bool:
    """True for a file that was written as a page. What cannot be read is none; no FIFO is waited for."""
    return GENERATOR in _head(path)


def _head(path: str) -> str:
    """The first characters of a regular file; none of another, or if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with open(path, "rb") as file:
            return file.read(_HEAD_BYTES).decode("latin-1")
    except (OSError, ValueError):
        return ""


def remove_earlier_page(output: OutputDirectory) -> tuple[str, ...]:
    """Remove the page of an earlier report, which would be taken for this one's; what was done, in a sentence, nothing where there is none.

    A file of that name that is no page stays, and so does a link, or the page of a report in another directory that was written here.
    """
    path = output.join(PAGE_NAME)
    if os.path.islink(path) or f"{GENERATOR}{BESIDE}" not in _head(path):
        return ()
    try:
        os.unlink(path)
    except OSError as error:
        return (f"{path} is the page of an earlier report and could not be removed: {error.strerror or error}; fastcmp report replaces it",)
    return (f"{path} was the page of an earlier report and is removed; fastcmp report writes one of this",)
