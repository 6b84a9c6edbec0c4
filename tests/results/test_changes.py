"""Two reports: every pair is of one kind, as a slow look at each row has it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.errors import UsageError
from fastcmp.results.changes import KINDS, Kind, differing_facts, find_changes
from fastcmp.results.output_dir import prepare
from fastcmp.results.report_files import report_table, write_report
from fastcmp.results.schema import arrow_schema

BatchOf = Callable[..., pa.RecordBatch]
Row = dict[str, Any]


def table_of(rows: list[Row]) -> pa.Table:
    plain = {"rank": "", "token_id": "0", "verdict": "pass", "verdict_reason": ""}
    return pa.Table.from_pylist([plain | row for row in rows], schema=arrow_schema())


def kinds_of(before: list[Row], after: list[Row], **options: Any) -> dict[str, Kind]:
    changes = find_changes(table_of(before), table_of(after), **options)
    found = {change.data_id: change.kind for kind in KINDS for change in changes.first(kind)}
    assert sum(changes.counts.values()) == len(found)
    return found


def test_each_kind() -> None:
    before = [
        {"data_id": "same", "relative_euclidean_distance": 1e-3}, {"data_id": "a bit", "relative_euclidean_distance": 1e-3},
        {"data_id": "worse", "relative_euclidean_distance": 1e-3}, {"data_id": "better", "relative_euclidean_distance": 1e-3},
        {"data_id": "broken", "relative_euclidean_distance": 1e-3}, {"data_id": "fixed", "verdict": "fail"},
        {"data_id": "from zero", "relative_euclidean_distance": 0.0}, {"data_id": "gone"}, {"data_id": "empty"},
        {"data_id": "lost", "relative_euclidean_distance": 1e-3},
    ]  # fmt: skip
    after = [
        {"data_id": "same", "relative_euclidean_distance": 1e-3}, {"data_id": "a bit", "relative_euclidean_distance": 1.09e-3},
        {"data_id": "worse", "relative_euclidean_distance": 2e-3}, {"data_id": "better", "relative_euclidean_distance": 5e-4},
        {"data_id": "broken", "relative_euclidean_distance": 1e-4, "verdict": "fail", "verdict_reason": "why"}, {"data_id": "fixed"},
        {"data_id": "from zero", "relative_euclidean_distance": 1e-30}, {"data_id": "new"}, {"data_id": "empty"},
        {"data_id": "lost", "verdict": "error"},
    ]  # fmt: skip
    assert kinds_of(before, after) == {
        "broken": "newly failing", "lost": "newly failing", "worse": "worse", "from zero": "worse", "gone": "gone", "fixed": "fixed",
        "better": "better", "new": "new",
    }  # fmt: skip
    back = {"newly failing": "fixed", "worse": "better", "gone": "new", "fixed": "newly failing", "better": "worse", "new": "gone"}
    assert kinds_of(after, before) == {name: back[kind] for name, kind in kinds_of(before, after).items()}


def test_what_changed_most_stands_first_and_keys_are_not_run_together() -> None:
    before = [{"data_id": f"{n}", "relative_euclidean_distance": 1.0} for n in range(5)]
    after = [{"data_id": f"{n}", "relative_euclidean_distance": [2.0, 9.0, 2.0, 5.0, 1.0][n]} for n in range(5)]
    changes = find_changes(table_of(before), table_of(after))
    assert [change.data_id for change in changes.first("worse")] == ["1", "3", "0", "2"] and changes.is_worse
    assert [change.data_id for change in changes.first("worse", 2)] == ["1", "3"]
    assert (
        find_changes(table_of([{"data_id": "a", "token_id": "b:c"}]), table_of([{"data_id": "a:b", "token_id": "c"}])).counts["gone"] == 1
    )


@pytest.mark.parametrize(
    ("metric", "old", "new", "kind"),
    [
        ("cosine_similarity", 0.999, 0.99, "worse"), ("cosine_similarity", 0.99, 0.999, "better"), ("cosine_similarity", 1.0, 0.9999999, "worse"),
        ("signal_to_noise_db", 60.0, 50.0, "worse"), ("signal_to_noise_db", float("inf"), 90.0, "worse"), ("signal_to_noise_db", 50.0, 60.0, "better"),
        ("within_one_thousandth_ratio", 1.0, 0.5, "worse"), ("max_absolute_error", 1.0, float("inf"), "worse"),
    ],
)  # fmt: skip
def test_metrics_that_are_better_when_larger(metric: str, old: float, new: float, kind: Kind) -> None:
    assert kinds_of([{"data_id": "x", metric: old}], [{"data_id": "x", metric: new}], metric=metric) == {"x": kind}


VALUES = st.sampled_from([None, 0.0, 1e-9, 1e-3, 1.05e-3, 1e-2, 1.0, float("inf"), float("nan")])
LEVELS = {"pass": 0, "fail": 1, "error": 2}
ROWS = st.dictionaries(st.sampled_from("abcdef"), st.tuples(VALUES, st.sampled_from(sorted(LEVELS)), st.sampled_from([None, 0, 1, 9])))


@settings(max_examples=examples(300), deadline=None)
@given(ROWS, ROWS, st.sampled_from([1.0, 1.1, 4.0]))
def test_every_key_is_of_the_kind_that_a_slow_look_gives_it(before: Row, after: Row, factor: float) -> None:
    def slow(name: str) -> Kind | None:
        if name not in after or name not in before:
            return "gone" if name not in after else "new"
        (old, verdict_before, odd_before), (new, verdict_after, odd_after) = before[name], after[name]
        if (verdict_before == "pass") != (verdict_after == "pass"):
            return "fixed" if verdict_after == "pass" else "newly failing"
        if verdict_before != verdict_after:
            return "worse" if LEVELS[verdict_after] > LEVELS[verdict_before] else "better"
        had, has = old is not None and old == old, new is not None and new == new
        if (odd_after or 0) > (odd_before or 0) or (had and not has):
            return "worse"
        if (odd_after or 0) < (odd_before or 0) or (has and not had):
            return "better"
        return None if not had else "worse" if new > old * factor else "better" if old > new * factor else None

    def rows(side: Row) -> list[Row]:
        return [
            {"data_id": name, "relative_euclidean_distance": value, "verdict": verdict, "nonfinite_mismatch_count": odd}
            for name, (value, verdict, odd) in side.items()
        ]

    wanted = {name: kind for name in {**before, **after} if (kind := slow(name))}
    assert kinds_of(rows(before), rows(after), factor=factor) == wanted


def test_a_failing_pair_that_becomes_nan_or_unreadable_is_worse() -> None:
    plain: Row = {"data_id": "x", "verdict": "fail", "relative_euclidean_distance": 0.5, "nonfinite_mismatch_count": 0}
    for later in (
        {"relative_euclidean_distance": None, "nonfinite_mismatch_count": 1000}, {"relative_euclidean_distance": 0.1, "nonfinite_mismatch_count": 999},
        {"relative_euclidean_distance": None, "verdict": "error"},
    ):  # fmt: skip
        assert kinds_of([plain], [plain | later]) == {"x": "worse"}
        assert kinds_of([plain | later], [plain]) == {"x": "better"}


def test_what_cannot_be_asked_is_refused() -> None:
    table = table_of([{"data_id": "x"}])
    with pytest.raises(UsageError, match="no metric is called so"):
        find_changes(table, table, metric="data_id")
    with pytest.raises(UsageError, match="expected a number, 1 or more"):
        find_changes(table, table, factor=float("nan"))


def test_what_the_runs_differ_in() -> None:
    before = {"options": {"kl": "auto", "output": "a", "scale": None}, "versions": {"numpy": "1"}}
    after = {"options": {"kl": "all", "output": "b", "scale": 2.0}, "versions": {"numpy": "2"}}
    assert differing_facts(before, after) == ["kl auto, then all", "scale none, then 2.0", "numpy 1, then 2"]
    assert differing_facts({}, after) == []


def write(directory: Path, batch_of: BatchOf, distances: list[float]) -> Path:
    names = [f"op{number}" for number in range(len(distances))]
    table = report_table([batch_of(names, relative_euclidean_distance=np.array(distances))], len(names))
    with prepare(str(directory)) as output:
        write_report(output, table, {"options": {}})
    return directory


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "fastcmp", "compare-reports", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_says_it_and_its_exit_code_drives_a_bisection(tmp_path: Path, batch_of: BatchOf) -> None:
    old = write(tmp_path / "old", batch_of, [1e-6, 1e-6, 1e-6])
    new = write(tmp_path / "new", batch_of, [1e-6, 0.5, 2e-6, 0.0])
    done = command(old, new, "--top", "1")
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        "3 rows before, 4 after; 1 as they were" in done.stdout
        and "newly failing:\n  token 0, data_id op1: relative_euclidean_distance 1e-06 -> 0.5; " in done.stdout
    )
    back = command(new, old, "--json")
    facts = json.loads(back.stdout)
    assert back.returncode == 1 and facts["counts"]["gone"] == 1 and [one["data_id"] for one in facts["changes"]] == ["op3", "op1", "op2"]
    assert command(old, old).returncode == 0
    assert command(old, tmp_path / "none").returncode == 2 and command(old, new, "--top", "-1").returncode == 2
