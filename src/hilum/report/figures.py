"""Drawings for the report: matplotlib without pyplot, turned into inline SVG that a page can hold many of.

Text stays text (it can be searched, and takes the page's font); ids get the drawing's own prefix so that two
drawings on one page never share a clip path; the same numbers give the same bytes. Every function returns one
small panel: panels stand side by side on a wide page and below each other on a narrow one.

Colours of the classes are those of Okabe and Ito (2008), which colour-blind readers can tell apart; each
class has a marker of its own as well, for print in grey.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from markupsafe import Markup, escape

from hilum.files import digest
from hilum.report.wording import metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

INK, FAINT, GRID = "#24292f", "#767c85", "#e4e6e9"
PANEL = (3.5, 2.95)
"""Inches. At the page's scale (96 px to the inch) the 9-point text of a panel is 12 px high."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hilum",
    "text.parse_math": False,  # a class may have the name $x$
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Look:
    """Colour and marker of one class."""

    colour: str
    marker: str


LOOKS = {
    "normal": Look("#009E73", "o"),
    "bacteria": Look("#D55E00", "s"),
    "virus": Look("#0072B2", "^"),
    "pneumonia": Look("#CC79A7", "D"),
}
_SPARE_COLOURS = ("#E69F00", "#56B4E9", "#000000", "#7A6A00", "#8C564B", "#6A3D9A", "#B22222", "#3F6E75")
_SPARE_MARKERS = "vPXhosD^"
SPARE_LOOKS = tuple(
    Look(_SPARE_COLOURS[place], _SPARE_MARKERS[(place + turn) % 8]) for turn in range(8) for place in range(8)
)
"""64 looks that differ in colour or marker; the first eight in both."""


def look(name: str, classes: Sequence[str]) -> Look:
    """The look of class `name`; classes not known here get the spare ones, in the order of `classes`.

    >>> look("virus", ["normal", "virus"]).colour, look("covid", ["normal", "covid"]).marker
    ('#0072B2', 'v')
    """
    if name in LOOKS:
        return LOOKS[name]
    others = [known for known in classes if known not in LOOKS]
    return SPARE_LOOKS[others.index(name) % len(SPARE_LOOKS)]


# -- drawing and cleaning ----------------------------------------------------------------------------------


def in_style(draw: Callable[P, Markup]) -> Callable[P, Markup]:
    """Runs a drawing function with the report's style, and leaves matplotlib's own settings as they were.

    >>> from matplotlib import rcParams
    >>> in_style(lambda: Markup(rcParams["font.size"]))(), rcParams["font.size"]
    (Markup('9.0'), 10.0)
    """

    @wraps(draw)
    def styled(*args: P.args, **named: P.kwargs) -> Markup:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **named)

    return styled


def new_figure(width: float = PANEL[0], height: float = PANEL[1]) -> "Figure":
    """An empty figure of this size in inches.

    >>> new_figure(2, 1).get_size_inches().tolist()
    [2.0, 1.0]
    """
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def svg(figure: "Figure", name: str, alt: str) -> Markup:
    """The figure as inline SVG. `name` must be unique on the page; `alt` is the text for a screen reader.

    >>> text = svg(new_figure(2, 1), "empty", "Nothing is drawn")
    >>> print(text[:61])
    <svg class="drawing" role="img" aria-label="Nothing is drawn"
    >>> print(text.split('"')[5])
    Nothing is drawn
    """
    target = io.StringIO()
    with warnings.catch_warnings():  # the browser has the font of a name that matplotlib's lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            target, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    width, height = figure.get_size_inches() * 96
    return Markup(_cleaned(target.getvalue(), name, alt, round(width), round(height)))


def _cleaned(text: str, name: str, alt: str, width: int, height: int) -> str:
    """Leaves out what inline SVG doesn't need (prolog, metadata, group names, fonts); prefixes the ids."""
    view = re.search(r'viewBox="([^"]+)"', text)
    assert view is not None
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", body)
    prefix = re.sub(r"[^a-z0-9-]", "-", name.lower())
    if prefix != name.lower():  # two names of other letters must not become one
        prefix += f"-{digest(name)[:6]}"
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    opening = (
        f'<svg class="drawing" role="img" aria-label="{escape(alt)}" viewBox="{view[1]}"'
        f' style="width:{width}px;aspect-ratio:{width}/{height}">'
    )
    return opening + body.strip()


def finish(axes: "Axes", title: str, x: str, y: str) -> None:
    """Title and names of both axes.

    >>> axes = new_figure().subplots()
    >>> finish(axes, "Loss", "epoch", "nats")
    >>> axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
    ('Loss', 'epoch', 'nats')
    """
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def logarithmic(axes: "Axes", subs: tuple[float, ...] = (1.0,)) -> None:
    """A logarithmic y axis with plain numbers at each power of ten, times `subs`.

    >>> axes = new_figure().subplots()
    >>> logarithmic(axes)
    >>> axes.get_yscale()
    'log'
    """
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()


def share_axes(axes: "Axes") -> None:
    """Both axes from 0 to 1, square, with a little room so that a curve along the edge is seen whole.

    >>> axes = new_figure().subplots()
    >>> share_axes(axes)
    >>> [text.get_text() for text in axes.get_xticklabels()]
    ['0', '0.25', '0.5', '0.75', '1']
    """
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


# -- shortcuts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value, its interval if there is one, and whether it is drawn black."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    strong: bool = False


@in_style
def auroc_bars(bars: Sequence[Bar], title: str, name: str) -> Markup:
    """AUROC of each shortcut as a bar from 0.5 (guessing) to 1, with its interval; strong bars are black.

    >>> bars = [Bar("contrast", 0.7, 0.6, 0.8), Bar("all together", 0.8, strong=True)]
    >>> print(auroc_bars(bars, "pneumonia against normal", "shortcuts").split('"')[5])
    AUROC of shortcuts, pneumonia against normal: contrast 0.70, all together 0.80
    """
    figure = new_figure(4.7, 0.75 + 0.27 * len(bars))
    axes = figure.subplots()
    places = np.arange(len(bars))[::-1]
    for place, bar in zip(places, bars, strict=True):
        colour = INK if bar.strong else "#9aa1ab"
        axes.barh(place, bar.value - 0.5, left=0.5, height=0.62, color=colour)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [place, place], color="#d1242f", linewidth=1.2)
        edge = max(bar.value, bar.high or 0, 0.5)
        axes.text(edge + 0.008, place, f"{bar.value:.2f}", va="center", fontsize=8.5)
    axes.set_yticks(places, [bar.name for bar in bars])
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.set_xlim(min([0.48, *(bar.low - 0.01 for bar in bars if bar.low is not None)]), 1.05)
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["0.5", "0.6", "0.7", "0.8", "0.9", "1"])
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    finish(axes, title, f"{metric('auroc').name} (0.5 is guessing)", "")
    spoken = ", ".join(f"{bar.name} {bar.value:.2f}" for bar in bars)
    return svg(figure, name, f"AUROC of shortcuts, {title}: {spoken}")
