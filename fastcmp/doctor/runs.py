"""Which processes belong to the run that is judged: heartbeats and lists of registered paths, put together by pid and by time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fastcmp.doctor.heartbeat import Heartbeat, dump_directory_of, find_heartbeats
from fastcmp.doctor.proc import is_running
from fastcmp.doctor.registered import RegisteredList, find_lists, read_lines, without_file

State = Literal["ended", "running", "gone"]

# The times of files and those in heartbeats are of two clocks, one of which may tell whole seconds.
_CLOCK_S: Final = 2.0


@dataclass(frozen=True)
class Process:
    """What one process left behind: a heartbeat, a list of registered paths, or both.

    Attributes
    ----------
    pid : int
    heartbeat : Heartbeat or None
    registered : RegisteredList or None
    started, ended : float
        Seconds since 1970; ``ended`` is when it was last heard of.
    state : {"ended", "running", "gone"}
        "gone": it ended without a last word, so that what it counted is no more than a lower bound.
    lines : list of str
        What its list has; of a very long one the first lines.
    missing : list of str
        Those of them without a file.
    """

    pid: int
    heartbeat: Heartbeat | None
    registered: RegisteredList | None
    started: float
    ended: float
    state: State
    lines: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def line_count(self) -> int:
        """Registered paths, by whoever knows of more."""
        return max(self.heartbeat.registered_lines if self.heartbeat else 0, len(self.lines))

    @property
    def saved_line_count(self) -> int:
        """Registered paths whose tensor was saved, by whoever knows of more."""
        return max(self.heartbeat.registered_saved if self.heartbeat else 0, len(self.lines) - len(self.missing))

    @property
    def saved_count(self) -> int:
        """Tensors that were saved, registered or not."""
        return max(self.heartbeat.saved if self.heartbeat else 0, self.saved_line_count)


@dataclass(frozen=True)
class Run:
    """The processes of one run, and what else there is.

    Attributes
    ----------
    processes : tuple of Process
        In the order of their starts.
    other_count : int
        Processes of other runs.
    unread : dict of str to str
        Heartbeats that cannot be read or cannot be true, by path, each with the reason.
    foreign_count : int
        Heartbeats and lists of registered paths that are neither of this user nor of root: not believed.
    """

    processes: tuple[Process, ...]
    other_count: int
    unread: dict[str, str]
    foreign_count: int


def find_run(directories: list[str], environment: Mapping[str, str], directory: str | None = None) -> Run:
    """The last run of some directories; if ``directory`` is the dump of one process, the run of that.

    Processes of one run overlap in time, each one at least with one other.
    """
    found, lists = find_heartbeats(directories), find_lists(directories)
    processes = sorted(_put_together(found.read, lists.found), key=lambda one: one.started)
    runs: list[list[Process]] = []
    end = 0.0
    for one in processes:
        if not runs or one.started > end:
            runs.append([])
        runs[-1].append(one)
        end = max(end, one.ended)
    dump = dump_directory_of(directory) if directory is not None else ""
    of_dump = [run for run in runs if dump and any(_is_of(one, dump) for one in run)]
    judged = (of_dump or runs or [[]])[-1]
    children = [one.pid for one in judged if one.registered is None]
    whole = tuple(_with_lines(one, environment, children) for one in judged)
    return Run(whole, len(processes) - len(whole) + found.older_count, found.unread, found.foreign_count + lists.foreign_count)


def _is_of(one: Process, dump: str) -> bool:
    if one.registered is not None:
        return one.registered.directory == dump
    return os.path.basename(dump) == f"{one.pid}_cmp_dump_data"


def _put_together(heartbeats: tuple[Heartbeat, ...], lists: list[RegisteredList]) -> list[Process]:
    by_pid: dict[int, list[Heartbeat]] = {}
    for heartbeat in heartbeats:
        by_pid.setdefault(heartbeat.pid, []).append(heartbeat)
    of_heartbeat: dict[str, RegisteredList] = {}
    processes = []
    for registered in lists:
        own = [one for one in by_pid.get(registered.pid, ()) if _is_same_process(one, registered)]
        if not own:
            state: State = "running" if is_running(registered.pid, registered.started) else "ended"
            ended = time.time() if state == "running" else registered.written
            processes.append(Process(registered.pid, None, registered, registered.started, ended, state))
        for one in own:
            of_heartbeat.setdefault(one.path, registered)
    return [*processes, *(_process_of(one, of_heartbeat.get(one.path)) for one in heartbeats)]


def _is_same_process(heartbeat: Heartbeat, registered: RegisteredList) -> bool:
    """A pid is given again, in a container soon. A heartbeat that was copied has later times than it says."""
    try:
        written = max(heartbeat.written, os.lstat(heartbeat.path).st_mtime)
    except OSError:
        written = heartbeat.written
    return registered.started <= written + _CLOCK_S and registered.written >= heartbeat.started - _CLOCK_S


def _process_of(heartbeat: Heartbeat, registered: RegisteredList | None) -> Process:
    state: State = "ended" if heartbeat.has_ended else "running" if is_running(heartbeat.pid, heartbeat.written) else "gone"
    started, ended = heartbeat.started, heartbeat.written
    if state == "running":
        ended = max(ended, time.time())
    if registered is not None:
        started, ended = min(started, registered.started), max(ended, registered.written)
    return Process(heartbeat.pid, heartbeat, registered, started, ended, state)


def _with_lines(one: Process, environment: Mapping[str, str], children: list[int]) -> Process:
    if one.registered is None:
        return one
    lines = read_lines(one.registered)
    missing = without_file(one.registered, lines, environment, children)
    return Process(one.pid, one.heartbeat, one.registered, one.started, one.ended, one.state, tuple(lines), tuple(missing))
