"""Progress on stderr: a live line of bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final, TextIO

from fastcmp.cli.endings import close_quietly
from fastcmp.cli.shown import bytes_text, counted, grouped, one_line, seconds_text, shortened, throughput_text, visible
from fastcmp.kernels.making import has_kernels
from fastcmp.progress import percent_done

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars

_PLAIN_EVERY_S: Final = 10.0
_PLAIN_EVERY_PERCENT: Final = 5.0
# 5 % of a short run is a burst of lines that nobody reads.
_PLAIN_LEAST_S: Final = 1.0


def progress_for(stream: TextIO, output: str) -> PlainProgress | TerminalProgress:
    """The progress that suits a stream; it first names the directory of the report."""
    is_terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    return TerminalProgress(output) if is_terminal else PlainProgress(stream, output)


def _opening(output: str) -> str:
    wait = "" if has_kernels() else "; the kernels are compiled first, once on this machine: ten to thirty seconds"
    return f"the report goes to {visible(output)}{wait}"


class PlainProgress:
    """One line every 10 s or 5 %, for logs."""

    def __init__(self, stream: TextIO, output: str) -> None:
        self._stream, self._output = stream, output
        self._total_bytes = self._total_pairs = 0
        self._started_at = self._spoke_at = 0.0
        self._spoke_percent = 0.0

    def start(self, total_bytes: int, total_pairs: int) -> None:
        """Say what there is to do."""
        self._total_bytes, self._total_pairs = total_bytes, total_pairs
        self._started_at = self._spoke_at = time.monotonic()
        self._print(_opening(self._output))
        self._print(f"comparing {counted(total_pairs, 'pair')}, files of {bytes_text(total_bytes)}")

    def advance(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
        """Say how far it is, if that is due."""
        now = time.monotonic()
        percent = percent_done(bytes_done, self._total_bytes, pairs_done, self._total_pairs)
        quiet_s = now - self._spoke_at
        if quiet_s < _PLAIN_LEAST_S or (quiet_s < _PLAIN_EVERY_S and percent - self._spoke_percent < _PLAIN_EVERY_PERCENT):
            return
        self._spoke_at, self._spoke_percent = now, percent
        elapsed_s = now - self._started_at
        line = f"{percent:.0f} %, {grouped(pairs_done)} of {grouped(self._total_pairs)} pairs, {bytes_text(bytes_done)}"
        rate = throughput_text(bytes_done, elapsed_s)
        line += f", {rate}" if rate else ""
        if 0 < percent < 100:
            line += f", {seconds_text(elapsed_s * (100 - percent) / percent)} left"
        line += f", {grouped(failed)} failed"
        if worst:
            line += f", worst {visible(worst)}"
        self._print(line)

    def note(self, remark: str) -> None:
        """Say it."""
        self._print(one_line(remark))

    def stop(self) -> None:
        """Nothing is left to put away."""

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._stream, flush=True)
        except BrokenPipeError:
            close_quietly(self._stream)
        except (OSError, ValueError):
            pass


class TerminalProgress:
    """A live bar: bytes, GB/s, time left by bytes, pairs, failures so far, worst pair so far.

    A terminal that goes away (and SIGHUP ignored, as under nohup) takes the bar with it, not the comparison.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._bars: RichBars | None = None
        self._total_bytes = self._total_pairs = 0
        self._started_at = 0.0

    def start(self, total_bytes: int, total_pairs: int) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._total_bytes, self._total_pairs = total_bytes, total_pairs
        self._started_at = time.monotonic()
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        with contextlib.suppress(OSError):
            console.print(_opening(self._output), soft_wrap=True)
        # markup=False: the fields hold names from files.
        self._bars = Progress(
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            transient=True,
        )
        self._bars.add_task("", total=100.0, amount="", state="")
        with contextlib.suppress(OSError):
            self._bars.start()

    def advance(self, bytes_done: int, pairs_done: int, failed: int, worst: str) -> None:
        """Move the bar; it is drawn at its own pace."""
        if self._bars is None:
            return
        elapsed_s = max(time.monotonic() - self._started_at, 1e-9)
        state = f"{grouped(pairs_done)}/{grouped(self._total_pairs)} pairs, {grouped(failed)} failed"
        if worst:
            state += f", worst {shortened(worst, 60)}"
        amount = f"{bytes_text(bytes_done)} {throughput_text(bytes_done, elapsed_s)}"
        percent = percent_done(bytes_done, self._total_bytes, pairs_done, self._total_pairs)
        self._bars.update(self._bars.task_ids[0], completed=percent, amount=amount, state=state)

    def note(self, remark: str) -> None:
        """Say it, above the bar while there is one."""
        from rich.console import Console

        console = self._bars.console if self._bars is not None else Console(stderr=True, highlight=False, markup=False, emoji=False)
        with contextlib.suppress(OSError):
            console.print(one_line(remark), soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away; the summary says it all."""
        if self._bars is not None:
            with contextlib.suppress(OSError):
                self._bars.stop()
            self._bars = None
