"""New verdicts for rows that were compared before: from their columns alone, no tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.errors import CODES
from fastcmp.results.schema import custom_names
from fastcmp.results.stated_sides import Sides, stated_verdicts
from fastcmp.results.text import parsed_shape, string_array
from fastcmp.thresholds import JUDGED_METRICS
from fastcmp.verdict import PASS, Rules, Shape, judge, judge_uncompared

_UNPAIRED: Final = "E_UNPAIRED"

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


def judged_again(rows: Rows, rules: Rules, stated: Mapping[int, Sides] | None = None) -> Rows:
    """``rows`` with the verdicts and reasons that ``rules`` give them; every other column is as it was.

    Parameters
    ----------
    rows : pyarrow.Table or pyarrow.RecordBatch
        The report's columns, and the ``row`` column if it is there.
    rules : Rules
        ``scale_known`` and ``legacy_euclid`` must be those of the run that made the rows.
    stated : mapping, optional
        By position, what pairs without data are judged by. Those of which that is not known keep their verdicts.

    Returns
    -------
    pyarrow.Table or pyarrow.RecordBatch
        The same bytes as a comparison by these rules would have given.
    """
    verdicts: list[str | None] = _texts(rows, "verdict")
    reasons: list[str | None] = _texts(rows, "verdict_reason")
    failures: list[str | None] = _texts(rows, "cmp_fail_reason")
    compared = np.flatnonzero(_column(rows, "cmp_flag").to_numpy(zero_copy_only=False))
    if len(compared):
        _judge_compared(rows, rules, compared, verdicts, reasons)
    unpaired = pc.ends_with(_column(rows, "cmp_fail_reason"), f"[{_UNPAIRED}]").to_numpy(zero_copy_only=False)
    golden_present = pc.is_valid(_column(rows, "golden_data_path")).to_numpy(zero_copy_only=False)
    for position in np.flatnonzero(unpaired).tolist():
        verdict, reasons[position] = judge_uncompared(rules, _UNPAIRED, "golden" if golden_present[position] else "target")
        verdicts[position] = verdict
        failures[position] = _with_advice(failures[position] or "", needs_advice=verdict != PASS)
    if stated:
        data_ids = _column(rows, "data_id").take(pa.array(list(stated))).to_pylist()
        for position, said in stated_verdicts(stated, data_ids, rules).items():
            code = (failures[position] or "").rpartition(" ")[2]
            verdicts[position], reasons[position], failures[position] = said.verdict, said.reason, f"{said.detail} {code}"
    return _replaced(rows, {"verdict": verdicts, "verdict_reason": reasons, "cmp_fail_reason": failures})


def _judge_compared(
    rows: pa.Table | pa.RecordBatch, rules: Rules, compared: np.ndarray, verdicts: list[str | None], reasons: list[str | None]
) -> None:
    at = pa.array(compared)
    shapes: dict[str, Shape] = {}

    def shapes_of(name: str) -> list[Shape]:
        texts = _column(rows, name).take(at).to_pylist()
        for text in set(texts) - shapes.keys():
            shapes[text] = parsed_shape(text or "()")
        return [shapes[text] for text in texts]

    metrics: dict[str, Any] = {
        name: _column(rows, name).take(at).cast(pa.float64()).to_numpy(zero_copy_only=False)
        for name in (*JUDGED_METRICS, *custom_names(rows.schema.names), "element_count")
    }
    judged = judge(
        rules,
        _column(rows, "data_id").take(at).to_pylist(),
        _column(rows, "golden_dtype").take(at).to_pylist(),
        _column(rows, "acl_dtype").take(at).to_pylist(),
        shapes_of("golden_shape"),
        shapes_of("acl_shape"),
        metrics,
    )
    for position, verdict, reason in zip(compared.tolist(), *judged, strict=True):
        verdicts[position], reasons[position] = verdict, reason


def _with_advice(failure: str, *, needs_advice: bool) -> str:
    """The reason of a tensor that stands alone: what to do about it only where that is asked for."""
    advice, code = f"; {CODES[_UNPAIRED].advice}", f" [{_UNPAIRED}]"
    detail = failure.removesuffix(code).removesuffix(advice)
    return f"{detail}{advice if needs_advice else ''}{code}"


def _column(rows: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    column = rows.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _texts(rows: pa.Table | pa.RecordBatch, name: str) -> list[str | None]:
    return rows.column(name).to_pylist()


def _replaced(rows: Rows, columns: dict[str, list[str | None]]) -> Rows:
    arrays = [string_array(columns[name]) if name in columns else _column(rows, name) for name in rows.schema.names]
    return type(rows).from_arrays(arrays, schema=rows.schema)
