"""Neighbours in a large scored archive: the index of `hilum neighbors SCORES --index` beside exact brute force.

    python benchmarks/neighbours.py                            # 200,000 vectors
    python benchmarks/neighbours.py --vectors 1000000 --sweep  # other numbers of cells and candidates as well
    python benchmarks/neighbours.py --vectors 10000000         # needs 12 GB of disk under --folder
    python benchmarks/neighbours.py --hnsw                     # faiss's HNSW of float16 vectors beside it
    python benchmarks/neighbours.py --isotropic                # clusters without structure: the hardest case

Prints how long the index takes to make, its size, the most memory, recall@10 against the exact search over queries that
are not in the archive, and the time of a query. Wall time and processor time are both given: wall time says little on a
machine with other work.

The vectors are made (seed 0): 256 numbers of float16 around one of 20 centres (normal, sd 0.5), in a random subspace
of 24 dimensions for each centre (normal, sd 1), with noise in all dimensions (sd 0.1). With --isotropic the noise has
sd 1 and there is no subspace. They are written as `hilum score` writes its parts, 5,000 rows each.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hilum.artifacts.card import PixelContract
from hilum.embedding import approximate
from hilum.embedding.approximate import faiss_library, recalls
from hilum.embedding.neighbors import Neighbors, prepared
from hilum.scale import neighbors_index
from hilum.scale.neighbors_index import Index, build_index
from hilum.scale.neighbors_show import peak_gib
from hilum.scale.parts import Belongs, Manifest, ModelFacts, Parts, SourceFacts
from hilum.scale.score_table import Columns
from hilum.scale.scored import Scores

DIM, CENTRES, SUBSPACE, PART = 256, 20, 24, 5000
CLASSES = ("normal", "bacteria", "virus")
K, QUERIES = 10, 256


def vectors(part: int, count: int, isotropic: bool = False) -> np.ndarray:
    """float16 "count 256" of one part; see the top of this file."""
    shared, chance = np.random.default_rng(0), np.random.default_rng([0, part + 1])
    centres = shared.standard_normal((CENTRES, DIM), np.float32) / 2
    basis = shared.standard_normal((CENTRES, SUBSPACE, DIM), np.float32) / np.sqrt(DIM)
    noise = chance.standard_normal((count, DIM), np.float32)
    which = np.sort(chance.integers(0, CENTRES, count))  # sorted, so that each centre is one product
    if isotropic:
        return (centres[which] + noise).astype(np.float16)
    inside = chance.standard_normal((count, SUBSPACE), np.float32)
    made = 0.1 * noise + centres[which]
    for centre in np.unique(which):
        rows = which == centre
        made[rows] += inside[rows] @ basis[centre]
    return chance.permutation(made).astype(np.float16)


def write_scores(
    folder: Path, blocks: Iterator[np.ndarray], model: str = "made", part_size: int = PART
) -> Manifest:
    """A folder as `hilum score` writes it, a part for each block of vectors; every image is "normal"."""
    import pyarrow as pa

    columns, parts = Columns(CLASSES, "float16"), Parts(folder, Belongs(model, "float16"))
    folder.mkdir(parents=True, exist_ok=True)
    written, first = [], 0
    for number, block in enumerate(blocks):
        n, schema = len(block), columns.schema()
        known = {
            "file": pa.array([f"{first + row:08d}.png" for row in range(n)]),
            "prediction": pa.array(["normal"] * n),
            "abstained": pa.array([False] * n),
            "embedding": pa.ListArray.from_arrays(np.arange(n + 1) * block.shape[1], pa.array(block.ravel())),
        }
        cells = [
            known[field.name].cast(field.type) if field.name in known else pa.nulls(n, field.type)
            for field in schema
        ]
        data = columns.parquet(pa.Table.from_arrays(cells, schema=schema), {"part": number})
        written.append(parts.write(number, data, n, 0))
        first += n
    manifest = Manifest(
        hilum="0",
        model=ModelFacts(
            name="made", weights_digest=None, digest=model, classes=list(CLASSES), coverage=None
        ),
        pixels=PixelContract(size=(32, 32)),
        embedding="float16",
        part_size=part_size,
        source=SourceFacts(location="made", column=None, images=first, digest="made", skipped={}),
        rows=first,
        errors=0,
        parts=written,
    )
    parts.close(manifest)
    return manifest


def write(folder: Path, count: int, isotropic: bool) -> None:
    """The archive of the benchmark."""
    starts = range(0, count, PART)
    write_scores(folder, (vectors(at // PART, min(PART, count - at), isotropic) for at in starts))


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def text(self, per: int = 1, unit: float = 1.0) -> str:
        """Both, divided by `per`; `unit`: 1000 for milliseconds."""
        wall = (time.perf_counter() - self.wall) / per * unit
        processor = (time.process_time() - self.processor) / per * unit
        return f"{wall:,.1f} {'ms' if unit > 1 else 's'} (processor {processor:,.1f})"


def report(
    name: str, search: Callable[[np.ndarray], Neighbors], queries: np.ndarray, exact: Neighbors
) -> None:
    """Recall and time of a query, the queries one by one."""
    search(queries[:1])
    clock = Clock()
    near = [search(query[None]).index for query in queries]
    spent = clock.text(len(queries), 1000)
    share = recalls(Neighbors(np.concatenate(near), np.zeros(0)), exact).mean()
    print(f"{name:44} recall@{K} {share:.4f}, {spent} a query")


def sweep(index: Index, queries: np.ndarray, exact: Neighbors) -> None:
    """Other numbers of cells visited and of candidates measured."""
    kept = approximate.probes_for, approximate.CANDIDATES
    for probes in (16, 64, 128, 256):
        for candidates in (10, 50):
            approximate.probes_for, approximate.CANDIDATES = (lambda cells, n=probes: n), candidates
            name = f"IVF-PQ, {probes} cells, {candidates} candidates a neighbour"
            report(name, lambda query: index.search(query, K), queries, exact)
    approximate.probes_for, approximate.CANDIDATES = kept


def hnsw(index: Index, queries: np.ndarray, exact: Neighbors) -> None:
    """faiss's HNSW (32 links, vectors as float16), searched with 128 and with 512 candidates."""
    library, clock = faiss_library(), Clock()
    graph = library.IndexHNSWSQ(DIM, library.ScalarQuantizer.QT_fp16, 32)
    first = prepared(index.vectors.block(0, 10_000), "cosine", None)[0]
    graph.train(first)
    for _, block in index.vectors.blocks():
        graph.add(prepared(block, "cosine", None)[0])
    size = index.manifest.vectors * (2 * DIM + 4 * 64)
    print(f"HNSW made in {clock.text()}; about {size / 1e6:,.0f} MB in memory; peak {peak_gib():.2f} GiB")

    def search(query: np.ndarray) -> Neighbors:
        squared, rows = graph.search(prepared(query, "cosine", None)[0], K)
        return Neighbors(rows, squared / 2)

    for candidates in (128, 512):
        graph.hnsw.efSearch = candidates
        report(f"HNSW, 32 links, {candidates} candidates", search, queries, exact)


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Makes the archive and its index, and prints all figures."""
    clock = Clock()
    writer = multiprocessing.get_context("spawn").Process(
        target=write, args=(folder, options.vectors, options.isotropic)
    )
    writer.start()  # a process of its own: its memory is not that of the index
    writer.join()
    assert writer.exitcode == 0, "the archive could not be written"
    scores = Scores.open(folder)
    size = sum(part.bytes for part in scores.manifest.parts)
    print(
        f"{options.vectors:,} vectors in {len(scores.manifest.parts):,} parts, {size / 1e6:,.0f} MB: {clock.text()}"
    )
    before, clock = peak_gib(), Clock()
    manifest = build_index(scores)
    print(
        f"index made in {clock.text()}, its recall measured; peak memory {before:.2f} -> {peak_gib():.2f} GiB"
    )
    print("  " + ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in manifest.files.items()))
    print(
        f"  {manifest.kind}; recall@10 of {neighbors_index.JUDGED} images of the archive {manifest.recall.value:.4f}"
    )
    clock = Clock()
    index = Index.open(scores)
    assert index is not None
    print(f"index opened in {clock.text(1, 1000)}")
    queries = vectors(10**6, options.queries, options.isotropic)
    compare(options, scores, index, queries)


def compare(options: argparse.Namespace, scores: Scores, index: Index, queries: np.ndarray) -> None:
    """The index, and exact ways beside it."""
    exact_index = Index(index.folder, index.manifest, index.vectors, None)
    clock = Clock()
    exact = exact_index.search(queries, K)
    print(
        f"{f'exact, {len(queries)} queries together':44} recall@{K} 1, {clock.text(len(queries), 1000)} a query"
    )
    report("exact, one by one", lambda query: exact_index.search(query, K), queries[:4], _head(exact, 4))
    report("the index", lambda query: index.search(query, K), queries, exact)
    candidates = np.random.default_rng(1).permutation(options.vectors)[: 50 * K]
    clock = Clock()
    scores.rows(np.sort(candidates), ["embedding"])
    print(f"{50 * K} candidates read from the parts instead of vectors.bin: {clock.text(1, 1000)}")
    if options.sweep and index.codes is not None:
        sweep(index, queries, exact)
    if options.hnsw:
        hnsw(index, queries, exact)
    print(f"peak memory in the end {peak_gib():.2f} GiB")


def _head(near: Neighbors, n: int) -> Neighbors:
    return Neighbors(near.index[:n], near.distance[:n])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--hnsw", action="store_true")
    parser.add_argument("--isotropic", action="store_true")
    parser.add_argument("--folder", type=Path, help="A folder on a disk with room; it is emptied in the end.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        print(f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
        measure(arguments, Path(place) / "scores")
