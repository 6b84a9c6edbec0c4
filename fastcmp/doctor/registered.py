"""What processes have registered, as their own lists have it, and which of it is on disk.

Whoever can write to the directory can put anything there: everything is bounded before it is read.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from fastcmp.doctor.files import is_trusted, open_regular
from fastcmp.dump_layout import (
    ALLOW_LIST_DIRECTORY,
    ALLOW_LIST_NAME,
    ANY_TOKEN,
    JOURNAL_NAME,
    LOCK_NAME,
    METADATA_NAME,
    ROLE_OF_SOURCE,
    is_dump_directory_name,
    low_level_run_directory,
    source_directory_name,
    split_low_level_path,
)

_MOST_LISTS: Final = 256
_MOST_READ: Final = 4 * 1024 * 1024
_MOST_JOURNAL: Final = 1024 * 1024
_MOST_MATCHES: Final = 10_000
_MOST_PROCESSES: Final = 64
_MOST_COPIES: Final = 1000
# A file system may tell the time in whole seconds, and its clock may lag behind.
_CLOCK_S: Final = 2.0
_COPY = re.compile("_[0-9]+")
_SPELLING = re.compile(r"(?<=/)(in|out)T(?=ensor[^/]*\Z)")


@dataclass(frozen=True)
class RegisteredList:
    """The list of one process, not read yet.

    ``directory`` is its `{pid}_cmp_dump_data`; ``started`` and ``written`` are when that was made and last written to (seconds since 1970).
    """

    directory: str
    pid: int
    started: float
    written: float

    @property
    def path(self) -> str:
        return f"{self.directory}/{ALLOW_LIST_DIRECTORY}/{ALLOW_LIST_NAME}"


@dataclass(frozen=True)
class RegisteredLists:
    """The lists of some directories, the newest first, and the number of those of other users, which are not believed."""

    found: list[RegisteredList]
    foreign_count: int


def find_lists(directories: Sequence[str]) -> RegisteredLists:
    """The lists with anything in them of the dumps that lie directly in some directories; of very many the newest."""
    found: list[RegisteredList] = []
    foreign_count = 0
    for directory in directories:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if is_dump_directory_name(entry.name):
                    with contextlib.suppress(OSError, ValueError):
                        status = os.lstat(f"{entry.path}/{ALLOW_LIST_DIRECTORY}/{ALLOW_LIST_NAME}")
                        if not stat.S_ISREG(status.st_mode) or not status.st_size:
                            continue
                        if is_trusted(status):
                            found.append(_list_of(entry.path, status))
                        else:
                            foreign_count += 1
    return RegisteredLists(sorted(found, key=lambda one: (-one.written, one.directory))[:_MOST_LISTS], foreign_count)


def _list_of(directory: str, status: os.stat_result) -> RegisteredList:
    started = written = status.st_mtime
    with contextlib.suppress(OSError):  # made before anything else, and never written to
        started = min(started, os.lstat(f"{directory}/{LOCK_NAME}").st_mtime)
    for data_src in ROLE_OF_SOURCE:
        for name in (JOURNAL_NAME, METADATA_NAME):  # the second is written anew at the end of the process
            with contextlib.suppress(OSError):
                written = max(written, os.lstat(f"{directory}/{source_directory_name(data_src)}/{name}").st_mtime)
    pid = int(os.path.basename(directory).partition("_")[0].partition("-")[0])
    return RegisteredList(directory, pid, started, written)


def read_lines(one: RegisteredList) -> list[str]:
    """The registered paths, ``{token}/{tensor_path}``, each once; of a very long list the first."""
    try:
        with open_regular(one.path, follow_links=False) as file:
            data = file.read(_MOST_READ)
    except OSError:
        return []
    complete = data[: data.rfind(b"\n") + 1]
    lines = (os.fsdecode(line) for line in complete.split(b"\n") if line and b"\0" not in line)
    return list({spelled_alike(line): line for line in lines}.values())


def spelled_alike(path: str) -> str:
    """``outTensor0.bin`` and ``outtensor0.bin`` are one tensor."""
    return _SPELLING.sub(r"\1t", path)


def without_file(one: RegisteredList, lines: Sequence[str], environment: Mapping[str, str], children: Sequence[int] = ()) -> list[str]:
    """Those of the registered paths that no file of this run answers.

    Parameters
    ----------
    one : RegisteredList
    lines : sequence of str
        As `read_lines` gives them.
    environment : mapping
        Its ACLTRANSFORMER_HOME_PATH is one of the places where the tensors may be.
    children : sequence of int
        Processes without a list of their own. A forked one follows its parent's, and has a run directory of its own.
    """
    places = [place for place in _run_directories(one, environment, children) if os.path.isdir(place)]
    return [line for line in lines if not any(_is_there(place, line, one.started - _CLOCK_S) for place in places)]


def _run_directories(one: RegisteredList, environment: Mapping[str, str], children: Sequence[int]) -> list[str]:
    base = os.path.dirname(one.directory)
    homes = [base, *filter(None, [environment.get("ACLTRANSFORMER_HOME_PATH")]), *_homes_of_journals(one, base)]
    forked = children[:_MOST_PROCESSES]
    return list(dict.fromkeys(os.path.realpath(place) for home in homes for place in _run_directories_in(home, one.pid, forked)))


def _run_directories_in(home: str, pid: int, forked: Sequence[int]) -> Iterator[str]:
    own = _with_copies(home, pid)
    yield from own
    for child in forked:
        yield from _with_copies(home, child)
        yield from (f"{copy}_{child}" for copy in own[1:])  # of a run directory that does not end in its parent's pid


def _with_copies(home: str, pid: int) -> list[str]:
    """The plain run directory, and the copies that are there: `dump_data` makes one where an earlier process had the plain name."""
    plain = low_level_run_directory(home, pid)
    copies = islice(glob.iglob(f"{glob.escape(plain)}_[0-9]*"), _MOST_COPIES)
    return [plain, *(place for place in copies if _COPY.fullmatch(place, len(plain)))]


def _homes_of_journals(one: RegisteredList, base: str) -> Iterator[str]:
    """The directory that holds ``tensors``, as the first low-level entry of each side has it."""
    for data_src in ROLE_OF_SOURCE:
        with contextlib.suppress(OSError):
            path = f"{one.directory}/{source_directory_name(data_src)}/{JOURNAL_NAME}"
            with open_regular(path, follow_links=False) as file:
                data = file.read(_MOST_JOURNAL)
            for line in data.split(b"\n"):
                parts = split_low_level_path(_written_path(line))
                if parts is not None:
                    yield os.path.join(base, os.path.dirname(parts.tensors_directory) or os.curdir)
                    break


def _written_path(line: bytes) -> str:
    try:
        path = json.loads(line)["path"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return path if isinstance(path, str) and "\0" not in path else ""


def _is_there(place: str, line: str, since: float) -> bool:
    if "*" not in line:
        return _is_file(f"{place}/{line}", since)
    parts = line.split("/")
    shape = "/".join(glob.escape(part).replace("[*]", "*") for part in parts)
    for path in islice(glob.iglob(f"{glob.escape(place)}/{shape}"), _MOST_MATCHES):
        names = path[len(place) + 1 :].split("/")
        is_match = all(stands_for(part, name, depth == 0) for depth, (part, name) in enumerate(zip(parts, names, strict=True)))
        if is_match and _is_file(path, since):
            return True
    return False


def _is_file(path: str, since: float) -> bool:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return False
    # A process may have the pid, and so the run directory, of an earlier one.
    return stat.S_ISREG(status.st_mode) and status.st_mtime >= since


def stands_for(pattern: str, name: str, is_token: bool = False) -> bool:
    """True where one part of a registered path means a name: a ``*`` stands for a number, as the token for anything."""
    if pattern == name or (is_token and pattern == ANY_TOKEN):
        return True
    wanted, found = re.findall(r"[0-9]+|\*|[^0-9*]+", pattern), re.findall(r"[0-9]+|[^0-9]+", name)
    return len(wanted) == len(found) and all(
        one == other or (one == "*" and other[0] in "0123456789") for one, other in zip(wanted, found, strict=True)
    )
