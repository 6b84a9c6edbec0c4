"""The files of ``--map``: which golden name is which target name, one rule a line, or the same in TOML or YAML."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from fastcmp.errors import UsageError, reason_and_advice
from fastcmp.pairing.name_pattern import Pattern, PatternError, Template, parse_pattern, parse_template
from fastcmp.sources.wording import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_RULES: Final = 20_000
MOST_FILES: Final = 100
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#.*")
_ARROW: Final = re.compile(r"\s+->\s+")
_OFFSET: Final = re.compile(r"\s+@\s*([+-]?[0-9]{1,9})$")
_EXPECTED: Final = "expected GOLDEN -> TARGET, two names with a blank, an arrow and a blank between them"


class MapRule(NamedTuple):
    """One rule.

    Attributes
    ----------
    golden : Pattern
    target : Template
    offset : int
        Target's token is golden's and this, beside `CompareOptions.token_offset`.
    name : str
        As the column ``pair_rule`` has it.
    where : str
        As a message has it.
    """

    golden: Pattern
    target: Template
    offset: int
    name: str
    where: str


class _Written(NamedTuple):
    """A rule as it is written: its number in the file, what a message calls it, and its three parts."""

    number: int
    where: str
    golden: str
    target: str
    offset: int = 0


def load_maps(paths: Sequence[str]) -> tuple[MapRule, ...]:
    """The rules of all files, in their order.

    Raises
    ------
    UsageError
        With file and line, if one cannot be read or is no rule.
    """
    if len(paths) > MOST_FILES:
        raise UsageError(f"--map: {len(paths)} files, expected at most {MOST_FILES}")
    rules: list[MapRule] = []
    for place, path in enumerate(paths, 1):
        found = [_rule(one, f"map:{one.number}" if len(paths) == 1 else f"map:{place}:{one.number}") for one in _written(path)]
        if not found:
            raise UsageError(f"{printable(path)}: no rule in it; {_EXPECTED}")
        rules += found
        if len(rules) > MOST_RULES:
            raise UsageError(f"{printable(path)}: more than {MOST_RULES} rules; write patterns in their place")
    return tuple(rules)


def map_digests(paths: Sequence[str]) -> list[str]:
    """What tells one content of each file from another."""
    return [hashlib.sha256(_content(path)).hexdigest()[:16] for path in paths]


def _rule(written: _Written, name: str) -> MapRule:
    try:
        golden = parse_pattern(written.golden)
    except PatternError as error:
        raise UsageError(f"{written.where}: golden {printable(written.golden)!r}: {error}") from error
    try:
        return MapRule(golden, parse_template(written.target, golden), written.offset, name, written.where)
    except PatternError as error:
        raise UsageError(f"{written.where}: target {printable(written.target)!r}: {error}") from error


def _written(path: str) -> Iterator[_Written]:
    try:
        text = _content(path).removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{printable(path)}: byte {error.start}: not UTF-8; save it as UTF-8") from error
    suffix = os.path.splitext(path)[1].lower()
    read = {".toml": _of_toml, ".yaml": _of_yaml, ".yml": _of_yaml}.get(suffix, _of_lines)
    return read(text, printable(path))


def _content(path: str) -> bytes:
    name = printable(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opened, a FIFO would wait for its writer
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{name}: not a regular file; name a file of rules for --map")
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name}: cannot be read: {reason_and_advice(error, 'name a file of rules for --map')}") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{name}: more than {MOST_BYTES} bytes, expected rules for --map")
    return content


def _of_lines(text: str, name: str) -> Iterator[_Written]:
    for number, line in enumerate(text.split("\n"), 1):
        said = _COMMENT.sub("", line).strip()
        if not said:
            continue
        where = f"{name}: line {number}"
        parts = _ARROW.split(said)
        if len(parts) != 2:
            raise UsageError(f"{where}: found {printable(said)!r}, {_EXPECTED}")
        target, offset = _with_offset(parts[1])
        yield _Written(number, where, parts[0], target, offset)


def _with_offset(text: str) -> tuple[str, int]:
    """A template, and the number behind `` @ `` that follows it."""
    found = _OFFSET.search(text)
    return (text, 0) if found is None else (text[: found.start()], int(found[1]))


def _of_toml(text: str, name: str) -> Iterator[_Written]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: not TOML: {' '.join(str(error).split())}") from error
    tables = document.get("map")
    if set(document) != {"map"} or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{name}: expected [[map]] tables and nothing else, each with golden and target")
    for number, table in enumerate(tables, 1):
        yield _of_table(table, number, f"{name}: map {number}")


def _of_table(table: dict[str, Any], number: int, where: str) -> _Written:
    unknown = next((key for key in table if key not in ("golden", "target", "token_offset")), None)
    if unknown is not None:
        raise UsageError(f"{where}: {printable(unknown)!r}: expected golden, target, token_offset")
    golden, target, offset = table.get("golden"), table.get("target"), table.get("token_offset", 0)
    if not isinstance(golden, str) or not isinstance(target, str):
        raise UsageError(f"{where}: expected golden and target, a text each")
    if not isinstance(offset, int) or isinstance(offset, bool) or abs(offset) >= 10**9:
        raise UsageError(f"{where}: token_offset: expected a whole number, found {printable(repr(offset), 40)}")
    return _Written(number, where, golden, target, offset)


def _of_yaml(text: str, name: str) -> Iterator[_Written]:
    """A mapping from golden to target, or to target and its offset. Only composed: nothing that the file says becomes an object."""
    try:
        import yaml
    except ImportError as error:
        raise UsageError(f"{name}: YAML needs PyYAML, which is not installed: pip install pyyaml, or write one rule a line") from error
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return
    if not isinstance(document, yaml.MappingNode):
        raise UsageError(f"{name}: expected a mapping, a line 'GOLDEN: TARGET' for each rule")
    for key, value in document.value:
        number = key.start_mark.line + 1
        where = f"{name}: line {number}"
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise UsageError(f"{where}: expected a text and a text, GOLDEN: TARGET")
        target, offset = _with_offset(value.value)
        yield _Written(number, where, key.value, target, offset)
