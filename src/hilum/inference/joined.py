"""One answer of two networks that see different parts of an image: the lungs alone, and the whole image.

What one of them takes for a sign of disease because of how the image was taken, the other may not see at all. Figures
where devices are swapped are in docs/results.md. Where the two contradict each other the predictor abstains.
"""

from dataclasses import replace

import numpy as np

from hilum.inference.rules import Decisions

EDGE = 1e-9
"""Probabilities are kept so far from 0 and 1 that their log-odds are finite."""


def joined(decisions: Decisions, second: Decisions) -> Decisions:
    """The decisions of a classifier after another one of normal vs abnormal has been heard.

    The log-odds of abnormal are the mean of both, and so are those of the threshold: the image is abnormal where both
    together lie beyond their thresholds. The abnormal classes share the probability as the classifier divides it.
    Prediction sets stay those of the classifier. Where either has no healthy class the decisions stay as they are.

    >>> from hilum.inference.rules import Rules
    >>> three = Rules(("normal", "flu", "cold"), threshold=0.5).decide(np.log([[0.4, 0.4, 0.2]]))
    >>> two = Rules(("normal", "abnormal"), threshold=0.5).decide(np.log([[0.8, 0.2]]))
    >>> both = joined(three, two)
    >>> both.predicted, both.abnormal.round(3).tolist(), both.probabilities.round(3).tolist()
    (['normal'], [0.38], [[0.62, 0.253, 0.127]])
    """
    if decisions.abnormal is None or decisions.thresholds is None:
        return decisions
    if second.abnormal is None or second.thresholds is None:
        return decisions
    abnormal = _between(decisions.abnormal, second.abnormal)
    thresholds = _between(decisions.thresholds, second.thresholds)
    positive = abnormal >= thresholds
    healthy = decisions.healthy
    shares = np.delete(decisions.probabilities, healthy, axis=1) + EDGE  # of none, equal ones
    shares = shares / shares.sum(1, keepdims=True) * abnormal[:, None]
    probabilities = np.insert(shares, healthy, 1 - abnormal, axis=1)
    names = [name for name in decisions.classes if name != decisions.classes[healthy]]
    predicted = [
        names[row.argmax()] if is_positive else decisions.classes[healthy]
        for row, is_positive in zip(shares, positive, strict=True)
    ]
    return replace(
        decisions,
        probabilities=probabilities,
        predicted=predicted,
        abnormal=abnormal,
        thresholds=thresholds,
        positive=positive,
    )


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The probability whose log-odds are the mean of both."""
    odds = [np.log(p / (1 - p)) for p in np.clip([first, second], EDGE, 1 - EDGE)]
    return 1 / (1 + np.exp(-(odds[0] + odds[1]) / 2))
