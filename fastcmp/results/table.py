"""What a task found, its pairs, their metrics and verdicts, as one record batch in report order of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.dump_layout import split_low_level_path
from fastcmp.errors import CODES
from fastcmp.outcome import TaskResult, TensorFacts
from fastcmp.pairing import Alone, Pair
from fastcmp.results.schema import BY_NAME, METRIC_NAMES, ROW_COLUMN, arrow_schema
from fastcmp.results.stated_rows import StatedVerdict
from fastcmp.results.stated_sides import stated_sides, stated_verdicts
from fastcmp.results.text import joined, shape_text, string_array, valid_unicode
from fastcmp.sources.named_tensor import NamedTensor
from fastcmp.sources.wording import LOW_LEVEL_ADVICE, printable
from fastcmp.thresholds import needs_scale
from fastcmp.verdict import PASS, Rules, judge, judge_uncompared, same_but_for_ones

# The original's own sentences; scripts of its users look for them.
_MISSING_SENTENCE: Final = {
    "golden": "golden_data_path is not exist.",
    "target": "acl_data_path is not exist.",
}
_SHAPE_SENTENCE: Final = "data shape doesn't match."


def compared_positions(result: TaskResult) -> list[int]:
    """Positions of the items that have metrics, in the order of ``result.sums``."""
    return [position for position, code in enumerate(result.error_codes) if not code]


def unpaired_result(pairs: Sequence[Pair], task: int, alone: Alone | None = None) -> TaskResult:
    """The pairs that have one side only, as the outcome of a task that nobody had to run; ``alone`` knows what is near."""
    result = TaskResult(task=task)
    for pair in pairs:
        present = "target" if pair.golden is None else "golden"
        # Its own name: the key may be one that tells it apart from golden's.
        tensor = pair.golden or pair.target
        key = pair.key if tensor is None else tensor.key
        rank = f", rank {pair.key.rank}" if pair.key.rank else ""
        near = alone.text(pair) if alone is not None else ""
        result.rows.append(pair.row)
        result.golden.append(TensorFacts())
        result.target.append(TensorFacts())
        result.error_codes.append("E_UNPAIRED")
        result.error_sides.append("golden" if present == "target" else "target")
        result.error_details.append(f"only {present} has data_id {key.data_id}, token_id {key.token_id}{rank}{_unmatched(pair)}{near}")
        result.notes.append(())
        result.metric_values.append(())
        result.sums_counts.append(0)
    return result


def _unmatched(pair: Pair) -> str:
    """Of a tensor that is there for a pattern without any file: which, and why there is none."""
    tensor = pair.target or pair.golden
    if tensor is None or not tensor.is_unmatched:
        return ""
    return f", which is {printable(tensor.path, 400)}: {'; '.join(tensor.notes)}; {LOW_LEVEL_ADVICE}"


def record_batch(
    result: TaskResult, pairs: Sequence[Pair], metrics: Mapping[str, Any], rules: Rules, custom: Sequence[str] = ()
) -> pa.RecordBatch:
    """The rows of one task, with a leading ``row`` column that says where they stand in the report.

    Parameters
    ----------
    result : TaskResult
        Every item a whole pair: the pieces of a large one are merged.
    pairs : sequence of Pair
        All pairs of the run; ``pairs[row].row == row``.
    metrics : mapping of str to column
        One entry per compared item, in order (`fastcmp.metrics.finish`). Empty entries are None, masked, or NaN in a count.
    rules : Rules
    custom : sequence of str
        Names of the user's own metrics; their numbers stand in ``result``.

    Returns
    -------
    pyarrow.RecordBatch
        In the schema of `fastcmp.results.schema.arrow_schema` with ``with_row=True`` and these metrics.
    """
    row_count = len(result.rows)
    compared = compared_positions(result)
    row_pairs = [pairs[row] for row in result.rows]
    if custom:
        of_compared = [result.metric_values[position] for position in compared]
        metrics = {**metrics, **{name: [values[number] for values in of_compared] for number, name in enumerate(custom)}}
    stated = _stated(result, row_pairs, rules)
    verdicts, reasons = _verdicts(result, row_pairs, compared, metrics, rules, stated)
    at = slice(None) if len(compared) == row_count else np.array(compared, dtype=np.intp)

    columns: dict[str, Any] = {
        ROW_COLUMN: pa.array(result.rows, pa.int64()),
        "token_id": [pair.key.token_id for pair in row_pairs],
        "data_id": [pair.key.data_id for pair in row_pairs],
        "rank": [pair.key.rank for pair in row_pairs],
        "pair_rule": [pair.rule for pair in row_pairs],
        "cmp_flag": pa.array([not code for code in result.error_codes], pa.bool_()),
        "bytes": pa.array([golden.nbytes + target.nbytes for golden, target in zip(result.golden, result.target, strict=True)], pa.int64()),
        "notes": _notes(result, row_pairs, compared, metrics, rules),
        "verdict": verdicts,
        "verdict_reason": reasons,
        "cmp_fail_reason": [
            _fail_reason(result, position, row_pairs[position], verdicts[position], stated) if code else ""
            for position, code in enumerate(result.error_codes)
        ],
        **_side_columns("golden", [pair.golden for pair in row_pairs], result.golden),
        **_side_columns("acl", [pair.target for pair in row_pairs], result.target),
        **{name: _metric_column(name, metrics.get(name), at, len(compared), row_count) for name in (*METRIC_NAMES, *custom)},
    }
    _add_statistics(columns, "golden", result.golden)
    _add_statistics(columns, "acl", result.target)
    schema = arrow_schema(with_row=True, custom=custom)
    arrays = [columns[name] if isinstance(columns[name], pa.Array) else string_array(columns[name]) for name in schema.names]
    return pa.record_batch(arrays, schema=schema)


def _side_columns(prefix: str, tensors: Sequence[NamedTensor | None], facts: Sequence[TensorFacts]) -> dict[str, Any]:
    shapes = [side.shape for side in facts]
    texts = {shape: shape_text(shape) for shape in set(shapes)}
    return {
        f"{prefix}_data_path": [None if tensor is None else tensor.written_path for tensor in tensors],
        f"{prefix}_dtype": [side.dtype or None for side in facts],
        f"{prefix}_shape": [texts[shape] for shape in shapes],
    }


def _add_statistics(columns: dict[str, Any], prefix: str, facts: Sequence[TensorFacts]) -> None:
    """What a header stated about a tensor without data stands where the metrics of the data would."""
    if not [side for side in facts if side.statistics is not None]:
        return
    for name in ("max", "min", "mean"):
        stated = pa.array([(side.statistics or {}).get(name) for side in facts], pa.float64())
        columns[f"{prefix}_{name}_value"] = pc.coalesce(columns[f"{prefix}_{name}_value"], stated)


def _stated(result: TaskResult, row_pairs: Sequence[Pair], rules: Rules) -> dict[int, StatedVerdict]:
    """By position: what statistics and checksums say about pairs without data."""
    sides = stated_sides(result)
    return stated_verdicts(sides, _data_ids(row_pairs, list(sides), rules), rules)


def _verdicts(
    result: TaskResult,
    row_pairs: Sequence[Pair],
    compared: Sequence[int],
    metrics: Mapping[str, Any],
    rules: Rules,
    stated: Mapping[int, StatedVerdict],
) -> tuple[list[str], list[str]]:
    verdicts = [""] * len(result.rows)
    reasons = [""] * len(result.rows)
    judged = judge(
        rules,
        _data_ids(row_pairs, compared, rules),
        [result.golden[position].dtype for position in compared],
        [result.target[position].dtype for position in compared],
        [result.golden[position].shape or () for position in compared],
        [result.target[position].shape or () for position in compared],
        metrics,
    ) if compared else ([], [])  # fmt: skip
    for position, verdict, reason in zip(compared, *judged, strict=True):
        verdicts[position], reasons[position] = verdict, reason
    for position, code in enumerate(result.error_codes):
        if position in stated:
            verdicts[position], reasons[position] = stated[position].verdict, stated[position].reason
        elif code:
            only_side = _only_side(row_pairs[position])
            verdicts[position], reasons[position] = judge_uncompared(rules, code, only_side)
    return verdicts, reasons


def _data_ids(row_pairs: Sequence[Pair], compared: Sequence[int], rules: Rules) -> list[str]:
    """As the report shows them, where a rule asks for names."""
    data_ids = [row_pairs[position].key.data_id for position in compared]
    return list(map(valid_unicode, data_ids)) if rules.by_name.ask_for_names else data_ids


def _only_side(pair: Pair) -> str:
    if pair.golden is None:
        return "target"
    return "golden" if pair.target is None else ""


def _fail_reason(result: TaskResult, position: int, pair: Pair, verdict: str, stated: Mapping[int, StatedVerdict]) -> str:
    """The original's sentence where it had one, then ours: where, what, what to do, and the code."""
    code = result.error_codes[position]
    if position in stated:
        return f"{stated[position].detail} [{code}]"
    side = result.error_sides[position]
    sentence = ""
    if code in ("E_MISSING", "E_UNPAIRED"):
        absent = {"golden": "target", "target": "golden"}.get(_only_side(pair), side)
        sentence = _MISSING_SENTENCE.get(absent, _MISSING_SENTENCE["golden"])
    elif code == "E_SHAPE":
        sentence = _SHAPE_SENTENCE
    detail = result.error_details[position] or CODES[code].meaning
    tensor = pair.target if side == "target" else pair.golden
    if code == "E_MISSING" and tensor is not None and split_low_level_path(tensor.written_path) is not None:
        why = [note for note in tensor.notes if tensor.is_unmatched]
        detail = "; ".join([detail, *why, LOW_LEVEL_ADVICE])
    if verdict != PASS:  # a pass without metrics stands alone, and may
        detail = CODES[code].advised(detail)
    return " ".join(part for part in (sentence, detail, f"[{code}]") if part)


def _notes(result: TaskResult, row_pairs: Sequence[Pair], compared: Sequence[int], metrics: Mapping[str, Any], rules: Rules) -> list[str]:
    """What there is to say about each row; for most of them nothing, and that is seen without asking each source of notes."""
    of_metrics: dict[int, Any] = {}
    if "notes" in metrics:
        of_metrics = {position: note for position, note in zip(compared, metrics["notes"], strict=True) if note}
    texts = [""] * len(row_pairs)
    for position, (own, pair, golden, target) in enumerate(zip(result.notes, row_pairs, result.golden, result.target, strict=True)):
        one, other = pair.golden, pair.target
        is_plain = golden.dtype == target.dtype and golden.shape == target.shape and position not in of_metrics
        if own or not is_plain or (one is not None and one.notes) or (other is not None and other.notes):
            notes = _pair_notes(result, position, pair, rules)
            texts[position] = joined((*notes, *_as_notes(of_metrics.get(position))))
    return texts


def _pair_notes(result: TaskResult, position: int, pair: Pair, rules: Rules) -> list[str]:
    notes = list(result.notes[position])
    for tensor in (pair.golden, pair.target):
        if tensor is not None:
            notes.extend(tensor.notes)
    golden, target = result.golden[position], result.target[position]
    if result.error_codes[position]:
        return notes
    if golden.dtype != target.dtype:
        notes.append(f"dtypes differ: {golden.dtype} against {target.dtype}, compared after widening")
        if needs_scale(golden.dtype, target.dtype) and not rules.scale_known:
            notes.append("integer against float and no scale is known")
    if golden.shape != target.shape and not same_but_for_ones(golden.shape or (), target.shape or ()):
        notes.append(
            f"shapes differ: {shape_text(golden.shape)} against {shape_text(target.shape)}, compared in the order the elements lie"
        )
    return notes


def _as_notes(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _metric_column(name: str, values: Any, compared: slice | np.ndarray, compared_count: int, row_count: int) -> pa.Array:
    """A metric of the compared rows as a column of all rows; null where there was nothing to compute."""
    arrow_type = BY_NAME[name].arrow_type if name in BY_NAME else "float64"
    convert = _TO_ARROW[arrow_type]
    if values is None:
        return convert(np.zeros(row_count), np.ones(row_count, dtype=bool))
    if len(values) != compared_count:
        raise ValueError(f"metric {name}: {len(values)} values for {compared_count} compared pairs")
    if arrow_type == "string":
        texts = np.full(row_count, None, dtype=object)
        texts[compared] = [shape_text(value) if isinstance(value, tuple) else value for value in values]
        return string_array(texts.tolist())
    present, empty = _split_empty(values, arrow_type)
    column = np.zeros(row_count, dtype=present.dtype)
    mask = np.ones(row_count, dtype=bool)
    column[compared] = present
    mask[compared] = empty
    return convert(column, mask)


def _split_empty(values: Any, arrow_type: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and where they are empty; a count cannot be NaN, so there NaN says empty too."""
    if isinstance(values, np.ma.MaskedArray):
        return values.filled(0), np.ma.getmaskarray(values)
    array = np.asarray(values)
    empty = np.zeros(len(array), dtype=bool)
    if array.dtype == object:
        empty = np.array([value is None for value in values], dtype=bool)
        array = np.array([0 if value is None else value for value in values], dtype=np.int64 if arrow_type == "int64" else np.float64)
    if arrow_type == "int64" and array.dtype.kind == "f":
        empty = empty | np.isnan(array)
        array = np.where(empty, 0, array)
    return array, empty


def _numeric(arrow_type: pa.DataType, dtype: type) -> Callable[[np.ndarray, np.ndarray], pa.Array]:
    return lambda values, mask: pa.array(values.astype(dtype), arrow_type, mask=mask)


_TO_ARROW: Final[dict[str, Callable[[np.ndarray, np.ndarray], pa.Array]]] = {
    "float64": _numeric(pa.float64(), np.float64),
    "int64": _numeric(pa.int64(), np.int64),
    "string": lambda values, mask: pa.nulls(len(values), pa.string()),
}
