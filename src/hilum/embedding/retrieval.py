"""Retrieval: how often the cases found for a case are of its class, never counting the same patient."""

from collections.abc import Sequence

import numpy as np

from hilum.artifacts.embedding import Retrieval
from hilum.embedding.neighbors import nearest_neighbors
from hilum.embedding.space import Distance
from hilum.errors import DataError
from hilum.evaluation.means import mean_of_parts
from hilum.evaluation.shares import share_figure

QUERY_BLOCK = 256
KS = (1, 5, 7, 10)


def retrieval_figures(
    base: np.ndarray,
    base_targets: np.ndarray,
    base_patients: np.ndarray,
    queries: np.ndarray,
    query_targets: np.ndarray,
    query_patients: np.ndarray,
    distance: Distance = "euclidean",
    ks: Sequence[int] = KS,
) -> Retrieval:
    """Precision at each k, mean average precision and chance, each 0 to 1; intervals over the queries' patients, the
    list given.

    A hit is a case of the query's class. Cases of the query's own patient are taken out of the list: they
    are neither hits nor misses. Average precision is over the whole ranked list (Manning et al., Introduction
    to Information Retrieval, 2008, section 8.4); `chance` is what any order of the list gives on average,
    the share of the query's class. DataError when a query has no case of its class among other patients.

    >>> base = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 0]), np.array(list("abc"))
    >>> query = np.array([[0.1]]), np.array([0]), np.array(["z"])
    >>> figures = retrieval_figures(*base, *query, ks=(1, 2))
    >>> figures.precision_at_k[2].value, round(figures.mean_average_precision.value, 3)
    (0.5, 0.833)
    """
    average, chance = _average_precision(
        base, base_targets, base_patients, queries, query_targets, query_patients, distance
    )
    ks = [k for k in ks if k < len(base)]
    near = nearest_neighbors(base, queries, max(ks), distance, base_patients, query_patients)
    hits = base_targets[near.index] == query_targets[:, None]
    return Retrieval(
        precision_at_k={
            k: share_figure(hits[:, 0], query_patients)
            if k == 1
            else mean_of_parts(hits[:, :k].mean(1), query_patients)
            for k in ks
        },
        mean_average_precision=mean_of_parts(average, query_patients),
        chance=float(chance.mean()),
        queries=len(queries),
    )


def _average_precision(
    base: np.ndarray,
    base_targets: np.ndarray,
    base_patients: np.ndarray,
    queries: np.ndarray,
    query_targets: np.ndarray,
    query_patients: np.ndarray,
    distance: Distance,
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and share of relevant cases, "queries" each."""
    if distance == "cosine":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    square = np.einsum("ij,ij->i", base, base)
    average, chance = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), QUERY_BLOCK):
        part = slice(start, start + QUERY_BLOCK)
        order = np.argsort(square - 2 * queries[part] @ base.T, axis=1)
        counted = (base_patients[None, :] != query_patients[part, None])[
            np.arange(len(order))[:, None], order
        ]
        hit = (base_targets[order] == query_targets[part, None]) & counted
        total = hit.sum(axis=1)
        if not total.all():
            row = start + int((total == 0).argmax())
            raise DataError(
                f"query {row}: no case of its class belongs to another patient",
                "bring more cases of that class",
            )
        rank = np.cumsum(counted, axis=1)
        precision = np.where(hit, np.cumsum(hit, axis=1) / np.maximum(rank, 1), 0)
        average[part] = precision.sum(axis=1) / total
        chance[part] = total / counted.sum(axis=1)
    return average, chance
