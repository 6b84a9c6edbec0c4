"""Options that a program gives are refused before anything is read, as those of the command line are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, Rule, ScanOptions, check


def test_the_defaults_are_right() -> None:
    check(CompareOptions())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thresholds": "cosine_similarity > 0"}, "thresholds: expected a list or tuple of texts"),
        ({"include": "layers.*"}, "include: expected a list or tuple of texts"),
        ({"exclude": [7]}, "exclude: expected a list or tuple of texts"),
        ({"kl": "al"}, "kl: expected one of auto, all, none, got 'al'"),
        ({"allow_unpaired": True}, "allow_unpaired: expected one of none, golden, target, both, got True"),
        ({"compat_euclid": ""}, "compat_euclid: expected one of sqrt, legacy"),
        ({"workers": -1}, "-j -1: expected a number of workers"),
        ({"stall_s": float("nan")}, "--stall nan"),
        ({"scale": 0.0}, "--scale 0"),
        ({"rules": "r.toml"}, "rules: expected a list or tuple of Rule, got 'r.toml'"),
        ({"rules": [{"match": "x"}]}, "rules: expected a list or tuple of Rule"),
        ({"rules": (Rule(match="x"),)}, "rules: match: expected a list or tuple of texts, got 'x'"),
        ({"metrics": "mine.py:f"}, "metrics: expected a list or tuple of texts"),
        ({"metric_max_bytes": 0}, "--metric-max-bytes 0: expected a number of bytes, more than 0"),
        ({"output": ""}, "-o ''"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        check(dataclasses.replace(CompareOptions(), **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"roots": "/data"}, "roots: expected a list or tuple of texts"),
        ({"multi_record": "all"}, "multi_record: expected one of error, first, last"),
        ({"format_policy": None}, "format_policy: expected one of strict, flat"),
    ],
)
def test_one_text_is_not_taken_for_many_roots(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ScanOptions(**change)


def test_a_list_of_texts_is_as_good_as_a_tuple() -> None:
    options = CompareOptions(thresholds=["cosine_similarity > 0"], include=["a"], exclude=["b"], scan=ScanOptions(roots=["/data"]))
    assert (options.thresholds, options.include, options.exclude, options.scan.roots) == (
        ("cosine_similarity > 0",),
        ("a",),
        ("b",),
        ("/data",),
    )
    check(options)
