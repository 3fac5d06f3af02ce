"""Cases to review: labels that look wrong, pairs of cases that look the same; and density per class."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from hilum.artifacts.embedding import ClassDensity, DuplicateCounts, SuspectCounts
from hilum.data.duplicates import MIN_CORRELATION, registered_correlation
from hilum.embedding.baselines import fit_probe, probe_probabilities
from hilum.embedding.neighbors import nearest_neighbors, votes
from hilum.embedding.selection import FOLDS, patient_folds
from hilum.embedding.space import Distance
from hilum.evaluation.means import mean_of_parts, mean_over_patients

SHOWN = 100
PAIRS = 50


def out_of_fold(vectors: np.ndarray, targets: np.ndarray, patients: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probabilities "cases classes" of a linear probe that never saw the case's patient (5 folds).

    DataError when a class has fewer than 5 patients.

    >>> targets = np.arange(20) % 2
    >>> out_of_fold(targets[:, None] + np.zeros((20, 1)), targets, np.arange(20)).argmax(axis=1)[:4].tolist()
    [0, 1, 0, 1]
    """
    fold = patient_folds(targets, patients, seed=seed)
    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    for number in range(FOLDS):
        held_out = fold == number
        probe = fit_probe(vectors[~held_out], targets[~held_out])
        probabilities[held_out] = probe_probabilities(probe, vectors[held_out])
    return probabilities


def confident_learning(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mask "cases" of labels that confident learning prunes (Northcutt et al., JAIR 70, 2021; cleanlab):
    cases outside the diagonal of the confident joint, by noise rate, least self-confident first.
    `probabilities` "cases classes" must be out-of-fold.

    >>> targets = np.array([0, 0, 0, 1, 1, 1])
    >>> confident_learning(targets, np.eye(2)[[0, 0, 1, 1, 1, 1]] * 0.9 + 0.05).tolist()
    [False, False, True, False, False, False]
    """
    from cleanlab.filter import find_label_issues

    return np.asarray(find_label_issues(targets, probabilities, n_jobs=1), bool)


def label_suspects(
    table: pd.DataFrame,
    classes: tuple[str, ...],
    targets: np.ndarray,
    probabilities: np.ndarray,
    space_vectors: np.ndarray,
    k: int,
    distance: Distance,
) -> pd.DataFrame:
    """The rows of suspects.csv: every label that either method suspects, the most suspicious first.

    `table`: case_id, patient, split, label of the train cases; `probabilities`: out-of-fold. kNN suspects a
    label when most of the k nearest cases of other patients carry another class. Order: suspected by both
    first, then by the mean of self-confidence and the neighbours' share.

    >>> ids, targets = list("abcdef"), np.array([0, 0, 0, 1, 1, 1])
    >>> names = np.array(["normal", "virus"])
    >>> table = pd.DataFrame({"case_id": ids, "patient": ids, "split": "train", "label": names[targets]})
    >>> probabilities = np.eye(2)[[0, 0, 1, 1, 1, 1]] * 0.9 + 0.05
    >>> line = np.array([[0.0], [1.0], [9.0], [10.0], [11.0], [12.0]])
    >>> suspects = label_suspects(table, ("normal", "virus"), targets, probabilities, line, 2, "euclidean")
    >>> suspects[["case_id", "target", "suggested"]].values.tolist()
    [['c', 'normal', 'virus']]
    """
    patients = table["patient"].to_numpy(str)
    near = nearest_neighbors(space_vectors, space_vectors, k, distance, patients, patients)
    shares = votes(near, targets, len(classes))
    rows = np.arange(len(targets))
    given = np.array(classes)[targets]
    suspects = pd.DataFrame(
        {
            **{name: table[name].to_numpy() for name in ("case_id", "patient", "split", "label")},
            "target": given,
            "suggested": np.array(classes)[(probabilities + shares).argmax(axis=1)],
            "self_confidence": probabilities[rows, targets],
            "neighbor_share": shares[rows, targets],
            "confident_learning": confident_learning(targets, probabilities).astype(int),
            "knn_disagrees": (shares[rows, targets] < 0.5).astype(int),
        }
    )
    suspects["both"] = suspects["confident_learning"] + suspects["knn_disagrees"]
    suspects["doubt"] = suspects["self_confidence"] + suspects["neighbor_share"]
    contradicted = suspects["suggested"] != suspects["target"]  # a doubt that ends at the same label is none
    suspects = suspects[(suspects["both"] > 0) & contradicted].sort_values(
        ["both", "doubt", "case_id"], ascending=[False, True, True], ignore_index=True
    )
    suspects["rank"] = np.arange(1, len(suspects) + 1)
    return suspects.drop(columns=["both", "doubt"])


def suspect_counts(suspects: pd.DataFrame, training_images: int) -> SuspectCounts:
    """How many labels each method suspects, from the rows of `label_suspects`.

    >>> suspect_counts(pd.DataFrame({"confident_learning": [1, 0], "knn_disagrees": [1, 1]}), 9).both
    1
    """
    by_joint, by_knn = suspects["confident_learning"].astype(bool), suspects["knn_disagrees"].astype(bool)
    return SuspectCounts(
        total=len(suspects),
        confident_learning=int(by_joint.sum()),
        knn=int(by_knn.sum()),
        both=int((by_joint & by_knn).sum()),
        training_images=training_images,
    )


def density(
    vectors: np.ndarray,
    targets: np.ndarray,
    patients: np.ndarray,
    classes: tuple[str, ...],
    k: int,
    distance: Distance,
) -> dict[str, ClassDensity]:
    """Per class: the mean distance of its cases from their k nearest cases of other patients, and the share of
    these that are of the same class, 0 to 1.

    >>> line, targets = np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([0, 0, 1, 1])
    >>> by_class = density(line, targets, np.arange(4), ("normal", "virus"), 1, "euclidean")
    >>> by_class["virus"].mean_knn_distance.value, by_class["virus"].own_class_share.value
    (1.0, 1.0)
    """
    near = nearest_neighbors(vectors, vectors, k, distance, patients, patients)
    own = (targets[near.index] == targets[:, None]).mean(axis=1)
    mean = near.distance.mean(axis=1)
    return {
        name: ClassDensity(
            mean_knn_distance=mean_over_patients(mean[targets == index], patients[targets == index], 0),
            own_class_share=mean_of_parts(own[targets == index], patients[targets == index]),
            images=int((targets == index).sum()),
        )
        for index, name in enumerate(classes)
    }


def closest_pairs(
    table: pd.DataFrame,
    vectors: np.ndarray,
    distance: Distance,
    audited: set[frozenset[str]],
    thumbnail: Callable[[int], np.ndarray],
    most: int = PAIRS,
) -> pd.DataFrame:
    """The rows of duplicates.csv: the pairs of cases that lie closest, at most `most` of them.

    `table`: case_id, patient, split, target; `audited`: pairs of case ids that the audit of pixels found;
    `thumbnail`: a row's picture, uint8 "64 64", by which each pair is checked: `correlation` of their local
    contrast after registration, `confirmed` from 0.9 on (the audit's bound). Near in the space alone means
    similar to the network, not the same image.

    >>> ids, picture = list("abc"), np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    >>> table = pd.DataFrame({"case_id": ids, "patient": ids, "split": "train", "target": "virus"})
    >>> line = np.array([[0.0], [0.1], [5.0]])
    >>> pairs = closest_pairs(table, line, "euclidean", set(), lambda row: picture, most=1)
    >>> pairs[["case_a", "case_b", "confirmed"]].values.tolist()
    [['a', 'b', 1]]
    """
    rows = np.arange(len(table))
    near = nearest_neighbors(vectors, vectors, min(3, len(table) - 1), distance, rows, rows)
    first, second = np.repeat(rows, near.index.shape[1]), near.index.ravel()
    pairs = pd.DataFrame(
        {"a": np.minimum(first, second), "b": np.maximum(first, second), "distance": near.distance.ravel()}
    )
    pairs = (
        pairs.drop_duplicates(["a", "b"]).sort_values(["distance", "a", "b"], ignore_index=True).head(most)
    )
    a, b = (table.iloc[pairs[side]].reset_index(drop=True) for side in ("a", "b"))
    correlation = [
        registered_correlation(thumbnail(row), thumbnail(other))
        for row, other in zip(pairs["a"], pairs["b"], strict=True)
    ]
    ids = zip(a["case_id"], b["case_id"], strict=True)
    return pd.DataFrame(
        {
            "case_a": a["case_id"],
            "case_b": b["case_id"],
            "distance": pairs["distance"],
            "same_patient": (a["patient"] == b["patient"]).astype(int),
            "same_class": (a["target"] == b["target"]).astype(int),
            "in_audit": [int(frozenset(pair) in audited) for pair in ids],
            "splits": a["split"].str.cat(b["split"], sep="+"),
            "correlation": correlation,
            "confirmed": (np.array(correlation) >= MIN_CORRELATION).astype(int),
        }
    )


def duplicate_counts(pairs: pd.DataFrame) -> DuplicateCounts:
    """How many of the pairs of `closest_pairs` are one image twice.

    >>> duplicate_counts(pd.DataFrame({"confirmed": [1, 1, 0], "in_audit": [1, 0, 0]})).new
    1
    """
    confirmed = pairs["confirmed"].astype(bool)
    return DuplicateCounts(
        pairs=len(pairs),
        confirmed=int(confirmed.sum()),
        new=int((confirmed & ~pairs["in_audit"].astype(bool)).sum()),
        threshold=MIN_CORRELATION,
    )
