"""What stands in the page, read as a parser reads it: all rows, nothing that runs, nothing that is fetched, and never more than 10 MB."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_reports import HOSTILE, hostile_report, made_report, save_report, uncompared, with_rows
from tries import examples

from fastcmp.analysis.story import find_story
from fastcmp.analysis.words import tell
from fastcmp.page import write
from fastcmp.page.cells import MEASURED, NOT_COMPARED, NOTHING, UNMEASURED, cells_of
from fastcmp.page.content import make_content
from fastcmp.page.packing import Packer, pack_columns, shown
from fastcmp.page.words import headline, tell_divergence
from fastcmp.page.write import make_page
from fastcmp.results.saved import SavedReport, load_saved
from fastcmp.results.schema import BY_NAME, NAMES, arrow_schema
from fastcmp.results.totals import count

MOST_BYTES = 10_000_000


class Parsed(HTMLParser):
    """The elements of a page, the text of its scripts by id, and the visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, str] = {}
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open = str(dict(attrs).get("id") or tag)
            if self._open == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open:
            self.data[self._open] = self.data.get(self._open, "") + data
        else:
            self.text += data


class Unpacked:
    """What page.js would find in a packed text; written anew, from the description in `fastcmp.page.packing`."""

    def __init__(self, packed: str) -> None:
        self.content = zlib.decompress(base64.b64decode(packed, validate=True))
        size = int.from_bytes(self.content[:4], "little")
        self.header: dict[str, Any] = json.loads(self.content[4 : 4 + size])
        self.start = (4 + size + 7) // 8 * 8

    def array(self, reference: dict[str, Any]) -> np.ndarray:
        kind, at, length = reference["array"], self.start + reference["at"], reference["length"]
        if kind == "f4":
            return np.frombuffer(self.content, np.uint8, 4 * length, at).reshape(4, length).T.copy().view("<f4").reshape(-1)
        return np.frombuffer(self.content, f"<{kind}", length, at)

    def column(self, name: str) -> list[Any]:
        """A column with None where it is empty."""
        facts = next(one for one in self.header["columns"] if one["name"] == name)
        if "numbers" in facts:
            values = self.array(facts["numbers"]).tolist()
        elif "codes" in facts:
            values = [facts["texts"][code] for code in self.array(facts["codes"]).tolist()]
        else:
            return [None] * self.header["rows"]["length"]
        empty = self.array(facts["empty"]).tolist() if "empty" in facts else [0] * len(values)
        return [None if none else value for value, none in zip(values, empty, strict=True)]


def page_of(table: pa.Table, *, is_complete: bool = True, **facts: Any) -> str:
    return make_page(SavedReport("nowhere", table, {"golden": "g.json", "target": "t.json", **facts}, is_complete))


@pytest.mark.parametrize(("layers", "tokens", "ranks"), [(5, 1, 1), (100, 20, 1), (500, 50, 2)])
def test_every_row_and_column_is_in_a_page_of_10_mb(layers: int, tokens: int, ranks: int) -> None:
    table = made_report(layers, tokens, ranks)
    page = page_of(table)
    assert len(page.encode()) <= MOST_BYTES
    parsed = Parsed(page)
    cells, columns = Unpacked(parsed.data["cells"].strip()), Unpacked(parsed.data["columns"].strip())
    in_cells = {name: cells.array(reference) for name, reference in cells.header["arrays"].items()}
    assert in_cells["row"].tolist() == columns.array(columns.header["rows"]).tolist() == list(range(table.num_rows))
    for code, names, name in (("layer", "layers", "data_id"), ("token", "tokens", "token_id"), ("rank", "ranks", "rank")):
        assert [cells.header[names][i] for i in in_cells[code].tolist()] == table.column(name).to_pylist()
    for array, name in (("distance", "relative_euclidean_distance"), ("floor", "rounding_floor")):
        expected = [-1 if value is None else value for value in table.column(name).to_pylist()]
        np.testing.assert_allclose(in_cells[array], expected, rtol=1e-6)
    others = set(NAMES) - {"data_id", "token_id", "rank", "relative_euclidean_distance", "rounding_floor"}
    assert {one["name"] for one in columns.header["columns"]} == others
    for name in others:
        check_column(columns.column(name), table.column(name).to_pylist(), name)


def test_metrics_of_the_user_are_columns_too() -> None:
    table = made_report(25, 4)
    values = pa.array(np.linspace(0, 1, 100))
    table = table.add_column(table.num_columns - 1, "my_own_error", values)
    parsed = Parsed(page_of(table))
    np.testing.assert_allclose(Unpacked(parsed.data["columns"].strip()).column("my_own_error"), values.to_numpy(), rtol=1e-6)
    assert Unpacked(parsed.data["cells"].strip()).header["meanings"]["my_own_error"] == "What the function of --metric gave."


def check_column(found: list[Any], expected: list[Any], name: str) -> None:
    if BY_NAME[name].arrow_type != "float64":
        assert found == [str(one) if isinstance(one, bool) else one for one in expected], name
        return
    assert [one is None for one in found] == [one is None for one in expected], name
    rtol = 0 if name == "cosine_similarity" else 1e-6
    np.testing.assert_allclose([one or 0 for one in found], [one or 0 for one in expected], rtol=rtol, err_msg=name)


NUMBERS = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1e300, 5e-324, math.inf, -math.inf, 1.1754943e-38]))
WHOLE = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5))


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.tuples(NUMBERS, NUMBERS, WHOLE, st.one_of(st.none(), st.text(max_size=30)), st.one_of(st.none(), st.booleans())), max_size=12
    )
)
def test_what_is_packed_comes_out_again(rows: list[tuple[Any, ...]]) -> None:
    names = ("cosine_similarity", "max_absolute_error", "mismatch_count", "notes", "cmp_flag")
    schema = pa.schema([arrow_schema().field(name) for name in names])
    columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in names]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    unpacked = Unpacked(pack_columns(table, np.arange(table.num_rows), names))
    for name, expected in zip(names, columns, strict=True):
        found = unpacked.column(name)
        if name == "mismatch_count":  # numbers that a browser cannot hold are text
            found = [None if one is None else int(one) for one in found]
        if name == "notes":
            expected = [None if one is None else shown(one) for one in expected]
        check_column(found, expected, name)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20), st.sampled_from(["u1", "u2", "u4", "i4", "f4", "f8"]))
def test_arrays_of_every_kind_come_out_again(values: list[int], kind: str) -> None:
    packer, array = Packer(), np.array(values, np.uint32).astype(kind)
    packer.array(np.ones(3, np.uint8))
    unpacked = Unpacked(packer.packed({"text": "né" * len(values)}))
    assert unpacked.header == {"text": "né" * len(values)}
    reference = Packer().array(array)
    assert reference["array"] == kind
    both = Packer()
    both.array(np.ones(3, np.uint8))
    second = both.array(array)
    assert np.array_equal(Unpacked(both.packed({})).array(second), array)


def test_only_our_scripts_may_run_and_nothing_may_be_fetched() -> None:
    parsed = Parsed(page_of(made_report(5, 2)))
    policy = next(
        facts["content"] for tag, facts in parsed.elements if tag == "meta" and facts.get("http-equiv") == "Content-Security-Policy"
    )
    directives = dict(part.strip().split(" ", 1) for part in str(policy).split(";"))
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in parsed.scripts]
    assert directives == {
        "default-src": "'none'", "script-src": " ".join(hashes), "style-src": "'unsafe-inline'", "img-src": "data: blob:",
        "font-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    # The policy stands before the first thing that it is about.
    tags = [tag for tag, _ in parsed.elements]
    assert tags.index("style") > next(i for i, (tag, facts) in enumerate(parsed.elements) if facts.get("http-equiv"))
    for tag, facts in parsed.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "a"), tag
        assert not {"src", "href", "srcset", "action"} & set(facts), (tag, facts)
        assert not [name for name in facts if name.startswith("on")], (tag, facts)


def test_hostile_texts_stay_text() -> None:
    table = hostile_report()
    facts = dict(zip(HOSTILE, [*HOSTILE[1:], {"a": list(HOSTILE)}], strict=True))
    plain, hostile = Parsed(page_of(made_report(len(HOSTILE), 3, 2))), Parsed(page_of(table, **facts))
    # Not one element more than the rows of the table of facts.
    kinds = [
        "".join(f"<{tag} {sorted(facts)}>" for tag, facts in parsed.elements if tag not in ("tr", "th", "td", "bdi"))
        for parsed in (plain, hostile)
    ]
    assert kinds[0] == kinds[1]
    assert len(plain.scripts) == len(hostile.scripts) and plain.scripts == hostile.scripts
    assert {"plots", "cells", "columns", "style"} == set(hostile.data)
    for packed in ("cells", "columns"):
        assert re.fullmatch(r"[A-Za-z0-9+/=]+", hostile.data[packed].strip())
    for name in HOSTILE[:9]:
        assert shown(name) in hostile.text
    for character in "\u202e\u2066\u200b\x00\x1b\u2028":
        assert character not in hostile.text
    assert "x" * 500 not in hostile.text


def test_no_text_of_a_file_is_in_what_bokeh_gets() -> None:
    plots = [Parsed(page_of(table)).data["plots"] for table in (made_report(10, 3, 2), hostile_report())]
    without_ids = [re.sub(r'"(?:id|docid|root_id)":"[^"]*"|"p\d+"|[0-9a-f-]{36}', "", re.sub(r"\s", "", one)) for one in plots]
    assert without_ids[0] == without_ids[1]
    assert json.loads(plots[1]).keys() == {"heat", "layers", "tokens"}


def test_what_does_not_fit_is_the_best_of_it_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "make_content", lambda *most, characters=120_000: make_content(*most[:-1], characters))
    table = made_report(100, 40)
    parsed = Parsed(page_of(table))
    cells = Unpacked(parsed.data["cells"].strip())
    columns = Unpacked(parsed.data["columns"].strip())
    rows, detailed = (set(one.tolist()) for one in (cells.array(cells.header["arrays"]["row"]), columns.array(columns.header["rows"])))
    assert len(parsed.data["cells"]) <= 0.3 * 120_000 and len(parsed.data["cells"]) + len(parsed.data["columns"]) <= 120_000
    assert 100 < len(detailed) < len(rows) < table.num_rows
    order = cells_of(table).worst_first().tolist()
    first = tell_divergence(table, cells_of(table), run_order="computed").row
    assert first in rows
    for some in (rows, detailed):
        assert some == set([first, *(row for row in order if row != first)][: len(some)])
    assert f"The pictures show the {len(rows):,} worst of 4,000 tensors".replace(",", "\u202f") in parsed.text
    assert f"All columns are here for the {len(detailed):,} worst".replace(",", "\u202f") in parsed.text
    # The rows of a page are numbered by themselves: names and ranks that are left out leave no gap.
    assert max(cells.array(cells.header["arrays"]["layer"])) == len(cells.header["layers"]) - 1


def test_what_failed_by_statistics_alone_is_drawn_as_failed_and_stands_behind_what_was_measured() -> None:
    failed = uncompared("fail", "max 1 against 2 [E_STATS_ONLY]", "only statistics are known [E_STATS_ONLY]")
    passed = uncompared("pass", "", "only statistics are known [E_STATS_ONLY]")
    rows = {0: passed, 1: failed, 2: passed, 3: {"verdict": "fail"}, 4: uncompared("error", "x", "x [E_TRUNCATED]")}
    table = with_rows(made_report(5, 1), rows)
    cells = cells_of(table)
    assert cells.state.tolist() == [NOTHING, UNMEASURED, NOTHING, MEASURED, NOT_COMPARED]
    assert cells.worst_first().tolist() == [3, 1, 4, 0, 2]
    parsed = Parsed(page_of(table))
    assert "failed, without a distance" in parsed.text and "The 1 pair that stands before it passed." in parsed.text


def test_a_page_of_a_run_that_goes_on_says_so() -> None:
    text = Parsed(page_of(made_report(25, 4).slice(0, 61), is_complete=False)).text
    assert "This page is incomplete" in text and "had found 61 rows" in text
    assert "so far 1 of 60 pairs failed" in text and "Exit code" not in text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "all 5 pairs passed"),
        ({1: {"verdict": "fail"}}, "1 of 5 pairs failed"),
        ({1: uncompared("error", "", "x [E_TRUNCATED]")}, "1 of 5 pairs could not be compared"),
        ({1: uncompared("fail", "", "x [E_UNPAIRED]")}, "1 tensor stood alone, every pair passed"),
        ({1: uncompared("pass", "", "x [E_UNPAIRED]")}, "all 4 pairs passed"),
        (dict.fromkeys(range(5), uncompared("fail", "", "x [E_UNPAIRED]")), "no pair was compared"),
    ],
)
def test_the_headline_says_how_it_came_out(rows: dict[int, dict[str, Any]], words: str) -> None:
    table = with_rows(made_report(5, 1), {row: {"verdict": "pass", **rows.get(row, {})} for row in range(5)})
    assert headline(count(table, 0, 0.0), is_complete=True) == words
    assert f"<h1>{words}</h1>" in page_of(table)


def test_the_first_divergence_is_that_of_the_comparison() -> None:
    table = made_report(30, 6, 2)
    divergence = tell_divergence(table, cells_of(table), run_order="computed")
    before = max(table.column("relative_euclidean_distance")[row].as_py() for row in (0, 6, 12, 180, 186, 192))
    assert divergence.row == 18
    assert divergence.sentences[0] == (
        "The first pair that fails is rank 0, token 0, data_id model.layers.0.mlp.up_proj: nonfinite_mismatch_count 3 > 0 (non-finite)."
    )
    story = tell(find_story(table))
    assert [f"{line[0].upper()}{line[1:]}." for line in story] == list(divergence.sentences[1 : 1 + len(story)])
    assert divergence.sentences[-2:] == (
        f"The 6 pairs that ran before it passed, relative_euclidean_distance {before:.2g} at most.",
        "73 pairs fail in all: at 4 of 6 tokens, in 13 of 30 data_ids.",
    )


def test_what_is_not_known_is_said() -> None:
    table = made_report(30, 6, 2)
    blind = with_rows(table, {0: uncompared("error", "", "x [E_TRUNCATED]")})
    assert (
        "1 tensor before it could not be compared: it may have begun there."
        in tell_divergence(blind, cells_of(blind), run_order="computed").sentences
    )
    by_name = with_rows(table, {row: {"pair_rule": "path"} for row in range(table.num_rows)})
    assert any("means by name" in sentence for sentence in tell_divergence(by_name, cells_of(by_name), run_order="name").sentences)
    fine = with_rows(table, {row: {"verdict": "pass"} for row in range(table.num_rows)})
    divergence = tell_divergence(fine, cells_of(fine), run_order="computed")
    assert (divergence.sentences[0], divergence.row) == ("No pair diverges.", None)
    nothing = table.slice(0, 0)
    assert tell_divergence(nothing, cells_of(nothing), run_order="computed").sentences == ("Nothing was compared yet.",)


def test_tokens_run_in_numeric_order_and_layers_as_they_appear() -> None:
    table = with_rows(made_report(3, 4), {row: {"token_id": ("10", "9", "b", "-1")[row % 4]} for row in range(12)})
    cells = cells_of(table)
    assert cells.tokens == ["-1", "9", "10", "b"]
    assert cells.layers == table.column("data_id").unique().to_pylist()
    ran = [table.column("token_id")[int(row)].as_py() for row in np.argsort(cells.position)]
    assert ran == ["-1"] * 3 + ["9"] * 3 + ["10"] * 3 + ["b"] * 3


def test_a_saved_report_of_a_real_comparison_makes_a_page(tmp_path: Path) -> None:
    saved = load_saved(str(save_report(made_report(25, 4), tmp_path, warnings=["odd <b>"], versions={"fastcmp": "0.1.0"})))
    text = Parsed(make_page(saved)).text
    assert "odd <b>" in text and "versions: fastcmp" in text and "; compared 20" in text
    finished = Parsed(page_of(saved.table, finished_at="2025-03-04T05:06:07.8+00:00")).text
    assert "; compared 2025-03-04 05:06 UTC." in finished
