"""Low-level tensors: the list of what the acceleration library is to save, and the preload library that is told of it."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from fastcmp.dump.allow_list import AllowList
from fastcmp.dump.directory import DumpDirectory
from fastcmp.dump.not_saved import NotSaved, shown
from fastcmp.dump.preload import PreloadLibrary, claim_run_directory
from fastcmp.dump_layout import allow_list_line, low_level_run_directory, written_low_level_path


class HandOver(NamedTuple):
    """How the preload library took a list: ``status`` is what `follow` returned, None where the library is not in this process.

    ``run_directory`` is absolute: the one that the library was told, or the one where the acceleration library writes by itself.
    """

    status: int | None
    allow_list: str
    run_directory: str

    def warning(self) -> str:
        """What to say where the library is not there."""
        missing = "the preload library is not in this process: start it by `fastcmp run -- ...`"
        until = "until then only what the acceleration library dumps by its own variables will be there"
        return f"{missing}; {until}, in {self.run_directory}{_unset()}"

    def refusal(self) -> str:
        """Why the library that is there will not save what the list names, or ""."""
        if not self.status:
            return ""
        refusal = f"{self.allow_list}: the preload library does not follow it: {os.strerror(self.status)}; low-level tensors are not saved"
        unset = _unset()
        return f"{refusal}; any others are expected in {self.run_directory}{unset}" if unset else refusal


def _unset() -> str:
    return "" if os.environ.get("ACLTRANSFORMER_HOME_PATH") else ", as ACLTRANSFORMER_HOME_PATH is not set"


class LowLevel:
    """The list of one process. The session holds its lock around `open` and `append`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._base = ""
        self._list: AllowList | None = None
        self._run_directory = ""  # as metadata.json has it, once the preload library writes there

    @property
    def is_open(self) -> bool:
        return self._list is not None

    @property
    def descriptors(self) -> list[int]:
        return [self._list.descriptor] if self._list is not None else []

    def open(self, directory: DumpDirectory) -> HandOver:
        """Make the list, and let the preload library, if there is one, save what it names where metadata.json says."""
        self._base = directory.base
        allow_list = AllowList(directory)
        home = _low_level_home(self._base)
        status = None
        try:
            library = PreloadLibrary()
        except LookupError:
            written = low_level_run_directory(home, self._pid)
        else:
            written = claim_run_directory(self._base, home, self._pid)
            status = library.follow(allow_list.path, self._absolute(written))
            if status == 0:
                # From now on the files go there, whatever becomes of ACLTRANSFORMER_HOME_PATH.
                self._run_directory = written
            else:
                self._remove_if_empty(written)
        self._list = allow_list
        return HandOver(status, allow_list.path, self._absolute(written))

    def append(self, token_id: str, path: str) -> tuple[int, str]:
        """Register a tensor: how many bytes the list has grown by, and the path of the tensor as metadata.json has it."""
        assert self._list is not None
        run_directory = self._run_directory or low_level_run_directory(_low_level_home(self._base), self._pid)
        return self._list.append(allow_list_line(token_id, path)), written_low_level_path(run_directory, token_id, path)

    def finish(self) -> None:
        """For the end of the process: an empty run directory is removed. The library makes it again if it still has something to write."""
        if self._run_directory:
            self._remove_if_empty(self._run_directory)

    def _absolute(self, run_directory: str) -> str:
        return os.path.normpath(os.path.join(self._base, run_directory))

    def _remove_if_empty(self, run_directory: str) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self._absolute(run_directory))


def checked_tensor_path(tensor_path: Any, where: str) -> str:
    """The path as the list has it; raises `NotSaved` where it cannot be one.

    An absolute path, and one that leads out of the token's directory, is none.
    """

    def refuse(expected: str) -> NoReturn:
        text = f"{where}: tensor_path: found {shown(tensor_path)}, expected {expected}"
        raise NotSaved("bad_tensor_path", f"tensor_path {expected}", text)

    if not isinstance(tensor_path, (str, os.PathLike)):
        refuse("text")
    path = os.fsdecode(tensor_path)
    parts = [part for part in path.split("/") if part not in ("", os.curdir)]
    if path.startswith("/") or os.pardir in parts:
        refuse("a path below the token's directory")
    if not parts:
        refuse("a path that is not empty")
    if any(char < " " or char == "\x7f" for char in path):
        refuse("no control characters")
    return "/".join(parts)


def _low_level_home(base: str) -> str:
    """The directory that holds the ``tensors`` of the acceleration library, as metadata.json has it; ``.`` where nobody says.

    In the dump directory, or below it, it is relative to that: the dump may be moved or copied as a whole.
    """
    home = os.environ.get("ACLTRANSFORMER_HOME_PATH", "")
    return _written_home(os.path.abspath(home), base) if home else os.curdir


@lru_cache(maxsize=16)
def _written_home(home: str, base: str) -> str:
    for place, root in ((home, base), (os.path.realpath(home), os.path.realpath(base))):
        if place == root:
            return os.curdir
        if root != "/" and place.startswith(f"{root}/"):  # nobody moves a dump in / as a whole
            return f"./{place[len(root) + 1 :]}"
    return home
