"""The tensors of a saved report, found again as its run found them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.pairing import Pair, pair
from fastcmp.sources import load
from fastcmp.sources.wording import printable


class RunInputs:
    """What `run.json` says a run compared.

    Parameters
    ----------
    run : mapping
        `SavedReport.run`.
    row_count : int
        Of the report.

    Raises
    ------
    UsageError
        From every attribute, if `run.json` does not say enough, or the dumps are gone or no longer what they were.
    """

    def __init__(self, run: Mapping[str, Any], row_count: int) -> None:
        self._run, self._row_count = run, row_count

    @cached_property
    def options(self) -> CompareOptions:
        """The options of the run; roots are absolute."""
        known = self._run.get("options")
        if not isinstance(known, dict):
            raise UsageError("the report has no run.json that names its inputs; run the comparison again")
        scan = _fields(ScanOptions, known.get("scan"))
        scan["roots"] = tuple(os.path.join(self._directory, root) for root in scan.get("roots", ()))
        options = _fields(CompareOptions, known)
        options["scan"] = ScanOptions(**scan)
        return CompareOptions(**options)

    @cached_property
    def pairs(self) -> list[Pair]:
        """One pair for each row of the report, in its order."""
        sides = [str(self._run.get(role, "")) for role in ("golden", "target")]
        if not all(sides):
            raise UsageError("the report has no run.json that names its inputs; run the comparison again")
        golden, target = (os.path.join(self._directory, side) for side in sides)
        dumps = (
            load(golden, "golden", self.options, working_directory=self._directory),
            load(target, "target", self.options, working_directory=self._directory),
        )
        pairs = pair(*dumps, self.options)
        if len(pairs) != self._row_count:
            names = " and ".join(printable(side) for side in sides)
            raise UsageError(
                f"{names} name {len(pairs)} tensors now, and the report has {self._row_count} rows; the dumps have changed, compare again"
            )
        return pairs

    def pair_of(self, row: int, facts: Mapping[str, Any]) -> Pair:
        """The pair of a row, of which ``facts`` are the columns."""
        found = self.pairs[row]
        if tuple(found.key) != (facts["rank"], facts["data_id"], facts["token_id"]):
            name = printable(f"{found.key.data_id} {found.key.token_id}")
            raise UsageError(f"row {row} would be {name} now; the dumps have changed since they were compared, compare again")
        return found

    @property
    def _directory(self) -> str:
        """Where the run's relative paths begin."""
        return str(self._run.get("working_directory") or os.getcwd())


def _fields(kind: type, values: Any) -> dict[str, Any]:
    """Those of the values that are fields of a dataclass of options; lists as the tuples that they were."""
    known = {field.name for field in dataclasses.fields(kind)}
    given = values if isinstance(values, dict) else {}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in known}
