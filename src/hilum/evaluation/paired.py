"""Paired tests of two models on the same cases, and an interval over patients.

- AUROC: DeLong's test (1988) in the fast form of Sun & Xu (2014), O(n log n) by midranks. With more than two
  classes the mean of the one-against-rest AUROCs is compared; its variance comes from the same structural
  components, summed per case over the classes and then stratified by class, which for two classes is DeLong's
  formula itself.
- Accuracy: McNemar's exact test (1947): the cases that only one of the two classified correctly, against a fair coin.
- Several comparisons: Holm's step-down correction (1979), which is never weaker than Bonferroni's.

DeLong's and McNemar's tests take cases as independent. Images of one patient are not, so where patients have
several images both p-values are too small; `difference` therefore gives the interval of a bootstrap over
patients beside them, and where the two disagree the interval is the one to rely on. Both tests also take the
models as given: they say nothing about another seed of the same recipe (see the spread over seeds).

References
    McNemar Q. Note on the sampling error of the difference between correlated proportions. Psychometrika 12
        (1947).
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 6 (1979).
    DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated ROC curves: a
        nonparametric approach. Biometrics 44 (1988).
    Sun X, Xu W. Fast implementation of DeLong's algorithm for comparing the areas under correlated ROC
        curves. IEEE Signal Process Lett 21 (2014).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hilum.errors import DataError
from hilum.evaluation import metrics as m
from hilum.evaluation.intervals import bootstrap, with_interval


@dataclass(frozen=True)
class AurocTest:
    """`first` and `second`: the two areas; `se`: standard error of their difference; `z`, and the two-sided
    `p` under the normal distribution."""

    first: float
    second: float
    se: float
    z: float
    p: float


def delong(first: ArrayLike, second: ArrayLike, target: ArrayLike) -> AurocTest:
    """DeLong's test of two AUROCs on the same cases; two-sided.

    `first`, `second`: probabilities "cases classes" of the two models, or scores "cases" of class 1 of two.
    `target`: class indices, "cases". With more than two classes: the mean of the one-against-rest areas.
    DataError when a class has fewer than two cases, because no variance can be had then.

    Where all structural components agree (both models rank every pair alike) the difference is 0 and p is 1.

    >>> test = delong([.1, .4, .35, .8, .7], [.2, .3, .6, .5, .1], [0, 0, 1, 1, 1])
    >>> round(test.first, 4), round(test.second, 4)
    (0.8333, 0.6667)
    """
    a, b, index = _as_scores(first), _as_scores(second), np.asarray(target, np.int64)
    if a.shape != b.shape or len(index) != a.shape[0]:
        raise ValueError(f"scores of shapes {a.shape} and {b.shape} do not fit {len(index)} cases")
    counts = np.bincount(index, minlength=2)
    if (counts < 2).any():
        raise DataError(
            f"class number {int(counts.argmin())} has {int(counts.min())} cases, too few for DeLong's test",
            "two or more of each class are needed",
        )
    (area_a, parts_a), (area_b, parts_b) = _contributions(a, index), _contributions(b, index)
    se = float(np.sqrt(_stratified_variance(parts_a - parts_b, index)))
    gap = area_a - area_b
    z = 0.0
    if abs(gap) > 1e-12:  # without spread any difference is infinitely many standard errors
        z = gap / se if se > 1e-12 else float(np.copysign(np.inf, gap))
    return AurocTest(area_a, area_b, se, z, float(2 * stats.norm.sf(abs(z))))


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> dict[str, Any]:
    """McNemar's exact test of two accuracies on the same cases; two-sided.

    `first_correct`, `second_correct`: whether each model classified each case correctly, "cases". Gives
    `only_first` and `only_second`, the cases that only one model classified correctly, and `p`: twice the
    smaller tail of a binomial with one half, at most 1; 1 when there are no such cases.

    >>> mcnemar([1] * 8 + [0] * 2 + [1], [0] * 8 + [1] * 2 + [1])  # 2 (1 + 10 + 45) / 1024
    {'only_first': 8, 'only_second': 2, 'p': 0.109375}
    """
    a, b = np.asarray(first_correct, bool), np.asarray(second_correct, bool)
    if a.shape != b.shape:
        raise ValueError(f"{a.shape} and {b.shape} are not the same cases")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    tail = stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)
    return {"only_first": only_a, "only_second": only_b, "p": min(1.0, float(2 * tail))}


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values corrected for their number (Holm 1979), in the same order, at most 1; NaN stays and does not
    count as a comparison.

    The k-th smallest of n is multiplied by n - k + 1, and none is smaller than the one before it.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    corrected = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return corrected


def difference(
    first: ArrayLike,
    second: ArrayLike,
    first_correct: ArrayLike,
    second_correct: ArrayLike,
    target: ArrayLike,
    patients: ArrayLike,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """First minus second, with the 95 % interval of a bootstrap over patients: {"auroc": {value, low, high},
    "accuracy": {...}}.

    Each replicate draws patients and scores both models on them, so what the two share cancels.
    Shapes as in `delong` and `mcnemar`; `patients`: the patient of each case.

    >>> figures = difference([.1, .9], [.1, .9], [1, 1], [1, 0], [0, 1], ["ann", "bob"], replicates=0)
    >>> figures["accuracy"]["value"], figures["auroc"]["value"]
    (0.5, 0.0)
    """
    a, b, index = _as_scores(first), _as_scores(second), np.asarray(target, np.int64)
    gained = np.asarray(first_correct, np.float64) - np.asarray(second_correct, np.float64)

    def gaps(weights: np.ndarray) -> dict[str, np.ndarray]:
        area = _areas(a, index, weights) - _areas(b, index, weights)
        return {"auroc": area, "accuracy": weights @ gained / weights.sum(1)}

    figures = {name: {"value": float(value[0])} for name, value in gaps(np.ones((1, len(index)))).items()}
    if replicates:
        for name, values in bootstrap(gaps, patients, index, replicates, seed)[0].items():
            figure = with_interval(figures[name]["value"], values)
            figures[name] |= figure.model_dump(exclude_none=True)
    return figures


def _as_scores(values: ArrayLike) -> np.ndarray:
    """Scores "cases columns": one column for two classes, else one per class."""
    scores = np.asarray(values, np.float64)
    if scores.ndim == 1:
        return scores[:, None]
    return scores[:, 1:] if scores.shape[1] == 2 else scores


def _classes(scores: np.ndarray) -> list[int]:
    """The class that each column belongs to."""
    return [1] if scores.shape[1] == 1 else list(range(scores.shape[1]))


def _areas(scores: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(m.auroc(scores[:, column], target == index, weights))
        for column, index in enumerate(_classes(scores))
    ]
    return np.mean(parts, axis=0)


def _contributions(scores: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The area, and what each case adds to it: structural components (V10 of a positive case, the share of
    negative ones below it; V01 of a negative one, the share of positive ones above it) divided by the number
    of cases of its side."""
    areas, total = [], np.zeros(len(target))
    known = _classes(scores)
    for column, index in enumerate(known):
        positive = target == index
        n, rest = int(positive.sum()), int((~positive).sum())
        among_all = stats.rankdata(scores[:, column])
        within = np.empty(len(target))
        within[positive] = stats.rankdata(scores[positive, column])
        within[~positive] = stats.rankdata(scores[~positive, column])
        beaten = among_all - within  # cases of the other side below, ties counting one half
        component = np.where(positive, beaten / rest, 1 - beaten / n)
        areas.append(float(component[positive].mean()))
        total += component / np.where(positive, n, rest) / len(known)
    return float(np.mean(areas)), total


def _stratified_variance(parts: np.ndarray, target: np.ndarray) -> float:
    """Variance of a sum of independent parts, each class having as many cases as it has."""
    total = 0.0
    for index in np.unique(target):
        inside = parts[target == index]
        total += len(inside) * float(inside.var(ddof=1))
    return total
