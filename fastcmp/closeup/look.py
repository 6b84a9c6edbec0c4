"""One row of a report in depth: what it says, what its files hold now, where the error lies and which patterns it has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from math import prod
from typing import Any, Final, NamedTuple

from fastcmp.closeup.boxes import Box, box_around
from fastcmp.closeup.facts import Facts, gather_facts
from fastcmp.closeup.matching import match, too_few
from fastcmp.closeup.numbers import as_floats
from fastcmp.closeup.pair_reader import PairReader, Sides
from fastcmp.closeup.pattern import LEAST_ELEMENTS, Floats, Pattern
from fastcmp.closeup.patterns.places import place_text
from fastcmp.closeup.relatives import find_relatives
from fastcmp.closeup.run_inputs import RunInputs
from fastcmp.dtypes import DTYPES
from fastcmp.errors import CODES, FastcmpError, TensorError
from fastcmp.formats import TensorInfo, scan
from fastcmp.formats.layout import format_name
from fastcmp.formats.places import shown_place
from fastcmp.options import CompareOptions
from fastcmp.pairing import Pair
from fastcmp.results.json_text import plain_json
from fastcmp.results.rows import row_of
from fastcmp.results.saved import SavedReport
from fastcmp.sources.named_tensor import NamedTensor

HELD_ELEMENTS: Final = 2**23
"""Elements of each side in which patterns are looked for: 64 MiB as float64, and about ten arrays of that size beside them."""

_VAGUE: Final = frozenset(("only some indices differ", "grows along an axis", "unrelated values"))


@dataclass(frozen=True, slots=True)
class Side:
    """One tensor as its file is now. ``error`` says why it cannot be read; all but the path is empty then."""

    path: str
    dtype: str = ""
    dtype_before_dump: str = ""
    shape: tuple[int, ...] | None = None
    nbytes: int = 0
    layout: str = ""
    modified: str = ""
    error: str = ""


@dataclass(frozen=True)
class Closeup:
    """A look at one pair.

    Attributes
    ----------
    row : dict
        All columns of the report.
    golden, target : Side or None
        None for a side that was not dumped.
    remarks : tuple of str
        What is odd about the files: they changed since, or are gone.
    explanation : str
        What the error code of the row means and what to do about it; "" where the pair was compared.
    facts : Facts or None
        None where the elements could not be compared.
    patterns : tuple of Pattern
        Those that fit, the most telling first.
    looked_at : str
        The part in which patterns were looked for, where the tensor is too large to be held; "" for all of it.
    too_few : bool
        So few elements differ that no pattern could be told.
    """

    row: dict[str, Any]
    golden: Side | None = None
    target: Side | None = None
    remarks: tuple[str, ...] = ()
    explanation: str = ""
    facts: Facts | None = None
    patterns: tuple[Pattern, ...] = ()
    looked_at: str = ""
    too_few: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data; nan and inf as text, complex values too."""
        return {name: plain_json(value) for name, value in asdict(self).items()}


def look(report: SavedReport, row: int, *, worst: int = 10) -> Closeup:
    """Read the tensors of one row again and say what there is to say.

    What cannot be read is a remark, never an error: the row of the report is there in any case.
    """
    facts = row_of(report.table, row)
    explanation = _explanation(facts)
    inputs = RunInputs(report.facts)
    try:
        pair, options = inputs.pair_of(facts), inputs.options
    except FastcmpError as error:
        return Closeup(facts, remarks=(f"the tensors cannot be read again: {error}",), explanation=explanation)
    return _Looking(report, row, facts, inputs, pair).closeup(explanation, worst, options.relative_floor)


class _Examined(NamedTuple):
    """The last fields of a `Closeup`."""

    facts: Facts | None = None
    patterns: tuple[Pattern, ...] = ()
    looked_at: str = ""
    too_few: bool = False


class _Looking:
    """What the parts of one look share."""

    def __init__(self, report: SavedReport, row: int, facts: dict[str, Any], inputs: RunInputs, pair: Pair) -> None:
        self._report, self._row, self._columns, self._inputs, self._pair = report, row, facts, inputs, pair
        self._remarks: list[str] = []

    def closeup(self, explanation: str, worst: int, relative_floor: float) -> Closeup:
        golden, target = self._side("golden", self._pair.golden), self._side("target", self._pair.target)
        found = _Examined()
        if golden is not None and target is not None and not golden.error and not target.error:
            try:
                found = self._examine(worst, relative_floor)
            except FastcmpError as error:
                self._remarks.append(f"the elements were not looked at: {error}")
            except MemoryError:
                self._remarks.append("the elements were not looked at: there is not enough memory for a part of them")
        if found.facts is not None:
            self._remarks.extend(_disagreements(self._columns, found.facts, self._inputs.options))
        return Closeup(self._columns, golden, target, tuple(self._remarks), explanation, *found)

    def _side(self, role: str, tensor: NamedTensor | None) -> Side | None:
        if tensor is None:
            return None
        try:
            info = scan(tensor.path, self._inputs.options.scan)
        except TensorError as error:
            # A row that says so itself needs no remark.
            if self._columns["cmp_flag"]:
                self._remarks.append(f"{role} can no longer be read: {error}")
            return Side(shown_place(tensor.path), error=str(error))
        modified = datetime.fromtimestamp(info.identity.mtime_ns / 1e9, timezone.utc)
        finished = self._inputs.finished_at
        prefix = "golden" if role == "golden" else "acl"
        was = (self._columns[f"{prefix}_dtype"], self._columns[f"{prefix}_shape"])
        now = (tensor.dtype or info.dtype, str(info.shape))
        if all(was) and was != now:
            self._remarks.append(f"{role} has changed since it was compared: it was {was[0]} {was[1]}, it is {now[0]} {now[1]}")
        elif finished is not None and modified > finished:
            self._remarks.append(f"the {role} file was written after the comparison, at {modified:%Y-%m-%d %H:%M:%S} UTC")
        before = tensor.dtype if tensor.dtype in DTYPES and tensor.dtype != info.dtype else ""
        return Side(shown_place(tensor.path), info.dtype, before, info.shape, info.nbytes, _layout_text(info), modified.isoformat())

    def _examine(self, worst: int, relative_floor: float) -> _Examined:
        options = self._inputs.options
        assert self._pair.golden is not None and self._pair.target is not None
        with PairReader(self._pair.golden.path, self._pair.target.path, options.scan, options.scale) as reader:
            golden, target = reader.golden, reader.target
            if not reader.has_equal_counts:
                self._remarks.append(count_text(golden.shape, target.shape))
                return _Examined()
            facts = gather_facts(reader.pieces(), golden.shape, worst=worst, relative_floor=relative_floor)
            position = _position(facts.worst[0].index, golden.shape) if facts.worst else 0
            box = box_around(golden.shape, position, HELD_ELEMENTS)
            is_whole = box.stop - box.start == golden.element_count
            sides = reader.read(box)
        given = sides.target.reshape(target.shape) if is_whole else sides.target
        patterns = match(sides.golden, given)
        if facts.differing_count >= LEAST_ELEMENTS and not _is_settled(patterns):
            patterns = find_relatives(self._report, self._row, facts, sides, self._read_other) + patterns
        looked_at = "" if is_whole else place_text(_slices(box), golden.shape)
        return _Examined(facts, tuple(patterns), looked_at, not _is_settled(patterns) and too_few(sides.golden, sides.target))

    def _read_other(self, row: int, side: str, box: Box) -> Floats:
        """A part of one side of another row."""
        pair = self._inputs.pair_of(row_of(self._report.table, row))
        tensor = pair.golden if side == "golden" else pair.target
        if tensor is None:
            raise FastcmpError("the side was not dumped")
        with PairReader(tensor.path, tensor.path, self._inputs.options.scan) as reader:
            if reader.golden.element_count < box.stop:
                raise FastcmpError("the tensor has become smaller")
            found: Sides = reader.read(box)
        return as_floats(found.golden)


def _is_settled(patterns: list[Pattern]) -> bool:
    """True where a pattern says what was done, not only where or that nothing is alike."""
    return any(not pattern.place and pattern.name not in _VAGUE for pattern in patterns)


def _explanation(row: dict[str, Any]) -> str:
    code = str(row["cmp_fail_reason"] or "").rpartition("[")[2].rstrip("]")
    return f"{code}: {CODES[code].meaning}; {CODES[code].advice}" if code in CODES else ""


def _disagreements(row: dict[str, Any], facts: Facts, options: CompareOptions) -> list[str]:
    """Remarks where the files do not hold what the report was made from."""
    if not row["cmp_flag"]:
        return []
    pairs: list[tuple[str, float | int | None]] = [
        ("mismatch_count", facts.differing_count),
        ("max_absolute_error", facts.max_absolute_error),
    ]
    if not options.mask_fill:  # masks are no mismatch then
        pairs.append(("nonfinite_mismatch_count", facts.nonfinite_mismatch_count))
    if options.scale is None and facts.golden is not None and facts.target is not None:
        pairs += [("golden_max_value", facts.golden.highest), ("golden_min_value", facts.golden.lowest)]
        pairs += [("acl_max_value", facts.target.highest), ("acl_min_value", facts.target.lowest)]
    for name, now in pairs:
        then = row[name]
        if then is not None and now is not None and then != now and not (then != then or now != now):
            return [f"the files are not as they were compared: {name} was {then:.9g}, it is {now:.9g}; compare again"]
    return []


def count_text(golden: tuple[int, ...], target: tuple[int, ...]) -> str:
    """Why two shapes cannot be compared one by one, in words."""
    one, other = prod(golden), prod(target)
    text = f"golden {golden} has {one} elements, target {target} has {other}"
    if len(golden) == len(target):
        apart = [axis for axis, (a, b) in enumerate(zip(golden, target, strict=True)) if a != b]
        text += "; " + ", ".join(f"axis {axis}: {golden[axis]} against {target[axis]}" for axis in apart)
    large, small = max(one, other), min(one, other)
    if small and large % small == 0:
        times = large // small
        text += f"; {'target' if other > one else 'golden'} is {times} times as large: {_times_cause(times)}"
    return text


def _times_cause(times: int) -> str:
    return f"repeated heads, {times} ranks gathered into one, or a prompt against a single token?"


def _layout_text(info: TensorInfo) -> str:
    parts = ["C order"] if info.strides is None and info.layout == "plain" else []
    if info.strides is not None:
        is_fortran = info.strides == tuple(prod(info.shape[:axis]) for axis in range(len(info.shape)))
        parts.append("Fortran order" if is_fortran else f"strides {info.strides} elements")
    if info.layout != "plain":
        parts.append(f"FRACTAL_NZ in blocks of {info.c0}")
    elif info.format_code != 2:
        parts.append(format_name(info.format_code))
    parts += ["big endian"] if info.big_endian else []
    parts += ["packed"] if info.packed else []
    return ", ".join(parts)


def _position(index: tuple[int, ...], shape: tuple[int, ...]) -> int:
    position = 0
    for one, extent in zip(index, shape, strict=True):
        position = position * extent + one
    return position


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(origin, origin + extent) for origin, extent in zip(box.origin, box.extents, strict=True))
