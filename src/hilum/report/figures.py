"""Drawings for the report: matplotlib without pyplot, turned into inline SVG that a page can hold many of.

Text stays text (it can be searched, and takes the page's font); ids get the drawing's own prefix so that two
drawings on one page never share a clip path; the same numbers give the same bytes. Every function returns one
small panel: panels stand side by side on a wide page and below each other on a narrow one.

Colours of the classes are those of Okabe and Ito (2008), which colour-blind readers can tell apart; each
class has a marker of its own as well, for print in grey.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

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
    "text.parse_math": False,  # a class may be called $x$
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
SPARE_LOOKS = (Look("#E69F00", "v"), Look("#56B4E9", "P"), Look("#000000", "X"), Look("#7A6A00", "h"))


def look(name: str, classes: Sequence[str]) -> Look:
    """The look of class `name`; classes not known here get the spare ones, in the order of `classes`.

    >>> look("virus", ["normal", "virus"]).colour, look("covid", ["normal", "covid"]).marker
    ('#0072B2', 'v')
    """
    if name in LOOKS:
        return LOOKS[name]
    others = [known for known in classes if known not in LOOKS]
    return SPARE_LOOKS[others.index(name) % len(SPARE_LOOKS)]


@dataclass(frozen=True)
class Band:
    """A curve with its interval: `y` at `x`, and `low` to `high` at the points `grid`."""

    x: np.ndarray
    y: np.ndarray
    grid: np.ndarray
    low: np.ndarray
    high: np.ndarray


# -- drawing and cleaning ----------------------------------------------------------------------------------


def in_style(draw: Callable[P, Markup]) -> Callable[P, Markup]:
    """Runs a drawing function with the report's style, and leaves matplotlib's own settings as they were."""

    @wraps(draw)
    def styled(*args: P.args, **named: P.kwargs) -> Markup:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **named)

    return styled


def new_figure(width: float = PANEL[0], height: float = PANEL[1]) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def svg(figure: "Figure", name: str, alt: str) -> Markup:
    """The figure as inline SVG. `name` must be unique on the page; `alt` is what a blind reader hears."""
    target = io.StringIO()
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
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    opening = (
        f'<svg class="drawing" role="img" aria-label="{escape(alt)}" viewBox="{view[1]}"'
        f' style="width:{width}px;aspect-ratio:{width}/{height}">'
    )
    return opening + body.strip()


def _finish(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _logarithmic(axes: "Axes", subs: tuple[float, ...] = (1.0,)) -> None:
    """A logarithmic y axis with plain numbers at each power of ten, times `subs`."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()


def _share_axes(axes: "Axes") -> None:
    """Both axes from 0 to 1, square, with a little room so that a curve along the edge is seen whole."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


# -- training ----------------------------------------------------------------------------------------------


@in_style
def training_curve(history: pd.DataFrame, key: str, best: int | None, name: str) -> Markup:
    """Loss or accuracy over epochs: training dashed grey, validation black, the best epoch marked.

    `history`: one row per epoch with `epoch`, `train_<key>`, `val_<key>`; a missing column is left out.
    """
    title, unit = {
        "loss": ("Loss", "loss, nats per image"),
        "accuracy": ("Accuracy", "images named correctly, %"),
    }[key]
    scale = 100.0 if key == "accuracy" else 1.0
    figure = new_figure()
    axes = figure.subplots()
    last: dict[str, float] = {}
    for split, colour, dashes in (("train", FAINT, "--"), ("val", INK, "-")):
        column = f"{split}_{key}"
        if column in history and history[column].notna().any():
            label = {"train": "training", "val": "validation"}[split]
            values = scale * history[column]
            axes.plot(history["epoch"], values, dashes, color=colour, label=label, marker=".", markersize=4)
            last[label] = float(values.iloc[-1])
    _mark_best(axes, history, f"val_{key}", scale, best)
    _epoch_axis(axes, history)
    _finish(axes, title, "epoch", unit)
    axes.legend(loc="best")
    ends = ", ".join(f"{label} {value:.3g}" for label, value in last.items())
    marked = f"; best epoch {best}" if best else ""
    return svg(figure, name, f"{title} over {len(history)} epochs; at the end {ends}{marked}")


@in_style
def learning_rate_curve(history: pd.DataFrame, best: int | None, name: str) -> Markup:
    """The learning rate over epochs, on a logarithmic axis."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(history["epoch"], history["learning_rate"], "-", color=INK, marker=".", markersize=4)
    positive = history["learning_rate"][history["learning_rate"] > 0]
    if len(positive):
        _logarithmic(axes, (1.0, 2.0, 5.0))
        axes.set_ylim(positive.min() / 1.6, positive.max() * 1.6)
    if best:
        axes.axvline(best, color=FAINT, linewidth=0.9, linestyle=":")
    _epoch_axis(axes, history)
    _finish(axes, "Learning rate", "epoch", "step size at the epoch's end")
    low, high = history["learning_rate"].min(), history["learning_rate"].max()
    return svg(figure, name, f"Learning rate over {len(history)} epochs, from {low:.2g} to {high:.2g}")


def _mark_best(axes: "Axes", history: pd.DataFrame, column: str, scale: float, best: int | None) -> None:
    rows = history.loc[history["epoch"] == best]
    if best is None or rows.empty:
        return
    axes.axvline(best, color=FAINT, linewidth=0.9, linestyle=":")
    if column in rows and rows[column].notna().all():
        value = scale * float(rows[column].iloc[0])
        label = f"kept: epoch {best}"
        axes.plot(
            [best], [value], "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, label=label
        )


def _epoch_axis(axes: "Axes", history: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = int(history["epoch"].min()), int(history["epoch"].max())
    axes.set_xlim(first - 0.04 * (last - first) - 0.2, last + 0.04 * (last - first) + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


# -- operating curves --------------------------------------------------------------------------------------


@in_style
def roc(
    curve: Band,
    looks: Look,
    title: str,
    area: str,
    point: tuple[float, float],
    name: str,
    corner: bool = False,
) -> Markup:
    """Sensitivity against 1 − specificity with its band. `point` is (1 − specificity, sensitivity) as used.
    With `corner` only the upper left quarter of both axes, where good curves crowd."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    _draw_band(axes, curve, looks, steps=False)
    if not corner or (point[0] <= 0.25 and point[1] >= 0.75):
        _draw_point(axes, point, looks)
    _share_axes(axes)
    if corner:
        axes.set(xlim=(-0.005, 0.255), ylim=(0.745, 1.005))
        axes.set_xticks([0, 0.05, 0.1, 0.15, 0.2, 0.25], ["0", "0.05", "0.1", "0.15", "0.2", "0.25"])
        axes.set_yticks([0.75, 0.8, 0.85, 0.9, 0.95, 1], ["0.75", "0.8", "0.85", "0.9", "0.95", "1"])
    else:
        axes.text(0.98, 0.04, f"AUROC {area}", ha="right", va="bottom", fontsize=9)
    _finish(axes, title, "1 − specificity", "sensitivity")
    used = f"; used at sensitivity {point[1]:.3f}, specificity {1 - point[0]:.3f}"
    return svg(figure, name, f"ROC curve, {title}: AUROC {area}{used}")


@in_style
def precision_recall(
    curve: Band,
    looks: Look,
    title: str,
    area: str,
    share: float,
    point: tuple[float, float] | None,
    name: str,
) -> Markup:
    """Precision against recall with its band. `share` of the class: what guessing gives. `point`: (recall,
    precision) as used; None where nothing was given the name."""
    figure = new_figure()
    axes = figure.subplots()
    axes.axhline(share, color=FAINT, linewidth=0.8, linestyle=":")
    _draw_band(axes, curve, looks, steps=True)
    _draw_point(axes, point, looks)
    _share_axes(axes)
    _finish(axes, title, "recall (sensitivity)", "precision")
    below = share > 0.15  # where there is room below the line of guessing
    axes.text(0.02, 0.03 if below else 0.5, f"average precision {area}", va="bottom", fontsize=9)
    axes.text(0.02, share + 0.015, f"guessing: {share:.2f}", va="bottom", fontsize=8, color=FAINT)
    return svg(
        figure, name, f"Precision-recall curve, {title}: average precision {area}; guessing {share:.3f}"
    )


def _draw_band(axes: "Axes", curve: Band, looks: Look, steps: bool) -> None:
    axes.fill_between(curve.grid, curve.low, curve.high, color=looks.colour, alpha=0.22, linewidth=0)
    style = "steps-pre" if steps else "default"
    axes.plot(curve.x, curve.y, color=looks.colour, drawstyle=style)


def _draw_point(axes: "Axes", point: tuple[float, float] | None, looks: Look) -> None:
    if point is None:
        return
    axes.plot(
        *([value] for value in point),
        looks.marker,
        markersize=8,
        markerfacecolor="white",
        markeredgecolor=looks.colour,
        markeredgewidth=1.8,
        clip_on=False,
    )


# -- probabilities -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """Images with similar stated probabilities: their mean, the share that has the class, its interval, n."""

    stated: float
    observed: float
    low: float
    high: float
    n: int


@in_style
def reliability(bins: Sequence[Bin], looks: Look, title: str, name: str) -> Markup:
    """Observed share against stated probability, each group of images with its interval."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    observed = np.array([item.observed for item in bins])
    below = observed - np.array([item.low for item in bins])
    above = np.array([item.high for item in bins]) - observed
    axes.errorbar(
        [item.stated for item in bins],
        observed,
        yerr=np.clip([below, above], 0, None),
        fmt=looks.marker,
        color=looks.colour,
        markersize=5,
        elinewidth=1.2,
    )
    _share_axes(axes)
    _finish(axes, title, "stated probability", "observed share")
    worst = max(bins, key=lambda item: abs(item.stated - item.observed))
    alt = (
        f"Reliability diagram, {title}: {len(bins)} groups; largest gap where {worst.stated:.2f} was stated"
        f" and {worst.observed:.2f} observed in {worst.n} images"
    )
    return svg(figure, name, alt)


@in_style
def score_histogram(
    scores: dict[str, np.ndarray], classes: Sequence[str], positive: str, threshold: float | None, name: str
) -> Markup:
    """How many images of each class got which probability of `positive`: a row per class, logarithmic."""
    figure = new_figure()
    rows = figure.subplots(len(classes), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges = np.linspace(0, 1, 21)
    for axes, label in zip(rows, classes, strict=True):
        counts, _ = np.histogram(scores[label], edges)
        axes.bar(edges[:-1], counts, width=0.05, align="edge", color=look(label, classes).colour, alpha=0.8)
        _logarithmic(axes)
        axes.set_ylim(0.7, 4.0 * max(len(scores[name]) for name in classes))
        axes.set_ylabel("images")
        axes.text(
            0.5,
            0.93,
            f"labelled {label}",
            ha="center",
            va="top",
            transform=axes.transAxes,
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=0.9, linestyle="--")
    rows[0].set_title("Stated probabilities")
    rows[-1].set_xlim(-0.01, 1.01)
    rows[-1].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    rows[-1].set_xlabel(f"stated probability of {positive}")
    medians = ", ".join(f"{label} {np.median(scores[label]):.3f}" for label in classes if len(scores[label]))
    cut = f"; threshold {threshold:.3f}" if threshold is not None else ""
    return svg(figure, name, f"Stated probability of {positive} by label; medians: {medians}{cut}")


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
    """AUROC of each shortcut as a bar from 0.5 (guessing) to 1, with its interval; strong bars are black."""
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
    axes.set_xlim(min(0.48, *(bar.low - 0.01 for bar in bars if bar.low is not None)), 1.05)
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["0.5", "0.6", "0.7", "0.8", "0.9", "1"])
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _finish(axes, title, f"{metric('auroc').name} (0.5 is guessing)", "")
    spoken = ", ".join(f"{bar.name} {bar.value:.2f}" for bar in bars)
    return svg(figure, name, f"AUROC of shortcuts, {title}: {spoken}")
