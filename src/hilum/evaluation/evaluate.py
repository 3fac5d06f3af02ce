"""How good predictions are: validation in training, `hilum evaluate` and the report all call `evaluate`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.data.cases import HEALTHY
from hilum.evaluation import metrics as m
from hilum.evaluation.areas import area_correlations, mean_of, ranking_figures
from hilum.evaluation.checked import EvaluatedCases, checked
from hilum.evaluation.intervals import bootstrap, with_interval
from hilum.evaluation.shares import share_figure
from hilum.evaluation.tables import JudgedTable
from hilum.inference.rules import HALF, predicted_indices
from hilum.inference.rules import predicted_classes as predicted_classes

Figures = dict[str, Figure]

Block = dict[str, Any]
"""Figures by name, or blocks of them."""


def evaluate(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    threshold: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How good these predictions are: every metric with its 95 % interval, ready for JSON.

    `predictions`: one row per case of one split, with the columns case_id, patient, target (a class) and
    prob_<class> for each class; others are ignored. `classes`: in the model's order, the healthy one first.
    `threshold`: for two classes only; a case is classified as classes[1] when that probability is at least the
    threshold (default 0.5). With more classes the most probable one is predicted.

    The block is {metric: {"value", "low", "high"}, ...}; a plain share has "k" and "n" too (value = k / n).
    Intervals count patients and never shrink to a point (docs/intervals.md); those of brier and log_loss come from
    `replicates` bootstrap draws of patients. With 0 replicates no figure has "low" and "high". The threshold is held
    fixed, so on the split it was chosen on the intervals are a little too narrow.

    Two classes (abnormal = classes[1]): accuracy, balanced_accuracy, auroc, average_precision, sensitivity,
    specificity, precision, npv, f1, mcc, brier (mean squared error of P(abnormal)), log_loss, and
    accuracy_at_half (at threshold 0.5).

    More classes: accuracy, mcc, brier (summed over the classes), log_loss; balanced_accuracy, auroc,
    average_precision, sensitivity, specificity, f1 (each the plain mean over the classes, one against the
    rest); "per_class": {class: {auroc, average_precision, sensitivity, specificity, precision, f1}}; and if
    classes[0] is 'normal', "normal_vs_abnormal": {auroc, accuracy, sensitivity, specificity} of P(abnormal) =
    1 - P(normal), predicted abnormal from 0.5 on (not the same as "the most probable class is not normal").

    Besides: n_cases, n_patients, classes, confusion (rows true, columns predicted), threshold ({"class",
    "value"} or None), replicates, replicates_dropped (0: none is), seed.

    A metric that is 0/0 has value, low and high None, and a "reason"; one that has no interval, because a class has
    one patient, has low and high None and a "reason".
    The order of the rows changes nothing. DataError names the case when a column, id, patient, class or
    probability is missing or impossible.

    >>> table = pd.DataFrame({"case_id": list("abcd"), "patient": list("abcd"),
    ...     "target": ["normal", "normal", "abnormal", "abnormal"],
    ...     "prob_normal": [0.9, 0.6, 0.65, 0.2], "prob_abnormal": [0.1, 0.4, 0.35, 0.8]})
    >>> block = evaluate(table, ["normal", "abnormal"], replicates=0)
    >>> block["auroc"], block["sensitivity"], block["confusion"]
    ({'value': 0.75}, {'value': 0.5, 'k': 1, 'n': 2}, [[2, 0], [1, 1]])
    """
    data = checked(predictions, classes, threshold)
    block = _two_classes(data) if len(data.classes) == 2 else _more_classes(data)
    block |= _means(data, replicates, seed)
    why = _why_undefined(data)
    return {
        **_entries(block, why, with_ends=replicates > 0),
        "confusion": m.confusion_matrix(data.target, data.predicted, len(data.classes)).tolist(),
        "classes": list(data.classes),
        "n_cases": len(data.target),
        "n_patients": len(np.unique(data.patients)),
        "threshold": None if data.threshold is None else {"class": data.classes[1], "value": data.threshold},
        "replicates": replicates,
        "replicates_dropped": 0,
        "seed": seed,
    }


# -- the figures ---------------------------------------------------------------------------------------------


def _two_classes(data: EvaluatedCases) -> Block:
    abnormal, positive, people = data.target == 1, data.predicted == 1, data.patients
    area, precision = ranking_figures(data.probabilities[:, 1], abnormal, people)
    table = JudgedTable.of(data.target, data.predicted, data.probabilities, people)
    return {
        "accuracy": _accuracy(data, data.predicted),
        "balanced_accuracy": table.figure(m.balanced_accuracy),
        "auroc": area,
        "average_precision": precision,
        **_shares(abnormal, positive, data.probabilities[:, 1], people),
        "npv": share_figure(~abnormal[~positive], people[~positive]),
        "f1": table.figure(m.f1),
        "mcc": table.figure(m.mcc, worst=-1.0),
        "accuracy_at_half": _accuracy(data, predicted_indices(data.probabilities, HALF)),
    }


def _more_classes(data: EvaluatedCases) -> Block:
    names, people = data.classes, data.patients
    ranked = [
        ranking_figures(data.probabilities[:, index], data.target == index, people)
        for index in range(len(names))
    ]
    together = area_correlations(data.probabilities, data.target, people)
    table = JudgedTable.of(data.target, data.predicted, data.probabilities, people)
    block: Block = {
        "accuracy": _accuracy(data, data.predicted),
        "balanced_accuracy": table.figure(m.balanced_accuracy),
        "auroc": mean_of([area for area, _ in ranked], together),
        "average_precision": mean_of([precision for _, precision in ranked], together),
        "sensitivity": table.figure(partial(m.macro, m.sensitivity)),
        "specificity": table.figure(partial(m.macro, m.specificity)),
        "f1": table.figure(partial(m.macro, m.f1)),
        "mcc": table.figure(m.mcc, worst=-1.0),
        "per_class": {
            name: _of_class(data, index, *pair)
            for index, (name, pair) in enumerate(zip(names, ranked, strict=True))
        },
    }
    if names[0] == HEALTHY:  # ranking the abnormal by 1 - P(normal) is ranking the healthy by P(normal)
        block["normal_vs_abnormal"] = _normal_vs_abnormal(data, ranked[0][0])
    return block


def _of_class(data: EvaluatedCases, index: int, area: Figure, precision: Figure) -> Figures:
    """The figures of one class against the rest."""
    score, of_class, positive = data.probabilities[:, index], data.target == index, data.predicted == index
    table = JudgedTable.of(
        of_class.astype(int), positive.astype(int), np.column_stack([1 - score, score]), data.patients
    )
    shares = _shares(of_class, positive, score, data.patients)
    return {"auroc": area, "average_precision": precision, **shares, "f1": table.figure(m.f1)}


def _normal_vs_abnormal(data: EvaluatedCases, area: Figure) -> Figures:
    score, abnormal = 1 - data.probabilities[:, 0], data.target > 0
    positive = score >= HALF
    shares = _shares(abnormal, positive, score, data.patients)
    return {
        "auroc": area,
        "accuracy": share_figure(positive == abnormal, data.patients, np.where(abnormal, score, 1 - score)),
        "sensitivity": shares["sensitivity"],
        "specificity": shares["specificity"],
    }


def _shares(abnormal: np.ndarray, positive: np.ndarray, score: np.ndarray, people: np.ndarray) -> Figures:
    """Sensitivity, specificity and precision; each patient counts as one for precision, because nearly all images of
    a patient have one label."""
    return {
        "sensitivity": share_figure(positive[abnormal], people[abnormal], score[abnormal]),
        "specificity": share_figure(~positive[~abnormal], people[~abnormal], score[~abnormal]),
        "precision": share_figure(abnormal[positive], people[positive]),
    }


def _accuracy(data: EvaluatedCases, predicted: np.ndarray) -> Figure:
    of_truth = data.probabilities[np.arange(len(predicted)), data.target]
    return share_figure(predicted == data.target, data.patients, of_truth)


def _means(data: EvaluatedCases, replicates: int, seed: int) -> Figures:
    """Brier score and log-loss: means over the cases, with bootstrap intervals."""

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        losses = m.log_loss(data.probabilities, data.target, weights)
        return {"brier": np.asarray(_brier(data, weights)), "log_loss": np.asarray(losses)}

    once = measure(np.ones((1, len(data.target))))
    drawn: Mapping[str, np.ndarray] = dict.fromkeys(once, np.zeros(0))
    if replicates:
        drawn, _ = bootstrap(measure, data.patients, data.target, replicates, seed)
    return {name: with_interval(float(value[0]), drawn[name]) for name, value in once.items()}


def _brier(data: EvaluatedCases, weights: np.ndarray) -> m.Metric:
    if len(data.classes) == 2:
        return m.brier(data.probabilities[:, 1], data.target == 1, weights)
    return m.brier_multiclass(data.probabilities, data.target, weights)


# -- the block -----------------------------------------------------------------------------------------------


def _entries(block: Block, why: str, with_ends: bool) -> dict[str, Any]:
    """Figures as {"value", "low", "high", "k", "n", "reason", "note"}, as far as they apply."""
    return {
        name: _entry(each, why, with_ends) if isinstance(each, Figure) else _entries(each, why, with_ends)
        for name, each in block.items()
    }


def _entry(figure: Figure, why: str, with_ends: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": figure.value}
    if with_ends:
        entry |= {"low": figure.low, "high": figure.high}
    if figure.n is not None:
        entry |= {"k": figure.k, "n": figure.n}
    if figure.value is None:
        return entry | {"reason": why}
    more = {"reason": figure.reason, "note": figure.note} if with_ends else {}
    return entry | {name: words for name, words in more.items() if words}


def _why_undefined(data: EvaluatedCases) -> str:
    """The classes that no case has or was given: the only ways to 0/0."""
    indices = range(len(data.classes))
    absent = [f"no case is {data.classes[index]!r}" for index in indices if not (data.target == index).any()]
    unused = [
        f"no case was classified as {data.classes[index]!r}"
        for index in indices
        if not (data.predicted == index).any()
    ]
    return "; ".join(absent + unused)
