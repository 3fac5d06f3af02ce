"""Faithfulness of a method's maps in words: what was measured over several images, and what it means. One image says
too little for a verdict (benchmarks/verdicts.py)."""

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import MethodFigures
from hilum.report.wording import number, plural

STEADY, SHAKY = 0.8, 0.5
"""Correlation of a map with itself when the image changes a little: steady above the first, not below the
second."""

SKEW = 1.4
"""By so much the lower half of the interval is longer for "hardly changes": correlations near 1 are skewed to the left,
and with Student's own interval a mean of just the limit is called steady in 6 to 8 % of sets
(benchmarks/verdicts.py)."""

INDEPENDENT = 0.5
"""A map that correlates at least so much with that of a network with random weights shows the image, not the
network (Adebayo et al., NeurIPS 2018)."""

ALPHA = 0.05
"""The p-value from which chance explains a difference."""


def matters(p_deletion: float | None, p_insertion: float | None) -> str:
    """Whether what the maps of a method mark matters to the network, by the p-values of their areas under the curves
    of deletion and insertion against maps that know nothing of the network; Holm's correction for the two.

    >>> matters(0.001, 0.04)
    'The marked pixels matter: removing them first lowers the probability sooner than maps without the network do.'
    """
    first, second = (1.0 if p is None else p for p in (p_deletion, p_insertion))
    if min(first, second) > ALPHA / 2:
        return "That the marked pixels matter is not shown: do not rely on this map."
    if max(first, second) <= ALPHA:
        return (
            "The marked pixels matter: removing them first lowers the probability sooner than maps without the"
            " network do."
        )
    if first < second:
        return (
            "Removing the marked pixels lowers the probability sooner than maps without the network do; that adding"
            " them raises it sooner is not shown."
        )
    return (
        "Adding the marked pixels raises the probability sooner than maps without the network do; that removing"
        " them lowers it sooner is not shown."
    )


def depends(correlation: Figure) -> str:
    """Whether the maps depend on what the network has learned, by their mean rank correlation with those of a
    network with random weights and its interval.

    >>> depends(Figure(value=0.1, low=0.0, high=0.2))
    'The map depends on the trained weights.'
    """
    low, high = _ends(correlation)
    if low >= INDEPENDENT:
        return "The map is similar with random weights: it shows the image, not the network."
    if high < INDEPENDENT:
        return "The map depends on the trained weights."
    return "That the map depends on the trained weights is not shown."


def steady(correlation: Figure) -> str:
    """Whether a change of the image that nobody would see changes the maps, by their mean rank correlation and its
    interval, whose lower half counts `SKEW` times.

    >>> steady(Figure(value=0.95, low=0.9, high=1.0)), steady(Figure(value=0.3, low=0.1, high=0.4))
    ('A little noise hardly changes it.', 'A little noise changes it: consider large areas only.')
    >>> steady(Figure(value=0.9, low=0.81, high=0.99))
    'A little noise may change it.'
    """
    low, high = _ends(correlation)
    value = low if correlation.value is None else correlation.value
    if value - SKEW * (value - low) >= STEADY:
        return "A little noise hardly changes it."
    if high < SHAKY:
        return "A little noise changes it: consider large areas only."
    return "A little noise may change it."


def _ends(figure: Figure) -> tuple[float, float]:
    """Of the interval; -1 and 1 where it is not known."""
    if figure.low is None or figure.high is None:
        return -1.0, 1.0
    return figure.low, figure.high


def numbers_of(mean: MethodFigures) -> str:
    """The means behind the words, and over how many images.

    >>> from hilum.artifacts.explanations import MapFigures
    >>> values = {key: Figure(value=0.5) for key in MapFigures.model_fields}
    >>> text = numbers_of(MethodFigures(name="a", title="A", kind="method", images={}, **values))
    >>> print(text.replace("\\xa0", " "))
    over 0 images: deletion 0.50, insertion 0.50, random weights 0.50, noise 0.50
    """
    values = {
        "deletion": mean.deletion,
        "insertion": mean.insertion,
        "random weights": mean.randomised,
        "noise": mean.noise,
    }
    words = ", ".join(f"{name} {number(figure.value, 2)}" for name, figure in values.items())
    return f"over {plural(len(mean.images), 'image')}: {words}"
