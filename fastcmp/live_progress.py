"""Progress for who compares from Python: a live bar inside a notebook, lines on stderr where asked for, nothing in a plain script.

The command line draws its own (`fastcmp.cli.progress`); nothing here needs a package that a notebook does not bring.
"""

from __future__ import annotations

import contextlib
import sys
import time
from abc import ABC, abstractmethod
from html import escape
from typing import Any, Final, Literal

from fastcmp.errors import UsageError
from fastcmp.progress import Progress, Silent, percent_done

ProgressChoice = bool | Literal["notebook"] | Progress | None

_NOTEBOOK_EVERY_S: Final = 0.25
_LINES_EVERY_S: Final = 10.0
_MOST_NOTES: Final = 20


def chosen(choice: ProgressChoice) -> Progress:
    """Who is told how far a run is.

    Raises
    ------
    UsageError
        If ``choice`` is none of those that `fastcmp.compare` knows, or "notebook" where there is no IPython.
    """
    if choice is None:
        return NotebookProgress() if in_notebook() else Silent()
    if choice is True:
        return NotebookProgress() if in_notebook() else LineProgress()
    if choice is False:
        return Silent()
    if choice == "notebook":
        return NotebookProgress()
    if all(callable(getattr(choice, name, None)) for name in ("start", "advance", "note", "stop")):
        return choice
    raise UsageError(f"progress: expected True, False, 'notebook' or an object with start, advance, note and stop, got {choice!r}")


def in_notebook() -> bool:
    """True inside a kernel of Jupyter and its like. IPython in a terminal is none, and IPython is not imported to find out."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if callable(get_ipython) else None
    return getattr(shell, "kernel", None) is not None


class _Watched(ABC):
    """How far a run is, in words, shown now and then."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._total_bytes = self._total_pairs = 0
        self._percent = 0.0
        self._state = ""
        self._shown_at = 0.0

    def start(self, total_bytes: int, total_pairs: int) -> None:
        """Show what there is to do."""
        self._total_bytes, self._total_pairs = total_bytes, total_pairs
        self._take(0, 0, 0, "")
        self._show_now()

    def advance(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
        """Show how far it is, if that is due."""
        self._take(bytes_done, pairs_done, failed, worst)
        if time.monotonic() - self._shown_at >= self._every_s:
            self._show_now()

    def stop(self) -> None:
        """Show where it ended."""
        self._show_now()

    def _take(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
        self._percent = percent_done(bytes_done, self._total_bytes, pairs_done, self._total_pairs)
        self._state = f"{pairs_done} of {self._total_pairs} pairs, {bytes_done / 1e9:.3g} GB, {failed} failed"
        if worst:
            from fastcmp.sources.wording import printable  # brings numpy, which is to be imported while the workers start

            self._state += f", worst {printable(worst, 100)}"

    def _show_now(self) -> None:
        self._shown_at = time.monotonic()
        self._show()

    @abstractmethod
    def _show(self) -> None:
        """Say how far it is, where somebody looks."""


class NotebookProgress(_Watched):
    """A bar in the output of the cell, and the state in words; what cannot be shown is not, and the run goes on."""

    def __init__(self) -> None:
        super().__init__(_NOTEBOOK_EVERY_S)
        try:
            from IPython.display import HTML, display
        except ImportError as error:
            raise UsageError("progress='notebook': IPython cannot be imported; leave progress out, or pip install ipython") from error
        self._html, self._display = HTML, display
        self._handle: Any = None
        self._notes: list[str] = []

    def note(self, remark: str) -> None:
        """Show it below the bar."""
        from fastcmp.sources.wording import printable

        self._notes = [*self._notes, printable(remark, 300)][-_MOST_NOTES:]
        self._show_now()

    def _show(self) -> None:
        lines = [f'<progress value="{self._percent:.1f}" max="100"></progress> {escape(self._state)}', *map(escape, self._notes)]
        shown = self._html(f"<div>{'<br>'.join(lines)}</div>")
        with contextlib.suppress(Exception):  # a notebook that has gone away
            if self._handle is None:
                self._handle = self._display(shown, display_id=True)
            else:
                self._handle.update(shown)


class LineProgress(_Watched):
    """A line on stderr every ten seconds."""

    def __init__(self) -> None:
        super().__init__(_LINES_EVERY_S)

    def note(self, remark: str) -> None:
        """Print it."""
        from fastcmp.sources.wording import printable

        self._print(printable(remark, 300))

    def _show(self) -> None:
        self._print(f"{self._percent:.0f} %, {self._state}")

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None as under pythonw
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
