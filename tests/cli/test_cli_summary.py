"""What a user reads while a comparison runs and when it ends; names come from files and are hostile."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fastcmp.analysis.divergence import Jump, Spread
from fastcmp.analysis.place import Place
from fastcmp.analysis.story import Story, find_story
from fastcmp.cli import progress as progress_module
from fastcmp.cli.endings import Terminated, run_guarded
from fastcmp.cli.progress import PlainProgress, TerminalProgress, progress_for
from fastcmp.cli.shown import bytes_text, grouped, one_line, seconds_text, shortened, visible
from fastcmp.cli.summary import divergence_lines, json_facts, print_summary, summary_lines
from fastcmp.errors import OutputError
from fastcmp.results.findings import BlindSpots, Finding
from fastcmp.results.schema import arrow_schema
from fastcmp.results.totals import Totals

HOSTILE = "\x1b[31m[bold red]x\u202e\r\ntail[/]"


def make_finding(**values: Any) -> Finding:
    given: dict[str, Any] = {
        "row": 7, "rank": "", "token_id": "2", "data_id": "14", "verdict": "fail",
        "verdict_reason": "relative_euclidean_distance 0.21 > 0.05 (rule: default bfloat16)",
        "golden_data_path": "/g/14.npy", "acl_data_path": "/a/14.npy", "golden_dtype": "float32", "acl_dtype": "bfloat16",
        "cosine_similarity": 0.9, "relative_euclidean_distance": 0.21, "max_absolute_error": float("inf"), "mismatch_count": 3,
        "rounding_floor": 0.00166,
    }  # fmt: skip
    return Finding(**{**given, **values})


def table_of(*rows: tuple[str, str], rule: str = "key") -> pa.Table:
    """The columns verdict, verdict_reason and pair_rule of a report."""
    values = [(*row, rule) for row in rows]
    names = ("verdict", "verdict_reason", "pair_rule")
    return pa.table({name: pa.array([row[place] for row in values], pa.string()) for place, name in enumerate(names)})


@dataclass
class FakeResult:
    totals: Totals
    first_divergence: Finding | None = None
    found: list[Finding] = field(default_factory=list)
    table: pa.Table = field(default_factory=table_of)
    output: str = "./fastcmp_report"
    exit_code: int = 1
    blind_spots: BlindSpots = field(default_factory=lambda: BlindSpots((), 0, 0))
    run_order: str = "computed"
    story: Story = field(default_factory=lambda: find_story(arrow_schema().empty_table()))
    is_complete: bool = True

    def worst(self, number: int = 10) -> list[Finding]:
        return self.found[:number]


def make_totals(**values: Any) -> Totals:
    given = {
        "rows": 10, "pairs": 8, "passed": 5, "failed": 2, "errors": 1, "unpaired_golden": 1, "unpaired_target": 1, "unpaired_allowed": 0,
        "bytes": 2_500_000_000, "elapsed_s": 2.0,
    }  # fmt: skip
    return Totals(**{**given, **values})


def text_of(result: Any) -> list[str]:
    return ["".join(part for part, _ in line) for line in summary_lines(result)]


def test_summary_says_it_all() -> None:
    table = table_of(("error", "not compared [E_TRUNCATED]"), ("pass", ""))
    first = make_finding()
    unread = make_finding(token_id="1", data_id="9", verdict="error", cmp_fail_reason="/a/9.bin: byte 90: cut short [E_TRUNCATED]")
    result = FakeResult(make_totals(), first, [first], table, blind_spots=BlindSpots((unread,), 3, 1))
    assert text_of(result) == [
        "8 pairs, 2.5 GB in 2.00 s (1.2 GB/s)",
        "  passed                         5",
        "  failed                         2",
        "  could not be compared          1  E_TRUNCATED 1",
        "  stood alone                    2  only golden 1, only target 1",
        "worst:",
        "  token 2, data_id 14: relative_euclidean_distance 0.21 > 0.05 (bfloat16)",
        "not compared:",
        "  token 1, data_id 9: the file ends before its payload does [E_TRUNCATED]",
        "  ... and 2 more",
        "first divergence: token 2, data_id 14",
        "  relative_euclidean_distance 0.21 > 0.05 (bfloat16); rounding by itself: 0.0017",
        "  1 tensor before it could not be compared: it may have begun there",
        "report: ./fastcmp_report/cmp_report.csv",
    ]


def test_pairs_that_were_not_made_by_equal_names_are_counted() -> None:
    rules = ["key"] * 4 + ["content"] * 3 + ["", "map:3", "ops", "ops", "md5"]
    table = table_of(*[("pass", "")] * len(rules))
    table = table.set_column(table.column_names.index("pair_rule"), table.schema.field("pair_rule"), pa.array(rules))
    result = FakeResult(make_totals(), table=table)
    said = "not by equal names: 2 pairs by ops, 3 pairs by content; pair_rule says which, and notes how alike those by content are"
    assert text_of(result)[5] == said
    assert json_facts(result)["pair_rules"] == {"key": 4, "content": 3, "map:3": 1, "ops": 2, "md5": 1}
    # A rule of the user's own is none of these.
    result.table = table_of(("pass", ""), rule="map:3")
    assert not any("equal names" in line for line in text_of(result))


def make_story(**values: Any) -> Story:
    """A jump at token 2, layer 3, mlp; ``values`` are others for its place."""
    given: dict[str, Any] = {
        "row": 7, "rank": "", "token_id": "2", "data_id": "layers.3.mlp", "layer": 3, "operation": "mlp", "is_input": False,
    }  # fmt: skip
    place = Place(**{**given, **values})
    jump = Jump(place, 0.5, 0.01, 50.0, "error", True, 0, False, None, 0, False, 0.3, "", "")
    spread = Spread("only here", "only here", "one of one", (place.token_id,), (3,), ("",), 4, 4, 1, 0, 0, 0, True, 0, 0, 48, (), 0, False)
    return replace(find_story(arrow_schema().empty_table()), jump=jump, spread=spread, first_failure=place, unknown_before=1)


def test_summary_says_in_words_where_it_went_wrong() -> None:
    """What could not be compared is said above, once."""
    first = make_finding()
    lines = text_of(FakeResult(make_totals(), first, [first], blind_spots=BlindSpots((), 1, 1), story=make_story()))
    at = lines.index("in words:")
    assert lines[at + 1 :] == [
        "  error jumps at token 2, layer 3, mlp: 0.01 -> 0.5 (50 times), its inputs were fine",
        "  seen at token 2 only, in layer 3 only",
        "report: ./fastcmp_report/cmp_report.csv",
    ]
    assert sum("it may have begun there" in line for line in lines) == 1


def test_json_has_the_story_as_words_and_as_facts() -> None:
    story = make_story()
    assert story.jump is not None
    facts = json_facts(FakeResult(make_totals(), story=replace(story, jump=replace(story.jump, error=float("inf")))))
    told = json.loads(json.dumps(facts, allow_nan=False))["story"]
    assert told["words"][0].startswith("error jumps at token 2, layer 3, mlp")
    assert told["words"][-1] == "1 tensor before it could not be compared: it may have begun there"
    assert told["jump"]["error"] == "inf" and told["jump"]["place"]["data_id"] == "layers.3.mlp"
    assert told["spread"]["layer_numbers"] == [3] and told["choices"]["read"] is None


def test_summary_of_a_clean_run_names_no_divergence() -> None:
    lines = text_of(FakeResult(make_totals(failed=0, errors=0, passed=8, unpaired_golden=0, unpaired_target=0), exit_code=0))
    assert "no pair diverges" in lines and not any("worst" in line for line in lines)


def test_a_divergence_by_name_says_so() -> None:
    lines = text_of(FakeResult(make_totals(), make_finding(token_id=""), run_order="name"))
    assert "first divergence by name (such a dump does not say in which order it ran): data_id 14" in lines
    lines = text_of(FakeResult(make_totals(), make_finding(token_id=""), run_order="file"))
    assert "first divergence in the order of the file: data_id 14" in lines


def test_a_run_that_compared_nothing_claims_nothing() -> None:
    lines = text_of(FakeResult(make_totals(pairs=3, passed=0, failed=0, errors=3), blind_spots=BlindSpots((), 3, 3)))
    assert "nothing could be compared" in lines and not any("diverges" in line for line in lines)


def test_no_rate_where_it_would_be_that_of_the_start() -> None:
    assert text_of(FakeResult(make_totals(bytes=574_000, pairs=1), exit_code=0))[0] == "1 pair, 574 kB in 2.00 s"


def test_hostile_names_move_no_cursor_and_draw_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    first = make_finding(data_id=HOSTILE, token_id=HOSTILE, rank=HOSTILE, acl_data_path=HOSTILE, verdict_reason=HOSTILE)
    story = make_story(data_id=HOSTILE, token_id=HOSTILE, rank=HOSTILE, operation=HOSTILE)
    print_summary(FakeResult(make_totals(), first, [first], output=HOSTILE, story=story))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "\r" not in shown
    assert "[bold red]" in shown and "\\x1b[31m" in shown


def test_a_terminal_shows_hostile_markup_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    first = make_finding(data_id="[bold]x[/bold]")
    print_summary(FakeResult(make_totals(), first, [first]))
    assert "data_id [bold]x[/bold]" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()


LONG = "model.language_model.layers.17.self_attn.q_proj.output"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("abcdefghijklmnop", 10, "...jklmnop"),
        (LONG, 40, "...del.layers.17.self_attn.q_proj.output"),
        (f"{LONG}.weight_scale_inverse", 40, "...layers.17...tput.weight_scale_inverse"),
        ("layers.17.mlp.experts.12.gate_proj.weight_scale.output", 40, "layers.17...ate_proj.weight_scale.output"),
        ("dump/0_12345/3_DecoderLayer/1_SelfAttention/2_LinearOperation/after/outtensor0", 40, "...3_DecoderLayer...ion/after/outtensor0"),
        (LONG, 12, "...oj.output"),
        ("\x1b" * 50, 20, "...b\\x1b\\x1b\\x1b\\x1b"),
    ],
    ids=["no-layer", "layer-in-the-end", "layer-before-it", "layer-first", "op-tree", "no-room", "hostile"],
)
def test_a_long_name_keeps_its_end_and_its_layer(name: str, width: int, shown: str) -> None:
    assert shortened(name, width) == shown and len(shown) == width
    assert shortened(name, len(visible(name))) == visible(name)


def test_a_name_is_cut_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = make_finding(data_id=f"{'a' * 500}.{LONG}", acl_data_path="/run/" + "d/" * 300 + "outTensor0.bin")
    assert [line.rpartition(" ")[2] for line in divergence_lines(finding)[::2]] == [finding.data_id, finding.acl_data_path]
    result = FakeResult(make_totals(), finding, [finding], story=make_story(operation=finding.data_id))
    assert sum(finding.data_id in line for line in text_of(result)) == 3
    monkeypatch.setattr("sys.stdout", Terminal())
    cut = divergence_lines(finding)
    assert max(map(len, cut)) < 120 and cut[0].endswith(LONG) and cut[2].endswith("outTensor0.bin")
    assert max(map(len, text_of(result))) < 200 and sum(".layers.17." in line for line in text_of(result)) == 3


def test_json_is_one_valid_object_without_nan() -> None:
    first = make_finding()
    facts = json_facts(FakeResult(make_totals(), first, [first]))
    again = json.loads(json.dumps(facts, allow_nan=False))
    assert again["first_divergence"]["max_absolute_error"] == "inf"
    assert (again["exit_code"], again["totals"]["failed"], again["totals"]["unpaired"]) == (1, 2, 2)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("é 中", "é 中"),
        ("a\tb", "a\\x09b"),
        ("\udcff", "\\xff"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_numbers_for_people() -> None:
    assert [bytes_text(count) for count in (0, 999, 1000, 999_999, 1_250_000_000)] == ["0 B", "999 B", "1 kB", "1000 kB", "1.25 GB"]
    assert [seconds_text(seconds) for seconds in (0.4, 12.3, 200.0, 7500.0)] == ["0.40 s", "12 s", "3 min 20 s", "2 h 5 min"]
    assert grouped(1234567) == "1 234 567"
    assert one_line("a\nb\n") == "a b"


def test_plain_progress_speaks_every_ten_seconds_or_five_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 2.0, 3.5, 12.5])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress_module, "has_kernels", lambda: True)
    stream = io.StringIO()
    progress = PlainProgress(stream, "out")
    progress.start(1_000_000, 10)
    progress.advance(900_000, 1, 0, "")  # 0.5 s: too soon
    progress.advance(60_000, 2, 0, "")  # 6 % more
    progress.advance(70_000, 3, 1, "x")  # 1 % more
    progress.advance(80_000, 4, 1, HOSTILE)  # 10 s later
    progress.stop()
    first, *lines = stream.getvalue().splitlines()
    assert first == "the report goes to out"
    assert lines[0] == "comparing 10 pairs, files of 1 MB"
    assert lines[1] == "6 %, 2 of 10 pairs, 60 kB, 31 s left, 0 failed"
    assert lines[2].startswith("8 %, 4 of 10 pairs, 80 kB") and "1 failed, worst \\x1b[31m" in lines[2]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("bytes_done", "total_bytes", "pairs_done", "percent"),
    [(690, 1000, 4, 100), (1000, 1000, 0, 99), (1000, 1000, 3, 99), (998, 1000, 3, 99), (500, 1000, 3, 50), (0, 0, 3, 75), (0, 0, 4, 100)],
)
def test_all_pairs_and_no_fewer_are_a_hundred_percent(
    bytes_done: int, total_bytes: int, pairs_done: int, percent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = PlainProgress(stream, "out")
    progress.start(total_bytes, 4)
    progress.advance(bytes_done, pairs_done, 0, "")
    line = stream.getvalue().splitlines()[-1]
    assert line.startswith(f"{percent} %, {pairs_done} of 4 pairs, ") and (" left, " in line) == (percent < 100)


def test_the_bar_of_a_terminal_is_full_when_all_pairs_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    progress = TerminalProgress("out")
    progress.start(1000, 4)
    assert progress._bars is not None
    (task,) = progress._bars.tasks
    progress.advance(1000, 3, 0, "")
    assert task.percentage == 99
    progress.advance(690, 4, 0, "")
    assert task.percentage == 100
    progress.stop()


def test_a_first_comparison_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for has_kernels, expected in ((False, "; the kernels are compiled first, once on this machine: ten to thirty seconds"), (True, "")):
        if has_kernels:
            (tmp_path / ".made-fold_many-f4-f4-0123").touch()
        stream = io.StringIO()
        PlainProgress(stream, "out").start(1, 1)
        assert stream.getvalue().splitlines()[0] == f"the report goes to out{expected}"


def test_plain_progress_survives_a_closed_stream() -> None:
    stream = io.StringIO()
    stream.close()
    PlainProgress(stream, "out").start(1, 1)


def test_the_terminal_gets_bars_and_a_file_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_for(Terminal(), "out"), TerminalProgress)
    assert isinstance(progress_for(io.StringIO(), "out"), PlainProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(Terminal(), "out"), PlainProgress)


def test_terminal_progress_draws_hostile_names_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    progress = TerminalProgress("out")
    progress.start(100, 4)
    progress.advance(50, 2, 1, "[bold]\x1b]0;title\x07")
    progress.stop()
    assert "[bold]\\x1b]0;title\\x07" in stream.getvalue()


def fail_with(error: BaseException) -> Any:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OutputError("/d: locked by pid 7"), 2, "fastcmp: /d: locked by pid 7\n"),
        (KeyboardInterrupt(), 130, "fastcmp: interrupted\n"),
        (Terminated(), 143, "fastcmp: terminated\n"),
        (
            ZeroDivisionError("x\ny"),
            2,
            "fastcmp: internal error: ZeroDivisionError: x y; run again with --debug and report what it shows\n",
        ),
    ],
)
def test_every_end_is_one_line_and_its_own_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded(fail_with(error), program="fastcmp", debug=False) == code
    assert capsys.readouterr().err == line


def test_sigterm_unwinds_and_ends_with_143(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_guarded(lambda: os.kill(os.getpid(), signal.SIGTERM) or 0, program="fastcmp", debug=False) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err == "fastcmp: terminated\n"


class VanishedTerminal(io.StringIO):
    """What is left of a terminal whose window was closed."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_signal_after_the_result_is_out_changes_no_exit_code(code: int, number: int) -> None:
    """While the interpreter takes itself down, which takes longer than one would think."""
    program = (
        f"import os, sys; from fastcmp.cli.endings import final; code = final({code}); os.kill(os.getpid(), {int(number)}); sys.exit(code)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == code


def test_a_ctrl_c_that_hits_a_class_being_defined_ends_with_130(tmp_path: Path) -> None:
    """`python -m` would end by the signal instead, though it was caught."""
    (tmp_path / "program.py").write_text(
        "import sys\nfrom fastcmp.cli.endings import final\ntry:\n    exec('raise KeyboardInterrupt')\nexcept KeyboardInterrupt:\n    pass\n"
        "sys.exit(final(130) if sys.argv[1] == 'final' else 130)\n"
    )
    final, plain = (
        subprocess.run([sys.executable, "-m", "program", word], cwd=tmp_path, check=False, timeout=60).returncode for word in ("final", "")
    )
    assert final == 130 and plain in (130, -signal.SIGINT), "a later Python may have nothing to forget"


def test_a_terminal_that_goes_away_does_not_take_the_comparison_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", VanishedTerminal())
    shown = TerminalProgress("out")
    shown.start(10, 2)
    shown.advance(5, 1, 0, "")
    shown.stop()
