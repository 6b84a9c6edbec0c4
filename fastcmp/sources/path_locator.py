"""Where the files lie that a metadata.json names: also after the dump was moved, and in the directories of other library builds."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final, TypeVar

from fastcmp.dump_layout import LowLevelPath, is_run_directory_name, low_level_candidates, path_candidates, split_low_level_path
from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.wording import listing

# A tensor that is nowhere costs one stat per run directory. More of them than this are no accident of thread ids.
MAX_RUN_DIRECTORIES: Final = 64

# Names that are no directory below the one before them.
_NOT_BELOW: Final = frozenset({"", ".", ".."})

Located = tuple[str, tuple[str, ...]]
Place = tuple[str, int, tuple[str, ...]]
Found = TypeVar("Found")


class PathLocator:
    """Finds the files of one metadata.json.

    The directory part of a path is resolved once: where just one of its candidates exists, its files are there, and no further
    system call is made (a file that is missing is reported when it is opened). Low-level paths cost one stat each where several run
    directories hold their token.

    Parameters
    ----------
    metadata_directory, working_directory : str
        Absolute.
    is_one_sided : bool
        As `path_candidates` has it.
    """

    def __init__(self, metadata_directory: str, working_directory: str, *, is_one_sided: bool = False) -> None:
        self._is_one_sided = is_one_sided
        self._metadata_directory = metadata_directory
        self._working_directory = working_directory
        self._directories: dict[str, list[str]] = {}
        self._only_places: dict[str, str] = {}
        self._bases: dict[str, list[str]] = {}
        self._only_runs: dict[tuple[str, str, str], str] = {}
        self._shared: dict[str, str] = {}
        self._run_directories: dict[tuple[str, str], list[str]] = {}

    def locate(self, written: str) -> Located:
        """The path to open for a path as written, and notes for the report.

        Nothing is opened. If the file is nowhere, this is where it was looked for first.
        """
        place, tail_start, notes = self.place(written)
        return place + written[tail_start:], notes

    def place(self, written: str) -> Place:
        """`locate` in two parts: the directory, one object for all that it holds, and where in ``written`` the rest of the path begins."""
        if "tensors/" in written:
            parts = split_low_level_path(written)
            if parts is not None:
                place, notes = self._low_level_place(parts)
                return place, len(written) - len(parts.tail), notes
        slash = written.rfind("/") + 1
        prefix, tail = written[:slash], written[slash:]
        directories = self._directories.get(prefix)
        if directories is None:
            found = self._by_directory_above(prefix) or self._search(prefix)[1]
            directories = self._directories[prefix] = [f"{directory}/" for directory in found]
        if len(directories) > 1:
            for directory in directories:
                if _exists(f"{directory}{tail}"):
                    return directory, slash, ()
        return directories[0], slash, ()

    def _by_directory_above(self, prefix: str) -> list[str] | None:
        """The candidates of a directory, without a system call; None where they must be searched.

        Where the directory above can only be at the first of its candidates, there is one candidate for all that it holds. A dump
        of a hundred thousand directories so costs a search for each of the few hundred above them.
        """
        above, _, name = prefix[:-1].rpartition("/")
        if not above or name in _NOT_BELOW or not _is_ordinary(prefix):
            return None
        only = self._only_places.get(above)
        if only is None:
            candidates, existing = self._search(f"{above}/")
            only = self._only_places[above] = existing[0] if existing == candidates[:1] else ""
        return [f"{only}/{name}"] if only else None

    def _search(self, prefix: str) -> tuple[list[str], list[str]]:
        """The candidates of a directory; and those that exist, or the first where none does. ``prefix`` is "" or ends in a slash."""
        paths = path_candidates(f"{prefix}_", self._metadata_directory, self._working_directory, is_one_sided=self._is_one_sided)
        return _existing(paths)

    def _low_level_place(self, parts: LowLevelPath) -> Located:
        """Where the acceleration library wrote a tensor: what stands before ``parts.tail``."""
        token = parts.tail.partition("/")[0]
        place = parts.tensors_directory, parts.run_directory, token
        only = self._only_runs.get(place)
        if only is None:
            only = self._only_runs[place] = self._only_run(parts, token)
        if only:
            return only, ()
        run, _, notes = self.search_runs(parts, token, lambda run: _exists(f"{run}/{parts.tail}"))
        return self._shared.setdefault(f"{run}/", f"{run}/"), notes

    def _only_run(self, parts: LowLevelPath, token: str) -> str:
        """The run directory that files of a token are in if they are anywhere, with a slash; "" where there are others to look at."""
        bases = self._bases_of(parts)
        is_only = len(bases) == 1 and all(run == parts.run_directory for run in self._runs_with(bases[0], token))
        return f"{bases[0]}/{parts.run_directory}/" if is_only else ""

    def search_runs(self, parts: LowLevelPath, token: str, look: Callable[[str], Found]) -> tuple[str, Found | None, tuple[str, ...]]:
        """The run directory in which ``look`` finds something: as written, or else the one other that holds it.

        Run directories that carry the dumper's pid (``{pid}_{tid}``, ``{device}_{pid}``) come before all others (``thread_{thread id}``).
        Where several hold it none is chosen: they may be other ranks or earlier runs, and a number made from the wrong one
        would look right.

        Parameters
        ----------
        parts : LowLevelPath
            ``tail`` plays no part.
        token : str
            The directory of the token; "" to look at run directories whatever tokens they hold.
        look : callable
            Given the path of a run directory; what it returns counts as found if it is true.

        Returns
        -------
        str
            The run directory; where nothing is found, the first in which it was looked for.
        what was found, or None
        notes for the report
        """
        bases = self._bases_of(parts)
        as_written = [f"{base}/{parts.run_directory}" for base in bases]
        for run in as_written:
            if found := look(run):
                return run, found, ()
        for base in bases:
            runs = self._runs_with(base, token)
            if len(runs) > MAX_RUN_DIRECTORIES:
                return as_written[0], None, (f"not in {parts.run_directory}; {len(runs)} other run directories were not searched",)
            hits = {run: found for run in runs if run != parts.run_directory and (found := look(f"{base}/{run}"))}
            pid = parts.run_directory.removeprefix("thread_")
            hits = {run: found for run, found in hits.items() if pid in run.split("_")} or hits
            if len(hits) == 1:
                ((run, found),) = hits.items()
                return f"{base}/{run}", found, (f"found in {run} instead of {parts.run_directory}",)
            if hits:
                others = listing(list(hits))
                return as_written[0], None, (f"not in {parts.run_directory}; several others hold it, so none was chosen: {others}",)
        return as_written[0], None, ()

    def _bases_of(self, parts: LowLevelPath) -> list[str]:
        """Where the directory of all runs is: the candidates that exist, or the first where none does."""
        known = self._bases.get(parts.tensors_directory)
        if known is None:
            paths = low_level_candidates(f"{parts.tensors_directory}/_", self._metadata_directory, self._working_directory)
            known = self._bases[parts.tensors_directory] = _existing(paths)[1]
        return known

    def _runs_with(self, base: str, token: str) -> list[str]:
        """Run directories below ``base`` that hold the token ("": all), in natural order; listed once per base, checked once per token."""
        known = self._run_directories.get((base, token))
        if known is None:
            runs = self._run_directories.get((base, ""))
            if runs is None:
                runs = self._run_directories[base, ""] = _run_directories_of(base)
            known = runs if len(runs) > MAX_RUN_DIRECTORIES else [run for run in runs if _exists(f"{base}/{run}/{token}")]
            self._run_directories[base, token] = known
        return known


def _run_directories_of(base: str) -> list[str]:
    try:
        names = os.listdir(base)
    except (OSError, ValueError):
        return []
    return sorted((name for name in names if is_run_directory_name(name)), key=natural_key)


def _is_ordinary(prefix: str) -> bool:
    """True where no name in a directory has a meaning to `path_candidates`, so that its candidates are those of the directory above,
    each with one more name."""
    return "_cmp_dump_data" not in prefix and "_tensor/" not in prefix and ".." not in prefix


def _existing(paths: list[str]) -> tuple[list[str], list[str]]:
    """The directories of candidates that all end in ``/_``; and those of them that exist, or the first where none does."""
    candidates = [path[:-2] for path in paths]
    return candidates, [candidate for candidate in candidates if _is_directory(candidate or "/")] or candidates[:1]


def _mode(path: str) -> int:
    """`st_mode` behind all links, 0 where nothing is found or the path cannot be one (NUL, too long, not encodable)."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0


def _exists(path: str) -> bool:
    return _mode(path) != 0


def _is_directory(path: str) -> bool:
    return stat.S_ISDIR(_mode(path))
