"""What a comparison found, as a person asks for it in Python."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fastcmp.analysis.story import Story, find_story
from fastcmp.errors import EXIT_ERROR
from fastcmp.results.execution_order import execution_orders
from fastcmp.results.findings import BlindSpots, Finding, find_blind_spots, find_first_divergence, find_worst
from fastcmp.results.html_table import WORST_SHOWN, result_html
from fastcmp.results.saved import SavedReport, load_saved
from fastcmp.results.totals import Totals, count
from fastcmp.sources.dump import RunOrder


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
    run_order : {"computed", "file", "files", "name"}
        What "first" means: as golden's tensors were computed; as the one file lists them; by the names of files, and in each as it lists
        them; by name, as in a directory of single tensors, which does not say in which order they ran.
    output : str
        Directory of the report files.
    warnings : tuple of str
        What was odd about the dumps themselves.
    is_complete : bool
        False where it was read back, or judged, before the comparison came to its end.
    """

    table: pa.Table
    totals: Totals
    first_divergence: Finding | None
    blind_spots: BlindSpots
    run_order: RunOrder
    output: str
    warnings: tuple[str, ...]
    is_complete: bool = True

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Result:
        """What the comparison found whose report is in ``directory``: see `load_report`."""
        return load_report(directory)

    def __repr__(self) -> str:
        counts = f"{self.totals.pairs} pairs, {self.totals.passed} passed, {self.totals.failed} failed, {self.totals.errors} errors"
        first = f"; first divergence: {self.first_divergence}" if self.first_divergence else ""
        return f"<Result: {counts}, {self.totals.unpaired} alone{first}; report in {self.output}>"

    @property
    def order_is_known(self) -> bool:
        """True if "first" is as golden's tensors were computed."""
        return self.run_order == "computed"

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
        return find_story(self.table, run_order=self.run_order)

    def worst(self, number: int = 10) -> list[Finding]:
        """The ``number`` worst compared pairs, worst first."""
        return find_worst(self.table, number)

    def to_arrow(self) -> pa.Table:
        """The report as a `pyarrow.Table`."""
        return self.table

    def to_pandas(self) -> Any:
        """The report as a `pandas.DataFrame`; `ImportError` where pandas is not installed."""
        try:
            import pandas  # noqa: F401 - pyarrow imports it itself, but says less where it is missing
        except ImportError as error:
            raise _not_installed("pandas", "to_pandas()") from error
        return self.table.to_pandas()

    def to_polars(self) -> Any:
        """The report as a `polars.DataFrame`; `ImportError` where polars is not installed."""
        try:
            import polars
        except ImportError as error:
            raise _not_installed("polars", "to_polars()") from error
        return polars.from_arrow(self.table)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return result_html(
            self.totals,
            self.first_divergence,
            self.blind_spots,
            self.worst(WORST_SHOWN),
            self.output,
            is_complete=self.is_complete,
            run_order=self.run_order,
        )


def _not_installed(package: str, method: str) -> ImportError:
    return ImportError(f"{method}: {package} cannot be imported, fastcmp does without it; pip install {package}", name=package)


def load_report(directory: str | os.PathLike[str]) -> Result:
    """What a comparison found, read back from its report; no tensor is read again.

    Parameters
    ----------
    directory : path
        Of a report, or of a comparison that still runs or was ended: then ``is_complete`` is False, and the rows are those found so far.

    Raises
    ------
    UsageError
        If there is no report.
    OutputError
        If it is damaged.
    """
    saved = load_saved(os.fspath(directory))
    return result_of_saved(saved, saved.table, totals_of_saved(saved.table, saved.facts), saved.directory)


def result_of_saved(saved: SavedReport, table: pa.Table, totals: Totals, output: str) -> Result:
    """The result of a saved report with ``table`` in the place of its own, for it may have been judged anew."""
    orders = execution_orders(table)
    first = find_first_divergence(table, orders)
    return Result(
        table,
        totals,
        first,
        find_blind_spots(table, orders, first),
        saved.run_order,
        output,
        _warnings(saved.facts),
        is_complete=saved.is_complete,
    )


def totals_of_saved(table: pa.Table, facts: Mapping[str, Any]) -> Totals:
    """Counted in the table; only what that does not have, how long it took, is taken from what the run said."""
    said = facts.get("totals")
    said = said if isinstance(said, dict) else {}
    compared = table.column("cmp_flag").to_numpy()
    sizes = table.column("bytes").fill_null(0).to_numpy()
    return count(
        table,
        int(np.sum(sizes[compared.astype(bool)])),
        _number(said.get("elapsed_s")),
        resumed=int(_number(said.get("resumed"))),
        resumed_bytes=int(_number(said.get("resumed_bytes"))),
    )


def _number(value: object) -> float:
    """A number of a foreign file, 0 for anything else."""
    return value if isinstance(value, int | float) and 0 <= value < 2**62 else 0


def _warnings(facts: Mapping[str, Any]) -> tuple[str, ...]:
    warnings = facts.get("warnings")
    return tuple(text for text in warnings if isinstance(text, str)) if isinstance(warnings, list) else ()
