"""How good predictions are: validation in training, `hilum evaluate` and the report all call `evaluate`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY
from hilum.errors import DataError
from hilum.evaluation import metrics as m
from hilum.evaluation.intervals import bootstrap, percentile_interval, wilson_interval
from hilum.inference.rules import HALF, checked_threshold, predicted_indices
from hilum.inference.rules import predicted_classes as predicted_classes

TOLERANCE = 1e-4
"""How far probabilities may leave 0..1, and their sum 1; float32 and nine printed digits stay well inside."""

Name = tuple[str, ...]
"""Where a metric stands in the block, for example ("auroc",) or ("per_class", "virus", "sensitivity")."""

Share = tuple[np.ndarray, np.ndarray]
"""A metric that is a plain share of cases: which are hits and which are counted at all, masks "cases"."""


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
    Intervals come from `replicates` bootstrap draws of patients (see intervals.py); with 0 there is no "low"
    and "high". The threshold is held fixed, so on the split it was chosen on the intervals are a little too
    narrow.

    Two classes (abnormal = classes[1]): accuracy, balanced_accuracy, auroc, average_precision, sensitivity,
    specificity, precision, npv, f1, mcc, brier (mean squared error of P(abnormal)), log_loss, and
    accuracy_at_half (at threshold 0.5).

    More classes: accuracy, mcc, brier (summed over the classes), log_loss; balanced_accuracy, auroc,
    average_precision, sensitivity, specificity, f1 (each the plain mean over the classes, one against the
    rest); "per_class": {class: {auroc, average_precision, sensitivity, specificity, precision, f1}}; and if
    classes[0] is 'normal', "normal_vs_abnormal": {auroc, accuracy, sensitivity, specificity} of P(abnormal) =
    1 - P(normal), predicted abnormal from 0.5 on (not the same as "the most probable class is not normal").

    Besides: n_cases, n_patients, classes, confusion (rows true, columns predicted), threshold ({"class",
    "value"} or None), replicates, replicates_dropped (they missed a class), seed.

    A metric that is 0/0 has value, low and high None, and a "reason". An interval without spread has a "note".
    The order of the rows changes nothing. DataError names the case when a column, id, patient, class or
    probability is missing or impossible.

    >>> table = pd.DataFrame({"case_id": list("abcd"), "patient": list("abcd"),
    ...     "target": ["normal", "normal", "abnormal", "abnormal"],
    ...     "prob_normal": [0.9, 0.6, 0.65, 0.2], "prob_abnormal": [0.1, 0.4, 0.35, 0.8]})
    >>> block = evaluate(table, ["normal", "abnormal"], replicates=0)
    >>> block["auroc"], block["sensitivity"], block["confusion"]
    ({'value': 0.75}, {'value': 0.5, 'k': 1, 'n': 2}, [[2, 0], [1, 1]])
    """
    data = _checked(predictions, classes, threshold)
    measured, shares = _two_classes(data) if len(data.classes) == 2 else _more_classes(data)
    drawn: Mapping[Name, np.ndarray] | None = None
    dropped = 0
    if replicates:
        drawn, dropped = bootstrap(measured, data.patients, data.target, replicates, seed)
    once = measured(np.ones((1, len(data.target))))
    block: dict[str, Any] = {}
    for name, value in once.items():
        entry = _entry(float(value[0]), drawn[name] if drawn else None, shares.get(name), data)
        _put(block, name, entry)
    return {
        **block,
        "confusion": m.confusion_matrix(data.target, data.predicted, len(data.classes)).tolist(),
        "classes": list(data.classes),
        "n_cases": len(data.target),
        "n_patients": len(np.unique(data.patients)),
        "threshold": None if data.threshold is None else {"class": data.classes[1], "value": data.threshold},
        "replicates": replicates,
        "replicates_dropped": dropped,
        "seed": seed,
    }


# -- the cases -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cases:
    """Checked predictions as arrays, sorted by case id so that the order of the rows changes nothing."""

    classes: tuple[str, ...]
    threshold: float | None
    target: np.ndarray  # "cases", class indices
    predicted: np.ndarray  # "cases", class indices
    probabilities: np.ndarray  # "cases classes"
    patients: np.ndarray  # "cases", whole numbers


def _checked(predictions: pd.DataFrame, classes: Sequence[str], threshold: float | None) -> _Cases:
    """DataError for the first thing that is missing or impossible, naming the case."""
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(
            f"classes {list(classes)} are not two or more different names", "name each class once"
        )
    threshold = checked_threshold(classes, threshold)
    table = _checked_table(predictions, ["patient", "target", *(f"prob_{name}" for name in classes)])
    probabilities = _probabilities(table, [f"prob_{name}" for name in classes])
    target = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    row = _first(target < 0)
    if row is not None:
        raise DataError(
            f"predictions: case {table['case_id'][row]!r} has target {table['target'][row]!r}, "
            f"which is not one of {', '.join(classes)}",
            "use the model that was trained for these classes",
        )
    return _Cases(
        classes=tuple(classes),
        threshold=threshold,
        target=target,
        predicted=predicted_indices(probabilities, threshold),
        probabilities=probabilities,
        patients=pd.factorize(table["patient"], sort=True)[0],
    )


def _checked_table(predictions: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The rows in the order of their ids: each id once, no column missing, no patient empty."""
    for name in ("case_id", *columns):
        if name not in predictions.columns:
            raise DataError(f"predictions lack the column {name!r}", "make them again: hilum evaluate RUN")
    if predictions.empty:
        raise DataError("predictions hold no cases", "evaluate a split that has cases")
    row = _first(predictions["case_id"].isna().to_numpy())
    if row is not None:
        raise DataError(f"predictions row {row + 2}: case_id is empty", "give each image one id")
    table = predictions.sort_values("case_id", ignore_index=True)
    row = _first(table["case_id"].duplicated().to_numpy())
    if row is not None:
        raise DataError(f"predictions: case {table['case_id'][row]!r} occurs twice", "keep one row per case")
    row = _first(table["patient"].isna().to_numpy())
    if row is not None:
        raise DataError(f"predictions: case {table['case_id'][row]!r} has no patient", "fill in the cell")
    return table


def _probabilities(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """float64 "cases classes", each value in 0..1, each row with sum 1."""
    try:
        values = table[columns].to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"predictions hold a probability that is no number ({error})", "correct the value"
        ) from None
    impossible = ~((values >= -TOLERANCE) & (values <= 1 + TOLERANCE))  # also true for NaN
    row = _first(impossible.any(axis=1))
    if row is not None:
        column = int(impossible[row].argmax())
        raise DataError(
            f"predictions: case {table['case_id'][row]!r} has {columns[column]} {values[row, column]:g}, "
            "which is no number in 0..1",
            "pass probabilities (softmax of the logits)",
        )
    row = _first(np.abs(values.sum(axis=1) - 1) > TOLERANCE)
    if row is not None:
        raise DataError(
            f"predictions: case {table['case_id'][row]!r} has probabilities that sum to "
            f"{values[row].sum():.6g}, not 1",
            "pass the probabilities of all classes (softmax of the logits)",
        )
    return values


def _first(wrong: Any) -> int | None:
    """The first row of a mask, None when there is none."""
    return int(np.argmax(wrong)) if np.any(wrong) else None


# -- the metrics ---------------------------------------------------------------------------------------------

Measured = Callable[[np.ndarray], dict[Name, np.ndarray]]
"""Weights "replicates cases" -> each metric "replicates"."""


def _two_classes(data: _Cases) -> tuple[Measured, dict[Name, Share]]:
    abnormal, predicted = data.target == 1, data.predicted == 1
    at_half = predicted_indices(data.probabilities, HALF)
    everyone = np.ones(len(abnormal), bool)
    shares = {
        ("accuracy",): (abnormal == predicted, everyone),
        ("sensitivity",): (predicted, abnormal),
        ("specificity",): (~predicted, ~abnormal),
        ("precision",): (abnormal, predicted),
        ("npv",): (~abnormal, ~predicted),
        ("accuracy_at_half",): (data.target == at_half, everyone),
    }
    return partial(_measure_two, data, at_half), shares


def _measure_two(data: _Cases, at_half: np.ndarray, weights: np.ndarray) -> dict[Name, np.ndarray]:
    abnormal, probability = data.target == 1, data.probabilities[:, 1]
    table = m.confusion_matrix(data.target, data.predicted, 2, weights)
    area, ap = m.ranking_metrics(probability, abnormal, weights)
    return _at(
        accuracy=m.accuracy(table),
        balanced_accuracy=m.balanced_accuracy(table),
        auroc=area,
        average_precision=ap,
        sensitivity=m.sensitivity(table),
        specificity=m.specificity(table),
        precision=m.precision(table),
        npv=m.negative_predictive_value(table),
        f1=m.f1(table),
        mcc=m.mcc(table),
        brier=m.brier(probability, abnormal, weights),
        log_loss=m.log_loss(data.probabilities, data.target, weights),
        accuracy_at_half=m.accuracy(m.confusion_matrix(data.target, at_half, 2, weights)),
    )


def _more_classes(data: _Cases) -> tuple[Measured, dict[Name, Share]]:
    everyone = np.ones(len(data.target), bool)
    shares: dict[Name, Share] = {("accuracy",): (data.target == data.predicted, everyone)}
    for index, name in enumerate(data.classes):
        of_class, predicted = data.target == index, data.predicted == index
        shares["per_class", name, "sensitivity"] = (predicted, of_class)
        shares["per_class", name, "specificity"] = (~predicted, ~of_class)
        shares["per_class", name, "precision"] = (of_class, predicted)
    if data.classes[0] == HEALTHY:
        abnormal, predicted = data.target > 0, _classified_abnormal(data)
        shares["normal_vs_abnormal", "accuracy"] = (abnormal == predicted, everyone)
        shares["normal_vs_abnormal", "sensitivity"] = (predicted, abnormal)
        shares["normal_vs_abnormal", "specificity"] = (~predicted, ~abnormal)
    return partial(_measure_more, data), shares


def _classified_abnormal(data: _Cases) -> np.ndarray:
    return 1 - data.probabilities[:, 0] >= HALF


def _measure_more(data: _Cases, weights: np.ndarray) -> dict[Name, np.ndarray]:
    table = m.confusion_matrix(data.target, data.predicted, len(data.classes), weights)
    ranked = [
        m.ranking_metrics(data.probabilities[:, index], data.target == index, weights)
        for index in range(len(data.classes))
    ]
    areas, aps = (np.stack([np.asarray(pair[which]) for pair in ranked]) for which in (0, 1))
    values = _at(
        accuracy=m.accuracy(table),
        balanced_accuracy=m.balanced_accuracy(table),
        auroc=areas.mean(0),
        average_precision=aps.mean(0),
        sensitivity=m.macro(m.sensitivity, table),
        specificity=m.macro(m.specificity, table),
        f1=m.macro(m.f1, table),
        mcc=m.mcc(table),
        brier=m.brier_multiclass(data.probabilities, data.target, weights),
        log_loss=m.log_loss(data.probabilities, data.target, weights),
    )
    for index, name in enumerate(data.classes):
        values |= _at(
            "per_class",
            name,
            auroc=areas[index],
            average_precision=aps[index],
            sensitivity=m.sensitivity(table, index),
            specificity=m.specificity(table, index),
            precision=m.precision(table, index),
            f1=m.f1(table, index),
        )
    if data.classes[0] == HEALTHY:
        two = m.confusion_matrix(data.target > 0, _classified_abnormal(data), 2, weights)
        values |= _at(
            "normal_vs_abnormal",
            auroc=areas[0],  # ranking the abnormal by 1 - P(normal) is ranking the healthy by P(normal)
            accuracy=m.accuracy(two),
            sensitivity=m.sensitivity(two),
            specificity=m.specificity(two),
        )
    return values


def _at(*place: str, **values: m.Metric) -> dict[Name, np.ndarray]:
    return {(*place, name): np.asarray(value) for name, value in values.items()}


# -- the block -----------------------------------------------------------------------------------------------


def _entry(value: float, drawn: np.ndarray | None, share: Share | None, data: _Cases) -> dict[str, Any]:
    """{"value", "low", "high", "k", "n", "reason", "note"}, as far as they apply."""
    entry: dict[str, Any] = {"value": _number(value)}
    if drawn is not None:
        low, high = percentile_interval(drawn) if value == value else (np.nan, np.nan)
        entry |= {"low": _number(low), "high": _number(high)}
    if share is not None:
        hits, counted = share
        entry |= {"k": int((hits & counted).sum()), "n": int(counted.sum())}
    if entry["value"] is None:
        entry["reason"] = _reason_undefined(data)
    elif drawn is not None and entry["low"] is None:
        entry["reason"] = "undefined in most bootstrap replicates: too few cases for an interval"
    elif drawn is not None and entry["low"] == entry["high"]:
        entry |= _without_spread(value, share, data.patients)
    return entry


def _without_spread(value: float, share: Share | None, patients: np.ndarray) -> dict[str, Any]:
    """The note and the interval where every replicate gives the same value, which is no proof of certainty.

    For a share of 0 or 1 Wilson's interval, counting patients and not images: the conservative choice, as if
    the images of a patient carried no more information than one of them.
    """
    if share is None or 0 < value < 1:
        return {"note": "all bootstrap replicates are equal: too few cases or mistakes for an interval"}
    n = len(np.unique(patients[share[1]]))
    low, high = wilson_interval(round(value) * n, n)
    return {"low": low, "high": high, "note": f"Wilson's interval over patients (n = {n})"}


def _reason_undefined(data: _Cases) -> str:
    """The classes that no case has or was given: the only ways to 0/0."""
    indices = range(len(data.classes))
    absent = [f"no case is {data.classes[index]!r}" for index in indices if not (data.target == index).any()]
    unused = [
        f"no case was classified as {data.classes[index]!r}"
        for index in indices
        if not (data.predicted == index).any()
    ]
    return "; ".join(absent + unused)


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def _put(block: dict[str, Any], name: Name, entry: dict[str, Any]) -> None:
    for part in name[:-1]:
        block = block.setdefault(part, {})
    block[name[-1]] = entry
