"""Trees of torch hooks: those of the first tools, and those of msit after them.

* ``{tag}/{pid}/{token}/{module}_output.npy``
* ``msit_dump_{time}/torch_tensors/{device}{n}_{pid}/{token}/root.{module}/{input[_i]|output[_i]}.pth``, beside the tokens ``weights/`` and
  ``model_tree.json``, which has the modules of each in the order in which they ran.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.sources.json_document import parse, read_bounded
from fastcmp.sources.layouts.layout import Claim, Entry, Found, Layout, Reading
from fastcmp.sources.layouts.naming import tensors_of_entries
from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.tree import Tree
from fastcmp.sources.wording import counted, listing, printable

MODEL_TREE_NAME: Final = "model_tree.json"

_MOST_BYTES: Final = 256 * 1024 * 1024
_ROOT: Final = "root"
_WEIGHTS: Final = "weights"
_MSIT_TENSOR: Final = re.compile(r"(?:input|output)(?:_[0-9]+)*")
_DEVICE_AND_PID: Final = re.compile(r"[a-z]+([0-9]+)_[0-9]+")
_HOOK_TENSOR: Final = re.compile(r".+_(?:input|output)(?:_[0-9]+)*", re.DOTALL)
_PID_AND_TOKEN: Final = re.compile(r"(?:.*/)?[0-9]+/[0-9]+")


def _claim_msit(tree: Tree, options: CompareOptions) -> Claim:
    """Files named as inputs and outputs, in directories named as modules below ``root``; weights beside them."""
    marks = tuple(path for path in tree.marker_paths if path.rpartition("/")[2] == MODEL_TREE_NAME)
    return Claim(_is_of_msit, marks, marks_suffice=False)


def _is_of_msit(directory: str, name: str) -> bool:
    above, stem = directory.rpartition("/")[2], os.path.splitext(name)[0]
    if above == _ROOT or above.startswith(f"{_ROOT}."):
        return _MSIT_TENSOR.fullmatch(stem) is not None
    return above == _WEIGHTS and stem.startswith(f"{_ROOT}.")


def _read_msit(reading: Reading) -> Found:
    orders, warnings = _module_orders(reading)
    is_ordered = bool(orders)
    entries = []
    for path in reading.paths:
        directory, _, name = path.rpartition("/")
        process, token, module = _parts_of_msit(directory)
        stem = os.path.splitext(name)[0]
        order = orders.get(process, {}).get(module)
        is_ordered = is_ordered and (order is not None or module == _WEIGHTS)
        data_id = f"{module}/{stem}"
        entries.append(Entry(process, data_id, token, path, (-1 if order is None else order, natural_key(data_id))))
    tensors, lone_rank, remarks = tensors_of_entries(entries, reading, _device_of)
    evidence = f"{counted(len(entries), 'file')} of modules below root, such as {listing([entry.path for entry in entries[:1]], 1, 120)}"
    if orders:
        evidence += f", and {MODEL_TREE_NAME}"
    return Found(tensors, evidence, [*warnings, *remarks], is_ordered, lone_rank=lone_rank)


def _parts_of_msit(directory: str) -> tuple[str, str, str]:
    """The process, the token and the module of a directory."""
    above, _, module = directory.rpartition("/")
    process, _, token = above.rpartition("/")
    if module == _WEIGHTS:
        return above, "", module
    return (process, token, module) if token.isdigit() else (above, "", module)


def _device_of(process: str) -> str:
    found = _DEVICE_AND_PID.fullmatch(process.rpartition("/")[2])
    return found[1] if found is not None else ""


def _module_orders(reading: Reading) -> tuple[Mapping[str, Mapping[str, int]], list[str]]:
    """For each process the position of every module; and warnings about files that are no such tree."""
    orders: dict[str, Mapping[str, int]] = {}
    warnings = []
    for path in reading.marks:
        process = path.rpartition("/")[0]
        whole = os.path.join(reading.tree.root, path)
        try:
            document, _ = parse(read_bounded(whole, limit=_MOST_BYTES, roots=reading.options.scan.roots), whole)
        except UsageError as error:
            warnings.append(f"{printable(path)}: the order of modules is not known: {error}")
            continue
        orders[process] = {module: position for position, module in enumerate(_modules(document))}
    return orders, warnings


def _modules(node: Any) -> Iterator[str]:
    """The names in a tree of modules, each after those inside it: so their outputs were written."""
    if not isinstance(node, dict):
        return
    children = node.get("children")
    for child in children if isinstance(children, list) else ():
        yield from _modules(child)
    if isinstance(node.get("name"), str):
        yield node["name"]


def _claim_hook(tree: Tree, options: CompareOptions) -> Claim:
    """Files named as inputs and outputs of modules, in the directory of a token in that of a pid; who asks for them may name the latter.

    Nothing above the root counts otherwise: a date or a number there would make one of two equal trees another one.
    """

    def holds(directory: str, name: str) -> bool:
        return _PID_AND_TOKEN.fullmatch(directory) is not None and _HOOK_TENSOR.fullmatch(os.path.splitext(name)[0]) is not None

    def holds_if_asked(directory: str, name: str) -> bool:
        return directory.rpartition("/")[2].isdigit() and _HOOK_TENSOR.fullmatch(os.path.splitext(name)[0]) is not None

    return Claim(holds, holds_if_asked=holds_if_asked)


def _read_hook(reading: Reading) -> Found:
    entries = []
    for path in reading.paths:
        directory, _, name = path.rpartition("/")
        process, _, token = directory.rpartition("/")
        stem = os.path.splitext(name)[0]
        entries.append(Entry(process, stem, token, path, natural_key(stem)))
    tensors, _, warnings = tensors_of_entries(entries, reading, lambda process: "")
    example = listing([entry.path for entry in entries[:1]], 1, 120)
    return Found(tensors, f"{counted(len(entries), 'file')} of modules in {{pid}}/{{token}}/, such as {example}", warnings)


MSIT: Final = Layout("msit", "{device}{n}_{pid}/{token}/root.{module}/{input,output}.pth", ("root",), _claim_msit, _read_msit)
HOOK: Final = Layout("hook", "{tag}/{pid}/{token}/{module}_output.npy", ("_input", "_output"), _claim_hook, _read_hook)
