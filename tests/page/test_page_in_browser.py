"""The page in a real browser: drawn, clicked, and with nothing to complain about. Skipped where no Chromium is installed (`make browser`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from headless_chromium import Page, find_chromium
from made_reports import HOSTILE, hostile_report, made_report, save_report

from fastcmp.page.write import write_page

BROWSER = find_chromium()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: `make browser` installs one, FASTCMP_CHROMIUM names one")

SIZES = [(5, 1, 1), (100, 20, 1), (500, 50, 2)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests of this file."""
    assert BROWSER is not None
    with Page(BROWSER, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_to_complain_about(page: Page) -> Iterator[None]:
    """Whatever a test does with a page: no error, no warning, no request."""
    page.problems.clear()
    page.requests.clear()
    yield
    assert page.problems == []
    assert page.requests == []


def opened(page: Page, directory: Path, table: Any) -> Any:
    page.open(Path(write_page(str(save_report(table, directory)))))
    return table


def centre(page: Page, layer: int, token: int, layers: int) -> tuple[float, float]:
    """Where in the window a cell of the heat map is."""
    page.evaluate("document.getElementById('map').scrollIntoView(), 0")
    page.settle()
    return tuple(
        page.evaluate(
            "(() => { const view = [...Bokeh.index].find((one) => one.model.name === 'heat'), box = view.el.getBoundingClientRect();"
            " const [x, y] = [view.frame.x_scale, view.frame.y_scale];"
            f" return [box.left + x.compute({token} + 0.5), box.top + y.compute({layers} - {layer} - 0.5)]; }})()"
        )
    )


def details(page: Page) -> dict[str, str]:
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#details td')].map((cell) => [cell.dataset.column, cell.textContent]))"
    )


def colours(page: Page, plot: str) -> int:
    """How many colours the canvas of a plot has inside its frame."""
    return page.evaluate(
        f"(() => {{ const view = [...Bokeh.index].find((one) => one.model.name === '{plot}'), box = view.frame.bbox;"
        " const find = (node) => { if (node.tagName === 'CANVAS') return [node];"
        "   return [...(node.shadowRoot ? find(node.shadowRoot) : []), ...[...(node.children || [])].flatMap(find)]; };"
        " const seen = new Set();"
        " for (const canvas of find(view.el)) {"
        "   const data = new Uint32Array(canvas.getContext('2d').getImageData(box.left + 3, box.top + 3, box.width - 6, box.height - 6).data.buffer);"
        "   for (const one of data) seen.add(one); }"
        " return seen.size; })()"
    )


@pytest.mark.parametrize(("layers", "tokens", "ranks"), SIZES, ids=["5", "2 000", "50 000"])
def test_a_click_on_a_cell_shows_its_pair(page: Page, tmp_path: Path, layers: int, tokens: int, ranks: int) -> None:
    table = opened(page, tmp_path, made_report(layers, tokens, ranks))
    assert colours(page, "heat") >= 4
    assert colours(page, "layers") >= 4
    if ranks > 1:
        page.evaluate("(() => { const box = document.getElementById('rank'); box.value = 1; box.dispatchEvent(new Event('change')); })()")
        page.settle()
    layer, token = layers - 1, tokens - 1
    page.click(*centre(page, layer, token, layers))
    shown = details(page)
    at = int(page.evaluate("document.getElementById('details').dataset.row"))
    row = table.slice(at, 1).to_pylist()[0]
    # A square may stand for several layers; the pair is one of them, and everything about it is there.
    assert row["token_id"] == str(token) and row["rank"] == (str(ranks - 1) if ranks > 1 else "")
    assert abs(table.column("data_id").unique().to_pylist().index(row["data_id"]) - layer) < (3 if layers > 200 else 1)
    assert shown["data_id"] == row["data_id"]
    assert shown["golden_data_path"] == row["golden_data_path"] and shown["verdict"] == row["verdict"]
    for name in ("relative_euclidean_distance", "mean_absolute_error", "acl_max_value", "cosine_similarity"):
        assert float(shown[name]) == pytest.approx(row[name], rel=1e-6)
    assert int(shown["mismatch_count"]) == row["mismatch_count"]
    assert len(shown) == table.num_columns


def test_hovering_names_the_pair(page: Page, tmp_path: Path) -> None:
    table = opened(page, tmp_path, made_report(25, 4))
    page.move(*centre(page, 12, 2, 25))
    text = page.evaluate("document.getElementById('hover').hidden ? '' : document.getElementById('hover').textContent")
    assert text.startswith(f"token 2, data_id {table.column('data_id')[12 * 4].as_py()}\npass: relative_euclidean_distance 0.00")


def test_a_row_of_the_table_and_a_cell_are_one(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, made_report(25, 4))
    page.click(*centre(page, 24, 3, 25))
    row = page.evaluate("document.getElementById('details').dataset.row")
    assert page.evaluate("[...document.querySelectorAll('#worst tr.chosen')].map((line) => line.dataset.row)") == [row] == ["99"]
    page.evaluate("document.querySelector('#worst tr[data-row=\"70\"]').click()")
    assert page.evaluate("document.getElementById('details').dataset.row") == "70"
    box = page.evaluate("(({ left, top }) => [left[0], top[0]])(Bokeh.documents[0].get_model_by_name('heat-selected').data)")
    assert box == [70 % 4, 25 - 70 // 4]
    page.evaluate("document.getElementById('plot-heat').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp' }))")
    assert page.evaluate("document.getElementById('details').dataset.row") == "66"


def test_the_page_begins_at_the_first_divergence(page: Page, tmp_path: Path) -> None:
    table = opened(page, tmp_path, made_report(25, 4))
    row = int(page.evaluate("document.getElementById('details').dataset.row"))
    # The planted NaN is of token 0 and so ran before all that fails from token 2 on.
    assert (row, table.column("nonfinite_mismatch_count")[row].as_py()) == (3 * 4, 3)


def test_the_table_is_sorted_and_filtered(page: Page, tmp_path: Path) -> None:
    table = opened(page, tmp_path, made_report(25, 4))
    heading = "[...document.querySelectorAll('#worst thead th')].find((one) => one.textContent === 'max absolute error')"
    order = "[...document.querySelectorAll('#worst tbody tr')].map((line) => Number(line.dataset.row))"
    before = page.evaluate(order)
    values = table.column("max_absolute_error").to_pylist()
    empty = [row for row in before if values[row] is None]
    page.evaluate(f"{heading}.querySelector('button').click()")
    down = page.evaluate(order)
    assert down == sorted((row for row in before if values[row] is not None), key=lambda row: -values[row]) + empty
    page.evaluate(f"{heading}.querySelector('button').click()")
    assert page.evaluate(order) == list(reversed(down[: len(down) - len(empty)])) + empty
    page.evaluate(f"{heading}.querySelector('button').click()")
    assert page.evaluate(order) == before
    page.evaluate(
        "(() => { const box = document.getElementById('filter'); box.value = 'UP_PROJ pass'; box.dispatchEvent(new Event('input')); })()"
    )
    left = page.evaluate(
        "[...document.querySelectorAll('#worst tbody tr')].filter((line) => !line.hidden).map((line) => Number(line.dataset.row))"
    )
    rows = table.select(["data_id", "verdict"]).to_pylist()
    assert sorted(left) == [i for i, row in enumerate(rows) if "up_proj" in row["data_id"] and row["verdict"] == "pass"]


def test_more_cells_than_pixels_show_their_worst_and_zooming_parts_them(page: Page, tmp_path: Path) -> None:
    table = made_report(2500, 4)
    failing = 1234 * 4 + 1
    opened(page, tmp_path, table)
    note = "document.getElementById('heat-note').textContent"
    assert "each square shows the worst of" in page.evaluate(note)
    page.evaluate("(() => { const heat = Bokeh.documents[0].get_model_by_name('heat'); heat.y_range.setv({ start: 1240, end: 1280 }); })()")
    page.settle()
    assert "each square" not in page.evaluate(note)
    page.click(*centre(page, 1234, 1, 2500))
    assert page.evaluate("document.getElementById('details').dataset.row") == str(failing)


def test_verdicts_colour_the_map_too(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, made_report(25, 4))
    image = "Bokeh.documents[0].get_model_by_name('heat-image').data.image[0]"
    before = page.evaluate(f"new Set({image}).size")
    page.evaluate("document.querySelector('input[value=verdict]').click()")
    page.settle()
    # passed, failed, could not be compared, alone
    assert page.evaluate(f"new Set({image}).size") == 4 < before


def test_no_name_becomes_anything_else_than_text(page: Page, tmp_path: Path) -> None:
    table = hostile_report()
    page.open(Path(write_page(str(save_report(table, tmp_path, **dict.fromkeys(("golden", "target", HOSTILE[0]), HOSTILE[1]))))))
    for layer in range(len(HOSTILE)):
        page.click(*centre(page, layer, 1, len(HOSTILE)))
    page.evaluate("document.querySelectorAll('#worst tbody tr').forEach((line) => line.click())")
    page.settle()
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.querySelector('#worst tbody').textContent.includes('</script><script>window.pwned')")
    assert "\u202e" not in page.evaluate("document.body.innerText") and "\u202e" not in page.evaluate("document.documentElement.outerHTML")


def test_the_policy_runs_no_other_script_and_asks_for_nothing(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, made_report(5, 1))
    assert (
        page.evaluate(
            "(() => { const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.body.append(script);"
            " document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">'); return typeof window.ran; })()"
        )
        == "undefined"
    )
    assert page.evaluate("fetch('https://localhost/').then(() => 'sent', () => 'refused')") == "refused"
    page.settle()
    assert len(page.problems) >= 3 and all("Content Security Policy" in problem for problem in page.problems), page.problems
    page.problems.clear()
    page.requests.clear()  # Chromium names what it has refused


def test_a_page_without_rows_is_a_page(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, made_report(5, 1).slice(0, 0))
    assert page.evaluate("document.querySelector('h1').textContent") == "no pair was compared"
