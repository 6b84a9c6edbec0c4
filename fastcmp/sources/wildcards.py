"""Low-level paths with a ``*``: one entry of a metadata.json, one tensor for each file that it stands for.

In a path a ``*`` stands for one whole run of digits, ``*_Layer`` for ``7_Layer`` and ``12_Layer``; as the token's directory it stands for
any name. Nothing else has a meaning: ``1*`` and ``**`` match no file, ``?`` and ``[`` are themselves.

A tensor of ``norm`` is called ``norm[7]`` then, after what the star stood for without leading zeros, one bracket a star.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from fastcmp.dump_layout import ANY_TOKEN, split_low_level_path
from fastcmp.formats.places import refused_place
from fastcmp.sources.eras import RowKey, Rows
from fastcmp.sources.json_document import is_inside
from fastcmp.sources.named_tensor import KnownKeys, NamedTensor, TensorKey
from fastcmp.sources.natural_order import token_key
from fastcmp.sources.path_locator import PathLocator
from fastcmp.sources.wording import printable

# Far above what a dump has; a bound for a metadata.json or a directory that somebody made up.
MAX_MATCHES: Final = 100_000
MAX_NAMES: Final = 1_000_000
MAX_PATH: Final = 4096

_DIGITS: Final = re.compile(r"[0-9]+")
_UNITS: Final = re.compile(r"[0-9]+|\*")


class Match(NamedTuple):
    """A file below a run directory: its path there, its token's directory, and the digits that each star behind it stands for."""

    tail: str
    token: str
    digits: tuple[str, ...]


class NotSearched(Exception):
    """Why a pattern was not expanded."""


# --- entries ---------------------------------------------------------------------------------------------------------------------------


def tensors_of(
    rows: Rows,
    locator: PathLocator,
    roots: Sequence[str] = (),
    *,
    rank: str = "",
    dtypes: Mapping[tuple[str, str], str] | None = None,
    keys: KnownKeys | None = None,
) -> tuple[list[NamedTensor], list[str]]:
    """Every tensor of a metadata.json, in its order; those that a ``*`` stands for in its place, by number and then token.

    An entry that no file matches stays as it is. Where another entry has the key of a match, the match is left to that entry.

    Parameters
    ----------
    rows : dict
    locator : PathLocator
    roots : sequence of str
        Directories whose real path is outside of them are not searched. None given: all are.
    rank : str
        Of all of them.
    dtypes : mapping, optional
        `NamedTensor.dtype` by data_id and token_id.
    keys : mapping, optional
        See `KnownKeys`.

    Returns
    -------
    list of NamedTensor
        Every key once.
    list of str
        The matches that were left out, and what counts in their place.
    """
    names = DirectoryNames(roots)
    expanded: dict[RowKey, list[NamedTensor]] = {}
    remarks: dict[RowKey, tuple[str, ...]] = {}
    for key, written in rows.items():
        if "*" in written:
            expanded[key], remarks[key] = _expand(TensorKey(rank, *key), written, locator, names)
    tensors: list[NamedTensor] = []
    taken: dict[TensorKey, str] = {}
    left_out: list[str] = []
    place_of, known_dtypes, known_keys = locator.place, dtypes or {}, keys or {}
    for key, written in rows.items():
        if "*" in written and (found := expanded[key]):
            for tensor in found:
                own = tensor.key[1:]
                other = taken.get(tensor.key, "")
                if own in rows and not expanded.get(own):
                    other = locator.locate(rows[own])[0]
                if not other:
                    taken[tensor.key] = tensor.path
                    tensors.append(tensor._replace(dtype=known_dtypes.get(own, "")))
                elif other != tensor.path:
                    where = f"{printable(other)}, not {printable(tensor.path)}"
                    left_out.append(f"{printable(own[0], 80)} of token {printable(own[1], 80)} is {where}")
            continue
        place, tail_start, notes = place_of(written) if "\0" not in written else _refused(written, locator)
        data_id, token_id = key
        dtype = known_dtypes.get(key, "") if known_dtypes else ""
        if why := remarks.get(key) if remarks else None:
            notes = tuple(dict.fromkeys((*notes, *why)))
        # A tuple, which is equal to the key, is made in a third of its time.
        own_key = known_keys.get((rank, data_id, token_id)) or TensorKey(rank, data_id, token_id)
        tensors.append(NamedTensor(own_key, written, place, dtype, notes, bool(why), tail_start))
    return tensors, left_out


def _refused(written: str, locator: PathLocator) -> tuple[str, int, tuple[str, ...]]:
    """As `PathLocator.place`, of what no file can be: a place that is not taken for one inside a file, whatever stands behind the NUL."""
    file, _, rest = written.partition("\0")
    return refused_place(f"{locator.locate(file)[0]}\0{rest}"), len(written), ()


def _expand(key: TensorKey, written: str, locator: PathLocator, names: DirectoryNames) -> tuple[list[NamedTensor], tuple[str, ...]]:
    """The tensors of one entry, none where it is to stay as it is; and remarks about it then."""
    parts = split_low_level_path(written) if len(written) <= MAX_PATH and "\0" not in written else None
    if parts is None or "*" not in parts.tail or os.path.exists(locator.locate(written)[0]):
        return [], ()
    token = parts.tail.partition("/")[0]
    try:
        place, found, notes = locator.search_runs(parts, "" if "*" in token else token, partial(matches, tail=parts.tail, names=names))
    except NotSearched as reason:
        return [], (str(reason),)
    if not found:
        return [], notes or ("no file matches; a * stands for a whole number",)
    tensors: dict[TensorKey, NamedTensor] = {}
    for match in found:
        one = key._replace(
            data_id=key.data_id + "".join(f"[{digits.lstrip('0') or '0'}]" for digits in match.digits),
            token_id=match.token if "*" in token else key.token_id,
        )
        if one in tensors:  # 7_Layer and 07_Layer: the second keeps its zeros
            one = one._replace(data_id=key.data_id + "".join(f"[{digits}]" for digits in match.digits))
        written = f"{parts.tensors_directory}/{parts.run_directory}/{match.tail}"
        tensors[one] = NamedTensor(one, written, f"{place}/{match.tail}", notes=notes)
    return list(tensors.values()), ()


# --- files -----------------------------------------------------------------------------------------------------------------------------


def matches(run_directory: str, tail: str, names: DirectoryNames) -> list[Match]:
    """The files below a run directory that a path with stars stands for, by the values of the stars, then by token.

    Raises
    ------
    NotSearched
        Where that would be too many.
    """
    # Paths that exist, each with a slash behind it, and the digits of their stars; what follows them has no star.
    found: list[tuple[str, tuple[str, ...]]] = [("", ())]
    literal = ""
    for depth, part in enumerate(tail.split("/")):
        if "*" not in part:
            literal += f"{part}/"
            continue
        here: list[tuple[str, tuple[str, ...]]] = []
        for above, digits in found:
            directory = f"{run_directory}/{above}{literal}"
            if depth == 0:
                listed = names.all(directory) if part == ANY_TOKEN else [name for name, _ in names.like(part, directory)]
                here += [(f"{name}/", ()) for name in listed]
            else:
                here += [(f"{above}{literal}{name}/", digits + more) for name, more in names.like(part, directory)]
            if len(here) > MAX_MATCHES:
                raise NotSearched(f"more than {MAX_MATCHES} names match, so none was taken")
        found, literal = here, ""
    files = [Match(f"{path}{literal}"[:-1], path.partition("/")[0] or literal.partition("/")[0], digits) for path, digits in found]
    if literal:
        files = [match for match in files if os.path.exists(f"{run_directory}/{match.tail}")]
    return sorted(files, key=_order)


def _order(match: Match) -> tuple[object, ...]:
    # Digits by length and text, never by int(), as `natural_order` has it.
    by_value = tuple((len(value), value, len(digits)) for digits in match.digits for value in [digits.lstrip("0")])
    return by_value, token_key(match.token), match.tail


class DirectoryNames:
    """What directories hold, each listed once.

    Parameters
    ----------
    roots : sequence of str
        As `tensors_of` has it.
    """

    def __init__(self, roots: Sequence[str] = ()) -> None:
        self._roots = roots
        self._count = 0
        self._shapes: dict[str, dict[str, list[str]]] = {}

    def all(self, directory: str) -> list[str]:
        """The names in a directory, hidden ones left out; none where it cannot be listed."""
        return [name for names in self._by_shape(directory).values() for name in names if not name.startswith(".")]

    def like(self, pattern: str, directory: str) -> list[tuple[str, tuple[str, ...]]]:
        """The names in a directory that a pattern stands for, each with the digits of its stars."""
        units = _UNITS.findall(pattern)
        found = []
        for name in self._by_shape(directory).get(_shape(_UNITS, pattern), ()):
            runs = _DIGITS.findall(name)
            if len(runs) == len(units) and all(unit in ("*", run) for unit, run in zip(units, runs, strict=True)):
                found.append((name, tuple(run for unit, run in zip(units, runs, strict=True) if unit == "*")))
        return found

    def _by_shape(self, directory: str) -> dict[str, list[str]]:
        """Names by what they are without their digits, so that a pattern meets only names of its kind."""
        known = self._shapes.get(directory)
        if known is None:
            known = self._shapes[directory] = {}
            for name in self._list(directory):
                known.setdefault(_shape(_DIGITS, name), []).append(name)
        if self._count > MAX_NAMES:
            raise NotSearched(f"the directories hold more than {MAX_NAMES} names, so they were not searched")
        return known

    def _list(self, directory: str) -> list[str]:
        if self._roots and not any(is_inside(directory, root) for root in self._roots):
            return []
        try:
            with os.scandir(directory) as listed:
                names = [entry.name for entry in islice(listed, MAX_NAMES + 1 - self._count)]
        except (OSError, ValueError):
            return []
        self._count += len(names)
        return names


def _shape(units: re.Pattern[str], name: str) -> str:
    # No file name holds a slash, so it may stand for the digits.
    return units.sub("/", name)
