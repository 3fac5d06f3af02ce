"""How well an anomaly score separates abnormal from normal images.

A detector gives a number and no probability, so figures are of two kinds. Ranking: AUROC and average
precision, all abnormal images together and each label against normal. Flagging: with a threshold that was
fixed on other, normal images, the share of normal images flagged (false alarms) and of abnormal ones flagged
(sensitivity).

The literature on anomaly detection often prints the best F1 and the best accuracy over all thresholds. Those
use the labels they are measured on; they are given as `oracle`, to be compared with such figures only.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hilum.data.cases import HEALTHY
from hilum.errors import DataError
from hilum.evaluation.intervals import bootstrap, percentile_interval, wilson_interval
from hilum.evaluation.metrics import cumulative_counts, ranking_metrics

Name = tuple[str, ...]


def detection_figures(
    images: pd.DataFrame, threshold: float, replicates: int = 2000, seed: int = 0
) -> dict[str, Any] | None:
    """Figures of one detector on one set of images, ready for JSON; None when they are not of both kinds.

    `images`: a row per image with patient, label and score (higher is more anomalous). An image is flagged when its
    score lies above `threshold`. Shares have "k" and "n"; intervals are 95 %, from `replicates` draws of
    patients, and with 0 there are none. The keys: auroc, average_precision, false_alarms, sensitivity;
    causes {label: {auroc, average_precision, sensitivity}}; oracle {best_f1, best_accuracy}; n_healthy,
    n_abnormal, n_patients. DataError names a score that is no number.

    >>> images = pd.DataFrame({"patient": list("abcd"), "label": ["normal", "normal", "virus", "virus"],
    ...     "score": [0.1, 0.4, 0.35, 0.8]})
    >>> figures = detection_figures(images, threshold=0.4, replicates=0)
    >>> figures["auroc"], figures["false_alarms"], figures["sensitivity"]
    ({'value': 0.75}, {'value': 0.0, 'k': 0, 'n': 2}, {'value': 0.5, 'k': 1, 'n': 2})
    """
    images = images.reset_index(drop=True)
    score = images["score"].to_numpy(np.float64)
    if not np.isfinite(score).all():
        raise DataError(
            f"score {score[~np.isfinite(score)][0]} is no number", "look at the image it stands for"
        )
    labels = images["label"].to_numpy(str)
    healthy = labels == HEALTHY
    if healthy.all() or not healthy.any():
        return None
    causes = sorted(set(labels[~healthy]))
    flagged = score > threshold

    def measured(weights: np.ndarray) -> dict[Name, np.ndarray]:
        values: dict[Name, Any] = {}
        values[("auroc",)], values[("average_precision",)] = ranking_metrics(score, ~healthy, weights)
        for cause in causes:
            kept = healthy | (labels == cause)
            area, precision = ranking_metrics(score[kept], ~healthy[kept], weights[:, kept])
            values[("causes", cause, "auroc")] = area
            values[("causes", cause, "average_precision")] = precision
        for name, rows in _shares(labels, healthy, causes).items():
            values[name] = (weights[:, rows] @ flagged[rows]) / np.maximum(weights[:, rows].sum(1), 1)
        return values

    once = measured(np.ones((1, len(images))))
    drawn: dict[Name, np.ndarray] = {}
    if replicates:
        drawn, _ = bootstrap(measured, images["patient"].to_numpy(str), labels, replicates, seed)
    shares = _shares(labels, healthy, causes)
    block: dict[str, Any] = {}
    for name, value in once.items():
        rows = shares.get(name)
        counts = None if rows is None else (flagged[rows], images["patient"].to_numpy(str)[rows])
        place = block
        for part in name[:-1]:
            place = place.setdefault(part, {})
        place[name[-1]] = entry(float(value[0]), drawn.get(name), counts)
    return {
        **block,
        "oracle": best_over_thresholds(score, ~healthy),
        "n_healthy": int(healthy.sum()),
        "n_abnormal": int((~healthy).sum()),
        "n_patients": int(images["patient"].nunique()),
    }


def _shares(labels: np.ndarray, healthy: np.ndarray, causes: list[str]) -> dict[Name, np.ndarray]:
    """The images over which each share of flagged images is taken, as masks."""
    return {
        ("false_alarms",): healthy,
        ("sensitivity",): ~healthy,
        **{("causes", cause, "sensitivity"): labels == cause for cause in causes},
    }


def ranking_entry(
    score: ArrayLike, positive: ArrayLike, patients: ArrayLike, replicates: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """AUROC as {"value", "low", "high"}; patients are drawn, those with images on both sides as well.

    >>> ranking_entry([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], list("abcd"), replicates=0)
    {'value': 0.75}
    """
    values, abnormal = np.asarray(score, np.float64), np.asarray(positive, bool)
    area = ranking_metrics(values, abnormal)[0]
    if not replicates:
        return entry(float(area), None, None)
    drawn, _ = bootstrap(
        lambda weights: {"auroc": np.asarray(ranking_metrics(values, abnormal, weights)[0])},
        patients,
        abnormal,
        replicates,
        seed,
    )
    return entry(float(area), drawn["auroc"], None)


def entry(
    value: float, drawn: np.ndarray | None, hits: tuple[np.ndarray, np.ndarray] | None
) -> dict[str, Any]:
    """{"value", "low", "high", "k", "n"} as far as they apply. `hits`: which of the counted images are hits,
    and their patients. A share of 0 or 1 has no spread to draw from: Wilson's interval over patients."""
    figure: dict[str, Any] = {"value": None if np.isnan(value) else float(value)}
    if hits is not None:
        figure |= {"k": int(hits[0].sum()), "n": len(hits[0])}
    if drawn is None:
        return figure
    low, high = percentile_interval(drawn)
    if hits is not None and figure["k"] in (0, figure["n"]):
        n = len(np.unique(hits[1]))
        low, high = wilson_interval(n if figure["k"] else 0, n)
    if not np.isnan(low):
        figure |= {"low": float(low), "high": float(high)}
    return figure


def share_entry(hits: ArrayLike, patients: ArrayLike) -> dict[str, Any]:
    """A share of images with Wilson's interval over patients: {"value", "low", "high", "k", "n"}.

    `hits`: true or false, "images"; `patients`: the patient of each. A patient counts as one image in the interval.

    >>> share_entry([True, False], ["ann", "bob"])["k"], share_entry([], [])["value"]
    (1, None)
    >>> once, twice = share_entry([True], ["ann"]), share_entry([True, True], ["ann", "ann"])
    >>> once["low"] == twice["low"], twice["k"]
    (True, 2)
    """
    flags, people = np.asarray(hits, bool), len(np.unique(np.asarray(patients)))
    k, n = int(flags.sum()), len(flags)
    low, high = wilson_interval(people if k == n else k / n * people, people)  # type: ignore[arg-type]
    return {"value": k / n if n else None, "low": low, "high": high, "k": k, "n": n}


def best_over_thresholds(score: ArrayLike, abnormal: ArrayLike) -> dict[str, dict[str, float]]:
    """The largest F1, and the largest accuracy, over all thresholds on these images.

    It uses the labels of the images it is measured on, as most published figures do.

    >>> best_over_thresholds([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])["best_accuracy"]
    {'value': 0.75, 'k': 3, 'n': 4}
    >>> best_over_thresholds([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])["best_f1"]["value"]
    0.8
    """
    target = np.asarray(abnormal, bool)
    tp, predicted, _ = cumulative_counts(score, target, np.ones((1, len(target))))
    hits, flagged, positive = tp[0], predicted[0], int(target.sum())
    f1 = 2 * hits / (flagged + positive)
    correct = np.concatenate([[len(target) - positive], hits + (len(target) - positive) - (flagged - hits)])
    best, most = int(np.argmax(f1)), int(correct.max())
    return {
        "best_f1": {
            "value": float(f1[best]),
            "precision": float(hits[best] / flagged[best]),
            "recall": float(hits[best] / positive),
        },
        "best_accuracy": {"value": most / len(target), "k": most, "n": len(target)},
    }
