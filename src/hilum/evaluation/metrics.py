"""Metrics as pure functions of numbers: no models, no files, no classes by name.

Two kinds:

- A metric of counts (accuracy, sensitivity, F1 ...) takes a confusion matrix, rows true, columns predicted.
- A metric of scores (AUROC, Brier score ...) takes one score per case and the truth.

Weights say how often each case counts. They enter `confusion_matrix` and every metric of scores. With None
(every case once) or weights "cases" a metric is a float. With weights "replicates cases" it comes back once
per replicate, so a thousand bootstrap replicates are one call.

A case with weight 2 gives exactly what two equal rows would give, one with weight 0 what a missing row would
give. Weights are summed as float64, which is fast and exact for whole numbers. Metrics of scores take fractions as
well, such as the weights of strata; a confusion matrix counts, so it takes whole numbers only.

A metric that is 0/0 is NaN, never 0 or 1: the precision of a class that is never predicted, the sensitivity
to a class that does not occur, the AUROC of one class alone. A macro average is the plain mean over all
classes, so it is NaN when one of its parts is.

References
    Brier GW. Verification of forecasts expressed in terms of probability. Mon Weather Rev 78 (1950).
    Matthews BW. Comparison of the predicted and observed secondary structure of T4 phage lysozyme.
        Biochim Biophys Acta 405 (1975).
    van Rijsbergen CJ. Information Retrieval, 2nd ed. (1979).
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 143 (1982).
    Altman DG, Bland JM. Diagnostic tests 1: sensitivity and specificity. BMJ 308 (1994); 2: predictive
        values. BMJ 309 (1994).
    Gorodkin J. Comparing two K-category assignments by a K-category correlation coefficient.
        Comput Biol Chem 28 (2004).
    Davis J, Goadrich M. The relationship between precision-recall and ROC curves. ICML (2006).
    Brodersen KH et al. The balanced accuracy and its posterior distribution. ICPR (2010).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError

Metric = float | np.ndarray
"""A float, or one float per replicate: "replicates"."""

CLIP = 1e-7
"""The log-loss raises smaller probabilities to this, so that one confident error costs 16.1 and not infinity."""


# -- metrics of counts ---------------------------------------------------------------------------------------


def confusion_matrix(
    target: ArrayLike, predicted: ArrayLike, n_classes: int, weights: ArrayLike | None = None
) -> np.ndarray:
    """How often cases of each class were classified as each class: rows true, columns predicted, int64.

    `target` and `predicted`: class indices, "cases". Returns "classes classes", or for weights
    "replicates cases" the same once per replicate. DataError for weights that are no whole numbers.

    >>> confusion_matrix([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], n_classes=2).tolist()
    [[1, 1], [1, 2]]
    >>> confusion_matrix([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], n_classes=2, weights=[2, 0, 1, 1, 1]).tolist()
    [[2, 0], [1, 2]]
    """
    target, predicted = np.asarray(target, np.int64), np.asarray(predicted, np.int64)
    counts, single = _as_replicates(weights, len(target))
    cells = np.zeros((len(target), n_classes * n_classes))
    cells[np.arange(len(target)), target * n_classes + predicted] = 1
    if weights is not None and (counts != np.floor(counts)).any():
        raise DataError(
            f"weight {counts[counts != np.floor(counts)][0]:g} is no whole number, but a confusion matrix counts",
            "say how often each case counts",
        )
    table = (counts @ cells).astype(np.int64)
    table = table.reshape(-1, n_classes, n_classes)
    return table[0] if single else table


def accuracy(confusion: ArrayLike) -> Metric:
    """Share of cases that were classified correctly, 0 to 1.

    >>> accuracy([[1, 1], [1, 2]])
    0.6
    """
    table = np.asarray(confusion)
    return _ratio(np.trace(table, axis1=-2, axis2=-1), table.sum((-2, -1)))


def sensitivity(confusion: ArrayLike, positive: int = 1) -> Metric:
    """Share of the class `positive` that was classified as such (recall), 0 to 1 (Altman & Bland 1994).

    NaN if the class does not occur.

    >>> sensitivity([[1, 1], [1, 3]])
    0.75
    """
    tp, _, fn, _ = _one_against_rest(confusion, positive)
    return _ratio(tp, tp + fn)


def specificity(confusion: ArrayLike, positive: int = 1) -> Metric:
    """Share of all other cases that were not classified as `positive`, 0 to 1 (Altman & Bland 1994).

    NaN if there are no others.

    >>> specificity([[1, 1], [1, 3]])
    0.5
    """
    _, fp, _, tn = _one_against_rest(confusion, positive)
    return _ratio(tn, tn + fp)


def precision(confusion: ArrayLike, positive: int = 1) -> Metric:
    """Share of the cases classified as `positive` that are (positive predictive value), 0 to 1.

    NaN if no case was classified as it. It depends on how common the class is among these cases, so it does not
    carry over to a clinic where fewer patients are abnormal (Altman & Bland 1994).

    >>> precision([[1, 1], [1, 3]])
    0.75
    """
    tp, fp, _, _ = _one_against_rest(confusion, positive)
    return _ratio(tp, tp + fp)


def negative_predictive_value(confusion: ArrayLike, positive: int = 1) -> Metric:
    """Share of the cases not classified as `positive` that are not, 0 to 1 (Altman & Bland 1994).

    NaN if all cases were classified as it. It depends on how common the class is, as precision does.

    >>> negative_predictive_value([[1, 1], [1, 3]])
    0.5
    """
    _, _, fn, tn = _one_against_rest(confusion, positive)
    return _ratio(tn, tn + fn)


def f1(confusion: ArrayLike, positive: int = 1) -> Metric:
    """Harmonic mean of precision and sensitivity, 0 to 1: 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979).

    0 when the class occurs and is never predicted; NaN when it neither occurs nor is predicted.

    >>> f1([[1, 1], [1, 2]])  # 4 / (4 + 1 + 1)
    0.6666666666666666
    """
    tp, fp, fn, _ = _one_against_rest(confusion, positive)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def macro(metric: Callable[[ArrayLike, int], Metric], confusion: ArrayLike) -> Metric:
    """Plain mean of a one-against-rest metric over all classes, each class counting the same.

    >>> macro(sensitivity, [[1, 1], [1, 3]])  # (1/2 + 3/4) / 2
    0.625
    """
    n_classes = np.shape(confusion)[-1]
    per_class = np.stack([np.asarray(metric(confusion, index)) for index in range(n_classes)])
    return _plain(per_class.mean(0))


def balanced_accuracy(confusion: ArrayLike) -> Metric:
    """Mean sensitivity over the classes, 0 to 1; 1 / classes is guessing (Brodersen et al. 2010).

    NaN if a class does not occur. For two classes it is (sensitivity + specificity) / 2.

    >>> balanced_accuracy([[9, 1], [2, 2]])  # (0.9 + 0.5) / 2
    0.7
    """
    return macro(sensitivity, confusion)


def mcc(confusion: ArrayLike) -> Metric:
    """Matthews correlation coefficient, -1 to 1; 0 is guessing (Matthews 1975, two classes).

    For any number of classes it is (Gorodkin 2004)
    (c s - sum_k t_k p_k) / sqrt((s^2 - sum_k t_k^2) (s^2 - sum_k p_k^2))
    with c correct of s cases, t_k cases of class k and p_k predictions of class k. NaN if all cases, or all
    predictions, are of one class (scikit-learn says 0 there).

    >>> mcc([[3, 1], [1, 3]])  # (3 * 3 - 1 * 1) / (4 * 4)
    0.5
    """
    table = np.asarray(confusion).astype(np.float64)
    total, correct = table.sum((-2, -1)), np.trace(table, axis1=-2, axis2=-1)
    true, predicted = table.sum(-1), table.sum(-2)
    spread = (total**2 - (true**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return _ratio(correct * total - (true * predicted).sum(-1), np.sqrt(spread))


# -- metrics of scores ---------------------------------------------------------------------------------------


def auroc(score: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Area under the ROC curve, 0 to 1; ties count one half (Hanley & McNeil 1982).

    It is the share of pairs, one positive and one negative, in which the positive case scores higher; 0.5 is
    guessing. `score`: any real numbers, "cases". `positive`: true or false, "cases". NaN if one class is
    absent. DataError names a score that is NaN.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])  # 3 of the 4 pairs are in order
    0.75
    """
    return ranking_metrics(score, positive, weights)[0]


def average_precision(score: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Area under the precision-recall curve by steps, 0 to 1: sum_n (recall_n - recall_n-1) precision_n.

    The sum runs over the distinct scores, so tied cases enter together, as in scikit-learn. Points are not
    joined by straight lines, which would flatter (Davis & Goadrich 2006). Guessing earns the share of
    positive cases. NaN if one class is absent.

    >>> average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])  # 1/2 * 1/1 + 1/2 * 2/3
    0.8333333333333333
    """
    return ranking_metrics(score, positive, weights)[1]


def ranking_metrics(
    score: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Metric, Metric]:
    """`auroc` and `average_precision` from one sorting, which is most of the work of either.

    >>> ranking_metrics([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    (0.75, 0.8333333333333333)
    """
    counts, single = _as_replicates(weights, np.size(score))
    tp, predicted, _ = cumulative_counts(score, positive, counts)
    fp = predicted - tp
    n_positive, n_negative = tp[:, -1], fp[:, -1]
    gained = np.diff(tp, axis=1, prepend=0)
    tied = np.diff(fp, axis=1, prepend=0)
    # Twice the pairs in order: each positive beats the negatives below its score, and half of those at it.
    beaten = 2 * n_positive * n_negative - 2 * _row_sums(gained, fp) + _row_sums(gained, tied)
    area = _divide(beaten, 2 * n_positive * n_negative)
    # Where no case is predicted positive (highest scores not drawn) nothing is gained, so any precision will do.
    share = np.divide(tp, predicted, out=np.zeros_like(tp), where=predicted > 0)
    ap = _divide(_row_sums(gained, share), n_positive)
    ap[n_negative == 0] = np.nan
    return (float(area[0]), float(ap[0])) if single else (area, ap)


def cumulative_counts(
    score: ArrayLike, positive: ArrayLike, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, and all that are predicted positive, when the line is drawn at each distinct score.

    A case is predicted positive when its score is at least that of the line. `weights`: "replicates cases".
    Returns two counts "replicates scores" and the distinct scores from high to low. ROC and precision-recall
    curves and their areas all come from here.

    >>> tp, flagged, line = cumulative_counts([0.2, 0.7, 0.7, 0.9], [0, 0, 1, 1], np.ones((1, 4)))
    >>> tp.tolist(), flagged.tolist(), line.tolist()
    ([[1.0, 2.0, 2.0]], [[1.0, 3.0, 4.0]], [0.9, 0.7, 0.2])
    """
    score, positive = np.asarray(score, np.float64), np.asarray(positive, bool)
    if np.isnan(score).any():
        raise DataError(
            f"the score of case {np.flatnonzero(np.isnan(score))[0]} (counted from 0) is NaN, which has no rank",
            "leave the case out or score it again",
        )
    order = np.argsort(-score, kind="stable")
    sorted_score, sorted_weights = score[order], weights[:, order]
    tp = np.cumsum(sorted_weights * positive[order], axis=1)
    predicted = np.cumsum(sorted_weights, axis=1)
    last_of_ties = np.append(sorted_score[1:] != sorted_score[:-1], True)
    if not last_of_ties.all():
        tp, predicted = tp[:, last_of_ties], predicted[:, last_of_ties]
    return tp, predicted, sorted_score[last_of_ties]


def brier(probability: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Brier score for two classes: mean squared error of the probability of `positive`, 0 (best) to 1.

    This is the common form for two classes, half of what `brier_multiclass` gives (Brier 1950 summed over
    both classes). 0.25 is what a constant 0.5 earns.

    >>> brier([0.5, 1.0], [0, 1])  # (0.25 + 0) / 2
    0.125
    """
    error = np.asarray(probability, np.float64) - np.asarray(positive, bool)
    return _mean(error**2, weights)


def brier_multiclass(probabilities: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Brier score summed over the classes, 0 (best) to 2 (Brier 1950).

    `probabilities`: "cases classes". `target`: class indices, "cases". (classes - 1) / classes is what equal
    probabilities earn.

    >>> brier_multiclass([[0.5, 0.25, 0.25]], [0])  # 0.25 + 0.0625 + 0.0625
    0.375
    """
    values = np.asarray(probabilities, np.float64)
    truth = np.eye(values.shape[1])[np.asarray(target, np.int64)]
    return _mean(((values - truth) ** 2).sum(1), weights)


def log_loss(probabilities: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Mean of -ln(probability of the true class), 0 (best) to 16.1; also called cross-entropy.

    `probabilities`: "cases classes". `target`: class indices, "cases". The probability of the true class is
    clipped to at least 1e-7. ln(classes) is what equal probabilities earn.

    >>> log_loss([[0.5, 0.5], [0.75, 0.25]], [0, 1])  # (ln 2 + ln 4) / 2
    1.0397207708399179
    """
    values, index = np.asarray(probabilities, np.float64), np.asarray(target, np.int64)
    of_truth = values[np.arange(len(index)), index]
    return _mean(-np.log(np.clip(of_truth, CLIP, 1.0)), weights)


# -- shared --------------------------------------------------------------------------------------------------


def _as_replicates(weights: ArrayLike | None, n_cases: int) -> tuple[np.ndarray, bool]:
    """Weights as "replicates cases", and whether the caller meant a single replicate."""
    if weights is None:
        return np.ones((1, n_cases)), True
    counts = np.asarray(weights, np.float64)
    if counts.ndim not in (1, 2) or counts.shape[-1] != n_cases:
        raise ValueError(f"weights of shape {counts.shape} do not fit {n_cases} cases")
    return np.atleast_2d(counts), counts.ndim == 1


def _one_against_rest(confusion: ArrayLike, positive: int) -> tuple[np.ndarray | np.number, ...]:
    """True positives, false positives, false negatives, true negatives of one class."""
    table = np.asarray(confusion)
    tp = table[..., positive, positive]
    fp = table[..., :, positive].sum(-1) - tp
    fn = table[..., positive, :].sum(-1) - tp
    return tp, fp, fn, table.sum((-2, -1)) - tp - fp - fn


def _mean(values: np.ndarray, weights: ArrayLike | None) -> Metric:
    """Weighted mean over the cases."""
    counts, single = _as_replicates(weights, len(values))
    means = _divide(counts @ values, counts.sum(1))
    return float(means[0]) if single else means


def _row_sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sums of the products along each row."""
    return np.einsum("rs,rs->r", a, b)


def _divide(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Metric:
    return _plain(_divide(part, whole))


def _plain(values: np.ndarray | np.float64) -> Metric:
    """A float where there is one value only."""
    return float(values) if np.ndim(values) == 0 else values
