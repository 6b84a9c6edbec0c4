"""The plots of the page as Bokeh knows them: frames, axes and glyphs without data. page.js fills them in and answers the pointer.

No text from a file goes through Bokeh's own documents, and nothing here needs code that a browser would have to make out of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastcmp.errors import UsageError

OLDEST: Final = (3, 4)
_FONT: Final = "system-ui, sans-serif"
_GREY: Final = "#5b6470"

PALETTE: Final = ("#ccebc5", "#a8ddb5", "#7bccc4", "#4eb3d3", "#2b8cbe", "#0868ac", "#084081")
"""From small to large errors: ColorBrewer's GnBu, which stays in order for every kind of eyes and in print."""


@dataclass(frozen=True)
class Plots:
    """What a page needs of Bokeh: its scripts, and one description for each plot by the id of its place."""

    scripts: tuple[str, ...]
    items: dict[str, Any]


def require_bokeh() -> None:
    """`UsageError` where Bokeh is missing or too old."""
    try:
        import bokeh
    except ImportError as error:
        raise UsageError("the page is drawn by Bokeh, which is not installed; pip install 'fastcmp[report]'") from error
    version = tuple(int(part) for part in bokeh.__version__.split(".")[:2] if part.isdigit())
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(f"the page needs Bokeh {oldest} or later, this is {bokeh.__version__}; pip install -U 'fastcmp[report]'")


def make_plots(*, with_tokens: bool) -> Plots:
    """The heat map, the errors along the layers and, if asked for, along the tokens."""
    from bokeh.embed import json_item
    from bokeh.resources import Resources

    # Never CDN, whatever BOKEH_RESOURCES says: that variable is for Bokeh's own settings.
    resources = Resources(mode="inline", components=["bokeh"], minified=True, log_level="warn")
    figures = {"heat": _heat_map(), "layers": _lines("layers", rotated=True)}
    if with_tokens:
        figures["tokens"] = _lines("tokens", rotated=False)
    return Plots(tuple(resources.js_raw), {name: json_item(plot, f"plot-{name}") for name, plot in figures.items()})


def _figure(name: str, **options: Any) -> Any:
    from bokeh.models import FixedTicker, Range1d
    from bokeh.plotting import figure

    plot = figure(
        name=name,
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag="box_zoom",
        active_scroll=None,
        output_backend="canvas",
        outline_line_color="#c4cad2",
        min_border_right=16,
        **options,
    )
    plot.toolbar.logo = None
    plot.xaxis.ticker = FixedTicker(ticks=[])
    for axis, place in ((plot.xaxis, "x"), (plot.yaxis, "y")):
        axis.name = f"{name}-{place}"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = _GREY
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_line_color = axis.major_tick_line_color = "#c4cad2"
        axis.minor_tick_line_color = None
    return plot


def _heat_map() -> Any:
    from bokeh.models import ColumnDataSource, FixedTicker, PlainText

    plot = _figure("heat", height=300)
    plot.yaxis.ticker = FixedTicker(ticks=[])
    plot.xaxis.major_label_overrides = {0: PlainText(text="")}
    for grid, place in ((plot.xgrid, "x"), (plot.ygrid, "y")):
        grid.name = f"heat-grid-{place}"
        grid.ticker = FixedTicker(ticks=[])
        grid.grid_line_color = "white"
        grid.level = "overlay"
    empty = np.zeros((1, 1), dtype=np.uint32)
    image = ColumnDataSource(name="heat-image", data={"image": [empty], "x": [0], "y": [0], "dw": [1], "dh": [1]})
    plot.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=image)
    for name, colour, dash in (("first", "#111111", "dashed"), ("selected", "#111111", "solid")):
        source = ColumnDataSource(name=f"heat-{name}", data={"left": [], "right": [], "bottom": [], "top": []})
        sides = {"left": "left", "right": "right", "bottom": "bottom", "top": "top"}
        plot.quad(**sides, source=source, fill_alpha=0, line_color="white", line_width=5)
        plot.quad(**sides, source=source, fill_alpha=0, line_color=colour, line_width=2.5, line_dash=dash)
    return plot


def _lines(name: str, *, rotated: bool) -> Any:
    from bokeh.models import ColumnDataSource, Legend, LegendItem

    plot = _figure(name, height=440 if rotated else 340, y_axis_type="log")
    plot.yaxis.axis_label = "relative_euclidean_distance"
    plot.xgrid.visible = False
    plot.ygrid.grid_line_color = "#e3e7ec"
    if rotated:
        plot.xaxis.major_label_orientation = 0.9
    single = ColumnDataSource(name=f"{name}-single", data={"xs": [], "ys": []})
    drawn = [("each one", plot.multi_line("xs", "ys", source=single, line_color="#4eb3d3", line_alpha=0.45, line_width=1))]
    for label, key, colour, dash, width in (
        ("worst", "worst", "#084081", "solid", 2),
        ("median", "median", "#2b8cbe", [2, 3], 2),
        ("rounding alone", "floor", "#6b6b6b", [8, 4], 1.5),
        ("selected", "selected", "#b2182b", "solid", 2.5),
    ):
        source = ColumnDataSource(name=f"{name}-{key}", data={"x": [], "y": []})
        line = plot.line("x", "y", source=source, line_color=colour, line_dash=dash, line_width=width)
        drawn.append((label, line))
        if key in ("worst", "selected"):
            plot.scatter("x", "y", source=source, color=colour, size=4).name = f"{name}-{key}-dots"
    marks = ColumnDataSource(name=f"{name}-marks", data={"x": [], "y": [], "colour": []})
    plot.scatter("x", "y", source=marks, color="colour", marker="inverted_triangle", size=10, line_color="white")
    pointer = ColumnDataSource(name=f"{name}-pointer", data={"x": [], "y": []})
    plot.scatter("x", "y", source=pointer, color=None, line_color="#111111", line_width=2, marker="circle", size=13)
    items = [LegendItem(label=label, renderers=[glyphs]) for label, glyphs in drawn]
    legend = Legend(items=items, orientation="horizontal", border_line_color=None, padding=2, spacing=18, label_text_font=_FONT)
    plot.add_layout(legend, "above")
    return plot
