"""Neighbours in large sets, through faiss (extra 'faiss'), with the share of true neighbours that it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
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
PROBES = 64
"""Cells of IVF-PQ that a search visits, at least (see `probes_for`)."""
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
    """Neighbours through faiss: 'flat' is exact up to float32, 'ivf-pq' approximate (see `IvfPq`). DataError without
    faiss.
    """
    center = center_of(base) if distance == "euclidean" else None
    if kind == "ivf-pq":
        picks = sample_rows(len(base))
        coded = IvfPq.trained(base[picks], len(base), distance, center)
        for start in range(0, len(base), BASE_BLOCK):
            coded.add(base[start : start + BASE_BLOCK])
        return coded.search(base.__getitem__, queries, k)
    index = faiss_library().IndexFlatL2(base.shape[1])
    for start in range(0, len(base), BASE_BLOCK):
        index.add(prepared(base[start : start + BASE_BLOCK], distance, center)[0])
    squared, rows = index.search(prepared(queries, distance, center)[0], k)
    return _measured(squared, rows, distance)


def faiss_library() -> Any:
    """The package faiss, loaded late. DataError where it is not installed.

    >>> faiss_library().__name__ if find_spec("faiss") else "faiss"
    'faiss'
    """
    if find_spec("faiss") is None:
        raise DataError("faiss is not installed", "pip install 'hilum[faiss]'")
    import faiss  # pyright: ignore[reportMissingImports]

    return faiss


def cells_for(n: int) -> int:
    """How many cells n vectors are divided into: 4 sqrt(n), with 39 vectors each at least.

    >>> cells_for(1_000_000), cells_for(1000)
    (4000, 25)
    """
    return max(1, min(int(4 * np.sqrt(n)), n // 39))


def probes_for(cells: int) -> int:
    """How many of the cells a search visits: PROBES, or every 50th cell where these are more.

    >>> probes_for(1000), probes_for(12_649)
    (64, 252)
    """
    return min(max(PROBES, cells // 50), cells)


def sample_rows(n: int) -> np.ndarray:
    """The rows, rising, of n vectors that cells and codes are trained on: 64 for each cell, at least 10,000.

    >>> sample_rows(3).tolist(), len(sample_rows(1_000_000))
    ([0, 1, 2], 256000)
    """
    return np.sort(np.random.default_rng(0).permutation(n)[: max(64 * cells_for(n), 10_000)])


@dataclass(frozen=True)
class IvfPq:
    """Vectors as codes in cells, IVF-PQ (Jegou et al., IEEE TPAMI 33, 2011): 4 sqrt(n) cells, of which `probes_for`
    are visited, and a code of at most 64 bytes for each vector. Codes propose CANDIDATES vectors per neighbour, which
    are then measured exactly; `recalls` tells how much is missed. `center`: as in `prepared`."""

    index: Any
    distance: Distance
    center: np.ndarray | None

    @classmethod
    def trained(cls, sample: np.ndarray, n: int, distance: Distance, center: np.ndarray | None) -> "IvfPq":
        """Without vectors yet; for n of them, of which `sample` "cases dim" holds some. DataError without faiss.

        >>> IvfPq.trained(np.arange(300.0)[:, None], 300, "euclidean", None).index.nlist
        7
        """
        library, dim, cells = faiss_library(), sample.shape[1], cells_for(n)
        code_bytes = next(m for m in range(min(64, dim), 0, -1) if dim % m == 0)
        index = library.IndexIVFPQ(library.IndexFlatL2(dim), dim, cells, code_bytes, 8)
        index.use_precomputed_table = -1  # a table of cells x codes x 1 KiB: 0.8 GB for 10 million vectors
        points = np.empty(sample.shape, np.float32)
        for start in range(0, len(sample), BASE_BLOCK):  # float64 of a block at a time
            points[start : start + BASE_BLOCK] = prepared(
                sample[start : start + BASE_BLOCK], distance, center
            )[0]
        index.train(points)
        return cls(index, distance, center)

    def add(self, vectors: np.ndarray) -> None:
        """Appends vectors "cases dim"; their rows go on from those before.

        >>> line = np.arange(300.0)[:, None]
        >>> coded = IvfPq.trained(line, 300, "euclidean", None)
        >>> coded.add(line[:100]), coded.add(line[100:]), coded.index.ntotal
        (None, None, 300)
        """
        self.index.add(prepared(vectors, self.distance, self.center)[0])

    def search(
        self, vectors_of: Callable[[np.ndarray], np.ndarray], queries: np.ndarray, k: int
    ) -> Neighbors:
        """About the k nearest; row -1 at an infinite distance where there are no more. `vectors_of`: the vectors
        "rows dim" of some rows, which rise.

        >>> line = np.arange(300.0)[:, None]
        >>> coded = IvfPq.trained(line, 300, "euclidean", None)
        >>> coded.add(line)
        >>> coded.search(line.__getitem__, np.array([[7.4]]), 2).index.tolist()
        [[7, 8]]
        """
        points = prepared(queries, self.distance, self.center)[0]
        self.index.nprobe = probes_for(self.index.nlist)
        candidates = self.index.search(points, min(CANDIDATES * k, self.index.ntotal))[1]
        squared, rows = _ranked(vectors_of, points, candidates, k, self.distance, self.center)
        return _measured(squared, rows, self.distance)

    def write(self, path: Path) -> None:
        """Writes the codes to a file, which `read` reads. OSError for a full disk.

        >>> from tempfile import TemporaryDirectory
        >>> coded = IvfPq.trained(np.arange(300.0)[:, None], 300, "euclidean", None)
        >>> with TemporaryDirectory() as folder:
        ...     coded.write(Path(folder, "codes.faiss"))
        ...     IvfPq.read(Path(folder, "codes.faiss"), "euclidean", None).index.nlist
        7
        """
        faiss = faiss_library()
        with path.open("wb") as file:  # faiss's own file says nothing of a disk that is full at the end
            faiss.write_index(self.index, faiss.PyCallbackIOWriter(file.write))

    @classmethod
    def read(cls, path: Path, distance: Distance, center: np.ndarray | None) -> "IvfPq":
        """Of a file that stays open: a search reads the cells that it visits. DataError for a damaged file.

        >>> IvfPq.read(Path("gone.faiss"), "cosine", None)
        Traceback (most recent call last):
        hilum.errors.DataError: ...
        """
        library = faiss_library()
        how = library.IO_FLAG_MMAP | library.IO_FLAG_SKIP_PRECOMPUTE_TABLE
        try:
            return cls(library.read_index(str(path), how), distance, center)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path} can't be read ({reason})", "make the index again") from None


def _measured(squared: np.ndarray, rows: np.ndarray, distance: Distance) -> Neighbors:
    """Squared distances of prepared vectors as distances."""
    squared = np.maximum(squared.astype(np.float64), 0)
    return Neighbors(rows.astype(np.int64), np.sqrt(squared) if distance == "euclidean" else squared / 2)


def _ranked(
    vectors_of: Callable[[np.ndarray], np.ndarray],
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
        vectors = prepared(vectors_of(some), distance, center)[0].astype(np.float64)
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
