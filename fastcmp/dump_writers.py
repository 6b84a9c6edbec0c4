"""Which processes still write a dump: each holds the lock of its own directory while it lives.

A number in a directory's name says nothing here: it may be that of another container or machine. A lock cannot be mistaken, but where a
file system knows no locks, or the writer is on another machine, it is never seen held; such a writer stays unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from fastcmp.dump_layout import LOCK_NAME, is_dump_directory_name, is_lock_held
from fastcmp.formats.places import split_place
from fastcmp.sources import Dump, Role
from fastcmp.sources.tree import SOURCE_DIRECTORIES, walk


def dump_directories(path: str, role: Role, dump: Dump | None) -> frozenset[str]:
    """The directories of all dumping processes that an argument lies in or consists of, as far as there are any yet.

    Parameters
    ----------
    path : str
        The argument; it may not exist.
    role : {"golden", "target"}
    dump : Dump or None
        None where it cannot be loaded yet.
    """
    places = {path, os.path.realpath(path)}
    if dump is None or dump.kind == "metadata":
        # A process whose tensors the acceleration library saves, or that has none yet, shows only by its metadata.
        places.update(_metadata_directories(path, role))
    if dump is not None:
        places.update({split_place(tensor.place)[0] for tensor in dump.tensors})
    return frozenset(_around(map(os.path.abspath, places)))


def _metadata_directories(path: str, role: Role) -> list[str]:
    try:
        tree = walk(path)
    except (OSError, ValueError):  # a file, or nothing yet
        return []
    directories = [os.path.realpath(os.path.dirname(os.path.join(path, one))) for one in tree.metadata_paths]
    own = [one for one in directories if SOURCE_DIRECTORIES.get(os.path.basename(one), role) == role]
    return own or directories


def _around(paths: Iterable[str]) -> set[str]:
    """Those of the paths, and of the directories above them, that are the directory of a dumping process."""
    seen: set[str] = set()
    found = set()
    for path in paths:
        while path not in seen:
            seen.add(path)
            path, name = os.path.split(path)
            if is_dump_directory_name(name):
                found.add(os.path.join(path, name))
    return found


def is_held(directory: str) -> bool:
    """True where a live process dumps into this directory. False too where nobody can say."""
    try:
        lock = os.open(os.path.join(directory, LOCK_NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        # The writer has had it since before the directory got its name; at worst another process of this number, which begins right now,
        # takes the next name.
        return is_lock_held(lock)
    finally:
        os.close(lock)


@dataclass
class Writers:
    """The writers of both dumps, as far as they were seen at work."""

    sides: list[frozenset[str]] = field(default_factory=lambda: [frozenset(), frozenset()])
    known: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def ask(self) -> None:
        """See who has ended. Before the dumps are looked at: what such a writer wrote is there then."""
        self.ended = {directory for directory in self.known if not is_held(directory)}

    def note(self, side: int, directories: frozenset[str]) -> None:
        """The directories that a side has now; a writer that is at work is known from here on."""
        self.sides[side] = directories
        self.known.update(one for one in directories - self.known if is_held(one))

    @property
    def any_runs(self) -> bool:
        """True while a writer was at work when asked last."""
        return self.known != self.ended

    @property
    def all_ended(self) -> bool:
        """True where every directory of both sides is that of a writer that was seen at work and has ended."""
        return all(side and side <= self.ended for side in self.sides)
