"""The grammar of ``--map``: a pattern that a golden name fits, and a template that makes target's name from what the pattern captured.

No regular expression is made from either: a hostile name costs a pattern no more than its length times the length of the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from fastcmp.sources.wording import printable

MOST_CHARACTERS: Final = 1000
MOST_RUNS: Final = 32
# As long as a path can be. A longer name is nobody's, and fits nothing.
LONGEST_NAME: Final = 4096
_SEPARATORS: Final = "./"
_CAPTURE: Final = re.compile(r"\{([A-Za-z_][A-Za-z_0-9]{0,31})(?::([^{}]{0,8}))?\}")
_INSERTED: Final = re.compile(r"\{([A-Za-z_][A-Za-z_0-9]{0,31}|[1-9][0-9]?)(?:([+-])([0-9]{1,9}))?\}")
# Longer digits are a name like any other: no number of a layer has them.
_MOST_DIGITS: Final = 18

Kind = Literal["one", "part", "deep", "int"]
_KINDS: Final[dict[str, Kind]] = {"": "part", "*": "part", "**": "deep", "int": "int"}


class PatternError(ValueError):
    """A pattern or template that says nothing: what was found, what was expected."""


class _Run(NamedTuple):
    """What a wildcard or a capture stands for: at least ``least`` characters of a kind. ``name`` is "" where it is not kept."""

    name: str
    kind: Kind
    least: int


class Pattern(NamedTuple):
    """A parsed pattern: literal texts and runs by turns, and of the runs the kinds by their names."""

    text: str
    items: tuple[str | _Run, ...]
    kinds: Mapping[str, Kind]

    @property
    def prefix(self) -> str:
        """What every name that fits begins with."""
        return self.items[0] if self.items and isinstance(self.items[0], str) else ""

    @property
    def suffix(self) -> str:
        """What every name that fits ends with."""
        return self.items[-1] if self.items and isinstance(self.items[-1], str) else ""

    def captures(self, name: str) -> dict[str, str] | None:
        """What each run stands for in ``name``, every one as short as it can be, from the left; None if the name does not fit."""
        ends = [0] * len(self.items)
        if len(name) > LONGEST_NAME or not name.endswith(self.suffix) or not _fits(self.items, 0, name, 0, ends, {}):
            return None
        starts = [0, *ends]
        return {item.name: name[starts[i] : ends[i]] for i, item in enumerate(self.items) if isinstance(item, _Run) and item.name}


def _fits(items: tuple[str | _Run, ...], number: int, name: str, at: int, ends: list[int], dead: dict[tuple[int, int], int]) -> bool:
    """True if the items from ``number`` on are the name from ``at`` on; ``ends`` then says where each of them ends.

    ``dead`` remembers, of a run that may go as far as some place, from where on it was tried in vain: each place is tried once.
    """
    if number == len(items):
        return at == len(name)
    item = items[number]
    if isinstance(item, str):
        ends[number] = at + len(item)
        return name.startswith(item, at) and _fits(items, number + 1, name, ends[number], ends, dead)
    limit = _limit(item.kind, name, at)
    known = dead.get((number, limit))
    following = items[number + 1] if number + 1 < len(items) else ""
    last = limit if known is None else min(limit, known + item.least - 1)
    end = at + item.least
    while end <= last:
        if isinstance(following, str) and following:
            end = name.find(following, end, limit + len(following))
            if not 0 <= end <= last:
                break
        elif number + 1 == len(items):
            end = len(name)
            if end > last:
                break
        ends[number] = end
        if _fits(items, number + 1, name, end, ends, dead):
            return True
        end += 1
    dead[number, limit] = at if known is None else min(at, known)
    return False


def _limit(kind: Kind, name: str, at: int) -> int:
    """As far as a run of this kind may go."""
    if kind == "deep":
        return len(name)
    if kind == "one":
        return min(at + 1, len(name)) if at < len(name) and name[at] not in _SEPARATORS else at
    end = at
    if kind == "int":
        while end < len(name) and name[end] in "0123456789":
            end += 1
        return end
    places = [place for separator in _SEPARATORS if (place := name.find(separator, at)) >= 0]
    return min(places, default=len(name))


def parse_pattern(text: str) -> Pattern:
    r"""A pattern: ``*`` within a part of a name, ``**`` over parts, ``?``, ``{n}``, ``{n:int}``, ``{n:**}``, ``\`` before plain characters.

    Raises
    ------
    PatternError
    """
    _check_length(text)
    items: list[str | _Run] = []
    kinds: dict[str, Kind] = {}
    stars, at = 0, 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            _add_literal(items, _escaped(text, at))
            at += 2
        elif character == "*":
            width = len(text) - at - len(text[at:].lstrip("*"))
            if width > 2:
                raise PatternError(f"found {'*' * min(width, 8)}, expected * or **")
            stars += 1
            at += _add_run(items, kinds, _Run(str(stars), "deep" if width == 2 else "part", 0), width)
        elif character == "?":
            at += _add_run(items, kinds, _Run("", "one", 1), 1)
        elif character == "{":
            run, width = _capture(text, at)
            at += _add_run(items, kinds, run, width)
        elif character == "}":
            raise PatternError(r"found } without {, expected \} where it is part of a name")
        else:
            _add_literal(items, character)
            at += 1
    if sum(isinstance(item, _Run) for item in items) > MOST_RUNS:
        raise PatternError(f"more than {MOST_RUNS} wildcards and captures")
    return Pattern(text, tuple(items), kinds)


def _add_run(items: list[str | _Run], kinds: dict[str, Kind], run: _Run, width: int) -> int:
    if run.name in kinds:
        raise PatternError(f"{{{run.name}}} stands twice; give one of them another name")
    if run.name:
        kinds[run.name] = run.kind
    items.append(run)
    return width


def _add_literal(items: list[str | _Run], text: str) -> None:
    if items and isinstance(items[-1], str):
        items[-1] += text
    else:
        items.append(text)


def _capture(text: str, at: int) -> tuple[_Run, int]:
    found = _CAPTURE.match(text, at)
    kind = None if found is None else _KINDS.get(found[2] or "")
    if found is None or kind is None:
        raise PatternError(rf"found {printable(text[at : at + 24])!r}, expected {{name}}, {{name:int}} or {{name:**}}, or \{{")
    return _Run(found[1], kind, 1), len(found[0])


def _escaped(text: str, at: int) -> str:
    if at + 1 == len(text):
        raise PatternError(r"a \ at the end, expected the character that it stands before; \\ is one of its own")
    return text[at + 1]


def _check_length(text: str) -> None:
    if not text:
        raise PatternError("nothing, expected a name")
    if len(text) > MOST_CHARACTERS:
        raise PatternError(f"{len(text)} characters, expected at most {MOST_CHARACTERS}")


class _Inserted(NamedTuple):
    """A capture in a template, and what is added to its number."""

    name: str
    added: int
    is_number: bool


class Template(NamedTuple):
    """A parsed template."""

    text: str
    items: tuple[str | _Inserted, ...]

    def filled(self, captures: Mapping[str, str]) -> str | None:
        """Target's name; None where a number would be below 0, or has more digits than a number of anything."""
        parts = []
        for item in self.items:
            text = item if isinstance(item, str) else captures[item.name]
            if isinstance(item, _Inserted) and item.is_number:
                if len(text) > _MOST_DIGITS or int(text) + item.added < 0:
                    return None
                text = str(int(text) + item.added)
            parts.append(text)
        return "".join(parts)


def parse_template(text: str, pattern: Pattern) -> Template:
    r"""A template for what ``pattern`` captures: ``{n}``, ``{1}`` for the first star, ``{n+1}`` and ``{n-1}`` where n is an int.

    Raises
    ------
    PatternError
    """
    _check_length(text)
    items: list[str | _Run | _Inserted] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            items.append(_escaped(text, at))
            at += 2
        elif character in "*?":
            raise PatternError(rf"found {character} in target's name; write {{1}} for what the first * stands for, or \{character}")
        elif character in "{}":
            inserted, width = _inserted(text, at, pattern)
            items.append(inserted)
            at += width
        else:
            items.append(character)
            at += 1
    return Template(text, tuple(item for item in items if isinstance(item, str | _Inserted)))


def _inserted(text: str, at: int, pattern: Pattern) -> tuple[_Inserted, int]:
    found = _INSERTED.match(text, at)
    if found is None:
        raise PatternError(rf"found {printable(text[at : at + 24])!r}, expected {{name}}, {{1}} or {{name+1}}, or \{{ and \}}")
    name, sign, digits = found.groups()
    if name not in pattern.kinds:
        known = ", ".join(f"{{{one}}}" for one in pattern.kinds) or "nothing"
        raise PatternError(f"{{{name}}} is not captured; the pattern captures {known}")
    if sign and pattern.kinds[name] != "int":
        raise PatternError(f"{found[0]}: only a whole number can be added to; capture it as {{{name}:int}}")
    return _Inserted(name, int(f"{sign}{digits}") if sign else 0, bool(sign)), len(found[0])
