"""What lies below a directory: the metadata.json files, and the tensor files in natural order."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from fastcmp.dump_layout import JOURNAL_NAME, METADATA_NAME, ROLE_OF_SOURCE, source_directory_name
from fastcmp.formats.suffixes import SUFFIXES
from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.wording import printable

# The deepest dump trees known nest ten directories.
MAX_DEPTH: Final = 32
MAX_LINKED_DIRECTORIES: Final = 10_000

SOURCE_DIRECTORIES: Final = {source_directory_name(source): role for source, role in ROLE_OF_SOURCE.items()}
"""``golden_tensor``, ``acl_tensor`` and the role of each."""

RANK_NAME: Final = r"rank[_-]?([0-9]{1,7})"
"""What a directory of one rank is called, in capitals or not; the expression has its number."""

# What tools write beside their tensors and what says how a tree is to be read.
MARKER_NAMES: Final = frozenset({"dump.json", "debug.json", "construct.json", "stack.json", "model_tree.json", "statistic.csv"})

TILING: Final = "raw tiling data"
MD5_MARKERS: Final = "marker files named by an md5"
NO_TENSORS: Final = "files of no kind that holds tensors"

_TILING_NAME: Final = "kernel_tilingdata.bin"
_MD5_NAME: Final = re.compile(r"[0-9a-fA-F]{32}(\.[^.]*)?")


@dataclass
class Tree:
    """Relative paths below ``root``, in natural order.

    Attributes
    ----------
    metadata_paths : list of str
        metadata.json files (present or, where only the journal exists, to be); nothing below their directories is listed.
    tensor_paths : list of str
    marker_paths : list of str
        Files of `MARKER_NAMES`.
    left_out : counter of str
        All other files, by what they are.
    warnings : list of str
        Directories that could not be searched.
    """

    root: str
    metadata_paths: list[str] = field(default_factory=list)
    tensor_paths: list[str] = field(default_factory=list)
    marker_paths: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    linked_count: int = 0
    looks_for_metadata: bool = True


def name_its_directory(path: str, why_not_read: str = "") -> str:
    """What to say of a file of `MARKER_NAMES` that was named itself; ``why_not_read`` is what is wrong with it as a metadata.json."""
    directory = printable(os.path.dirname(path) or ".")
    if why_not_read:
        return f"{why_not_read}; if it is part of the dump of another tool, name its directory: {directory}"
    return f"{printable(path)}: part of the dump of another tool, which is read as a directory; name that: {directory}"


def walk(root: str, *, looks_for_metadata: bool = True) -> Tree:
    """Search a directory, hidden names left out. Linked files and directories are followed, loops of links are not.

    ``looks_for_metadata`` False: a metadata.json is a file like any other.

    Raises
    ------
    OSError
        If ``root`` itself cannot be listed.
    """
    tree = Tree(root, looks_for_metadata=looks_for_metadata)
    _visit(tree, root, "", (_identity(root),))
    return tree


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _visit(tree: Tree, directory: str, prefix: str, ancestors: tuple[tuple[int, int], ...]) -> None:
    with os.scandir(directory) as listed:
        entries = [entry for entry in listed if not entry.name.startswith(".")]
    names = {entry.name for entry in entries}
    holds_journal = JOURNAL_NAME in names and os.path.basename(os.path.abspath(directory)) in SOURCE_DIRECTORIES
    if tree.looks_for_metadata and (METADATA_NAME in names or holds_journal):
        tree.metadata_paths.append(f"{prefix}{METADATA_NAME}")
        return
    for entry in sorted(entries, key=_order):
        relative = f"{prefix}{entry.name}"
        if not _is_directory(entry):
            if is_tensor_name(entry.name):
                tree.tensor_paths.append(relative)
            elif entry.name in MARKER_NAMES:
                tree.marker_paths.append(relative)
            else:
                tree.left_out[_kind_of(entry.name)] += 1
        elif len(ancestors) > MAX_DEPTH:
            tree.warnings.append(f"{printable(relative)}: more than {MAX_DEPTH} directories deep, not searched")
        else:
            _descend(tree, entry, relative, ancestors)


def _descend(tree: Tree, entry: os.DirEntry[str], relative: str, ancestors: tuple[tuple[int, int], ...]) -> None:
    try:
        identity = _identity(entry.path)
        if entry.is_symlink():
            tree.linked_count += 1
            if identity in ancestors:
                tree.warnings.append(f"{printable(relative)}: a link back to a directory above it, not followed")
                return
            if tree.linked_count > MAX_LINKED_DIRECTORIES:
                tree.warnings.append(f"{printable(relative)}: more than {MAX_LINKED_DIRECTORIES} linked directories, not followed")
                return
        _visit(tree, entry.path, f"{relative}/", (*ancestors, identity))
    except OSError as error:
        tree.warnings.append(f"{printable(relative)}: cannot be searched: {error.strerror or error}")


def _order(entry: os.DirEntry[str]) -> tuple[object, str]:
    return natural_key(os.path.splitext(entry.name)[0]), entry.name


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links: kept as a file, so that it gets its row
        return False


def is_tensor_name(name: str) -> bool:
    """True for the file names of a dump tree that are tensors."""
    return name.lower().endswith(SUFFIXES) and name != _TILING_NAME and not _MD5_NAME.fullmatch(name)


def _kind_of(name: str) -> str:
    """What a file is that is no tensor."""
    if name == _TILING_NAME:
        return TILING
    return MD5_MARKERS if _MD5_NAME.fullmatch(name) else NO_TENSORS
