"""Means of numbers that are no shares, and whether they beat 0: intervals and tests over patients.

The interval is Student's t with the variance over patients: deviations are summed by patient first, with one degree
of freedom less than there are patients (Liang & Zeger 1986). It is cut off at the ends of the numbers' range, and it
holds for a dozen numbers whose distribution is not too skewed; for shares see hilum.evaluation.shares.

References
    Fisher RA. The design of experiments (1935), section 21: the permutation test of signs.
    Liang KY, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika 73 (1986).
"""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.evaluation.intervals import LEVEL, ROUNDING

ALL_SIGNS = 12
"""Patients up to which every choice of signs is counted, 4,096 of them; with more, `DRAWS` are drawn."""

DRAWS = 9_999


def mean_over_patients(
    values: ArrayLike, patients: ArrayLike, lowest: float = -np.inf, highest: float = np.inf
) -> Figure:
    """The mean with its 95 % interval over patients; NaN counts as absent.

    `values`: "cases", from `lowest` to `highest`; `patients`: the patient of each. Without values, with one patient,
    or where all values are equal, a `reason` says why value or interval is missing.

    >>> figure = mean_over_patients([1, 2, 3], [*"abc"])
    >>> figure.value, round(figure.low, 3), round(figure.high, 3)
    (2.0, -0.484, 4.484)
    >>> mean_over_patients([1, 2], [*"aa"]).reason
    '1 patient: too few for an interval'
    """
    from scipy.stats import t

    numbers, people = np.asarray(values, np.float64), np.asarray(patients)
    known = np.isfinite(numbers)
    numbers, (_, group) = numbers[known], np.unique(people[known], return_inverse=True)
    if not len(numbers):
        return Figure(value=None, reason="there is no such image")
    mean, n_patients = float(numbers.mean()), int(group.max()) + 1
    if n_patients < 2:
        return Figure(value=mean, reason="1 patient: too few for an interval")
    off = np.bincount(group, numbers - mean)
    error = np.sqrt((off**2).sum() * n_patients / (n_patients - 1)) / len(numbers)
    if error <= ROUNDING:
        return Figure(value=mean, reason="all patients give the same value: no interval")
    half = float(t.ppf((1 + LEVEL) / 2, n_patients - 1) * error)
    return Figure(value=mean, low=max(mean - half, lowest), high=min(mean + half, highest))


def above_zero(values: ArrayLike, patients: ArrayLike, seed: int = 0) -> float:
    """One-sided p-value of the mean not being above 0, by the permutation test of signs, all images of a patient at
    once (Fisher 1935). Exact where either sign is as likely, for up to 12 patients by counting, else by draws.

    >>> above_zero([0.1, 0.2, 0.3, 0.4], [*"abcd"]), above_zero([0.1, -0.2], [*"ab"])  # 1 in 16; 3 in 4
    (0.0625, 0.75)
    """
    group = np.unique(np.asarray(patients), return_inverse=True)[1]
    sums = np.bincount(group, np.asarray(values, np.float64))
    exact = len(sums) <= ALL_SIGNS
    signs = (
        np.array(list(product((1, -1), repeat=len(sums))))
        if exact
        else np.random.default_rng(seed).choice((1, -1), (DRAWS, len(sums)))
    )
    reached = (signs @ sums >= sums.sum() - ROUNDING).sum()
    return float(reached / len(signs) if exact else (1 + reached) / (1 + DRAWS))
