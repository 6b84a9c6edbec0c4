"""The page itself: static text that is readable without any script, places for the plots, and a policy that forbids everything else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from fastcmp.page.cells import ALONE, EQUAL, MEASURED, NONFINITE, NOT_COMPARED, NOTHING, UNMEASURED
from fastcmp.page.plots import PALETTE, Plots

_HERE: Final = Path(__file__).parent

# Blue to yellow and red differ for every kind of eyes; greys are nobody's error.
STATE_COLOURS: Final[dict[int, tuple[str, str]]] = {
    NONFINITE: ("#d7301f", "NaN or infinity on one side"),
    UNMEASURED: ("#7f0000", "failed, without a distance"),
    NOT_COMPARED: ("#ffc400", "could not be compared"),
    ALONE: ("#8c8c8c", "on one side only"),
    NOTHING: ("#d9d4c7", "nothing to measure"),
    EQUAL: ("#f0f7ea", "equal"),
}
VERDICT_COLOURS: Final = (
    ("#b9d9ea", "passed"),
    ("#c9c9c9", "on one side only, allowed"),
    ("#7a7a7a", "on one side only"),
    ("#ffc400", "could not be compared"),
    ("#a50f15", "failed"),
)
"""By the numbers of `fastcmp.page.cells`: `PASSED` to `FAILED`."""


@dataclass(frozen=True)
class Text:
    """What the page says; every text is escaped here and nowhere else.

    Attributes
    ----------
    headline : str
    tone : {"good", "bad", "unknown"}
    tiles : sequence of (str, str, str)
        A count, what it counts, and its tone or "".
    remarks : sequence of str
        Below the counts.
    divergence : sequence of str
        Sentences.
    divergence_row : int or None
    legend_low, legend_high : float
        Decades at the ends of the colours.
    states, verdicts : set of int
        Those that occur.
    cell_note : str
        What the pictures leave out, or "".
    has_ranks : bool
    table : str
        HTML.
    options : sequence of (str, str)
    """

    headline: str
    tone: str
    tiles: Iterable[tuple[str, str, str]]
    remarks: Iterable[str]
    divergence: Iterable[str]
    divergence_row: int | None
    legend_low: int
    legend_high: int
    states: set[int]
    verdicts: set[int]
    cell_note: str
    has_ranks: bool
    table: str
    options: Iterable[tuple[str, str]]


def make_document(text: Text, plots: Plots, cells: str, columns: str, generator: str) -> str:
    """The HTML of a page.

    Parameters
    ----------
    text : Text
    plots : Plots
    cells, columns : str
        See `fastcmp.page.content.Content`.
    generator : str
        The elements by which the file is known as a page.
    """
    # Only these scripts run: others would need a hash in the policy, however they came into the page.
    scripts = [script.replace("</script", "<\\/script") for script in (*plots.scripts, asset("page.js"))]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # Ours, and without a text from a file; "<" would end the element in a string too.
    items = json.dumps(plots.items, allow_nan=False).replace("<", "\\u003c")
    parts = [
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{generator}',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(text.headline)} - fastcmp</title>",
        f"<style>{asset('page.css')}</style>\n</head>\n<body>",
        _head(text),
        _pictures(text, with_tokens="tokens" in plots.items),
        text.table,
        _options(text.options),
        f'<script type="application/json" id="plots">{items}</script>',
        f'<script type="text/plain" id="cells">{cells}</script>\n<script type="text/plain" id="columns">{columns}</script>',
        *(f"<script>{script}</script>" for script in scripts),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def asset(name: str) -> str:
    """A file beside this one."""
    return (_HERE / name).read_text(encoding="utf-8")


def _head(text: Text) -> str:
    tiles = "".join(
        f'<div class="tile {tone}"><b>{escape(count)}</b> <span>{escape(label)}</span></div>' for count, label, tone in text.tiles
    )
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in text.remarks)
    first, *rest = [*text.divergence, ""]
    row = text.divergence_row
    button = "" if row is None else f'<button type="button" class="show" data-row="{row}">show it below</button>'
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in rest if sentence)
    return (
        f'<header class="{text.tone}"><h1>{escape(text.headline)}</h1><div class="tiles">{tiles}</div>{remarks}</header>\n'
        f'<section id="divergence"><h2>First divergence</h2><p class="first">{escape(first)} {button}</p><ul>{sentences}</ul></section>'
        '<noscript><p class="note">The pictures and the sorting need JavaScript; the table of the worst tensors does not.</p></noscript>'
        '<p class="note problem" id="problem" hidden></p>'
    )


def _pictures(text: Text, *, with_tokens: bool) -> str:
    chooser = '<label>rank <select id="rank"><option value="-1">all, the worst of them</option></select></label>' if text.has_ranks else ""
    note = f'<p class="note">{escape(text.cell_note)}</p>' if text.cell_note else ""
    tokens = (
        '<section><h2>Error along the tokens</h2><p class="note" id="tokens-note"></p><div id="plot-tokens" class="plot"></div></section>'
        if with_tokens
        else ""
    )
    return f"""<section id="map">
<h2>Every tensor</h2>
<div class="bar">{chooser}<span class="choice"><label><input type="radio" name="mode" value="error" checked>error</label>
<label><input type="radio" name="mode" value="verdict">verdict</label></span>
{_legend(text)}</div>
{note}<p class="note" id="heat-note"></p>
<div class="beside"><div id="heat-frame"><div id="plot-heat" class="plot" tabindex="0" aria-label="heat map of layers and tokens"></div>
<div id="hover" hidden></div></div>
<aside id="details"><h3>No tensor chosen</h3><p>Click a cell, or a row of the table below.</p></aside></div>
</section>
<section><h2>Error along the layers</h2><p class="note" id="layers-note"></p><div id="plot-layers" class="plot"></div></section>
{tokens}"""


def _legend(text: Text) -> str:
    def swatches(entries: Iterable[tuple[str, str]]) -> str:
        return "".join(f'<span class="swatch"><i style="background:{colour}"></i>{escape(label)}</span>' for colour, label in entries)

    ends = f"<span>{power(text.legend_low)}</span><i class='ramp' style='background:linear-gradient(90deg,{','.join(PALETTE)})'></i>"
    ramp = f'<span class="swatch">relative_euclidean_distance {ends}<span>{power(text.legend_high)}</span></span>'
    states = swatches(entry for state, entry in STATE_COLOURS.items() if state in text.states)
    mark = "" if text.divergence_row is None else '<span class="swatch"><i class="mark"></i>first divergence</span>'
    verdicts = swatches(entry for verdict, entry in reversed(list(enumerate(VERDICT_COLOURS))) if verdict in text.verdicts)
    return (
        f'<span class="legend" data-mode="error">{ramp if MEASURED in text.states else ""}{states}{mark}</span>'
        f'<span class="legend" data-mode="verdict" hidden>{verdicts}{mark}</span>'
    )


def power(exponent: int) -> str:
    """10⁻³ for -3."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _options(options: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td><bdi>{escape(value)}</bdi></td></tr>" for name, value in options)
    return f'<section><h2>What was compared, and how</h2><div class="scroll"><table class="facts">{rows}</table></div></section>'
