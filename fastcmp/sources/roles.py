"""A directory that has the tensors of both roles in it, without a metadata.json: what of it is whose."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from fastcmp.errors import UsageError
from fastcmp.sources.dump import Role
from fastcmp.sources.tree import SOURCE_DIRECTORIES, Tree
from fastcmp.sources.wording import listing, printable

ELSEWHERE: Final = "files outside of the directory {}"


def below(tree: Tree, role: Role) -> Tree:
    """The part of a tree below the directory of a role (``golden_tensor``, ``acl_tensor``); all of it, where there is none.

    Raises
    ------
    UsageError
        If both roles are in it and this one in several places: compared with itself, everything would be equal.
    """
    own = next(directory for directory, its_role in SOURCE_DIRECTORIES.items() if its_role == role)
    other = next(directory for directory, its_role in SOURCE_DIRECTORIES.items() if its_role != role)
    prefixes = _prefixes(tree, own)
    if len(prefixes) > 1 and _prefixes(tree, other):
        places = listing([prefix.rstrip("/") for prefix in prefixes], 5)
        raise UsageError(
            f"{printable(tree.root)}: {own} in {len(prefixes)} places beside {other}, expected one of each; name one of them: {places}"
        )
    if len(prefixes) != 1:
        return tree
    (prefix,) = prefixes
    tensors, markers = (
        [path.removeprefix(prefix) for path in paths if path.startswith(prefix)] for paths in (tree.tensor_paths, tree.marker_paths)
    )
    left_out = tree.left_out.copy()
    if elsewhere := len(tree.tensor_paths) + len(tree.marker_paths) - len(tensors) - len(markers):
        left_out[ELSEWHERE.format(prefix.rstrip("/"))] = elsewhere
    return replace(tree, root=os.path.join(tree.root, prefix.rstrip("/")), tensor_paths=tensors, marker_paths=markers, left_out=left_out)


def _prefixes(tree: Tree, directory: str) -> dict[str, None]:
    """The places of a directory of this name, each with a slash behind it."""
    inner = f"/{directory}/"
    found: dict[str, None] = {}
    for path in (*tree.tensor_paths, *tree.marker_paths):
        if directory in path:
            before, there, _ = f"/{path}".partition(inner)
            if there:
                found[f"{before}{inner}".removeprefix("/")] = None
    return found
