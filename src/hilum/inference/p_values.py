"""Conformal p-values: how unusual a score is among the scores of images that took no part in fitting.

References
    Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world. Springer (2005).
    Laxhammar R, Falkman G. Online learning and sequential anomaly detection in trajectories. IEEE TPAMI 36 (2014).
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from hilum.errors import DataError


def p_values(scores: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Conformal p-values, float64 "images", in 1 / (n + 1) ... 1:  p = (1 + #{held-out >= score}) / (n + 1).

    `scores`: of the images in question, `held_out`: of n images that took no part in fitting. A small p-value: the
    score is above nearly all held-out scores. An image that is exchangeable with the held-out ones gets a p-value
    of at most alpha with a probability of at most alpha. DataError for NaN or no held-out score.

    >>> p_values(np.array([0.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.5, 0.25]
    """
    known = np.sort(checked_scores(held_out, "held-out scores"))
    values = checked_scores(scores, "scores", empty=True)
    at_least = len(known) - np.searchsorted(known, values, side="left")
    return (1 + at_least) / (len(known) + 1)


def bonferroni(p: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """One p-value per image, float64 "images", of p-values "guards images": min(1, the smallest of p / weight).

    `weights`: of the guards, with sum 1; None for equal ones. If each of the p-values is at most alpha with a
    probability of at most alpha, so is the combined one, however they depend on each other (Bonferroni's inequality).

    >>> bonferroni(np.array([[0.01, 0.9], [0.5, 0.8]])).tolist()
    [0.02, 1.0]
    >>> bonferroni(np.array([[0.01], [0.5]]), weights=(0.8, 0.2)).tolist()
    [0.0125]
    """
    values = np.asarray(p, np.float64)
    each = np.full(len(values), 1 / len(values)) if weights is None else np.asarray(weights)
    return np.minimum(1.0, (values / each[:, None]).min(axis=0))


def fewest(rate: float) -> int:
    """The number of held-out images that a false-alarm rate needs: the smallest n with n + 1 >= 1 / rate.

    >>> fewest(0.05), fewest(0.01)
    (19, 99)
    """
    return ceil(1 / Fraction(str(float(rate)))) - 1


def checked_scores(scores: np.ndarray, what: str, empty: bool = False) -> np.ndarray:
    """float64 "images". DataError for another shape, for a NaN or infinity, and, unless `empty`, for no score.

    >>> checked_scores(np.array([1.0, np.nan]), "scores")
    Traceback (most recent call last):
    hilum.errors.DataError: scores: number 1 is nan; score that image again
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise DataError(
            f"{what} of shape {values.shape} are not a list of numbers", "give one number per image"
        )
    if not len(values) and not empty:
        raise DataError(f"there are no {what}", "hold out images for the threshold")
    if not np.isfinite(values).all():
        place = int((~np.isfinite(values)).argmax())
        raise DataError(f"{what}: number {place} is {values[place]}", "score that image again")
    return values
