"""``--metric``: a function of the user's own becomes a column, and costs its cell at most."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fastcmp
from fastcmp.cli.main import main
from fastcmp.cli.summary import summary_lines
from fastcmp.comparison import Comparison
from fastcmp.engine import compare_items
from fastcmp.errors import OutputError, UsageError
from fastcmp.judgement import judge_saved
from fastcmp.metric_functions import MOST_METRICS, digests, load_function, parse_metrics
from fastcmp.options import CompareOptions, Rule
from fastcmp.outcome import TaskResult
from fastcmp.plan import Task
from fastcmp.progress import Silent
from fastcmp.result import Result
from fastcmp.results.saved import load_saved
from fastcmp.results.schema import NAMES

SOURCE = '''
import os

import numpy as np


def quantile_error(golden, target):
    """The 99th percentile of |t-g|."""
    print("not on stdout")
    return np.quantile(np.abs(target - golden), 0.99)


def last_sum(golden, target):
    return (golden + 10 * target).reshape(golden.shape)[..., -1].sum()


def facts(golden, target):
    assert golden.shape == target.shape and golden.dtype == target.dtype
    assert not golden.flags.writeable and not target.flags.writeable
    return golden.dtype.itemsize


def moody(golden, target, more=3, *, much=4):
    kind = golden.size % 8
    if kind == 0:
        raise ValueError("cannot\\nbe " + "x" * 500)
    if kind == 5:
        raise SystemExit(3)
    return [None, True, "7", 1 + 2j, np.ones(1), None, np.float32(0.5), float("nan")][kind]


def died(golden, target):
    if golden.size == 5:
        os._exit(7)
    return 1.0


def one(golden): return 1.0
def three(golden, target, more): return 1.0
async def later(golden, target): return 1.0
def several(golden, target): yield 1.0
def mismatch_count(golden, target): return 1.0
number = 3
class Kind:
    def __init__(self, golden, target): ...
def _private(golden, target): return 2.0
'''


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return str(path)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    """Nine tensors of 1 to 9 elements, one of another shape, one whose target is no tensor, one that stands alone."""
    documents = []
    for role in ("golden", "acl"):
        (tmp_path / role).mkdir()
        named = {}
        for size in range(1, 10):
            values = np.random.default_rng(size).standard_normal(size).astype(np.float32)
            np.save(tmp_path / role / f"{size}.npy", values * np.float32(1.25 if role == "acl" else 1))
            named[f"t{size}"] = {"0": f"./{size}.npy"}
        np.save(tmp_path / role / "turned.npy", np.arange(12.0).reshape((3, 4) if role == "acl" else (4, 3)))
        (tmp_path / role / "broken.npy").write_bytes((tmp_path / role / "9.npy").read_bytes() if role == "golden" else b"nothing")
        named |= {"turned": {"0": "./turned.npy"}, "broken": {"0": "./broken.npy"}, f"only {role}": {"0": "./9.npy"}}
        (tmp_path / role / "metadata.json").write_text(json.dumps(named))
        documents.append(str(tmp_path / role / "metadata.json"))
    return documents[0], documents[1]


def run(sides: tuple[str, str], output: Path, *metrics: str, **changes: Any) -> Result:
    options = CompareOptions(output=str(output), executor="serial", kl="none", metrics=metrics)
    return fastcmp.compare(*sides, options=replace(options, **changes))


def cells(result: Result, name: str) -> dict[str, Any]:
    return dict(zip(result.table.column("data_id").to_pylist(), result.table.column(name).to_pylist(), strict=True))


def test_the_columns_stand_before_the_reason(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    result = run(sides, tmp_path / "r", f"{mine}:quantile_error", f"{mine}:last_sum", parquet=True)
    expected = [*NAMES[:-1], "quantile_error", "last_sum", "cmp_fail_reason"]
    assert result.table.schema.names == expected and result.table.schema.field("last_sum").type == pa.float64()
    with open(tmp_path / "r" / "cmp_report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == expected
    by_name = {row["data_id"]: row for row in rows}
    for size in range(1, 10):
        golden = np.random.default_rng(size).standard_normal(size).astype(np.float32)
        difference = np.abs((golden * np.float32(1.25)).astype(np.float64) - golden.astype(np.float64))
        assert float(by_name[f"t{size}"]["quantile_error"]) == np.quantile(difference, 0.99)
    assert [by_name[name]["quantile_error"] for name in ("broken", "only golden", "only acl")] == ["", "", ""]
    without = run(sides, tmp_path / "r2")
    assert result.table.drop_columns(["quantile_error", "last_sum"]).equals(without.table)
    assert load_saved(str(tmp_path / "r")).table.equals(result.table)
    assert list(json.loads((tmp_path / "r" / "run.json").read_text())["metrics"]) == ["quantile_error", "last_sum"]


def test_both_arrays_have_goldens_shape_and_one_dtype(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    result = run(sides, tmp_path / "r", f"{mine}:facts", f"{mine}:last_sum")
    values = np.arange(12.0).reshape(4, 3)
    assert cells(result, "last_sum")["turned"] == 11 * values[:, -1].sum()
    assert all(value == 8 for name, value in cells(result, "facts").items() if name.startswith("t"))


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "bool", "complex64", "complex128"])
def test_values_are_widened_exactly(dtype: str, mine: str, tmp_path: Path) -> None:
    golden = (np.random.default_rng(0).standard_normal((5, 7)) * 100).astype(dtype)
    if dtype.startswith("complex"):
        Path(mine).write_text("def total(golden, target): return abs((golden - 2 * target).sum())")
    else:
        Path(mine).write_text("def total(golden, target): return (golden - 2 * target).sum()")
    wide = golden.astype(np.complex128 if dtype.startswith("complex") else np.float64)
    np.save(tmp_path / "g.npy", np.asfortranarray(golden))
    np.save(tmp_path / "a.npy", golden)
    result = run((str(tmp_path / "g.npy"), str(tmp_path / "a.npy")), tmp_path / "r", f"{mine}:total")
    assert math.isclose(
        result.table.column("total")[0].as_py(), abs((-wide).sum()) if dtype.startswith("complex") else (-wide).sum(), rel_tol=1e-12
    )


def test_integers_are_scaled_as_for_the_other_metrics(mine: str, tmp_path: Path) -> None:
    Path(mine).write_text("def worst(golden, target): return abs(target - golden).max()")
    np.save(tmp_path / "g.npy", np.arange(-4, 5, dtype=np.int8))
    np.save(tmp_path / "a.npy", np.arange(-4, 5, dtype=np.float32) * np.float32(0.25))
    result = run((str(tmp_path / "g.npy"), str(tmp_path / "a.npy")), tmp_path / "r", f"{mine}:worst", scale=0.25)
    assert result.table.column("worst").to_pylist() == [0.0]


def test_a_result_that_is_no_number_is_a_note_and_an_empty_cell(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    result = run(sides, tmp_path / "r", f"{mine}:moody", f"{mine}:_private")
    values, notes = cells(result, "moody"), cells(result, "notes")
    assert [values[f"t{size}"] for size in (2, 3, 4, 5, 8)] == [None] * 5
    assert (values["t1"], values["t6"], values["t9"]) == (1.0, 0.5, 1.0) and math.isnan(values["t7"])
    assert {size: notes[f"t{size}"] for size in range(1, 8)} == {
        1: "", 2: "metric moody: returned str, expected a number", 3: "metric moody: returned complex, expected a number",
        4: "metric moody: returned ndarray of shape (1,), expected a number", 5: "metric moody: raised SystemExit: 3", 6: "", 7: "",
    }  # fmt: skip
    assert notes["t8"].startswith("metric moody: raised ValueError: cannot be xxx") and len(notes["t8"]) < 240
    assert cells(result, "_private")["t5"] == 2.0 and result.totals.errors == 1


def test_a_pair_that_is_too_large_has_none(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    result = run(sides, tmp_path / "r", f"{mine}:facts", metric_max_bytes=16 * 7)
    values, notes = cells(result, "facts"), cells(result, "notes")
    assert [values[f"t{size}"] for size in (7, 8)] == [8.0, None]
    assert notes["t8"] == "metric facts: not computed, both tensors take 128 bytes as float64, more than --metric-max-bytes 112"


def test_the_report_is_the_same_bytes_for_any_executor_and_in_pieces(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_into_pieces: Callable[[int], None]
) -> None:
    for name, factor in (("g", 1), ("a", 1.001)):
        (tmp_path / name).mkdir()
        for number in range(3):
            np.save(
                tmp_path / name / f"{number}.npy", (np.random.default_rng(number).standard_normal((64, 4096)) * factor).astype(np.float32)
            )
    both, metric = (str(tmp_path / "g"), str(tmp_path / "a")), f"{mine}:quantile_error"
    whole = cells(run(both, tmp_path / "whole", metric), "quantile_error")
    cut_into_pieces(65536)
    monkeypatch.setattr("fastcmp.plan.SPLIT_BYTES", 200_000)
    ranges: list[int | None] = []
    run_task = compare_items.run_task

    def noting(task: Task, **options: Any) -> TaskResult:
        ranges.extend(item.first_piece for item in task.items)
        return run_task(task, **options)

    monkeypatch.setattr(compare_items, "run_task", noting)
    pieces = run(both, tmp_path / "pieces", metric)
    run(both, tmp_path / "threads", metric, executor="threads", workers=3)
    assert cells(pieces, "quantile_error") == whole and None not in whole.values()
    assert (tmp_path / "pieces" / "cmp_report.csv").read_bytes() == (tmp_path / "threads" / "cmp_report.csv").read_bytes()
    assert None not in ranges and max(map(int, ranges)) > 3
    monkeypatch.undo()
    run(both, tmp_path / "local", metric, executor="local", workers=2)
    assert (tmp_path / "local" / "cmp_report.csv").read_bytes() == (tmp_path / "whole" / "cmp_report.csv").read_bytes()


def test_a_function_that_ends_its_worker_costs_its_row(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    result = run(sides, tmp_path / "r", f"{mine}:died", executor="local", workers=2)
    reasons = cells(result, "cmp_fail_reason")
    assert "[E_WORKER_DIED]" in reasons["t5"] and result.totals.errors == 2
    assert {name: value for name, value in cells(result, "died").items() if value is None}.keys() == {
        "t5",
        "broken",
        "only golden",
        "only acl",
    }


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("mine.py", "--metric 'mine.py': expected FILE.py:NAME, a Python file and a function in it"),
        (":x", "--metric ':x': expected FILE.py:NAME"), ("mine.py:", "--metric 'mine.py:': expected FILE.py:NAME"),
        ("mine.py:a b", "expected FILE.py:NAME"), ("mine.py:a-b", "expected FILE.py:NAME"), ("mine.py:é", "expected FILE.py:NAME"),
        ("mine.py:" + "x" * 65, "expected FILE.py:NAME"), ("mi\0ne.py:x", "expected FILE.py:NAME"),
        ("none.py:x", "none.py: no such file; name a Python file"), (".:x", "no such file; name a Python file"),
        ("mine.py:quantil_error", "mine.py:quantil_error: the file has no function of that name; did you mean quantile_error?"),
        ("mine.py:number", "mine.py:number: is a int, expected a function of two arrays"),
        ("mine.py:Kind", "mine.py:Kind: is a type, expected a function of two arrays"),
        ("mine.py:one", "mine.py:one: one(golden) cannot be called with two arrays, expected (golden, target)"),
        ("mine.py:three", "mine.py:three: three(golden, target, more) cannot be called with two arrays"),
        ("mine.py:later", "is a coroutine or a generator, expected a function that returns a number"),
        ("mine.py:several", "is a coroutine or a generator, expected a function that returns a number"),
        ("mine.py:mismatch_count", "--metric mismatch_count: the report has a column of that name; give the function another one"),
        ("broken.py:x", "broken.py: cannot be imported: SyntaxError: "), ("raises.py:x", "raises.py: cannot be imported: ZeroDivisionError"),
        ("leaves.py:x", "leaves.py: cannot be imported: SystemExit: 3"),
    ],
)  # fmt: skip
def test_what_is_no_metric_is_refused_before_the_run(
    metric: str,
    message: str,
    sides: tuple[str, str],
    mine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def x(:")
    Path("raises.py").write_text("1 / 0")
    Path("leaves.py").write_text("raise SystemExit(3)")
    if "\0" in metric:
        with pytest.raises(UsageError, match=message):
            run(sides, tmp_path / "r", metric)
        return
    assert main(["compare", *sides, "-o", "r", "--metric", metric]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and message in shown.err and shown.err.startswith("fastcmp: --metric ") and shown.err.count("\n") == 1
    assert not Path("r").exists() and not Path("__pycache__").exists()


def test_more_refusals(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a metric is called 'facts' already"):
        run(sides, tmp_path / "r", f"{mine}:facts", f"{tmp_path}/other.py:facts")
    with pytest.raises(UsageError, match=f"{MOST_METRICS + 1} of them, expected at most {MOST_METRICS}"):
        parse_metrics(["a.py:b"] * (MOST_METRICS + 1))
    with pytest.raises(UsageError, match="--metric-max-bytes 0: expected a number of bytes, more than 0"):
        run(sides, tmp_path / "r", metric_max_bytes=0)


def test_it_can_be_judged_and_judged_again(sides: tuple[str, str], mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metric = f"{mine}:facts"
    given: dict[str, Any] = {
        "thresholds": ("facts >= 9", "relative_euclidean_distance < 1"),
        "rules": (Rule(match=("t[1-4]",), off=("facts",)),),
    }
    ruled: dict[str, Any] = {"rules": (Rule(off=("relative_euclidean_distance",)), Rule(match=("t[1-4]",), thresholds=("facts > 9",)))}
    first, second = run(sides, tmp_path / "a", metric, **given), run(sides, tmp_path / "b", metric, **ruled)
    assert cells(first, "verdict_reason")["t3"] == "facts 8 < 9 (rule: --threshold)"
    assert cells(second, "verdict_reason")["t3"] == 'facts 8 <= 9 (rule: "t[1-4]")' and cells(second, "verdict_reason")["t5"] == ""
    assert judge_saved(str(tmp_path / "a"), CompareOptions(**ruled)).table.equals(second.table)
    assert judge_saved(str(tmp_path / "b"), CompareOptions(**given), output=str(tmp_path / "c")).table.equals(first.table)
    assert (tmp_path / "c" / "cmp_report.csv").read_bytes() == (tmp_path / "a" / "cmp_report.csv").read_bytes()
    (tmp_path / "rules.toml").write_text("[[rule]]\nfacts = '> 9'\n")
    assert (
        main(["judge", str(tmp_path / "c"), "-q", "--rules", str(tmp_path / "rules.toml"), "--threshold", "facts < 100"]) == 2
    )  # broken.npy
    assert main(["judge", str(tmp_path / "c"), "-q", "--threshold", "fact < 100"]) == 2
    assert "no metric is called 'fact'; did you mean facts" in capsys.readouterr().err
    run(sides, tmp_path / "plain")
    with pytest.raises(UsageError, match="no metric is called 'facts'"):
        judge_saved(str(tmp_path / "plain"), CompareOptions(thresholds=("facts > 1",)))


def interrupted(monkeypatch: pytest.MonkeyPatch, sides: tuple[str, str], output: Path, *metrics: str) -> None:
    take, left = Comparison._take, [2]

    def taking(self: Comparison, result: Any) -> None:
        take(self, result)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Comparison, "_take", taking)
        run(sides, output, *metrics)


class Notes(Silent):
    """What a run says beside its numbers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, remark: str) -> None:
        """Keep it."""
        self.said.append(remark)


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("fastcmp.plan.BATCH_COUNT", 4)
    yield


@pytest.mark.usefixtures("small_tasks")
def test_a_run_that_was_ended_goes_on_while_the_file_stays(
    sides: tuple[str, str], mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = f"{mine}:quantile_error"
    fresh = run(sides, tmp_path / "fresh", metric)
    interrupted(monkeypatch, sides, tmp_path / "r", metric)
    saved = load_saved(str(tmp_path / "r"))
    assert not saved.is_complete and saved.table.column("quantile_error").null_count < saved.table.num_rows
    assert main(["judge", str(tmp_path / "r"), "-q", "--threshold", "quantile_error < 9"]) == 2  # as far as it is
    went_on = run(sides, tmp_path / "r", metric)
    assert went_on.totals.resumed > 0 and went_on.table.equals(fresh.table)
    interrupted(monkeypatch, sides, tmp_path / "r", metric)
    Path(mine).write_text(SOURCE.replace("0.99)", "0.5)"))
    notes = Notes()
    options = CompareOptions(output=str(tmp_path / "r"), executor="serial", kl="none", metrics=(metric,))
    changed = fastcmp.compare(*sides, options=options, progress=notes)
    assert changed.totals.resumed == 0 and not changed.table.equals(fresh.table)
    assert 'it had metrics {"quantile_error": "' in notes.said[0]
    interrupted(monkeypatch, sides, tmp_path / "r", metric)
    assert run(sides, tmp_path / "r").totals.resumed == 0  # without the metric


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("again", [("quantile_error", "last_sum", "facts"), ("facts", "quantile_error", "last_sum")])
def test_a_run_that_was_ended_goes_on_in_whatever_order_its_metrics_are_given(
    again: tuple[str, ...], sides: tuple[str, str], mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ("quantile_error", "last_sum", "facts")
    interrupted(monkeypatch, sides, tmp_path / "r", *(f"{mine}:{name}" for name in first))
    saved = load_saved(str(tmp_path / "r"))
    assert not saved.is_complete and tuple(saved.table.schema.names[-4:-1]) == first
    metrics = [f"{mine}:{name}" for name in again]
    fresh = run(sides, tmp_path / "fresh", *metrics)
    went_on = run(sides, tmp_path / "r", *metrics)
    assert went_on.totals.resumed > 0 and went_on.table.equals(fresh.table)


@pytest.mark.parametrize("metrics", [3, ["a"], {"a b": 1}, {"cmp_flag": 1}, {"é": ""}, {"other": ""}])
def test_a_foreign_run_json_is_no_schema(metrics: Any, sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    run(sides, tmp_path / "r", f"{mine}:facts")
    path = tmp_path / "r" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": metrics}))
    with pytest.raises(OutputError, match="has other columns than this version of fastcmp writes"):
        load_saved(str(tmp_path / "r"))


def test_nothing_is_left_beside_the_file(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    run(sides, tmp_path / "r", f"{mine}:facts", executor="local", workers=1)
    assert sorted(os.listdir(tmp_path)) == ["acl", "golden", "mine.py", "r"]


def test_a_module_beside_the_file_is_part_of_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "helper_of_mine.py").write_text("K = 1\n")
    (tmp_path / "main_of_mine.py").write_text("import helper_of_mine\n\ndef scaled(golden, target):\n    return helper_of_mine.K * 1.0\n")
    [spec] = parse_metrics([f"{tmp_path}/main_of_mine.py:scaled"])
    load_function(spec)
    before = digests([spec])
    assert digests([spec]) == before
    (tmp_path / "helper_of_mine.py").write_text("K = 2\n")
    assert digests([spec]) != before


def test_a_metric_without_numbers_is_told(sides: tuple[str, str], mine: str, tmp_path: Path) -> None:
    def said(metric: str, output: str) -> str:
        lines = summary_lines(run(sides, tmp_path / output, f"{mine}:{metric}"))
        return "\n".join("".join(part for part, _ in line) for line in lines)

    table = run(sides, tmp_path / "moody", f"{mine}:moody").table
    missing = table.filter(table.column("cmp_flag")).column("moody").null_count
    assert missing > 3 and f"metric moody: no number for {missing} pairs, see their notes" in said("moody", "r")
    assert "metric facts" not in said("facts", "q")
