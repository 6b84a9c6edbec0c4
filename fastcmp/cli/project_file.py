"""What pyproject.toml of the working directory says about comparisons: ``[tool.fastcmp]``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from cyclopts.config import Toml

from fastcmp.errors import UsageError
from fastcmp.options import Rule
from fastcmp.rules import load_rules, rules_of
from fastcmp.toml_file import read_toml

_PATH: Final = "pyproject.toml"
_KEYS: Final = ("tool", "fastcmp")
_WHERE: Final = f"{_PATH}: [tool.fastcmp]"


class ProjectFile(Toml):
    """Options of a command as cyclopts takes them; the tables ``[[tool.fastcmp.rule]]`` are left out, see `chosen_rules`.

    Parameters
    ----------
    only : set of str, optional
        The options that the command has; the others are left out. Without it an unknown one is refused.
    """

    def __init__(self, only: AbstractSet[str] | None = None) -> None:
        super().__init__(_PATH, root_keys=_KEYS, use_commands_as_keys=False)
        self._only = only

    @property
    def config(self) -> dict[str, Any]:
        """The document, as far as cyclopts is to see it."""
        table = _table()
        if "metric" in table:  # a directory that somebody was sent must not bring code along
            raise UsageError(
                f"{_WHERE}: metric: code is run only where the command line names it (--metric), or FASTCMP_METRIC; remove it here"
            )
        wanted = {key: value for key, value in table.items() if key != "rule" and (self._only is None or key in self._only)}
        return {"tool": {"fastcmp": wanted}}


def project_files(only: AbstractSet[str] | None = None) -> list[ProjectFile]:
    """The configuration for a command: one, or none where there is no such file."""
    return [ProjectFile(only)] if os.path.isfile(_PATH) else []


def chosen_rules(path: str, custom: Sequence[str]) -> tuple[Rule, ...]:
    """The rules in the file that an option names, else those of the project; ``custom`` are the user's own metrics."""
    if path:
        return load_rules(path, custom)
    return rules_of(_table().get("rule", []), _WHERE, custom) if os.path.isfile(_PATH) else ()


def _table() -> dict[str, Any]:
    """The table of fastcmp, {} where there is none; `UsageError` if the file is no TOML, or the table is none."""
    table: Any = read_toml(_PATH)
    for key in _KEYS:
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise UsageError(f"{_PATH}: {key}: expected a table")
    if "rule" in table and "rules" in table:
        raise UsageError(f"{_WHERE}: has both rules and [[tool.fastcmp.rule]]; keep one of them")
    return table
