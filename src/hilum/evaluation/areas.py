"""Intervals of the area under the ROC curve and of average precision, over patients.

AUROC: the interval holds every area t for which the observed one is not surprising, (A - t)^2 <= z^2 V(t). V(t)
is the variance of the area of m abnormal and n healthy images (Hanley & McNeil 1982, equation 2)

    V(t) = (t (1 - t) + (m - 1) x(t) + (n - 1) x(t)) / (m n)

with x(t) = E[F(d - Y)^2] - t^2, d = sqrt(2) F^-1(t), Y standard normal: the chance that two abnormal images both
beat a healthy one, less t^2, where scores are normal in both classes. Newcombe (2006, method 5) inverts the same
variance with the exponential distribution, which proves too wide near 1. m and n are effective sizes, from the
correlation of two scores of a patient within their class, as Obuchowski (1997) allows for. So an area of 1 has an
interval below it, and a patient's images do not count as independent.

Average precision: in the same model an AUROC and a share of abnormal images give one average precision. The interval
of the AUROC, and Wilson's interval of the share of abnormal patients, move it by so much on the logit scale (Boyd
2013); both movements start at the observed value and are added in squares (Donner & Zou 2012).

Methods were compared by simulation: docs/intervals.md.

References
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 143 (1982).
    Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 53 (1997).
    Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2.
        Stat Med 25 (2006).
    Donner A, Zou GY. Closed-form confidence intervals for functions of the normal mean and standard deviation.
        Stat Methods Med Res 21 (2012).
    Boyd K, Eng KH, Page CD. Area under the precision-recall curve: point estimates and confidence intervals.
        ECML PKDD (2013).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.evaluation.clusters import effective_size, intraclass_correlation, normal_scores
from hilum.evaluation.intervals import FEWEST_PATIENTS, LEVEL, too_few
from hilum.evaluation.metrics import ranking_metrics
from hilum.evaluation.shares import wilson_interval

NODES = 80
"""Of the quadrature over the normal distribution."""

STEPS = 60
"""Halvings of an interval that holds an end: 1e-18 of its width."""

NEAREST = 1e-9
"""How near to 0 and 1 a logit is taken."""


# -- figures -------------------------------------------------------------------------------------------------


def ranking_figures(score: ArrayLike, positive: ArrayLike, patients: ArrayLike) -> tuple[Figure, Figure]:
    """AUROC and average precision, each with its 95 % interval over patients.

    `score`: any real numbers, higher for positive, "cases"; `positive`: true or false; `patients`: the patient of
    each case. One class alone: no value. A class with one patient: no interval. `reason` says why.

    >>> area, precision = ranking_figures([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], [*"abcd"])
    >>> area.value, round(area.low, 2), round(area.high, 2), round(precision.value, 3)
    (0.75, 0.23, 0.96, 0.833)
    """
    side, people = np.asarray(positive, bool), np.asarray(patients)
    area, precision = (float(value) for value in ranking_metrics(score, side))
    if np.isnan(area):
        absent = Figure(value=None, reason=f"all {len(side)} images are of one class")
        return absent, absent
    counts = [len(np.unique(people[rows])) for rows in (side, ~side)]
    if min(counts) < FEWEST_PATIENTS:
        reason = too_few(min(counts))
        return Figure(value=area, reason=reason), Figure(value=precision, reason=reason)
    low, high = area_interval(area, *class_sizes(score, side, people))
    moved = precision_interval(precision, area, (low, high), float(side.mean()), *counts)
    return Figure(value=area, low=low, high=high), Figure(value=precision, low=moved[0], high=moved[1])


def area_figure(score: ArrayLike, positive: ArrayLike, patients: ArrayLike) -> Figure:
    """AUROC alone, see `ranking_figures`.

    >>> area_figure([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], [*"abcc"]).reason
    '1 patient in a class: too few for an interval'
    """
    return ranking_figures(score, positive, patients)[0]


def mean_of(figures: Sequence[Figure], correlation: np.ndarray) -> Figure:
    """The mean of figures with intervals, "figures" at least one; their distances to the ends are added with the
    correlation "figures figures" (MOVER, Donner & Zou 2012). No value, or no interval, where a part has none.

    >>> parts = [Figure(value=0.9, low=0.8, high=1.0), Figure(value=0.7, low=0.6, high=0.8)]
    >>> figure = mean_of(parts, np.eye(2))
    >>> round(figure.value, 3), round(figure.low, 3), round(figure.high, 3)
    (0.8, 0.729, 0.871)
    """
    reason = next((figure.reason for figure in figures if figure.reason), None)
    if any(figure.value is None for figure in figures):
        return Figure(value=None, reason=reason)
    values = np.array([figure.value for figure in figures], np.float64)
    if reason:
        return Figure(value=float(values.mean()), reason=reason)
    ends = np.array([[figure.low, figure.high] for figure in figures], np.float64)
    low, high = (
        float(np.sqrt(max(part @ correlation @ part, 0.0))) / len(values)
        for part in (values - ends[:, 0], ends[:, 1] - values)
    )
    value = float(values.mean())
    return Figure(value=value, low=max(value - low, 0.0), high=min(value + high, 1.0))


def area_correlations(scores: np.ndarray, target: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """How the AUROCs of several classes, each against the rest, vary together: correlations "classes classes".

    From what each patient adds to each area (structural components, Obuchowski 1997); 1, the cautious side, where an
    area is perfect. `scores`: "cases classes"; `target`: class indices; `patients`: the patient of each case.
    """
    added = np.stack([added_by_case(column, target == index) for index, column in enumerate(scores.T)])
    _, group = np.unique(patients, return_inverse=True)
    summed = np.stack([np.bincount(group, row) for row in added])
    spread = np.sqrt((summed**2).sum(1))
    scale = np.outer(spread, spread)
    return np.where(scale > 0, summed @ summed.T / np.where(scale > 0, scale, 1), 1.0)


def added_by_case(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """What each case adds to the area beyond the mean of its side, "cases".

    >>> added_by_case(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).tolist()
    [0.125, -0.125, -0.125, 0.125]
    """
    added = np.zeros(len(score))
    if positive.all() or not positive.any():
        return added
    for side, sign in ((positive, 1), (~positive, -1)):
        ordered = np.sort(score[~side])
        below = np.searchsorted(ordered, score[side]) + np.searchsorted(ordered, score[side], side="right")
        share = sign * below / (2 * len(ordered))
        added[side] = (share - share.mean()) / len(share)
    return added


# -- AUROC ---------------------------------------------------------------------------------------------------


def area_interval(area: float, m: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval of an AUROC from effective numbers of images, 0 to 1; m abnormal, n healthy.

    >>> [round(end, 3) for end in area_interval(1.0, 50, 50)]
    [0.974, 1.0]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)

    def surprising(t: float) -> bool:
        return (area - t) ** 2 > z * z * _variance(t, m, n)

    return _end(surprising, area, 0.0), _end(surprising, area, 1.0)


def class_sizes(score: ArrayLike, positive: ArrayLike, patients: ArrayLike) -> tuple[float, float]:
    """The effective numbers of positive and of negative images.

    >>> class_sizes([1, 2, 3, 4], [0, 0, 1, 1], [*"aabc"])
    (2.0, 1.0)
    """
    values, side, people = np.asarray(score), np.asarray(positive, bool), np.asarray(patients)
    m, n = (
        effective_size(people[rows], intraclass_correlation(normal_scores(values[rows]), people[rows]))
        for rows in (side, ~side)
    )
    return m, n


def _variance(t: float, m: float, n: float) -> float:
    at, spread = _spread()
    x = float(np.interp(max(t, 1 - t), at, spread))
    return (t * (1 - t) + (m + n - 2) * x) / (m * n)


@lru_cache(maxsize=1)
def _spread() -> tuple[np.ndarray, np.ndarray]:
    """x(t) at areas from 0.5 to 1."""
    from scipy.special import ndtr, ndtri

    at = np.append(np.linspace(0.5, 0.99, 200), 1 - np.geomspace(0.0099, 1e-9, 300))
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    beaten = ndtr(np.sqrt(2) * ndtri(at)[:, None] - nodes)
    x = beaten**2 @ weights / weights.sum() - at**2
    return np.append(at, 1.0), np.append(np.maximum(x, 0), 0.0)


def _end(surprising: Callable[[float], bool], inside: float, outside: float) -> float:
    """The border between `inside` and `outside`, by halving; `outside` itself where nothing surprises."""
    if inside == outside or not surprising(outside):
        return outside
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if surprising(middle) else (middle, outside)
    return (inside + outside) / 2


# -- average precision ---------------------------------------------------------------------------------------


def precision_interval(
    precision: float,
    area: float,
    area_ends: tuple[float, float],
    share: float,
    patients: int,
    healthy_patients: int,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The interval of an average precision. `area`, `area_ends`: the AUROC and its interval; `share`: of positive
    images; `patients`, `healthy_patients`: of each class.

    >>> [round(end, 3) for end in precision_interval(1.0, 1.0, (0.95, 1.0), 0.5, 50, 50)]
    [0.95, 1.0]
    """
    both = patients + healthy_patients
    shares = wilson_interval(patients, both, level)
    here = precision_of(area, share)
    distances = [
        np.hypot(
            precision - shifted(precision, here, precision_of(end, share)),
            precision - shifted(precision, here, precision_of(area, common)),
        )
        for end, common in zip(area_ends, shares, strict=True)
    ]
    return max(0.0, float(precision - distances[0])), min(1.0, float(precision + distances[1]))


def precision_of(area: float, share: float) -> float:
    """The average precision of normal scores with this AUROC, where this share of images is positive.

    >>> round(precision_of(0.5, 0.3), 3), precision_of(1.0, 0.3)
    (0.3, 1.0)
    """
    from scipy.special import ndtr, ndtri

    recall = (np.arange(2000) + 0.5) / 2000  # sensitivities
    alarms = ndtr(ndtri(recall) - np.sqrt(2) * ndtri(area))
    return float(np.mean(share * recall / (share * recall + (1 - share) * alarms)))


def shifted(value: float, start: float, end: float) -> float:
    """`value` moved on the logit scale as far as from `start` to `end`, all from 0 to 1.

    >>> round(shifted(0.5, 0.5, 0.9), 3), round(shifted(0.9, 0.5, 0.9), 3)  # odds 1 to 9, and 9 to 81
    (0.9, 0.988)
    """
    logit = [np.log(p / (1 - p)) for p in np.clip([value, start, end], NEAREST, 1 - NEAREST)]
    return float(1 / (1 + np.exp(-(logit[0] + logit[2] - logit[1]))))
