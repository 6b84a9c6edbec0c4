"""Options by keyword: every one there is, and a slip of the keyboard is answered with the nearest name."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from written_dumps import save_side

import fastcmp
from fastcmp import CompareOptions, ScanOptions
from fastcmp.errors import UsageError
from fastcmp.option_changes import OptionChanges, changed


def test_every_option_is_a_keyword_and_every_keyword_an_option() -> None:
    options = {field.name for field in fields(CompareOptions)} | {field.name for field in fields(ScanOptions)}
    assert OptionChanges.__optional_keys__ == options and OptionChanges.__required_keys__ == frozenset()


def test_changes_replace_what_the_options_say() -> None:
    options = CompareOptions(output="o", workers=3, scan=ScanOptions(multi_record="last"))
    given = changed(
        options, {"workers": 2, "thresholds": ["cosine_similarity >= 0.9"], "roots": [Path("/a"), "/b"], "output": Path("p")}, caller="f"
    )
    assert given == replace(
        options, output="p", workers=2, thresholds=("cosine_similarity >= 0.9",), scan=ScanOptions(multi_record="last", roots=("/a", "/b"))
    )
    assert changed(options, {}, caller="f") is options
    assert changed(options, {"scan": ScanOptions(), "format_policy": "flat"}, caller="f").scan == ScanOptions(format_policy="flat")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("treshold", "did you mean 'thresholds'?"),
        ("threshold", "did you mean 'thresholds'?"),
        ("excecutor", "did you mean 'executor'?"),
        ("jobs", "did you mean 'workers'?"),
        ("stall", "did you mean 'stall_s'?"),
        ("multirecord", "did you mean 'multi_record'?"),
        ("zzz", "the options are allow_unpaired, columns, compat_euclid, "),
    ],
)
def test_an_unknown_keyword_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=rf"^compare\(\) got an unexpected keyword argument '{name}'; .*") as caught:
        fastcmp.compare("g", "t", **{name: 1})
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": "cosine_similarity >= 0.9"}, "thresholds: expected a list or tuple of texts, got 'cosine_similarity >= 0.9'"),
        ({"multi_record": "all"}, "multi_record: expected one of error, first, last, got 'all'"),
        ({"progress": 7}, "progress: expected True, False, 'notebook' or an object"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        fastcmp.compare("g", "t", **changes)


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_keywords_reach_the_comparison(tmp_path: Path, executor: str) -> None:
    golden = save_side(tmp_path / "g", {("a", "0"): np.ones(8, np.float32)})
    target = save_side(tmp_path / "t", {("a", "0"): np.full(8, 1.01, np.float32)})
    by_keyword = fastcmp.compare(
        golden, target, executor=executor, output=tmp_path / "r", thresholds=["relative_euclidean_distance <= 0.1"]
    )
    assert by_keyword.ok and by_keyword.output == str(tmp_path / "r")
    assert not fastcmp.compare(golden, target, executor=executor, output=tmp_path / "r").ok
