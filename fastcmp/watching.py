"""Compare while the dumps are being written: each pair as soon as both its files are complete, and the report when nobody writes any more.

What is compared on the way goes to the journal. The end is a comparison like any other, which goes on from that journal: so a file that was
rewritten meanwhile is compared again, and the report is the one that a comparison afterwards would have given.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from fastcmp.api import load_pairs, open_run
from fastcmp.comparison import Comparison
from fastcmp.dump_writers import Writers, dump_directories
from fastcmp.errors import UsageError
from fastcmp.executor_choice import parse_executor
from fastcmp.options import CompareOptions
from fastcmp.pairing import Pair
from fastcmp.progress import Progress, Silent
from fastcmp.results.journal import JournalWriter, next_journal_path, remove_journals
from fastcmp.results.output_dir import OutputDirectory, prepare
from fastcmp.results.resume import deciding_facts, input_words, journal_facts
from fastcmp.sources import Dump, Role, TensorKey
from fastcmp.verdict import Rules

if TYPE_CHECKING:
    from fastcmp.result import Result

# A file that was not written to for so long is taken for complete; one that is not gives an error, and is compared again when it grows.
_SETTLED_S: Final = 1.0
_POLL_S: Final = 1.0
# Of the time, at most one part in so many goes into looking at dumps of many tensors again.
_LOOKING_SHARE: Final = 5
_TELL_EVERY_S: Final = 10.0
# When all writers have ended, their last files have so long to settle; somebody else may be writing them.
_LAST_WAIT_S: Final = 5.0
# Before there is a pair, nothing has to be written for so long: a large model takes its time until the first tensor.
_FIRST_PAIR_S: Final = 3600.0

_NOT_WATCHED: Final = {
    "content": "reads tensors, which --watch sees half written",
    "position": "counts tensors, of which --watch sees some before others",
    "ops": "counts tensors, of which --watch sees some before others",
}

_SIDES: Final[tuple[Role, Role]] = "golden", "target"
_Words = tuple[int, ...]


class _State(NamedTuple):
    """What can be seen of both dumps from outside; as long as it stays the same, nobody writes."""

    tensors: tuple[int, int] = (0, 0)
    files: int = 0
    bytes: int = 0
    newest_ns: int = 0


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

    It is over when all processes that dumped have been seen at work (the lock of their directory was held) and have ended; when nothing was
    written for ``quiet_s`` since there is a pair, and no process is seen at work; when there is no pair and nothing was written for an
    hour (or ``quiet_s`` if that is longer); or when it is told so.

    Parameters
    ----------
    golden, target : path
        As for `fastcmp.compare`.
    options : CompareOptions, optional
        ``fresh`` removes what earlier runs left, when it begins.
    progress : Progress, optional
        Its ``note`` hears what it waits for, and of failures on the way; the rest of it sees the comparison at the end.
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
    if not quiet_s > 0:
        raise UsageError(f"--watch-quiet {quiet_s:g}: expected seconds, more than 0")
    paths = os.fspath(golden), os.fspath(target)
    for path in paths:
        if "\0" in path:
            raise UsageError(f"{path!r}: found a NUL, which no path has; name a metadata.json, a directory or a tensor file")
    options = options or CompareOptions()
    if options.golden_parallel is not None or options.target_parallel is not None:
        raise UsageError("--watch: ranks that share tensors cannot be put together while they are written; compare when all have ended")
    for way, why in _NOT_WATCHED.items():
        if way in options.pair_by:
            raise UsageError(f"--pair-by {way}: {why}; compare when the dumps are complete")
    if parse_executor(options.executor).is_cluster:
        raise UsageError(f"watching cannot look at the disks of other machines; expected local, threads or serial, got {options.executor}")
    progress = progress or Silent()
    with open_run(options) as (executor, rules), prepare(options.output) as output:
        if options.fresh:
            # Once, and here: what is compared on the way is what the end goes on from.
            remove_journals(output.path)
            options = replace(options, fresh=False)
        watcher = _Watcher(paths, options, rules, output, executor, progress)
        try:
            watcher.run(quiet_s, stop or threading.Event())
        except KeyboardInterrupt:
            progress.note("no longer waiting: what is there is compared; again to end at once")
        dumps, pairs = load_pairs(*paths, options)
        return Comparison(dumps, pairs, rules, options, output, progress).run(executor)


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
    # The files that each pair has, and since when they are seen like that.
    seen: dict[TensorKey, tuple[_Words, float]] = field(default_factory=dict)
    state: _State = field(default_factory=_State)
    writers: Writers = field(default_factory=Writers)
    waits_for: str = ""
    told_wait: str = ""
    failed: int = 0
    told_at: float = 0.0
    has_told_failure: bool = False

    def run(self, quiet_s: float, stop: threading.Event) -> None:
        """Until it is over; rows go to a journal of the output directory."""
        with ExitStack() as stack:
            journal: JournalWriter | None = None
            changed_at = time.monotonic()
            ended_at: float | None = None
            while not stop.is_set():
                began = time.monotonic()
                # Before the dumps are looked at: what is written before a writer ends is there when we look.
                self.writers.ask()
                pairs, dumps = self._look()
                before, self.state = self.state, self._state(pairs, dumps)
                if self.state != before:
                    changed_at = time.monotonic()
                ready, settling = self._sorted_out(pairs)
                if self.writers.all_ended:
                    ended_at = began if ended_at is None else ended_at
                    if not ready and (not settling or began - ended_at > _LAST_WAIT_S):
                        return
                else:
                    ended_at = None
                    if not ready and not self.writers.any_runs and self._is_quiet(changed_at, quiet_s):
                        return
                if ready and dumps is not None:
                    if journal is None:
                        facts = deciding_facts(dumps[0].path, dumps[1].path, self.options)
                        said = journal_facts(facts, dumps[0].run_order)
                        journal = stack.enter_context(JournalWriter(next_journal_path(self.output.path), said))
                    self._compare(dumps, pairs, ready, journal)
                    if ended_at is not None and began - ended_at > _LAST_WAIT_S:
                        return
                self._tell(len(pairs))
                stop.wait(max(_POLL_S, _LOOKING_SHARE * (time.monotonic() - began)) if not ready else _POLL_S / 10)

    def _look(self) -> tuple[list[Pair], tuple[Dump, Dump] | None]:
        """All pairs there are by now; none where a dump cannot be used yet."""
        pairs: list[Pair] = []
        dumps: tuple[Dump, Dump] | None = None
        self.waits_for = ""
        try:
            dumps, pairs = load_pairs(*self.paths, self.options)
        except UsageError as error:
            self.waits_for = str(error)
        for side, role in enumerate(_SIDES):
            self.writers.note(side, dump_directories(self.paths[side], role, None if dumps is None else dumps[side]))
        return pairs, dumps

    def _state(self, pairs: list[Pair], dumps: tuple[Dump, Dump] | None) -> _State:
        """How much is there of both sides, also of what has no counterpart yet."""
        earlier, self.seen = self.seen, {}
        files = total = newest = 0
        now = time.monotonic()
        for one in pairs:
            words = input_words(one, self.options.scan)
            if words is None:
                sizes, times = _alone(one)
            else:
                known = earlier.get(one.key)
                self.seen[one.key] = known if known is not None and known[0] == words else (words, now)
                sizes, times = [words[1], words[4]], [words[2], words[5]]
            files += len(sizes)
            total += sum(sizes)
            newest = max(newest, *times, 0)
        return _State((0, 0) if dumps is None else (len(dumps[0].tensors), len(dumps[1].tensors)), files, total, newest)

    def _sorted_out(self, pairs: list[Pair]) -> tuple[list[Pair], bool]:
        """Pairs whose files are complete and are not those that they were compared from; and whether others were written just now.

        An empty file is never ready: a tensor will come into it, or the comparison at the end says that none did.
        """
        ready, settling = [], False
        now, now_ns = time.monotonic(), time.time_ns()
        for one in pairs:
            if one.key not in self.seen:
                continue
            words, since = self.seen[one.key]
            if self.compared.get(one.key) == words:
                continue
            # By the file's time, or where that is of another clock, ahead of ours, by ours.
            if now_ns - max(words[2], words[5]) <= _SETTLED_S * 1e9 and now - since <= _SETTLED_S:
                settling = True
            elif words[1] and words[4]:
                ready.append(one)
        return ready, settling

    def _is_quiet(self, changed_at: float, quiet_s: float) -> bool:
        """True where nothing was written for long enough, here or before we came."""
        if not self.seen:
            return time.monotonic() - changed_at > max(quiet_s, _FIRST_PAIR_S)
        return time.monotonic() - changed_at > quiet_s or time.time() - self.state.newest_ns / 1e9 > quiet_s

    def _compare(self, dumps: tuple[Dump, Dump], pairs: list[Pair], ready: list[Pair], journal: JournalWriter) -> None:
        words = {one.key: self.seen[one.key][0] for one in ready}
        comparison = Comparison(dumps, pairs, self.rules, self.options, self.output, Silent())
        comparison.run_some(self.executor, {one.row for one in ready}, journal)
        self.compared.update(words)
        self.failed += comparison.failed
        if comparison.failed and not self.has_told_failure:
            self.has_told_failure = True
            self.progress.note(f"a pair fails: {comparison.worst[1] or 'not finite'}")

    def _tell(self, count: int) -> None:
        if time.monotonic() - self.told_at <= _TELL_EVERY_S:
            return
        if self.compared:
            done = f"{len(self.compared)} of {count} rows so far are compared, {self.failed} failed"
            self.progress.note(f"{done}; waiting for more (Ctrl-C: no longer)")
        elif self.waits_for and self.waits_for != self.told_wait:
            self.told_wait = self.waits_for
            self.progress.note(f"waiting (Ctrl-C: no longer): {self.waits_for}")
        else:
            return
        self.told_at = time.monotonic()


def _alone(pair: Pair) -> tuple[list[int], list[int]]:
    """Sizes and times of those files of a pair that are there."""
    sizes, times = [], []
    for side in (pair.golden, pair.target):
        if side is None:
            continue
        for file in side.files:
            try:
                found = os.stat(file)
            except (OSError, ValueError):
                continue
            sizes.append(found.st_size)
            times.append(found.st_mtime_ns)
    return sizes, times
