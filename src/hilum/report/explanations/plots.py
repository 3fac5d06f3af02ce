"""Drawings of the section."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import ProbeRow
from hilum.report.figures import FAINT, INK, in_style, new_figure, svg
from hilum.report.wording import digits, plural

NAMED = 7
"""Up to so many filters have a line with a name."""


@in_style
def probe_curve(rows: Sequence[ProbeRow], head: Figure, name: str) -> Markup:
    """Accuracy of a linear probe over the layers in their order, with its interval.

    >>> row = ProbeRow(layer="features.3", width=16, accuracy=Figure(value=0.8, low=0.7, high=0.9))
    >>> print(probe_curve([row], Figure(value=0.9), "probes").split('"')[5])
    Accuracy of a linear probe by layer: features.3 80.0 %
    """
    figure = new_figure(5.2, 2.95)
    axes = figure.subplots()
    places = range(len(rows))
    values = [100 * (row.accuracy.value or 0.0) for row in rows]
    axes.plot(places, values, "-", color=INK, marker=".", markersize=6)
    for place, row in zip(places, rows, strict=True):
        low, high = row.accuracy.low, row.accuracy.high
        if low is not None and high is not None:
            axes.plot([place, place], [100 * low, 100 * high], color=INK, linewidth=0.9)
    axes.axhline(
        100 * (head.value or 0.0), color=INK, linewidth=0.8, linestyle=":", label="the network itself"
    )
    axes.legend(loc="lower right")
    axes.set_xticks(list(places), [row.layer for row in rows], rotation=35, ha="right", fontsize=7.5)
    axes.set_title("Linear probe by layer")
    axes.set_ylabel("accuracy, %")
    spoken = ", ".join(f"{row.layer} {value:.1f} %" for row, value in zip(rows, values, strict=True))
    return svg(figure, name, f"Accuracy of a linear probe by layer: {spoken}")


@in_style
def ascent_curves(activation: np.ndarray, filters: np.ndarray, title: str, name: str) -> Markup:
    """The mean activation "filters steps+1" of each filter over the steps; one line per filter.

    >>> drawing = ascent_curves(np.array([[0.0, 1.0, 3.0]]), np.array([7]), "Plain ascent", "ascent")
    >>> print(drawing.split('"')[5].replace("\\xa0", " "))
    Plain ascent: activation of 1 filter over 2 steps, from 0 to 3 on average
    """
    figure = new_figure()
    axes = figure.subplots()
    steps = np.arange(activation.shape[1])
    thin = len(filters) > NAMED
    for row, which in zip(activation, filters, strict=True):
        if thin:
            axes.plot(steps, row, color=FAINT, linewidth=0.7, alpha=0.7)
        else:
            axes.plot(steps, row, linewidth=1.2, label=str(int(which)))
    top, start = float(np.abs(activation).max()), max(float(np.abs(activation[:, 0]).max()), 1e-6)
    if top > 100 * start:  # plain ascent without limits: powers of ten, straight between -start and start
        power = int(np.ceil(np.log10(start)))
        axes.set_yscale("symlog", linthresh=10.0**power, linscale=0.5)
        powers = range(power, int(np.log10(top)) + 1, max(1, int(np.log10(top / start)) // 4))
        axes.set_yticks(
            [0, *(10.0**power for power in powers)], ["0", *(digits(10.0**power) for power in powers)]
        )
        axes.minorticks_off()
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.set_ylabel("mean of the filter’s map")
    if not thin:
        axes.legend(title="filter", fontsize=7.5, title_fontsize=7.5, ncols=2, loc="best")
    ends = f"from {digits(float(activation[:, 0].mean()))} to {digits(float(activation[:, -1].mean()))} on average"
    return svg(
        figure,
        name,
        f"{title}: activation of {plural(len(filters), 'filter')} over {plural(len(steps) - 1, 'step')}, {ends}",
    )
