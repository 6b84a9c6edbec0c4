"""How a run came out, counted from its final table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.verdict import ERROR, FAIL, PASS, exit_code


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of the rows of a report. ``rows == pairs + unpaired`` and ``pairs == passed + failed + errors``.

    Attributes
    ----------
    rows : int
    pairs : int
        Rows with a golden and a target tensor.
    passed, failed, errors : int
        Pairs by verdict; an error is a pair that could not be compared.
    unpaired_golden, unpaired_target : int
        Rows that only golden, only target has.
    unpaired_allowed : int
        Those of them that ``--allow-unpaired`` covers.
    bytes : int
        Payload bytes compared, both sides together.
    elapsed_s : float
        From the first task to the last result.
    resumed, resumed_bytes : int
        Rows taken from an earlier run that was ended, and the payload bytes of those: compared, but not in ``elapsed_s``.
    """

    rows: int
    pairs: int
    passed: int
    failed: int
    errors: int
    unpaired_golden: int
    unpaired_target: int
    unpaired_allowed: int
    bytes: int
    elapsed_s: float
    resumed: int = 0
    resumed_bytes: int = 0

    @property
    def unpaired(self) -> int:
        """Rows with one side only."""
        return self.unpaired_golden + self.unpaired_target

    @property
    def gigabytes_per_s(self) -> float:
        """Payload of both sides that this run compared, in 10⁹ bytes per second; 0 if no time was measured."""
        return (self.bytes - self.resumed_bytes) / self.elapsed_s / 1e9 if self.elapsed_s > 0 else 0.0

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, 1 or 2."""
        return exit_code(pairs=self.pairs, failed=self.failed, errors=self.errors, unpaired_refused=self.unpaired - self.unpaired_allowed)


def unpaired_mask(table: pa.Table) -> pa.ChunkedArray:
    """True for the rows that only one side has."""
    return pc.ends_with(table.column("cmp_fail_reason"), "[E_UNPAIRED]")


def count(table: pa.Table, bytes_compared: int, elapsed_s: float, *, resumed: int = 0, resumed_bytes: int = 0) -> Totals:
    """The totals of a report table."""
    verdict = table.column("verdict")
    unpaired = unpaired_mask(table)
    paired = pc.invert(unpaired)
    only_golden = pc.and_(unpaired, pc.is_null(table.column("acl_data_path")))

    def rows_where(mask: pa.ChunkedArray) -> int:
        return pc.sum(mask, min_count=0).as_py()

    def pairs_with(word: str) -> int:
        return rows_where(pc.and_(paired, pc.equal(verdict, word)))

    unpaired_count, only_golden_count = rows_where(unpaired), rows_where(only_golden)
    return Totals(
        rows=table.num_rows,
        pairs=table.num_rows - unpaired_count,
        passed=pairs_with(PASS),
        failed=pairs_with(FAIL),
        errors=pairs_with(ERROR),
        unpaired_golden=only_golden_count,
        unpaired_target=unpaired_count - only_golden_count,
        unpaired_allowed=rows_where(pc.and_(unpaired, pc.equal(verdict, PASS))),
        bytes=bytes_compared,
        elapsed_s=elapsed_s,
        resumed=resumed,
        resumed_bytes=resumed_bytes,
    )
