"""Paired tests of two models on the same cases, by patient, and an interval over patients.

Images of one patient resemble each other, so a test that counts images calls chance a difference: with ten images
a patient, DeLong's and McNemar's tests at 5 % err at 20 to 30 % (benchmarks/verdicts.py). Here the patient is the
unit of both tests, and with one image per patient they are DeLong's and McNemar's own.

- AUROC: DeLong's test (1988) in the fast form of Sun & Xu (2014), O(n log n) by midranks, with the variance of
  Obuchowski (1997), which sums the structural components of a patient first. With more than two classes the mean
  of the one-against-rest AUROCs is compared; its components are summed per case over the classes. Student's t stands
  for the normal distribution, which says "different" in up to 7 % of sets where a class has 20 patients.
- Accuracy: the exact permutation test by patient. Were the models equal, each patient's gain of one over the
  other, in images, could as well have the other sign; the p-value counts all 2^patients ways. It is McNemar's
  exact test (1947) of patients, and takes any number of images of each.
- Several comparisons: Holm's step-down correction (1979), which is never weaker than Bonferroni's.

Both tests take the models as given: they say nothing about another seed of the same recipe (see the spread over
seeds).

References
    McNemar Q. Note on the sampling error of the difference between correlated proportions. Psychometrika 12
        (1947).
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 6 (1979).
    DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated ROC curves: a
        nonparametric approach. Biometrics 44 (1988).
    Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 53 (1997).
    Good P. Permutation, parametric and bootstrap tests of hypotheses, 3rd ed. (2005), matched pairs.
    Sun X, Xu W. Fast implementation of DeLong's algorithm for comparing the areas under correlated ROC
        curves. IEEE Signal Process Lett 21 (2014).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hilum.errors import DataError
from hilum.evaluation import metrics as m
from hilum.evaluation.intervals import bootstrap, with_interval


@dataclass(frozen=True)
class AurocTest:
    """`first` and `second`: the two areas; `se`: standard error of their difference; `z`: how many of them the
    difference is; `p`: two-sided, see `delong`."""

    first: float
    second: float
    se: float
    z: float
    p: float


def delong(
    first: ArrayLike, second: ArrayLike, target: ArrayLike, patients: ArrayLike | None = None
) -> AurocTest:
    """DeLong's test of two AUROCs on the same cases, clustered by patient (Obuchowski 1997); two-sided.

    `first`, `second`: probabilities "cases classes" of the two models, or scores "cases" of class 1 of two.
    `target`: class indices, "cases". `patients`: the patient of each case; None: each case has its own, which is
    DeLong's test itself. With more than two classes: the mean of the one-against-rest areas. p is that of Student's
    t with one degree of freedom less than the rarest class has patients, as that class rules the variance. DataError
    when a class has fewer than two patients, because no variance can be had then.

    Where all structural components agree (both models rank every pair alike) the difference is 0 and p is 1.

    >>> scores = [.1, .4, .35, .8, .7], [.2, .3, .6, .5, .1]
    >>> test = delong(*scores, [0, 0, 1, 1, 1])
    >>> round(test.first, 4), round(test.second, 4)
    (0.8333, 0.6667)
    >>> twice = [np.repeat(score, 2) for score in scores]  # every image two times: no more is known
    >>> delong(*twice, np.repeat([0, 0, 1, 1, 1], 2), np.repeat([*"abcde"], 2)).p == test.p
    True
    """
    a, b, index = _as_scores(first), _as_scores(second), np.asarray(target, np.int64)
    if a.shape != b.shape or len(index) != a.shape[0]:
        raise ValueError(f"scores of shapes {a.shape} and {b.shape} do not fit {len(index)} cases")
    (area_a, parts_a), (area_b, parts_b) = _contributions(a, index), _contributions(b, index)
    patient = _patients(patients, len(index))
    se = float(np.sqrt(_clustered_variance(parts_a - parts_b, index, patient)))
    rarest = min(len(np.unique(patient[index == name])) for name in np.unique(index))
    gap = area_a - area_b
    z = 0.0
    if abs(gap) > 1e-12:  # without spread any difference is infinitely many standard errors
        z = gap / se if se > 1e-12 else float(np.copysign(np.inf, gap))
    return AurocTest(area_a, area_b, se, z, float(2 * stats.t.sf(abs(z), rarest - 1)))


@dataclass(frozen=True)
class AccuracyTest:
    """`only_first`, `only_second`: cases that only one model classified correctly; `p`: two-sided."""

    only_first: int
    only_second: int
    p: float


def permutation(
    first_correct: ArrayLike, second_correct: ArrayLike, patients: ArrayLike | None = None
) -> AccuracyTest:
    """The exact permutation test of two accuracies on the same cases, by patient; two-sided.

    `first_correct`, `second_correct`: whether each model classified each case correctly, "cases", or how many of
    several seeds did. `patients`: the patient of each case; None: each case has its own, which is McNemar's exact
    test. p is the share of all ways to exchange the two models, for all images of a patient at once, whose difference
    is at least the one seen; 1 when no patient makes a difference. Exact for any number of patients; time grows with
    patients x differing images.

    >>> permutation([1] * 8 + [0] * 2 + [1], [0] * 8 + [1] * 2 + [1])  # 2 (1 + 10 + 45) / 1024
    AccuracyTest(only_first=8, only_second=2, p=0.109375)
    >>> permutation([1] * 8, [0] * 8, ["ann"] * 4 + ["bob"] * 4).p  # two patients can fall in four ways
    0.5
    """
    a, b = np.asarray(first_correct).astype(np.int64), np.asarray(second_correct).astype(np.int64)
    if a.shape != b.shape:
        raise ValueError(f"{a.shape} and {b.shape} are not the same cases")
    gained = a - b
    of_patient = np.bincount(_patients(patients, len(a)), weights=gained).astype(np.int64)
    return AccuracyTest(int((gained > 0).sum()), int((gained < 0).sum()), _share_of_signs(of_patient))


def _share_of_signs(gains: np.ndarray) -> float:
    """The share of all choices of signs for which |sum| is at least that of `gains`, whole numbers."""
    sizes = np.abs(gains[gains != 0])
    total = int(sizes.sum())
    ways = np.zeros(2 * total + 1)  # probability of each sum from -total to total
    ways[total] = 1.0
    for size in sizes:
        ways = (np.roll(ways, size) + np.roll(ways, -size)) / 2  # never reaches round the ends
    sums = np.arange(-total, total + 1)
    return min(1.0, float(ways[np.abs(sums) >= abs(int(gains.sum()))].sum()))


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
    Shapes as in `delong` and `permutation`; `patients`: the patient of each case.

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


def _patients(patients: ArrayLike | None, n_cases: int) -> np.ndarray:
    """The number of each case's patient, "cases"; ValueError when there are not as many as cases."""
    if patients is None:
        return np.arange(n_cases)
    names = np.asarray(patients)
    if names.shape != (n_cases,):
        raise ValueError(f"patients of shape {names.shape} do not fit {n_cases} cases")
    return np.unique(names, return_inverse=True)[1]


def _clustered_variance(parts: np.ndarray, target: np.ndarray, patient: np.ndarray) -> float:
    """Variance of a sum over patients, each class having the cases that it has (Obuchowski 1997, section 3).

    Parts are centred within their class and summed by patient and class. S10 and S01 of the paper are the
    products of one class's sums, S11 those of two classes in the same patient.
    """
    classes, index = np.unique(target, return_inverse=True)
    shape = patient.max() + 1, len(classes)
    cell = patient * len(classes) + index
    has = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape) > 0
    of_class = has.sum(0)
    if len(classes) < 2 or of_class.min() < 2:
        few, name = (0, 1 - classes[0]) if len(classes) < 2 else (of_class.min(), classes[of_class.argmin()])
        raise DataError(
            f"class number {name} has {few} patients, too few for DeLong's test",
            "two or more of each class are needed",
        )
    mean = np.bincount(index, parts) / np.bincount(index)
    sums = np.bincount(cell, parts - mean[index], minlength=shape[0] * shape[1]).reshape(shape)
    free = np.full((shape[1], shape[1]), shape[0] / (shape[0] - 1))
    np.fill_diagonal(free, of_class / (of_class - 1))
    return max(0.0, float((sums.T @ sums * free).sum()))
