"""Figures of plain and counterfactual images of the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.artifacts.counterfactual import CounterfactualPoint
from hilum.data.labels import HEALTHY
from hilum.errors import DataError
from hilum.evaluation.areas import area_figure
from hilum.evaluation.curves import roc_band
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.intervals import FEWEST_PATIENTS, bootstrap, too_few, with_interval
from hilum.evaluation.metrics import auroc, cumulative_counts
from hilum.evaluation.shares import share_figure
from hilum.inference.rules import HALF

Measured = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answers:
    """Probabilities "images classes" of a set of images. `classes[0]` is the healthy class; `threshold`: see
    `evaluate`."""

    probabilities: np.ndarray
    classes: Sequence[str]
    threshold: float | None

    @property
    def abnormal(self) -> np.ndarray:
        """Probability of any abnormal class, "images"."""
        return 1 - self.probabilities[:, 0]

    @property
    def predicted(self) -> np.ndarray:
        """Class names, "images"."""
        return predicted_classes(self.probabilities, self.classes, self.threshold)

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`rows` with the columns prob_<class> and predicted."""
        columns = {f"prob_{name}": self.probabilities[:, at] for at, name in enumerate(self.classes)}
        return rows.assign(predicted=self.predicted, **columns)


def check_healthy(classes: Sequence[str]) -> None:
    """DataError where no class is healthy: then no label has "the other devices"."""
    if classes[0] != HEALTHY:
        raise DataError(
            f"the acquisition counterfactual compares {HEALTHY} and abnormal images, "
            f"the classes are {', '.join(classes)}",
            "name the label of healthy images with --healthy, if there is one",
        )


def point(
    rows: pd.DataFrame,
    answers: Answers,
    plain: Answers | None,
    fixed: float,
    replicates: int,
    seed: int = 0,
) -> CounterfactualPoint:
    """The figures of one set. `rows`: case_id, patient, target in the order of the answers; `plain`: the answers
    for the same images as they are, None where `answers` are these.

    >>> rows = pd.DataFrame({"case_id": [*"abcd"], "patient": [*"abcd"],
    ...     "target": ["normal", "normal", "virus", "virus"]})
    >>> both = [Answers(np.array([[1 - p, p] for p in ps]), ("normal", "virus"), 0.5)
    ...     for ps in ([0.1, 0.2, 0.8, 0.9], [0.1, 0.85, 0.8, 0.9])]
    >>> swapped = point(rows, both[1], both[0], fixed=0.9, replicates=0)
    >>> swapped.auroc.value, swapped.specificity.counts, swapped.flipped.counts, swapped.auroc_change.value
    (0.75, '1/2', '1/4', -0.25)
    """
    check_healthy(answers.classes)
    block = evaluate(answers.table(rows), answers.classes, answers.threshold, replicates, seed)
    two = block["normal_vs_abnormal"] if len(answers.classes) > 2 else block
    more = _more_figures(rows, answers, plain, fixed, replicates, seed)
    return CounterfactualPoint(
        accuracy=_figure(block["accuracy"]),
        auroc=_figure(two["auroc"]),
        sensitivity=_figure(two["sensitivity"]),
        specificity=_figure(two["specificity"]),
        **more,
    )


def counterfactual_auroc(abnormal: np.ndarray, target: Sequence[str], patients: ArrayLike) -> Figure:
    """AUROC of normal against abnormal, with its interval over patients. `abnormal`: its probability, "images";
    without a value where one side is absent.

    >>> counterfactual_auroc(np.array([0.1, 0.9]), ["normal", "virus"], ["ann", "bob"]).value
    1.0
    """
    return area_figure(abnormal, np.asarray(target) != HEALTHY, patients)


# -- figures that `evaluate` does not have -------------------------------------------------------------------


def _more_figures(
    rows: pd.DataFrame, answers: Answers, plain: Answers | None, fixed: float, replicates: int, seed: int
) -> dict[str, Figure]:
    target, people = rows["target"].to_numpy() != HEALTHY, rows["patient"].to_numpy()
    healthy, score = ~target, answers.abnormal
    figures = {
        "specificity_at_half": share_figure(score[healthy] < HALF, people[healthy], score[healthy]),
        "sensitivity_at_fixed": _at_fixed(score, target, people, fixed),
        "specificity_at_fixed": _at_fixed(-score, healthy, people, fixed),
    }
    if plain is not None:
        figures["flipped"] = share_figure(answers.predicted != plain.predicted, people)
        figures["auroc_change"] = _auroc_change(answers, plain, target, people, replicates, seed)
    return figures


def _at_fixed(score: np.ndarray, positive: np.ndarray, people: np.ndarray, specificity: float) -> Figure:
    """The greatest sensitivity at this specificity, a point of the ROC curve, with the curve's band there."""
    value = float(sensitivity_at(score, positive, specificity, np.ones((1, len(score))))[0])
    counts = [len(np.unique(people[rows])) for rows in (positive, ~positive)]
    if not min(counts):
        return Figure(value=None, reason=f"all {len(score)} images are of one class")
    if min(counts) < FEWEST_PATIENTS:
        return Figure(value=value, reason=too_few(min(counts)))
    band = roc_band(score, positive, people, [1 - specificity])
    return Figure(value=value, low=min(float(band["low"][0]), value), high=max(float(band["high"][0]), value))


def _auroc_change(
    answers: Answers, plain: Answers, target: np.ndarray, people: np.ndarray, replicates: int, seed: int
) -> Figure:
    def measure(weights: np.ndarray) -> Measured:
        first, second = (np.asarray(auroc(each.abnormal, target, weights)) for each in (answers, plain))
        return {"change": first - second}

    once = float(measure(np.ones((1, len(target))))["change"][0])
    if not replicates:
        return Figure(value=once)
    drawn, _ = bootstrap(measure, people, target, replicates, seed)
    return with_interval(once, drawn["change"])


def sensitivity_at(
    score: np.ndarray, positive: np.ndarray, specificity: float, weights: np.ndarray
) -> np.ndarray:
    """The greatest sensitivity of all thresholds with at least this specificity, "replicates".

    `score`, `positive`: "cases"; `weights`: "replicates cases". The threshold is chosen anew in each replicate.

    >>> score, positive = np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True])
    >>> sensitivity_at(score, positive, 0.9, np.ones((1, 4))), sensitivity_at(score, positive, 0.5, np.ones((1, 4)))
    (array([0.5]), array([1.]))
    """
    tp, predicted, _ = cumulative_counts(score, positive, weights)
    fp = predicted - tp
    allowed = fp <= (1 - specificity) * fp[:, -1:] + 1e-9
    return _share(np.where(allowed, tp, 0).max(1), tp[:, -1])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where a replicate has no such case."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _figure(entry: Any) -> Figure:
    return entry if isinstance(entry, Figure) else Figure.model_validate(entry)
