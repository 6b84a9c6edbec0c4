"""Other tensors of the run that this one is, or differs by: a stale buffer, a residual that was not added."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from fastcmp.closeup.boxes import Box
from fastcmp.closeup.facts import Facts, Statistics
from fastcmp.closeup.numbers import as_floats
from fastcmp.closeup.pair_reader import Sides
from fastcmp.closeup.pattern import LEAST_ELEMENTS, Couple, Floats, Pattern
from fastcmp.errors import FastcmpError
from fastcmp.results.rows import row_of, rows_like
from fastcmp.results.saved import SavedReport

# Rows whose statistics agree are read and looked at, the nearest first: so many of them.
_MOST_READ: Final = 6

_STATISTICS: Final = ("golden_max_value", "golden_min_value", "golden_mean_value")

ReadSide = Callable[[int, str, Box], Floats]
"""(row, "golden" or "acl", box) to the elements of that side of another row; `FastcmpError` where they cannot be read."""


def find_relatives(report: SavedReport, row: int, facts: Facts, sides: Sides, read: ReadSide) -> list[Pattern]:
    """Patterns that name another tensor of the report: found by its statistics, and then read to be sure.

    Parameters
    ----------
    report : SavedReport
    row : int
        Of this pair.
    facts : Facts
        Of all of it.
    sides : Sides
        The part of it that is held.
    read : callable
    """
    golden, target, difference = facts.golden, facts.target, facts.difference
    if golden is None or target is None or difference is None or facts.differing_count < LEAST_ELEMENTS:
        return []
    if sides.golden.dtype.kind == "c" or sides.target.dtype.kind == "c" or target.lowest == target.highest:
        return []
    couple = Couple(as_floats(sides.golden), as_floats(sides.target))
    if not couple.has_enough:
        return []
    search = _Search(report, row, sides.box, read, 4.0 * 2.0 ** -max(couple.bits, 7))
    return [found for found in (search.added(golden, difference, couple), search.equal_to(target, couple)) if found]


class _Search:
    """Candidates among the rows of one report."""

    def __init__(self, report: SavedReport, row: int, box: Box, read: ReadSide, roundings: float) -> None:
        self._report, self._row, self._box, self._read, self._roundings = report, row, box, read, roundings
        self._own = row_of(report.table, row)
        self._shapes = {"golden": self._own["golden_shape"], "acl": self._own["acl_shape"]}

    def equal_to(self, target: Statistics, couple: Couple) -> Pattern | None:
        """The row of which a side is what target holds."""
        for other, side, values in self._like(target, couple.target.shape, 1.0):
            if couple.explain(values).fits:
                role = "golden" if side == "golden" else "target"
                text = f"target holds the {role} tensor of {self._name(other)}, as a buffer that was not written again or the wrong output"
                return Pattern("another tensor of the run", True, text)
        return None

    def added(self, golden: Statistics, difference: Statistics, couple: Couple) -> Pattern | None:
        """The golden tensor that was not added, or was added once more."""
        if difference.lowest == difference.highest:
            return None
        size = max(abs(golden.lowest), abs(golden.highest))
        negative = Statistics(-difference.highest, -difference.lowest, -difference.mean)
        for statistics, sign, words in ((negative, -1.0, "lacks"), (difference, 1.0, "has once too often")):
            for other, side, values in self._like(statistics, couple.golden.shape, size):
                if side == "golden" and couple.explain(couple.golden + sign * values).fits:
                    text = f"target {words} the golden tensor of {self._name(other)}: it is golden {'minus' if sign < 0 else 'plus'} that"
                    return Pattern(
                        "skipped addition" if sign < 0 else "double addition", True, f"{text}, as a residual that was {_how(sign)}"
                    )
        return None

    def _like(self, statistics: Statistics, shape: tuple[int, ...], size: float) -> Iterator[tuple[int, str, Floats]]:
        """Rows whose statistics are these but for rounding, with the elements of that side."""
        tolerance = self._roundings * max(size, abs(statistics.lowest), abs(statistics.highest))
        for side in ("golden", "acl"):
            rows = rows_like(self._report.table, side, self._shapes[side], *statistics, tolerance=tolerance)
            for other in islice((one for one in rows if not self._is_same_tensor(one)), _MOST_READ):
                try:
                    yield other, side, self._read(other, side, self._box).reshape(shape)
                except FastcmpError:  # it is gone: nothing can be said of it
                    continue

    def _is_same_tensor(self, row: int) -> bool:
        """True for this pair, and for one that is this tensor under another name: the output of a module is that of its last part too."""
        other = row_of(self._report.table, row)
        return row == self._row or all(other[name] == self._own[name] for name in _STATISTICS)

    def _name(self, row: int) -> str:
        facts = row_of(self._report.table, row)
        token = f", token {facts['token_id']}" if facts["token_id"] else ""
        rank = f", rank {facts['rank']}" if facts["rank"] != self._own["rank"] else ""
        return f"{facts['data_id']}{token}{rank}"


def _how(sign: float) -> str:
    return "skipped" if sign < 0 else "added twice"
