"""How faithful a map is to the space that it shows.

A map shows something only as far as it keeps neighbours. So each carries its own figures: trustworthiness,
the accuracy of kNN on the map beside that in the full space, and how much of a neighbourhood stays when the
map is fitted again from another random start.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import Projection
from hilum.embedding.cases import TaskCases
from hilum.embedding.neighbors import nearest_neighbors, votes
from hilum.embedding.projection import DIMENSIONS, TITLES, Map, MapSettings, fit_map
from hilum.embedding.space import Distance, unit
from hilum.errors import DataError
from hilum.evaluation.areas import area_figure
from hilum.evaluation.means import mean_of_parts
from hilum.evaluation.shares import share_figure

NEIGHBORHOOD = 10
"""Nearest images by which trustworthiness and stability are measured."""
VOTERS = 7
"""Neighbours that vote, on the map and in the space."""
MOST_CLASSES = 4
"""Straight lines are drawn between every two of so many classes; more would fill the table."""


def trustworthiness(
    vectors: np.ndarray, points: np.ndarray, k: int = NEIGHBORHOOD, queries: int = 1000
) -> float:
    """Do neighbours on the map belong together in the space? 1: always. (Venna & Kaski 2001, eq. 1.)

    The mean of `trusted`; DataError when there are too few cases for k.

    >>> line = np.arange(30.0)[:, None]
    >>> trustworthiness(line, np.column_stack([line, line]), k=5)
    1.0
    """
    return float(trusted(vectors, points, _queries(len(vectors), queries), k).mean())


def _queries(n: int, most: int = 1000) -> np.ndarray:
    """At most so many of n cases, with a fixed seed."""
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def trusted(vectors: np.ndarray, points: np.ndarray, chosen: np.ndarray, k: int = NEIGHBORHOOD) -> np.ndarray:
    """What each of the `chosen` cases adds to trustworthiness, 0 to 1 (Venna & Kaski 2001, eq. 1), against all cases.

    DataError when there are too few cases for k.

    >>> line = np.arange(30.0)[:, None]
    >>> trusted(line, np.column_stack([line, line]), np.array([3, 4]), k=5).tolist()
    [1.0, 1.0]
    """
    n = len(vectors)
    if 2 * n - 3 * k - 1 <= 0 or k >= n / 2:
        raise DataError(f"{n} cases are too few to judge neighbourhoods of {k}", "bring more cases")
    penalties = []
    for part in np.array_split(chosen, max(1, len(chosen) // 250)):
        near = np.argsort(_squared(points, part), axis=1, kind="stable")[:, :k]
        order = np.argsort(_squared(vectors, part), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, n + 1)[None, :], axis=1)
        penalties.append(np.maximum(np.take_along_axis(rank, near, axis=1) - k, 0).sum(1))
    return 1 - np.concatenate(penalties) * 2 / (k * (2 * n - 3 * k - 1))


def _squared(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Squared distances "rows cases"; a case is infinitely far from itself, so it is no neighbour."""
    wide = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    square = (wide**2).sum(axis=1)
    distances = square[rows][:, None] + square - 2 * wide[rows] @ wide.T
    distances[np.arange(len(rows)), rows] = np.inf
    return distances


def shared_neighborhood(points: np.ndarray, others: np.ndarray, k: int = NEIGHBORHOOD) -> np.ndarray:
    """The share of each case's k neighbours that two maps of the same cases have in common, 0 to 1, "cases".

    >>> line = np.arange(30.0)[:, None]
    >>> bool(shared_neighborhood(line, -2 * line, k=3).mean() > 0.9)
    True
    """
    rows = np.arange(len(points))
    here = nearest_neighbors(points, points, k, base_groups=rows, query_groups=rows).index
    there = nearest_neighbors(others, others, k, base_groups=rows, query_groups=rows).index
    return (here[:, :, None] == there[:, None, :]).any(axis=2).mean(axis=1)


def correct_votes(
    base: np.ndarray, targets: np.ndarray, queries: np.ndarray, query_targets: np.ndarray, k: int = VOTERS
) -> np.ndarray:
    """Whether a plain kNN vote from `base` "cases dim" is correct for each of `queries` "more dim".

    >>> base, queries, both = np.array([[0.0], [1.0]]), np.array([[0.1], [0.2]]), np.array([0, 1])
    >>> correct_votes(base, both, queries, both, k=1).tolist()
    [True, False]
    """
    shares = votes(nearest_neighbors(base, queries, k), targets, int(targets.max()) + 1)
    return shares.argmax(axis=1) == query_targets


def stability(
    fitted: Map, train: np.ndarray, targets: np.ndarray, distance: Distance, seeds: int
) -> np.ndarray | None:
    """Shared neighbourhood of each case, 0 to 1, of the map and of `seeds` further ones from random starts, their mean;
    None for PCA and LDA, which do not depend on chance, and for no seeds.

    >>> vectors, targets = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 2
    >>> fitted = fit_map(MapSettings("pca"), vectors, targets, vectors[:0], "euclidean")
    >>> stability(fitted, vectors, targets, "euclidean", seeds=2) is None
    True
    """
    if fitted.settings.name in ("pca", "lda") or seeds == 0:
        return None
    shares = []
    for number in range(1, seeds + 1):
        settings = replace(fitted.settings, seed=fitted.settings.seed + number, start="random")
        points = fit_map(settings, train, targets, train[:0], distance).train
        shares.append(shared_neighborhood(fitted.train, points))
    return np.mean(shares, axis=0)


def projected(
    data: TaskCases, vectors: np.ndarray, settings: MapSettings, distance: Distance, seeds: int = 0
) -> tuple[np.ndarray, Projection]:
    """A map of all cases, float64 "cases 2", and how faithful it is. `vectors`: "cases dim", in the order of
    `data`; `seeds`: further maps for `stability`. Intervals are over patients, the map given. DataError when there are
    too few training cases.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"split": ["train"] * 30 + ["val"] * 2})
    >>> data = TaskCases(table, np.arange(32) % 2, np.arange(32).astype(str), ("normal", "virus"))
    >>> vectors = np.random.default_rng(0).normal(size=(32, 2))
    >>> points, quality = projected(data, vectors, MapSettings("pca"), "euclidean")
    >>> points.shape, quality.trustworthiness.value, quality.images  # two dimensions lose nothing
    ((32, 2), 1.0, 30)
    """
    train = data.train
    new = np.setdiff1d(np.arange(len(data.table)), train)
    fitted = fit_map(settings, vectors[train], data.targets[train], vectors[new], distance)
    points = np.full((len(vectors), 2), np.nan)
    points[train], points[new] = fitted.train, fitted.placed
    space, people = unit(vectors) if distance == "cosine" else vectors, data.patients[train]
    chosen = _queries(len(train))
    kept = stability(fitted, vectors[train], data.targets[train], distance, seeds)
    quality = Projection(
        title=TITLES[settings.name],
        settings=_settings(fitted.settings, vectors.shape[1]),
        trustworthiness=mean_of_parts(trusted(space[train], fitted.train, chosen), people[chosen]),
        knn_map=_accuracies(data, points),
        knn_space=_accuracies(data, space),
        lines=lines(data, points),
        stability=None if kept is None else mean_of_parts(kept, people),
        images=len(train),
        seconds=fitted.seconds,
        note="fitted on train; val and test were placed afterwards"
        + ("; uses the labels of train" if settings.name == "lda" else "")
        + _lowered(settings, fitted.settings, len(train)),
    )
    return points, quality


def _lowered(wanted: MapSettings, used: MapSettings, n: int) -> str:
    if used.perplexity == wanted.perplexity:
        return ""
    return f"; perplexity lowered from {wanted.perplexity:g}, too high for {n} training images"


def _accuracies(data: TaskCases, points: np.ndarray) -> dict[str, Figure]:
    """Accuracy of a vote of training cases for each held-out split."""
    train, targets = data.train, data.targets
    k = min(VOTERS, len(train))
    return {
        split: share_figure(
            correct_votes(points[train], targets[train], points[rows], targets[rows], k), data.patients[rows]
        )
        for split in data.held_out
        for rows in [data.rows(split)]
    }


def lines(data: TaskCases, points: np.ndarray) -> dict[str, dict[str, Figure]]:
    """How well one straight line on the map tells two classes apart: for every pair and held-out split the AUROC of the
    distance from a line that the training images chose (logistic regression). `points`: "cases 2". Empty above
    `MOST_CLASSES`; a pair that train lacks is left out, and a split that has images of neither class.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"split": ["train"] * 30 + ["val"] * 20})
    >>> data = TaskCases(table, np.arange(50) % 2, np.arange(50).astype(str), ("normal", "virus"))
    >>> points = np.column_stack([np.arange(50) % 2, np.zeros(50)])
    >>> lines(data, points)["normal and virus"]["val"].value
    1.0
    """
    if len(data.classes) > MOST_CLASSES:
        return {}
    measured = {}
    for first, second in combinations(range(len(data.classes)), 2):
        train = data.train[np.isin(data.targets[data.train], [first, second])]
        if len(np.unique(data.targets[train])) == 2:
            score = _beyond_line(points[train], data.targets[train] == second, points)
            measured[f"{data.classes[first]} and {data.classes[second]}"] = {
                split: area_figure(score[rows], data.targets[rows] == second, data.patients[rows])
                for split in data.held_out
                for rows in [data.rows(split)]
                for rows in [rows[np.isin(data.targets[rows], [first, second])]]
                if len(rows)
            }
    return measured


def _beyond_line(train: np.ndarray, positive: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The side of the line on which each point lies, and how far, "cases"."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, positive)
    return np.asarray(fitted.decision_function(points))


def _settings(settings: MapSettings, dim: int) -> dict[str, float]:
    """What a map depends on beside the vectors."""
    if settings.name in ("pca", "lda"):
        return {}
    known = {
        "dimensions_before": min(DIMENSIONS, dim),
        "seed": settings.seed,
        "perplexity": settings.perplexity,
    }
    if settings.name == "tsne":
        known |= {"exaggeration": settings.exaggeration, "iterations": settings.iterations}
    return known
