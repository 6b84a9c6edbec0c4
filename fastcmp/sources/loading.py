"""An argument of the command line to a dump: a metadata.json, a directory, or one tensor file."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fastcmp.errors import TensorError, UsageError, reason_and_advice
from fastcmp.formats import file_and_member, list_members
from fastcmp.formats.malformed import no_such_member
from fastcmp.formats.suffixes import LISTING_SUFFIXES, MEMBER_SUFFIXES, SUFFIXES
from fastcmp.options import CompareOptions, layout_of
from fastcmp.sources.dump import Dump, Listed, Role
from fastcmp.sources.metadata import ProcessDump, load_metadata
from fastcmp.sources.named_tensor import KnownKeys, NamedTensor, TensorKey
from fastcmp.sources.natural_order import token_key
from fastcmp.sources.plain_files import are_listed, as_listed, inside, not_listed, tensors_of_files
from fastcmp.sources.roles import below
from fastcmp.sources.tree import MARKER_NAMES, RANK_NAME, SOURCE_DIRECTORIES, Tree, name_its_directory, walk
from fastcmp.sources.wording import MAX_SHOWN, counted, listing, printable

if TYPE_CHECKING:
    from fastcmp.sources import layouts

_RANK_DIRECTORY: Final = re.compile(RANK_NAME, re.IGNORECASE)


def load(
    path: str | os.PathLike[str], role: Role, options: CompareOptions, other: Dump | None = None, *, working_directory: str = ""
) -> Dump:
    """Every tensor that ``path`` names, in the dump's own order.

    No tensor file needs to exist, and none is opened but those of a directory, or named themselves, that may hold several tensors.

    * ``*.json``: the metadata of one process, of any era.
    * A directory that holds metadata.json files: those of the role (``golden_tensor`` or ``acl_tensor`` above them), and if it has none of
      its role, the others; several of them must be told apart by rank (recorded by the dump, or a ``rank<n>`` directory).
    * A tree that a known tool wrote: see `fastcmp.sources.layouts`. ``options.layout`` says which, where that is not to be found out.
    * Any other directory: its tensor files; the key of one is its path below the directory without extension, the token is "".
      Of a file that holds several tensors, the name of each follows behind a slash.
    * Any other regular file: one tensor, whose key is the name without extension, or several, by their names.
    * ``FILE:MEMBER``, where there is no file of that name: that tensor of FILE alone.

    Keys that ``other``, loaded before, has too are its objects then: half the memory for names. ``working_directory`` is where a
    relative ``path``, and relative paths of a metadata.json, begin, if not where this process is.

    Raises
    ------
    UsageError
        In one line, if ``path`` cannot be used.
    """
    given = os.fspath(path)
    path = os.path.join(working_directory, given)
    name = printable(path)
    keys: KnownKeys = {tensor.key: tensor.key for tensor in other.tensors} if other is not None else {}
    file, member = file_and_member(path, options.scan)
    if member:
        return _load_member(path, file, member, given, options, keys)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return _load_directory(path, role, options, keys, working_directory)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name}: {reason_and_advice(error, 'name a metadata.json, a directory or a tensor file')}") from error
    if not stat.S_ISREG(mode):
        raise UsageError(f"{name}: not a regular file; name a metadata.json, a directory or a tensor file")
    if path.lower().endswith(".json"):
        process = load_metadata(path, role, options, keys=keys, working_directory=working_directory)
        return Dump(path, "metadata", process.tensors, process.warnings, evidence="a metadata.json was named")
    if os.path.basename(path) in MARKER_NAMES:
        raise UsageError(name_its_directory(path))
    unread: list[TensorError] = []
    tensors = _tensors_of_file(path, given, options, keys, unread)
    warnings = [not_listed(unread)] if unread else []
    listed: Listed = "file" if are_listed(tensors) else ""
    return Dump(path, "file", tensors, warnings, len(tensors) == 1, "file", "a tensor file was named", listed=listed)


def _load_member(path: str, file: str, member: str, given: str, options: CompareOptions, keys: KnownKeys) -> Dump:
    names = list_members((file,), options.scan)[0]
    if not isinstance(names, TensorError) and member not in names:
        wrong = no_such_member(file, member, names)
        advice = "name the file alone" if names == ("",) else "name one that it holds, or the file alone for all"
        raise UsageError(f"{printable(file)}: {wrong.detail}; {advice}")
    key = TensorKey("", member, "")
    tensor = inside(keys.get(key, key), given[: -len(member) - 1], os.path.abspath(file), member)
    return Dump(path, "file", [tensor], [], True, "file", "one tensor of a file was named")


def _tensors_of_file(path: str, written: str, options: CompareOptions, keys: KnownKeys, unread: list[TensorError]) -> list[NamedTensor]:
    """One tensor by the name of the file, or those inside it by their own."""
    members = list_members((path,), options.scan)[0]
    if isinstance(members, TensorError):
        unread += [members] if path.lower().endswith(MEMBER_SUFFIXES) else []
        members = ("",)
    if members == ("",):
        stem = os.path.splitext(os.path.basename(path))[0]
        return [NamedTensor(TensorKey("", stem, ""), written, os.path.abspath(path))]
    if not members:
        raise UsageError(f"{printable(path)}: holds no tensor; name a file that does, a metadata.json or a directory")
    known = [TensorKey("", member, "") for member in as_listed(path, members)]
    return [inside(keys.get(key, key), written, os.path.abspath(path), key.data_id) for key in known]


def _load_directory(path: str, role: Role, options: CompareOptions, keys: KnownKeys, working_directory: str) -> Dump:
    wanted = layout_of(options.layout, role)
    tree = walk(path, looks_for_metadata=wanted in ("auto", "metadata"))
    tree.warnings[:] = [f"{printable(path)}: {warning}" for warning in tree.warnings]
    if wanted == "metadata" and not tree.metadata_paths:
        raise UsageError(f"{printable(path)}: --layout metadata: no metadata.json in it; name the directory of a dump")
    if tree.metadata_paths:
        return _load_metadata(tree, role, options, keys, working_directory)
    from fastcmp.sources import layouts  # for directories only: a metadata.json that is named need not wait for them

    tree = below(tree, role)
    recognised = None if wanted == "plain" else layouts.recognise(tree, options, wanted)
    if recognised is not None and recognised.layout is not None:
        found = layouts.read(recognised, tree, options, keys)
        if found.tensors or recognised.paths or wanted != "auto":
            return _load_tree(path, tree, recognised, found, options, keys)
        # What has the name of such a file and says nothing of a tensor is no sign of a layout.
        tree.warnings += [f"{printable(tree.root)}: {warning}" for warning in found.warnings]
    if not tree.tensor_paths:
        said = f"{printable(path)}: no metadata.json and no tensor file ({', '.join(SUFFIXES)}) in it; name the directory of a dump"
        raise UsageError("; ".join([said, *tree.warnings]))
    unread: list[TensorError] = []
    tensors, collisions = tensors_of_files(tree, "", options, keys, unread)
    if unread:
        tree.warnings.append(not_listed(unread))
    if collisions:
        tree.warnings.append(f"{printable(path)}: two files of one name, the second keeps its extension: {listing(collisions)}")
    files = counted(len(tree.tensor_paths), "tensor file")
    evidence = "--layout plain" if wanted == "plain" else f"{files} of no known layout: names are paths"
    has_lists = any(one.lower().endswith(LISTING_SUFFIXES) for one in tree.tensor_paths)
    listed: Listed = "files" if has_lists and are_listed(tensors) else ""
    return Dump(path, "directory", tensors, tree.warnings, False, "plain", evidence, tree.left_out, listed=listed)


def _load_metadata(tree: Tree, role: Role, options: CompareOptions, keys: KnownKeys, working_directory: str) -> Dump:
    path, warnings = tree.root, tree.warnings
    chosen, is_other_role = _of_role(tree, role)
    if is_other_role:
        found = next(directory for directory, its_role in SOURCE_DIRECTORIES.items() if its_role != role)
        question = f"{role.upper()} holds {found} only: are the sides swapped?"
        warnings.append(f"{printable(path)}: {question} Taken as the {role} side: {listing(chosen)}")
    processes = [
        load_metadata(os.path.join(path, one), role, options, rank=_rank_of(one), keys=keys, working_directory=working_directory)
        for one in chosen
    ]
    _refuse_processes_without_rank(processes, path, role)
    processes.sort(key=lambda process: token_key(process.rank))
    warnings += [warning for process in processes for warning in process.warnings]
    left_out = dict(tree.left_out)
    if tree.tensor_paths:
        left_out["tensor files beside metadata.json, which names those that count"] = len(tree.tensor_paths)
    from fastcmp.sources import layouts

    warnings += _without_marks(path, layouts.marks_of(tree, options), left_out)
    tensors = [tensor for process in processes for tensor in process.tensors]
    return Dump(path, "metadata", tensors, warnings, evidence=listing(chosen, 3), left_out=left_out)


def _load_tree(
    path: str, tree: Tree, recognised: layouts.Recognised, found: layouts.Found, options: CompareOptions, keys: KnownKeys
) -> Dump:
    """A tree of a known layout. Tensor files that are of none have their paths as names, behind all others."""
    assert recognised.layout is not None
    warnings = [*tree.warnings, *(f"{printable(tree.root)}: {warning}" for warning in found.warnings)]
    left_out = {**tree.left_out, **found.left_out}
    for name, paths in recognised.foreign.items():
        left_out[f"tensor files of the layout {name}"] = len(paths)
        files = counted(len(paths), "file")
        warnings.append(f"{printable(tree.root)}: {files} of the layout {name} left out: {listing(paths, 3)}")
    warnings += _without_marks(tree.root, recognised.foreign_marks, left_out)
    if recognised.others:
        name = recognised.layout.name
        warnings.append(
            f"{printable(tree.root)}: {counted(len(recognised.others), 'tensor file')} not of the layout {name}, named by path: "
            f"{listing(recognised.others, 3)}"
        )
        taken = {tensor.key for tensor in found.tensors}
        unread: list[TensorError] = []
        plain, _ = tensors_of_files(replace(tree, tensor_paths=recognised.others), "", options, keys, unread)
        if unread:
            warnings.append(not_listed(unread))
        for one in plain:
            key = _apart(one.key, taken)
            taken.add(key)
            found.tensors.append(one._replace(key=key))
    is_ordered = found.is_in_execution_order and not recognised.others
    listed = "" if recognised.others else found.listed
    name, evidence = recognised.layout.name, found.evidence
    return Dump(path, "tree", found.tensors, warnings, is_ordered, name, evidence, left_out, found.lone_rank, listed)


def _without_marks(path: str, marks: Mapping[str, list[str]], left_out: dict[str, int]) -> list[str]:
    """Warnings about files that state tensors of a layout that is not read; counted in ``left_out``."""
    warnings = []
    for name, paths in marks.items():
        left_out[f"files that state tensors of the layout {name}"] = len(paths)
        warnings.append(
            f"{printable(path)}: what {counted(len(paths), 'file')} of the layout {name} may state of tensors is left out: "
            f"{listing(paths, 3)}; name its directory to compare it"
        )
    return warnings


def _apart(key: TensorKey, taken: set[TensorKey]) -> TensorKey:
    if key in taken:
        key = key._replace(data_id=f"{key.data_id} (by path)")
    while key in taken:
        key = key._replace(data_id=f"{key.data_id}#")
    return key


def _of_role(tree: Tree, role: Role) -> tuple[list[str], bool]:
    """The metadata of the role; else those of no role; else, as two runs of one role may be compared too, the others and True."""
    by_role: dict[str, list[str]] = {}
    for relative in tree.metadata_paths:
        parts = os.path.abspath(os.path.join(tree.root, relative)).split("/")
        found = next((SOURCE_DIRECTORIES[part] for part in reversed(parts[:-1]) if part in SOURCE_DIRECTORIES), "")
        by_role.setdefault(found, []).append(relative)
    fitting = by_role.get(role) or by_role.get("")
    return (fitting, False) if fitting else (tree.metadata_paths, True)


def _rank_of(relative: str) -> str:
    for part in reversed(relative.split("/")[:-1]):
        if found := _RANK_DIRECTORY.fullmatch(part):
            return found[1]
    return ""


def _refuse_processes_without_rank(processes: list[ProcessDump], path: str, role: Role) -> None:
    if len(processes) < 2:
        return
    counts = Counter(process.rank for process in processes)
    doubtful = [process for process in processes if not process.rank or counts[process.rank] > 1]
    if doubtful:
        shown = [f"{os.path.relpath(process.path, path)} (rank {process.rank or 'unknown'})" for process in doubtful]
        names = listing(shown, 20, MAX_SHOWN)
        raise UsageError(
            f"{printable(path)}: {len(processes)} {role} processes, expected one, or one of each rank; name one of them: {names}"
        )
