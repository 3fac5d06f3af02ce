"""Curves over all operating points, with bands over patients, and calibration bins."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hilum.artifacts.curves import Bin, ClassCurves, Curve, Curves
from hilum.errors import DataError
from hilum.evaluation.chance import BY_CHANCE, binned_gaps
from hilum.evaluation.clusters import effective_size, intraclass_correlation, normal_scores
from hilum.evaluation.decision import checked_probabilities
from hilum.evaluation.metrics import cumulative_counts
from hilum.evaluation.shares import hit_correlation, share_figure, share_interval, wilson_interval

DIAGRAM_BINS, CASES_PER_BIN = 10, 20
"""At most so many bins in a reliability diagram, and about so many cases in each at least."""

DRAWS = 1000
"""Of calibrated models, for what chance explains in a reliability diagram."""

DIGITS = 6
"""Decimals of a curve in curves.json; a drawing shows three."""


def roc_curve(score: ArrayLike, is_abnormal: ArrayLike) -> dict[str, np.ndarray]:
    """Every operating point: {"fpr" (1 - specificity), "tpr" (sensitivity), "thresholds"}, each "points".

    From (0, 0) at threshold infinity to (1, 1); a case is classified as abnormal when its score is at least the
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
    score: ArrayLike, is_abnormal: ArrayLike, patients: ArrayLike, grid: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """The 95 % band of a ROC curve: {"fpr": grid, "low", "high"}, each "points".

    At each fpr of the grid (default 0, 0.01, ... 1): Wilson's interval of the sensitivity at the effective number of
    abnormal images, and what the curve does between the ends of Wilson's interval of the fpr; the two distances are
    added in squares (Newcombe 1998). It holds point by point, not for whole curves, and never shrinks to a point.
    `patients`: the patient of each case, "cases".

    >>> band = roc_band([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [*"abcd"], grid=[0.0, 1.0])
    >>> band["low"].round(2).tolist(), band["high"].tolist()
    ([0.34, 0.34], [1.0, 1.0])
    """
    at, side = _grid(grid), np.asarray(is_abnormal, bool)
    values, people = np.asarray(score, np.float64), np.asarray(patients)
    curve = roc_curve(values, side)
    upright = partial(np.interp, xp=curve["fpr"], fp=curve["tpr"])
    heights = upright(at)
    alarms = _intervals(at, values[~side], people[~side])
    own = _intervals(heights, values[side], people[side])
    low, high = _both(heights, own, [upright(alarms[:, 0]), upright(alarms[:, 1])])
    return {"fpr": at, "low": low, "high": high}


def pr_band(
    score: ArrayLike, is_abnormal: ArrayLike, patients: ArrayLike, grid: ArrayLike | None = None
) -> dict[str, np.ndarray]:
    """The 95 % band of a precision-recall curve: {"recall": grid, "low", "high"}, each "points".

    As `roc_band`, for the precision at the highest threshold with at least that recall, a patient counting as one
    image; and what the curve does between the ends of Wilson's interval of the recall.

    >>> band = pr_band([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [*"abcd"], grid=[1.0])
    >>> band["low"].round(2).tolist(), band["high"].tolist()
    ([0.34], [1.0])
    """
    at, side = _grid(grid), np.asarray(is_abnormal, bool)
    values = np.asarray(score, np.float64)
    people = np.unique(np.asarray(patients), return_inverse=True)[1]
    tp, predicted, scores = _counts(values, side)

    def place(recall: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(tp / tp[-1], recall - 1e-12), len(tp) - 1)

    heights = (tp / predicted)[place(at)]
    own = np.array(
        [share_interval(side[rows], people[rows]) for rows in values >= scores[place(at)][:, None]]
    )
    recalls = _intervals(at, values[side], people[side])
    low, high = _both(heights, own, [(tp / predicted)[place(ends)] for ends in recalls.T])
    return {"recall": at, "low": low, "high": high}


def _intervals(shares: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Wilson's intervals of shares that a threshold cuts from one class, "points 2"."""
    latent = intraclass_correlation(normal_scores(scores), patients)
    n = len(scores)
    sizes = [effective_size(patients, hit_correlation(latent, (n * p + 1) / (n + 2))) for p in shares]
    return np.array([wilson_interval(p * size, size) for p, size in zip(shares, sizes, strict=True)])


def _both(
    heights: np.ndarray, own: np.ndarray, neighbors: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, "points": the distances to the own interval and to the neighbouring curves, added in squares."""
    down = np.maximum(heights - np.minimum(*neighbors), 0)
    up = np.maximum(np.maximum(*neighbors) - heights, 0)
    low = heights - np.hypot(heights - own[:, 0], down)
    high = heights + np.hypot(own[:, 1] - heights, up)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def calibration_bins(
    probability: ArrayLike,
    is_abnormal: ArrayLike,
    bins: int = 10,
    patients: ArrayLike | None = None,
    families: int = 1,
) -> list[Bin]:
    """Stated probability and observed share in bins of about equally many cases, from low to high.

    Equal probabilities are never parted, so bins may be fewer and differ in size. Wilson's interval counts
    images as independent: it is too narrow where patients have several. With `patients`, the patient of each case,
    each bin says what chance explains: between which shares all bins of a calibrated model lie in 99 % of cases,
    in all of the `families` diagrams (one per class) together. DataError when a probability is no number in 0..1.

    >>> first, second = calibration_bins([0.1, 0.3, 0.6, 0.8], [0, 0, 1, 1], bins=2)
    >>> first.probability, first.observed, second.lowest, second.k, second.n
    (0.2, 0.0, 0.6, 2, 2)
    """
    values, abnormal = checked_probabilities(probability, is_abnormal)
    bin_of_case = equal_mass_bins(values, bins)
    made = [
        _bin(values[bin_of_case == number], abnormal[bin_of_case == number])
        for number in range(bin_of_case.max() + 1)
    ]
    if patients is None:
        return made
    member = np.eye(len(made))[bin_of_case]
    gaps = binned_gaps(np.clip(values, 0, 1), abnormal, member, patients, DRAWS, 0)
    widths = _simultaneous(gaps, member, patients, 1 - (1 - BY_CHANCE) / families) / member.sum(0)
    return [
        curve.model_copy(update={"by_chance": (curve.probability - width, curve.probability + width)})
        for curve, width in zip(made, widths.tolist(), strict=True)
    ]


def _simultaneous(gaps: np.ndarray, member: np.ndarray, patients: ArrayLike, level: float) -> np.ndarray:
    """How many events each bin's gap differs from 0 at most, "bins", where all do so in a share `level` of the draws.

    `gaps`: "draws bins". Each bin counts in its own standard deviations, to which the events of one patient are
    added, so that bins in which an event is rare do not rule the others.
    """
    patient = np.unique(np.asarray(patients), return_inverse=True)[1]
    images = np.array([np.bincount(patient, column) for column in member.T])
    scale = np.hypot(gaps.std(0), (images**2).sum(1) / images.sum(1))
    return scale * np.quantile((np.abs(gaps) / scale).max(1), level)


def curves_of(rows: pd.DataFrame, classes: Sequence[str], split: str, weights_digest: str) -> Curves:
    """The curves of one split for the report: of two classes the second, of more each against the rest.

    `rows`: the split's rows of predictions.csv. A class that no case or every case has is left out.

    >>> rows = pd.DataFrame({"patient": [*"abcd"], "target": ["normal", "normal", "abnormal", "abnormal"],
    ...     "predicted": ["normal", "normal", "normal", "abnormal"], "prob_abnormal": [0.1, 0.4, 0.35, 0.8]})
    >>> [curves] = curves_of(rows, ["normal", "abnormal"], "val", "digest").classes
    >>> curves.name, curves.share, curves.sensitivity.counts, curves.roc.x
    ('abnormal', 0.5, '1/2', [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    wanted = classes[1:] if len(classes) == 2 else classes
    present = rows["target"].value_counts()
    return Curves(
        weights_digest=weights_digest,
        split=split,
        n_cases=len(rows),
        classes=[
            _class_curves(rows, name, len(wanted)) for name in wanted if 0 < present.get(name, 0) < len(rows)
        ],
    )


def _class_curves(rows: pd.DataFrame, name: str, families: int) -> ClassCurves:
    score, positive = rows[f"prob_{name}"].to_numpy(np.float64), (rows["target"] == name).to_numpy()
    predicted, patients = (rows["predicted"] == name).to_numpy(), rows["patient"].to_numpy()
    roc, precision_recall = roc_curve(score, positive), pr_curve(score, positive)
    roc_limits, pr_limits = roc_band(score, positive, patients), pr_band(score, positive, patients)
    return ClassCurves(
        name=name,
        share=float(positive.mean()),
        roc=_curve(roc["fpr"], roc["tpr"], roc_limits["fpr"], roc_limits["low"], roc_limits["high"]),
        precision_recall=_curve(
            precision_recall["recall"],
            precision_recall["precision"],
            pr_limits["recall"],
            pr_limits["low"],
            pr_limits["high"],
        ),
        bins=calibration_bins(score, positive, diagram_bins(len(rows)), patients, families),
        sensitivity=share_figure(predicted[positive], patients[positive], score[positive]),
        false_positive_rate=share_figure(predicted[~positive], patients[~positive], score[~positive]),
        precision=share_figure(
            positive[predicted], patients[predicted], reason="no image was classified as the class"
        ),
    )


def _curve(*columns: np.ndarray) -> Curve:
    x, y, grid, low, high = (np.round(column, DIGITS).tolist() for column in columns)
    return Curve(x=x, y=y, grid=grid, low=low, high=high)


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


def _bin(values: np.ndarray, abnormal: np.ndarray) -> Bin:
    k, n = int(abnormal.sum()), len(abnormal)
    low, high = wilson_interval(k, n)
    return Bin(
        lowest=float(values.min()),
        highest=float(values.max()),
        probability=float(values.mean()),
        observed=k / n,
        low=low,
        high=high,
        k=k,
        n=n,
    )


def diagram_bins(cases: int) -> int:
    """How many bins a reliability diagram of this many cases has: 2 to 10, about 20 cases in each.

    >>> diagram_bins(50), diagram_bins(120), diagram_bins(5000)
    (2, 6, 10)
    """
    return max(2, min(DIAGRAM_BINS, cases // CASES_PER_BIN))


def _counts(score: ArrayLike, is_abnormal: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`metrics.cumulative_counts` of single cases; DataError when there is no curve to draw."""
    values, abnormal = np.asarray(score, np.float64), np.asarray(is_abnormal, bool)
    if np.isnan(values).any():
        raise DataError(
            f"the score of case {np.flatnonzero(np.isnan(values))[0]} (counted from 0) is NaN",
            "correct the value",
        )
    if abnormal.all() or not abnormal.any():
        raise DataError(
            "a curve needs cases of both classes, here all are the same", "use a split that holds both"
        )
    tp, predicted, scores = cumulative_counts(values, abnormal, np.ones((1, len(values))))
    return tp[0], predicted[0], scores


def _grid(grid: ArrayLike | None) -> np.ndarray:
    return np.linspace(0, 1, 101) if grid is None else np.asarray(grid, np.float64)
