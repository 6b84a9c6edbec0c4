"""The names of low-level trees: of run directories, operations and tensors."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Final, NamedTuple

from fastcmp.sources.natural_order import natural_key

# Newer builds append the name that the operation gives the tensor: it says no more than the number, and older builds do not have it.
_TENSOR: Final = re.compile(r"(in|out)tensor([0-9]+)(_.*)?", re.IGNORECASE | re.DOTALL)
_OPERATION: Final = re.compile(r"[0-9]+_[A-Za-z].*", re.DOTALL)
_DEVICE_AND_PID: Final = re.compile(r"([0-9]{1,3})_([0-9]+)")
_TENSORS: Final = "tensors"
# The directory above the run directories had a name of its own in each era. In this one they are {pid}_{tid}: no device.
_PID_FIRST: Final = "atb_temp"
_BEFORE: Final = "before"
_AFTER: Final = "after"

Order = tuple[object, ...]


class OperationPlace(NamedTuple):
    """A directory of a low-level tree, taken apart: the run directory, the execution count and the path of the operation."""

    process: str
    token: str
    operation: str


class TensorName(NamedTuple):
    """Which tensor of an operation: ``in`` or ``out``, its number, and the name behind that, ``_attn_out``, which most have not."""

    direction: str
    number: int
    name: str


class _Split(NamedTuple):
    """What the names of a directory say, from the first to the last."""

    place: OperationPlace
    has_operation: bool


# Of a directory and of those above it, which it shares with others: a tree of 50 000 directories takes each apart in one step.
@lru_cache(maxsize=1 << 16)
def _split(directory: str) -> _Split:
    above, _, name = directory.rpartition("/")
    (process, token, operation), has_operation = _split(above) if above else _Split(OperationPlace("", "", ""), False)
    if name.isdigit():
        return _Split(OperationPlace(above, name, ""), False)
    if name == _TENSORS and not token and not process:
        return _Split(OperationPlace(directory, "", ""), False)
    is_operation = has_operation or _OPERATION.fullmatch(name) is not None
    return _Split(OperationPlace(process, token, f"{operation}/{name}" if operation else name), is_operation)


def place_of(directory: str) -> OperationPlace | None:
    """None where the names of a directory are not those of a low-level tree: no operation below the last one of digits only."""
    place, has_operation = _split(directory)
    return place if has_operation else None


@lru_cache(maxsize=4096)
def tensor_of(name: str) -> TensorName | None:
    """None for a file that is not named as a tensor of an operation."""
    found = _TENSOR.fullmatch(os.path.splitext(name)[0])
    return TensorName(found[1].lower(), int(found[2]), found[3] or "") if found is not None and len(found[2]) < 10 else None


def is_numbered(operation: str) -> bool:
    """True where the first name of an operation's path begins with its number."""
    return _OPERATION.fullmatch(operation.partition("/")[0]) is not None


def order_of(operation: str) -> Order:
    """Where an operation stands: what it was given before what its parts did, what it gave back after that."""
    return (*_steps(operation), (1, ()))


@lru_cache(maxsize=1 << 16)
def _steps(operation: str) -> Order:
    above, _, name = operation.rpartition("/")
    return (*_steps(above), _step(name)) if above else (_step(name),)


@lru_cache(maxsize=4096)
def _step(name: str) -> Order:
    lower = name.lower()
    if lower in (_BEFORE, _AFTER):
        return (0, ()) if lower == _BEFORE else (3, ())
    return (2, natural_key(name))


def device_of(process: str, root: str = "") -> str:
    """The device in the name of a run directory below ``root``, "" where there is none; of which era it is, the root may say."""
    found = _DEVICE_AND_PID.fullmatch(process.rpartition("/")[2])
    if found is None or found[1] == found[2] or _PID_FIRST in f"{root}/{process}".split("/")[-3:-1]:
        return ""
    return found[1]
