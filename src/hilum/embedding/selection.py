"""Choosing k and the space by patient-disjoint cross-validation on train.

The vectors come from a network that has seen the labels of train, so the figures here are too good in
themselves; they rank choices, and val and test judge the chosen one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hilum.embedding.neighbors import Neighbors, Weights, nearest_neighbors, votes
from hilum.embedding.space import TRANSFORMS, Distance, Transform, fit_space
from hilum.errors import DataError

FOLDS = 5
KS = (1, 3, 5, 7, 11, 15, 21, 31)


@dataclass(frozen=True)
class Choice:
    """One way to classify by neighbours."""

    transform: Transform
    distance: Distance
    weights: Weights
    k: int


def patient_folds(targets: np.ndarray, patients: np.ndarray, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """A fold number per case; no patient lies in two folds, classes are spread evenly (scikit-learn's
    StratifiedGroupKFold). DataError when a class has too few patients."""
    from sklearn.model_selection import StratifiedGroupKFold

    for one in np.unique(targets):
        count = len(np.unique(patients[targets == one]))
        if count < folds:
            raise DataError(
                f"a class of train has {count} patients, {folds} folds need {folds} or more",
                "set embedding.select=false and embedding.suspects=false, or bring more cases",
            )
    fold = np.empty(len(targets), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held) in enumerate(splitter.split(targets[:, None], targets, patients)):
        fold[held] = number
    return fold


def select(
    vectors: np.ndarray,
    targets: np.ndarray,
    patients: np.ndarray,
    transforms: Sequence[Transform] = TRANSFORMS,
    distances: Sequence[Distance] = ("euclidean", "cosine"),
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Every choice with its cross-validated figures, the best first: Choice's fields, log_loss (shares
    smoothed by one vote over the classes, so that a share of 0 costs a finite amount), accuracy and
    balanced_accuracy. Ordered by balanced accuracy, then log loss.

    Transforms are fitted anew in each fold, since LDA reads labels.
    """
    fold = patient_folds(targets, patients, seed=seed)
    n_classes = int(targets.max()) + 1
    ks = [k for k in ks if k < len(targets) * (FOLDS - 1) // FOLDS]
    answers: dict[Choice, np.ndarray] = {}
    for held in range(FOLDS):
        fit, ask = fold != held, fold == held
        for transform, distance, found in _searches(
            vectors, targets, fit, ask, transforms, distances, max(ks)
        ):
            for weights in ("uniform", "distance"):
                for k in ks:
                    near = Neighbors(found.index[:, :k], found.distance[:, :k])
                    config = Choice(transform, distance, weights, k)
                    place = answers.setdefault(config, np.zeros((len(targets), n_classes)))
                    place[ask] = votes(near, targets[fit], n_classes, weights)
    rows = [{**asdict(config), **_figures(shares, targets, config.k)} for config, shares in answers.items()]
    return sorted(rows, key=lambda row: (-row["balanced_accuracy"], row["log_loss"]))


def _searches(
    vectors: np.ndarray,
    targets: np.ndarray,
    fit: np.ndarray,
    ask: np.ndarray,
    transforms: Sequence[Transform],
    distances: Sequence[Distance],
    k: int,
) -> Iterator[tuple[Transform, Distance, Neighbors]]:
    for transform in transforms:
        space = fit_space(transform, vectors[fit], targets[fit])
        base, queries = space.apply(vectors[fit]), space.apply(vectors[ask])
        for distance in distances:
            if distance == "cosine" and base.shape[1] == 1:
                continue  # on a line the cosine is 1 or -1
            yield transform, distance, nearest_neighbors(base, queries, k, distance)


def _figures(shares: np.ndarray, targets: np.ndarray, k: int) -> dict[str, float]:
    n_classes = shares.shape[1]
    smooth = (shares * k + 1 / n_classes) / (k + 1)
    right = shares.argmax(axis=1) == targets
    recalls = [right[targets == one].mean() for one in np.unique(targets)]
    return {
        "log_loss": float(-np.log(smooth[np.arange(len(targets)), targets]).mean()),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
    }
