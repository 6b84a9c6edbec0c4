"""Trees of SGLang's two dumpers.

* ``{directory}/step=0___rank=0___dump_index=7___name=hidden_states___layer_id=3.pt``: one tensor a file, tagged. Older versions call the
  step ``forward_pass_id`` or ``curr_step``. The file is a dict whose ``value`` is the tensor.
* ``{directory}/TP0_PP0_Rank0_pid77/Pass00000.pt``: all tensors of a forward pass in one file, by the names of their modules.
"""

from __future__ import annotations

import os
import re
from typing import Final

from fastcmp.options import CompareOptions
from fastcmp.sources.layouts.layout import Claim, Entry, Found, Layout, Reading
from fastcmp.sources.layouts.naming import tensors_of_entries
from fastcmp.sources.tree import Tree
from fastcmp.sources.wording import counted, listing

_SEPARATOR: Final = "___"
_STEPS: Final = ("step", "forward_pass_id", "curr_step")
_NAME, _RANK, _INDEX = "name", "rank", "dump_index"
# Said of every tensor outside of a checkpoint, by newer versions only.
_PLAIN: Final = ("recompute_status", "disabled")
_VALUE: Final = "value"
_RANK_DIRECTORY: Final = re.compile(r"TP[0-9]+_PP[0-9]+_Rank([0-9]+)_pid[0-9]+")
_TAGGED_RANK: Final = re.compile(r"rank([0-9]+)")
_PASS: Final = re.compile(r"Pass([0-9]+)")
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def _claim(tree: Tree, options: CompareOptions) -> Claim:
    """Files whose names are tags with a step, a rank and a name; passes in the directory of a rank."""
    return Claim(lambda directory, name: bool(_tags(name)) or _is_pass(directory, name))


def _tags(name: str) -> dict[str, str]:
    """The tags in the name of a file; empty where it is not of that kind."""
    if _SEPARATOR not in name:
        return {}
    tags = {}
    for part in os.path.splitext(name)[0].split(_SEPARATOR):
        key, equals, value = part.partition("=")
        if not equals:
            return {}
        tags[key] = value
    has_numbers = all(_DIGITS.fullmatch(tags.get(key, "")) for key in (_RANK, _INDEX))
    return tags if has_numbers and _NAME in tags and _step_of(tags) is not None else {}


def _step_of(tags: dict[str, str]) -> str | None:
    return next((tags[key] for key in _STEPS if key in tags), None)


def _is_pass(directory: str, name: str) -> bool:
    return _RANK_DIRECTORY.fullmatch(directory.rpartition("/")[2]) is not None and _PASS.fullmatch(os.path.splitext(name)[0]) is not None


def _read(reading: Reading) -> Found:
    tagged: list[tuple[str, str, dict[str, str]]] = []
    passes: list[tuple[str, str, dict[str, str]]] = []
    for path in reading.paths:
        directory, _, name = path.rpartition("/")
        tags = _tags(name)
        (tagged if tags else passes).append((directory, path, tags))
    entries = _numbered([_tagged_entry(*one) for one in tagged])
    entries += [_pass_entry(directory, path) for directory, path, _ in passes]
    tensors, lone_rank, warnings = tensors_of_entries(entries, reading, _rank_of, _member_name)
    what = "tagged with step, rank and name" if tagged else "of forward passes in directories of ranks"
    evidence = f"{counted(len(entries), 'file')} {what}, such as {listing(reading.paths[:1], 1, 120)}"
    return Found(tensors, evidence, warnings, not passes, lone_rank=lone_rank, listed="" if tagged else "files")


def _tagged_entry(directory: str, path: str, tags: dict[str, str]) -> Entry:
    more = [f"{key}={value}" for key, value in tags.items() if key not in (*_STEPS, _NAME, _RANK, _INDEX) and (key, value) != _PLAIN]
    data_id = "/".join([tags[_NAME], *more])
    return Entry(f"{directory}/rank{tags[_RANK]}", data_id, _step_of(tags) or "", path, int(tags[_INDEX]))


def _numbered(entries: list[Entry]) -> list[Entry]:
    """What was dumped again under the same tags in the same step gets a number behind its name, in the order of the dumps."""
    entries.sort(key=lambda entry: (entry.process, entry.order))
    counts: dict[tuple[str, str, str], int] = {}
    numbered = []
    for entry in entries:
        key = entry.process, entry.data_id, entry.token_id
        count = counts[key] = counts.get(key, -1) + 1
        numbered.append(entry._replace(data_id=f"{entry.data_id}#{count}") if count else entry)
    return numbered


def _pass_entry(directory: str, path: str) -> Entry:
    found = _PASS.fullmatch(os.path.splitext(path.rpartition("/")[2])[0])
    assert found is not None
    return Entry(directory, "", str(int(found[1])), path, 0)


def _rank_of(process: str) -> str:
    """Of ``{directory}/rank{n}``, as tagged files have it, or of the directory of a rank."""
    name = process.rpartition("/")[2]
    found = _TAGGED_RANK.fullmatch(name) or _RANK_DIRECTORY.fullmatch(name)
    return found[1] if found is not None else ""


def _member_name(member: str) -> str:
    """``value`` is the tensor itself, or where it is several each of them; what else a file holds keeps its name."""
    rest = member.removeprefix(_VALUE)
    if rest == member or rest[:1].isalnum() or rest[:1] == "_":
        return f"/{member}"
    return f"/{rest.lstrip('./')}" if rest else ""


LAYOUT: Final = Layout("sglang", "step={n}___rank={n}___dump_index={n}___name={name}.pt", (_SEPARATOR, "Pass"), _claim, _read)
