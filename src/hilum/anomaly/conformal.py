"""The threshold from healthy images alone: split conformal prediction (Vovk et al. 2005; Laxhammar 2014).

n healthy images that the detector was not fitted on are scored. A new healthy image that is exchangeable with
them gets a p-value (`hilum.inference.p_values`) <= alpha with a probability of at most alpha. So the false-alarm rate
is known without any abnormal image.
"""

from fractions import Fraction
from math import ceil

import numpy as np

from hilum.errors import DataError
from hilum.inference.p_values import checked_scores, fewest


def threshold(healthy_scores: np.ndarray, false_alarm_rate: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest of n healthy scores. An image is flagged when score > threshold,
    which is the same as p-value <= alpha, ties included.

    DataError when n + 1 < 1 / alpha: with so few healthy images no threshold keeps the rate.

    >>> scores = np.arange(1.0, 20.0)          # 19 healthy images
    >>> threshold(scores, 0.05), threshold(scores, 0.10)
    (19.0, 18.0)
    """
    healthy = np.sort(checked_scores(healthy_scores, "healthy scores"))
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
