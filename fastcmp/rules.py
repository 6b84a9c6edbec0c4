"""Rules for pairs of some names and dtypes, as TOML has them and as they are used. Without numpy: a slip must not wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

from fastcmp.dtypes import DTYPES
from fastcmp.errors import UsageError
from fastcmp.options import Rule
from fastcmp.thresholds import Threshold, check_metric, parse_threshold
from fastcmp.toml_file import read_toml

MOST_RULES: Final = 1000
OFF: Final = "off"
_MOST_SHOWN: Final = 80
_KEYS: Final = ("match", "dtype")
_NONFINITE: Final = "nonfinite_mismatch_count"


def load_rules(path: str, custom: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The ``[[rule]]`` tables of a TOML file; ``custom`` are the names of the user's own metrics.

    Raises
    ------
    UsageError
        If it cannot be read, is no TOML, or says something that no rule can say: with the file, the number of the rule and the key.
    """
    document = read_toml(path)
    unknown = next((name for name in document if name != "rule"), None)
    if unknown is not None:
        raise UsageError(f"{path}: {unknown!r}: expected nothing but [[rule]] tables")
    return rules_of(document.get("rule", []), path, custom)


def rules_of(tables: object, where: str, custom: Sequence[str] = ()) -> tuple[Rule, ...]:
    """Rules from the tables of a TOML document; ``where`` is what an error begins with, ``custom`` are the user's own metrics."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{where}: rule: expected [[rule]] tables, in double brackets")
    if len(tables) > MOST_RULES:
        raise UsageError(f"{where}: {len(tables)} rules, expected at most {MOST_RULES}")
    rules = tuple(_rule_of(table, f"{where}: rule {number}", custom) for number, table in enumerate(tables, 1))
    for number, rule in enumerate(rules, 1):
        compiled(rule, f"{where}: rule {number}", custom)
    return rules


def _rule_of(table: Mapping[str, Any], where: str, custom: Sequence[str]) -> Rule:
    thresholds: list[str] = []
    off: list[str] = []
    for metric, said in table.items():
        if metric in _KEYS:
            continue
        check_metric(metric, where, custom, _KEYS)
        if said == OFF:
            off.append(metric)
            continue
        for text in said if isinstance(said, list) and said else [said]:
            if not isinstance(text, str):
                raise UsageError(f"{where}: {metric}: {_EXPECTED}, found {_found(text)}")
            thresholds.append(f"{metric} {text}")
    return Rule(_globs(table, "match", where), _globs(table, "dtype", where), tuple(thresholds), tuple(off))


_EXPECTED: Final = """expected a comparison such as ">= 0.999" (one of >= > <= < ==), a list of them, or "off\""""


def _globs(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    if key not in table:
        return ()
    globs = table[key]
    globs = [globs] if isinstance(globs, str) else globs
    if not isinstance(globs, list) or not globs or not all(isinstance(glob, str) and glob for glob in globs):
        raise UsageError(f"{where}: {key}: expected a glob or a list of globs, found {_found(table[key])}")
    return tuple(globs)


def _found(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule, ready for use: what it says about each of its metrics (nothing: off), and the dtypes that it is for."""

    match: tuple[str, ...]
    dtypes: frozenset[str]
    by_metric: tuple[tuple[str, tuple[Threshold, ...]], ...]


def compiled(rule: Rule, where: str, custom: Sequence[str] = ()) -> CompiledRule:
    """A rule ready for use; `UsageError` if it speaks of no metric or dtype that there is, or a comparison is none."""
    name = rule_name(rule)
    by_metric: dict[str, tuple[Threshold, ...]] = {}
    for metric in rule.off:
        check_metric(metric, where, custom)
        if metric == _NONFINITE:
            raise UsageError(f"{where}: {metric}: cannot be off, a NaN or an infinity that meets something else always fails")
        by_metric[metric] = ()
    for text in rule.thresholds:
        threshold = _threshold(text, where, name, custom)
        by_metric[threshold.metric] = (*by_metric.get(threshold.metric, ()), threshold)
    if not by_metric:
        raise UsageError(f'{where}: says nothing about any metric; add one, such as cosine_similarity = ">= 0.999"')
    return CompiledRule(rule.match, _dtypes(rule.dtype, where), tuple(by_metric.items()))


def _threshold(text: str, where: str, name: str, custom: Sequence[str]) -> Threshold:
    metric, _, comparison = text.partition(" ")
    try:
        return parse_threshold(text, where=where, rule=name, custom=custom)
    except UsageError as error:
        check_metric(metric, where, custom)
        raise UsageError(f"{where}: {metric}: {_EXPECTED}, found {_found(comparison)}") from error


def _dtypes(globs: Sequence[str], where: str) -> frozenset[str]:
    for glob in globs:
        if not any(fnmatchcase(dtype, glob) for dtype in DTYPES):
            close = get_close_matches(glob, DTYPES, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(close)}?" if close else f"the dtypes are {', '.join(DTYPES)}"
            raise UsageError(f"{where}: dtype: no storage dtype is called {glob!r}; {hint}")
    return frozenset(dtype for dtype in DTYPES if not globs or any(fnmatchcase(dtype, glob) for glob in globs))


def rule_name(rule: Rule) -> str:
    """A rule as a reason shows it: ``"*.logits" bfloat16``; ``every pair`` for one without conditions."""
    texts = ", ".join(f'"{glob}"' for glob in rule.match), ", ".join(rule.dtype)
    name = " ".join(text for text in texts if text) or "every pair"
    return name if len(name) <= _MOST_SHOWN else f"{name[: _MOST_SHOWN - 3]}..."
