"""Nearest neighbours, exactly, in bounded memory, and the kNN classifier.

Distances come from one matrix product per block, |q - b|^2 = |q|^2 - 2 q.b + |b|^2, in float32. Rounding
could swap close neighbours, so every base vector whose distance lies within the rounding error of the k-th
is measured again in float64: the result is that of a brute-force search in float64.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hilum.artifacts.embedding import Distance
from hilum.artifacts.embedding import Weights as Weights
from hilum.errors import DataError

BASE_BLOCK = 8192
QUERY_BLOCK = 640
GROUPS = 128
CHUNK = 64


@dataclass(frozen=True)
class Neighbors:
    """`index`: int64 "queries k", rows of the base, nearest first; `distance`: float64 "queries k"."""

    index: np.ndarray
    distance: np.ndarray


def nearest_neighbors(
    base: np.ndarray,
    queries: np.ndarray,
    k: int,
    distance: Distance = "euclidean",
    base_groups: np.ndarray | None = None,
    query_groups: np.ndarray | None = None,
) -> Neighbors:
    """The k nearest rows of `base` "cases dim" for each row of `queries` "queries dim"; equals by row.

    With groups (text or numbers, "cases" and "queries"), a neighbour of the query's own group does not count:
    with patients as groups, no image is found through another image of the same child. `distance`: 'euclidean',
    or 'cosine' = 1 - cosine of the angle (0 to 2). `base` may be a memory map of float16 or float32.

    DataError for NaN, for a zero vector with 'cosine', or when fewer than k neighbours are left.

    >>> near = nearest_neighbors(np.array([[0.0], [3.0], [5.0]]), np.array([[4.5]]), k=2)
    >>> near.index.tolist(), near.distance.tolist()
    ([[2, 1]], [[0.5, 1.5]])
    """
    if k < 1 or k > len(base):
        raise DataError(f"{k} neighbours are wanted among {len(base):,} cases", "choose a smaller k")
    if (base_groups is None) != (query_groups is None):
        raise ValueError("give groups of the base and of the queries, or neither")
    center = center_of(base) if distance == "euclidean" else None
    index, squared = _search(base, queries, k, distance, center, _coded(base_groups, query_groups))
    return Neighbors(index, np.sqrt(squared) if distance == "euclidean" else squared / 2)


def nearest_in_blocks(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    queries: np.ndarray,
    k: int,
    distance: Distance = "euclidean",
) -> Neighbors:
    """As `nearest_neighbors`, of a base that comes in blocks of row numbers "cases", rising, and vectors "cases dim".

    >>> blocks = [(np.array([0, 1]), np.array([[0.0], [3.0]])), (np.array([7]), np.array([[5.0]]))]
    >>> nearest_in_blocks(blocks, np.array([[4.5]]), k=2).index.tolist()
    [[7, 1]]
    """
    index, best, n = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0)), 0
    for rows, vectors in blocks:
        if not len(rows):
            continue
        n += len(rows)
        near = nearest_neighbors(vectors, queries, min(k, len(rows)), distance)
        index = np.concatenate([index, rows[near.index]], axis=1)
        best = np.concatenate([best, near.distance], axis=1)
        order = np.argsort(best, axis=1, kind="stable")[:, :k]
        index, best = np.take_along_axis(index, order, axis=1), np.take_along_axis(best, order, axis=1)
    if k > n:
        raise DataError(f"{k} neighbours are wanted among {n:,} cases", "choose a smaller k")
    return Neighbors(index, best)


def _coded(base: np.ndarray | None, queries: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Groups as whole numbers, the same number for the same group."""
    if base is None or queries is None:
        return None
    codes = np.unique(np.concatenate([np.asarray(base), np.asarray(queries)]), return_inverse=True)[1]
    return codes[: len(base)].astype(np.int32), codes[len(base) :].astype(np.int32)


def center_of(base: np.ndarray) -> np.ndarray | None:
    """The mean of the first vectors, where moving it to zero makes numbers, and so rounding, much smaller;
    else None, because moving costs a copy of the base.

    >>> center_of(np.array([[9.0], [11.0]])).tolist(), center_of(np.array([[-1.0], [1.0]]))
    ([10.0], None)
    """
    first = np.asarray(base[:BASE_BLOCK], np.float32)
    center = first.mean(axis=0)
    square, length = float(center @ center), float(np.einsum("ij,ij->", first, first)) / len(first)
    return center if square > length - square else None  # the rest is the mean squared distance from it


def prepared(
    vectors: np.ndarray, distance: Distance, center: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors as float32, checked, moved by the centre or made of length 1; and their squared lengths.

    >>> values, squares = prepared(np.array([[3.0, 4.0]]), "euclidean", None)
    >>> values.tolist(), squares.tolist()
    ([[3.0, 4.0]], [25.0])
    >>> prepared(np.array([[0.0, 0.0]]), "cosine", None)
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: vector 0 is zero and has no direction; use the Euclidean distance
    """
    values = np.asarray(vectors, np.float32)
    if distance == "euclidean" and center is not None:
        values = values - center
    square = np.einsum("ij,ij->i", values, values)
    if not np.isfinite(square).all():  # a single NaN or infinity makes the length so
        row = int((~np.isfinite(square)).argmax())
        raise DataError(f"vector {row} holds NaN or infinity", "leave it out or make the vectors again")
    if distance == "euclidean":
        return values, square
    length = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    if not (length > 0).all():
        row = int((length == 0).argmax())
        raise DataError(f"vector {row} is zero and has no direction", "use the Euclidean distance")
    values = (values / length[:, None]).astype(np.float32)
    return values, np.einsum("ij,ij->i", values, values)


def _search(
    base: np.ndarray,
    queries: np.ndarray,
    k: int,
    distance: Distance,
    center: np.ndarray | None,
    groups: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and squared distances "queries k". Blocks are small enough to stay in the processor's cache."""
    points, points_square = prepared(queries, distance, center)
    rounding = (points.shape[1] + 4) * np.finfo(np.float32).eps
    best_row = np.full((len(points), k), -1, np.int64)
    best = np.full((len(points), k), np.inf)
    parts = [slice(first, first + QUERY_BLOCK) for first in range(0, len(points), QUERY_BLOCK)]
    turned = [
        np.ascontiguousarray(-2 * points[part].T) for part in parts
    ]  # "dim queries": BLAS is fastest so
    space = np.empty((BASE_BLOCK, QUERY_BLOCK), np.float32)
    for start in range(0, len(base), BASE_BLOCK):
        block, square = prepared(base[start : start + BASE_BLOCK], distance, center)
        for part, factor in zip(parts, turned, strict=True):
            count = factor.shape[1]
            approximate = space.ravel()[: len(block) * count].reshape(len(block), count)
            np.matmul(block, factor, out=approximate)
            approximate += square[:, None]
            if groups:
                own = groups[0][start : start + BASE_BLOCK]
                approximate[own[:, None] == groups[1][None, part]] = np.inf
            slack = 2 * rounding * (points_square[part] + float(square.max()))
            limit = best[part, -1] - points_square[part]
            if not np.isfinite(limit).all():  # later blocks are held to what earlier ones found
                limit = np.minimum(limit, _upper_bound(approximate, k))
            limit += slack
            flat = np.flatnonzero((approximate <= limit.astype(np.float32)).ravel())
            row, query = np.divmod(flat, count)
            finite = np.isfinite(approximate[row, query])
            query, row = query[finite], row[finite]
            if len(query):
                squared = _exact(points[part], block, query, row)
                _merge(best_row[part], best[part], query, row + start, squared)
    if not np.isfinite(best).all():
        short = int((~np.isfinite(best).all(axis=1)).argmax())
        count = int(np.isfinite(best[short]).sum())
        raise DataError(
            f"query {short} has {count} neighbours of other patients, {k} are wanted",
            "choose a smaller k",
        )
    return best_row, best


def _upper_bound(values: np.ndarray, k: int) -> np.ndarray:
    """A number per column that at least k of its values do not exceed: the k-th smallest of the minima of
    groups of rows. Cheap, and close to the k-th smallest value. `values`: "base queries"."""
    whole = len(values) // GROUPS * GROUPS
    if k > len(values):
        return np.full(values.shape[1], np.inf, np.float32)
    if k > GROUPS // 4 or whole < 4 * GROUPS:
        return np.partition(values, k - 1, axis=0)[k - 1]
    minima = values[:whole].reshape(-1, GROUPS, values.shape[1]).min(axis=0)
    return np.partition(minima, k - 1, axis=0)[k - 1]


def _exact(queries: np.ndarray, block: np.ndarray, query: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Squared distances of pairs in float64, some pairs at a time."""
    squared = np.empty(len(query))
    for start in range(0, len(query), CHUNK):
        part = slice(start, start + CHUNK)
        difference = queries[query[part]].astype(np.float64) - block[row[part]]
        squared[part] = np.einsum("ij,ij->i", difference, difference)
    return squared


def _merge(
    best_row: np.ndarray, best: np.ndarray, query: np.ndarray, row: np.ndarray, squared: np.ndarray
) -> None:
    """Puts new candidates into the sorted lists of the best k, in place."""
    k = best.shape[1]
    touched = np.unique(query)
    all_query = np.concatenate([query, np.repeat(touched, k)])
    all_row = np.concatenate([row, best_row[touched].ravel()])
    all_squared = np.concatenate([squared, best[touched].ravel()])
    order = np.lexsort((all_row, all_squared, all_query))
    first = np.searchsorted(all_query[order], touched)
    picks = order[first[:, None] + np.arange(k)]
    best_row[touched] = all_row[picks]
    best[touched] = all_squared[picks]


# -- the classifier ------------------------------------------------------------------------------------------


def votes(near: Neighbors, targets: np.ndarray, n_classes: int, weights: Weights = "uniform") -> np.ndarray:
    """Class probabilities "queries classes": shares of the neighbours' votes. `targets`: classes of the base.

    'distance' weighs a vote by 1 / distance; a neighbour at distance 0 outvotes all others
    (as scikit-learn's KNeighborsClassifier).

    >>> near = Neighbors(np.array([[0, 1, 2]]), np.array([[1.0, 2.0, 2.0]]))
    >>> votes(near, np.array([0, 1, 1]), 2).tolist()
    [[0.333..., 0.666...]]
    >>> votes(near, np.array([0, 1, 1]), 2, "distance").tolist()
    [[0.5, 0.5]]
    """
    weight = np.ones_like(near.distance)
    if weights == "distance":
        zero = near.distance == 0
        with np.errstate(divide="ignore"):
            weight = np.where(zero.any(axis=1, keepdims=True), zero, 1 / near.distance)
    counts = np.zeros((len(near.index), n_classes))
    classes = targets[near.index]
    for index in range(n_classes):
        counts[:, index] = (weight * (classes == index)).sum(axis=1)
    return counts / counts.sum(axis=1, keepdims=True)
