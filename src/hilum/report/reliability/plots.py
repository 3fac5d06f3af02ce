"""Drawings of the reliability section: calibration before and after, net benefit, coverage, risk."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from hilum.artifacts.curves import Bin
from hilum.artifacts.reliability import Conformal, DecisionCurve, SelectiveFigures, SetKind
from hilum.report.figures import FAINT, INK, Look, finish, in_style, look, new_figure, share_axes, svg

CURVES = {
    "probability": ("probability", "#000000", "-"),
    "margin": ("margin", "#0072B2", "--"),
    "entropy": ("entropy", "#56B4E9", ":"),
    "ensemble": ("several models", "#CC79A7", "--"),
    "mc_dropout": ("dropout", "#E69F00", "-."),
    "views": ("several views", "#D55E00", "-"),
    "anomaly": ("anomaly score", "#009E73", "--"),
}
"""Name, colour and line of each confidence score."""


@in_style
def before_and_after(
    before: Sequence[Bin], after: Sequence[Bin], looks: Look, title: str, name: str
) -> Markup:
    """Observed share against stated probability: hollow before, filled with intervals after.

    >>> bins = [Bin(lowest=0.7, highest=0.9, probability=0.8, observed=0.5, low=0.4, high=0.6, k=50, n=100)]
    >>> print(before_and_after(bins, bins, look("virus", []), "virus", "calibration").split('"')[5])
    Reliability diagram, virus: largest gap of a group 0.30 before, 0.30 after
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    axes.plot(
        [group.probability for group in before],
        [group.observed for group in before],
        looks.marker,
        markersize=5.5,
        markerfacecolor="white",
        markeredgecolor=FAINT,
        label="before",
    )
    observed = np.array([group.observed for group in after])
    low, high = np.array([group.low for group in after]), np.array([group.high for group in after])
    axes.errorbar(
        [group.probability for group in after],
        observed,
        yerr=np.clip([observed - low, high - observed], 0, None),
        fmt=looks.marker,
        color=looks.colour,
        markersize=5,
        elinewidth=1.2,
        label="after",
    )
    share_axes(axes)
    finish(axes, title, "stated probability", "observed share")
    axes.legend(loc="upper left")
    gaps = [max(abs(group.probability - group.observed) for group in bins) for bins in (before, after)]
    return svg(
        figure,
        name,
        f"Reliability diagram, {title}: largest gap of a group {gaps[0]:.2f} before, {gaps[1]:.2f} after",
    )


@in_style
def net_benefits(curve: DecisionCurve, name: str) -> Markup:
    """Net benefit over thresholds: the model with its band, treating everybody, treating nobody.

    >>> curve = DecisionCurve(at=[0.2, 0.5], model=[0.4, 0.3], low=[0.3, 0.2], high=[0.5, 0.4], treat_all=[0.4, 0],
    ...     gain=[0, 0.3], gain_low=[-0.1, 0.2], gain_high=[0.1, 0.4], shown=[False, True],
    ...     share_abnormal=0.5)
    >>> print(net_benefits(curve, "benefit").split('"')[5])
    Decision curve: at a threshold of 0.5 the model&#39;s net benefit is 0.300, treating everybody 0.000
    """
    figure = new_figure(4.4)
    axes = figure.subplots()
    at = np.array(curve.at)
    axes.axhline(0, color=FAINT, linewidth=0.9)
    axes.plot(at, curve.treat_all, "--", color="#0072B2", linewidth=1.2, label="treat everybody")
    axes.fill_between(at, curve.low, curve.high, color="#D55E00", alpha=0.22, linewidth=0)
    axes.plot(at, curve.model, color="#D55E00", label="treat by the model")
    top = max(curve.model)
    axes.set(xlim=(0, 1), ylim=(-0.12 * top - 0.02, 1.12 * top + 0.01))
    axes.text(0.99, 0.005 * top, "treat nobody", ha="right", va="bottom", fontsize=8, color=FAINT)
    finish(
        axes,
        "Net benefit",
        "probability from which an image is treated as abnormal",
        "true positives per image, net",
    )
    axes.legend(loc="lower left")
    middle = int(np.argmin(np.abs(at - 0.5)))
    return svg(
        figure,
        name,
        f"Decision curve: at a threshold of 0.5 the model's net benefit is {curve.model[middle]:.3f},"
        f" treating everybody {curve.treat_all[middle]:.3f}",
    )


@in_style
def coverages(conformal: Conformal, classes: Sequence[str], name: str) -> Markup:
    """Coverage of the sets: all images and each class, both kinds, the nominal coverage as a line.

    >>> from types import SimpleNamespace
    >>> from hilum.artifacts.reliability import Coverage, FittedSets
    >>> share = Coverage(value=0.9, binomial=(0.85, 0.95))
    >>> sets = FittedSets.model_construct(figures=SimpleNamespace(coverage=share, per_class={"virus": share}))
    >>> conformal = Conformal.model_construct(alpha=0.1, marginal=sets, class_conditional=sets)
    >>> print(coverages(conformal, ["virus"], "sets").split('"')[5])
    Coverage of the conformal sets: 0.900 of images, nominal 0.9
    """
    figure = new_figure(4.4)
    axes = figure.subplots()
    axes.axvline(conformal.nominal, color=INK, linewidth=0.9, linestyle=":")
    names = ["all images", *classes]
    low = 1.0
    kinds: tuple[tuple[SetKind, float, bool], ...] = (
        ("class_conditional", 0.17, True),
        ("marginal", -0.17, False),
    )
    for kind, shift, filled in kinds:
        figures = conformal.kind(kind).figures
        rows = [figures.coverage, *(figures.per_class[each] for each in classes)]
        for place, (label, row) in enumerate(zip(names, rows, strict=True)):
            looks = Look(INK, "o") if not place else look(label, classes)
            y = len(names) - 1 - place + shift
            axes.plot(row.binomial, [y, y], color=looks.colour, linewidth=1.4)
            axes.plot(
                [np.nan if row.value is None else row.value],
                [y],
                looks.marker,
                color=looks.colour,
                markerfacecolor=looks.colour if filled else "white",
                markersize=6,
            )
            low = min(low, row.binomial[0])
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set(xlim=(max(0.0, low - 0.03), 1.005), ylim=(-0.6, len(names) - 0.4))
    axes.grid(axis="y", visible=False)
    finish(axes, "Sets that hold the true class", "share of images; filled: fitted by class", "")
    shown = conformal.class_conditional.figures.coverage.value
    return svg(
        figure,
        name,
        f"Coverage of the conformal sets: {shown:.3f} of images, nominal {conformal.nominal:g}",
    )


def risks(selective: Mapping[str, SelectiveFigures], name: str) -> list[Markup]:
    """Errors among the images answered, against the share answered: a panel for each set of images.

    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.reliability import RiskCurve
    >>> curve = RiskCurve(coverage=[0.5, 1], risk=[0, 0.1], low=[0, 0.05], high=[0.1, 0.2])
    >>> scores = {"probability": SelectiveFigures.model_construct(n_cases=20, aurc=Figure(value=0.03), curve=curve)}
    >>> [drawing.split('"')[5].striptags() for drawing in risks(scores, "risk")]
    ['Risk against coverage, 20 images; areas under the curves: probability 0.0300']
    """
    everything = selective["probability"].n_cases
    sizes = sorted({block.n_cases for block in selective.values()}, reverse=True)
    return [
        _risk_panel(
            {score: block for score, block in selective.items() if block.n_cases == size},
            size,
            size == everything,
            f"{name}-{size}",
        )
        for size in sizes
    ]


@in_style
def _risk_panel(scores: Mapping[str, SelectiveFigures], size: int, whole: bool, name: str) -> Markup:
    figure = new_figure(4.2)
    axes = figure.subplots()
    first = next(iter(scores.values()))
    grid = 100 * np.array(first.curve.coverage)
    if whole:
        axes.fill_between(
            grid, _percent(first.curve.low), _percent(first.curve.high), color=INK, alpha=0.13, linewidth=0
        )
    else:
        label, colour, line = CURVES["probability"]
        axes.plot(
            grid, _percent(first.probability_risk or []), line, color=colour, label=label, linewidth=1.5
        )
    for score, block in scores.items():
        label, colour, line = CURVES.get(score, (score, FAINT, "-"))
        axes.plot(grid, _percent(block.curve.risk), line, color=colour, label=label, linewidth=1.5)
    axes.set(xlim=(0, 101), ylim=(0, None))
    title = f"Risk and coverage, {'all ' if whole else ''}{size:,} images"
    finish(axes, title, "images answered, most confident first, %", "errors among them, %")
    axes.legend(loc="upper left")
    areas = ", ".join(f"{score} {block.aurc.value:.4f}" for score, block in scores.items())
    return svg(figure, name, f"Risk against coverage, {size} images; areas under the curves: {areas}")


def _percent(values: Sequence[float | None]) -> np.ndarray:
    return 100 * np.array([np.nan if value is None else value for value in values])
