"""Compare while the dumps are being written: each pair as soon as both its files are complete, and the report when nobody writes any more.

What is compared on the way goes to the journal. The end is a comparison like any other, which goes on from that journal: so a file that was
rewritten meanwhile is compared again, and the report is the one that a comparison afterwards would have given.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastcmp.comparison import Comparison
from fastcmp.doctor.proc import is_running
from fastcmp.dump_layout import is_dump_directory_name
from fastcmp.engine.executors import open_executor
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, check
from fastcmp.pairing import Pair, pair
from fastcmp.progress import Progress, Silent
from fastcmp.results.journal import JournalWriter, next_journal_path
from fastcmp.results.output_dir import OutputDirectory, prepare
from fastcmp.results.resume import deciding_facts, input_words
from fastcmp.sources import Dump, TensorKey, load
from fastcmp.verdict import Rules

if TYPE_CHECKING:
    from fastcmp.result import Result

# A file that was not written to for so long is taken for complete; one that is not gives an error, and is compared again when it grows.
_SETTLED_S: Final = 1.0
_POLL_S: Final = 1.0
# Of the time, at most one part in so many goes into looking at dumps of many tensors again.
_LOOKING_SHARE: Final = 5
_TELL_EVERY_S: Final = 10.0

_Words = tuple[int, ...]


def watch(
    golden: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    options: CompareOptions | None = None,
    progress: Progress | None = None,
    quiet_s: float = 60.0,
    stop: threading.Event | None = None,
) -> Result:
    """Compare two dumps that may still be written, or may not be there yet, and leave the report in ``options.output`` when that is over.

    It is over when the processes that dumped have ended (those that their directories are named for, as far as they run on this machine),
    when nothing was written for ``quiet_s``, or when it is told so.

    Parameters
    ----------
    golden, target : path
        As for `fastcmp.compare`.
    options : CompareOptions, optional
    progress : Progress, optional
        Its ``note`` hears of failures on the way; the rest of it sees the comparison at the end.
    quiet_s : float
    stop : threading.Event, optional
        Set it to end the watching: what is there then is compared. Ctrl-C does the same; a second one ends the run.

    Raises
    ------
    UsageError
        If an option cannot be used, or nothing that can be compared has appeared when it is over.
    OutputError
        If the report cannot be written.
    """
    options = options or CompareOptions()
    check(options)
    if not quiet_s > 0:
        raise UsageError(f"--watch-quiet {quiet_s:g}: expected seconds, more than 0")
    paths = os.fspath(golden), os.fspath(target)
    rules = Rules.from_options(options)
    progress = progress or Silent()
    with open_executor(options) as executor, prepare(options.output) as output:
        watcher = _Watcher(paths, options, rules, output, executor, progress)
        try:
            watcher.run(quiet_s, stop or threading.Event())
        except KeyboardInterrupt:
            progress.note("no longer waiting: what is there is compared; again to end at once")
        dumps = _loaded(paths, options)
        return Comparison(dumps, pair(*dumps, options), rules, options, output, progress).run(executor)


def _loaded(paths: tuple[str, str], options: CompareOptions) -> tuple[Dump, Dump]:
    golden = load(paths[0], "golden", options)
    return golden, load(paths[1], "target", options, golden)


@dataclass
class _Watcher:
    """What is known of two dumps that grow."""

    paths: tuple[str, str]
    options: CompareOptions
    rules: Rules
    output: OutputDirectory
    executor: Executor
    progress: Progress
    # The files that each pair was compared from, or failed with.
    compared: dict[TensorKey, _Words] = field(default_factory=dict)
    seen: dict[TensorKey, _Words] = field(default_factory=dict)
    writers: dict[int, float] = field(default_factory=dict)
    failed: int = 0
    told_at: float = 0.0
    has_told_failure: bool = False

    def run(self, quiet_s: float, stop: threading.Event) -> None:
        """Until it is over; rows go to a journal of the output directory."""
        with ExitStack() as stack:
            journal: JournalWriter | None = None
            changed_at = time.monotonic()
            newest: float | None = None
            while not stop.is_set():
                began = time.monotonic()
                # Asked before the dumps are looked at: what is written after this is there when we look.
                is_over = self._have_ended()
                pairs, dumps = self._look()
                ready = list(self._ready(pairs))
                if ready and dumps is not None:
                    if journal is None:
                        facts = deciding_facts(dumps[0].path, dumps[1].path, self.options)
                        journal = stack.enter_context(JournalWriter(next_journal_path(self.output.path), facts))
                    self._compare(dumps, pairs, ready, journal)
                before, newest = newest, self._newest(pairs)
                if ready or newest != before:
                    changed_at = time.monotonic()
                is_quiet = time.monotonic() - changed_at > quiet_s or (newest is not None and time.time() - newest > quiet_s)
                may_end = not self._unsettled(pairs) if is_over else is_quiet and not self.writers
                if may_end and not ready:
                    return
                self._tell(len(pairs))
                stop.wait(max(_POLL_S, _LOOKING_SHARE * (time.monotonic() - began)) if not ready else _POLL_S / 10)

    def _look(self) -> tuple[list[Pair], tuple[Dump, Dump] | None]:
        """All pairs there are by now; none where a dump cannot be used yet."""
        try:
            dumps = _loaded(self.paths, self.options)
            pairs = pair(*dumps, self.options)
        except UsageError:
            return [], None
        self._note_writers(dumps)
        return pairs, dumps

    def _ready(self, pairs: list[Pair]) -> Iterator[Pair]:
        """Pairs whose files are complete and are not those that they were compared from."""
        now_ns = time.time_ns()
        self.seen = {}
        for one in pairs:
            words = input_words(one)
            if words is None:
                continue
            self.seen[one.key] = words
            is_settled = now_ns - max(words[2], words[5]) > _SETTLED_S * 1e9
            if is_settled and words[1] and words[4] and self.compared.get(one.key) != words:
                yield one

    def _unsettled(self, pairs: Iterable[Pair]) -> bool:
        """True if files are there that were written just now."""
        return any(self.seen.get(one.key) != self.compared.get(one.key) for one in pairs if one.key in self.seen)

    def _compare(self, dumps: tuple[Dump, Dump], pairs: list[Pair], ready: list[Pair], journal: JournalWriter) -> None:
        words = {one.key: self.seen[one.key] for one in ready}
        comparison = Comparison(dumps, pairs, self.rules, self.options, self.output, Silent())
        comparison.run_some(self.executor, {one.row for one in ready}, journal)
        self.compared.update(words)
        self.failed += comparison.failed
        if comparison.failed and not self.has_told_failure:
            self.has_told_failure = True
            self.progress.note(f"a pair fails: {comparison.worst[1] or 'not finite'}")

    def _newest(self, pairs: list[Pair]) -> float | None:
        """When a file of the dumps was written last, in seconds since 1970; None while there is none."""
        times = [max(words[2], words[5]) for words in self.seen.values()]
        return max(times) / 1e9 if times else None

    def _tell(self, count: int) -> None:
        if self.compared and time.monotonic() - self.told_at > _TELL_EVERY_S:
            self.told_at = time.monotonic()
            done = f"{len(self.compared)} of {count} rows so far are compared, {self.failed} failed"
            self.progress.note(f"{done}; waiting for more (Ctrl-C: no longer)")

    def _note_writers(self, dumps: tuple[Dump, Dump]) -> None:
        """Processes of this machine that the directories of the dumps are named for, while they run."""
        for dump in dumps:
            for name, directory in _dump_directories(dump):
                pid = int(name.split("_")[0].split("-")[0])
                try:
                    since = os.stat(directory).st_mtime
                except OSError:
                    continue
                if is_running(pid, since):
                    self.writers[pid] = since

    def _have_ended(self) -> bool:
        """True where writers were seen to run, and none does any more. While one runs, silence is no end."""
        return bool(self.writers) and not any(is_running(pid, since) for pid, since in self.writers.items())


def _dump_directories(dump: Dump) -> set[tuple[str, str]]:
    """Names and paths of the directories of dumping processes that a dump lies in or consists of."""
    found = set()
    paths = [os.path.abspath(dump.path), *(os.path.dirname(tensor.path) for tensor in dump.tensors[:1] + dump.tensors[-1:])]
    for path in paths:
        while len(path) > 1:
            parent, name = os.path.split(path)
            if is_dump_directory_name(name):
                found.add((name, path))
            path = parent
    return found
