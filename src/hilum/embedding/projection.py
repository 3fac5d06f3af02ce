"""Maps: the vectors in two dimensions, learned on train; val and test are placed on the finished map.

A map shows something only as far as it keeps neighbours. So each carries its own figures: trustworthiness,
the accuracy of kNN on the map beside that in the full space, and how much of a neighbourhood stays when the
map is drawn again from another random start.
"""

import time
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hilum.embedding.neighbors import nearest_neighbors, votes
from hilum.embedding.space import Distance, check_varies, fit_space
from hilum.embedding.threads import threads
from hilum.errors import DataError

MapName = Literal["pca", "lda", "tsne", "umap"]
TITLES = {"pca": "PCA", "lda": "LDA", "tsne": "t-SNE", "umap": "UMAP"}
DIMENSIONS = 50
"""t-SNE and UMAP work on so many principal components; more cost time and change little."""
RELIABILITY_K = 10
FFT_FROM = 3000


@dataclass(frozen=True)
class MapSettings:
    """Choices of a map. `perplexity` is t-SNE's; UMAP looks at as many neighbours."""

    name: MapName
    perplexity: float = 30.0
    exaggeration: float = 1.0
    iterations: int = 750
    seed: int = 0
    start: Literal["pca", "random"] = "pca"


@dataclass(frozen=True)
class Map:
    """`train` and `placed`: float64 "cases 2", the cases it was learned on and those placed afterwards."""

    settings: MapSettings
    train: np.ndarray
    placed: np.ndarray
    seconds: float


def draw(
    settings: MapSettings,
    train: np.ndarray,
    targets: np.ndarray,
    new: np.ndarray,
    distance: Distance = "euclidean",
) -> Map:
    """Learns a map from the vectors `train` "cases dim" and places `new` "more dim" on it.

    With 'cosine' vectors are given length 1 first: Euclidean distances then rank as cosines do. `targets`
    are read by LDA alone. DataError when there are fewer cases than the perplexity needs, or for NaN.
    """
    if not (np.isfinite(train).all() and np.isfinite(new).all()):
        raise DataError("vectors hold NaN or infinity", "make them again with: hilum embed RUN")
    check_varies(train)
    start = time.perf_counter()
    if distance == "cosine":
        train, new = _unit(train), _unit(new)
    if settings.name == "lda":
        placed = _lda(train, targets, new)
    else:
        reduced = _principal(train, new, 2 if settings.name == "pca" else DIMENSIONS)
        if settings.name != "pca":
            _enough(len(train), settings)
        placed = {"pca": lambda _, a, b: (a, b), "tsne": _tsne, "umap": _umap}[settings.name](
            settings, *reduced
        )
    seconds = round(time.perf_counter() - start, 2)
    return Map(settings, np.asarray(placed[0], np.float64), np.asarray(placed[1], np.float64), seconds)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _enough(n: int, settings: MapSettings) -> None:
    if n - 1 < 3 * settings.perplexity:
        raise DataError(
            f"{n} cases are too few for perplexity {settings.perplexity:g}, which needs "
            f"{int(3 * settings.perplexity) + 1}",
            f"set embedding.perplexity to {max(2, (n - 1) // 3)} or less",
        )


def _principal(train: np.ndarray, new: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the directions of largest variance of train."""
    center = train.mean(axis=0, dtype=np.float64)
    centred = train.astype(np.float64) - center
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dimensions]
    directions = directions * np.sign(
        directions[np.abs(directions).argmax(axis=0), range(directions.shape[1])]
    )
    return _two(centred @ directions), _two((new - center) @ directions)


def _two(points: np.ndarray) -> np.ndarray:
    """At least two columns: vectors of one dimension get a zero beside it."""
    return points if points.shape[1] > 1 else np.pad(points, ((0, 0), (0, 1)))


def _lda(train: np.ndarray, targets: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two discriminants; with two classes there is one, and the second axis is the direction of
    largest variance at a right angle to it."""
    space = fit_space("lda", train, targets)
    first, placed = space.apply(train), space.apply(new)
    if first.shape[1] >= 2:
        return first[:, :2], placed[:, :2]
    assert space.matrix is not None
    axis = space.matrix / np.linalg.norm(space.matrix)
    rest, rest_new = train - (train @ axis) @ axis.T, new - (new @ axis) @ axis.T
    second, second_new = _principal(rest, rest_new, 2)
    return np.column_stack([first[:, 0], second[:, 0]]), np.column_stack([placed[:, 0], second_new[:, 0]])


def _tsne(settings: MapSettings, train: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """t-SNE (van der Maaten & Hinton 2008) by openTSNE (Policar et al. 2024), forces by interpolation on a
    grid (Linderman et al. 2019) from FFT_FROM cases on. Learning rate and early exaggeration are smaller
    than openTSNE's: the map keeps neighbours better and is drawn faster (benchmarks/tsne.py)."""
    from openTSNE import TSNE

    large = len(train) >= FFT_FROM
    tsne = TSNE(
        perplexity=settings.perplexity,  # type: ignore[arg-type]
        initialization=settings.start,
        exaggeration=settings.exaggeration,
        early_exaggeration=8,  # type: ignore[arg-type]
        early_exaggeration_iter=settings.iterations // 3,
        learning_rate=max(50.0, len(train) / 40),  # type: ignore[arg-type]
        negative_gradient_method="fft" if large else "bh",
        n_interpolation_points=2,
        n_iter=settings.iterations,
        neighbors="exact",
        n_jobs=threads(),
        random_state=settings.seed,
    )
    fitted = tsne.fit(train)
    placed = fitted.transform(new) if len(new) else np.zeros((0, 2))
    return np.asarray(fitted), np.asarray(placed)


def _umap(settings: MapSettings, train: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """UMAP (McInnes et al., arXiv:1802.03426); its import takes seconds, so it comes late."""
    try:
        import umap  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(
            "umap-learn is not installed", "pip install 'hilum[umap]', or leave umap out"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells that a seed means one thread
        model: Any = umap.UMAP(
            n_neighbors=max(2, round(settings.perplexity)),
            init="spectral" if settings.start == "pca" else "random",
            random_state=settings.seed,
            n_jobs=1,
        )
        fitted = model.fit_transform(train.astype(np.float32))
        placed = model.transform(new.astype(np.float32)) if len(new) else np.zeros((0, 2))
    return fitted, placed


# -- how far to reliability a map ----------------------------------------------------------------------------------


def trustworthiness(
    vectors: np.ndarray, points: np.ndarray, k: int = RELIABILITY_K, queries: int = 1000
) -> float:
    """Do neighbours on the map belong together in the space? 1: always. (Venna & Kaski 2001, eq. 1.)

    Measured for `queries` cases drawn with a fixed seed, each against all cases. DataError when
    there are too few cases for k.

    >>> line = np.arange(30.0)[:, None]
    >>> trustworthiness(line, np.column_stack([line, line]), k=5)
    1.0
    """
    n = len(vectors)
    if 2 * n - 3 * k - 1 <= 0 or k >= n / 2:
        raise DataError(f"{n} cases are too few to judge neighbourhoods of {k}", "bring more cases")
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:queries])
    penalty = 0.0
    for part in np.array_split(chosen, max(1, len(chosen) // 250)):
        near = np.argsort(_squared(points, part), axis=1, kind="stable")[:, :k]
        order = np.argsort(_squared(vectors, part), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, n + 1)[None, :], axis=1)
        penalty += np.maximum(np.take_along_axis(rank, near, axis=1) - k, 0).sum()
    return float(1 - penalty * 2 / (len(chosen) * k * (2 * n - 3 * k - 1)))


def _squared(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Squared distances "rows cases"; a case is infinitely far from itself, so it is no neighbour."""
    wide = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    square = (wide**2).sum(axis=1)
    distances = square[rows][:, None] + square - 2 * wide[rows] @ wide.T
    distances[np.arange(len(rows)), rows] = np.inf
    return distances


def shared_neighborhood(points: np.ndarray, others: np.ndarray, k: int = RELIABILITY_K) -> float:
    """Mean share of a case's k neighbours that two maps of the same cases have in common, 0 to 1.

    >>> line = np.arange(30.0)[:, None]
    >>> shared_neighborhood(line, -2 * line, k=3) > 0.9
    True
    """
    rows = np.arange(len(points))
    one = nearest_neighbors(points, points, k, base_groups=rows, query_groups=rows).index
    two = nearest_neighbors(others, others, k, base_groups=rows, query_groups=rows).index
    return float((one[:, :, None] == two[:, None, :]).any(axis=2).mean())


def map_accuracy(
    base: np.ndarray, targets: np.ndarray, queries: np.ndarray, answers: np.ndarray, k: int = 7
) -> float:
    """Accuracy of a plain kNN vote from `base` "cases dim" to `queries` "more dim"."""
    shares = votes(nearest_neighbors(base, queries, k), targets, int(targets.max()) + 1)
    return float((shares.argmax(axis=1) == answers).mean())


def stability(
    drawn: Map, train: np.ndarray, targets: np.ndarray, distance: Distance, seeds: int
) -> float | None:
    """Mean shared neighbourhood of the map and of `seeds` further ones from random starts; None for PCA
    and LDA, which know no chance, and for no seeds."""
    if drawn.settings.name in ("pca", "lda") or seeds == 0:
        return None
    shares = []
    for number in range(1, seeds + 1):
        force = replace(drawn.settings, seed=drawn.settings.seed + number, start="random")
        points = draw(force, train, targets, train[:0], distance).train
        shares.append(shared_neighborhood(drawn.train, points))
    return float(np.mean(shares))
