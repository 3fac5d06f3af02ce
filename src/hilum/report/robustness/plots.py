"""Drawings of the robustness section: panels by severity, the learning curve, confidence by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.artifacts.robustness import CurvePoint, LabelEfficiency, UnseenClass
from hilum.report.figures import FAINT, in_style, look, new_figure, svg
from hilum.report.stated import value_text
from hilum.report.wording import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

Style = tuple[str, str, str]
"""Colour (Okabe and Ito), marker and line of a curve."""

ACCURACY, ERROR = ("#0072B2", "o", "-"), ("#D55E00", "s", "--")
CLEAN, CORRUPTED = ("#0072B2", "o", "-"), ("#009E73", "^", "--")

WAYS = {
    "scratch": ("from random weights", ("#0072B2", "o", "-")),
    "pretrained": ("after SimSiam without labels", ("#D55E00", "s", "--")),
    "knn": ("kNN on SimSiam’s vectors", ("#009E73", "^", ":")),
}
"""Name for readers and style of each way to use few labels."""

PANEL = (2.45, 1.95)
"""Inches."""


@dataclass(frozen=True)
class Curve:
    """One curve of a panel: what it shows, its style, and a figure per severity."""

    name: str
    style: Style
    figures: Sequence[Figure]


@in_style
def panel(
    curves: Sequence[Curve], severities: Sequence[int], title: str, majority: float, name: str
) -> Markup:
    """Curves in percent over severities 0 to 5, each with its band. The dotted line is the share of the most
    frequent class.

    >>> curve = Curve("accuracy", ACCURACY, [Figure(value=0.9), Figure(value=0.6, low=0.5, high=0.7)])
    >>> print(panel([curve], [0, 5], "Noise", 0.5, "noise").split('"')[5].replace("\\xa0", " "))
    Noise. severity 0: accuracy 90.0 %; severity 5: accuracy 60.0 %
    """
    drawing, axes = _frame(title, majority)
    for curve in curves:
        _draw(axes, severities, curve.figures, curve.style)
    spoken = "; ".join(
        f"severity {severity}: "
        + ", ".join(f"{curve.name} {value_text(curve.figures[place])}" for curve in curves)
        for place, severity in enumerate(severities)
    )
    return svg(drawing, name, f"{title}. {spoken}")


@in_style
def learning_curve(result: LabelEfficiency, spoken: str) -> Markup:
    """Accuracy in percent against labelled patients on a logarithmic axis, with a band for each way.

    >>> figures = {"accuracy": Figure(value=0.8), "auroc": Figure(value=0.9)}
    >>> point = CurvePoint(fraction=0.1, patients=9, images=10, seeds=[0.8], **figures)
    >>> result = LabelEfficiency.model_construct(majority=0.6, curve=dict.fromkeys(WAYS, [point]))
    >>> print(learning_curve(result, "Accuracy 80 % with labels of 9 patients.").split('"')[5])
    Learning curve. Accuracy 80 % with labels of 9 patients.
    """
    drawing = new_figure(5.6, 3.3)
    axes = drawing.subplots()
    axes.axhline(100 * result.majority, color=FAINT, linewidth=0.9, linestyle=":")
    patients = [point.patients for point in result.curve["scratch"]]
    for way, (title, style) in WAYS.items():
        points: list[CurvePoint] = result.curve[way]
        _draw(axes, patients, [point.accuracy for point in points], style, title)
    axes.set_xscale("log")
    axes.set_xticks(patients, [count(value) for value in patients])
    axes.minorticks_off()
    axes.set(
        xlabel="labelled patients", ylabel="accuracy, %", title="Accuracy by number of labelled patients"
    )
    axes.legend(loc="lower right")
    return svg(drawing, "label-efficiency", f"Learning curve. {spoken}")


@in_style
def confidence_histogram(result: UnseenClass) -> Markup:
    """The maximum probability, a row per class, the unseen one last; shares of the class's images.

    >>> result = UnseenClass.model_construct(classes=["normal", "bacteria"], unseen="virus",
    ...     confidence={"normal": [0.9], "bacteria": [0.8], "virus": [0.6, 0.7]})
    >>> print(confidence_histogram(result).split('"')[5])
    Maximum probability by class. Medians: normal 0.90, bacteria 0.80, virus 0.65
    """
    names = [*result.classes, result.unseen]
    drawing = new_figure(5.6, 0.7 + 0.9 * len(names))
    rows = drawing.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges = np.linspace(1 / len(result.classes), 1, 21)
    for axes, name in zip(rows, names, strict=True):
        confidence = result.confidence[name]
        shares = np.histogram(confidence, edges)[0] / max(1, len(confidence))
        colour = look(name, names).colour
        hatch = "///" if name == result.unseen else None
        axes.bar(edges[:-1], 100 * shares, np.diff(edges), align="edge", color=colour, alpha=0.8, hatch=hatch)
        axes.set_ylabel("images, %")
        label = f"{name}, not in training" if name == result.unseen else name
        axes.text(0.4, 0.9, label, transform=axes.transAxes, va="top", ha="center")
    rows[0].set_title("Confidence by class")
    rows[-1].set_xlabel("maximum probability")
    medians = ", ".join(
        f"{name} {np.median(result.confidence[name]):.2f}" for name in names if result.confidence[name]
    )
    return svg(drawing, "unseen-class", f"Maximum probability by class. Medians: {medians}")


def _frame(title: str, majority: float) -> "tuple[Drawing, Axes]":
    """An empty panel with the line of the most frequent class."""
    drawing = new_figure(*PANEL)
    axes = drawing.subplots()
    axes.axhline(100 * majority, color=FAINT, linewidth=0.9, linestyle=":")
    axes.set(xlim=(-0.2, 5.2), ylim=(-2, 102), xlabel="severity", ylabel="%")
    axes.set_xticks(range(6))
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_title(title)
    return drawing, axes


def _draw(
    axes: "Axes", x: Sequence[int], figures: Sequence[Figure], style: Style, label: str | None = None
) -> None:
    """A curve in percent with its band; a gap where a figure does not exist."""
    colour, marker, line = style
    values = [_percent(figure.value) for figure in figures]
    low = [_percent(figure.value if figure.low is None else figure.low) for figure in figures]
    high = [_percent(figure.value if figure.high is None else figure.high) for figure in figures]
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, values, line, color=colour, marker=marker, markersize=4.5, label=label)


def _percent(value: float | None) -> float:
    return float("nan") if value is None else 100 * value
