"""How far a map may be believed, in words: what was measured, and what it means."""

from collections.abc import Mapping
from typing import Any

from hilum.report.wording import number

STEADY, SHAKY = 0.8, 0.5
"""Correlation of a map with itself when the image changes a little: steady above the first, not below the
second."""

INDEPENDENT = 0.5
"""A map that correlates at least so much with that of a network with random weights shows the image, not the
network (Adebayo et al., NeurIPS 2018)."""

CLOSE = 0.02
"""Areas under a curve that differ by less are called equal."""


def matters(mine: Mapping[str, float], chance: Mapping[str, float]) -> str:
    """Whether what a map marks matters to the network: `deletion` (lower is better) and `insertion` (higher
    is better) beside those of a map of random numbers.

    >>> matters({"deletion": 0.2, "insertion": 0.9}, {"deletion": 0.5, "insertion": 0.6})
    'What it marks matters: removing it first takes the class away sooner than removing at random.'
    """
    gain = chance["deletion"] - mine["deletion"], mine["insertion"] - chance["insertion"]
    if min(gain) > CLOSE:
        return "What it marks matters: removing it first takes the class away sooner than removing at random."
    if gain[0] > CLOSE:
        return "Removing what it marks takes the class away sooner than at random; it alone is not enough."
    if gain[1] > CLOSE:
        return "What it marks brings the class back sooner than random spots; removing it takes little away."
    return "What it marks matters no more than random spots: don’t rely on it."


def depends(correlation: float | None) -> str:
    """Whether the map depends on what the network has learned.

    >>> depends(0.1), depends(None)
    ('It depends on the trained weights.', '')
    """
    if correlation is None or correlation != correlation:
        return ""
    if correlation >= INDEPENDENT:
        return "It looks much the same with random weights: it draws the image, not the network."
    return "It depends on the trained weights."


def steady(correlation: float | None) -> str:
    """Whether a change of the image that nobody would see changes the map.

    >>> steady(0.95), steady(0.3)
    ('It stays under a little noise.', 'A little noise changes it: look at large areas only.')
    """
    if correlation is None or correlation != correlation:
        return ""
    if correlation >= STEADY:
        return "It stays under a little noise."
    if correlation < SHAKY:
        return "A little noise changes it: look at large areas only."
    return "A little noise changes it somewhat."


def figures_of(values: Mapping[str, Any]) -> str:
    """The numbers behind the words.

    >>> figures_of({"deletion": 0.21, "insertion": 0.9, "randomised": None, "noise": 0.93})
    'deletion 0.21, insertion 0.90, noise 0.93'
    """
    names = {
        "deletion": "deletion",
        "insertion": "insertion",
        "randomised": "random weights",
        "noise": "noise",
    }
    known = [(words, values.get(key)) for key, words in names.items()]
    return ", ".join(f"{words} {number(value, 2)}" for words, value in known if value is not None)
