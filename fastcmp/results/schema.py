"""The columns of the report: one list that the CSV header, the Arrow schema, the documentation and the tests are made from.

Arrow types stand here by name, so that help pages and documentation can be made without importing pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from fastcmp.errors import UsageError
from fastcmp.metric_functions import MOST_METRICS

if TYPE_CHECKING:
    import pyarrow as pa

ArrowType = Literal["string", "bool", "float64", "int64"]
Group = Literal["original", "successor", "metric", "row", "custom", "reason"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the report.

    Attributes
    ----------
    name : str
    arrow_type : {"string", "bool", "float64", "int64"}
    meaning : str
        One sentence.
    group : {"original", "successor", "metric", "row", "custom", "reason"}
        Whose column it is: the original tool's, its successor's, ours (a number, or a fact of the row), the user's, or the closing reason.
    """

    name: str
    arrow_type: ArrowType
    meaning: str
    group: Group

    @property
    def is_text(self) -> bool:
        """True if a cell may hold text that came from a file."""
        return self.arrow_type == "string"


def _side(prefix: str, role: str) -> tuple[Column, ...]:
    return (
        Column(f"{prefix}_data_path", "string", f"Where the {role} tensor lies, as its metadata has it.", "original"),
        Column(f"{prefix}_dtype", "string", f"Storage dtype of the {role} tensor.", "original"),
        Column(f"{prefix}_shape", "string", f"Shape of the {role} tensor, such as (2, 3).", "original"),
        Column(f"{prefix}_max_value", "float64", f"Largest finite value of the {role} tensor.", "original"),
        Column(f"{prefix}_min_value", "float64", f"Smallest finite value of the {role} tensor.", "original"),
        Column(f"{prefix}_mean_value", "float64", f"Mean of the finite values of the {role} tensor.", "original"),
    )


COLUMNS: Final[tuple[Column, ...]] = (
    Column("token_id", "string", "Token round in which the tensor was dumped.", "original"),
    Column("data_id", "string", "Name that both dumps share.", "original"),
    *_side("golden", "golden"),
    *_side("acl", "target"),
    Column("cmp_flag", "bool", "True when metrics were computed; it is no verdict.", "original"),
    Column("cosine_similarity", "float64", "Cosine of the angle between both tensors read as flat vectors.", "original"),
    Column("max_relative_error", "float64", "Largest |t-g|/|g| over finite positions with |g| above the relative floor.", "original"),
    Column("mean_relative_error", "float64", "Mean of those relative errors, divided by the number of finite positions.", "original"),
    Column("relative_euclidean_distance", "float64", "sqrt(sum (t-g)^2 / sum g^2) over finite positions.", "original"),
    Column("max_absolute_error", "float64", "Largest |t-g| over all finite positions.", "successor"),
    Column("mean_absolute_error", "float64", "Mean of |t-g| over all finite positions.", "successor"),
    Column("kl_divergence", "float64", "Kullback-Leibler divergence of both softmaxes over the whole tensor.", "successor"),
    Column("root_mean_square_error", "float64", "sqrt(mean (t-g)^2) over finite positions.", "metric"),
    Column("signal_to_noise_db", "float64", "10 log10(sum g^2 / sum (t-g)^2); inf when both are equal.", "metric"),
    Column("within_one_thousandth_ratio", "float64", "Share of finite positions with |t-g| < 0.001 max(|g|, 2^-23).", "metric"),
    Column("within_five_thousandths_ratio", "float64", "Share of finite positions with |t-g| < 0.005 max(|g|, 2^-23).", "metric"),
    Column("mismatch_count", "int64", "Positions that are not equal; NaN equals NaN, -0 equals 0.", "metric"),
    Column("max_absolute_error_index", "string", "Index of the element with the largest |t-g|.", "metric"),
    Column("max_absolute_error_golden", "float64", "The golden value there.", "metric"),
    Column("max_absolute_error_target", "float64", "The target value there.", "metric"),
    Column("worst_row_distance", "float64", "Largest relative_euclidean_distance of one row of the last axis.", "metric"),
    Column("worst_row", "int64", "Index of that row, counted through all leading axes.", "metric"),
    Column("kl_divergence_row_max", "float64", "Largest kl_divergence of one row of the last axis.", "metric"),
    Column("kl_divergence_row_mean", "float64", "Mean kl_divergence of the rows of the last axis.", "metric"),
    Column("golden_nan_count", "int64", "NaNs in golden.", "metric"),
    Column("golden_inf_count", "int64", "Infinities in golden.", "metric"),
    Column("target_nan_count", "int64", "NaNs in target.", "metric"),
    Column("target_inf_count", "int64", "Infinities in target.", "metric"),
    Column("nonfinite_mismatch_count", "int64", "Positions where a NaN or an infinity meets something else (--mask-fill aside).", "metric"),
    Column("near_zero_golden_count", "int64", "Finite positions left out of the relative errors, |g| at or below the floor.", "metric"),
    Column("rounding_floor", "float64", "The distance that rounding golden to target's narrower dtype causes by itself.", "metric"),
    Column("element_count", "int64", "Elements compared.", "metric"),
    Column("bytes", "int64", "Payload bytes read for this row, both sides together.", "row"),
    Column("rank", "string", "Rank of the process that dumped; empty where a dump has none.", "row"),
    Column("pair_rule", "string", "How both tensors found each other: `key`, `path`, `map:3`, `ops`, ...; see docs/pairing.md.", "row"),
    Column("notes", "string", "What a reader of this row should know, separated by semicolons.", "row"),
    Column("verdict", "string", "pass, fail, or error when the pair could not be compared; alone: fail, or pass if allowed.", "row"),
    Column("verdict_reason", "string", "Which rule the row broke, or why it was not judged; empty for a plain pass.", "row"),
    Column("cmp_fail_reason", "string", "Why no metrics were computed, with an error code; empty whenever they were.", "reason"),
)  # fmt: skip

NAMES: Final[tuple[str, ...]] = tuple(column.name for column in COLUMNS)
BY_NAME: Final[dict[str, Column]] = {column.name: column for column in COLUMNS}

# In the journal and in memory only: where the row stands in the report.
ROW_COLUMN: Final = "row"
# What a journal has beside the columns of the report.
JOURNAL_NAMES: Final = (ROW_COLUMN, "inputs", "named_as", "stated")

# What `fastcmp.metrics.finish` fills.
METRIC_NAMES: Final[tuple[str, ...]] = tuple(
    column.name
    for column in COLUMNS
    if column.group in ("successor", "metric")
    or (column.group == "original" and column.arrow_type == "float64")
)  # fmt: skip


def report_columns(custom: Sequence[str] = ()) -> tuple[Column, ...]:
    """All columns of a report that has these metrics of the user's own: before the reason, which stays the last.

    Raises
    ------
    UsageError
        If a metric has the name of a column.
    """
    for name in custom:
        if name in BY_NAME or name in JOURNAL_NAMES:
            raise UsageError(f"--metric {name}: the report has a column of that name; give the function another one")
    added = [Column(name, "float64", "What the function of --metric gave.", "custom") for name in custom]
    return (*COLUMNS[:-1], *added, COLUMNS[-1])


def custom_names(names: Iterable[str]) -> tuple[str, ...]:
    """The metrics of the user's own among the columns of a report or of a journal."""
    return tuple(name for name in names if name not in BY_NAME and name not in JOURNAL_NAMES)


def custom_names_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of the user's own that ``run.json`` or a journal speaks of; foreign text, so only what can be a name counts."""
    said = facts.get("metrics")
    names = list(said) if isinstance(said, dict) else []
    return tuple(
        name
        for name in names[:MOST_METRICS]
        if name.isidentifier() and name.isascii() and name not in BY_NAME and name not in JOURNAL_NAMES
    )


def arrow_schema(*, with_row: bool = False, metadata: dict[bytes, bytes] | None = None, custom: Sequence[str] = ()) -> pa.Schema:
    """The report's Arrow schema; with the leading ``row`` number if asked, as the journal has it."""
    import pyarrow as pa

    types = {"string": pa.string(), "bool": pa.bool_(), "float64": pa.float64(), "int64": pa.int64()}
    fields = [pa.field(column.name, types[column.arrow_type]) for column in report_columns(custom)]
    if with_row:
        fields.insert(0, pa.field(ROW_COLUMN, pa.int64()))
    return pa.schema(fields, metadata)
