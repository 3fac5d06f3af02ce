"""Cases to look at again: labels that look wrong, pairs of cases that look the same, density per class."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.duplicates import MIN_CORRELATION, registered_correlation
from hilum.embedding.baselines import fit_probe, probe_probabilities
from hilum.embedding.neighbors import nearest_neighbors, votes
from hilum.embedding.selection import FOLDS, patient_folds
from hilum.embedding.space import Distance

SHOWN = 100
PAIRS = 50


def out_of_fold(vectors: np.ndarray, targets: np.ndarray, patients: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probabilities "cases classes" of a linear probe that never saw the case's patient (5 folds)."""
    fold = patient_folds(targets, patients, seed=seed)
    answers = np.zeros((len(targets), int(targets.max()) + 1))
    for held in range(FOLDS):
        probe = fit_probe(vectors[fold != held], targets[fold != held])
        answers[fold == held] = probe_probabilities(probe, vectors[fold == held])
    return answers


def confident_learning(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mask "cases" of labels that confident learning prunes (Northcutt et al., JAIR 70, 2021; cleanlab):
    cases outside the diagonal of the confident joint, by noise rate, least self-confident first.
    `probabilities` must be out-of-fold."""
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
    """The rows of suspects.csv, the most suspicious first, all that one of the two methods names.

    `table`: case_id, patient, split, label of the train cases; `probabilities`: out-of-fold. A case is named
    by kNN when most of its k nearest cases of other patients carry another class. Order: named by both
    first, then by the mean of self-confidence and neighbours' share.
    """
    patients = table["patient"].to_numpy(str)
    near = nearest_neighbors(space_vectors, space_vectors, k, distance, patients, patients)
    shares = votes(near, targets, len(classes))
    rows = np.arange(len(targets))
    given = np.array(classes)[targets]
    found = pd.DataFrame(
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
    found["both"] = found["confident_learning"] + found["knn_disagrees"]
    found["doubt"] = found["self_confidence"] + found["neighbor_share"]
    contradicted = found["suggested"] != found["target"]  # a doubt that ends at the same label is none
    found = found[(found["both"] > 0) & contradicted].sort_values(
        ["both", "doubt", "case_id"], ascending=[False, True, True], ignore_index=True
    )
    found["rank"] = np.arange(1, len(found) + 1)
    return found.drop(columns=["both", "doubt"])


def density(
    vectors: np.ndarray,
    targets: np.ndarray,
    patients: np.ndarray,
    classes: tuple[str, ...],
    k: int,
    distance: Distance,
) -> dict[str, Any]:
    """Per class: how far its cases lie from their k nearest cases of other patients, and the share of these
    that are of the same class."""
    near = nearest_neighbors(vectors, vectors, k, distance, patients, patients)
    own = (targets[near.index] == targets[:, None]).mean(axis=1)
    mean = near.distance.mean(axis=1)
    return {
        name: {
            "mean_knn_distance": float(mean[targets == index].mean()),
            "own_class_share": float(own[targets == index].mean()),
            "n": int((targets == index).sum()),
        }
        for index, name in enumerate(classes)
    }


def closest_pairs(
    table: pd.DataFrame,
    vectors: np.ndarray,
    distance: Distance,
    audited: set[frozenset[str]],
    thumbnail: Callable[[int], np.ndarray] | None = None,
    most: int = PAIRS,
) -> pd.DataFrame:
    """The rows of duplicates.csv: the pairs of cases that lie closest, at most `most` of them.

    `table`: case_id, patient, split, target; `audited`: pairs of case ids that the pixel audit named;
    `thumbnail`: a row's picture, uint8 "64 64", by which each pair is checked: `correlation` of their local
    contrast after registration, `confirmed` from 0.9 on (the audit's bound). Near in the space alone means
    alike to the network, not the same image.
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
    found = pd.DataFrame(
        {
            "case_a": a["case_id"],
            "case_b": b["case_id"],
            "distance": pairs["distance"],
            "same_patient": (a["patient"] == b["patient"]).astype(int),
            "same_class": (a["target"] == b["target"]).astype(int),
            "in_audit": [
                int(frozenset(pair) in audited) for pair in zip(a["case_id"], b["case_id"], strict=True)
            ],
            "splits": a["split"].str.cat(b["split"], sep="+"),
        }
    )
    if thumbnail is not None:
        correlation = [
            registered_correlation(thumbnail(one), thumbnail(other))
            for one, other in zip(pairs["a"], pairs["b"], strict=True)
        ]
        found["correlation"] = correlation
        found["confirmed"] = (found["correlation"] >= MIN_CORRELATION).astype(int)
    return found


def audited_pairs(audit: dict[str, Any] | None) -> set[frozenset[str]]:
    """Pairs of case ids that audit.json names as exact or near duplicates."""
    from itertools import combinations

    audit = audit or {}
    pairs: set[frozenset[str]] = set()
    for group in audit.get("exact_duplicates", {}).get("groups", []):
        pairs |= {frozenset(pair) for pair in combinations(group["case_ids"], 2)}
    pairs |= {frozenset(pair["case_ids"]) for pair in audit.get("near_duplicates", {}).get("pairs", [])}
    return pairs
