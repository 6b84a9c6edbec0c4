"""What docs/verdicts.md shows is so: its rules can be read, its numbers are right, its example runs."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from fastcmp.errors import UsageError
from fastcmp.metric_functions import call, parse_metrics
from fastcmp.options import CompareOptions
from fastcmp.rules import MOST_RULES, load_rules, rules_of
from fastcmp.thresholds import JUDGED_METRICS, default_threshold, parse_threshold
from fastcmp.toml_file import MOST_BYTES
from fastcmp.verdict import Rules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_rules_shown_can_be_read_and_decide_as_told() -> None:
    (text,) = blocks("toml")
    rules = Rules.from_options(CompareOptions(rules=rules_of(tomllib.loads(text)["tool"]["fastcmp"]["rule"], "docs")))

    def shown(data_id: str, golden: str, target: str) -> list[str]:
        class_of, matched = rules.by_name.classes([data_id])
        return [
            f"{one.metric} {one.symbol} {one.limit:g} {one.rule}" for one in rules.for_pairs(golden, target, matched[class_of[0]]) or ()
        ]

    every = "worst_row_distance <= 0.2 every pair"
    assert shown("a.logits", "float32", "bfloat16") == [
        every, 'cosine_similarity >= 0.999 "*.logits" bfloat16', 'relative_euclidean_distance <= 0.03 "*.logits" bfloat16',
    ]  # fmt: skip
    assert shown("a.logits", "float32", "float16") == ["relative_euclidean_distance <= 0.01 default float16", every]
    caches = '"*.k_cache", "*.v_cache" int8, float8_*'
    assert shown("a.v_cache", "float16", "float8_e5m2") == [
        every,
        f"signal_to_noise_db >= 20 {caches}",
        f"signal_to_noise_db < 200 {caches}",
    ]


@pytest.mark.parametrize(
    "line", re.findall(r"^\| (0\.\d+) \| ([\d.]+) \| ([\d.]+) \| (.+) \|$", TEXT, re.MULTILINE), ids=lambda line: line[0]
)
def test_the_table_of_limits_is_right(line: tuple[str, ...]) -> None:
    distance, decibel, cosine = map(float, line[:3])
    assert math.isclose(-20 * math.log10(distance), decibel, abs_tol=0.05)
    assert math.isclose(1 - distance * distance / 2, cosine, abs_tol=1e-10)
    for dtype in line[3].split(", "):
        assert default_threshold(dtype.replace("float8", "float8_e5m2"), "float64").limit == distance


def test_the_table_has_every_default() -> None:
    assert len(re.findall(r"^\| 0\.", TEXT, re.MULTILINE)) == 4
    assert math.isclose(math.sqrt(2 * (1 - 0.999)), 0.045, abs_tol=5e-4)
    assert f"{MOST_RULES} rules" in TEXT and MOST_BYTES == 1024 * 1024


def test_metrics_and_thresholds_that_are_named_exist() -> None:
    for text in re.findall(r"--threshold '([^']+)'", TEXT):
        if text != "METRIC OP NUMBER":
            parse_threshold(text, custom=["quantile_error"])
    assert {"worst_row_distance", "kl_divergence_row_max", "within_one_thousandth_ratio"} <= set(JUDGED_METRICS)


def test_the_error_shown_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.toml").write_text("[[rule]]\nmismatch_count = '== 0'\n[[rule]]\ncosine_similarty = '>= 0.9'\n")
    with pytest.raises(UsageError) as caught:
        load_rules("rules.toml")
    assert f"\nfastcmp: {caught.value}\n" in TEXT


def test_the_function_shown_is_a_metric(tmp_path: Path) -> None:
    (text,) = blocks("python")
    (tmp_path / "mine.py").write_text(text)
    (spec,) = parse_metrics([f"{tmp_path}/mine.py:quantile_error"])
    assert call(spec, np.zeros(5), np.full(5, 0.25)) == (0.25, "")
