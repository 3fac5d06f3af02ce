"""Faithfulness of a map in words: what was measured, and what it means."""

from hilum.artifacts.explanations import MapFigures
from hilum.report.wording import number

STEADY, SHAKY = 0.8, 0.5
"""Correlation of a map with itself when the image changes a little: steady above the first, not below the
second."""

INDEPENDENT = 0.5
"""A map that correlates at least so much with that of a network with random weights shows the image, not the
network (Adebayo et al., NeurIPS 2018)."""

CLOSE = 0.02
"""Areas under a curve that differ by less count as equal."""


def matters(deletion: float, insertion: float, random: tuple[float, float]) -> str:
    """Whether what a map marks matters to the network: areas under the curves of deletion (lower is better) and
    insertion (higher is better), and the same two of a map of random numbers.

    >>> matters(0.2, 0.9, (0.5, 0.6))
    'The marked pixels matter: removing them first lowers the probability sooner than removing at random.'
    """
    gain = random[0] - deletion, insertion - random[1]
    if min(gain) > CLOSE:
        return (
            "The marked pixels matter: removing them first lowers the probability sooner than removing at"
            " random."
        )
    if gain[0] > CLOSE:
        return (
            "Removing the marked pixels lowers the probability sooner than removing at random; adding them does"
            " not raise it sooner."
        )
    if gain[1] > CLOSE:
        return (
            "Adding the marked pixels raises the probability sooner than adding at random; removing them does"
            " not lower it sooner."
        )
    return "The marked pixels matter no more than random ones: do not rely on this map."


def depends(correlation: float) -> str:
    """Whether the map depends on what the network has learned, by its rank correlation with the map of a
    network with random weights.

    >>> depends(0.1)
    'The map depends on the trained weights.'
    """
    if correlation >= INDEPENDENT:
        return "The map is similar with random weights: it shows the image, not the network."
    return "The map depends on the trained weights."


def steady(correlation: float) -> str:
    """Whether a change of the image that nobody would see changes the map, by their rank correlation.

    >>> steady(0.95), steady(0.3)
    ('A little noise hardly changes it.', 'A little noise changes it: consider large areas only.')
    """
    if correlation >= STEADY:
        return "A little noise hardly changes it."
    if correlation < SHAKY:
        return "A little noise changes it: consider large areas only."
    return "A little noise changes it somewhat."


def numbers_of(own: MapFigures, mean: MapFigures) -> str:
    """The numbers behind the words: `own` of this image, `mean` over all images.

    >>> one = MapFigures(deletion=0.21, insertion=0.9, unexplained=0.5, randomised=0.1, noise=0.93, shift=0.9,
    ...                  noise_change=0.1, shift_change=0.2)
    >>> numbers_of(one, one)
    'deletion 0.21, insertion 0.90, random weights 0.10, noise 0.93'
    """
    values = {
        "deletion": own.deletion,
        "insertion": own.insertion,
        "random weights": mean.randomised,
        "noise": mean.noise,
    }
    return ", ".join(f"{name} {number(value, 2)}" for name, value in values.items())
