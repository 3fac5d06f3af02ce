"""Curves over all operating points, with bands from a bootstrap over patients, and calibration bins."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError
from hilum.evaluation.decision import checked_probabilities
from hilum.evaluation.intervals import LEVEL, bootstrap, wilson_interval
from hilum.evaluation.metrics import cumulative_counts


def roc_curve(score: ArrayLike, is_abnormal: ArrayLike) -> dict[str, np.ndarray]:
    """Every operating point: {"fpr" (1 - specificity), "tpr" (sensitivity), "thresholds"}, each "points".

    From (0, 0) at threshold infinity to (1, 1); a case is predicted abnormal when its score is at least the
    threshold. Joined by straight lines the points enclose the area `metrics.auroc` (Fawcett 2006, An
    introduction to ROC analysis, Pattern Recogn Lett 27).
    `score`: any real numbers, "cases". `is_abnormal`: true or false, "cases". DataError when one class is absent.

    >>> curve = roc_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> curve["fpr"].tolist(), curve["tpr"].tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    tp, predicted, scores = _counts(score, is_abnormal)
    fp = predicted - tp
    return {
        "fpr": np.append(0.0, fp / fp[-1]),
        "tpr": np.append(0.0, tp / tp[-1]),
        "thresholds": np.append(np.inf, scores),
    }


def pr_curve(score: ArrayLike, is_abnormal: ArrayLike) -> dict[str, np.ndarray]:
    """Every operating point: {"recall" (sensitivity), "precision", "thresholds"}, each "points".

    Recall rises. Drawn as steps, each at the height of its right end ("steps-pre" in matplotlib), they
    enclose the area `metrics.average_precision`. The first point, at recall 0, is there for the first step
    and repeats the precision at the highest score. DataError when one class is absent.

    >>> curve = pr_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> curve["recall"].tolist(), curve["precision"].tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.6666666666666666, 0.5])
    """
    tp, predicted, scores = _counts(score, is_abnormal)
    share = tp / predicted
    return {
        "recall": np.append(0.0, tp / tp[-1]),
        "precision": np.append(share[0], share),
        "thresholds": np.append(np.inf, scores),
    }


def roc_band(
    score: ArrayLike,
    is_abnormal: ArrayLike,
    patients: ArrayLike,
    grid: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The 95 % band of a ROC curve: {"fpr": grid, "low", "high"}, each "points".

    At each fpr of the grid (default 0, 0.01, ... 1) the middle 95 % of the sensitivities of all bootstrap
    replicates (vertical averaging, Fawcett 2006). It holds point by point, not for whole curves.
    `patients`: the patient of each case, "cases".
    """
    at = _grid(grid)
    low, high = _band(score, is_abnormal, patients, replicates, seed, partial(_tpr_at, at))
    return {"fpr": at, "low": low, "high": high}


def pr_band(
    score: ArrayLike,
    is_abnormal: ArrayLike,
    patients: ArrayLike,
    grid: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The 95 % band of a precision-recall curve: {"recall": grid, "low", "high"}, each "points".

    As `roc_band`, with the precision at the highest threshold that finds at least that share of the abnormal.
    """
    at = _grid(grid)
    low, high = _band(score, is_abnormal, patients, replicates, seed, partial(_precision_at, at))
    return {"recall": at, "low": low, "high": high}


def calibration_bins(
    probability: ArrayLike, is_abnormal: ArrayLike, bins: int = 10
) -> list[dict[str, float | int]]:
    """What became of cases with similar probabilities: bins of about equally many cases, from low to high.

    Each bin: {"from", "to" (lowest and highest probability in it), "probability" (their mean), "observed"
    (the share k / n that is abnormal), "low", "high" (Wilson's 95 % interval), "k", "n"}. Equal probabilities are
    never parted, so bins may be fewer and differ in size. The interval counts images as independent: it is
    too narrow where patients have several. DataError when a probability is no number in 0..1.

    >>> first, second = calibration_bins([0.1, 0.3, 0.6, 0.8], [0, 0, 1, 1], bins=2)
    >>> first["probability"], first["observed"], second["from"], second["k"], second["n"]
    (0.2, 0.0, 0.6, 2, 2)
    """
    values, abnormal = checked_probabilities(probability, is_abnormal)
    bin_of_case = equal_mass_bins(values, bins)
    return [
        _bin(values[bin_of_case == one], abnormal[bin_of_case == one]) for one in range(bin_of_case.max() + 1)
    ]


def equal_mass_bins(values: ArrayLike, bins: int) -> np.ndarray:
    """The bin of each value, "cases", from 0: about equally many in each, from low to high, equals together.

    Values that are equal are never parted, so bins may be fewer than asked for and differ in size.

    >>> equal_mass_bins([0.1, 0.9, 0.1, 0.4], 2).tolist()
    [0, 1, 0, 1]
    """
    _, tied, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(counts) - counts / 2  # of each group of equal values
    bin_of_group = np.floor(middle_rank * bins / len(tied)).astype(int)
    return np.unique(bin_of_group, return_inverse=True)[1][tied]


def _bin(values: np.ndarray, abnormal: np.ndarray) -> dict[str, float | int]:
    k, n = int(abnormal.sum()), len(abnormal)
    low, high = wilson_interval(k, n)
    return {
        "from": float(values.min()),
        "to": float(values.max()),
        "probability": float(values.mean()),
        "observed": k / n,
        "low": low,
        "high": high,
        "k": k,
        "n": n,
    }


def _counts(score: ArrayLike, is_abnormal: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`metrics.cumulative_counts` of single cases; DataError when there is no curve to draw."""
    values, abnormal = np.asarray(score, np.float64), np.asarray(is_abnormal, bool)
    if np.isnan(values).any():
        raise DataError(
            f"the score of case {np.flatnonzero(np.isnan(values))[0]} (counted from 0) is NaN", "mend it"
        )
    if abnormal.all() or not abnormal.any():
        raise DataError(
            "a curve needs cases of both classes, here all are the same", "use a split that holds both"
        )
    tp, predicted, scores = cumulative_counts(values, abnormal, np.ones((1, len(values))))
    return tp[0], predicted[0], scores


def _grid(grid: ArrayLike | None) -> np.ndarray:
    return np.linspace(0, 1, 101) if grid is None else np.asarray(grid, np.float64)


def _band(
    score: ArrayLike,
    is_abnormal: ArrayLike,
    patients: ArrayLike,
    replicates: int,
    seed: int,
    height: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles of the curves' heights, point by point, over bootstrap replicates of patients."""
    _counts(score, is_abnormal)  # refuses what has no curve

    def heights(weights: np.ndarray) -> dict[str, np.ndarray]:
        tp, predicted, _ = cumulative_counts(score, is_abnormal, weights)
        return {"heights": np.array([height(*one) for one in zip(tp, predicted, strict=True)])}

    drawn, _ = bootstrap(heights, patients, np.asarray(is_abnormal, bool), replicates, seed)
    if len(drawn["heights"]) == 0:
        raise DataError(f"a class is missing in all {replicates} bootstrap replicates", "use more replicates")
    low, high = np.quantile(drawn["heights"], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def _tpr_at(grid: np.ndarray, tp: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Sensitivity at each fpr; where the curve is upright, its upper end."""
    fp = predicted - tp
    return np.interp(grid, np.append(0.0, fp / fp[-1]), np.append(0.0, tp / tp[-1]))


def _precision_at(grid: np.ndarray, tp: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Precision where the recall first reaches each value."""
    tp, predicted = tp[predicted > 0], predicted[predicted > 0]  # the highest scores may not have been drawn
    first = np.searchsorted(tp / tp[-1], grid - 1e-12)  # a recall of 3/10 reaches 0.3 in spite of rounding
    return (tp / predicted)[np.minimum(first, len(tp) - 1)]
