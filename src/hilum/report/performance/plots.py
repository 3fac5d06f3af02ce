"""Drawings of the performance sections: training, ROC and precision-recall, calibration, probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.artifacts.curves import Bin, Curve
from hilum.report.figures import (
    FAINT,
    INK,
    Look,
    finish,
    in_style,
    logarithmic,
    look,
    new_figure,
    share_axes,
    svg,
)
from hilum.report.wording import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# -- training ----------------------------------------------------------------------------------------------


@in_style
def training_curve(history: pd.DataFrame, key: str, best: int | None, name: str) -> Markup:
    """Loss or accuracy over epochs: training dashed grey, validation black, the best epoch marked.

    `history`: one row per epoch with `epoch`, `train_<key>`, `val_<key>`; a missing column is left out.

    >>> history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.5], "val_loss": [0.8, 0.6]})
    >>> print(training_curve(history, "loss", 2, "loss").split('"')[5])
    Loss over 2 epochs; at the end training 0.5, validation 0.6; best epoch 2
    """
    title, unit = {
        "loss": ("Loss", "loss, nats per image"),
        "accuracy": ("Accuracy", "images classified correctly, %"),
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
    finish(axes, title, "epoch", unit)
    axes.legend(loc="best")
    ends = ", ".join(f"{label} {value:.3g}" for label, value in last.items())
    marked = f"; best epoch {best}" if best else ""
    return svg(figure, name, f"{title} over {len(history)} epochs; at the end {ends}{marked}")


@in_style
def learning_rate_curve(history: pd.DataFrame, best: int | None, name: str) -> Markup:
    """The learning rate over epochs, on a logarithmic axis.

    >>> history = pd.DataFrame({"epoch": [1, 2], "learning_rate": [0.1, 0.01]})
    >>> print(learning_rate_curve(history, None, "rate").split('"')[5])
    Learning rate over 2 epochs, from 0.01 to 0.1
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(history["epoch"], history["learning_rate"], "-", color=INK, marker=".", markersize=4)
    positive = history["learning_rate"][history["learning_rate"] > 0]
    if len(positive):
        logarithmic(axes, (1.0, 2.0, 5.0))
        axes.set_ylim(positive.min() / 1.6, positive.max() * 1.6)
    if best:
        axes.axvline(best, color=FAINT, linewidth=0.9, linestyle=":")
    _epoch_axis(axes, history)
    finish(axes, "Learning rate", "epoch", "step size at the epoch's end")
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
    curve: Curve,
    looks: Look,
    title: str,
    area: str,
    point: tuple[Figure, Figure],
    name: str,
    corner: bool = False,
) -> Markup:
    """Sensitivity against 1 − specificity with its band. `point` is (1 − specificity, sensitivity) as used.
    With `corner` only the upper left quarter of both axes, where good curves crowd.

    >>> curve = Curve(x=[0, 0, 1], y=[0, 1, 1], grid=[0, 1], low=[0.9, 1], high=[1, 1])
    >>> point = Figure(value=0.1), Figure(value=0.9)
    >>> print(roc(curve, look("virus", []), "virus against normal", "1.000", point, "roc").split('"')[5])
    ROC curve, virus against normal: AUROC 1.000; used at sensitivity 0.900, specificity 0.900
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    _draw_band(axes, curve, looks, steps=False)
    alarms, sensitivity = (figure.value or 0.0 for figure in point)
    if not corner or (alarms <= 0.25 and sensitivity >= 0.75):
        _draw_point(axes, point, looks)
    share_axes(axes)
    if corner:
        axes.set(xlim=(-0.005, 0.255), ylim=(0.745, 1.005))
        axes.set_xticks([0, 0.05, 0.1, 0.15, 0.2, 0.25], ["0", "0.05", "0.1", "0.15", "0.2", "0.25"])
        axes.set_yticks([0.75, 0.8, 0.85, 0.9, 0.95, 1], ["0.75", "0.8", "0.85", "0.9", "0.95", "1"])
    else:
        axes.text(0.98, 0.04, f"AUROC {area}", ha="right", va="bottom", fontsize=9)
    finish(axes, title, "1 − specificity", "sensitivity")
    used = f"; used at sensitivity {sensitivity:.3f}, specificity {1 - alarms:.3f}"
    return svg(figure, name, f"ROC curve, {title}: AUROC {area}{used}")


@in_style
def precision_recall(
    curve: Curve,
    looks: Look,
    title: str,
    area: str,
    share: float,
    point: tuple[Figure, Figure] | None,
    name: str,
) -> Markup:
    """Precision against recall with its band. `share` of the class: what guessing gives. `point`: (recall,
    precision) as used; None where no image was classified as the class.

    >>> curve = Curve(x=[0, 1], y=[1, 1], grid=[0, 1], low=[0.9, 0.9], high=[1, 1])
    >>> print(precision_recall(curve, look("virus", []), "virus", "1.000", 0.5, None, "pr").split('"')[5])
    Precision-recall curve, virus: average precision 1.000; guessing 0.500
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.axhline(share, color=FAINT, linewidth=0.8, linestyle=":")
    _draw_band(axes, curve, looks, steps=True)
    _draw_point(axes, point, looks)
    share_axes(axes)
    finish(axes, title, "recall (sensitivity)", "precision")
    below = share > 0.15  # where there is room below the line of guessing
    axes.text(0.02, 0.03 if below else 0.5, f"average precision {area}", va="bottom", fontsize=9)
    axes.text(0.02, share + 0.015, f"guessing: {share:.2f}", va="bottom", fontsize=8, color=FAINT)
    return svg(
        figure, name, f"Precision-recall curve, {title}: average precision {area}; guessing {share:.3f}"
    )


def _draw_band(axes: "Axes", curve: Curve, looks: Look, steps: bool) -> None:
    axes.fill_between(curve.grid, curve.low, curve.high, color=looks.colour, alpha=0.22, linewidth=0)
    style = "steps-pre" if steps else "default"
    axes.plot(curve.x, curve.y, color=looks.colour, drawstyle=style)


def _draw_point(axes: "Axes", point: tuple[Figure, Figure] | None, looks: Look) -> None:
    """The marker and the intervals of both its figures."""
    if point is None:
        return
    x, y = (figure.value or 0.0 for figure in point)
    for figure, line in ((point[0], lambda end: (end, y)), (point[1], lambda end: (x, end))):
        if figure.low is not None and figure.high is not None:
            ends = [line(figure.low), line(figure.high)]
            axes.plot(*zip(*ends, strict=True), color=looks.colour, linewidth=1)
    axes.plot(
        [x],
        [y],
        looks.marker,
        markersize=8,
        markerfacecolor="white",
        markeredgecolor=looks.colour,
        markeredgewidth=1.8,
        clip_on=False,
    )


# -- probabilities -----------------------------------------------------------------------------------------


@in_style
def reliability_diagram(bins: Sequence[Bin], looks: Look, title: str, name: str) -> Markup:
    """Observed share against stated probability, each group of images with its interval.

    >>> group = Bin(lowest=0.7, highest=0.9, probability=0.8, observed=0.5, low=0.4, high=0.6, k=50, n=100)
    >>> drawing = reliability_diagram([group], look("virus", []), "virus", "reliability")
    >>> print(drawing.split('"')[5].replace("\\xa0", " "))
    Reliability diagram, virus: 1 group; largest gap where 0.80 was stated and 0.50 observed in 100 images
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    observed = np.array([item.observed for item in bins])
    below = observed - np.array([item.low for item in bins])
    above = np.array([item.high for item in bins]) - observed
    axes.errorbar(
        [item.probability for item in bins],
        observed,
        yerr=np.clip([below, above], 0, None),
        fmt=looks.marker,
        color=looks.colour,
        markersize=5,
        elinewidth=1.2,
    )
    share_axes(axes)
    finish(axes, title, "stated probability", "observed share")
    worst = max(bins, key=lambda item: abs(item.probability - item.observed))
    alt = (
        f"Reliability diagram, {title}: {plural(len(bins), 'group')}; largest gap where"
        f" {worst.probability:.2f} was stated and {worst.observed:.2f} observed in {plural(worst.n, 'image')}"
    )
    return svg(figure, name, alt)


@in_style
def score_histogram(
    scores: dict[str, np.ndarray], classes: Sequence[str], positive: str, threshold: float | None, name: str
) -> Markup:
    """Number of images by probability of `positive`: a row per class, counts on a logarithmic axis.

    >>> scores = {"normal": np.array([0.1, 0.2]), "virus": np.array([0.7, 0.9])}
    >>> print(score_histogram(scores, ["normal", "virus"], "virus", 0.5, "scores").split('"')[5])
    Stated probability of virus by label; medians: normal 0.150, virus 0.800; threshold 0.500
    """
    figure = new_figure()
    rows = figure.subplots(len(classes), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges = np.linspace(0, 1, 21)
    for axes, label in zip(rows, classes, strict=True):
        counts, _ = np.histogram(scores[label], edges)
        axes.bar(edges[:-1], counts, width=0.05, align="edge", color=look(label, classes).colour, alpha=0.8)
        logarithmic(axes)
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
