"""Drawings of the reliability section: calibration before and after, net benefit, coverage, risk."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hilum.report.figures import FAINT, INK, Look, in_style, look, new_figure, svg

Row = Mapping[str, Any]

CURVES = {
    "probability": ("probability", "#000000", "-"),
    "margin": ("margin", "#0072B2", "--"),
    "entropy": ("entropy", "#56B4E9", ":"),
    "ensemble": ("several models", "#CC79A7", "--"),
    "mc_dropout": ("dropout left on", "#E69F00", "-."),
    "views": ("several views", "#D55E00", "-"),
    "anomaly": ("anomaly score", "#009E73", "--"),
}
"""Name, colour and line of each way to be sure."""


@in_style
def before_and_after(
    before: Sequence[Row], after: Sequence[Row], looks: Look, title: str, name: str
) -> Markup:
    """Observed share against stated probability: hollow before, filled with intervals after."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    axes.plot(
        [one["probability"] for one in before],
        [one["observed"] for one in before],
        looks.marker,
        markersize=5.5,
        markerfacecolor="white",
        markeredgecolor=FAINT,
        label="before",
    )
    seen = np.array([one["observed"] for one in after])
    below, above = (np.array([one[end] for one in after]) for end in ("low", "high"))
    axes.errorbar(
        [one["probability"] for one in after],
        seen,
        yerr=np.clip([seen - below, above - seen], 0, None),
        fmt=looks.marker,
        color=looks.colour,
        markersize=5,
        elinewidth=1.2,
        label="after",
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_title(title)
    axes.set_xlabel("stated probability")
    axes.set_ylabel("observed share")
    axes.legend(loc="upper left")
    gaps = [max(abs(one["probability"] - one["observed"]) for one in bins) for bins in (before, after)]
    return svg(
        figure,
        name,
        f"Reliability diagram, {title}: largest gap of a group {gaps[0]:.2f} before, {gaps[1]:.2f} after",
    )


@in_style
def net_benefits(curve: Mapping[str, Any], name: str) -> Markup:
    """Net benefit over thresholds: the model with its band, treating everybody, treating nobody."""
    figure = new_figure(4.4)
    axes = figure.subplots()
    at = np.array(curve["at"])
    axes.axhline(0, color=FAINT, linewidth=0.9)
    axes.plot(at, curve["treat_all"], "--", color="#0072B2", linewidth=1.2, label="treat everybody")
    axes.fill_between(at, curve["low"], curve["high"], color="#D55E00", alpha=0.22, linewidth=0)
    axes.plot(at, curve["model"], color="#D55E00", label="treat by the model")
    top = max(curve["model"])
    axes.set(xlim=(0, 1), ylim=(-0.12 * top - 0.02, 1.12 * top + 0.01))
    axes.text(0.99, 0.005 * top, "treat nobody", ha="right", va="bottom", fontsize=8, color=FAINT)
    axes.set_title("Net benefit")
    axes.set_xlabel("probability from which an image is treated as abnormal")
    axes.set_ylabel("true positives per image, net")
    axes.legend(loc="lower left")
    middle = int(np.argmin(np.abs(at - 0.5)))
    return svg(
        figure,
        name,
        f"Decision curve: at a threshold of 0.5 the model's net benefit is {curve['model'][middle]:.3f},"
        f" treating everybody {curve['treat_all'][middle]:.3f}",
    )


@in_style
def coverages(conformal: Mapping[str, Any], classes: Sequence[str], name: str) -> Markup:
    """How often the sets hold the truth: all images and each class, both kinds, the promise as a line."""
    figure = new_figure(4.4)
    axes = figure.subplots()
    axes.axvline(1 - conformal["alpha"], color=INK, linewidth=0.9, linestyle=":")
    names = ["all images", *classes]
    low = 1.0
    for kind, shift, filled in (("class_conditional", 0.17, True), ("marginal", -0.17, False)):
        rows = [conformal[kind]["coverage"], *(conformal[kind]["per_class"][one] for one in classes)]
        for place, (label, row) in enumerate(zip(names, rows, strict=True)):
            looks = Look(INK, "o") if not place else look(label, classes)
            y = len(names) - 1 - place + shift
            axes.plot(row["binomial"], [y, y], color=looks.colour, linewidth=1.4)
            axes.plot(
                [row["value"]],
                [y],
                looks.marker,
                color=looks.colour,
                markerfacecolor=looks.colour if filled else "white",
                markersize=6,
            )
            low = min(low, row["binomial"][0])
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set(xlim=(max(0.0, low - 0.03), 1.005), ylim=(-0.6, len(names) - 0.4))
    axes.grid(axis="y", visible=False)
    axes.set_title("Answers that hold the truth")
    axes.set_xlabel("share of images; filled: fitted by class")
    shown = conformal["class_conditional"]["coverage"]["value"]
    return svg(
        figure,
        name,
        f"Coverage of the conformal sets: {shown:.3f} of images, promised {1 - conformal['alpha']:g}",
    )


def risks(selective: Mapping[str, Any], name: str) -> list[Markup]:
    """Mistakes among the images answered, against the share answered: a panel for each set of images."""
    everything = selective["probability"]["n_cases"]
    sizes = sorted({block["n_cases"] for block in selective.values()}, reverse=True)
    return [
        _risk_panel(
            {way: block for way, block in selective.items() if block["n_cases"] == size},
            size,
            size == everything,
            f"{name}-{size}",
        )
        for size in sizes
    ]


@in_style
def _risk_panel(ways: Mapping[str, Any], size: int, whole: bool, name: str) -> Markup:
    figure = new_figure(4.2)
    axes = figure.subplots()
    first = next(iter(ways.values()))
    grid = 100 * np.array(first["curve"]["coverage"])
    if whole:
        band = first["curve"]
        axes.fill_between(
            grid, _percent(band["low"]), _percent(band["high"]), color=INK, alpha=0.13, linewidth=0
        )
    else:
        label, colour, line = CURVES["probability"]
        axes.plot(grid, _percent(first["probability_risk"]), line, color=colour, label=label, linewidth=1.5)
    for way, block in ways.items():
        label, colour, line = CURVES.get(way, (way, FAINT, "-"))
        axes.plot(grid, _percent(block["curve"]["risk"]), line, color=colour, label=label, linewidth=1.5)
    axes.set(xlim=(0, 101), ylim=(0, None))
    axes.set_title(f"Risk and coverage, {'all ' if whole else ''}{size:,} images")
    axes.set_xlabel("images answered, surest first, %")
    axes.set_ylabel("of these answered wrongly, %")
    axes.legend(loc="upper left")
    areas = ", ".join(f"{way} {block['aurc']['value']:.4f}" for way, block in ways.items())
    return svg(figure, name, f"Risk against coverage, {size} images; areas under the curves: {areas}")


def _percent(values: Sequence[float | None]) -> np.ndarray:
    return 100 * np.array([np.nan if one is None else one for one in values])
