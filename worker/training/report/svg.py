"""A matplotlib figure as SVG for a page: its colours are the page's, its ids its own; same data, same SVG."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

INK, GRID, GOOD, BAD, CHOSEN = "#101112", "#101113", "#101114", "#101115", "#101116"
COLOURS = {INK: "currentColor", GRID: "var(--grid)", GOOD: "var(--good)", BAD: "var(--bad)", CHOSEN: "var(--chosen)"}
"""matplotlib takes no CSS variables: each stands as a colour that nothing else has."""

WIDTH_INCHES, HEIGHT_INCHES = 5.4, 3.9
"""Readable on a telephone, where the chart is as wide as the page."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2,
}

LINES = 'stroke-linejoin="round" stroke-linecap="butt"'
"""The attributes that matplotlib puts into a style sheet for every element."""

PERCENT = PercentFormatter(1, decimals=0)


class Drawing:
    """A chart that is being drawn, and its SVG once it was."""

    def __init__(self, name: str) -> None:
        self.figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.axes.set_axisbelow(True)
        self.svg = Markup()
        self._name = name

    def finish(self) -> None:
        """Renders the figure to SVG."""
        written = io.StringIO()
        self.figure.savefig(written, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
        # matplotlib has escaped its texts
        self.svg = Markup(_inline(written.getvalue(), self._name))  # noqa: S704


@contextmanager
def chart(name: str) -> Iterator[Drawing]:
    """A chart to draw in; `name` begins the ids of its parts."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        drawn = Drawing(name)
        yield drawn
        drawn.finish()


def _inline(document: str, name: str) -> str:
    """The `svg` element alone: no prolog, no other hosts' names, no ids shared with other charts of the page."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font(?:-family)?: [^;\"]*sans-serif[^;\"]*", _size_only, svg)
    # styles in elements would need a content security policy that allows all of them
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' style="([^"]*)"', _as_attributes, svg)
    for colour, shown in COLOURS.items():
        svg = svg.replace(colour, shown)
    return svg.replace("<svg", f'<svg aria-hidden="true" focusable="false" {LINES}', 1)


def _as_attributes(style: re.Match[str]) -> str:
    """The same properties as attributes of the element."""
    named = (each.split(":", 1) for each in style[1].split(";") if each.strip())
    return "".join(f' {name.strip()}="{value.strip()}"' for name, value in named)


def _size_only(font: re.Match[str]) -> str:
    """The page's own letters in the chart's size."""
    size = re.search(r"[\d.]+px", font[0])
    return f"font-size: {size[0]}" if size else "font-family: inherit"
