"""What a comparison found, as a person asks for it in Python."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fastcmp.analysis.story import Story, find_story
from fastcmp.errors import EXIT_ERROR
from fastcmp.results.findings import BlindSpots, Finding, find_worst
from fastcmp.results.totals import Totals


@dataclass(frozen=True, repr=False)
class Result:
    """What a comparison found.

    Attributes
    ----------
    table : pyarrow.Table
        The report, one row per key of golden and target; the columns of `fastcmp.results.schema.COLUMNS`.
    totals : Totals
    first_divergence : Finding or None
        The failed pair that ran first.
    blind_spots : BlindSpots
        What could not be compared, and how much of it ran before the first divergence.
    order_is_known : bool
        False where golden is a plain directory: "first" is by name then, because such a dump does not say in which order it ran.
    output : str
        Directory of the report files.
    warnings : tuple of str
        What was odd about the dumps themselves.
    is_complete : bool
        False where a comparison was judged before it came to its end.
    """

    table: pa.Table
    totals: Totals
    first_divergence: Finding | None
    blind_spots: BlindSpots
    order_is_known: bool
    output: str
    warnings: tuple[str, ...]
    is_complete: bool = True

    def __repr__(self) -> str:
        counts = f"{self.totals.pairs} pairs, {self.totals.passed} passed, {self.totals.failed} failed, {self.totals.errors} errors"
        first = f"; first divergence: {self.first_divergence}" if self.first_divergence else ""
        return f"<Result: {counts}, {self.totals.unpaired} alone{first}; report in {self.output}>"

    @property
    def ok(self) -> bool:
        """True if every pair was compared and passed, and nothing stood alone that may not."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0: all passed; 1: something differs; 2: something could not be compared, or has not been yet."""
        return self.totals.exit_code if self.is_complete else EXIT_ERROR

    @functools.cached_property
    def story(self) -> Story:
        """Where it went wrong, as facts: what jumps first, how far it reaches, whether both runs read the same tokens, or just rounding."""
        return find_story(self.table, order_is_known=self.order_is_known)

    def worst(self, number: int = 10) -> list[Finding]:
        """The ``number`` worst compared pairs, worst first."""
        return find_worst(self.table, number)

    def to_arrow(self) -> pa.Table:
        """The report as a `pyarrow.Table`."""
        return self.table

    def to_pandas(self) -> Any:
        """The report as a `pandas.DataFrame`; pandas must be installed."""
        return self.table.to_pandas()
