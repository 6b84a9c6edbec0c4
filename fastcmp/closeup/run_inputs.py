"""The tensors of a saved report, found again as its run found them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from operator import ne
from typing import Any

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, ParallelSide, ScanOptions, check
from fastcmp.pairing import Pair
from fastcmp.parallel.loading import load_dumps
from fastcmp.parallel.parallel_file import check_side
from fastcmp.results.text import valid_unicode
from fastcmp.sources import Dump, NamedTensor, TensorKey
from fastcmp.sources.wording import printable

_ByPath = dict[str, list[NamedTensor]]


class RunInputs:
    """What the facts of a report say that a run compared.

    Parameters
    ----------
    facts : mapping
        `SavedReport.facts`: of a complete report its `run.json`, of a run without an end what its journal says.

    Raises
    ------
    UsageError
        From every attribute, if the facts do not say enough, or the dumps are gone or no longer what they were.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts

    @property
    def finished_at(self) -> datetime | None:
        """When the comparison ended, if it has and said so, with the time zone."""
        try:
            finished = datetime.fromisoformat(str(self._facts["finished_at"]))
        except (KeyError, ValueError):
            return None
        return finished if finished.tzinfo is not None else None

    @cached_property
    def options(self) -> CompareOptions:
        """Those options of the run that decide what is read and how; roots are absolute."""
        facts = self._facts
        known = facts.get("options")
        if not isinstance(known, dict):  # a journal has only the few that decide numbers, beside the other facts
            known = {**facts, "scan": {**facts, "roots": facts.get("root", [])}}
        scan = _fields(ScanOptions, known.get("scan"))
        roots = scan.get("roots", ())
        if not isinstance(roots, tuple) or not all(_is_path(root) for root in roots):
            raise _odd("roots", roots)
        scan["roots"] = tuple(os.path.join(self._directory, root) for root in roots)
        given = _fields(CompareOptions, known)
        # Tensors are looked up by their names: what was left out of the run does no harm.
        chosen: dict[str, Any] = {name: given[name] for name in ("relative_floor", "scale", "mask_fill") if name in given}
        for name, value in chosen.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (isinstance(value, bool) if name == "mask_fill" else is_number or (name == "scale" and value is None)):
                raise _odd(name, value)
        chosen |= {role: _parallel_side(given.get(role)) for role in ("golden_parallel", "target_parallel")}
        layout = given.get("layout", "auto")
        if not isinstance(layout, str):
            raise _odd("layout", layout)
        options = CompareOptions(**chosen, layout=layout, scan=ScanOptions(**scan))
        check(options)
        return options

    @cached_property
    def _tensors(self) -> tuple[_ByPath, _ByPath]:
        """Of golden and of target, the tensors by the path that the report shows."""
        sides = [self._facts.get(role) for role in ("golden", "target")]
        if not all(side and isinstance(side, str) for side in sides):
            raise UsageError("the report has no run.json that names its inputs; compare again")
        golden, target = map(str, sides)
        dumps = load_dumps(golden, target, self.options, working_directory=self._directory)
        return _by_path(dumps[0]), _by_path(dumps[1])

    def pair_of(self, row: Mapping[str, Any]) -> Pair:
        """The pair of a row, given by its columns.

        They say which two tensors it was, whatever rule brought them together: nothing is paired again, so the files of a map may be gone.
        """
        key = _key((row["rank"] or "", row["data_id"], row["token_id"] or ""))
        golden, target = (
            None if path is None else [tensor for tensor in side.get(path, ()) if tensor.key.rank in (key.rank, "")]
            for side, path in zip(self._tensors, (row["golden_data_path"], row["acl_data_path"]), strict=True)
        )
        if golden is not None:  # rows have golden's names
            golden = [tensor for tensor in golden if _key(tensor.key)[1:] == key[1:]]
        if golden == [] or target == []:
            sides = " and ".join(printable(str(self._facts.get(role))) for role in ("golden", "target"))
            raise UsageError(
                f"{sides} no longer name this pair as they did; the dumps have changed since they were compared, compare again"
            )
        # Several names of target may be one file; they differ in what is known of its dtype at most.
        nearest = None if target is None else min(target, key=lambda tensor: sum(map(ne, _key(tensor.key), key)))
        return Pair(-1, key, golden[0] if golden else None, nearest, str(row["pair_rule"] or ""), -1)

    @property
    def _directory(self) -> str:
        """Where the run's relative paths begin; "" is where this process is."""
        said = self._facts.get("working_directory") or ""
        if said and not _is_path(said):
            raise _odd("working_directory", said)
        return str(said)


def _is_path(value: object) -> bool:
    """True for a text that a path can be."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _parallel_side(value: Any) -> ParallelSide | None:
    """As run.json and a journal have it."""
    if value is None:
        return None
    ranks, dims = (value.get("ranks"), value.get("dims")) if isinstance(value, dict) else (None, None)
    is_table = isinstance(dims, list) and all(isinstance(one, list) and [type(text) for text in one] == [str, str] for one in dims)
    if not isinstance(ranks, str) or not isinstance(dims, list) or not is_table:
        raise _odd("parallel", value)
    side = ParallelSide(ranks, tuple((glob, text) for glob, text in dims))
    check_side(side, "the report: parallel")
    return side


def _odd(name: str, value: object) -> UsageError:
    return UsageError(f"the report says that its run had {name} {printable(str(value))}, which none can have; compare again")


def _key(key: tuple[str, ...]) -> TensorKey:
    return TensorKey(*map(valid_unicode, key))


def _by_path(dump: Dump) -> _ByPath:
    found: _ByPath = {}
    for tensor in dump.tensors:
        found.setdefault(valid_unicode(tensor.written_path), []).append(tensor)
    return found


def _fields(kind: type, values: Any) -> dict[str, Any]:
    """Those of the values that are fields of a dataclass of options; lists as the tuples that they were."""
    known = {field.name for field in dataclasses.fields(kind)}
    given = values if isinstance(values, dict) else {}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in known}
