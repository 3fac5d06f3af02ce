"""How much several images of a patient tell: intraclass correlation and effective sample size.

Images of one patient resemble each other. A figure over N images in groups of m_i varies like one over
N / (1 + (m - 1) r) independent images, with m = sum m_i^2 / sum m_i and r the correlation of two images of a
patient (Kish 1965; Rao & Scott 1992 for shares). r is estimated by analysis of variance (Donner 1986).

References
    Kish L. Survey sampling (1965).
    Donner A. A review of inference procedures for the intraclass correlation coefficient. Int Stat Rev 54 (1986).
    Rao JNK, Scott AJ. A simple method for the analysis of clustered binary data. Biometrics 48 (1992).
"""

import numpy as np
from numpy.typing import ArrayLike


def normal_scores(values: ArrayLike) -> np.ndarray:
    """Values replaced by the normal quantiles of their ranks, "values"; equal values share their mean rank.

    >>> normal_scores([10, 3, 5]).round(2).tolist()
    [0.97, -0.97, 0.0]
    """
    from scipy.special import ndtri

    _, tied, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(counts) - (counts - 1) / 2
    return ndtri((middle_rank[tied] - 0.5) / len(tied))


def intraclass_correlation(values: ArrayLike, patients: ArrayLike) -> float:
    """The correlation of two images of one patient, 0 to 1, from a one-way analysis of variance (Donner 1986).

    `values`: any numbers, "cases"; `patients`: the patient of each case. Patients with one image each: 0, there
    is nothing to correlate. 1 where it can't be known: one patient, or all values equal.

    >>> intraclass_correlation([1, 1, 5, 5], [*"aabb"]), intraclass_correlation([1, 5, 1, 5], [*"aabb"])
    (1.0, 0.0)
    """
    numbers = np.asarray(values, np.float64)
    _, group, images = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    n, k = len(numbers), len(images)
    if n == k:
        return 0.0
    means = np.bincount(group, numbers) / images
    spread = float((images * (means - numbers.mean()) ** 2).sum())
    if k < 2 or np.ptp(numbers) == 0:
        return 1.0
    between = spread / (k - 1)
    within = float(((numbers - means[group]) ** 2).sum()) / (n - k)
    usual = (n - (images**2).sum() / n) / (k - 1)
    return float(np.clip((between - within) / (between + (usual - 1) * within), 0, 1))


def effective_size(patients: ArrayLike, correlation: float) -> float:
    """How many independent images tell as much, from 1 to the number of cases (Kish 1965).

    `correlation`: of two images of a patient, 0 to 1. At 1 it is the number of patients where all have equally
    many images, and less where they differ.

    >>> effective_size([*"aabbcc"], 1.0), effective_size([*"aabbcc"], 0.0), effective_size([*"aabbcc"], 0.5)
    (3.0, 6.0, 4.0)
    """
    images = np.unique(np.asarray(patients), return_counts=True)[1].astype(np.float64)
    n = images.sum()
    return float(n / (1 + ((images**2).sum() / n - 1) * correlation)) if n else 0.0
