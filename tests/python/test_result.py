"""What a person asks a result for, in Python and in a notebook."""

from __future__ import annotations

import html.parser
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from written_dumps import Tensors, save_side

import fastcmp
from fastcmp.errors import UsageError
from fastcmp.results.schema import NAMES

HOSTILE = '<script>alert("x")</script>&\x1b[31m\u202e'


def compared(golden: Path, target: Path, output: Path) -> fastcmp.Result:
    return fastcmp.compare(golden, target, options=fastcmp.CompareOptions(output=str(output), executor="serial"))


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    golden: Tensors = {
        (name, token): np.arange(12, dtype=np.float32).reshape(3, 4) + 1 for name in ("a", HOSTILE, "c") for token in ("0", "1")
    }
    target = {key: array.copy() for key, array in golden.items()}
    target["c", "0"][1, 2] += 5
    target[HOSTILE, "1"][0, 0] = math.nan
    del target["a", "1"]
    return save_side(tmp_path / "g", golden), save_side(tmp_path / "t", target)


@pytest.fixture
def result(sides: tuple[Path, Path], tmp_path: Path) -> fastcmp.Result:
    return compared(*sides, tmp_path / "r")


def test_a_loaded_report_says_what_the_comparison_said(result: fastcmp.Result) -> None:
    for loaded in (fastcmp.load_report(result.output), fastcmp.Result.load(Path(result.output))):
        assert loaded.table.equals(result.table)
        assert (loaded.totals, loaded.first_divergence, loaded.blind_spots) == (result.totals, result.first_divergence, result.blind_spots)
        assert (loaded.ok, loaded.exit_code, loaded.order_is_known, loaded.warnings) == (False, 1, True, result.warnings)
        assert loaded.worst(3) == result.worst(3) and loaded.is_complete
        assert loaded._repr_html_() == result._repr_html_() and repr(loaded) == repr(result)


def test_a_directory_says_nothing_of_its_order_when_it_is_loaded_either(sides: tuple[Path, Path], tmp_path: Path) -> None:
    for side in sides:
        side.unlink()
    result = compared(sides[0].parent, sides[1].parent, tmp_path / "r")
    assert not result.order_is_known and "first divergence by name" in result._repr_html_()
    assert not fastcmp.load_report(result.output).order_is_known


def test_what_is_found_so_far_is_not_ok(result: fastcmp.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = save_side(tmp_path / "g2", {("a", "0"): np.ones(3), ("b", "0"): np.ones(3)})
    monkeypatch.setattr("fastcmp.comparison.write_report", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        compared(golden, golden, tmp_path / "r2")
    loaded = fastcmp.load_report(tmp_path / "r2")
    assert not loaded.is_complete and not loaded.ok and loaded.exit_code == 2 and loaded.totals.passed == 2
    assert "not complete" in loaded._repr_html_()


def test_where_there_is_no_report_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no cmp_report\.arrow in it"):
        fastcmp.load_report(tmp_path)


def test_tables_of_three_kinds_hold_the_same(result: fastcmp.Result) -> None:
    arrow, pandas, polars = result.to_arrow(), result.to_pandas(), result.to_polars()
    assert arrow.column_names == list(pandas.columns) == polars.columns == list(NAMES)
    for name in ("data_id", "verdict", "max_absolute_error", "element_count"):
        expected = arrow.column(name).to_pylist()
        assert polars[name].to_list() == expected
        assert [None if value != value else value for value in pandas[name].tolist()] == expected


@pytest.mark.parametrize(("package", "method"), [("polars", "to_polars"), ("pandas", "to_pandas")])
def test_a_missing_package_is_named(result: fastcmp.Result, monkeypatch: pytest.MonkeyPatch, package: str, method: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"^{method}\(\): {package} cannot be imported.*pip install {package}$"):
        getattr(result, method)()


class Elements(html.parser.HTMLParser):
    """Tags, attributes and text of a piece of HTML, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_counts_the_first_divergence_and_the_worst(result: fastcmp.Result) -> None:
    shown = Elements(result._repr_html_())
    assert "5: 3 passed, 2 failed, 0 could not be compared, 1 stood alone" in shown.text
    assert "first divergencetoken 0, data_id c: relative_euclidean_distance" in shown.text
    assert "nothing is known of1 tensor, first token 1, data_id a" in shown.text
    assert "nonfinite_mismatch_count 1 > 0 (non-finite)" in shown.text
    assert f"{result.output}/cmp_report.csv" in shown.text


def test_names_cannot_leave_their_cell(result: fastcmp.Result) -> None:
    text = result._repr_html_()
    shown = Elements(text)
    assert shown.seen == {"table", "tr", "th", "td", "b"} and shown.attributes == {"style"}
    assert '<script>alert("x")</script>&\\x1b[31m\\u202e' in shown.text and "<script" not in text
    assert "\x1b" not in text and "\u202e" not in text and "http" not in text


def test_many_pairs_with_long_names_are_still_a_small_table(tmp_path: Path) -> None:
    names = [("x" * 5000 + str(number), "0") for number in range(20)]
    golden = save_side(tmp_path / "g", {name: np.ones(3) for name in names})
    target = save_side(tmp_path / "t", {name: np.zeros(3) for name in names})
    text = compared(golden, target, tmp_path / "r")._repr_html_()
    assert len(text) < 8000 and text.count("<tr>") == 8
