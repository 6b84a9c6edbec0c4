"""What a comparison has left in its directory: a complete report, or what a run that still goes on (or was ended) has found so far."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastcmp.errors import OutputError, UsageError
from fastcmp.formats.suffixes import LISTING_SUFFIXES, MEMBER_SUFFIXES
from fastcmp.results.foreign import BatchReader, RefusedError, mapped, parsed_facts, wrong_in
from fastcmp.results.journal import Journal, journal_paths
from fastcmp.results.report_files import RUN_NAME
from fastcmp.results.schema import ROW_COLUMN, arrow_schema, custom_names, custom_names_of
from fastcmp.sources.dump import RunOrder

ARROW_NAME: Final = "cmp_report.arrow"
_MAGIC: Final = b"ARROW1\0\0"
_KEY: Final = ("rank", "data_id", "token_id")
# A run.json holds options and warnings; a larger one is none.
_MOST_JSON_BYTES: Final = 64 * 1024 * 1024
_ADVICE: Final = "compare again"
# The path of a tensor in a file that lists several.
_IN_A_LIST: Final = f"(?i)(?:{'|'.join(map(re.escape, LISTING_SUFFIXES))}):"


@dataclass(frozen=True, slots=True)
class SavedReport:
    """A report that was read back.

    Attributes
    ----------
    directory : str
    table : pyarrow.Table
        In the schema of `fastcmp.results.schema.arrow_schema`, in report order; of a run without an end the rows found so far.
    facts : dict
        Of ``run.json``; of a run without an end what its journal says (`fastcmp.results.resume.journal_facts`).
    is_complete : bool
    """

    directory: str
    table: pa.Table
    facts: Mapping[str, Any]
    is_complete: bool

    @property
    def run_order(self) -> RunOrder:
        """As the run said. Earlier versions said at most whether it was the computed one: if it was not, golden's suffixes tell more."""
        said = self.facts.get("run_order")
        known: tuple[RunOrder, ...] = get_args(RunOrder)
        for run_order in known:
            if said == run_order:
                return run_order
        if self.facts.get("order_is_known") is True:
            return "computed"
        golden = str(self.facts.get("golden", "")).lower()
        if golden.endswith(MEMBER_SUFFIXES) and self.table.num_rows > 1:
            return "file" if golden.endswith(LISTING_SUFFIXES) else "name"
        return "files" if pc.any(pc.match_substring_regex(self.table.column("golden_data_path"), _IN_A_LIST)).as_py() else "name"


def load_saved(directory: str) -> SavedReport:
    """The newest there is in ``directory``: journals where there are any, for they are written after the report that stands beside them.

    Raises
    ------
    UsageError
        If there is no report and no journal.
    OutputError
        If what is there is damaged, or was written by two different runs.
    """
    if not os.path.isdir(directory):
        raise UsageError(f"{directory}: no such directory; name the directory of a report, as given to -o")
    running = _running(directory)
    if running is not None:
        return running
    if not os.path.lexists(os.path.join(directory, ARROW_NAME)):
        raise UsageError(f"{directory}: no {ARROW_NAME} in it; name the directory of a report, as given to -o")
    facts = _facts(os.path.join(directory, RUN_NAME))
    return SavedReport(directory, _table(os.path.join(directory, ARROW_NAME), facts), facts, True)


def saved_custom_names(directory: str) -> tuple[str, ...]:
    """The metrics of the user's own in what `load_saved` gives, which raises the same; of a complete report without reading all of it."""
    path = os.path.join(directory, RUN_NAME)
    if journal_paths(directory) or not os.path.lexists(path):
        return custom_names(load_saved(directory).table.schema.names)
    return custom_names_of(_facts(path))


def _running(directory: str) -> SavedReport | None:
    """All rows of the journals that have the facts of the newest one that can be read; the later row where a key stands twice.

    Row numbers order them, and no more: a dump that grows numbers its pairs anew.
    """
    facts: Mapping[str, Any] | None = None
    batches: list[pa.RecordBatch] = []
    for path in reversed(journal_paths(directory)):
        try:
            journal = Journal(path)
        except OutputError:
            continue
        if facts is None:
            facts = journal.facts
        elif _deciding(journal.facts) != _deciding(facts):
            continue
        batches.extend(entry.batch for entry in reversed(list(journal)))
    if facts is None:
        return None
    schema = arrow_schema(with_row=True, custom=custom_names_of(facts))
    table = pa.Table.from_batches([batch.select(schema.names) for batch in reversed(batches)], schema=schema)  # the oldest first
    places = pa.table([*(table.column(name) for name in _KEY), pa.array(np.arange(table.num_rows))], names=[*_KEY, "place"])
    newest = places.group_by(list(_KEY)).aggregate([("place", "max")]).column("place_max").to_numpy()
    rows = table.column(ROW_COLUMN).to_numpy()[newest]
    table = table.take(pa.array(newest[np.lexsort((-newest, rows))]))
    return SavedReport(directory, table.drop_columns([ROW_COLUMN]).combine_chunks(), facts, False)


def _deciding(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a journal says, but for the order of its rows: that decides no number."""
    return {name: value for name, value in facts.items() if name != "run_order"}


def _facts(path: str) -> dict[str, Any]:
    try:
        return parsed_facts(bytes(mapped(path, f"the {RUN_NAME} of a report", _ADVICE, most_bytes=_MOST_JSON_BYTES)))
    except ValueError as error:
        raise OutputError(f"{path}: not the {RUN_NAME} of a report: {error}; {_ADVICE}") from error


def _table(path: str, facts: Mapping[str, Any]) -> pa.Table:
    """The table of an Arrow file that is the one ``facts`` speak of. Foreign bytes: checksum, schema and buffers are seen to first."""
    content = mapped(path, "a report", _ADVICE)
    files = facts.get("files")
    said = files.get(ARROW_NAME) if isinstance(files, dict) else None
    if said != {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}:
        raise OutputError(f"{path}: not the file that {RUN_NAME} speaks of: damaged, or the two were left by different runs; {_ADVICE}")
    try:
        if bytes(content[: len(_MAGIC)]) != _MAGIC:
            raise OutputError(f"{path}: not a report: no Arrow file; {_ADVICE}")
        # The stream that the file has between its magic and its footer: the footer may point anywhere.
        reader = BatchReader(pa.py_buffer(content)[len(_MAGIC) :])
        if not reader.schema.equals(arrow_schema(custom=custom_names_of(facts))) or any(field.metadata for field in reader.schema):
            raise OutputError(f"{path}: has other columns than this version of fastcmp writes; {_ADVICE}")
        table = pa.Table.from_batches([batch for batch, _ in reader], schema=reader.schema)
        wrong = wrong_in(table)
    except (OSError, ValueError, EOFError, StopIteration, RefusedError, pa.ArrowException) as error:
        raise OutputError(f"{path}: not a report: {error}; {_ADVICE}") from error
    if wrong:
        raise OutputError(f"{path}: not a report: {wrong}; {_ADVICE}")
    return table
