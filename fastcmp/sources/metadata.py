"""One metadata.json and the files beside it to named tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastcmp.dtypes import DTYPES
from fastcmp.dump_layout import DTYPES_NAME, JOURNAL_NAME, METADATA_NAME, Journal, dtypes_of, metadata_of, read_journal
from fastcmp.errors import UsageError, reason_and_advice
from fastcmp.options import CompareOptions
from fastcmp.sources.dump import Role
from fastcmp.sources.eras import Rows, has_lists, rows_of
from fastcmp.sources.json_document import MAX_FILE_BYTES, is_inside, parse, read_bounded
from fastcmp.sources.named_tensor import KnownKeys, NamedTensor
from fastcmp.sources.path_locator import PathLocator
from fastcmp.sources.tree import MARKER_NAMES, name_its_directory
from fastcmp.sources.wildcards import tensors_of
from fastcmp.sources.wording import printable

MAX_LEFT_OUT: Final = 5


@dataclass(frozen=True, slots=True)
class ProcessDump:
    """The tensors of one process. ``rank`` is "" where it is not known."""

    path: str
    rank: str
    tensors: list[NamedTensor]
    warnings: list[str]


def load_metadata(
    path: str, role: Role, options: CompareOptions, *, rank: str = "", keys: KnownKeys | None = None, working_directory: str = ""
) -> ProcessDump:
    """Read a metadata.json, merged with the journal and the dtypes beside it.

    Entries of the journal that metadata.json does not have yet come after its own, and what was dumped anew since then is taken from the
    journal. The file may be missing where there is a journal.

    Parameters
    ----------
    path : str
    role : {"golden", "target"}
    options : CompareOptions
    rank : str
        Used if the journal does not know the rank.
    keys : mapping, optional
        See `KnownKeys`.
    working_directory : str
        Where relative paths may begin; "" is where this process is.

    Raises
    ------
    UsageError
        If a file is damaged, in one line with its place.
    """
    directory = os.path.dirname(os.path.abspath(path))
    is_ours = os.path.basename(path) == METADATA_NAME
    journal, warnings = _journal_beside(directory, options) if is_ours else (None, [])
    rows: Rows = {}
    is_one_sided = is_ours
    if journal is None or os.path.lexists(path):
        rows, is_one_sided, merge_warnings = _rows_of_file(path, role, options)
        is_one_sided = is_ours and is_one_sided
        warnings += merge_warnings
    dtypes = _dtypes_beside(directory, options) if is_ours else {}
    if journal is not None:
        _add_journal(rows, dtypes, journal)
        rank = (journal.header.rank if journal.header else "") or rank
    locator = PathLocator(directory, working_directory or _working_directory(directory), is_one_sided=is_one_sided)
    tensors, left_out = tensors_of(rows, locator, options.scan.roots, rank=rank, dtypes=dtypes, keys=keys)
    if left_out:
        more = f" and {len(left_out) - MAX_LEFT_OUT} more" if len(left_out) > MAX_LEFT_OUT else ""
        text = "; ".join(left_out[:MAX_LEFT_OUT])
        warnings.append(f"{printable(path)}: of a tensor that several entries name, once through a *, one counts: {text}{more}")
    return ProcessDump(path, rank, tensors, warnings)


def _rows_of_file(path: str, role: Role, options: CompareOptions) -> tuple[Rows, bool, list[str]]:
    """What a metadata.json lists, whether it is all of one side, and warnings.

    The document is gone then: its objects, one for each data_id, make room for the tensors.
    """
    document, warnings = parse(read_bounded(path, roots=options.scan.roots), path)
    try:
        return rows_of(document, role, printable(path)), not has_lists(document), warnings
    except UsageError as error:
        if os.path.basename(path) in MARKER_NAMES:
            raise UsageError(name_its_directory(path, str(error))) from None
        raise


def _add_journal(rows: Rows, dtypes: dict[tuple[str, str], str], journal: Journal) -> None:
    """Let the journal, which is never behind, complete what the two JSON files say.

    A path of metadata.json that the journal replaced later gives way to the last one; one that the journal never had stays,
    for somebody has put it there by hand.
    """
    earlier: dict[tuple[str, str], set[str]] = {}
    for entry in journal.entries:
        earlier.setdefault((entry.data_id, entry.token_id), set()).add(entry.path)
        dtypes.pop((entry.data_id, entry.token_id), None)
    for data_id, tokens in metadata_of(journal.entries).items():
        for token_id, last in tokens.items():
            key = data_id, token_id
            if rows.setdefault(key, last) in earlier[key]:
                rows[key] = last
    dtypes.update(_flat(dtypes_of(journal.entries)))


def _working_directory(otherwise: str) -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return otherwise


def _journal_beside(directory: str, options: CompareOptions) -> tuple[Journal | None, list[str]]:
    path = os.path.join(directory, JOURNAL_NAME)
    name = printable(path)
    if not os.path.lexists(path):
        return None, []
    roots = options.scan.roots
    if roots and not any(is_inside(path, root) for root in roots):
        raise UsageError(f"{name}: lies outside the allowed roots; add --root for it, if it is trusted [E_PATH_OUTSIDE]")
    try:
        if os.stat(path).st_size > MAX_FILE_BYTES:
            raise UsageError(f"{name}: more than {MAX_FILE_BYTES} bytes; is this the journal of a dump?")
        journal = read_journal(path)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {reason_and_advice(error, 'check the dump directory')}") from error
    warnings = []
    if journal.is_torn:
        warnings.append(f"{name}: the last line is cut short: the dumping process was killed, or is still writing")
    if journal.rejected_count:
        warnings.append(f"{name}: {journal.rejected_count} lines are no entries and were ignored")
    return journal, warnings


def _dtypes_beside(directory: str, options: CompareOptions) -> dict[tuple[str, str], str]:
    path = os.path.join(directory, DTYPES_NAME)
    if not os.path.lexists(path):
        return {}
    document, _ = parse(read_bounded(path, roots=options.scan.roots), path)
    if not isinstance(document, dict) or not all(isinstance(tokens, dict) for tokens in document.values()):
        raise UsageError(f"{printable(path)}: expected {{data_id: {{token_id: dtype}}}}; repair it or dump again")
    return _flat(document)


def _flat(dtypes: Mapping[str, Mapping[str, object]]) -> dict[tuple[str, str], str]:
    """By key, and only dtypes that are known: another name says nothing about how to judge the tensor."""
    return {
        (data_id, token_id): dtype
        for data_id, tokens in dtypes.items()
        for token_id, dtype in tokens.items()
        if isinstance(dtype, str) and dtype in DTYPES
    }
