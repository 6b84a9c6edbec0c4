"""Low-level trees: what ATB, the libraries before it and the probes under them wrote, of every era.

``{run directory}/{execution count}/{i}_{operation}/{j}_{operation}/.../{before|after}/{in|out}tensor{n}.bin``

A run directory is ``thread_{id}``, ``{pid}``, ``{pid}_{tid}`` or ``{device}_{pid}``; the oldest builds had neither that nor a count. The
data_id is the path of the operation and the tensor, without what differs between two runs of one program.
"""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from typing import Final

from fastcmp.options import CompareOptions
from fastcmp.sources.layouts.atb_paths import device_of, is_numbered, order_of, place_of, tensor_of
from fastcmp.sources.layouts.atb_statistics import STATISTIC_NAME, stated_entries
from fastcmp.sources.layouts.layout import Claim, Entry, Found, Layout, Reading
from fastcmp.sources.layouts.naming import tensors_of_entries
from fastcmp.sources.tree import Tree
from fastcmp.sources.wording import counted, listing

# A directory, in or out, and a number.
_Number = tuple[str, str, int]


def _claim(tree: Tree, options: CompareOptions) -> Claim:
    """Files that are named as tensors of an operation, in directories that are named as operations."""
    marks = tuple(path for path in tree.marker_paths if path.rpartition("/")[2] == STATISTIC_NAME)
    return Claim(lambda directory, name: tensor_of(name) is not None and place_of(directory) is not None, marks)


def _read(reading: Reading) -> Found:
    stated, remarks = stated_entries(reading)
    doubled = _doubled(reading.paths)
    entries = [*(_entry(path, doubled) for path in reading.paths), *stated]
    if doubled:
        places = [f"{directory}/{direction}tensor{number}" for directory, direction, number in doubled]
        remarks.append(f"of several tensors of one number in a directory, each keeps its name: {listing(places)}")
    root = os.path.abspath(reading.tree.root)
    tensors, lone_rank, warnings = tensors_of_entries(entries, reading, lambda process: device_of(process, root))
    is_ordered = all(is_numbered(data_id) for data_id in {entry.data_id for entry in entries})
    return Found(tensors, _evidence(entries, len(tensors)), [*remarks, *warnings], is_ordered, lone_rank=lone_rank)


def _doubled(paths: Sequence[str]) -> dict[_Number, None]:
    """The numbers that tensors of several names have in one directory: which of them is the tensor of the other side, only a name says."""
    names: dict[_Number, str] = {}
    doubled: dict[_Number, None] = {}
    for path in paths:
        directory, _, file_name = path.rpartition("/")
        tensor = tensor_of(file_name)
        assert tensor is not None
        number = directory, tensor.direction, tensor.number
        if names.setdefault(number, tensor.name) != tensor.name:
            doubled[number] = None
    return doubled


def _entry(path: str, doubled: Container[_Number]) -> Entry:
    directory, _, name = path.rpartition("/")
    place, tensor = place_of(directory), tensor_of(name)
    assert place is not None and tensor is not None
    data_id = f"{place.operation}/{tensor.direction}tensor{tensor.number}"
    if (directory, tensor.direction, tensor.number) in doubled:
        data_id += tensor.name
    return Entry(place.process, data_id, place.token, path, (order_of(place.operation), *tensor))


def _evidence(entries: list[Entry], count: int) -> str:
    if not entries:
        return f"a {STATISTIC_NAME} without a line that can be used"
    processes = [name for name in dict.fromkeys(entry.process for entry in entries) if name]
    where = f", run directories {listing(processes, 3)}" if processes else ""
    what = "statistics of" if entries[0].stated is not None else counted(count, "tensor") + " of"
    return f"{what} numbered operations, such as {listing([entries[0].path], 1, 120)}{where}"


LAYOUT: Final = Layout(
    "atb",
    "{run}/{execution count}/{i}_{operation}/.../{in,out}tensor{n}.bin",
    ("ntensor", "nTensor", "ttensor", "tTensor"),
    _claim,
    _read,
)
