"""The held-out images that measure, and the figures that are taken of them."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.robustness import Point
from hilum.data.cases import Cases
from hilum.data.corruptions import corrupt
from hilum.data.tasks import Task
from hilum.errors import DataError
from hilum.evaluation.calibration import centred
from hilum.evaluation.intervals import bootstrap, with_interval
from hilum.evaluation.scores import key_figures
from hilum.evaluation.shares import mean_figure, share_interval
from hilum.files import digest
from hilum.robustness.config import HeldOutConfig

BINS = 10
"""Of the calibration error."""


def held_out(cases: Cases, split: pd.Series, task: Task, config: HeldOutConfig) -> tuple[pd.DataFrame, str]:
    """case_id, patient, label and target of the images that measure, and the split they are from: test where
    there is one, else val.

    At most `config.images`, drawn by digest of seed and case, each class in proportion and with one image at
    least. DataError when no image is held out.

    >>> from pathlib import Path
    >>> from hilum.data.tasks import task
    >>> table = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "label": ["normal", "virus"]})
    >>> cases, split = Cases(table, "table", Path("cases.csv")), pd.Series({"a": "train", "b": "val"})
    >>> images, part = held_out(cases, split, task("binary", ["normal", "virus"]), HeldOutConfig())
    >>> images.values.tolist(), part
    ([['b', 'q', 'virus', 'pneumonia']], 'val')
    """
    parts = split.reindex(cases.table["case_id"]).to_numpy()
    part = next((name for name in ("test", "val") if (parts == name).any()), None)
    if part is None:
        raise DataError("no image is held out in val or test", "choose a split with a val part")
    table = cases.table.loc[parts == part, ["case_id", "patient", "label"]].reset_index(drop=True)
    table["target"] = table["label"].map(dict(task.class_of))
    if config.images is None or len(table) <= config.images:
        return table, part
    order = table["case_id"].map(lambda case: digest("missing", str(config.seed), str(case)))
    ordered = table.iloc[np.argsort(order.to_numpy())]
    share = config.images / len(table)
    chosen = [rows.head(max(1, int(share * len(rows)))) for _, rows in ordered.groupby("target")]
    return pd.concat(chosen).sort_values("case_id", ignore_index=True), part


def corrupted_images(
    images: np.ndarray, case_ids: Sequence[str], name: str, severity: int, seed: int
) -> np.ndarray:
    """uint8 "images rows cols", each corrupted by its own chance (see hilum.data.corruptions.corrupt).

    >>> corrupted_images(np.full((1, 1, 4), 9, np.uint8), ["a"], "left_gone", 5, seed=0).tolist()
    [[[0, 0, 9, 9]]]
    """
    return np.stack(
        [corrupt(image, name, severity, seed, case) for image, case in zip(images, case_ids, strict=True)]
    )


def confidence_error(
    probabilities: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> np.ndarray:
    """Expected calibration error of the most probable class (Guo et al. 2017), bins of equal mass,
    "replicates".

    sum over bins of n_b / n |mean confidence - accuracy|, 0 (best) to 1. `probabilities`: "cases classes";
    `target`: class indices "cases"; `weights`: "replicates cases", None: every case once. The bins are those
    of the cases themselves in every replicate.

    >>> confidence_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=1).round(6).tolist()
    [0.4]
    """
    confidence = probabilities.max(1)
    gap = confidence - (probabilities.argmax(1) == target)
    member = np.zeros((len(confidence), bins))
    order = np.argsort(confidence, kind="stable")
    for column, rows in enumerate(np.array_split(order, bins)):
        member[rows, column] = 1
    counts = np.ones((1, len(confidence))) if weights is None else weights
    return np.abs(counts @ (member * gap[:, None])).sum(1) / counts.sum(1)


def accuracy_figure(
    correct: np.ndarray, table: pd.DataFrame, config: HeldOutConfig, scores: np.ndarray | None = None
) -> Figure:
    """The share of correct predictions with its interval over patients; none with 0 replicates.

    `correct`: 0 to 1 "cases", a mean over trainings where there are several; `scores`: the probabilities of the true
    classes behind them (see `shares.share_interval`); `table`: patient of the cases.

    >>> table = pd.DataFrame({"patient": list("ab")})
    >>> accuracy_figure(np.array([0.5, 1.0]), table, HeldOutConfig(replicates=0)).value
    0.75
    """
    value = float(correct.mean())
    if not config.replicates:
        return Figure(value=value)
    low, high = share_interval(correct, table["patient"].to_numpy(), scores)
    return Figure(value=value, low=low, high=high)


def change_figure(change: np.ndarray, table: pd.DataFrame, config: HeldOutConfig) -> Figure:
    """The mean of differences of correctness, each from -1 to 1, with its interval; as `accuracy_figure`.

    >>> table = pd.DataFrame({"patient": list("ab")})
    >>> figure = change_figure(np.array([0.0, 0.0]), table, HeldOutConfig())
    >>> figure.value, round(figure.low, 2), round(figure.high, 2)
    (0.0, -0.66, 0.66)
    """
    figure = mean_figure(change, table["patient"].to_numpy())
    return figure if config.replicates else Figure(value=figure.value)


def bootstrapped(
    value: float, metric: Callable[[np.ndarray], np.ndarray], table: pd.DataFrame, config: HeldOutConfig
) -> Figure:
    """`value` with a bootstrap interval over patients. `metric`: weights "replicates cases" -> "replicates", a sum of
    distances: it is larger in every bootstrap sample, so its interval is moved back (`centred`).

    >>> table = pd.DataFrame({"patient": list("ab"), "target": list("nv")})
    >>> bootstrapped(0.5, lambda weights: weights[:, 0] / weights.sum(1), table, HeldOutConfig(replicates=0)).value
    0.5
    """
    if not config.replicates:
        return Figure(value=value)
    drawn, _ = bootstrap(
        lambda weights: {"value": metric(weights)},
        table["patient"].to_numpy(),
        table["target"].to_numpy(),
        config.replicates,
        config.seed,
    )
    return with_interval(value, centred(drawn["value"], value))


def point_figures(
    probabilities: np.ndarray,
    table: pd.DataFrame,
    classes: Sequence[str],
    threshold: float | None,
    config: HeldOutConfig,
) -> Point:
    """Accuracy, AUROC and calibration error of `probabilities` "cases classes"; `table`: case_id, patient and
    target of the cases.

    >>> table = pd.DataFrame({"case_id": list("ab"), "patient": list("ab"), "target": ["normal", "virus"]})
    >>> shares, classes = np.array([[0.9, 0.1], [0.6, 0.4]]), ("normal", "virus")
    >>> point = point_figures(shares, table, classes, 0.5, HeldOutConfig(replicates=0))
    >>> point.accuracy.counts, point.auroc.value, round(point.ece.value, 2)
    ('1/2', 1.0, 0.35)
    """
    rows = table[["case_id", "patient", "target"]].copy()
    for column, name in enumerate(classes):
        rows[f"prob_{name}"] = probabilities[:, column]
    figures = key_figures(
        rows, classes, ("accuracy", "auroc"), threshold, replicates=config.replicates, seed=config.seed
    )
    target = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    error = bootstrapped(
        float(confidence_error(probabilities, target)[0]),
        lambda weights: confidence_error(probabilities, target, weights),
        table,
        config,
    )
    return Point(accuracy=figures["accuracy"], auroc=figures["auroc"], ece=error)
