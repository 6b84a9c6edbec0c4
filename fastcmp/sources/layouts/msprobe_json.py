"""dump.json of msprobe: the tensors of each call, in the order in which the calls came and went."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fastcmp.dtypes import DTYPES
from fastcmp.errors import UsageError
from fastcmp.formats.stated import MOST_AXES, Stated, bad_shape, checksum_kind
from fastcmp.sources.json_document import is_inside, parse, read_bounded
from fastcmp.sources.wording import printable

CONSTRUCT_NAME: Final = "construct.json"

_HEAD_BYTES: Final = 64 * 1024
# The data may be far behind; what comes before it does not. Each on its own: one expression for both would be tried from everywhere.
_SPEAKS_OF: Final = (re.compile(rb'"(?:dump_data_dir|task)"\s*:'), re.compile(rb'"(?:level|data)"\s*:'))
_CALLED_INPUT: Final = frozenset({"input_args", "input_kwargs", "input"})
_PARTS: Final = ("input_args", "input_kwargs", "input", "parameters", "output")
_GRADIENTS: Final = "parameters_grad"
_DEBUG: Final = "debug"
_STATISTICS: Final = {"Max": "max", "Min": "min", "Mean": "mean", "Norm": "l2norm"}
# A name goes into each tensor below it. Those of files have at most 255 characters.
_MOST_NAME: Final = 1024


class Item(NamedTuple):
    """One tensor of a call.

    Attributes
    ----------
    name : str
        Such as ``Module.layer.Linear.forward.0.output.0``.
    data_name : str
        Its file, as written; "" for none.
    stated : Stated
        What stands beside that.
    """

    name: str
    data_name: str
    stated: Stated


@dataclass
class DumpJson:
    """What a dump.json says.

    Attributes
    ----------
    task : str
        For people, such as ``task tensor, level L1``.
    items : list of Item
        As they were computed: what a call was given, what the calls inside it did, what it gave back.
    order_is_known : bool
        False where calls may lie inside each other and nothing says which.
    others : int
        Arguments that are no tensors.
    too_long : int
        Calls and arguments that were left out for the length of their names.
    first_too_long : str
        How the first of those begins.
    warnings : list of str
    """

    task: str
    items: list[Item] = field(default_factory=list)
    order_is_known: bool = True
    others: int = 0
    too_long: int = 0
    first_too_long: str = ""
    warnings: list[str] = field(default_factory=list)


def looks_like_dump(path: str, roots: tuple[str, ...]) -> bool:
    """True for a dump.json that begins as msprobe's do; another program may use the name too."""
    if roots and not any(is_inside(path, root) for root in roots):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            # What a FIFO gives is nothing to wait for.
            head = file.read(_HEAD_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except (OSError, ValueError):
        return False
    return all(said.search(head) for said in _SPEAKS_OF)


def read_dump(path: str, roots: tuple[str, ...]) -> DumpJson:
    """What a dump.json says, ordered by the construct.json beside it.

    Raises
    ------
    UsageError
        If it cannot be read, or is not of the kind.
    """
    document, warnings = parse(read_bounded(path, roots=roots), path)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise UsageError(f'{printable(path)}: expected {{"data": {{call: {{...}}}}}}; repair it or dump again')
    said = [f"{name} {printable(str(document[name]), 40)}" for name in ("task", "level") if isinstance(document.get(name), str)]
    found = DumpJson(", ".join(said) or os.path.basename(path), warnings=warnings)
    parents = _parents_beside(path, roots, found)
    found.order_is_known = parents is not None or document.get("level") in ("L1", _DEBUG) or not data
    for name, part, value in _in_order(data, parents or {}):
        found.items += _items(name, part, value, found)
    return found


def _parents_beside(path: str, roots: tuple[str, ...], found: DumpJson) -> Mapping[str, str] | None:
    """Inside which call each other one was made; None where nothing says so."""
    beside = os.path.join(os.path.dirname(path), CONSTRUCT_NAME)
    if not os.path.lexists(beside):
        return None
    try:
        document, _ = parse(read_bounded(beside, roots=roots), beside)
    except UsageError as error:
        found.warnings.append(f"which calls lie inside each other is not known: {error}")
        return None
    if not isinstance(document, dict) or not document:
        return None
    firsts = ((name, above[0] if isinstance(above, list) and above else above) for name, above in document.items())
    return {name: above for name, above in firsts if isinstance(above, str)}


def _in_order(data: Mapping[str, Any], parents: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Each part of each call: what it was given, then the calls inside it, then what it gave back.

    Some versions list a call when it begins, some when it has ended: it begins no later than the first one inside it.
    """
    above = {name: parents[name] for name in data if parents.get(name) in data and parents[name] != name}
    begins = {name: place for place, name in enumerate(data)}
    inside: dict[str, list[str]] = {}
    for place, name in enumerate(data):
        outer = above.get(name)
        if outer is not None:
            inside.setdefault(outer, []).append(name)
        while outer is not None and begins[outer] > place:  # also where calls are said to lie inside each other, this ends
            begins[outer] = place
            outer = above.get(outer)
    done: set[str] = set()
    roots = sorted((name for name in data if name not in above), key=begins.__getitem__)
    for root in (*roots, *data):
        yield from _call(root, data, inside, begins, done)


def _call(
    root: str, data: Mapping[str, Any], inside: Mapping[str, list[str]], begins: Mapping[str, int], done: set[str]
) -> Iterator[tuple[str, str, Any]]:
    """A call with all inside it that is not ``done``; without recursion, for what lies inside what is foreign text."""
    waiting = [(root, False)]
    while waiting:
        name, is_end = waiting.pop()
        if is_end:
            yield from _parts_of(name, data, is_end=True)
        elif name not in done:
            done.add(name)
            yield from _parts_of(name, data, is_end=False)
            waiting.append((name, True))
            waiting += [(one, False) for one in sorted(inside.get(name, ()), key=begins.__getitem__, reverse=True)]


def _parts_of(name: str, data: Mapping[str, Any], *, is_end: bool) -> Iterator[tuple[str, str, Any]]:
    call = data[name]
    if _is_whole(name):
        if is_end:
            yield name, "", call
        return
    if isinstance(call, list) or (isinstance(call, dict) and isinstance(call.get("type"), str)):
        if is_end:
            yield name, "", call
    elif isinstance(call, dict):
        # What no version known writes has its own name, behind the rest.
        parts = ("output", *(part for part in call if part not in _PARTS)) if is_end else _PARTS[:-1]
        for part in parts:
            if part in call:
                yield name, part, call[part]


def _is_whole(name: str) -> bool:
    """Gradients of parameters and variables that were saved by hand have no inputs and outputs."""
    words = name.split(".")
    return words[-1] in (_DEBUG, _GRADIENTS) or (len(words) > 1 and words[-2] == _GRADIENTS)


def _items(name: str, part: str, value: Any, found: DumpJson) -> Iterator[Item]:
    called = f"{name}.{'input' if part in _CALLED_INPUT else part}" if part else name
    is_gradient = not part and _GRADIENTS in name.split(".")[-2:]
    yield from _leaves(called, value, found, has_indices=not is_gradient)


def _leaves(name: str, value: Any, found: DumpJson, *, has_indices: bool = True) -> Iterator[Item]:
    if len(name) > _MOST_NAME:
        found.first_too_long = found.first_too_long or name[:_MOST_NAME]
        found.too_long += 1
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(f"{name}.{index}" if has_indices else name, one, found, has_indices=has_indices)
    elif isinstance(value, dict):
        if isinstance(value.get("tensor"), dict) and "class_type" in value:
            value = value["tensor"]
        if not isinstance(value.get("type"), str):
            for key, one in value.items():
                yield from _leaves(f"{name}.{key}", one, found, has_indices=has_indices)
        elif isinstance(value.get("dtype"), str) and "shape" in value:
            written = value.get("data_name")
            yield Item(name, written if isinstance(written, str) and written != "-1" else "", _stated(value))
        else:
            found.others += 1


def _stated(leaf: Mapping[str, Any]) -> Stated:
    written = leaf["dtype"].removeprefix("torch.")
    dtype = next((name for name in (written, written.lower()) if name in DTYPES), "")
    numbers = {ours: _number(leaf.get(theirs)) for theirs, ours in _STATISTICS.items()}
    checksum = leaf.get("md5")
    shape = _shape(leaf["shape"])
    return Stated(
        dtype,
        shape or (),
        {name: value for name, value in numbers.items() if value is not None},
        checksum=checksum if isinstance(checksum, str) and checksum_kind(checksum) else "",
        fault=bad_shape(printable(_as_written(leaf["shape"]), 80)) if shape is None else "",
    )


def _shape(value: Any) -> tuple[int, ...] | None:
    """None for what is none."""
    if not isinstance(value, list) or len(value) > MOST_AXES:
        return None
    extents = [int(extent) for extent in value if isinstance(extent, float) and 0 <= extent < 2**63 and extent.is_integer()]
    return tuple(extents) if len(extents) == len(value) else None


def _as_written(value: Any) -> str:
    """Integers were read as floats."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_written, value[: MOST_AXES + 1]))}]"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, float | bool) else None
