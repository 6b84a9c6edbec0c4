"""``fastcmp show``: what a user reads of one pair, and what is refused in one line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastcmp import compare
from fastcmp.cli.closeup_text import closeup_lines
from fastcmp.cli.main import main
from fastcmp.closeup.look import Closeup, Side
from fastcmp.closeup.pattern import Pattern
from fastcmp.options import CompareOptions
from fastcmp.results.rows import row_of
from fastcmp.results.saved import load_saved

HOSTILE = "\x1b[31m[bold red]x\u202e\r\ntail[/]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pairs a at tokens 0 to 2, of which token 1 is half of golden; b is equal; c is NaN in a channel; d was dumped by golden only."""
    root = tmp_path_factory.mktemp("show")
    random = np.random.default_rng(0)
    for side in ("golden", "target"):
        (root / side).mkdir()
    metadata: dict[str, dict[str, dict[str, str]]] = {"golden": {}, "target": {}}
    for data_id, token in (("layers.a", "0"), ("layers.a", "1"), ("layers.a", "2"), ("b", "0"), ("c", "0"), ("d", "0")):
        golden = random.standard_normal((2, 4, 32)).astype(np.float32)
        target = golden.copy()
        if (data_id, token) == ("layers.a", "1"):
            target *= np.float32(0.5)
        if data_id == "c":
            target[..., 5] = np.nan
        for side, values in (("golden", golden), ("target", target)):
            if side == "golden" or data_id != "d":
                np.save(root / side / f"{data_id}_{token}.npy", values)
                metadata[side].setdefault(data_id, {})[token] = f"{data_id}_{token}.npy"
    for side, document in metadata.items():
        (root / side / "metadata.json").write_text(json.dumps(document))
    output = str(root / "report")
    compare(root / "golden", root / "target", options=CompareOptions(output=output, executor="serial"))
    return output


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["show", *arguments]) == code
    told = capsys.readouterr()
    assert told.err == "" or code
    return told.out


def test_one_pair_is_a_page(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report, "layers.a", "1")
    lines = text.splitlines()
    assert lines[0] == "token 1, data_id layers.a: fail, relative_euclidean_distance 0.5 > 0.0001 (float32)"
    assert "pattern: scale factor" in lines
    for words in (
        "float32 (2, 4, 32), 1.02 kB, C order",
        "256 of 256 elements differ (100 %)",
        "target is golden times 0.5 (1/2)",
        "axis 2 (32)",
        "rows (8)",
        "worst elements",
        "90 %",
        "|t-g|/|g|, by its decade",
        "relative_euclidean_distance",
    ):
        assert words in text, words
    assert "\x1b" not in text and max(map(len, lines)) < 200


def test_worst_elements_are_as_many_as_asked_for(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    def count(*arguments: str) -> int:
        lines = shown(capsys, report, "layers.a", "1", *arguments).splitlines()
        start = lines.index("worst elements") + 2
        return lines[start:].index("")

    assert (count(), count("--worst", "3"), count("--worst", "1000")) == (10, 3, 256)


def test_json_holds_the_same_facts(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(shown(capsys, report, "c", "--json"))
    assert facts["row"]["data_id"] == "c" and facts["row"]["verdict"] == "fail"
    assert facts["patterns"][0]["name"] == "block of NaN" and "index 5 of axis 2" in facts["patterns"][0]["evidence"]
    assert facts["facts"]["nonfinite_mismatch_count"] == 8 and facts["facts"]["worst"][0]["target"] == "nan"
    assert facts["golden"]["shape"] == [2, 4, 32]


def test_an_equal_pair_is_told_so(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report, "b")
    assert "data_id b: pass\n" in text and "pattern: equal\n  all 256 elements are equal" in text and "worst elements" not in text


def test_a_pair_that_was_not_compared_is_explained(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report, "d")
    assert "target  not dumped" in text and "E_UNPAIRED: the tensor was dumped on one side only; dump it on the other side" in text


def test_the_directory_form_leads_to_a_pair(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report)
    assert text.startswith(
        "5 pairs: 3 passed, 2 failed, 0 could not be compared; 1 stood alone\n  NaN on one side only first appears at token 0"
    )
    assert "\nerror by tensor and token:\n" in text and "\nworst:\n" in text
    command = text.splitlines()[-1].removeprefix("the first of them in depth: fastcmp show ")
    assert "pattern: " in shown(capsys, *command.split())
    facts = json.loads(shown(capsys, report, "--json"))
    assert facts["is_complete"] and facts["words"][0].startswith("NaN on one side only")
    assert facts["totals"]["failed"] == 2 and {row["data_id"] for row in facts["worst"]} == {"layers.a", "c"}


def test_rows_that_are_asked_for(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, report, "--where", "verdict == fail", "--where", "data_id ~ layers*", "--column", "data_id", "--column", "verdict")
    assert [line.split() for line in text.splitlines() if line.startswith(" layers")] == [["layers.a", "fail"]] and text.endswith(
        "\n1 row\n"
    )
    facts = json.loads(shown(capsys, report, "--sort", "relative_euclidean_distance", "--top", "2", "--json"))
    assert facts["count"] == 6 and len(facts["rows"]) == 2 and "cmp_fail_reason" in facts["rows"][0]
    assert "6 rows, 1 shown (--top)" in shown(capsys, report, "--top", "1", "--sort", "ran")
    assert "6 rows, 2 shown (--top)" in shown(capsys, report, "--top", "2")
    shown(capsys, report, "--top", "-1", code=2)
    shown(capsys, report, "b", "--where", "verdict == fail", code=2)
    shown(capsys, report, "--column", "nothing", code=2)
    shown(capsys, report, "--sort", "ran", "--top", "-1", code=2)


def test_tensors_that_are_gone_end_with_two(report: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lonely = tmp_path / "report"
    lonely.mkdir()
    (lonely / "cmp_report.arrow").write_bytes((Path(report) / "cmp_report.arrow").read_bytes())
    files = json.loads((Path(report) / "run.json").read_text())["files"]
    (lonely / "run.json").write_text(json.dumps({"files": files}))
    text = shown(capsys, str(lonely), "b", code=2)
    assert "the tensors cannot be read again: the report has no run.json" in text and "mismatch_count" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "fastcmp: nope: no such directory; name the directory of a report, as given to -o"),
        (["REPORT", "layer.a"], "fastcmp: no data_id 'layer.a' in the report; did you mean layers.a?"),
        (["REPORT", "layers"], "fastcmp: no data_id 'layers' in the report; did you mean layers.a?"),
        (["REPORT", "zzz"], "fastcmp: no data_id 'zzz' in the report; it has b, c, d, layers.a"),
        (["REPORT", "layers.a"], "fastcmp: 3 rows with data_id layers.a: name a TOKEN_ID: 0, 1, 2"),
        (["REPORT", "layers.a", "7"], "fastcmp: no token_id '7' with data_id layers.a in the report; it has 0, 1, 2"),
        (["REPORT", "b", "0", "--rank", "1"], "fastcmp: no rank '1' with data_id b and token_id 0 in the report; it has none"),
        (["REPORT", "b", "--worst", "0"], "fastcmp: --worst 0: expected a number of elements, 1 to 10000"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_two(
    arguments: list[str], message: str, report: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *(report if word == "REPORT" else word for word in arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err == message + "\n"


def test_names_and_paths_move_no_cursor(report: str) -> None:
    row = {
        **row_of(load_saved(report).table, 0),
        "data_id": HOSTILE,
        "notes": HOSTILE,
        "verdict_reason": HOSTILE,
        "cmp_fail_reason": HOSTILE,
    }
    side = Side(HOSTILE, error=HOSTILE)
    closeup = Closeup(row, side, side, remarks=(HOSTILE,), explanation=HOSTILE, patterns=(Pattern(HOSTILE, True, HOSTILE),))
    for line in closeup_lines(closeup):
        text = "".join(part for part, _ in line)
        assert text.isprintable(), repr(text)


def test_a_terminal_without_unicode_gets_other_curves(
    report: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["show", report, "layers.a", "1"]) == 0
    stream.flush()
    assert b"@@@" in stream.buffer.getvalue()


def test_a_terminal_gets_colours(report: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream: Any = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["show", report, "layers.a", "1"]) == 0
    assert "\x1b[" in stream.getvalue() and "pattern: " in stream.getvalue()
