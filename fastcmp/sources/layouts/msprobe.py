"""Trees of msprobe: what its hooks on modules and functions of torch and MindSpore write.

``step{n}/rank{n}/dump.json`` beside ``dump_tensor_data/``, whose files it names. It has every tensor in the order in which it was dumped,
with statistics, and with a checksum where that was asked for; of a dump without data there is nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from typing import Any, Final

from fastcmp.errors import UsageError
from fastcmp.formats.suffixes import SUFFIXES
from fastcmp.options import CompareOptions
from fastcmp.sources.layouts.layout import Claim, Entry, Found, Layout, Reading
from fastcmp.sources.layouts.msprobe_json import DumpJson, looks_like_dump, read_dump
from fastcmp.sources.layouts.naming import tensors_of_entries
from fastcmp.sources.natural_order import natural_key
from fastcmp.sources.tree import Tree
from fastcmp.sources.wording import listing, printable

DATA_DIRECTORY: Final = "dump_tensor_data"

_DUMP_NAMES: Final = ("dump.json", "debug.json")
_STEP: Final = re.compile(r"step([0-9]+)")
_RANK: Final = re.compile(r"rank([0-9]+)")
# What dump.json lists under the inputs of a call, the name of a file calls kwargs.
_KEYWORD: Final = re.compile(r"(.*\.(?:forward|backward)(?:\.[0-9]+)?)\.kwargs\.", re.DOTALL)
_LAST: Final = 1 << 62
_STATISTICS_KNOWN: Final = "the file is not there; dump.json states statistics or a checksum of it, which were not compared"


def _claim(tree: Tree, options: CompareOptions) -> Claim:
    """dump.json files that speak of a task, and the files of tensors beside them."""
    marks = tuple(
        path
        for path in tree.marker_paths
        if path.rpartition("/")[2] in _DUMP_NAMES and looks_like_dump(os.path.join(tree.root, path), options.scan.roots)
    )
    return Claim(lambda directory, name: directory.rpartition("/")[2] == DATA_DIRECTORY, marks)


def _read(reading: Reading) -> Found:
    there = set(reading.paths)
    entries: list[Entry] = []
    found = Found([], "", is_in_execution_order=True)
    tasks: dict[str, None] = {}
    for mark in reading.marks:
        try:
            dump = read_dump(os.path.join(reading.tree.root, mark), reading.options.scan.roots)
        except UsageError as error:
            found.warnings.append(f"{printable(mark)}: not used, names are those of the files: {error}")
            found.is_in_execution_order = False
            continue
        tasks[dump.task] = None
        found.warnings += dump.warnings
        found.is_in_execution_order = found.is_in_execution_order and dump.order_is_known
        if dump.others:
            others = "arguments that are no tensors"
            found.left_out[others] = found.left_out.get(others, 0) + dump.others
        if dump.too_long:
            too_long = "calls and arguments whose names are too long"
            found.left_out[too_long] = found.left_out.get(too_long, 0) + dump.too_long
            found.warnings.append(f"{printable(mark)}: {too_long} were left out, such as {printable(dump.first_too_long, 120)}")
        entries += _listed(mark, dump, there)
    known = {entry.path for entry in entries}
    unlisted = [path for path in reading.paths if path not in known]
    if unlisted:
        found.is_in_execution_order = False
        found.warnings.append(f"files that no dump.json lists have the name of the file: {listing(unlisted)}")
    entries += map(_unlisted, unlisted)
    found.tensors, found.lone_rank, remarks = tensors_of_entries(entries, reading, _rank_of)
    found.warnings += remarks
    found.evidence = f"{listing(reading.marks or [DATA_DIRECTORY], 3)} ({', '.join(tasks) or 'no dump.json that can be read'})"
    missing = len({entry.path for entry in entries if entry.stated is None} - there)
    if missing:
        found.left_out["files that are listed and not there"] = missing
    return found


def _listed(mark: str, dump: DumpJson, there: Container[str]) -> Iterator[Entry]:
    directory = mark.rpartition("/")[0]
    process, token = _process_and_step(directory)
    for position, item in enumerate(dump.items):
        order: Any = (position, ())
        if not item.data_name:
            yield Entry(process, item.name, token, mark, order, item.stated)
        elif _is_file_name(item.data_name):
            path = "/".join(filter(None, (directory, DATA_DIRECTORY, item.data_name)))
            is_known = path not in there and (item.stated.statistics or item.stated.checksum)
            yield Entry(process, item.name, token, path, order, notes=(_STATISTICS_KNOWN,) if is_known else ())
        else:
            note = f"data_name {printable(item.data_name, 80)!r} is not the name of a file in {DATA_DIRECTORY} and was not followed"
            yield Entry(process, item.name, token, mark, order, item.stated, (note,))


def _is_file_name(name: str) -> bool:
    """False for what would lead somewhere else."""
    return "/" not in name and "\0" not in name and name not in (".", "..") and name.lower().endswith(SUFFIXES)


def _unlisted(path: str) -> Entry:
    directory, _, name = path.rpartition("/")
    process, token = _process_and_step(directory.removesuffix(DATA_DIRECTORY).rstrip("/"))
    stem = _KEYWORD.sub(r"\1.input.", os.path.splitext(name)[0])
    return Entry(process, stem, token, path, (_LAST, natural_key(stem)))


def _process_and_step(directory: str) -> tuple[str, str]:
    """The directory of a process without that of the step, as it is the same in every step; and the step."""
    parts = directory.split("/") if directory else []
    at = next((at for at in range(len(parts) - 1, -1, -1) if _STEP.fullmatch(parts[at])), None)
    if at is None:
        return directory, ""
    return "/".join(parts[:at] + parts[at + 1 :]), parts[at].removeprefix("step")


def _rank_of(process: str) -> str:
    found = _RANK.fullmatch(process.rpartition("/")[2])
    return found[1] if found is not None else ""


LAYOUT: Final = Layout("msprobe", "step{n}/rank{n}/dump.json and dump_tensor_data/", (f"{DATA_DIRECTORY}/",), _claim, _read)
