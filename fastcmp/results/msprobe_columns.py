"""The report in msprobe's columns, for the scripts that people have for its ``compare_result_*.csv``.

NPU is what this report calls target, Bench what it calls golden. Its versions call the last columns differently: all of them are here.
What this report does not know is ``N/A``, as there, or an empty cell: whether gradients were asked for, and the norms.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.results.schema import Column
from fastcmp.verdict import PASS

MSPROBE_NAME: Final = "compare_result_msprobe.csv"

_NOT_KNOWN: Final = "N/A"
_NO_BENCH: Final = "No bench data matched."


_NAMES: Final = (
    "NPU Name", "Bench Name", "NPU Dtype", "Bench Dtype", "NPU Tensor Shape", "Bench Tensor Shape", "NPU Requires_grad",
    "Bench Requires_grad", "Cosine", "EucDist", "MaxAbsErr", "MaxRelativeErr", "One Thousandth Err Ratio", "Five Thousandths Err Ratio",
    "NPU max", "NPU min", "NPU mean", "NPU l2norm", "Bench max", "Bench min", "Bench mean", "Bench l2norm", "Requires_grad Consistent",
    "Result", "Accuracy Reached or Not", "Err_message", "Data_name",
)  # fmt: skip
_NUMBERS: Final = frozenset(_NAMES[_NAMES.index("Cosine") : _NAMES.index("Requires_grad Consistent")])
MSPROBE_COLUMNS: Final = tuple(Column(name, "float64" if name in _NUMBERS else "string", "", "row") for name in _NAMES)


def as_msprobe(table: pa.Table) -> pa.Table:
    """A report table with the columns of `MSPROBE_COLUMNS`, row by row the same."""
    is_pass = pc.equal(table.column("verdict"), PASS)
    golden, target = (pc.is_valid(table.column(f"{prefix}_data_path")) for prefix in ("golden", "acl"))
    columns: dict[str, Any] = {}
    for side, prefix, present in (("NPU", "acl", target), ("Bench", "golden", golden)):
        columns[f"{side} Name"] = pc.if_else(present, _names(table, f"{prefix}_data_path"), _NOT_KNOWN)
        columns[f"{side} Dtype"] = pc.binary_join_element_wise("torch.", table.column(f"{prefix}_dtype"), "")
        columns[f"{side} Tensor Shape"] = _as_list(table.column(f"{prefix}_shape"))
        for value in ("max", "min", "mean"):
            columns[f"{side} {value}"] = table.column(f"{prefix}_{value}_value")
    columns |= {
        "Cosine": table.column("cosine_similarity"),
        "EucDist": _euclidean_distance(table),
        "MaxAbsErr": table.column("max_absolute_error"),
        "MaxRelativeErr": table.column("max_relative_error"),
        "One Thousandth Err Ratio": table.column("within_one_thousandth_ratio"),
        "Five Thousandths Err Ratio": table.column("within_five_thousandths_ratio"),
        "Result": pc.if_else(is_pass, "pass", "error"),
        "Accuracy Reached or Not": pc.if_else(is_pass, "Yes", "No"),
        "Err_message": _messages(table, golden),
        "Data_name": pc.binary_join_element_wise(
            "['", _or_not_known(table.column("acl_data_path")), "', '", _or_not_known(table.column("golden_data_path")), "']", ""
        ),
    }
    arrays = [_filled(column, columns.get(column.name), table.num_rows) for column in MSPROBE_COLUMNS]
    return pa.table(arrays, names=[column.name for column in MSPROBE_COLUMNS])


def _names(table: pa.Table, column: str) -> Any:
    """The name of the file where msprobe wrote it, which says kwargs where dump.json says input; else the data_id."""
    stems = pc.struct_field(pc.extract_regex(table.column(column), r"(?:^|/)dump_tensor_data/(?P<stem>[^/]+)\.[a-z]+$"), "stem")
    return pc.coalesce(stems, table.column("data_id"))


def _as_list(shapes: pa.ChunkedArray) -> Any:
    """``(2, 3)`` as ``[2, 3]``, ``(2,)`` as ``[2]``."""
    inside = pc.utf8_rtrim(pc.utf8_trim(shapes, "()"), ",")
    return pc.binary_join_element_wise("[", inside, "]", "")


def _euclidean_distance(table: pa.Table) -> Any:
    """The distance itself: the root of the mean square over all elements; where some take no part in that, it is not known."""
    counts = [table.column(f"{side}_{kind}_count") for side in ("golden", "target") for kind in ("nan", "inf")]
    odd = pc.add(pc.add(counts[0], counts[1]), pc.add(counts[2], counts[3]))
    distance = pc.multiply(table.column("root_mean_square_error"), pc.sqrt(pc.cast(table.column("element_count"), pa.float64())))
    return pc.if_else(pc.equal(odd, 0), distance, pa.scalar(None, pa.float64()))


def _messages(table: pa.Table, golden: Any) -> Any:
    reasons = [pc.fill_null(table.column(name), "") for name in ("verdict_reason", "cmp_fail_reason")]
    both = pc.and_(pc.not_equal(reasons[0], ""), pc.not_equal(reasons[1], ""))
    said = pc.binary_join_element_wise(reasons[0], reasons[1], pc.if_else(both, "; ", ""))
    return pc.if_else(golden, said, pc.binary_join_element_wise(_NO_BENCH, said, " "))


def _or_not_known(texts: pa.ChunkedArray) -> Any:
    return pc.fill_null(texts, _NOT_KNOWN)


def _filled(column: Column, values: Any, count: int) -> Any:
    """A column of text has ``N/A`` where there is nothing, one of numbers an empty cell."""
    if column.is_text:
        return pa.array([_NOT_KNOWN] * count, pa.string()) if values is None else pc.fill_null(values, _NOT_KNOWN)
    return pa.nulls(count, pa.float64()) if values is None else values
