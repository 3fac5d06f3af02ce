"""Intervals of figures of a whole confusion matrix (F1, MCC, balanced accuracy ...), over patients.

Such a figure v lies between a worst value and 1. Its variance follows from that of the matrix by the delta method:
each class's row is multinomial at the effective number of its images, and how common the classes are is
multinomial over patients. The figure then gets Wilson's interval of a share at the sample size n = v (1 - v) /
variance, so that a perfect matrix has an interval below 1. Rates and variance are taken of a matrix with one more
image in each row, half of it correct and half of it wrong (Jeffreys 1946), which keeps the variance above 0.

Adding the squares of the distances to Wilson's ends (MOVER, Donner & Zou 2012) was tried: near 1 its upper end is
too low, coverage 89 to 92 % (docs/log.md).

References
    Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 22 (1927).
    Jeffreys H. An invariant form for the prior probability in estimation problems. Proc R Soc A 186 (1946).
    Donner A, Zou GY. Closed-form confidence intervals for functions of the normal mean and standard deviation.
        Stat Methods Med Res 21 (2012).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.evaluation.clusters import effective_size
from hilum.evaluation.intervals import FEWEST_PATIENTS, LEVEL, too_few
from hilum.evaluation.metrics import confusion_matrix
from hilum.evaluation.shares import share_size, wilson_interval

Metric = Callable[[Any], Any]
"""Matrices "replicates classes classes" -> "replicates"; the matrices need not hold whole numbers."""

STEP = 1e-5
"""Of the numerical slopes, in shares of all images."""


@dataclass(frozen=True)
class JudgedTable:
    """A confusion matrix and how much its rows tell: effective numbers of images, and with each patient counted as
    one image, and of patients, each "classes"."""

    confusion: np.ndarray
    sizes: np.ndarray
    patients: np.ndarray
    n_patients: np.ndarray

    @classmethod
    def of(
        cls, target: np.ndarray, predicted: np.ndarray, scores: np.ndarray, patients: np.ndarray
    ) -> "JudgedTable":
        """`target`, `predicted`: class indices, "cases"; `scores`: "cases classes", higher for the class."""
        sizes, counted, people = [], [], []
        for index in range(scores.shape[1]):
            rows = target == index
            sizes.append(share_size(predicted[rows] == index, patients[rows], scores[rows, index]))
            counted.append(effective_size(patients[rows], 1.0))
            people.append(len(np.unique(patients[rows])))
        table = confusion_matrix(target, predicted, scores.shape[1])
        return cls(table, np.array(sizes), np.array(counted), np.array(people))

    def figure(self, metric: Metric, worst: float = 0.0) -> Figure:
        """A metric of the matrix with its interval; `worst`: the lowest value that it can have.

        >>> from hilum.evaluation.metrics import f1
        >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
        >>> table = JudgedTable.of(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), sure, np.arange(4))
        >>> figure = table.figure(f1)
        >>> figure.value, round(figure.low, 2), figure.high
        (1.0, 0.47, 1.0)
        """
        value = float(metric(self.confusion))
        if np.isnan(value):
            return Figure(value=None)
        fewest = int(self.n_patients.min())
        if fewest < FEWEST_PATIENTS:
            return Figure(value=value, reason=too_few(fewest))
        low, high = table_interval(metric, self.confusion, self.sizes, self.patients, worst)
        return Figure(value=value, low=low, high=high)


def table_interval(
    metric: Metric,
    confusion: ArrayLike,
    sizes: Sequence[float] | np.ndarray,
    patients: Sequence[float] | np.ndarray,
    worst: float = 0.0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The interval of `metric` of a confusion matrix, rows true, columns predicted; each row has cases.

    `sizes`: the effective number of images of each class; `patients`: that where a patient counts as one image.
    `worst`: the lowest value that the metric can have. Where it is not defined the ends are NaN.

    >>> from hilum.evaluation.metrics import balanced_accuracy
    >>> [round(end, 3) for end in table_interval(balanced_accuracy, [[50, 0], [0, 50]], [50, 50], [50, 50])]
    [0.963, 1.0]
    """
    table = np.asarray(confusion, np.float64)
    value = (float(metric(table[None])[0]) - worst) / (1 - worst)
    rows, common = _smoothed(table), table.sum(1) / table.sum()
    smooth = (float(metric((rows * common[:, None])[None])[0]) - worst) / (1 - worst)
    variance = _variance(metric, rows, common, np.asarray(sizes), float(np.sum(patients))) / (1 - worst) ** 2
    size = smooth * (1 - smooth) / variance
    if not np.isfinite(size + value):
        return float("nan"), float("nan")
    low, high = wilson_interval(size if value == 1 else value * size, size, level)
    return worst + low * (1 - worst), worst + high * (1 - worst)


def _smoothed(table: np.ndarray) -> np.ndarray:
    """The rows as shares, after one image more in each."""
    classes = len(table)
    more = np.full(table.shape, 0.5 / (classes - 1))
    np.fill_diagonal(more, 0.5)
    rows = table + more
    return rows / rows.sum(1, keepdims=True)


def _variance(
    metric: Metric, rows: np.ndarray, common: np.ndarray, sizes: np.ndarray, patients: float
) -> float:
    """By the delta method, each row and the shares of the classes drawn independently of each other."""
    table = rows * common[:, None]
    moved = np.eye(table.size).reshape(-1, *table.shape) * STEP
    slope = ((metric(table + moved) - metric(table - moved)) / (2 * STEP)).reshape(table.shape)
    within = (rows * slope**2).sum(1) - (rows * slope).sum(1) ** 2
    of_class = (rows * slope).sum(1)
    between = float(common @ of_class**2 - (common @ of_class) ** 2)
    return float((common**2 * within / sizes).sum()) + between / patients
