"""To go on where an earlier run stopped: which rows of its journals still hold, and why the others do not.

A row holds while nothing has changed that it was made from: the options and versions that decide its numbers, its key, what the dumps say
about the pair, and both files by inode, size and time. It is judged anew, for thresholds are no part of what it was made from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fastcmp.errors import OutputError
from fastcmp.formats import identity_now
from fastcmp.formats.composition import composition_of
from fastcmp.formats.places import is_composed, is_stated_place, split_place
from fastcmp.formats.tensor_info import NOT_OPENED
from fastcmp.metric_functions import digests, parse_metrics
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.outcome import input_record
from fastcmp.pairing import Pair
from fastcmp.pairing.map_files import map_digests
from fastcmp.results.journal import Journal, JournalEntry, journal_paths
from fastcmp.results.judging import judged_again
from fastcmp.results.schema import ROW_COLUMN, arrow_schema, custom_names_of
from fastcmp.results.text import valid_unicode
from fastcmp.sources.dump import RunOrder
from fastcmp.sources.named_tensor import NamedTensor
from fastcmp.surroundings import DECIDING_PACKAGES, cpu_kind, package_version
from fastcmp.verdict import Rules

InputWords = tuple[int, ...] | None


def deciding_facts(golden: str, target: str, options: CompareOptions, *, cpu: str = "") -> dict[str, Any]:
    """What decides the numbers of a run beside its files: dumps, options, versions, and the kind of CPU (vector width may move a digit).

    ``cpu`` is what the work runs on, where that is not this machine.
    """
    return {
        "golden": valid_unicode(os.path.realpath(golden)),
        "target": valid_unicode(os.path.realpath(target)),
        "kl": options.kl,
        "relative_floor": options.relative_floor,
        "compat_euclid": options.compat_euclid,
        "scale": options.scale,
        "mask_fill": options.mask_fill,
        "metrics": digests(parse_metrics(options.metrics)),
        "metric_max_bytes": options.metric_max_bytes if options.metrics else None,
        **{
            f"{role}_parallel": None if side is None else {"ranks": side.ranks, "dims": [list(one) for one in side.dims]}
            for role, side in (("golden", options.golden_parallel), ("target", options.target_parallel))
        },
        "maps": map_digests(options.maps),
        "pair_by": list(options.pair_by),
        "token_offset": options.token_offset,
        "multi_record": options.scan.multi_record,
        "format_policy": options.scan.format_policy,
        "layout": options.layout,
        "root": [valid_unicode(root) for root in options.scan.roots],
        **{package: package_version(package) for package in DECIDING_PACKAGES},
        "cpu": cpu or cpu_kind(),
    }


def journal_facts(deciding: Mapping[str, Any], run_order: RunOrder) -> dict[str, Any]:
    """What a journal says of its run: beside what decides its numbers the order of its rows, for whoever reads it before the report."""
    return {**deciding, "run_order": run_order}


@dataclass(slots=True)
class Recovered:
    """What earlier runs left.

    Attributes
    ----------
    batches : list of pyarrow.RecordBatch
        Rows that hold, with the ``row`` they have in this run, judged by its rules.
    rows : set of int
    bytes : int
        Payload bytes compared for them.
    changed : int
        Rows of a run that had the same facts, whose pair is another one now or has other files.
    remarks : list of str
        What a user should know, each a sentence without its first capital letter.
    """

    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)
    bytes: int = 0
    changed: int = 0
    remarks: list[str] = field(default_factory=list)


def recover(
    directory: str,
    facts: Mapping[str, Any],
    pairs: Sequence[Pair],
    rules: Rules,
    words_of: Callable[[Pair], InputWords] | None = None,
) -> Recovered:
    """Whatever holds in the journals of an output directory; of two rows for one pair the later.

    Parameters
    ----------
    directory : str
        Locked by the caller.
    facts : mapping
        See `deciding_facts`.
    pairs : sequence of Pair
        All pairs of the run; ``pairs[row].row == row``.
    rules : Rules
    words_of : callable, optional
        As `input_words`, where the files lie on other machines.
    """
    found = Recovered()
    finder = _Finder(pairs, words_of or input_words)
    columns = arrow_schema(with_row=True, custom=custom_names_of(facts)).names
    refused: list[str] = []
    for path in reversed(journal_paths(directory)):
        try:
            journal = Journal(path)
        except OutputError as error:
            found.remarks.append(f"an earlier run cannot be gone on with: {error}")
            continue
        other = _differences(journal.facts, facts)
        if other:
            refused.append(other)
            continue
        for entry in reversed(list(journal)):
            _take(entry, columns, finder, rules, found)
        if journal.is_damaged:
            found.remarks.append(f"{path}: damaged; what follows the damage is compared again")
    changed = finder.changed - found.rows
    found.changed = len(changed)
    _remark(found, len(pairs), refused)
    return found


def _take(entry: JournalEntry, names: Sequence[str], finder: _Finder, rules: Rules, found: Recovered) -> None:
    rows = finder.rows_of(entry, found.rows)
    positions = np.flatnonzero(rows >= 0)
    if not len(positions):
        return
    found.rows.update(rows[positions].tolist())
    batch = entry.batch.select(names).take(pa.array(positions))  # metrics may have been given in another order
    columns = [pa.array(rows[positions], pa.int64()), *batch.columns[1:]]
    stated = {number: both for number, position in enumerate(positions.tolist()) if (both := entry.stated[position]) is not None}
    batch = judged_again(pa.record_batch(columns, schema=batch.schema), rules, stated)
    found.bytes += int(np.sum(batch.column("bytes").to_numpy()))
    found.batches.append(batch)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is another now than in an earlier run, in words; "" for nothing."""
    names = [name for name in now if name not in before or before[name] != now[name]]
    return ", ".join(f"{name} {_shown(before.get(name))}, now {_shown(now[name])}" for name in names)


def _shown(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _remark(found: Recovered, pair_count: int, refused: Iterable[str]) -> None:
    done = len(found.rows)
    if done or found.changed:
        changed = f"; {found.changed} were, but have changed since" if found.changed else ""
        found.remarks.insert(0, f"going on where an earlier run stopped: {done} of {pair_count} rows are done{changed}")
    for difference in dict.fromkeys(refused):
        found.remarks.append(f"an earlier run left results here that do not fit, it had {difference}; kept until this report is complete")


class _Finder:
    """The row that a journal's row has in this run, if it still holds."""

    def __init__(self, pairs: Sequence[Pair], words_of: Callable[[Pair], InputWords]) -> None:
        self._pairs = pairs
        self._words_of = words_of
        self._by_key: dict[tuple[str, str, str], int] | None = None
        self.changed: set[int] = set()

    def rows_of(self, entry: JournalEntry, taken: set[int]) -> np.ndarray:
        """For each row of ``entry`` where it stands now; -1 where it does not hold, or is taken."""
        batch = entry.batch
        before, ranks, data_ids, tokens, goldens, targets, rules, flags = (
            batch.column(name).to_pylist()
            for name in (ROW_COLUMN, "rank", "data_id", "token_id", "golden_data_path", "acl_data_path", "pair_rule", "cmp_flag")
        )
        rows = np.full(batch.num_rows, -1, np.int64)
        chosen: set[int] = set()
        for position, key in reversed(list(enumerate(zip(ranks, data_ids, tokens, strict=True)))):
            if not flags[position] and entry.stated[position] is None:
                continue  # an error is tried again: what was wrong may be well
            row = self._row(key, before[position])
            if row < 0 or row in taken or row in chosen:
                continue
            pair = self._pairs[row]
            said = (goldens[position], targets[position], rules[position], entry.named_as[position])
            words = self._words_of(pair) if _says(pair) == said else None
            if entry.stated[position] is not None:
                words = _of_opened(pair, words)
            if words == tuple(entry.inputs[position].tolist()):
                rows[position] = row
                chosen.add(row)
            else:
                self.changed.add(row)
        return rows

    def _row(self, key: tuple[str, str, str], before: int) -> int:
        if 0 <= before < len(self._pairs) and _key(self._pairs[before]) == key:
            return before
        if self._by_key is None:
            self._by_key = {}
            for pair in self._pairs:
                known = self._by_key.setdefault(_key(pair), pair.row)
                if known != pair.row:  # two names that look the same in a report: neither is taken for the other
                    self._by_key[_key(pair)] = -1
        return self._by_key.get(key, -1)


def _key(pair: Pair) -> tuple[str, str, str]:
    return valid_unicode(pair.key.rank), valid_unicode(pair.key.data_id), valid_unicode(pair.key.token_id)


def _says(pair: Pair) -> tuple[str | None, str | None, str, str]:
    golden, target = (None if side is None else valid_unicode(side.written_path) for side in (pair.golden, pair.target))
    return golden, target, pair.rule, named_as(pair)


def _of_opened(pair: Pair, words: InputWords) -> InputWords:
    """Without those of a file that was not opened, for what it states of a tensor stands in the place."""
    if words is None or pair.golden is None or pair.target is None:
        return None
    golden, target = (NOT_OPENED[1:] if is_stated_place(side.path) else None for side in (pair.golden, pair.target))
    return (*(golden or words[:3]), *(target or words[3:]))


def named_as(pair: Pair) -> str:
    """What the dumps say about a pair that no column of the report holds as such; "" for nothing, as nearly always."""
    said = [_named(pair.golden), _named(pair.target)]
    return json.dumps(said) if any(said) else ""


def _named(tensor: NamedTensor | None) -> list[str]:
    if tensor is None:
        return []
    made = []
    if is_composed(tensor.path):  # how it is put together may be inferred from other tensors
        composition = composition_of(tensor.path)
        made = [f"{composition.dims}", " ".join(composition.order), *(part.rank for part in composition.parts)]
    elif is_stated_place(tensor.path):
        made = [split_place(tensor.path)[1]]
    return [tensor.dtype, *tensor.notes, *made] if tensor.dtype or tensor.notes or made else []


def input_words(pair: Pair, options: ScanOptions | None = None) -> InputWords:
    """As `fastcmp.outcome.input_record`, of the files as they are now; None where one cannot be looked at."""
    if pair.golden is None or pair.target is None:
        return None
    try:
        return input_record(identity_now(pair.golden.path, options), identity_now(pair.target.path, options))
    except (OSError, ValueError):
        return None
