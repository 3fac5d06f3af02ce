"""Neighbours in large sets, through faiss (extra 'faiss'), with the share of true neighbours that it finds."""

from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import Search
from hilum.embedding.neighbors import BASE_BLOCK, Neighbors, center_of, nearest_neighbors, prepared
from hilum.embedding.space import Distance
from hilum.errors import DataError
from hilum.evaluation.means import mean_of_parts
from hilum.progress import say

CANDIDATES = 50
"""Cases that IVF-PQ proposes per neighbour wanted: of 100,000 x 512 synthetic ones, 50 find 95 %, 10 find 69 %."""
LARGE = 100_000
"""From so many base vectors on, `search` uses faiss where it is installed."""
JUDGED = 1000
"""Queries by which an approximate search is judged."""


def search(
    base: np.ndarray,
    queries: np.ndarray,
    k: int,
    distance: Distance,
    base_groups: np.ndarray,
    query_groups: np.ndarray,
) -> tuple[Neighbors, Search]:
    """The k nearest of other groups (see `nearest_neighbors`), and how they were searched.

    >>> base, patients = np.array([[0.0], [3.0], [9.0]]), np.array(["a", "b", "c"])
    >>> near, how = search(base, base[:1], 1, "euclidean", patients, patients[:1])
    >>> near.index.tolist(), how.engine
    ([[1]], 'exact, in blocks')
    """
    if len(base) <= LARGE or find_spec("faiss") is None:
        near = nearest_neighbors(base, queries, k, distance, base_groups, query_groups)
        every = Figure(value=1.0, reason="the search is exact")
        return near, Search(engine="exact, in blocks", recall=every)
    near = _of_other_groups(base, queries, k, distance, base_groups, query_groups)
    some = np.random.default_rng(0).permutation(len(queries))[:JUDGED]
    exact = nearest_neighbors(base, queries[some], k, distance, base_groups, query_groups[some])
    shares = recalls(Neighbors(near.index[some], near.distance[some]), exact)
    say(f"  faiss IVF-PQ: recall {shares.mean():.3f} at {k} neighbours, over {len(some):,} queries")
    return near, Search(engine="faiss ivf-pq", recall=mean_of_parts(shares, query_groups[some]))


def _of_other_groups(
    base: np.ndarray,
    queries: np.ndarray,
    k: int,
    distance: Distance,
    base_groups: np.ndarray,
    query_groups: np.ndarray,
) -> Neighbors:
    """IVF-PQ proposes so many that k of other groups are left."""
    largest_group = int(np.unique(base_groups, return_counts=True)[1].max())
    near = faiss_neighbors(base, queries, min(len(base), k + largest_group), distance, "ivf-pq")
    other = (base_groups[near.index] != query_groups[:, None]) & (near.index >= 0)
    order = np.argsort(~other, axis=1, kind="stable")[:, :k]
    return Neighbors(
        np.take_along_axis(near.index, order, axis=1), np.take_along_axis(near.distance, order, axis=1)
    )


def faiss_neighbors(
    base: np.ndarray,
    queries: np.ndarray,
    k: int,
    distance: Distance,
    kind: Literal["flat", "ivf-pq"] = "flat",
) -> Neighbors:
    """Neighbours through faiss: 'flat' is exact up to float32, 'ivf-pq' approximate. DataError without faiss.

    IVF-PQ (Jegou et al., IEEE TPAMI 33, 2011): 4 sqrt(n) cells, 64 of them visited, codes of at most 64
    bytes. Codes propose CANDIDATES cases per neighbour, which are then measured on their vectors; `recall`
    tells how much is missed.
    """
    if find_spec("faiss") is None:
        raise DataError("faiss is not installed", "pip install 'hilum[faiss]'")
    center = center_of(base) if distance == "euclidean" else None
    index = _index(base, distance, center, kind)
    points = prepared(queries, distance, center)[0]
    if kind == "flat":
        squared, rows = index.search(points, k)
    else:
        candidates = index.search(points, min(CANDIDATES * k, len(base)))[1]
        squared, rows = _ranked(base, points, candidates, k, distance, center)
    squared = np.maximum(squared.astype(np.float64), 0)
    return Neighbors(rows.astype(np.int64), np.sqrt(squared) if distance == "euclidean" else squared / 2)


def _index(
    base: np.ndarray, distance: Distance, center: np.ndarray | None, kind: Literal["flat", "ivf-pq"]
) -> Any:
    """A faiss index that holds the base."""
    import faiss  # pyright: ignore[reportMissingImports]

    library: Any = faiss
    dim = base.shape[1]
    if kind == "flat":
        index = library.IndexFlatL2(dim)
    else:
        cells = max(1, min(int(4 * np.sqrt(len(base))), len(base) // 39))
        codes = next(m for m in range(min(64, dim), 0, -1) if dim % m == 0)
        index = library.IndexIVFPQ(library.IndexFlatL2(dim), dim, cells, codes, 8)
        picks = np.random.default_rng(0).permutation(len(base))[: max(64 * cells, 10_000)]
        index.train(prepared(base[np.sort(picks)], distance, center)[0])
        index.nprobe = min(64, cells)
    for start in range(0, len(base), BASE_BLOCK):
        index.add(prepared(base[start : start + BASE_BLOCK], distance, center)[0])
    return index


def _ranked(
    base: np.ndarray,
    points: np.ndarray,
    candidates: np.ndarray,
    k: int,
    distance: Distance,
    center: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and rows "queries k" of the nearest among the candidates' rows (-1 is no row)."""
    squared, rows = np.full((len(points), k), np.inf), np.full((len(points), k), -1)
    for query, some in enumerate(candidates):
        some = np.sort(some[some >= 0])
        vectors = prepared(base[some], distance, center)[0].astype(np.float64)
        exact = ((vectors - points[query]) ** 2).sum(axis=1)
        best = np.argsort(exact, kind="stable")[:k]
        squared[query, : len(best)], rows[query, : len(best)] = exact[best], some[best]
    return squared, rows


def recalls(near: Neighbors, exact: Neighbors) -> np.ndarray:
    """The share of the true neighbours that were found, 0 to 1, "queries".

    >>> exact = Neighbors(np.array([[3, 5]]), np.zeros((1, 2)))
    >>> recalls(Neighbors(np.array([[5, 9]]), np.zeros((1, 2))), exact).tolist()
    [0.5]
    """
    return (near.index[:, :, None] == exact.index[:, None, :]).any(axis=2).mean(axis=1)
