"""Trees that known tools wrote: recognised by the names in them, one row of the table below per layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.sources.layouts.atb import LAYOUT as ATB
from fastcmp.sources.layouts.hooks import HOOK, MSIT
from fastcmp.sources.layouts.layout import Claim, Found, Layout, Reading
from fastcmp.sources.layouts.msprobe import LAYOUT as MSPROBE
from fastcmp.sources.layouts.sglang import LAYOUT as SGLANG
from fastcmp.sources.named_tensor import KnownKeys
from fastcmp.sources.tree import Tree
from fastcmp.sources.wording import counted, listing, printable

__all__ = ["LAYOUTS", "Found", "Recognised", "marks_of", "read", "recognise"]

LAYOUTS: Final = (MSPROBE, SGLANG, MSIT, ATB, HOOK)
_BY_NAME: Final = {layout.name: layout for layout in LAYOUTS}


class Recognised(NamedTuple):
    """What of a tree is of which layout.

    Attributes
    ----------
    layout : Layout or None
        None where nothing is of any: names are paths then.
    paths : list of str
        The tensor files of the layout, relative to the root.
    marks : tuple of str
        The other files that show it.
    others : list of str
        Tensor files that are of no layout.
    foreign : dict of str to list of str
        Tensor files of layouts that were not asked for, by the name of the layout.
    foreign_marks : dict of str to list of str
        Files of such layouts that say something about tensors by themselves.
    """

    layout: Layout | None
    paths: list[str]
    marks: tuple[str, ...]
    others: list[str]
    foreign: dict[str, list[str]]
    foreign_marks: dict[str, list[str]]


def recognise(tree: Tree, options: CompareOptions, wanted: str = "auto") -> Recognised:
    """The one layout that a tree is of, or of ``wanted`` what is in it.

    Raises
    ------
    UsageError
        If there are two, or nothing of the layout that is wanted.
    """
    claims = {layout.name: layout.claim(tree, options) for layout in LAYOUTS}
    if wanted != "auto":
        asked = claims[wanted]
        claims[wanted] = asked._replace(holds=asked.holds_if_asked or asked.holds)
    claimed, others = _claimed(tree, claims)
    marked = _marked(claims)
    found = [*claimed, *(name for name in marked if name not in claimed)]
    if len(found) > 1 and claimed and wanted == "auto":
        found = [name for name in found if name in claimed or _states_tensors(_BY_NAME[name], tree, claims[name], options)]
    if wanted != "auto":
        layout = _BY_NAME[wanted]
        if wanted not in claimed and not claims[wanted].marks:
            raise UsageError(_nothing_of(tree, layout))
    elif len(found) > 1:
        raise UsageError(_two_layouts(tree, {name: claimed.get(name) or claims[name].marks for name in found}))
    elif not found:
        return Recognised(None, [], (), others, {}, {})
    else:
        layout = _BY_NAME[found[0]]
    foreign = {name: paths for name, paths in claimed.items() if name != layout.name}
    foreign_marks = {name: marks for name, marks in marked.items() if name != layout.name}
    return Recognised(layout, claimed.get(layout.name, []), claims[layout.name].marks, others, foreign, foreign_marks)


def marks_of(tree: Tree, options: CompareOptions) -> dict[str, list[str]]:
    """The files that say something about tensors by themselves, by the name of their layout."""
    return _marked({layout.name: layout.claim(tree, options) for layout in LAYOUTS}) if tree.marker_paths else {}


def _marked(claims: dict[str, Claim]) -> dict[str, list[str]]:
    return {name: list(claim.marks) for name, claim in claims.items() if claim.marks and claim.marks_suffice}


def _states_tensors(layout: Layout, tree: Tree, claim: Claim, options: CompareOptions) -> bool:
    """True where the files that show a layout speak of a tensor: a name alone, which other programs may use, makes no tree."""
    return bool(layout.read(Reading(tree, [], claim.marks, options, {})).tensors)


def _claimed(tree: Tree, claims: dict[str, Claim]) -> tuple[dict[str, list[str]], list[str]]:
    """The tensor files by layout, and those that are of none."""
    claimed: dict[str, list[str]] = {}
    others: list[str] = []
    hinted = [(hint, claims[layout.name].holds, layout.name) for layout in LAYOUTS for hint in layout.hints]
    for path in tree.tensor_paths:
        directory, _, name = path.rpartition("/")
        for hint, is_held, layout in hinted:
            if hint in path and is_held(directory, name):
                claimed.setdefault(layout, []).append(path)
                break
        else:
            others.append(path)
    return claimed, others


def read(recognised: Recognised, tree: Tree, options: CompareOptions, keys: KnownKeys) -> Found:
    """The named tensors of what was recognised."""
    assert recognised.layout is not None
    return recognised.layout.read(Reading(tree, recognised.paths, recognised.marks, options, keys))


def _two_layouts(tree: Tree, examples: dict[str, Sequence[str]]) -> str:
    sides = [f"{name} ({counted(len(paths), 'file')}, such as {listing(paths[:1], 1, 120)})" for name, paths in examples.items()]
    advice = f"name the directory of one of them, or say which: --layout {next(iter(examples))}"
    return f"{printable(tree.root)}: a tree of several layouts: {' and '.join(sides)}; {advice}"


def _nothing_of(tree: Tree, layout: Layout) -> str:
    there = listing(tree.tensor_paths or tree.marker_paths, 3) or "no tensor file"
    said = f"--layout {layout.name}: expected {layout.shape}, found {there}"
    return f"{printable(tree.root)}: {said}; name its directory, or leave the option out"
