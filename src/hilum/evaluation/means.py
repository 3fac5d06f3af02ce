"""Means of numbers that are no shares, and whether they beat 0: intervals and tests over patients.

The interval is Student's t with the variance over patients: deviations are summed by patient first, with one degree
of freedom less than there are patients (Liang & Zeger 1986). It is cut off at the ends of the numbers' range, and it
holds for a dozen numbers whose distribution is not too skewed; for shares see hilum.evaluation.shares.

A mean of numbers from 0 to 1 that are more than yes or no (precision at k, overlaps) has Wilson's interval at the
number of yes-or-no answers that would vary as much, after one more patient who is half 0 and half 1 (Jeffreys
1946). So it does not shrink to a point where all numbers are 1, and is Wilson's own where all are 0 or 1.

References
    Fisher RA. The design of experiments (1935), section 21: the permutation test of signs.
    Jeffreys H. An invariant form for the prior probability in estimation problems. Proc R Soc A 186 (1946).
    Liang KY, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika 73 (1986).
"""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.evaluation.clusters import effective_size
from hilum.evaluation.intervals import LEVEL, ROUNDING
from hilum.evaluation.shares import wilson_interval

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


def mean_of_parts(values: ArrayLike, patients: ArrayLike) -> Figure:
    """The mean of numbers from 0 to 1 that are more than yes or no, with its 95 % interval over patients.

    `values`, `patients`: "cases". Without values, or with one patient, a `reason` says why value or interval is
    missing. Where all values are 0 or 1 it is about that of `shares.share_figure` without scores.

    >>> figure = mean_of_parts([1.0, 0.8, 0.9, 1.0], [*"abcd"])
    >>> round(figure.value, 3), round(figure.low, 2), round(figure.high, 3)
    (0.925, 0.52, 0.993)
    """
    numbers, people = np.asarray(values, np.float64), np.asarray(patients)
    if not len(numbers):
        return Figure(value=None, reason="there is no such image")
    mean, group = float(numbers.mean()), np.unique(people, return_inverse=True)[1]
    if group.max() < 1:
        return Figure(value=mean, reason="1 patient: too few for an interval")
    off = np.bincount(group, numbers - mean)
    variance = float((off**2).sum()) / len(numbers) ** 2
    low, high = interval_by_variance(mean, variance, effective_size(people, 1.0))
    return Figure(value=mean, low=low, high=high)


def interval_by_variance(value: float, variance: float, patients: float) -> tuple[float, float]:
    """Wilson's interval, 0 to 1, of a figure from 0 to 1 that varies by `variance` from one set of so many `patients`
    to the next: at the number of yes-or-no answers with that variance, after one more patient who is half 0 and half 1.

    >>> [round(end, 3) for end in interval_by_variance(1.0, 0.0, 100)]
    [0.963, 1.0]
    """
    middle = (value * patients + 0.5) / (patients + 1)
    added = (middle**2 + (1 - middle) ** 2) / 2
    spread = (variance * patients**2 + added) / ((patients + 1) * (patients - 0.5))
    size = middle * (1 - middle) / spread
    return wilson_interval(size if value == 1 else value * size, size)


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
