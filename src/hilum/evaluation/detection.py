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

from hilum.artifacts.base import Figure
from hilum.data.cases import HEALTHY
from hilum.errors import DataError
from hilum.evaluation.areas import area_figure, ranking_figures
from hilum.evaluation.metrics import cumulative_counts
from hilum.evaluation.shares import share_figure


def detection_figures(images: pd.DataFrame, threshold: float) -> dict[str, Any] | None:
    """Figures of one detector on one set of images, ready for JSON; None when they are not of both kinds.

    `images`: a row per image with patient, label and score (higher is more anomalous). An image is flagged when its
    score lies above `threshold`. Shares have "k" and "n"; intervals are 95 %, over patients (docs/intervals.md). The
    keys: auroc, average_precision, false_alarms, sensitivity; causes {label: {auroc, average_precision,
    sensitivity}}; oracle {best_f1, best_accuracy}; n_healthy, n_abnormal, n_patients. DataError names a score that is
    no number.

    >>> images = pd.DataFrame({"patient": list("abcd"), "label": ["normal", "normal", "virus", "virus"],
    ...     "score": [0.1, 0.4, 0.35, 0.8]})
    >>> figures = detection_figures(images, threshold=0.4)
    >>> figures["auroc"]["value"], figures["false_alarms"]["k"], figures["sensitivity"]["value"]
    (0.75, 0, 0.5)
    """
    score, labels = images["score"].to_numpy(np.float64), images["label"].to_numpy(str)
    patients = images["patient"].to_numpy(str)
    if not np.isfinite(score).all():
        raise DataError(
            f"score {score[~np.isfinite(score)][0]} is no number", "look at the image it stands for"
        )
    healthy = labels == HEALTHY
    if healthy.all() or not healthy.any():
        return None
    flagged = score > threshold

    def share(rows: np.ndarray) -> dict[str, Any]:
        return _entry(share_figure(flagged[rows], patients[rows], score[rows]))

    def against_healthy(abnormal: np.ndarray) -> dict[str, Any]:
        kept = healthy | abnormal
        area, precision = ranking_figures(score[kept], abnormal[kept], patients[kept])
        return {
            "auroc": _entry(area),
            "average_precision": _entry(precision),
            "sensitivity": share(abnormal),
        }

    return {
        **against_healthy(~healthy),
        "false_alarms": share(healthy),
        "causes": {cause: against_healthy(labels == cause) for cause in sorted(set(labels[~healthy]))},
        "oracle": best_over_thresholds(score, ~healthy),
        "n_healthy": int(healthy.sum()),
        "n_abnormal": int((~healthy).sum()),
        "n_patients": int(images["patient"].nunique()),
    }


def ranking_entry(score: ArrayLike, positive: ArrayLike, patients: ArrayLike) -> dict[str, Any]:
    """AUROC as {"value", "low", "high"}, with a "reason" where there is no interval.

    >>> ranking_entry([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], list("abcd"))["value"]
    0.75
    """
    return _entry(area_figure(score, positive, patients))


def _entry(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, **figure.model_dump(exclude_none=True)}


CHOSEN = "the threshold was chosen on these labels: no interval"


def best_over_thresholds(score: ArrayLike, abnormal: ArrayLike) -> dict[str, dict[str, Any]]:
    """The largest F1, and the largest accuracy, over all thresholds on these images.

    It uses the labels of the images it is measured on, as most published figures do.

    >>> best_over_thresholds([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])["best_accuracy"]
    {'value': 0.75, 'k': 3, 'n': 4, 'reason': 'the threshold was chosen on these labels: no interval'}
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
            "reason": CHOSEN,
        },
        "best_accuracy": {"value": most / len(target), "k": most, "n": len(target), "reason": CHOSEN},
    }
