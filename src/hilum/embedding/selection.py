"""Choosing k and the space by patient-disjoint cross-validation on train.

The vectors come from a network that has seen the labels of train, so the figures here are too good in
themselves; they rank the candidates, and val and test measure the best one.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from hilum.artifacts.embedding import Candidate
from hilum.embedding.neighbors import Neighbors, Weights, nearest_neighbors, votes
from hilum.embedding.space import TRANSFORMS, Distance, Transform, fit_space
from hilum.errors import DataError
from hilum.evaluation import metrics
from hilum.evaluation.means import mean_over_patients
from hilum.evaluation.shares import share_figure
from hilum.evaluation.tables import JudgedTable

FOLDS = 5
KS = (1, 3, 5, 7, 11, 15, 21, 31)

Settings = tuple[Transform, Distance, Weights, int]
"""One way to classify by neighbours; the number is k."""


def patient_folds(targets: np.ndarray, patients: np.ndarray, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """A fold number per case; no patient lies in two folds, classes are spread evenly (scikit-learn's
    StratifiedGroupKFold). DataError when a class has too few patients.

    >>> fold = patient_folds(np.array([0, 1, 0, 1]), np.array(list("abcd")), folds=2)
    >>> sorted(fold.tolist())
    [0, 0, 1, 1]
    """
    from sklearn.model_selection import StratifiedGroupKFold

    for target in np.unique(targets):
        count = len(np.unique(patients[targets == target]))
        if count < folds:
            raise DataError(
                f"a class of train has {count} patients, {folds} folds need {folds} or more",
                "set select=false and suspects=false, or bring more cases",
            )
    fold = np.empty(len(targets), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(targets[:, None], targets, patients)):
        fold[held_out] = number
    return fold


def select(
    vectors: np.ndarray,
    targets: np.ndarray,
    patients: np.ndarray,
    transforms: Sequence[Transform] = TRANSFORMS,
    distances: Sequence[Distance] = ("euclidean", "cosine"),
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> list[Candidate]:
    """Every candidate with its cross-validated figures, the best first, by balanced accuracy, then log loss
    (shares smoothed by one vote over the classes, so that a share of 0 costs a finite amount).

    `vectors`: float "cases dim" of train. Transforms are fitted anew in each fold, since LDA reads labels.

    >>> targets = np.arange(20) % 2
    >>> best = select(targets[:, None] + 0.01 * np.arange(20.0)[:, None], targets, np.arange(20), ks=(1, 3))[0]
    >>> best.balanced_accuracy.value, best.accuracy.counts
    (1.0, '20/20')
    """
    fold = patient_folds(targets, patients, seed=seed)
    n_classes = int(targets.max()) + 1
    ks = [k for k in ks if k < len(targets) * (FOLDS - 1) // FOLDS]
    shares: dict[Settings, np.ndarray] = {}
    for number in range(FOLDS):
        fit, held_out = fold != number, fold == number
        for transform, distance, near in _searches(
            vectors, targets, fit, held_out, transforms, distances, max(ks)
        ):
            for weights in ("uniform", "distance"):
                for k in ks:
                    nearest = Neighbors(near.index[:, :k], near.distance[:, :k])
                    settings = (transform, distance, weights, k)
                    of_all = shares.setdefault(settings, np.zeros((len(targets), n_classes)))
                    of_all[held_out] = votes(nearest, targets[fit], n_classes, weights)
    candidates = [_candidate(settings, of_all, targets, patients) for settings, of_all in shares.items()]
    return sorted(candidates, key=_rank)


def _rank(candidate: Candidate) -> tuple[float, float]:
    return -(candidate.balanced_accuracy.value or 0.0), candidate.log_loss.value or 0.0


def _searches(
    vectors: np.ndarray,
    targets: np.ndarray,
    fit: np.ndarray,
    held_out: np.ndarray,
    transforms: Sequence[Transform],
    distances: Sequence[Distance],
    k: int,
) -> Iterator[tuple[Transform, Distance, Neighbors]]:
    for transform in transforms:
        space = fit_space(transform, vectors[fit], targets[fit])
        base, queries = space.apply(vectors[fit]), space.apply(vectors[held_out])
        for distance in distances:
            if distance == "cosine" and base.shape[1] == 1:
                continue  # on a line the cosine is 1 or -1
            yield transform, distance, nearest_neighbors(base, queries, k, distance)


def _candidate(
    settings: Settings, shares: np.ndarray, targets: np.ndarray, patients: np.ndarray
) -> Candidate:
    """Settings with the figures of their votes, `shares` "cases classes"."""
    transform, distance, weights, k = settings
    n_classes = shares.shape[1]
    smooth = (shares * k + 1 / n_classes) / (k + 1)
    predicted, nats = shares.argmax(axis=1), -np.log(smooth[np.arange(len(targets)), targets])
    return Candidate(
        transform=transform,
        distance=distance,
        weights=weights,
        k=k,
        log_loss=mean_over_patients(nats, patients, 0),
        accuracy=share_figure(predicted == targets, patients),
        balanced_accuracy=JudgedTable.of(targets, predicted, shares, patients).figure(
            metrics.balanced_accuracy
        ),
    )
