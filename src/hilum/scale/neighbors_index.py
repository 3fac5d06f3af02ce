"""The index of a scored archive, by which neighbours among millions of images are answered.

    scores/_neighbors/
      vectors.bin       the embeddings, one after the other: what distances are measured on
      rows.bin          int64: the row of the scores that each vector belongs to
      codes.faiss       IVF-PQ of the vectors, which proposes candidates; above LARGE vectors
      _manifest.json    number, dimensions, distance, kind, model, digest of the scores, recall

The folder is made beside its name and renamed. It is filled part by part; in memory are a block of vectors, the sample
that the cells are trained on (64 vectors for each of 4 sqrt(n) cells), and the codes.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Literal

import numpy as np
from pydantic import ValidationError

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import Distance
from hilum.embedding.approximate import LARGE, IvfPq, cells_for, faiss_library, recalls, sample_rows
from hilum.embedding.neighbors import BASE_BLOCK, Neighbors, center_of, nearest_in_blocks
from hilum.errors import DataError, RunError
from hilum.evaluation.means import mean_of_parts
from hilum.files import read_json, write_json
from hilum.progress import advancing, say
from hilum.scale.parts import MANIFEST, Belongs, Parts, Strict, room
from hilum.scale.score_table import Precision
from hilum.scale.scored import Scores
from hilum.scale.vector_file import VectorFile

FOLDER, VECTORS, ROWS, CODES = "_neighbors", "vectors.bin", "rows.bin", "codes.faiss"

JUDGED = 256
"""Images of the archive by which an index is judged."""

JUDGED_K = 10
"""Neighbours of each of them that are compared with the true ones."""


class IndexManifest(Strict):
    """What an index was made of. `left_out`: rows without a vector, or with one of zeros, which has no direction;
    `scores`: see `Scores.digest`; `files`: bytes by name; `recall`: share of the true JUDGED_K neighbours that the
    index gives, over JUDGED of its images."""

    schema_version: Literal[1] = 1
    hilum: str
    kind: Literal["exact", "ivf-pq"]
    vectors: int
    left_out: int
    dimensions: int
    precision: Precision
    distance: Distance
    model: str
    scores: str
    files: dict[str, int]
    recall: Figure


@dataclass(frozen=True)
class Index:
    """An index, opened. `codes`: None where every vector is compared."""

    folder: Path
    manifest: IndexManifest
    vectors: VectorFile
    codes: IvfPq | None

    @classmethod
    def open(cls, scores: Scores) -> "Index | None":
        """The index of a folder of scores; None where it has none. RunError for an index of another model or of other
        scores, and for one that was cut off.

        >>> from hilum.scale.parts import Manifest
        >>> Index.open(Scores(Path("gone"), Manifest.model_construct(parts=[]), "float16")) is None
        True
        """
        folder = scores.folder / FOLDER
        if not folder.exists():
            return None
        manifest = _manifest(folder)
        _check(folder, manifest, scores)
        vectors = VectorFile(folder / VECTORS, manifest.dimensions, manifest.precision)
        codes = None
        if manifest.kind == "ivf-pq":
            codes = IvfPq.read(folder / CODES, manifest.distance, _center(vectors, manifest.distance))
        return cls(folder, manifest, vectors, codes)

    def search(self, queries: np.ndarray, k: int) -> Neighbors:
        """The k nearest vectors of each query "queries dim", by the rows of the scores. DataError where there are
        fewer.

        >>> facts = IndexManifest.model_construct(vectors=3, distance="cosine")
        >>> vectors = VectorFile(Path("gone/vectors.bin"), 2, "float16")
        >>> Index(Path("gone"), facts, vectors, None).search(np.ones((1, 2)), 4)
        Traceback (most recent call last):
        hilum.errors.DataError: 4 neighbours are wanted among 3 images; choose a smaller k
        """
        if k > self.manifest.vectors:
            raise DataError(
                f"{k} neighbours are wanted among {self.manifest.vectors:,} images", "choose a smaller k"
            )
        near = _search(self.vectors, self.codes, queries, k, self.manifest.distance)
        rows = np.memmap(self.folder / ROWS, np.int64, "r")
        return Neighbors(np.where(near.index < 0, -1, rows[near.index]), near.distance)


def _search(
    vectors: VectorFile, codes: IvfPq | None, queries: np.ndarray, k: int, distance: Distance
) -> Neighbors:
    if codes is None:
        return nearest_in_blocks(vectors.blocks(), queries, k, distance)
    return codes.search(vectors.rows, queries, k)


def _center(vectors: VectorFile, distance: Distance) -> np.ndarray | None:
    return center_of(vectors.block(0, BASE_BLOCK)) if distance == "euclidean" else None


def _remedy(folder: Path) -> str:
    return f"make it again: hilum neighbors {folder.parent} --index"


def _manifest(folder: Path) -> IndexManifest:
    try:
        return IndexManifest.model_validate(read_json(folder / MANIFEST))
    except (ValidationError, RunError):
        raise RunError(f"{folder} is no whole index of this version", _remedy(folder)) from None


def _check(folder: Path, manifest: IndexManifest, scores: Scores) -> None:
    if manifest.model != scores.manifest.model.digest:
        raise RunError(
            f"{folder} is of another model (digest {manifest.model[:12]}; the scores have"
            f" {scores.manifest.model.digest[:12]})",
            _remedy(folder),
        )
    if manifest.scores != scores.digest:
        raise RunError(f"{folder} is older than the scores, which have changed since", _remedy(folder))
    for name, size in manifest.files.items():
        path = folder / name
        real = path.stat().st_size if path.exists() else 0
        if real != size:
            raise RunError(f"{path} has {real:,} bytes instead of {size:,}", _remedy(folder))


# -- building ------------------------------------------------------------------------------------------------


def build_index(scores: Scores, distance: Distance = "cosine") -> IndexManifest:
    """Makes the index of a folder of scores, in place of the one before, and measures it.

    Up to LARGE vectors it compares all of them, above it is IVF-PQ. DataError where no image has a vector, or
    without faiss where it is needed; RunError for a part that was cut off or changed, for a full disk, and while
    another process writes to the folder.

    >>> build_index(Scores.open(Path("gone")))
    Traceback (most recent call last):
    hilum.errors.RunError: gone holds no finished scores (no _manifest.json); run: hilum score SOURCE --out gone
    """
    with room(scores.folder / FOLDER), Parts(scores.folder, Belongs("", None)).locked():
        for left in scores.folder.glob(f".{FOLDER}.*"):  # of a process that was killed
            rmtree(left)
        folder = Path(mkdtemp(prefix=f".{FOLDER}.", dir=scores.folder))
        try:
            manifest = _fill(folder, scores, distance)
            folder.chmod(0o755)  # mkdtemp makes 0700, which would hide the folder from colleagues
            rmtree(scores.folder / FOLDER, ignore_errors=True)
            folder.rename(scores.folder / FOLDER)
        except BaseException:
            rmtree(folder, ignore_errors=True)
            raise
    return manifest


def _fill(folder: Path, scores: Scores, distance: Distance) -> IndexManifest:
    vectors = _copied(folder, scores, distance)
    n = len(vectors)
    codes = _coded(vectors, distance) if n > LARGE else None
    if codes is not None:
        codes.write(folder / CODES)
    manifest = IndexManifest(
        hilum=version("hilum"),
        kind="exact" if codes is None else "ivf-pq",
        vectors=n,
        left_out=scores.manifest.rows - n,
        dimensions=vectors.dimensions,
        precision=vectors.precision,
        distance=distance,
        model=scores.manifest.model.digest,
        scores=scores.digest,
        files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        recall=_recall(vectors, codes, distance),
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _copied(folder: Path, scores: Scores, distance: Distance) -> VectorFile:
    """The vectors of all parts, and their rows, in files."""
    dimensions, rows = 0, scores.manifest.rows
    with (
        (folder / VECTORS).open("wb") as file,
        (folder / ROWS).open("wb") as row_file,
        advancing("reading embeddings") as advance,
    ):
        for numbers, vectors in scores.vectors(distance):
            file.write(np.ascontiguousarray(vectors).data)  # unlike tofile it says when the disk is full
            row_file.write(np.ascontiguousarray(numbers, np.int64).data)
            dimensions = vectors.shape[1]
            advance(int(numbers[-1]) + 1, rows)
    if not (folder / ROWS).stat().st_size:
        raise DataError(f"{scores.folder} holds no image with an embedding", "score other images")
    if dimensions:
        return VectorFile(folder / VECTORS, dimensions, scores.precision)
    raise DataError(f"the embeddings in {scores.folder} hold no numbers", "score with another model")


def _coded(vectors: VectorFile, distance: Distance) -> IvfPq:
    """IVF-PQ of all vectors, a block at a time."""
    faiss_library()
    n, sample = len(vectors), vectors.rows(sample_rows(len(vectors)))
    say(f"IVF-PQ: {cells_for(n):,} cells are trained on {len(sample):,} of {n:,} vectors")
    codes = IvfPq.trained(sample, n, distance, _center(vectors, distance))
    del sample
    with advancing("indexing") as advance:
        for rows, block in vectors.blocks():
            codes.add(block)
            advance(int(rows[-1]) + 1, n)
    return codes


def _recall(vectors: VectorFile, codes: IvfPq | None, distance: Distance) -> Figure:
    """Of images of the archive, none of which counts as its own neighbour."""
    if codes is None:
        return Figure(value=1.0, reason="the search is exact")
    picks = np.sort(np.random.default_rng(0).permutation(len(vectors))[:JUDGED])
    queries = vectors.rows(picks)
    near, exact = (
        without_own(_search(vectors, some, queries, JUDGED_K + 1, distance), picks) for some in (codes, None)
    )
    return mean_of_parts(recalls(near, exact), picks)


def without_own(near: Neighbors, rows: np.ndarray) -> Neighbors:
    """One neighbour fewer for each query: its own row, or the last where that is not among them.

    >>> near = Neighbors(np.array([[4, 7], [4, 7]]), np.array([[0.0, 2.0], [0.0, 2.0]]))
    >>> without_own(near, np.array([4, 5])).index.tolist()
    [[7], [4]]
    """
    k = near.index.shape[1] - 1
    order = np.argsort(near.index == rows[:, None], axis=1, kind="stable")[:, :k]
    return Neighbors(
        np.take_along_axis(near.index, order, axis=1), np.take_along_axis(near.distance, order, axis=1)
    )
