"""The threshold from healthy images alone: split conformal prediction (Vovk et al. 2005; Laxhammar 2014).

n healthy images that the detector was not fitted on are scored. A new healthy image that is exchangeable with
them gets a p-value <= alpha with a probability of at most alpha. So the false-alarm rate is known without any
abnormal image.
"""

from fractions import Fraction
from math import ceil

import numpy as np

from hilum.errors import DataError


def p_values(scores: np.ndarray, healthy_scores: np.ndarray) -> np.ndarray:
    """Conformal p-values, float64 "images", in 1 / (n + 1) ... 1:  p = (1 + #{healthy >= score}) / (n + 1).

    `scores`: of the images in question, `healthy_scores`: of n held-out healthy images. A small p-value: the
    score is above nearly all healthy scores. DataError for NaN or no healthy score.

    >>> p_values(np.array([0.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.5, 0.25]
    """
    healthy = np.sort(_checked(healthy_scores, "healthy scores"))
    values = _checked(scores, "scores", empty=True)
    at_least = len(healthy) - np.searchsorted(healthy, values, side="left")
    return (1 + at_least) / (len(healthy) + 1)


def threshold(healthy_scores: np.ndarray, false_alarm_rate: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n healthy scores. An image is flagged when score > threshold,
    which is the same as p-value <= alpha, ties included.

    DataError when n + 1 < 1 / alpha: with so few healthy images no threshold keeps the rate.

    >>> scores = np.arange(1.0, 20.0)          # 19 healthy images
    >>> threshold(scores, 0.05), threshold(scores, 0.10)
    (19.0, 18.0)
    """
    healthy = np.sort(_checked(healthy_scores, "healthy scores"))
    # The rate as it was written, 0.05 and not the nearest binary number, so that the rank is exact.
    rate = Fraction(str(float(false_alarm_rate))) if 0 < false_alarm_rate < 1 else None
    if rate is None:
        raise DataError(f"a false-alarm rate of {false_alarm_rate} is not between 0 and 1", "try 0.05")
    if len(healthy) + 1 < 1 / rate:
        raise DataError(
            f"{len(healthy)} healthy images are too few for a false-alarm rate of {float(rate):g}",
            f"hold out {fewest(false_alarm_rate)} or more for the threshold, or allow a higher rate",
        )
    rank = ceil((len(healthy) + 1) * (1 - rate))
    return float(healthy[rank - 1])


def fewest(false_alarm_rate: float) -> int:
    """The number of healthy images that a false-alarm rate needs: the smallest n with n + 1 >= 1 / alpha.

    >>> fewest(0.05), fewest(0.01)
    (19, 99)
    """
    return ceil(1 / Fraction(str(float(false_alarm_rate)))) - 1


def _checked(scores: np.ndarray, what: str, empty: bool = False) -> np.ndarray:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise DataError(
            f"{what} of shape {values.shape} are not a list of numbers", "give one number per image"
        )
    if not len(values) and not empty:
        raise DataError(f"there are no {what}", "hold out healthy images for the threshold")
    if not np.isfinite(values).all():
        place = int((~np.isfinite(values)).argmax())
        raise DataError(f"{what}: number {place} is {values[place]}", "score that image again")
    return values
