"""The three shapes that metadata.json has had, told apart by the type of their values.

| written by | shape |
|---|---|
| `dump_data` | ``{data_id: {token_id: path}}`` |
| the automatic mode of 2023 | ``{token_id: {md5 of the weight: [path, ...]}}`` |
| the successor's manual mode | ``{data_id: {token_id: [golden path, target path]}}`` |
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fastcmp.errors import UsageError
from fastcmp.sources.dump import Role
from fastcmp.sources.wording import printable

RowKey = tuple[str, str]
"""data_id and token_id."""

Rows = dict[RowKey, str]
"""The paths as written, in the order of the file."""

EXPECTED: Final = "{data_id: {token_id: path}}"
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")


def rows_of(document: Any, role: Role, name: str) -> Rows:
    """The tensors that a metadata.json lists for one role.

    A weight with several paths (automatic mode) becomes ``md5``, ``md5#1``, ``md5#2`` ... In a list, a path that is
    ``null`` or ``""`` is a tensor that this role does not have.

    Parameters
    ----------
    document : parsed JSON
    role : {"golden", "target"}
        Picks the path where a key has one for each side.
    name : str
        The file, for messages.

    Raises
    ------
    UsageError
        With the place inside the JSON, if a value has none of the expected types.
    """
    rows: Rows = {}
    if not isinstance(document, dict):
        raise UsageError(_unexpected(name, (), document, EXPECTED))
    for outer, tensors in document.items():
        if not isinstance(tensors, dict):
            raise UsageError(_unexpected(name, (outer,), tensors, "an object {token_id: path}"))
        for inner, value in tensors.items():
            if type(value) is str:
                rows[outer, inner] = value
            elif not isinstance(value, list) or any(item is not None and not isinstance(item, str) for item in value):
                raise UsageError(_unexpected(name, (outer, inner), value, "a path"))
            elif _MD5.fullmatch(inner):
                for number, path in enumerate(value):
                    if path:
                        rows[f"{inner}#{number}" if number else inner, outer] = path
            elif len(value) != 2:
                raise UsageError(_unexpected(name, (outer, inner), value, "[golden path, target path]"))
            elif path := value[role == "target"]:
                rows[outer, inner] = path
    return rows


def has_lists(document: dict[str, dict[str, Any]]) -> bool:
    """True if a key of a document that `rows_of` took has several paths, so that they may be of both sides."""
    return any(list in map(type, tensors.values()) for tensors in document.values())


def _unexpected(name: str, keys: tuple[str, ...], value: Any, expected: str) -> str:
    place = "".join(f"[{json.dumps(printable(key, 80), ensure_ascii=False)}]" for key in keys)
    return f"{name}: {f'entry {place}' if keys else 'the whole'}: expected {expected}, found {_kind_of(value)}; repair it or dump again"


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"the number {value:g}"
    if isinstance(value, str):
        return f"the text {printable(value, 40)!r}"
    if isinstance(value, list):
        odd = next((item for item in value if item is not None and not isinstance(item, str)), None)
        return f"a list of {len(value)}" + (f" with {_kind_of(odd)} in it" if odd is not None else "")
    return "an object"
