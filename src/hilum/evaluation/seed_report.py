"""Published baseline: the figures of the seed report, the student report that hilum started from.

Its test set is the official test split of the paediatric set: 624 images, 234 normal, 242 bacterial and 148
viral. It prints confusion matrices and a few percentages, so AUROC and similar figures cannot be derived. Where its
text and its matrix differ, both are kept: CLAIMS holds the text, `block_of` counts in the matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hilum.artifacts.base import Figure
from hilum.artifacts.published import Baseline, BaselineFigure
from hilum.data.public_set import CLASSES as CLASSES
from hilum.data.public_set import is_public_set
from hilum.evaluation import metrics as m
from hilum.evaluation.shares import wilson_interval
from hilum.evaluation.tables import Metric, table_interval

Matrix = tuple[tuple[int, ...], ...]

RESNET34_TEST: Matrix = ((189, 17, 28), (9, 231, 2), (14, 33, 101))
"""ResNet34 with GELU on test: rows true, columns predicted, in the order of CLASSES."""

KNN_TEST: Matrix = ((97, 55, 82), (3, 226, 13), (1, 33, 114))
"""k nearest neighbours (k = 7) on the 1000-d embeddings of the same network, on test."""


@dataclass(frozen=True)
class Claim:
    """One figure in the seed report's text; `value` is None where a system is described without a figure."""

    task: str
    system: str
    split: str
    metric: str
    value: float | None
    note: str = ""


CLAIMS = (
    Claim("binary", "VGG-like CNN from scratch", "test", "accuracy", None, "no figure is given"),
    Claim("multiclass", "ResNet34 with GELU", "train", "accuracy", 0.8189),
    Claim("multiclass", "ResNet34 with GELU", "train", "log_loss", 0.4253),
    Claim("multiclass", "ResNet34 with GELU", "val", "accuracy", 0.7933),
    Claim(
        "multiclass", "ResNet34 with GELU", "test", "accuracy", 0.8328, "its matrix says 521/624 = 83.49 %"
    ),
    Claim("multiclass", "ResNet34 with GELU", "test", "log_loss", 0.5847),
    Claim("embedding", "kNN, k = 7, on the embeddings", "test", "accuracy", 0.7003, "437/624"),
    Claim("anomaly", "auto-encoders on healthy lungs", "test", "auroc", None, "no figure is given"),
)


def claims(task: str) -> tuple[Claim, ...]:
    """The claims of one task: binary, multiclass, embedding or anomaly.

    >>> [claim.value for claim in claims("multiclass") if claim.split == "test"]
    [0.8328, 0.5847]
    """
    return tuple(claim for claim in CLAIMS if claim.task == task)


def block_of(confusion: Matrix) -> dict[str, Any]:
    """The figures that follow from a printed confusion matrix, under the names that `evaluate` uses.

    Shares have "k" and "n". Intervals count images as independent: the seed report does not identify patients, so
    its true intervals are wider. "normal_vs_abnormal" folds
    bacteria and virus into one class: abnormal is what was predicted as one of them.

    >>> accuracy = block_of(RESNET34_TEST)["accuracy"]
    >>> accuracy["k"], accuracy["n"], round(accuracy["low"], 3), round(accuracy["high"], 3)
    (521, 624, 0.804, 0.862)
    """
    table = np.array(confusion)
    normal_vs_abnormal = np.array(
        [[table[0, 0], table[0, 1:].sum()], [table[1:, 0].sum(), table[1:, 1:].sum()]]
    )
    return {
        "accuracy": _share(np.trace(table), table.sum()),
        "balanced_accuracy": _of_table(m.balanced_accuracy, table),
        "sensitivity": _of_table(partial(m.macro, m.sensitivity), table),
        "specificity": _of_table(partial(m.macro, m.specificity), table),
        "f1": _of_table(partial(m.macro, m.f1), table),
        "mcc": _of_table(m.mcc, table, worst=-1.0),
        "per_class": {
            name: {
                "sensitivity": _share(table[index, index], table[index].sum()),
                "precision": _share(table[index, index], table[:, index].sum()),
                "f1": _of_table(partial(m.f1, positive=index), table),
            }
            for index, name in enumerate(CLASSES)
        },
        "normal_vs_abnormal": {
            "accuracy": _share(np.trace(normal_vs_abnormal), normal_vs_abnormal.sum()),
            "sensitivity": _share(normal_vs_abnormal[1, 1], normal_vs_abnormal[1].sum()),
            "specificity": _share(normal_vs_abnormal[0, 0], normal_vs_abnormal[0].sum()),
        },
        "confusion": table.tolist(),
        "classes": list(CLASSES),
        "n_cases": int(table.sum()),
    }


def baseline_for(task: str, labels: Sequence[str], source: str, weights_digest: str) -> Baseline | None:
    """The published baseline, where labels and source are those of the set that it was measured on; None elsewhere.

    >>> baseline_for("multiclass", ["normal", "bacteria", "virus"], "phantom", "digest").comparable
    False
    >>> baseline_for("multiclass", ["covid", "pneumonia"], "folder", "digest") is None
    True
    """
    if not is_public_set(labels, source):
        return None
    return baseline(task, source != "phantom", weights_digest)


def baseline(task: str, comparable: bool, weights_digest: str) -> Baseline:
    """The published baseline of the task "binary" or "multiclass".

    >>> accuracy = baseline("multiclass", True, "digest").accuracy_on("test")
    >>> accuracy.figure.counts, accuracy.remark
    ('521/624', 'from its matrix; its text says 83.28 %')
    """
    block = block_of(RESNET34_TEST)
    own = task == "multiclass"
    return Baseline(
        weights_digest=weights_digest,
        comparable=comparable,
        n_test=block["n_cases"],
        own_figures=own,
        accuracy=Figure(**(block if own else block["normal_vs_abnormal"])["accuracy"]),
        figures=_three_classes(block) if own else _two_classes(block["normal_vs_abnormal"]),
    )


def _three_classes(block: dict[str, Any]) -> list[BaselineFigure]:
    """From the matrix where it says more than the text; then the text's figures: test, val, train."""
    text = next(
        claim for claim in claims("multiclass") if (claim.split, claim.metric) == ("test", "accuracy")
    )
    remark = f"from its matrix; its text says {100 * (text.value or 0):.2f} %"
    figures = [
        BaselineFigure(key="accuracy", split="test", figure=Figure(**block["accuracy"]), remark=remark)
    ]
    figures += [
        BaselineFigure(key=key, split="test", figure=Figure(**block[key]))
        for key in ("balanced_accuracy", "f1", "mcc")
    ]
    figures += [
        BaselineFigure(
            key="sensitivity", split="test", figure=Figure(**entries["sensitivity"]), class_name=name
        )
        for name, entries in block["per_class"].items()
    ]
    others = [claim for claim in claims("multiclass") if claim is not text and claim.value is not None]
    return figures + [
        BaselineFigure(
            key=claim.metric,
            split=claim.split,
            figure=Figure(value=claim.value, reason="printed without counts: no interval"),
            remark="as printed, without counts",
        )
        for claim in sorted(others, key=lambda claim: ("test", "val", "train").index(claim.split))
    ]


def _two_classes(folded: dict[str, Any]) -> list[BaselineFigure]:
    remark = "its three classes taken as two"
    return [
        BaselineFigure(key=key, split="test", figure=Figure(**folded[key]), remark=remark)
        for key in ("accuracy", "sensitivity", "specificity")
    ]


def _of_table(metric: Metric, table: np.ndarray, worst: float = 0.0) -> dict[str, float]:
    images = table.sum(1)
    low, high = table_interval(metric, table, images, images, worst)
    return {"value": float(metric(table)), "low": low, "high": high}


def _share(k: int | np.integer, n: int | np.integer) -> dict[str, float | int]:
    low, high = wilson_interval(int(k), int(n))
    return {"value": int(k) / int(n), "low": low, "high": high, "k": int(k), "n": int(n)}
