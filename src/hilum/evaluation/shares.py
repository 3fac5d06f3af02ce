"""Shares k/n of images with intervals over patients: the one way to a share in hilum.

Wilson's interval at the effective sample size (hilum.evaluation.clusters). It does not shrink to a point at 0/n
or n/n, and more errors never make it narrower on the good side. The correlation of two hits of a patient is not
estimated from the hits, which say nothing where all are hits, but from the scores behind them: their
correlation, made into that of two yes-or-no values at the observed share through the bivariate normal
distribution (Pearson 1900). Without scores a patient counts as one image, which is a little wide.

Methods were compared by simulation: docs/intervals.md.

References
    Pearson K. On the correlation of characters not quantitatively measurable. Phil Trans A 195 (1900).
    Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 22 (1927).
    Newcombe RG. Interval estimation for the difference between independent proportions. Stat Med 17 (1998).
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.evaluation.clusters import effective_size, intraclass_correlation, normal_scores
from hilum.evaluation.intervals import LEVEL

NODES = 60
"""Of the quadrature over the normal distribution."""


def wilson_interval(k: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval for a share k / n of independent cases (Wilson 1927); sound for small n and for k = 0 or n.

    Both may be fractions, as effective sizes are. With n = 0 nothing is known: (0, 1).

    >>> [round(end, 4) for end in wilson_interval(5, 10)]
    [0.2366, 0.7634]
    >>> [round(end, 4) for end in wilson_interval(10, 10)]
    [0.7225, 1.0]
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = k / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z / shrink * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # At k = 0 and k = n the ends are 0 and 1 exactly, which rounding would miss by one digit.
    return (0.0 if k == 0 else middle - half), (1.0 if k == n else middle + half)


def share_size(hits: ArrayLike, patients: ArrayLike, scores: ArrayLike | None = None) -> float:
    """How many independent images tell as much about this share; arguments as in `share_interval`.

    >>> share_size([1, 1, 1, 0], [*"aabb"]), share_size([1, 1, 1, 0], [*"abcd"])
    (2.0, 4.0)
    """
    if scores is None:
        return effective_size(patients, 1.0)
    values = np.asarray(hits, np.float64)
    latent = intraclass_correlation(normal_scores(scores), patients)
    return effective_size(patients, hit_correlation(latent, (values.sum() + 1) / (len(values) + 2)))


def share_interval(
    hits: ArrayLike, patients: ArrayLike, scores: ArrayLike | None = None, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of the share of hits, over patients; (0, 1) without cases.

    `hits`: true or false, or between 0 and 1 (a mean over trainings), "cases"; `patients`: the patient of each
    case; `scores`: the numbers behind the hits, such as the probability of the class, of which only the order
    counts. None: a patient counts as one image.

    >>> [round(end, 3) for end in share_interval([1] * 100, range(100))]
    [0.963, 1.0]
    >>> [round(end, 3) for end in share_interval([1] * 100, ["ann"] * 100)]
    [0.207, 1.0]
    """
    values = np.asarray(hits, np.float64)
    if not len(values):
        return 0.0, 1.0
    size = share_size(values, patients, scores)
    share = float(values.mean())
    return wilson_interval(size if share == 1 else share * size, size, level)


def share_figure(
    hits: ArrayLike,
    patients: ArrayLike,
    scores: ArrayLike | None = None,
    reason: str = "there is no such image",
    level: float = LEVEL,
) -> Figure:
    """A share with its counts and its interval over patients; arguments as in `share_interval`.

    Without cases the value is None, and `reason` says why.

    >>> figure = share_figure([True, True], ["ann", "bob"])
    >>> figure.value, figure.counts, round(figure.low, 2), figure.high
    (1.0, '2/2', 0.34, 1.0)
    """
    flags = np.asarray(hits, bool)
    k, n = int(flags.sum()), len(flags)
    if not n:
        return Figure(value=None, k=0, n=0, reason=reason)
    low, high = share_interval(flags, patients, scores, level)
    return Figure(value=k / n, low=low, high=high, k=k, n=n)


def mean_figure(
    values: ArrayLike, patients: ArrayLike, scores: ArrayLike | None = None, level: float = LEVEL
) -> Figure:
    """The mean of values between -1 and 1, such as differences of two models' hits, with its interval.

    The means of what is above and of what is below 0 are taken as two shares, each with Wilson's interval, and
    their distances are added in squares (Newcombe 1998, method 10). Where all are 0 it stays as wide as that of
    a share 0/n. Arguments as in `share_interval`; the value is None without cases.

    >>> figure = mean_figure([1, 0, 0, 0], [*"abcd"])
    >>> figure.value, round(figure.low, 2), round(figure.high, 2)
    (0.25, -0.29, 0.7)
    """
    numbers = np.asarray(values, np.float64)
    if not len(numbers):
        return Figure(value=None, reason="there is no such image")
    up, down = np.maximum(numbers, 0), np.maximum(-numbers, 0)
    value = float(numbers.mean())
    (up_low, up_high), (down_low, down_high) = (
        share_interval(part, patients, scores, level) for part in (up, down)
    )
    low = value - float(np.hypot(up.mean() - up_low, down_high - down.mean()))
    high = value + float(np.hypot(up_high - up.mean(), down.mean() - down_low))
    return Figure(value=value, low=max(low, -1.0), high=min(high, 1.0))


def minus(first: Figure, second: Figure) -> Figure:
    """The difference of two shares of different images, with its interval (Newcombe 1998, method 10); without one
    where either has none.

    >>> figure = minus(share_figure([1] * 10, range(10)), share_figure([1] * 10, range(10)))
    >>> figure.value, round(figure.low, 3), round(figure.high, 3)
    (0.0, -0.278, 0.278)
    """
    if first.value is None or second.value is None:
        return Figure(value=None, reason=first.reason or second.reason)
    value = first.value - second.value
    if None in (first.low, first.high, second.low, second.high):
        return Figure(value=value, reason=first.reason or second.reason)
    ends = np.array([[first.low, first.high], [second.low, second.high]], np.float64)
    low = value - np.hypot(first.value - ends[0, 0], ends[1, 1] - second.value)
    high = value + np.hypot(ends[0, 1] - first.value, second.value - ends[1, 0])
    return Figure(value=value, low=float(low), high=float(high))


def hit_correlation(latent: float, share: float) -> float:
    """The correlation of two yes-or-no values, each "yes" with probability `share`, whose hidden normal scores have
    the correlation `latent`; 0 to `latent` (Pearson 1900).

    >>> round(hit_correlation(0.5, 0.5), 3), round(hit_correlation(0.5, 0.99), 3)  # 2 asin(1/2) / pi
    (0.333, 0.121)
    """
    from scipy.special import ndtr, ndtri

    if latent <= 0:
        return 0.0
    if latent >= 1:
        return 1.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    given = ndtr((ndtri(share) - np.sqrt(latent) * nodes) / np.sqrt(1 - latent))
    both = float(weights @ given**2 / weights.sum())
    return min(max((both - share**2) / (share * (1 - share)), 0.0), 1.0)
