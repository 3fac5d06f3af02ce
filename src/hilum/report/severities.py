"""Small multiples for missing pixels: a panel per corruption, accuracy and calibration error by severity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hilum.report.figures import FAINT, in_style, new_figure, svg
from hilum.report.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE, SPOILT = ("#0072B2", "o", "-"), ("#009E73", "^", "--")
ACCURACY, ERROR = ("#0072B2", "o", "-"), ("#D55E00", "s", "--")
"""Colour (Okabe and Ito), marker and line of two curves: trained on whole images or with corrupted ones among
them; accuracy and calibration error."""

PANEL = (2.45, 1.95)


@dataclass(frozen=True)
class Point:
    """The figures at one severity: entries with value and, where there are any, low and high. `change`: of
    the accuracy, paired; empty at severity 0."""

    severity: int
    accuracy: dict[str, Any]
    error: dict[str, Any]
    change: dict[str, Any]


@in_style
def panel(points: Sequence[Point], title: str, guessing: float, name: str) -> Markup:
    """Accuracy and calibration error in percent, each with its band, over severities 0 to 5. The dotted
    line is what naming the commonest class earns."""
    figure, axes = _frame(title, guessing)
    severities = [point.severity for point in points]
    _curve(axes, severities, [point.accuracy for point in points], ACCURACY)
    _curve(axes, severities, [point.error for point in points], ERROR)
    spoken = "; ".join(
        f"severity {point.severity}: accuracy {percent(point.accuracy.get('value'))}, calibration error"
        f" {percent(point.error.get('value'))}"
        for point in points
    )
    return svg(figure, name, f"{title}. {spoken}")


@in_style
def pair(points: Sequence[tuple[int, dict[str, Any]]], title: str, guessing: float, name: str) -> Markup:
    """Accuracy in percent of a network trained on whole images and of one trained with corrupted images among
    them, each with its band. `points`: severity and entry of training.json."""
    figure, axes = _frame(title, guessing)
    severities = [severity for severity, _ in points]
    for way, style in (("whole", WHOLE), ("corrupted", SPOILT)):
        _curve(axes, severities, [point[way]["accuracy"] for _, point in points], style)
    spoken = "; ".join(
        f"severity {severity}: {percent(point['whole']['accuracy']['value'])} trained on whole images,"
        f" {percent(point['corrupted']['accuracy']['value'])} with corrupted ones among them"
        for severity, point in points
    )
    return svg(figure, name, f"{title}. {spoken}")


def _frame(title: str, guessing: float) -> "tuple[Figure, Axes]":
    """An empty panel with the line of guessing."""
    figure = new_figure(*PANEL)
    axes = figure.subplots()
    axes.axhline(100 * guessing, color=FAINT, linewidth=0.9, linestyle=":")
    axes.set(xlim=(-0.2, 5.2), ylim=(-2, 102), xlabel="severity", ylabel="%")
    axes.set_xticks(range(6))
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_title(title)
    return figure, axes


def _curve(
    axes: "Axes", x: Sequence[int], entries: Sequence[dict[str, Any]], style: tuple[str, str, str]
) -> None:
    colour, marker, line = style
    low, high = (
        [_percent(entry.get(key, entry.get("value"))) for entry in entries] for key in ("low", "high")
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    values = [_percent(entry.get("value")) for entry in entries]
    axes.plot(x, values, line, color=colour, marker=marker, markersize=4.5)


def _percent(value: float | None) -> float:
    return float("nan") if value is None else 100 * value
