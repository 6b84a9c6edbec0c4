"""One side of a dump while it is written: ``{golden|acl}_tensor`` with its tensors, its journal and metadata.json.

The journal has every entry, by one appended write each, as soon as its file is complete. metadata.json and dtypes.json are made from
memory now and then, under a temporary name that is renamed, so that a reader sees a whole one at every instant.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from typing import Final, NamedTuple

from fastcmp.dump.directory import DumpDirectory, open_directory
from fastcmp.dump.npy_file import write_npy
from fastcmp.dump.values import Storable
from fastcmp.dump_layout import (
    DTYPES_NAME,
    JOURNAL_NAME,
    MAX_JOURNAL_LINE,
    METADATA_NAME,
    JournalEntry,
    JournalHeader,
    entry_line,
    header_line,
    safe_name,
    source_directory_name,
    tensor_file_name,
)

# Up to here metadata.json is made anew at each call, so that a short run which is killed shows all its entries there too.
EAGER_ENTRIES: Final = 16
# Then each time it has tripled: all its versions together take 2.5 times the last one at most, so a run of n calls writes O(n) bytes.
GROWTH: Final = 3
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Place(NamedTuple):
    """Of one tensor: its token's directory, its file below the side's directory, and its path as metadata.json has it."""

    token_name: str
    file: str
    written_path: str


class Side:
    """Writes one side. `write` and `remove` may run in several threads at once; the caller serialises all else.

    Parameters
    ----------
    directory : DumpDirectory
    data_src : str
    header : JournalHeader
    """

    def __init__(self, directory: DumpDirectory, data_src: str, header: JournalHeader) -> None:
        self._written_prefix = f"./{directory.name}/{source_directory_name(data_src)}"
        self._descriptor = open_directory(source_directory_name(data_src), directory.descriptor)
        try:
            identity = _identity(self._descriptor)
            self._journal, self._journal_size, journal_identity = _begin_journal(self._descriptor, header_line(header))
        except BaseException:
            os.close(self._descriptor)
            raise
        self._identities = {self._descriptor: identity, self._journal: journal_identity}
        self._metadata: dict[str, dict[str, str]] = {}
        self._dtypes: dict[str, dict[str, str]] = {}
        self._dtypes_written = self._dtypes_changed = False
        self._token_names: set[str] = set()
        self._temporary_numbers = itertools.count()
        self._entry_count = self._written_count = 0
        self.bookkeeping_bytes = self._journal_size
        self.compaction_count = 0

    @property
    def descriptors(self) -> tuple[int, int]:
        """The open descriptors, for a child process to close."""
        return self._descriptor, self._journal

    @property
    def has_news(self) -> bool:
        """True if the journal knows an entry that metadata.json does not."""
        return self._written_count != self._entry_count

    def place(self, data_id: str, token_id: str) -> Place:
        """Where a high-level tensor lies."""
        token_name, file_name = safe_name(token_id), tensor_file_name(data_id)
        return Place(token_name, f"{token_name}/{file_name}", f"{self._written_prefix}/{token_name}/{file_name}")

    def write(self, place: Place, value: Storable) -> str:
        """Write a tensor under a temporary name; that name.

        Raises
        ------
        OSError
        """
        self._check(self._descriptor)
        if place.token_name not in self._token_names:
            self._make_token_directory(place.token_name)
        temporary = f"{place.token_name}/.{next(self._temporary_numbers)}.tmp"
        try:
            write_npy(temporary.encode(), value.array, value.descr, self._descriptor)
        except FileNotFoundError:  # somebody tidied the directory of this token away
            self._make_token_directory(place.token_name)
            write_npy(temporary.encode(), value.array, value.descr, self._descriptor)
        return temporary

    def remove(self, temporary: str) -> None:
        """Take a tensor back that was written and not published."""
        with contextlib.suppress(OSError):
            os.unlink(temporary.encode(), dir_fd=self._descriptor)

    def publish(self, temporary: str, place: Place) -> None:
        """Give a written tensor its own name; an earlier tensor of that name is replaced."""
        os.rename(temporary.encode(), place.file.encode(), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def register(self, entry: JournalEntry) -> bool:
        """Append an entry to the journal; True if its key is new.

        Raises
        ------
        OSError
            The entry is not registered then, and the journal is as it was.
        """
        self._check(self._journal)
        self._append(entry_line(entry))
        tokens = self._metadata.setdefault(entry.data_id, {})
        is_new = entry.token_id not in tokens
        tokens[entry.token_id] = entry.path
        self._entry_count += 1
        if entry.stored:
            self._dtypes.setdefault(entry.data_id, {})[entry.token_id] = entry.dtype
            self._dtypes_changed = True
        elif not is_new and self._dtypes.get(entry.data_id, {}).pop(entry.token_id, None) is not None:
            self._dtypes_changed = True
        return is_new

    def compact_if_due(self) -> None:
        """Make metadata.json anew if enough was added since it was made last.

        Raises
        ------
        OSError
        """
        if self._entry_count <= EAGER_ENTRIES or self._entry_count >= GROWTH * self._written_count:
            self.compact()

    def compact(self) -> None:
        """Make metadata.json, and dtypes.json if it is needed, from all entries.

        Raises
        ------
        OSError
            metadata.json is as it was then.
        """
        self._check(self._descriptor)
        # Counted before it is tried: on a full disk the next try is due after as many calls, not at each.
        self._written_count = self._entry_count
        try:
            if self._dtypes_changed:
                self._replace(DTYPES_NAME, {data_id: tokens for data_id, tokens in self._dtypes.items() if tokens})
                self._dtypes_changed = False
            self._replace(METADATA_NAME, self._metadata)
        except BaseException:
            self._written_count -= 1
            raise
        self.compaction_count += 1

    def _append(self, line: bytes) -> None:
        if len(line) > MAX_JOURNAL_LINE:
            raise OSError(errno.EMSGSIZE, f"the journal entry would take {len(line)} bytes, expected at most {MAX_JOURNAL_LINE}")
        done = 0
        try:
            done = os.write(self._journal, line)
            if done != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), JOURNAL_NAME)
        except BaseException:
            if done:
                os.ftruncate(self._journal, self._journal_size)
            raise
        self._journal_size += done
        self.bookkeeping_bytes += done

    def _replace(self, name: str, entries: dict[str, dict[str, str]]) -> None:
        temporary = f".{next(self._temporary_numbers)}.tmp"
        file = os.open(temporary, _CREATE, 0o644, dir_fd=self._descriptor)
        try:
            with os.fdopen(file, "wb", buffering=1 << 20) as out:
                for index, (data_id, tokens) in enumerate(entries.items()):
                    head = ",\n" if index else "{"
                    out.write(f"{head}{json.dumps(data_id)}: {json.dumps(tokens)}".encode("ascii"))
                out.write(b"}\n" if entries else b"{}\n")
                size = out.tell()
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            self.remove(temporary)
            raise
        self.bookkeeping_bytes += size

    def _make_token_directory(self, token_name: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(token_name.encode(), 0o755, dir_fd=self._descriptor)
        self._token_names.add(token_name)

    def _check(self, descriptor: int) -> None:
        """Refuse to write through a descriptor that the program closed, and perhaps opened anew for a file of its own."""
        if _identity(descriptor) != self._identities[descriptor]:
            raise OSError(errno.EBADF, "found another file behind the dump's descriptor; the program closed it")


def _begin_journal(directory: int, header: bytes) -> tuple[int, int, tuple[int, int]]:
    """A new journal with its header: descriptor, size and identity. Nothing stays where it fails, so that it can be tried again."""
    journal = os.open(JOURNAL_NAME, _CREATE | os.O_APPEND, 0o644, dir_fd=directory)
    try:
        size = os.write(journal, header)
        if size != len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), JOURNAL_NAME)
        return journal, size, _identity(journal)
    except BaseException:
        os.close(journal)
        with contextlib.suppress(OSError):
            os.unlink(JOURNAL_NAME, dir_fd=directory)
        raise


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
