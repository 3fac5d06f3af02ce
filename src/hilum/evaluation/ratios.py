"""Likelihood ratios and predictive values with intervals over patients.

A ratio of two shares has the log method's interval (Simel 1991, equations 3 and 4), with effective numbers of
images in place of images; a share of 1 reaches down to Wilson's lower end. Where the upper share is 0/n the interval
reaches from 0 to the ratio at Wilson's upper end, and where the lower share is 0/n from the ratio at Wilson's upper
end to infinity. Predictive values at a prevalence follow from the likelihood ratios (Bayes), and so do their
intervals: the prevalence is given and not estimated.

References
    Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 22 (1927).
    Simel DL, Samsa GP, Matchar DB. Likelihood ratios with confidence: sample size estimation for diagnostic test
        studies. J Clin Epidemiol 44 (1991).
    Altman DG, Bland JM. Diagnostic tests 2: predictive values. BMJ 309 (1994).
    Deeks JJ, Altman DG. Diagnostic tests 4: likelihood ratios. BMJ 329 (2004).
"""

from math import exp, hypot, inf, log, sqrt
from statistics import NormalDist

from hilum.evaluation.intervals import LEVEL
from hilum.evaluation.shares import wilson_interval


def ratio_interval(
    upper: float, m: float, lower: float, n: float, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of upper / lower, two shares of m and of n independent images; 0 to infinity.

    (0, infinity) where both are 0.

    >>> [round(end, 3) for end in ratio_interval(0, 100, 1, 100)]
    [0.0, 0.037]
    >>> [round(end) for end in ratio_interval(1, 100, 0.01, 100)]
    [14, 703]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    if upper == 0 and lower == 0:
        return 0.0, inf
    if upper == 0:
        return 0.0, wilson_interval(0, m, level)[1] / lower * exp(z * _log_error(lower, n))
    if lower == 0:
        return upper / wilson_interval(0, n, level)[1] * exp(-z * _log_error(upper, m)), inf
    (upper_down, upper_up), (lower_down, lower_up) = (
        _log_distances(share, size, z, level) for share, size in ((upper, m), (lower, n))
    )
    ratio = upper / lower
    return ratio * exp(-hypot(upper_down, lower_up)), ratio * exp(hypot(upper_up, lower_down))


def probability_after(ratio: float, prevalence: float) -> float:
    """The probability of being abnormal after a prediction with this likelihood ratio, 0 to 1 (Bayes).

    >>> probability_after(19, 0.05), probability_after(inf, 0.05)
    (0.5, 1.0)
    """
    odds = ratio * prevalence / (1 - prevalence)
    return 1.0 if odds == inf else odds / (1 + odds)


def _log_error(share: float, n: float) -> float:
    """The standard error of the logarithm of a share."""
    return sqrt((1 - share) / (share * n))


def _log_distances(share: float, n: float, z: float, level: float) -> tuple[float, float]:
    """From the logarithm of a share down and up to its ends; a share of 1 has Wilson's lower end."""
    if share == 1:
        return -log(wilson_interval(n, n, level)[0]), 0.0
    half = z * _log_error(share, n)
    return half, half
