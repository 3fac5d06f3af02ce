"""Nearest neighbours against scikit-learn and faiss, interleaved in one process, median ratios.

    python benchmarks/knn.py            5.2k x 512, 624 queries, and 1M x 512, 256 queries (2.1 GB of memory)
    python benchmarks/knn.py --small    the first only

Aims: 1.9 x scikit-learn's brute force with identical neighbours; 1M in bounded memory within 1.1 x of
faiss flat.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from hilum.embedding.approximate import faiss_neighbors, recalls
from hilum.embedding.neighbors import nearest_neighbors
from hilum.embedding.threads import limited_threads, threads

K = 7


def interleaved(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def clusters(n: int, dim: int, seed: int) -> np.ndarray:
    """Vectors in 50 clusters, as embeddings lie."""
    chance = np.random.default_rng(seed)
    centers = np.random.default_rng(7).standard_normal((50, dim), dtype=np.float32)
    vectors = chance.standard_normal((n, dim), dtype=np.float32)
    vectors += 2 * centers[chance.integers(0, 50, n)]
    return vectors


def small() -> None:
    """Against scikit-learn's brute force."""
    base, queries = clusters(5232, 512, 0), clusters(624, 512, 1)
    known = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(base)
    ways: dict[str, Callable[[], object]] = {
        "scikit-learn": lambda: known.kneighbors(queries),
        "hilum": lambda: nearest_neighbors(base, queries, K),
    }
    same = np.array_equal(known.kneighbors(queries)[1], nearest_neighbors(base, queries, K).index)
    taken = interleaved(ways, 15)
    ratio = taken["scikit-learn"] / taken["hilum"]
    shown = ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in taken.items())
    print(f"5232 x 512, 624 queries: {shown}; ratio {ratio:.2f} (aim 1.9); identical neighbours: {same}")


def large() -> None:
    """Against faiss flat, on a base that is made once; the memory is what the search adds."""
    import faiss

    faiss.omp_set_num_threads(threads())
    base, queries = clusters(1_000_000, 512, 0), clusters(256, 512, 1)
    index = faiss.IndexFlatL2(512)
    tracemalloc.start()  # numpy reports its arrays to it; the base was made before
    ours = nearest_neighbors(base, queries, K)
    added = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    index.add(base)
    theirs = index.search(queries, K)[1]
    ways: dict[str, Callable[[], object]] = {
        "faiss flat": lambda: index.search(queries, K),
        "hilum": lambda: nearest_neighbors(base, queries, K),
    }
    taken = interleaved(ways, 3)
    same = float((theirs == ours.index).mean())
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in taken.items())
    print(
        f"1M x 512, 256 queries: {shown}; ratio {taken['hilum'] / taken['faiss flat']:.2f} (aim 1.1); "
        f"same places {same:.4f}; most memory held by the search {added:.0f} MiB"
    )
    index.reset()
    part = base[:200_000]
    start = time.perf_counter()
    near = faiss_neighbors(part, queries, K, "euclidean", "ivf-pq")
    print(
        f"200k x 512 by IVF-PQ: {time.perf_counter() - start:.1f} s with training; "
        f"recall {recalls(near, nearest_neighbors(part, queries, K)).mean():.3f}"
    )


if __name__ == "__main__":
    print(f"{threads()} threads")
    with limited_threads():
        small()
        if "--small" not in sys.argv:
            large()
