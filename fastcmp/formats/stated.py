"""Tensors of which a file only states something: a dtype, a shape, and statistics or a checksum.

What a source has read in that file travels in the place itself, behind the path: a worker opens nothing for it, wherever it runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastcmp.dtypes import DTYPES
from fastcmp.errors import STATISTICS, NoDataError, TensorError
from fastcmp.formats.kept_files import KeptFiles
from fastcmp.formats.places import NUL_IN_PATH, STATED_MARK, member_place, split_place
from fastcmp.formats.tensor_info import NOT_OPENED, TensorInfo
from fastcmp.options import ScanOptions

_MOST_TEXT: Final = 4096
MOST_AXES: Final = 64
_MOST_CHECKSUM: Final = 128

CRC: Final = "a CRC-32"
XOR: Final = "an xor of words"
# The column that msprobe calls md5 may hold any of these, by its mode and version.
_KINDS: Final = {8: CRC, 18: XOR, 32: "an MD5"}
_CHECKSUM: Final = re.compile(r"[0-9a-fA-F]{8}|0[xX][0-9a-fA-F]{16}|[0-9a-fA-F]{32}")


def checksum_kind(text: str) -> str:
    """What kind of checksum a text is, in words; "" for one that is none. Those of two kinds say nothing about each other."""
    return _KINDS[len(text)] if _CHECKSUM.fullmatch(text) else ""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file says about a tensor that it does not hold.

    Attributes
    ----------
    dtype : str
        A key of `fastcmp.dtypes.DTYPES`, "" where it names none of them.
    shape : tuple of int
    statistics : mapping of str to float
        Of max, min, mean and l2norm those that it gives as numbers.
    decimals : int or None
        To how many decimals they are rounded; None for all digits of a float.
    checksum : str
        As written; "" for none.
    fault : str
        What is wrong with the shape that it gives, so that nothing is judged by the rest; "" for nothing.
    """

    dtype: str = ""
    shape: tuple[int, ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    decimals: int | None = None
    checksum: str = ""
    fault: str = ""


def bad_shape(written: str) -> str:
    """The fault of a shape that no tensor has."""
    return f"shape {written}: expected at most {MOST_AXES} lengths, each from 0 to 2^63-1"


def stated_place(path: str, stated: Stated) -> str:
    """The place of a tensor that ``path`` says this of."""
    return member_place(path, STATED_MARK + stated_text(stated))


def stated_text(stated: Stated) -> str:
    """All of it in one line."""
    said: list[Any] = [stated.dtype, stated.shape, dict(stated.statistics), stated.decimals, stated.checksum]
    return json.dumps([*said, stated.fault] if stated.fault else said, separators=(",", ":"))


def is_stated(member: str) -> bool:
    """True for what `stated_place` makes of a tensor."""
    return member.startswith(STATED_MARK)


def scan_batch(places: Sequence[str], options: ScanOptions, kept: KeptFiles | None = None) -> list[TensorInfo | TensorError]:
    """For each place what is stated there, as the error that it is not to have data."""
    return [_scan(*split_place(place)) for place in places]


def _scan(path: str, member: str) -> TensorError:
    stated = parsed_stated(member.removeprefix(STATED_MARK))
    if stated is None:
        return TensorError("E_PATH", path, NUL_IN_PATH)
    if stated.fault:
        return TensorError("E_BAD_DIMS", path, stated.fault)
    numbers = ", ".join(f"{name}={value:g}" for name, value in stated.statistics.items())
    said = ", ".join(part for part in (numbers, f"checksum {stated.checksum}" if stated.checksum else "") if part)
    is_empty = 0 in stated.shape
    code = "E_CHECKSUM" if stated.checksum else "E_STATS_ONLY" if numbers or is_empty else "E_NO_DATA"
    detail = f"stated without data: {said or 'no element'}" if said or is_empty else "the tensor is described, expected data and found none"
    return NoDataError(
        code, path, detail, stated.dtype, stated.shape, tuple(stated.statistics.items()), stated.decimals, stated.checksum,
        identity=NOT_OPENED,
    )  # fmt: skip


def parsed_stated(text: str) -> Stated | None:
    """What `stated_text` was given; None for what it never wrote: a metadata.json may hold any text as a path."""
    if len(text) > _MOST_TEXT:
        return None
    try:
        dtype, shape, statistics, decimals, checksum, *fault = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    if not (isinstance(dtype, str) and (not dtype or dtype in DTYPES) and _is_shape(shape)):
        return None
    if not isinstance(statistics, dict) or not all(name in STATISTICS and _is_number(value) for name, value in statistics.items()):
        return None
    if not (decimals is None or (type(decimals) is int and 0 <= decimals <= 20)):
        return None
    if not isinstance(checksum, str) or len(checksum) > _MOST_CHECKSUM:
        return None
    if len(fault) > 1 or not all(isinstance(one, str) for one in fault):
        return None
    return Stated(dtype, tuple(shape), {name: float(value) for name, value in statistics.items()}, decimals, checksum, *fault)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_AXES and all(type(extent) is int and 0 <= extent < 2**63 for extent in value)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**64)
