"""The files in which processes say what was saved in them: `.fastcmp_probe.{pid}`.

Whoever can write to the directory can put anything there: bounded before it is read, every type checked.
What other users wrote is not read.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from dataclasses import dataclass
from typing import Any, Final

from fastcmp.doctor.files import NotRegularError, is_trusted, open_regular
from fastcmp.doctor.proc import process_start
from fastcmp.dump_layout import is_dump_directory_name

_NAME = re.compile(r"\.fastcmp_probe\.[0-9]{1,10}")
_LARGEST: Final = 1024 * 1024
_MOST_READ: Final = 256
_MOST_NUMBER: Final = 2**64 - 1
_MOST_ASKED: Final = 256
# How far the clocks of two machines with one file system may be apart.
_AHEAD_S: Final = 60.0


class BadHeartbeat(ValueError):
    """The file is no heartbeat; the message says why, without the path."""


class ForeignHeartbeat(BadHeartbeat):
    """The file is neither of this user nor of root: what it says may be made up."""


@dataclass(frozen=True)
class LoadedLibrary:
    """A loaded object and where its references to our hooks lead: to us, to itself, or not decided yet."""

    path: str
    defines: int
    bound_here: int
    bound_to_itself: int
    unbound: int


@dataclass(frozen=True)
class Heartbeat:
    """What one process said last.

    Attributes
    ----------
    started, written : float
        Seconds since 1970; whole ones from early versions. ``started`` is when the preload library was loaded.
    asked : tuple of str
        Examples of what the acceleration library has and nobody registered, ``{token}/...``: tensors, or directories of them.
    """

    path: str
    pid: int
    program: str
    started: float
    written: float
    has_ended: bool
    calls: dict[str, int]
    select: str
    selected_by: str
    registered_lines: int
    registered_saved: int
    counters: dict[str, int]
    queued: int
    last_refusal: str
    asked: tuple[str, ...]
    libraries: tuple[LoadedLibrary, ...]

    @property
    def call_count(self) -> int:
        """How often the acceleration library has called us."""
        return sum(self.calls.values())

    @property
    def saved(self) -> int:
        """Tensors written, with their data or as a description."""
        return self.count("saved") + self.count("description_only")

    def count(self, name: str) -> int:
        """A counter; 0 where this version of the library has none of that name."""
        return self.counters.get(name, 0)


def read_heartbeat(path: str) -> Heartbeat:
    """Read one heartbeat; `BadHeartbeat` for anything else, `ForeignHeartbeat` for one of another user."""
    try:
        with open_regular(path, follow_links=False) as file:
            if not is_trusted(os.fstat(file.fileno())):
                raise ForeignHeartbeat("found a file of another user")
            data = file.read(_LARGEST + 1)
    except NotRegularError as error:
        raise BadHeartbeat("found no regular file") from error
    except OSError as error:
        raise BadHeartbeat(f"it cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise BadHeartbeat(f"found more than {_LARGEST} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadHeartbeat("found no JSON") from error
    return _heartbeat_of(path, _Fields(fields, "it"))


def _heartbeat_of(path: str, fields: _Fields) -> Heartbeat:
    if fields.number("fastcmp_preload") != 1:
        raise BadHeartbeat("fastcmp_preload: expected 1")
    return Heartbeat(
        path=path,
        pid=fields.number("pid"),
        program=fields.text("program"),
        started=fields.seconds("started"),
        written=fields.seconds("written"),
        has_ended=fields.flag("ended"),
        calls=fields.numbers("calls"),
        select=fields.text("select"),
        selected_by=fields.text("selected_by"),
        registered_lines=fields.number("registered_lines"),
        registered_saved=fields.number("registered_saved"),
        counters=fields.numbers("counters"),
        queued=fields.number("queued"),
        last_refusal=fields.text("last_refusal"),
        asked=fields.texts("asked"),
        libraries=tuple(
            LoadedLibrary(
                one.text("path"), one.number("defines"), one.number("bound_here"), one.number("bound_to_itself"), one.number("unbound")
            )
            for one in fields.objects("libraries")
        ),
    )


class _Fields:
    """A JSON object whose values are asked for by type. A field that is absent is empty: another version may have fewer."""

    def __init__(self, fields: object, where: str) -> None:
        if not isinstance(fields, dict):
            raise BadHeartbeat(f"{where}: expected an object")
        self._fields: dict[str, Any] = fields

    def number(self, name: str) -> int:
        return _number(name, self._fields.get(name, 0))

    def seconds(self, name: str) -> float:
        value = self._fields.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value <= _MOST_NUMBER or not math.isfinite(value):
            raise BadHeartbeat(f"{name}: expected seconds")
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise BadHeartbeat(f"{name}: expected a list of texts")
        return tuple(value[:_MOST_ASKED])

    def text(self, name: str) -> str:
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise BadHeartbeat(f"{name}: expected text")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise BadHeartbeat(f"{name}: expected true or false")
        return value

    def numbers(self, name: str) -> dict[str, int]:
        value = self._fields.get(name, {})
        if not isinstance(value, dict):
            raise BadHeartbeat(f"{name}: expected an object")
        return {key: _number(f"{name}.{key}", number) for key, number in value.items()}

    def objects(self, name: str) -> list[_Fields]:
        value = self._fields.get(name, [])
        if not isinstance(value, list):
            raise BadHeartbeat(f"{name}: expected a list")
        return [_Fields(one, name) for one in value]


def _number(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_NUMBER:
        raise BadHeartbeat(f"{name}: expected a count")
    return value


@dataclass(frozen=True)
class Heartbeats:
    """The heartbeats of some directories.

    Attributes
    ----------
    read : tuple of Heartbeat
    unread : dict of str to str
        Why others could not be read, or cannot be true, by path.
    older_count : int
        How many there are beyond the newest.
    foreign_count : int
        How many are of other users, and are not believed.
    """

    read: tuple[Heartbeat, ...]
    unread: dict[str, str]
    older_count: int
    foreign_count: int


def find_heartbeats(directories: list[str]) -> Heartbeats:
    """Read the heartbeats in some directories; of very many, the newest few hundred."""
    paths: dict[str, float] = {}
    foreign_count = 0
    for directory in directories:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if is_trusted(status):
                            paths[entry.path] = status.st_mtime
                        else:  # not even counted among the newest: whoever made them might make very many
                            foreign_count += 1
    newest = sorted(paths, key=lambda path: (-paths[path], path))
    read: list[Heartbeat] = []
    unread: dict[str, str] = {}
    for path in newest[:_MOST_READ]:
        try:
            one = read_heartbeat(path)
            _expect_past(one)
            if not _is_own(one):
                read.append(one)
        except ForeignHeartbeat:
            foreign_count += 1
        except BadHeartbeat as error:
            unread[path] = str(error)
    return Heartbeats(tuple(read), unread, max(0, len(newest) - _MOST_READ), foreign_count)


def _expect_past(one: Heartbeat) -> None:
    """Whatever lies in the future would be the last run for ever."""
    for name, value in (("started", one.started), ("written", one.written)):
        ahead = value - time.time()
        if ahead > _AHEAD_S:
            raise BadHeartbeat(f"{name}: found a time {ahead:.0f} s in the future")


def _is_own(one: Heartbeat) -> bool:
    """`fastcmp run -- fastcmp doctor` is no run to judge; an earlier process with our pid is."""
    if one.pid != os.getpid():
        return False
    start = process_start(one.pid)
    return start is None or one.written >= start - 1


def heartbeat_directories(directory: str | None, environment: dict[str, str]) -> list[str]:
    """Where to look: in ``directory``, or wherever a process with this environment would have written.

    Of a `{pid}_cmp_dump_data`, or of a side's directory in it, also where it lies: the heartbeat is beside it.
    """
    if directory is not None:
        dump = dump_directory_of(directory)
        named = [directory, os.path.dirname(dump)] if dump else [directory]
    else:
        named = [environment.get(name, "") for name in ("FASTCMP_DUMP_DIR", "ACLTRANSFORMER_HOME_PATH", "ATB_OUTPUT_DIR")] + ["."]
    return list(dict.fromkeys(os.path.realpath(one) for one in named if one and os.path.isdir(one)))


def dump_directory_of(directory: str) -> str:
    """The `{pid}_cmp_dump_data` that a directory is, or is directly in; "" where it is neither."""
    place = os.path.realpath(directory)
    return next((one for one in (place, os.path.dirname(place)) if is_dump_directory_name(os.path.basename(one))), "")
