"""The ensemble of several detectors: the mean of their conformal p-values (Vovk & Wang, Biometrika 107, 2020)."""

from collections.abc import Mapping

import numpy as np

from hilum.inference.p_values import p_values


def mean_rank(scores: Mapping[str, np.ndarray], calibrate: np.ndarray) -> np.ndarray:
    """1 minus the mean p-value over the detectors, in 0..1, higher is more anomalous.

    `scores`: detector -> float "images"; `calibrate`: bool "images", the healthy images that fix thresholds. Each
    of those is ranked among the others. p-values of several detectors depend on each other, so their mean is a
    score and no p-value: it needs its own threshold. Images that score above all calibrating ones tie.

    >>> mean_rank({"a": np.array([1.0, 2.0, 9.0])}, np.array([True, True, False])).round(2).tolist()
    [0.0, 0.5, 0.67]
    """
    n = int(calibrate.sum())
    values = []
    for score in scores.values():
        p = p_values(score, score[calibrate])
        p[calibrate] = (p[calibrate] * (n + 1) - 1) / n
        values.append(p)
    return 1.0 - np.mean(values, axis=0)
