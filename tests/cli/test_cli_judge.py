"""``fastcmp judge``: what compare would have said by other thresholds, from the report alone."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fastcmp
from fastcmp.cli.main import main
from fastcmp.errors import OutputError, UsageError
from fastcmp.judgement import judge_saved
from fastcmp.options import CompareOptions, Rule
from fastcmp.results.journal import JournalWriter, next_journal_path
from fastcmp.results.output_dir import prepare
from fastcmp.results.report_files import report_table, write_report
from fastcmp.results.resume import deciding_facts

REPORT_NAMES = ("cmp_report.arrow", "cmp_report.csv", "run.json")


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two dumps of three tokens: layers.1 differs from token 1 on, one tensor stands alone, one is an integer against a float."""
    root = tmp_path_factory.mktemp("dumps")
    documents = []
    for role in ("golden", "acl"):
        named: dict[str, dict[str, str]] = {}
        (root / role).mkdir()
        for name in ("layers.0.mlp", "layers.1.mlp", "layers.2.logits", f"only_{role}" if role == "acl" else "quant"):
            for token in range(3):
                values = np.random.default_rng([len(name), token]).standard_normal((4, 8)).astype(np.float32)
                if role == "acl" and name == "layers.1.mlp" and token:
                    values = values * np.float32(1 + token * 1e-3)
                np.save(root / role / f"{name}_{token}.npy", values)
                named.setdefault(name, {})[str(token)] = f"./{name}_{token}.npy"
        (root / role / "metadata.json").write_text(json.dumps(named))
        documents.append(str(root / role / "metadata.json"))
    return documents[0], documents[1]


@pytest.fixture(scope="module")
def report(dumps: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report") / "by default"
    fastcmp.compare(*dumps, options=CompareOptions(output=str(output), executor="serial"))
    return output


@pytest.fixture
def copy(report: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(report, tmp_path / "report"))


CASES: list[tuple[list[str], dict[str, Any], int]] = [
    ([], {}, 1),
    (["--threshold", "relative_euclidean_distance <= 1"], {"thresholds": ("relative_euclidean_distance <= 1",)}, 1),
    (
        ["--threshold", "relative_euclidean_distance <= 1", "--allow-unpaired", "both"],
        {"thresholds": ("relative_euclidean_distance <= 1",), "allow_unpaired": "both"},
        0,
    ),
    (["--threshold", "cosine_similarity > 1"], {"thresholds": ("cosine_similarity > 1",)}, 1),
]


@pytest.mark.parametrize(("arguments", "changes", "code"), CASES)
def test_judging_says_and_ends_as_comparing_by_these_rules(
    arguments: list[str],
    changes: dict[str, Any],
    code: int,
    dumps: tuple[str, str],
    copy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", *dumps, "-o", str(tmp_path / "fresh"), "--executor", "serial", "--json", *arguments]) == code
    expected = json.loads(capsys.readouterr().out)
    expected_warnings = json.loads((tmp_path / "fresh" / "run.json").read_text())["warnings"]
    before = [(copy / name).read_bytes() for name in REPORT_NAMES]
    assert main(["judge", str(copy), "--json", *arguments]) == code
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    for facts in (found, expected):  # what no two runs have in common
        del facts["output"], facts["gigabytes_per_s"], facts["totals"]["elapsed_s"]
    assert found == expected
    assert [(copy / name).read_bytes() for name in REPORT_NAMES] == before
    *warnings, last = shown.err.splitlines()
    assert last == f"fastcmp: nothing was written, the files in {copy} keep their verdicts; -o DIR or --write writes these"
    assert [warning.removeprefix("fastcmp: ") for warning in warnings] == expected_warnings
    assert judge_saved(str(copy), CompareOptions(**changes)).exit_code == code


def test_the_summary_ends_with_the_report_that_has_these_verdicts(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threshold = ["--threshold", "relative_euclidean_distance <= 1"]
    before = (copy / "cmp_report.csv").read_bytes()
    assert main(["judge", str(copy), *threshold]) == 1
    shown = capsys.readouterr()
    closing = f"judged: {copy}/cmp_report.csv, left as it is; --write or -o DIR writes the new verdicts"
    assert shown.out.splitlines()[-1] == closing and "report:" not in shown.out and shown.err == ""
    assert (copy / "cmp_report.csv").read_bytes() == before
    for written, place in ((["-o", str(tmp_path / "new")], tmp_path / "new"), (["--write"], copy)):
        assert main(["judge", str(copy), *threshold, *written]) == 1
        assert capsys.readouterr().out.splitlines()[-1] == f"report: {place}/cmp_report.csv"
        assert (place / "cmp_report.csv").read_bytes() != before


@pytest.mark.parametrize("in_place", [True, False])
def test_what_is_written_is_the_report_of_a_comparison_by_these_rules(
    in_place: bool, dumps: tuple[str, str], copy: Path, tmp_path: Path
) -> None:
    options = CompareOptions(
        output=str(tmp_path / "fresh"), executor="serial", rules=(Rule(match=("*.1.*",), thresholds=("mismatch_count == 0",)),)
    )
    fastcmp.compare(*dumps, options=options)
    place = copy if in_place else tmp_path / "new"
    judge_saved(str(copy), options, output=str(place))
    for name in ("cmp_report.arrow", "cmp_report.csv"):
        assert (place / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    facts = json.loads((place / "run.json").read_text())
    fresh = json.loads((tmp_path / "fresh" / "run.json").read_text())
    assert (
        facts["options"]["rules"]
        == fresh["options"]["rules"]
        == [{"match": ["*.1.*"], "dtype": [], "thresholds": ["mismatch_count == 0"], "off": []}]
    )
    assert facts["files"] == fresh["files"]
    assert judge_saved(str(place)).totals.failed == 2  # what was written is judged again as well


def test_a_scale_and_a_legacy_distance_are_taken_over_from_the_run(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", np.arange(1, 9, dtype=np.int8))
    np.save(tmp_path / "a.npy", np.arange(1, 9, dtype=np.float32) * np.float32(0.502))
    options = CompareOptions(output=str(tmp_path / "r"), executor="serial", scale=0.5, compat_euclid="legacy")
    fresh = fastcmp.compare(tmp_path / "g.npy", tmp_path / "a.npy", options=options)
    assert fresh.ok and judge_saved(options.output).table.equals(fresh.table)


def test_the_parquet_file_is_written_anew_where_the_run_had_one(dumps: tuple[str, str], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    fastcmp.compare(*dumps, options=CompareOptions(output=str(tmp_path), executor="serial", parquet=True))
    judge_saved(str(tmp_path), CompareOptions(thresholds=("cosine_similarity > 1",)), output=str(tmp_path))
    assert "pass" not in pq.read_table(tmp_path / "cmp_report.parquet").column("verdict").to_pylist()


def test_a_comparison_that_still_runs_is_judged_as_far_as_it_is(
    dumps: tuple[str, str], report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = judge_saved(str(report)).table
    rows = whole.add_column(0, "row", pa.array(range(whole.num_rows), pa.int64())).slice(0, 4).combine_chunks().to_batches()[0]
    with JournalWriter(next_journal_path(str(tmp_path)), deciding_facts(*dumps, CompareOptions())) as journal:
        journal.append(0, rows)
        assert main(["judge", str(tmp_path), "--threshold", "relative_euclidean_distance <= 1"]) == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("4 pairs, 1.02 kB\n  passed                         4\n")
    assert shown.out.endswith(f"\njudged: {tmp_path}, as far as it is; nothing was written\n")
    assert f"fastcmp: {tmp_path}: not complete, the comparison runs or was ended; this is what it has found so far" in shown.err
    with pytest.raises(UsageError, match=r"not complete, .* not written as a report"):
        judge_saved(str(tmp_path), output=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_report_that_is_being_written_is_not_written_over(copy: Path) -> None:
    with prepare(str(copy)), pytest.raises(OutputError, match="locked by pid"):
        judge_saved(str(copy), output=str(copy))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "fastcmp: nowhere: no such directory; name the directory of a report, as given to -o\n"),
        (["."], "fastcmp: .: no cmp_report.arrow in it; name the directory of a report, as given to -o\n"),
        (["REPORT", "--threshold", "cosine >= 1"], "fastcmp: --threshold 'cosine >= 1': no metric is called 'cosine'; did you mean "),
        (["nowhere", "-o", "x"], "fastcmp: nowhere: no such directory"),
        (["REPORT", "--rules", "none.toml"], "fastcmp: none.toml: cannot be read: No such file or directory; name a TOML file\n"),
        (["REPORT", "--rules", "bad.toml"], "fastcmp: bad.toml: rule 1: no metric is called 'x'; "),
        ([".", "--write", "-o", "x"], "fastcmp: --write and -o: give one of them; "),
        ([".", "--kl", "all"], "fastcmp: Unknown option: "),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_exit_two(
    arguments: list[str], message: str, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("[[rule]]\nx = 1\n")
    assert main(["judge", *(word.replace("REPORT", str(report)) for word in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(message) and shown.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml"]


def test_a_threshold_the_wrong_way_round_is_told_as_long_as_it_is_asked_for(copy: Path) -> None:
    told = "cosine_similarity <= 0.99 (rule: --threshold): pairs that are equal fail it; is it the wrong way round?"
    turned = CompareOptions(thresholds=("cosine_similarity <= 0.99",))
    assert judge_saved(str(copy), turned, output=str(copy)).warnings.count(told) == 1
    assert judge_saved(str(copy), turned).warnings.count(told) == 1
    assert told not in judge_saved(str(copy), CompareOptions()).warnings


def test_quiet_says_nothing(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", str(report), "-q"]) == 1
    assert capsys.readouterr() == ("", "")


PROJECT = """
[tool.fastcmp]
jobs = 1
output = "elsewhere"
allow-unpaired = "both"

[[tool.fastcmp.rule]]
match = "*.1.*"
relative_euclidean_distance = "<= 0.1"
"""


def test_the_project_file_has_rules_for_compare_and_for_judge(
    dumps: tuple[str, str], report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    assert main(["judge", str(report), "-q"]) == 0
    assert main(["compare", *dumps, "--executor", "serial", "-q"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "pyproject.toml"]
    (tmp_path / "strict.toml").write_text("[[rule]]\nmismatch_count = '== 0'\n")
    assert main(["judge", str(report), "-q", "--rules", "strict.toml"]) == 1  # in the place of the project's
    monkeypatch.setenv("FASTCMP_RULES", "strict.toml")
    monkeypatch.setenv("FASTCMP_OUTPUT", "by the environment")
    assert main(["judge", str(report), "-q"]) == 1
    assert not (tmp_path / "by the environment").exists()
    monkeypatch.delenv("FASTCMP_RULES")
    monkeypatch.setenv("FASTCMP_THRESHOLD", "mismatch_count == 0, cosine_similarity > 0")
    monkeypatch.setenv("FASTCMP_ALLOW_UNPAIRED", "none")
    assert main(["judge", str(report), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["totals"]["unpaired_allowed"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[tool.fastcmp.rule]]\nx = 1", "fastcmp: pyproject.toml: [tool.fastcmp]: rule 1: no metric is called 'x'; "),
        ("[tool.fastcmp]\nrule = 3", "fastcmp: pyproject.toml: [tool.fastcmp]: rule: expected [[rule]] tables, in double brackets\n"),
        ("[tool.fastcmp]\nrules = 'f'\n[[tool.fastcmp.rule]]\nmismatch_count = 'off'", "fastcmp: pyproject.toml: [tool.fastcmp]: has both rules and "),
        ("[tool]\nfastcmp = 3", "fastcmp: pyproject.toml: fastcmp: expected a table\n"),
        ("[tool", "fastcmp: pyproject.toml: not TOML: "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [["judge"], ["compare", "."]])
def test_a_wrong_project_file_is_one_line(
    text: str,
    message: str,
    command: list[str],
    report: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    assert main([*command, str(report)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(message) and shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"options": 3, "totals": [], "warnings": "w", "run_order": 1},
        {"options": {"scale": "x", "compat_euclid": 7}, "totals": {"elapsed_s": "1", "resumed": -3}, "warnings": [1, "w"]},
        {"totals": {"elapsed_s": float("nan"), "resumed": 1e300}, "warnings": {"a": 1}},
        {},
    ],
)
def test_a_foreign_run_json_is_taken_with_care(facts: dict[str, Any], report: Path, tmp_path: Path) -> None:
    with prepare(str(tmp_path)) as output:
        write_report(output, judge_saved(str(report)).table, facts)
    result = judge_saved(str(tmp_path))
    assert result.totals.pairs == 9 and result.totals.elapsed_s == 0 and result.warnings in ((), ("w",)) and not result.order_is_known


def test_a_hundred_thousand_rows_are_judged_in_well_under_a_second(report: Path, tmp_path: Path) -> None:
    table = judge_saved(str(report)).table.slice(0, 9)
    many = pa.concat_tables([table] * 11_112).slice(0, 100_000)
    names = [f"layers.{number}.mlp" for number in range(100_000)]
    batch = many.set_column(1, "data_id", pa.array(names)).add_column(0, "row", pa.array(range(100_000), pa.int64()))
    with prepare(str(tmp_path)) as output:
        write_report(output, report_table(batch.combine_chunks().to_batches(), 100_000), {})
    rules = tuple(Rule(match=(f"layers.{number}*",), thresholds=("cosine_similarity > 0.9",)) for number in range(20))
    before = time.process_time()
    assert judge_saved(str(tmp_path), CompareOptions(rules=rules)).totals.pairs == 100_000
    assert time.process_time() - before < 3.0  # on a busy machine; 0.7 s on a quiet one


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 pair without data keeps its verdict"), (2, "2 pairs without data keep their verdicts")]
)
def test_rows_without_data_keep_their_verdicts_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, words: str
) -> None:
    for role, norm in (("g", 3.0), ("t", 3.1)):
        leaf = {"type": "torch.Tensor", "dtype": "torch.float32", "shape": [4], "Max": 1.0, "Min": 0.0, "Norm": norm}
        call = {"input_args": [], "input_kwargs": {}, "output": [leaf] * count}
        (tmp_path / role / "step0" / "rank0").mkdir(parents=True)
        document = {"task": "statistics", "level": "L1", "dump_data_dir": None, "data": {"Torch.a.0.forward": call}}
        (tmp_path / role / "step0" / "rank0" / "dump.json").write_text(json.dumps(document))
    options = CompareOptions(output=str(tmp_path / "r"), executor="serial", thresholds=("relative_euclidean_distance < 0.5",))
    assert fastcmp.compare(tmp_path / "g", tmp_path / "t", options=options).ok
    capsys.readouterr()
    said = f"{words}: statistics and checksums are judged where the files are; for other limits on them run fastcmp compare again"
    assert judge_saved(str(tmp_path / "r")).warnings[-1] == said
    assert main(["judge", str(tmp_path / "r"), "--threshold", "relative_euclidean_distance < 1e-9"]) == 0
    shown = capsys.readouterr()
    assert said in " ".join((shown.out + shown.err).split())


def test_of_rows_with_data_nothing_is_said(report: Path) -> None:
    assert not any("keep" in warning for warning in judge_saved(str(report)).warnings)
