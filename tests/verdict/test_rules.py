"""Rules by name and dtype: what may stand in the file, which of them decides, and that many pairs are judged as one by one."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.dtypes import DTYPES, narrower
from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions, Rule
from fastcmp.rule_book import IDLE_RULE
from fastcmp.rules import MOST_RULES, load_rules, rules_of
from fastcmp.thresholds import JUDGED_METRICS, LARGER_IS_BETTER, Threshold, default_threshold, measures_error, needs_scale, parse_threshold
from fastcmp.toml_file import MOST_BYTES
from fastcmp.verdict import Rules, is_about_rules, judge


def by(*rules: Rule, thresholds: tuple[str, ...] = (), scale: float | None = None) -> Rules:
    return Rules.from_options(CompareOptions(rules=rules, thresholds=thresholds, scale=scale))


def verdict(rules: Rules, data_id: str, golden: str = "float32", target: str = "float32", **metrics: Any) -> tuple[str, str]:
    given = {"relative_euclidean_distance": 0.0, "cosine_similarity": 1.0, "max_absolute_error": 0.0, "mismatch_count": 0}
    columns = {name: [value] for name, value in {**given, "nonfinite_mismatch_count": 0, "element_count": 6, **metrics}.items()}
    verdicts, reasons = judge(rules, [data_id], [golden], [target], [(6,)], [(6,)], columns)
    return verdicts[0], reasons[0]


def test_a_file_of_rules_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rule]]\nmatch = "*.logits"\ndtype = "bfloat16"\ncosine_similarity = ">= 0.999"\n\n'
        '[[rule]]\nmatch = ["*.k_cache", "*.v_cache"]\ndtype = ["float8_*", "int8"]\n'
        'relative_euclidean_distance = "off"\nsignal_to_noise_db = ["> 20", "< 90"]\n'
    )
    assert load_rules(str(path)) == (
        Rule(("*.logits",), ("bfloat16",), ("cosine_similarity >= 0.999",)),
        Rule(
            ("*.k_cache", "*.v_cache"), ("float8_*", "int8"), ("signal_to_noise_db > 20", "signal_to_noise_db < 90"),
            ("relative_euclidean_distance",),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]\n", "f: not TOML: "),
        ("rule = 3", "f: rule: expected [[rule]] tables, in double brackets"),
        ("[rule]\nmatch = '*'", "f: rule: expected [[rule]] tables, in double brackets"),
        ("[[rules]]\n", "f: 'rules': expected nothing but [[rule]] tables"),
        ("[tool.fastcmp]\n", "f: 'tool': expected nothing but [[rule]] tables"),
        ("[[rule]]\n", 'f: rule 1: says nothing about any metric; add one, such as cosine_similarity = ">= 0.999"'),
        ("[[rule]]\nmatch = '*'", "f: rule 1: says nothing about any metric"),
        ("[[rule]]\nmismatch_count = '== 0'\n[[rule]]\ncosine_similarty = '>= 1'", "f: rule 2: no metric is called 'cosine_similarty'; did you mean cosine_similarity"),
        ("[[rule]]\nmach = '*'\n", "f: rule 1: no metric is called 'mach'; did you mean match"),
        ("[[rule]]\nname = '*'\nmatch = 3", "f: rule 1: no metric is called 'name'; the keys are match, dtype and the metrics cosine_similarity, "),
        ("[[rule]]\nmatch = 3\nmismatch_count = '== 0'", "f: rule 1: match: expected a glob or a list of globs, found 3"),
        ("[[rule]]\nmatch = []\nmismatch_count = '== 0'", "f: rule 1: match: expected a glob or a list of globs, found []"),
        ("[[rule]]\nmatch = ''\nmismatch_count = '== 0'", "f: rule 1: match: expected a glob or a list of globs, found ''"),
        ("[[rule]]\nmatch = ['a', 1]\nmismatch_count = '== 0'", "f: rule 1: match: expected a glob or a list of globs, found ['a', 1]"),
        ("[[rule]]\ndtype = 'bf16'\nmismatch_count = '== 0'", "f: rule 1: dtype: no storage dtype is called 'bf16'; did you mean bfloat16"),
        ("[[rule]]\ndtype = 'zz*'\nmismatch_count = '== 0'", "f: rule 1: dtype: no storage dtype is called 'zz*'; the dtypes are float64, "),
        ("[[rule]]\ncosine_similarity = 0.9", 'f: rule 1: cosine_similarity: expected a comparison such as ">= 0.999" (one of >= > <= < ==), a list of them, or "off", found 0.9'),
        ("[[rule]]\ncosine_similarity = '0.9'", "or \"off\", found '0.9'"),
        ("[[rule]]\ncosine_similarity = '!= 0.9'", "or \"off\", found '!= 0.9'"),
        ("[[rule]]\ncosine_similarity = '>= nan'", "or \"off\", found '>= nan'"),
        ("[[rule]]\ncosine_similarity = []", 'or "off", found []'),
        ("[[rule]]\ncosine_similarity = ['off']", "or \"off\", found 'off'"),
        ("[[rule]]\ncosine_similarity = '" + "x" * 500 + "'", "xxx..."),
        ("[[rule]]\nnonfinite_mismatch_count = 'off'", "f: rule 1: nonfinite_mismatch_count: cannot be off, a NaN or an infinity that meets something else always fails"),
        ("[[rule]]\nmismatch_count = '== 0'\n" * (MOST_RULES + 1), f"f: {MOST_RULES + 1} rules, expected at most {MOST_RULES}"),
        ("#" * (MOST_BYTES + 1), f"f: more than {MOST_BYTES} bytes, expected a few rules"),
        ("a = " + "[" * 100_000, "f: not TOML: "),
    ],
)  # fmt: skip
def test_what_no_rule_can_say_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_rules("f")
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 700
    if message.startswith("f:"):
        assert str(caught.value).startswith(message)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in (
        ("none", "cannot be read: No such file"),
        ("fifo", "not a regular file"),
        (".", "cannot be read: Is a directory"),
        ("binary", "not TOML"),
    ):
        with pytest.raises(UsageError, match=message):
            load_rules(str(tmp_path / name))
    with pytest.raises(UsageError, match="cannot be read: embedded null byte"):
        load_rules("a\0b")


def test_rules_of_a_program_are_seen_to_as_those_of_a_file() -> None:
    with pytest.raises(UsageError, match="rules: rule 1: no metric is called 'x'"):
        by(Rule(off=("x",)))
    with pytest.raises(UsageError, match="rules: rule 2: dtype: no storage dtype is called 'half'"):
        by(Rule(off=("mismatch_count",)), Rule(dtype=("half",), off=("mismatch_count",)))
    assert Rule(match=["a"]) == Rule(match=("a",))


LOGITS = Rule(match=("*.logits",), thresholds=("cosine_similarity >= 0.999",))


def test_a_rule_is_for_its_names_and_names_itself() -> None:
    assert verdict(by(LOGITS), "model.logits", cosine_similarity=0.5) == ("fail", 'cosine_similarity 0.5 < 0.999 (rule: "*.logits")')
    assert verdict(by(LOGITS), "model.logits.x", cosine_similarity=0.5) == ("pass", "")
    assert verdict(by(LOGITS), "Model.Logits", cosine_similarity=0.5) == ("pass", "")


def test_a_rule_keeps_the_default_of_other_metrics() -> None:
    assert (
        verdict(by(LOGITS), "a.logits", relative_euclidean_distance=0.5)[1]
        == "relative_euclidean_distance 0.5 > 0.0001 (rule: default float32)"
    )


def test_a_rule_is_for_the_narrower_storage_dtype() -> None:
    rules = by(Rule(dtype=("bfloat16",), thresholds=("relative_euclidean_distance <= 0.2",)))
    for golden, target in (("float32", "bfloat16"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")):
        assert (
            verdict(rules, "x", golden, target, relative_euclidean_distance=0.3)[1]
            == "relative_euclidean_distance 0.3 > 0.2 (rule: bfloat16)"
        )
    assert verdict(rules, "x", "float32", "float16", relative_euclidean_distance=0.3)[1].endswith("(rule: default float16)")


def test_the_last_matching_rule_that_speaks_of_a_metric_decides_it() -> None:
    rules = by(
        Rule(thresholds=("cosine_similarity >= 0.9", "mean_absolute_error < 1")),
        Rule(match=("a*",), thresholds=("cosine_similarity >= 0.99",)),
        Rule(match=("ab*",), thresholds=("cosine_similarity >= 0.5",)),
    )
    bad = {"cosine_similarity": 0.1, "mean_absolute_error": 2.0}
    shown = {name: verdict(rules, name, **bad)[1].split("; ") for name in ("ab", "ac", "z")}
    assert shown == {
        "ab": ["mean_absolute_error 2 >= 1 (rule: every pair)", 'cosine_similarity 0.1 < 0.5 (rule: "ab*")'],
        "ac": ["mean_absolute_error 2 >= 1 (rule: every pair)", 'cosine_similarity 0.1 < 0.99 (rule: "a*")'],
        "z": ["cosine_similarity 0.1 < 0.9 (rule: every pair)", "mean_absolute_error 2 >= 1 (rule: every pair)"],
    }


def test_off_drops_the_default_and_earlier_rules_but_not_shapes_and_infinities() -> None:
    off = Rule(match=("a",), off=("relative_euclidean_distance", "cosine_similarity"))
    rules = by(Rule(thresholds=("cosine_similarity >= 0.9",)), off)
    assert verdict(rules, "a", relative_euclidean_distance=9.0, cosine_similarity=0.1) == ("pass", "")
    assert verdict(rules, "b", relative_euclidean_distance=9.0)[0] == "fail"
    assert verdict(rules, "a", nonfinite_mismatch_count=1)[1] == "nonfinite_mismatch_count 1 > 0 (rule: non-finite)"
    later = by(off, Rule(thresholds=("cosine_similarity >= 0.9",)))
    assert (
        verdict(later, "a", relative_euclidean_distance=9.0, cosine_similarity=0.1)[1] == "cosine_similarity 0.1 < 0.9 (rule: every pair)"
    )


def test_a_threshold_beats_every_rule() -> None:
    rules = by(Rule(off=("cosine_similarity",)), LOGITS, thresholds=("cosine_similarity >= 0.2",))
    assert verdict(rules, "a.logits", cosine_similarity=0.5) == ("pass", "")
    assert verdict(rules, "a.logits", cosine_similarity=0.1)[1] == "cosine_similarity 0.1 < 0.2 (rule: --threshold)"


def test_integers_against_floats_are_judged_by_a_rule_that_speaks_of_them() -> None:
    rules = by(Rule(match=("q",), thresholds=("cosine_similarity >= 0.9",)), Rule(match=("r",), off=("relative_euclidean_distance",)))
    assert verdict(rules, "q", "int8", "float32") == ("pass", "")
    assert verdict(rules, "q", "int8", "float32", cosine_similarity=0.5)[0] == "fail"
    assert verdict(rules, "r", "int8", "float32") == ("pass", "")
    assert verdict(rules, "s", "int8", "float32")[1].startswith("int8 against float32 and no scale is known")


def test_a_rule_with_many_globs_has_a_short_name() -> None:
    rules = by(Rule(match=tuple(f"layer{n}.*" for n in range(50)), thresholds=("cosine_similarity >= 0.9",)))
    reason = verdict(rules, "layer3.x", cosine_similarity=0.1)[1]
    assert reason.startswith('cosine_similarity 0.1 < 0.9 (rule: "layer0.*", "layer1.*"') and reason.endswith("...)") and len(reason) < 120


METRICS = ("relative_euclidean_distance", "cosine_similarity", "mismatch_count")
TEXTS = st.tuples(st.sampled_from(METRICS), st.sampled_from((">=", "<", "==")), st.sampled_from((0.25, 0.5))).map(
    lambda t: f"{t[0]} {t[1]} {t[2]}"
)
RULE = st.builds(
    lambda match, dtype, thresholds, off: Rule(tuple(match), tuple(dtype), tuple(thresholds), tuple(off)),
    st.lists(st.sampled_from(("*", "a*", "*b", "a?", "[ab]*", "ab")), max_size=2),
    st.lists(st.sampled_from(("float*", "float32", "int8", "*")), max_size=1),
    st.lists(TEXTS, max_size=2),
    st.lists(st.sampled_from(METRICS), max_size=1),
).filter(lambda rule: bool(rule.thresholds or rule.off))
PAIR = st.tuples(
    st.text("abc", max_size=3), st.sampled_from(("float32", "float16", "int8")), st.sampled_from(("float32", "bfloat16", "int8")),
    *[st.sampled_from((0.0, 0.25, 0.5, float("nan")))] * 3,
)  # fmt: skip


def thresholds_by_the_book(
    rules: list[Rule], given: list[str], data_id: str, golden: str, target: str, scaled: bool
) -> list[Threshold] | None:
    """What holds for one pair, read off the documentation."""
    dtype = narrower(golden, target)
    last: dict[str, list[str]] = {}
    for rule in rules:
        named = not rule.match or any(fnmatchcase(data_id, glob) for glob in rule.match)
        if not named or not (not rule.dtype or any(fnmatchcase(dtype, glob) for glob in rule.dtype)):
            continue
        for metric in METRICS:
            texts = [text for text in rule.thresholds if text.startswith(metric)]
            if texts or metric in rule.off:
                last[metric] = texts
    cli = {text.split()[0] for text in given}
    if needs_scale(golden, target) and not scaled:
        if not any(last.values()) and not given and "relative_euclidean_distance" not in last:
            return None
        held = []
    else:
        default = default_threshold(golden, target)
        held = [] if default.metric in last or default.metric in cli else [default]
    held += [parse_threshold(text) for metric, texts in last.items() if metric not in cli for text in texts]
    return held + [parse_threshold(text) for text in given]


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(RULE, max_size=4), st.lists(TEXTS, max_size=1), st.lists(PAIR, min_size=1, max_size=12), st.booleans())
def test_many_pairs_are_judged_as_the_documentation_says_of_one(
    rules: list[Rule], given: list[str], pairs: list[tuple[Any, ...]], scaled: bool
) -> None:
    names, goldens, targets, *columns = map(list, zip(*pairs, strict=True))
    metrics = dict(zip(METRICS, columns, strict=True))
    judged = {
        **metrics,
        "nonfinite_mismatch_count": [0] * len(pairs),
        "element_count": [6] * len(pairs),
        "max_absolute_error": [0.0] * len(pairs),
    }
    verdicts, reasons = judge(
        by(*rules, thresholds=tuple(given), scale=2.0 if scaled else None),
        names,
        goldens,
        targets,
        [(6,)] * len(pairs),
        [(6,)] * len(pairs),
        judged,
    )
    for number, (name, golden, target) in enumerate(zip(names, goldens, targets, strict=True)):
        held = thresholds_by_the_book(rules, given, name, golden, target, scaled)
        broken = (
            ["no scale"] if held is None else [held_one.metric for held_one in held if not held_one.holds(metrics[held_one.metric][number])]
        )
        assert verdicts[number] == ("fail" if broken else "pass")
        said = reasons[number].split("; ")[: len(broken)] if held is not None else broken
        assert sorted(text.split()[0] for text in said if broken) == sorted(word.split()[0] for word in broken)


def test_a_hundred_thousand_names_and_fifty_rules_take_well_under_a_second() -> None:
    count = 100_000
    names = [f"model.layers.{number % 977}.mlp.{number}.out" for number in range(count)]
    kinds = ("model.layers.{}.*", "*.{}.out", "*layers.{}.*mlp*", "model.*.{}?.out", "*.attn.{}")
    rules = by(
        *[Rule(match=(kinds[number % 5].format(number),), thresholds=(f"cosine_similarity >= 0.{number + 10}",)) for number in range(50)]
    )
    metrics = {name: np.full(count, 0.05) for name in ("relative_euclidean_distance", "cosine_similarity", "max_absolute_error")}
    metrics |= {"nonfinite_mismatch_count": np.zeros(count), "element_count": np.ones(count)}
    shapes = [(1,)] * count

    def seconds(by_these: Rules) -> float:
        before = time.process_time()
        judge(by_these, names, ["float32"] * count, ["bfloat16"] * count, shapes, shapes, metrics)
        return time.process_time() - before

    assert seconds(rules) < 2.5  # on a busy machine


def test_every_dtype_may_be_named() -> None:
    for dtype in DTYPES:
        assert rules_of([{"dtype": dtype, "mismatch_count": "== 0"}], "f")[0].dtype == (dtype,)


def test_a_rule_that_matches_no_name_is_said_to() -> None:
    rules = (Rule(match=("*.logits", "x"), thresholds=("cosine_similarity >= 0.9",)), Rule(thresholds=("cosine_similarity >= 0.8",)))
    book = Rules.from_options(CompareOptions(rules=rules)).by_name
    assert book.idle(["a", "b"]) == ['rule 1 ("*.logits", "x") matches none of the data_ids: check its globs']
    assert book.idle(["a.logits"]) == [] and Rules().by_name.idle(["a"]) == []
    assert IDLE_RULE.fullmatch(book.idle(["a"])[0])


@pytest.mark.parametrize("metric", [metric for metric in JUDGED_METRICS if measures_error(metric)])
@pytest.mark.parametrize("symbol", ["<=", "<", ">=", ">"])
def test_a_threshold_the_wrong_way_round_is_told(metric: str, symbol: str) -> None:
    remarks = Rules.from_options(CompareOptions(thresholds=(f"{metric} {symbol} 0.5",))).remarks([])
    if (symbol[0] == ">") == (metric in LARGER_IS_BETTER):
        assert remarks == []
    else:
        assert remarks == [f"{metric} {symbol} 0.5 (rule: --threshold): pairs that are equal fail it; is it the wrong way round?"]
        assert is_about_rules(remarks[0])


def test_thresholds_that_equal_pairs_meet_are_not_told_nor_counts_that_measure_no_error() -> None:
    given = (
        "cosine_similarity >= 1", "mismatch_count == 0", "max_absolute_error <= 0", "golden_nan_count > 3", "rounding_floor >= 0.1",
        "within_one_thousandth_ratio == 1", "signal_to_noise_db > 900",
    )  # fmt: skip
    assert Rules.from_options(CompareOptions(thresholds=given)).remarks([]) == []
    rules = (Rule(thresholds=("max_absolute_error > 1",)),)
    (remark,) = Rules.from_options(CompareOptions(rules=rules)).remarks([])
    assert remark.startswith("max_absolute_error > 1 (rule: every pair): ")
